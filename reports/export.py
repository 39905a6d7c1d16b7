"""Writes the reports of a run into its folder: page, Markdown, specifications, pictures, rows as CSV.

Everything is a pure function of the run and the profile: the same bytes each time, on every machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vl_convert

from bench.profile import Profile
from bench.store import Run, RunError, write_text

from .charts import CHARTS
from .frames import Frames, frames
from .markdown import markdown
from .page import page
from .theme import config, specification, text_of

CHART_FOLDER = "charts"
VEGA_LITE = "5.21"


def write(run: Run, profile: Profile) -> list[Path]:
    """Write report.html, report.md, rows.csv and charts/ into the run's folder; the paths, page first.

    ``run`` carries its verdicts. Each file is replaced as a whole. Raises RunError when a file cannot be written.
    """
    f = frames(run, profile)
    specs = specifications(f)
    files: dict[str, str] = {
        "report.html": page(run, profile, f, specs),
        "report.md": markdown(run, profile, f, tuple(specs)),
        "rows.csv": rows_csv(f),
    }
    for name, spec in specs.items():
        files[f"{CHART_FOLDER}/{name}.vl.json"] = text_of(spec)
        files[f"{CHART_FOLDER}/{name}.svg"] = svg(spec, "light")
        files[f"{CHART_FOLDER}/{name}.dark.svg"] = svg(spec, "dark")
    folder = run.path / CHART_FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write {folder}: {error.strerror}") from None
    for name, text in files.items():
        write_text(run.path / name, text)
    return [run.path / name for name in files]


def specifications(f: Frames) -> dict[str, dict[str, Any]]:
    """Name → Vega-Lite specification of every chart that has something to draw, in the order of CHARTS."""
    drawn = ((chart.name, chart.draw(f)) for chart in CHARTS)
    return {name: specification(chart) for name, chart in drawn if chart is not None}


def svg(spec: dict[str, Any], mode: str) -> str:
    """A picture for places without Vega; ``mode``: light or dark. Nothing is fetched: the data are inline."""
    text: str = vl_convert.vegalite_to_svg(
        spec, vl_version=VEGA_LITE, config=config(mode), allowed_base_urls=[]
    )
    return text


def rows_csv(f: Frames) -> str:
    """Every row with all its columns; rates in GB/s, times in µs; empty where there is no value."""
    text: str = f.rows.to_csv(index=False, lineterminator="\n")
    return text
