"""Writes the reports of a run into its folder: page, Markdown, specifications, pictures, rows as CSV and Parquet.

Everything is a pure function of the run and the profile: the same bytes each time, on every machine.
"""

from __future__ import annotations

import itertools
import math
import stat
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_numeric_dtype

from bench.judge.evidence import Evidence
from bench.model.printable import csv_cell, csv_line, plain
from bench.store import RunError, write_file

from . import nightly
from .charts import CHARTS
from .frames import PIECE, Floats, Frames, frames
from .markdown import markdown
from .page import page
from .renderer import Renderer
from .theme import drawable, specification, text_of

CHART_FOLDER = "charts"
PLAIN = 1e-4, 1e16  # Python writes floats from the first up to below the second without an exponent


def write(judged: Evidence, renderer: Renderer) -> list[Path]:
    """Write report.html, report.md, rows.csv, rows.parquet and charts/ into the run's folder; the paths, page first.

    Each file is replaced as a whole. Raises RunError when a file cannot be written.
    """
    run, f = judged.run, frames(judged)
    specs: dict[str, dict[str, Any]] = {}
    for name, spec in itertools.chain(_drawn(f), nightly.specifications(judged).items()):
        specs[name] = drawable(spec)
        renderer.ask(specs[name])  # it draws while the next one is made
    folder = run.path / CHART_FOLDER
    try:
        folder.mkdir(stat.S_IMODE(run.path.stat().st_mode), exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write {folder}: {error.strerror}") from None
    written = []
    # one after the other, each freed when it is written: of a large run they are tens of MB
    for name, text in _texts(judged, f, specs, renderer):
        write_file(run.path, name, text)
        written.append(run.path / name)
    return written


def _texts(
    judged: Evidence, f: Frames, specs: dict[str, dict[str, Any]], renderer: Renderer
) -> Iterator[tuple[str, str | bytes | Iterable[str]]]:
    yield "report.html", page(judged, f, specs)
    yield "report.md", plain(markdown(judged, f, tuple(specs)))
    yield "rows.csv", rows_csv(f)
    if find_spec("pyarrow") is not None:  # it comes with railgauge[nightly]
        yield "rows.parquet", f.rows.to_parquet(index=False, engine="pyarrow")
    for (name, spec), pictures in zip(specs.items(), renderer.pictures(), strict=True):
        yield f"{CHART_FOLDER}/{name}.vl.json", text_of(spec)
        yield f"{CHART_FOLDER}/{name}.svg", pictures["light"]
        yield f"{CHART_FOLDER}/{name}.dark.svg", pictures["dark"]


def specifications(f: Frames) -> dict[str, dict[str, Any]]:
    """Name → Vega-Lite specification of every chart that has something to draw, in the order of CHARTS.

    ``description`` is the alternative text, which browsers read out wherever a chart is embedded.
    """
    return dict(_drawn(f))


def _drawn(f: Frames) -> Iterator[tuple[str, dict[str, Any]]]:
    for chart in CHARTS:
        picture = chart.draw(f)
        if picture is not None:
            yield chart.name, {**specification(picture), "description": chart.about(f)}


def rows_csv(f: Frames) -> Iterator[str]:
    """Every row with all its columns, in pieces; rates in GB/s, times in µs; empty where there is no value."""
    yield csv_line(f.rows.columns)
    columns = [_cells_of(column) for _, column in f.rows.items()]
    for at in range(0, len(f.rows), PIECE):
        piece = slice(at, at + PIECE)
        yield "\n".join(map(",".join, zip(*(cells(piece) for cells in columns), strict=True))) + "\n"


def _cells_of(column: pd.Series[Any]) -> Callable[[slice], list[str]]:
    """A function that writes a piece of a column as pandas does, in far less time; texts are safe to print and no
    formulas.
    """
    if is_float_dtype(column):
        values = column.to_numpy(float, na_value=math.nan)
        return lambda piece: _floats(values[piece])
    if is_numeric_dtype(column):  # whole numbers, true and false
        return lambda piece: ["" if value is pd.NA else str(value) for value in column[piece].tolist()]
    codes, texts = pd.factorize(column)
    cells = [*(csv_cell(plain(text)) for text in texts), ""]  # the last of those that are missing
    return lambda piece: [cells[code] for code in codes[piece].tolist()]


def _floats(values: Floats) -> list[str]:
    """``repr`` of each value, "" of NaN. msgspec takes a quarter of its time and writes the same, but exponents."""
    cells = msgspec.json.encode(values.tolist())[1:-1].decode().split(",")
    size = np.abs(values)
    for at in np.flatnonzero(~((size >= PLAIN[0]) & (size < PLAIN[1]))):
        cells[at] = "" if np.isnan(values[at]) else repr(float(values[at]))
    return cells
