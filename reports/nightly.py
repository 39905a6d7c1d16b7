"""The section on drift: series that changed since earlier nights, their trends, and likely causes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.judge.drift import Acceptance, Label, LevelStep, SeriesFinding, changed, replay
from bench.judge.drift.past import Past
from bench.judge.drift.peers import PeerFinding
from bench.judge.drift.tonight import Tonight, compared, explained, tonight
from bench.judge.drift.wording import date, show
from bench.judge.evidence import Evidence
from bench.model.units import show_count
from bench.model.verdict import Status, overall

from .charts import CHARTS
from .sections import View, figures
from .summary import PageInput, moment
from .tables import Cell, ReportTable, code, number, strong

if TYPE_CHECKING:
    from .chart_folder import Drawn

MOST_CHARTS = 4  # series that are drawn: those that changed first, then by name
HEAD = ("label", "series", "tonight", "again", "baseline", "change", "nights", "why")
# what is worth a reader's time first
ORDER = (Label.REGRESSION, Label.SUSPICIOUS, Label.IMPROVEMENT, Label.INSUFFICIENT, Label.OK)


def trends_of(evidence: Evidence) -> tuple[Drawn, ...]:
    """The series that are drawn, with their alternative texts; () for a first night or a run that is not nightly."""
    found = tonight(evidence)
    if found is None:
        return ()
    with_past = [each for each in ranked(found.findings) if found.past.nights.get(each.series)]
    return tuple(_trend(found.past, each) for each in with_past[:MOST_CHARTS])


def ranked(findings: Sequence[SeriesFinding]) -> list[SeriesFinding]:
    """Series that changed come first, the largest change before the others; the rest by name."""
    return sorted(findings, key=lambda each: (ORDER.index(each.label), _change(each), each.series))


def _change(finding: SeriesFinding) -> float:
    return -abs(finding.first.change) if finding.first and finding.label is not Label.OK else 0.0


def _trend(past: Past, finding: SeriesFinding) -> Drawn:
    from .trends import trend_of  # which writes documentation too, and so stands below the export of a report

    nights = [*past.nights.get(finding.series, ()), *([finding.night] if finding.night else [])]
    return trend_of(finding.series, replay(finding.series, nights, past.accepted))


def specifications(evidence: Evidence) -> dict[str, dict[str, Any]]:
    """Name → Vega-Lite specification of the trends of a nightly run."""
    return {each.name: each.spec for each in trends_of(evidence) if each.spec is not None}


def nightly_section(shown: PageInput) -> View | None:
    """The values of the section for a nightly run; None for any other."""
    found = tonight(shown.judged)
    if found is None:
        return None
    findings = ranked(found.findings)
    moved = [
        each for each in findings if each.label is not Label.OK and each.status is not Status.NOT_APPLICABLE
    ]
    others = [each for each in findings if each not in moved]
    since, changes = _since(found)
    status, summary = _summary(found)
    of_runs = {chart.name for chart in CHARTS}
    left_out = [(code(each.path), each.reason) for each in found.past.left_out]
    return {
        "status": status,
        "summary": summary,
        "past": found.past,
        "since": since,
        "changed": ", ".join(changes),
        "moved": _table(moved, found.past, "Series that changed"),
        "others": _table(others, found.past, "Other series"),
        "charts": figures(shown, [name for name in shown.specs if name not in of_runs]),
        "fleets": [_fleet(fleet.name, standings) for fleet, standings in found.fleets],
        "accepted": _accepted(found.past.accepted),
        "left_out": ReportTable("Files left out", ("file", "reason"), left_out),
        "files": show_count(len(left_out), "file"),
    }


def _summary(found: Tonight) -> tuple[Status, str]:
    count = Counter(finding.label for finding in found.findings)
    words = ", ".join(f"{count[label]} {label.value}" for label in ORDER if count[label])
    judged = [finding.status for finding in found.findings if finding.status is not Status.NOT_APPLICABLE]
    status = overall(judged) if judged or not found.findings else Status.NOT_APPLICABLE
    return status, f"{len(found.findings)} series: {words or 'none was planned'}. {compared(found)[1]}"


def _since(found: Tonight) -> tuple[str, tuple[str, ...]]:
    """How tonight follows the nights before; what changed since the last, which begins a new baseline."""
    nights = {(night.time, night.run): night for past in found.past.nights.values() for night in past}
    if not nights:
        return f"The first night of {found.past.cluster}: nothing to compare with yet.", ()
    last = nights[max(nights)]
    changes = changed(last.fingerprint, found.past.parts)
    since = (
        f"{show_count(len(nights), 'night')} before this one, the last on {moment(last.time)} ({last.run})."
    )
    if changes:
        return f"{since} A new baseline begins, because of changes since then:", tuple(changes)
    return f"{since} Nothing changed in the fingerprint since.", ()


def _table(findings: Sequence[SeriesFinding], past: Past, caption: str) -> ReportTable:
    return ReportTable(caption, HEAD, [_row(explained(each, past)) for each in findings], "stacked")


def _row(finding: SeriesFinding) -> tuple[Cell | str, ...]:
    night, change, quantity = finding.night, finding.first, finding.series.quantity
    return (
        Cell(finding.label.value, ORDER.index(finding.label), status=finding.status),
        strong(finding.series.name),
        _figure(quantity, night.value if night else None),
        _figure(quantity, night.rerun if night else None),
        _figure(quantity, change.reference if change else None),
        number(100 * change.change if change else math.nan, 3, " %"),
        number(finding.nights),
        _why(finding),
    )


def _figure(quantity: str, value: float | None) -> Cell:
    if value is None or not math.isfinite(value):
        return number(math.nan)
    return Cell(show(quantity, value), value, True)


def _why(finding: SeriesFinding) -> str:
    parts = (finding.reason, *finding.cause, *map(_step, finding.steps), finding.unattributed)
    return "; ".join(part for part in parts if part)


def _step(step: LevelStep) -> str:
    cause = f": {', '.join(step.cause)}" if step.cause else ""
    return f"step on {date(step.night.time)}, {100 * step.change:+.1f} %{cause}"


def _fleet(name: str, standings: Sequence[PeerFinding]) -> tuple[str, ReportTable]:
    """Single rails or nodes among their peers: those that stand out, or that have too few peers to judge."""
    outliers = [each for each in standings if each.label is not Label.OK]
    rows = [
        (
            Cell(each.label.value, ORDER.index(each.label), status=each.status),
            strong(each.subject),
            _figure("busbw", each.value),
            number(math.nan if each.change is None else 100 * each.change, 3, " %"),
            each.reason,
        )
        for each in outliers
    ]
    text = f"{name}: {len(standings) - len(outliers)} of {len(standings)} as fast as their peers tonight"
    return text, ReportTable(
        name, ("label", "which", "tonight", "against the median", "why"), rows, "stacked"
    )


def _accepted(levels: Sequence[Acceptance]) -> ReportTable:
    rows = [
        (
            Cell(moment(each.since), each.since),
            each.what,
            each.who,
            Cell(moment(each.when), each.when),
            each.why,
        )
        for each in levels
    ]
    return ReportTable("Accepted levels", ("from", "what", "by", "accepted on", "why"), rows)
