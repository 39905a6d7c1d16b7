"""The rows of any CSV file as ranked bars: the chart in which documentation shows the throughput of many machines."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import pandas as pd

from bench.model.printable import as_markdown
from bench.model.units import show_count, show_some
from bench.store.files import read_plain

from .chart_folder import Drawn, Page
from .charts.bars import ranked_bars
from .theme import specification

LARGEST = 16 << 20  # bytes of a table
MOST_ROWS = 2000  # bars that one picture can hold
LONGEST = 1 << 12  # bytes of the header, and characters of a name


class NotATable(ValueError):
    """Why a file cannot be drawn, for a person: it is no CSV, a column is missing, or two rows have one name."""


def ranked_page(path: Path, label: str, value: str) -> tuple[str, tuple[Page, ...]]:
    """Title and page of the bars of ``value``, largest first; 0 and no number are "not run". Raises NotATable."""
    data = _read(path, label, value)
    known = data[data[value] > 0].sort_values(value, ascending=False, kind="stable")
    title, name = f"{value} by {label}", re.sub(r"[^A-Za-z0-9_-]+", "-", value).strip("-") or "table"
    figures = [f"{row[label]} {row[value]:,.10g}" for row in known.to_dict("records")]
    about = f"{title}, largest first: {show_some(figures, 10, separator='; ')}."
    spec = None
    if len(known):
        chart = ranked_bars(data, label, value, axis=value, title=title, format=",.10~g")
        spec = {**specification(chart), "description": about}
    rest = len(data) - len(known)
    intro = (
        f"{show_count(len(known), 'row')} of {as_markdown(path.name)}"
        + (f"; {rest} were not run" if rest else "")
        + "."
    )
    return f"Charts: {title}", (Page(name, title, (intro,), (Drawn(f"ranked-{name}", title, about, spec),)),)


def _read(path: Path, label: str, value: str) -> pd.DataFrame:
    try:
        text = read_plain(path, LARGEST)
        if len(text) > LARGEST:
            raise ValueError(f"it is larger than {LARGEST} bytes")
        if len(text.partition(b"\n")[0]) > LONGEST:
            raise ValueError(f"its first line is longer than {LONGEST} bytes")
        table: pd.DataFrame = pd.read_csv(
            io.BytesIO(text), dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise NotATable(f"{path} is no CSV file with a header: {reason}") from None
    for column in (label, value):
        if column not in table.columns:
            raise NotATable(f"{path} has no column {column!r}; it has: {', '.join(map(str, table.columns))}")
    if len(table) > MOST_ROWS or table[label].str.len().max() > LONGEST:
        raise NotATable(
            f"{path} has {len(table)} rows, or a very long {label}: a chart shows {MOST_ROWS} of {LONGEST} characters"
        )
    twice = list(dict.fromkeys(table[label][table[label].duplicated()]))
    if twice:
        raise NotATable(
            f"{path} has several rows of one {label}, of which only one can be drawn: {show_some(twice)}"
        )
    numbers = pd.to_numeric(table[value], errors="coerce").astype(float)
    table[value] = numbers.where(numbers < math.inf)
    found: pd.DataFrame = table[[label, value]]
    return found
