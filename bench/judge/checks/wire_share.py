"""What the rails carried: no figure above its ceiling, the profile's share of the wire, three readings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.judge.evidence import Evidence
from bench.judge.registry import check
from bench.judge.wire import RowReading, TargetReading, is_possible, of_row, of_target, why_not
from bench.model.profile import Limit
from bench.model.units import show_both, show_rate, show_share, show_size
from bench.model.verdict import Status, Verdict
from bench.store import IMPORTED
from bench.store.rows import Row

# what a conclusion is as a verdict; the others cannot tell by this row
JUDGED = {"healthy": Status.PASS, "below": Status.FAIL, "error": Status.INCONCLUSIVE}


@check("wire.ceiling")
def ceiling(evidence: Evidence) -> Iterator[Verdict]:
    """No figure is above what any algorithm can reach on this fabric: such a measurement is wrong."""
    tried = [row for row in evidence.rows if not row.measurement.extra.failed]  # blame judges those
    told = [(row, is_possible(row, evidence.run, evidence.profile)) for row in tried]
    read = [row for row, possible in told if possible is not None]
    if evidence.rows and not read:
        why = why_not(tried[0], evidence.run, evidence.profile) if tried else "nothing got through"
        yield Verdict("wire.ceiling", "all rows", Status.SKIP, f"no ceiling is known: {why}")
        return
    bad = [(row, of_row(row, evidence.run, evidence.profile)) for row, possible in told if possible is False]
    for row, reading in bad:
        assert reading is not None
        yield Verdict(
            "wire.ceiling",
            f"{row.case.id} {_group(row, evidence)}".strip(),
            Status.INCONCLUSIVE,
            reading.conclusion.text,
            f"busbw of at most {reading.ceiling_text}",
            f"{evidence.profile.name}: {reading.fabric.nodes} nodes × {reading.fabric.gpus} GPUs",
            f"{reading.conclusion.next_step}; or judge by the profile of this fabric",
            value=row.busbw,
            bound=reading.ceiling,
        )
    if read and not bad:
        left = len(evidence.rows) - len(read)
        measured = f"{len(read)} rows are at or below their ceilings" + (
            f", {left} have none" if left else ""
        )
        yield Verdict("wire.ceiling", "all rows", Status.PASS, measured)


def _group(row: Row, evidence: Evidence) -> str:
    """Which group of several a row is of."""
    if row.ranks == len(evidence.ranks):
        return ""
    return f"ranks {row.measurement.ranks[0]}-{row.measurement.ranks[-1]}"


@check("wire.share")
def share(evidence: Evidence) -> Iterator[Verdict]:
    """The rails carry the profile's share of the target, under the algorithm in force."""
    limits = [limit for limit in evidence.profile.limits if _speaks(limit, evidence)]
    if not limits:
        return
    verdicts = []
    for limit in limits:
        rows = matching(evidence, limit)
        if not rows:
            yield _missing(limit, evidence)
        verdicts += [_judge(row, limit, evidence) for row in rows]
    yield from verdicts
    if verdicts and all(verdict.status is Status.SKIP for verdict in verdicts):
        yield Verdict(
            "wire.share",
            "rails",
            Status.INCONCLUSIVE,
            f"none of {len(verdicts)} rows tells what the rails carry; first: {verdicts[0].measured}",
            "a row that does",
            evidence.profile.name,
            verdicts[0].next_step,
        )


def _speaks(limit: Limit, evidence: Evidence) -> bool:
    return limit.quantity == "wire_share" and limit.nodes[0] <= evidence.node_count <= limit.nodes[1]


def matching(evidence: Evidence, limit: Limit) -> list[Row]:
    """Rows over the whole job of the bound's collective, sizes and algorithm ("": as NCCL chose).

    The evidence phase is slowed by NCCL's log and is left out.
    """
    wanted = limit.algorithm or "auto"
    return [
        row
        for row in evidence.rows
        if row.case.collective == limit.collective
        and row.case.algorithm == wanted
        and row.case.phase != "evidence"
        and limit.size[0] <= row.case.size <= limit.size[1]
        and row.ranks == len(evidence.ranks)
    ]


def _missing(limit: Limit, evidence: Evidence) -> Verdict:
    """Nothing to hold against a bound: INCONCLUSIVE; of an import nobody can ask for more than it holds."""
    low, high = (show_size(size) for size in limit.size)
    imported = evidence.manifest.launcher == IMPORTED
    return Verdict(
        "wire.share",
        f"{limit.collective} {limit.algorithm}".strip(),
        Status.SKIP if imported else Status.INCONCLUSIVE,
        f"the import holds no such row from {low} to {high}"
        if imported
        else f"no row from {low} to {high} was measured",
        f"at least {limit.bound.text} of the target",
        limit.bound.source,
        "measure that size: see [sweep] of the profile",
    )


def _judge(row: Row, limit: Limit, evidence: Evidence) -> Verdict:
    reading = of_row(row, evidence.run, evidence.profile, healthy=limit.bound.value)
    if reading is None:
        status, measured, step = (
            Status.INCONCLUSIVE,
            why_not(row, evidence.run, evidence.profile),
            "name the rails in the profile",
        )
    else:
        status = JUDGED.get(reading.conclusion.kind, Status.SKIP)
        measured = f"busbw {show_both(row.busbw)}; {reading.conclusion.text}"
        step = reading.conclusion.next_step
    return Verdict(
        "wire.share",
        row.case.id,
        status,
        measured,
        f"at least {limit.bound.text} of {_target(reading)}",
        limit.bound.source,
        "" if status is Status.PASS else step,
        value=reading.share[1] if reading else None,
        bound=limit.bound.value,
    )


def _target(reading: RowReading | None) -> str:
    return show_rate(reading.target, "Gb/s") if reading else "the target"


@check("wire.target")
def target(evidence: Evidence) -> Iterator[Verdict]:
    """Port counters, the forced Ring and the rails point-to-point agree on what the rails carry."""
    found = of_target(evidence.run, evidence.rows, evidence.profile)
    told = [reading for reading in found.readings if reading.told]
    yield Verdict(
        "wire.target",
        "rails",
        found.status,
        found.text,
        found.wanted,
        found.source,
        found.next_step,
        value=min((reading.share for reading in told), default=None),
        evidence=_evidence(found.readings),
    )


def _evidence(readings: Sequence[TargetReading]) -> tuple[str, ...]:
    lines = []
    for reading in readings:
        figure = f"{show_both(reading.rate)}, {show_share(reading.share)}: " if reading.told else ""
        lines += [f"{reading.name}: {figure}{reading.text}", *reading.evidence]
    return tuple(lines)
