"""What the rails carried: no figure above its ceiling, the profile's share of the wire, three readings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import by_profile, check
from bench.judge.wire import TargetReading, is_possible, of_row, of_target, why_not
from bench.model.profile import Limit
from bench.model.units import show_both, show_rate, show_share
from bench.model.verdict import Verdict
from bench.plan.phase_names import STEADY, STEADY_AGAIN
from bench.store.rows import Row

from .bounds import missing

# what a conclusion is as a verdict; other rows are no test of the rails
JUDGED = {"healthy": True, "below": False, "error": None}


@check("wire.ceiling")
def ceiling(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """No figure is above what any algorithm can reach on this fabric: such a measurement is wrong."""
    # blame judges what failed; a call by itself after a pause may go through a shaper's burst
    tried = [
        row
        for row in evidence.rows
        if not row.measurement.extra.failed and row.case.phase not in (STEADY, STEADY_AGAIN)
    ]
    possible = [(row, is_possible(row, evidence)) for row in tried]
    read = sum(ok is not None for _, ok in possible)
    if evidence.rows and not read:
        why = why_not(tried[0], evidence) if tried else "nothing got through"
        yield NotApplicable(why, "all rows")
    for row in (row for row, ok in possible if ok is False):
        reading = of_row(row, evidence)
        assert reading is not None
        yield Finding(
            f"{row.case.id} {_group(row, evidence)}".strip(),
            None,
            reading.conclusion.text,
            row.busbw,
            wanted=f"busbw of at most {reading.ceiling_text}",
            source=f"{by_profile(evidence)}: {reading.shape.nodes} nodes × {reading.shape.gpus} GPUs",
            case=row.case.id,
            step=f"{reading.conclusion.next_step}; or judge by the profile of this fabric",
            bound=reading.ceiling,
        )
    if read and all(ok is not False for _, ok in possible):
        rest = f", {len(evidence.rows) - read} have none" if read < len(evidence.rows) else ""
        yield Finding("all rows", True, f"{read} rows are at or below their ceilings{rest}")


def _group(row: Row, evidence: Evidence) -> str:
    """Which group of several a row is of."""
    if row.ranks == len(evidence.ranks):
        return ""
    return f"ranks {row.measurement.ranks[0]}-{row.measurement.ranks[-1]}"


@check("wire.share")
def share(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """The rails carry the profile's share of the target, by the algorithm used."""
    found = []
    for limit in evidence.limits("wire_share"):
        rows = evidence.rows_of(limit)
        if not rows:
            yield missing(limit, evidence)
        found += [_share(row, limit, evidence) for row in rows]
    yield from found
    if found and all(isinstance(each, NotApplicable) for each in found):
        first = found[0]
        assert isinstance(first, NotApplicable)
        text = f"none of {len(found)} rows is a test of the rails; first: {first.reason}"
        yield Finding(
            "rails", None, text, wanted="a row that is", source=by_profile(evidence), step=first.step
        )


def _share(row: Row, limit: Limit, evidence: Evidence) -> Finding | NotApplicable:
    bound = limit.bound
    reading = of_row(row, evidence, healthy=bound.value)
    if reading is None:
        return Finding(
            row.case.id,
            None,
            why_not(row, evidence),
            wanted=f"at least {bound.text} of the target",
            source=bound.source,
            step="name the rails in the profile",
            bound=bound.value,
            case=row.case.id,
        )
    measured = f"busbw {show_both(row.busbw)}; {reading.conclusion.text}"
    if reading.conclusion.kind not in JUDGED:
        return NotApplicable(measured, row.case.id, step=reading.conclusion.next_step, case=row.case.id)
    ok = JUDGED[reading.conclusion.kind]
    return Finding(
        row.case.id,
        ok,
        measured,
        reading.share[1],
        wanted=f"at least {bound.text} of {show_rate(reading.target, 'Gb/s')}",
        source=bound.source,
        step="" if ok else reading.conclusion.next_step,
        bound=bound.value,
        case=row.case.id,
    )


@check("wire.target")
def target(evidence: Evidence) -> Iterator[Verdict]:
    """Port counters, the forced Ring and the rails point-to-point agree on what the rails carry."""
    found = of_target(evidence)
    yield Verdict(
        "wire.target",
        "rails",
        found.status,
        found.text,
        found.wanted,
        found.source,
        found.next_step,
        value=min((reading.share for reading in found.readings if reading.told), default=None),
        evidence=_lines(found.readings),
    )


def _lines(readings: Sequence[TargetReading]) -> tuple[str, ...]:
    lines = []
    for reading in readings:
        figure = f"{show_both(reading.rate)}, {show_share(reading.share)}: " if reading.told else ""
        lines += [f"{reading.name}: {figure}{reading.text}", *reading.evidence]
    return tuple(lines)
