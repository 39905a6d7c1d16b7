"""The section on drift: what moved since the nights before, the nights of what matters most, and why."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.judge.drift import Acceptance, Finding, Label, Step, changed, replay
from bench.judge.drift.past import Past
from bench.judge.drift.tonight import Tonight, compared, explained, tonight
from bench.judge.drift.wording import date, show
from bench.model.profile import Profile
from bench.model.units import show_count
from bench.model.verdict import Status, overall
from bench.store import Run

from .markup import Html, tag
from .pieces import Shown, badge, figure, fold, section
from .summary import moment
from .tables import Cell, number, table

if TYPE_CHECKING:
    from .docs import Drawn

MOST_CHARTS = 4  # series that are drawn: those that moved first, then as the plan has them
HEAD = ("label", "series", "tonight", "again", "baseline", "change", "nights", "why")
# what is worth a reader's time first
ORDER = (Label.REGRESSION, Label.SUSPICIOUS, Label.IMPROVEMENT, Label.INSUFFICIENT, Label.OK)


def trends_of(run: Run, profile: Profile) -> tuple[Drawn, ...]:
    """The series that are drawn, each with its words; () of a run that has no nights before it, or is no night."""
    found = tonight(run, profile)
    if found is None:
        return ()
    with_past = [each for each in ranked(found.findings) if found.past.nights.get(each.series)]
    return tuple(_trend(found.past, each) for each in with_past[:MOST_CHARTS])


def ranked(findings: Sequence[Finding]) -> list[Finding]:
    """What moved first, and of that the furthest first; the rest by name."""
    return sorted(findings, key=lambda each: (ORDER.index(each.label), _change(each), each.series))


def _change(finding: Finding) -> float:
    return -abs(finding.first.change) if finding.first and finding.label is not Label.OK else 0.0


def _trend(past: Past, finding: Finding) -> Drawn:
    from .trends import trend_of  # which writes documentation too, and so stands below the export of a report

    nights = [*past.nights.get(finding.series, ()), *([finding.night] if finding.night else [])]
    return trend_of(finding.series, replay(finding.series, nights, past.accepted))


def specifications(run: Run, profile: Profile) -> dict[str, dict[str, Any]]:
    """Name → Vega-Lite specification of the trends of a nightly run."""
    return {each.name: each.spec for each in trends_of(run, profile) if each.spec is not None}


def nightly_section(shown: Shown) -> Html | None:
    """Drift of a nightly run; None of any other."""
    found = tonight(shown.run, shown.profile)
    if found is None:
        return None
    figures = [
        figure(each.name, each.about)
        for each in trends_of(shown.run, shown.profile)
        if each.name in shown.specs
    ]
    return section(
        "nightly",
        "Drift: tonight among the nights",
        _summary(found),
        tag("p", found.past.plan, class_="soft"),
        _since_last(found),
        _findings(found),
        figures,
        _fleets(found),
        _accepted(found.past.accepted),
        _left_out(found.past),
    )


def _summary(found: Tonight) -> Html:
    count = Counter(finding.label for finding in found.findings)
    words = ", ".join(f"{count[label]} {label.value}" for label in ORDER if count[label])
    status = overall(finding.status for finding in found.findings if finding.status is not Status.SKIP)
    young = all(finding.status is Status.SKIP for finding in found.findings)
    mark = badge(Status.SKIP if young and found.findings else status)
    told = f" {len(found.findings)} series: {words or 'none was planned'}. {compared(found)[1]}"
    return tag("p", mark, told)


def _since_last(found: Tonight) -> Html:
    """Where tonight stands in the history, and whether it is comparable with the night before."""
    nights = {(night.time, night.run): night for past in found.past.nights.values() for night in past}
    where = (
        f"Recorded as {found.past.recorded}."
        if found.past.recorded
        else f"✘ Not recorded: {found.past.trouble or 'the run did not come to that'}."
    )
    if not nights:
        return tag("p", f"The first night of {found.past.cluster}: nothing to compare with yet. {where}")
    last = nights[max(nights)]
    moved = changed(last.fingerprint, found.past.parts)
    since = f"{len(nights)} nights before this one, the last on {moment(last.time)} ({last.run})."
    if not moved:
        return tag("p", f"{since} Nothing changed in the fingerprint since. {where}")
    return tag(
        "p",
        f"{since} Since then changed, so that a new baseline begins: ",
        tag("strong", ", ".join(moved)),
        f". {where}",
    )


def _findings(found: Tonight) -> list[Html]:
    """What moved, or could not be told, open; the others are one click away."""
    every = ranked(found.findings)
    odd = [each for each in every if each.label is not Label.OK and each.status is not Status.SKIP]
    calm = [each for each in every if each not in odd]
    parts = [_table(odd, found.past, "Series that moved")] if odd else []
    text = f"{len(calm)} series that stand where they stood, or are too young to tell"
    return parts + ([fold(text, _table(calm, found.past, "Other series"))] if calm else [])


def _table(findings: Sequence[Finding], past: Past, caption: str) -> Html:
    return table(HEAD, [_row(explained(each, past)) for each in findings], caption, "stacked")


def _row(finding: Finding) -> tuple[Cell | str, ...]:
    night, said, quantity = finding.night, finding.first, finding.series.quantity
    return (
        Cell([badge(finding.status), f" {finding.label.value}"], ORDER.index(finding.label)),
        Cell(tag("strong", finding.series.name), finding.series.name),
        _figure(quantity, night.value if night else None),
        _figure(quantity, night.rerun if night else None),
        _figure(quantity, said.reference if said else None),
        number(100 * said.change, 3, " %") if said else Cell("–", "", True),
        number(finding.nights),
        _why(finding),
    )


def _figure(quantity: str, value: float | None) -> Cell:
    if value is None or not math.isfinite(value):
        return Cell("–", "", True)
    return Cell(show(quantity, value), value, True)


def _why(finding: Finding) -> str:
    parts = [
        finding.reason,
        *finding.cause,
        *map(_step, finding.steps),
    ]
    return "; ".join(part for part in (*parts, finding.unattributed) if part)


def _step(step: Step) -> str:
    cause = f": {', '.join(step.cause)}" if step.cause else ""
    return f"step on {date(step.night.time)}, {100 * step.change:+.1f} %{cause}"


def _fleets(found: Tonight) -> list[Html]:
    """Single rails and nodes among their peers; those that stand out, or that there are too few to tell."""
    parts = []
    for fleet, standings in found.fleets:
        odd = [each for each in standings if each.label is not Label.OK]
        rows = [
            (
                Cell([badge(each.status), f" {each.label.value}"], ORDER.index(each.label)),
                tag("strong", each.subject),
                _figure("busbw", each.value),
                number(100 * each.change, 3, " %") if each.change is not None else Cell("–", "", True),
                each.reason,
            )
            for each in odd
        ]
        text = f"{fleet.name}: {len(standings) - len(odd)} of {len(standings)} as fast as their peers tonight"
        head = ("label", "which", "tonight", "against the median", "why")
        parts.append(fold(text, table(head, rows, fleet.name, "stacked")) if rows else tag("p", f"✔ {text}"))
    return parts


def _accepted(words: Sequence[Acceptance]) -> Html | None:
    if not words:
        return None
    rows = [
        (
            Cell(moment(word.since), word.since),
            " ".join(part for part in (word.collective, word.size_class, word.quantity) if part)
            or "all series",
            word.who,
            Cell(moment(word.when), word.when),
            word.why,
        )
        for word in words
    ]
    return fold(
        f"Accepted levels: {len(rows)}",
        table(("from", "what", "by", "said on", "why"), rows, "Accepted levels"),
    )


def _left_out(past: Past) -> Html | None:
    if not past.left_out:
        return None
    rows = [(tag("code", each.path), each.reason) for each in past.left_out]
    return fold(
        f"? {show_count(len(rows), 'file')} of the history left out: broken or foreign",
        table(("file", "why"), rows, "Files left out"),
        opened=True,
    )
