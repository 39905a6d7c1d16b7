"""Writes the reports of a run into its folder: page, Markdown, specifications, pictures, rows as CSV.

Everything is a pure function of the run and the profile: the same bytes each time, on every machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.plain import plain
from bench.profile import Profile
from bench.store import Run, RunError, write_text

from . import nightly
from .charts import CHARTS
from .frames import Frames, frames
from .markdown import markdown
from .page import page
from .pictures import svgs
from .theme import drawable, specification, text_of

CHART_FOLDER = "charts"


def write(run: Run, profile: Profile) -> list[Path]:
    """Write report.html, report.md, rows.csv and charts/ into the run's folder; the paths, page first.

    ``run`` carries its verdicts. Each file is replaced as a whole. Raises RunError when a file cannot be written.
    """
    f = frames(run, profile)
    specs = drawable({**specifications(f), **nightly.specifications(run, profile)})
    files: dict[str, str] = {
        "report.html": page(run, profile, f, specs),
        "report.md": plain(markdown(run, profile, f, tuple(specs))),
        "rows.csv": plain(rows_csv(f)),
    }
    for name, spec in specs.items():
        files[f"{CHART_FOLDER}/{name}.vl.json"] = text_of(spec)
        drawn = svgs(spec)
        files[f"{CHART_FOLDER}/{name}.svg"] = drawn["light"]
        files[f"{CHART_FOLDER}/{name}.dark.svg"] = drawn["dark"]
    folder = run.path / CHART_FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write {folder}: {error.strerror}") from None
    for name, text in files.items():
        write_text(run.path / name, text)
    return [run.path / name for name in files]


def specifications(f: Frames) -> dict[str, dict[str, Any]]:
    """Name → Vega-Lite specification of every chart that has something to draw, in the order of CHARTS.

    What is to be seen in it stands in ``description``: browsers read it out, wherever it is embedded.
    """
    drawn = ((chart, chart.draw(f)) for chart in CHARTS)
    return {
        chart.name: {**specification(picture), "description": chart.about(f)}
        for chart, picture in drawn
        if picture is not None
    }


def rows_csv(f: Frames) -> str:
    """Every row with all its columns; rates in GB/s, times in µs; empty where there is no value."""
    text: str = f.rows.to_csv(index=False, lineterminator="\n")
    return text
