"""The nights of a history as charts: each series with its accepted level, its steps and likely causes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from bench.judge.drift import (
    QUANTITIES,
    Acceptance,
    Label,
    LevelStep,
    Mark,
    NightValue,
    NoRuptures,
    Series,
    replay,
    steps,
)
from bench.judge.drift.wording import date, show
from bench.model.printable import as_markdown as plain
from bench.model.redact import scrub_text
from bench.model.units import GIGA, MICRO, show_count
from bench.store.history import HistoryError, LeftOutFile, acceptances, nights, runs

from .chart_folder import Drawn, Page
from .charts.trend import LEVEL_COLUMNS, NIGHT_COLUMNS, STEP_COLUMNS, trend
from .frames import rounded
from .tables import ReportTable, markdown_table
from .theme import specification

AXES = {"rate": (GIGA, "GB/s; 1 GB/s = 8 Gb/s"), "time": (MICRO, "µs")}
SAME_LEVEL = 0.0025  # a level that moves by less than this share is drawn as one
RECENT = 120  # nights that a chart shows
WORST_FIRST = (Label.REGRESSION, Label.SUSPICIOUS, Label.INSUFFICIENT, Label.IMPROVEMENT, Label.OK)


def history_pages(
    history: str, cluster: str | None = None
) -> tuple[tuple[Page, ...], tuple[LeftOutFile, ...]]:
    """A page a cluster with the trends of its whole-cluster series, and the files of the history left out.

    Raises HistoryError, also for a cluster that it does not know.
    """
    entries, problems = runs(history, cluster)
    clusters = sorted({entry.cluster for entry in entries})
    if cluster is not None and cluster not in clusters:
        raise HistoryError(
            f"{scrub_text(history)}: no runs of cluster {cluster!r}; railgauge history list DIR shows them"
        )
    pages = []
    for name in clusters:
        past, broken = nights(history, name)
        words, others = acceptances(history, name)
        problems = (*problems, *broken, *others)
        pages.append(cluster_page(name, past, words))
    return tuple(pages), tuple(dict.fromkeys(problems))


def cluster_page(
    cluster: str, past: Mapping[Series, Sequence[NightValue]], accepted: Iterable[Acceptance] = ()
) -> Page:
    """The trends of one cluster, what moved before the others, and a table of them."""
    words = tuple(accepted)
    marks = {
        series: replay(series, past[series], words)
        for series in sorted(past)
        if series.quantity in QUANTITIES
    }
    ordered = sorted(marks, key=lambda series: (_rank(marks[series]), series))
    drawn = tuple(trend_of(series, marks[series]) for series in ordered)
    rows = sorted((_rank(marked), *_row(series, marked)) for series, marked in marks.items() if marked)
    last = max((marked[-1].night.time for marked in marks.values() if marked), default=0.0)
    intro = f"{len(marks)} series of cluster {plain(cluster)}, the last night {date(last)}."
    overview = ReportTable("Series", ("series", "last night", "label", "change"), [row[1:] for row in rows])
    return Page(
        f"nightly-{slug(cluster)}",
        f"{cluster}: every night",
        (intro, markdown_table(overview, len(rows))),
        drawn,
    )


def _rank(marked: Sequence[Mark]) -> int:
    """The place of its last night among labels, the worst first; a series without nights comes last."""
    return WORST_FIRST.index(marked[-1].label) if marked else len(WORST_FIRST)


def _row(series: Series, marked: Sequence[Mark]) -> tuple[str, str, str, str]:
    mark = marked[-1]
    value = show(series.quantity, mark.night.level) if mark.night.measured else "no figure"
    change = (
        "" if mark.level is None else f"{100 * (mark.night.level / mark.level - 1):+.1f} % from its level"
    )
    return title(series), f"{value}, {date(mark.night.time)}", mark.label.value, change


def trend_of(series: Series, marked: Sequence[Mark]) -> Drawn:
    """The chart of one series; None in it where no night has a figure."""
    recent = marked[-RECENT:]
    known = [mark for mark in recent if mark.night.measured]
    name, heading = f"trend-{slug(series.name)}", title(series)
    if not known:
        return Drawn(name, heading, "No night has a figure.", None)
    found, unknown = _steps(known)
    unit, axis = AXES[QUANTITIES[series.quantity].kind]
    subtitle = (
        f"{show_count(len(known), 'night')}; band: what the accepted level allows; dashed: steps" + unknown
    )
    chart = trend(
        nights_frame(known, unit), levels_frame(recent, unit), steps_frame(found),
        title=heading, subtitle=subtitle, axis=f"{series.quantity} ({axis})",
    )  # fmt: skip
    about = _about(series, known, found) + (f" {unknown.strip('; ').capitalize()}." if unknown else "")
    return Drawn(name, heading, about, {**specification(chart), "description": about})


def _steps(known: Sequence[Mark]) -> tuple[tuple[LevelStep, ...], str]:
    """The steps, and a note where they cannot be detected."""
    try:
        return steps([mark.night for mark in known]), ""
    except NoRuptures:
        return (), "; steps are not detected: ruptures is not installed"


def nights_frame(known: Sequence[Mark], unit: float) -> pd.DataFrame:
    """NIGHT_COLUMNS; values in ``unit``."""
    rows = [(mark.night.time, rounded(mark.night.level / unit), mark.label.value) for mark in known]
    table: pd.DataFrame = pd.DataFrame(rows, columns=list(NIGHT_COLUMNS))
    return table


def levels_frame(marks: Sequence[Mark], unit: float) -> pd.DataFrame:
    """LEVEL_COLUMNS: a row for each stretch of nights whose baseline stands at about one level."""
    rows: list[tuple[float, float, float, float, float]] = []
    before: Mark | None = None
    for mark in marks:
        if mark.level is not None and mark.low is not None and mark.high is not None:
            figures = tuple(rounded(value / unit) for value in (mark.level, mark.low, mark.high))
            if before is not None and before.epoch == mark.epoch and rows and _same_level(rows[-1], figures):
                rows[-1] = (rows[-1][0], mark.night.time, *rows[-1][2:])
            else:
                joined = before is not None and before.epoch == mark.epoch and before.level is not None
                start = rows[-1][1] if joined and rows else mark.night.time
                rows.append((start, mark.night.time, figures[0], figures[1], figures[2]))
        before = mark
    table: pd.DataFrame = pd.DataFrame(rows, columns=list(LEVEL_COLUMNS))
    return table


def _same_level(row: tuple[float, ...], figures: tuple[float, ...]) -> bool:
    return all(abs(new / old - 1) < SAME_LEVEL for old, new in zip(row[2:], figures, strict=True) if old)


def steps_frame(found: Sequence[LevelStep]) -> pd.DataFrame:
    """STEP_COLUMNS: when, by how much, and what changed with it."""
    rows = [(step.night.time, f"{_percent(step.change)}: {_cause(step)}") for step in found]
    table: pd.DataFrame = pd.DataFrame(rows, columns=list(STEP_COLUMNS))
    return table


def _percent(change: float) -> str:
    return f"{100 * change:+.1f} %".replace("-", "−")


def _cause(step: LevelStep) -> str:
    return ", ".join(step.cause) if step.cause else "no change in the fingerprint"


def _about(series: Series, known: Sequence[Mark], found: Sequence[LevelStep]) -> str:
    last = known[-1]
    changes = [f"{date(step.night.time)} {_percent(step.change)}, {_cause(step)}" for step in found[-3:]]
    values = [mark.night.level for mark in known]
    low, high = show(series.quantity, min(values)), show(series.quantity, max(values))
    return (
        f"{title(series)} over {show_count(len(known), 'night')}, between {low} and {high}; the last night is "
        f"{show(series.quantity, last.night.level)}, {last.label.value}. "
        + (f"Steps: {'; '.join(changes)}." if changes else "No step was found.")
    )


def title(series: Series) -> str:
    """``all_reduce 1 GiB busbw``; the cluster stands on the page."""
    return " ".join(
        part for part in (series.subject, series.collective, series.size_class, series.quantity) if part
    )


def slug(name: str) -> str:
    """A name as part of a file's name; names that differ stay different."""
    plain_name = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:60]
    if re.fullmatch(r"[A-Za-z0-9_ -]+", name) and len(name) <= 60:
        return plain_name
    return f"{plain_name}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
