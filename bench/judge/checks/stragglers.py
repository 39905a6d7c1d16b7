"""Is everybody waiting for the same rank, or is everybody slow alike?

What each case usually takes is known by the nights before, else by the profile's bounds. Calls that take no longer
fail nobody, whoever is waited for in them; where they do, it is asked what they would take without the waiting.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from bench.judge.drift.past import past_of
from bench.judge.drift.series import series_of
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.judge.stragglers import Waiting, stragglers
from bench.model.profile import Profile
from bench.model.verdict import Status
from bench.store.rows import Row

NIGHTS, LEAST = 7, 3  # nights that say what is usual: the last few, and no fewer than that
ONE = (
    "run again without the node named: if that is as fast as usual, look at its clocks, CPU load and affinity; "
    "if it is not, it was not the reason: a path of long delay looks the same"
)
ALL = (
    "compare clocks, power, other load and the fabric of all nodes with a night that was fast; a rank that is slow "
    "inside the call makes all slow alike too: look at each node by itself (phase nodes) and at its pairs, "
    "then run again"
)
UNKNOWN = "run again with this version, which records who is waited for"


@check("blame.stragglers", subject="ranks", wanted="no straggler, and calls as fast as usual")
def waiting(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """Calls are as fast as usual; a rank that comes late or leaves late in most iterations is named."""
    cases = {case.id: case for case in evidence.run.plan.cases}
    before = usual_of_nights(evidence)
    usual = {**usual_of_bounds(evidence), **before}
    answer = stragglers(evidence.run.measurements, cases, evidence.ranks, usual)
    # coverage names what was not measured; and on a machine whose speed nobody vouches for, somebody may well
    # be waited for most of the time
    if not (evidence.profile.limits or before) or answer.status is Status.INCONCLUSIVE:
        yield NotApplicable(answer.text)
        return
    named = answer.status is Status.FAIL and bool(answer.culprits) and not answer.systemwide
    yield Finding(
        ", ".join(straggler.name for straggler in answer.culprits) if named else "ranks",
        answer.status is Status.PASS,
        answer.text,
        source=_source(answer, before, evidence.profile),
        step=""
        if answer.status is Status.PASS
        else UNKNOWN
        if not answer.iterations
        else ONE
        if named
        else ALL,
        evidence=answer.left_out,
    )


def _source(answer: Waiting, before: dict[str, float], want: Profile) -> str:
    if answer.slow != answer.slow:  # NaN: no usual time is known
        return "RailGauge"
    return f"RailGauge; usual: {'the nights before' if before else f'the bounds of {want.name}'}"


def usual_of_nights(evidence: Evidence) -> dict[str, float]:
    """Seconds that an isolated call usually takes, by case, from the good ones of the last nights; {} of none.

    Nights of another fingerprint (driver, NCCL, firmware, nodes …) say nothing of this cluster as it is.
    """
    past = past_of(evidence.run)
    if past is None:
        return {}
    found = {}
    for row in (
        row for row in evidence.rows if row.ranks == len(evidence.ranks)
    ):  # as the series of the nights
        series = series_of(row.case, past.cluster)
        good = [
            night.value
            for night in past.nights.get(series, ())
            if night.status is Status.PASS and night.fingerprint == past.parts
        ]
        values = [value for value in good if value > 0][-NIGHTS:]
        if len(values) >= LEAST:
            latency = series.quantity == "latency"
            found[row.case.id] = median(values) if latency else _at(row, median(values))
    return found


def usual_of_bounds(evidence: Evidence) -> dict[str, float]:
    """Return, by case, the most seconds that the profile's bounds allow it on this many nodes."""
    found: dict[str, float] = {}
    for limit in evidence.limits("p50", "busbw"):
        for row in evidence.rows_of(limit):
            value = limit.bound.value
            seconds = value if limit.quantity == "p50" else _at(row, value)
            found[row.case.id] = min(seconds, found.get(row.case.id, seconds))
    return found


def _at(row: Row, rate: float) -> float:
    """Seconds of one isolated call at a busbw of ``rate`` bytes/s: as much longer than back to back as it is now."""
    return row.isolated.p50 * row.busbw / rate
