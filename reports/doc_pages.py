"""Pages of a documentation folder: one run, or several runs beside each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from bench.judge.evidence import Evidence
from bench.judge.scope import simulated
from bench.model.printable import as_markdown as plain
from bench.model.units import BITS, show_count
from bench.store import Run

from .chart_folder import Drawn, Page
from .charts import CHARTS
from .charts.bars import RuleLine, ranked_bars
from .export import specifications
from .frames import Frames, frames
from .summary import MARKS, headline, moment
from .theme import specification

TITLES = {"collectives": "Collectives", "rails": "Rails and pairs of nodes"}  # of others, their own name
NOT_DRAWN = "Nothing was measured for this chart."


def run_pages(judged: Evidence) -> tuple[Page, ...]:
    """The charts of a judged run, a page for each section of CHARTS; of some there may be nothing to draw."""
    f = frames(judged)
    specs = specifications(f)
    found = []
    for section in dict.fromkeys(chart.section for chart in CHARTS):
        title = TITLES.get(section, section.capitalize())
        rows = [chart for chart in CHARTS if chart.section == section]
        drawn = tuple(
            Drawn(row.name, row.title, row.about(f), specs[row.name])
            if row.name in specs
            else Drawn(row.name, row.title, NOT_DRAWN, None)
            for row in rows
        )
        found.append(Page(section, title, (origin(judged),), drawn))
    return tuple(found)


def heading(judged: Evidence) -> str:
    """The title of the folder of a run."""
    return f"Charts: {judged.profile.name}, {show_count(judged.node_count, 'node')}"


def origin(judged: Evidence) -> str:
    """Where the figures are from, as a line of Markdown: verdict, platform, size, time, run."""
    status, words = headline(judged.run)
    m = judged.manifest
    made_up = f"**{simulated(judged.run)}** " if m.simulated else ""
    return (
        f"{made_up}{MARKS[status]} {status.shown}: {plain(words)}. {plain(judged.profile.title)}, "
        f"{show_count(len(m.ranks), 'rank')} on {show_count(len(m.nodes), 'node')}, {moment(m.started)}, "
        f"run {plain(m.id)}."
    )


def compared_pages(runs: Sequence[Evidence]) -> tuple[Page, ...]:
    """Runs beside each other: for each collective of any of them, its best busbw in each, ranked."""
    several, names = [frames(each) for each in runs], _labels([each.run for each in runs])
    collectives = sorted({series for f in several for series in f.best["series"]})
    drawn = tuple(_ranked(series, names, several) for series in collectives)
    intro = tuple(f"{plain(name)}: {origin(each)}" for name, each in zip(names, runs, strict=True))
    return (Page("clusters", "Runs beside each other", intro, drawn),)


def _labels(runs: Sequence[Run]) -> list[str]:
    """The label of each run; runs with the same name get the names of their folders."""
    ids = [run.manifest.id for run in runs]
    return [
        name if ids.count(name) == 1 else f"{name} ({run.path})" for name, run in zip(ids, runs, strict=True)
    ]


def _ranked(series: str, names: Sequence[str], found: Sequence[Frames]) -> Drawn:
    rows = []
    for name, f in zip(names, found, strict=True):
        best = f.best[f.best["series"] == series]
        value = float(best["busbw"].iloc[0]) if len(best) else 0.0
        rows.append((name, value, str(best["note"].iloc[0]) if len(best) else ""))
    data = pd.DataFrame(rows, columns=["run", "busbw", "note"])
    targets = {f.target for f in found}
    target = targets.pop() if len(targets) == 1 else math.nan
    rule = RuleLine(target, f"rails of a node: {target:,.4g} GB/s = {target * BITS:,.5g} Gb/s")
    chart = ranked_bars(
        data, "run", "busbw", title=f"Best bus bandwidth of {series}", subtitle="run by run",
        axis="bus bandwidth (GB/s; 1 GB/s = 8 Gb/s)", format=",.4~g", missing="not measured", note="note",
        rule=rule if math.isfinite(target) else None,
    )  # fmt: skip
    ordered = sorted(rows, key=lambda row: (-row[1], row[0]))
    figures = "; ".join(
        f"{name} {value:.4g} GB/s" if value > 0 else f"{name} not measured" for name, value, _ in ordered
    )
    about = f"Best bus bandwidth of {series}, largest first: {figures}."
    return Drawn(_file(series), series, about, {**specification(chart), "description": about})


def _file(series: str) -> str:
    """``clusters-all_reduce-ring`` of ``all_reduce (ring)``."""
    words = "".join(character if character.isalnum() or character == "_" else " " for character in series)
    return "-".join(["clusters", *words.split()])
