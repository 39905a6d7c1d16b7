"""Is everybody waiting for the same rank, or is everybody slow alike?

What each case usually takes is known by the nights before, else by the profile's bounds. Calls that take no longer
fail nobody, whoever is waited for in them; where they do, it is asked what they would take without the waiting.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from bench.judge.drift.past import from_json
from bench.judge.drift.series import series_of
from bench.judge.evidence import Evidence
from bench.judge.registry import check
from bench.judge.stragglers import Waiting, stragglers
from bench.model.profile import Profile
from bench.model.verdict import Status, Verdict
from bench.store.rows import Row

from .bounds import matching

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


@check("blame.stragglers")
def waiting(evidence: Evidence) -> Iterator[Verdict]:
    """All together are as fast as usual; who comes late or leaves late in most iterations is named."""
    cases = {case.id: case for case in evidence.run.plan.cases}
    before = usual_of_nights(evidence)
    usual = {**usual_of_bounds(evidence), **before}
    answer = stragglers(evidence.run.measurements, cases, evidence.ranks, usual)
    # coverage says what was not measured; and on a machine whose speed nobody vouches for, somebody may well
    # be waited for most of the time
    if not (evidence.profile.limits or before) or answer.status is Status.INCONCLUSIVE:
        yield Verdict(
            "blame.stragglers",
            "ranks",
            Status.SKIP,
            answer.text,
            "three ranks or more, and a bound or nights on what was measured",
            evidence.profile.name,
        )
        return
    yield Verdict(
        "blame.stragglers",
        _subject(answer),
        answer.status,
        answer.text,
        "no waiting for the same rank that makes calls slow, and all as fast as usual",
        _source(answer, before, evidence.profile),
        _next_step(answer),
        evidence=answer.left_out,
    )


def _blames(answer: Waiting) -> bool:
    return answer.status is Status.FAIL and bool(answer.culprits) and not answer.systemwide


def _subject(answer: Waiting) -> str:
    return ", ".join(straggler.name for straggler in answer.culprits) if _blames(answer) else "ranks"


def _next_step(answer: Waiting) -> str:
    if answer.status is not Status.FAIL:
        return ""
    if not answer.iterations:
        return UNKNOWN
    return ONE if _blames(answer) else ALL


def _source(answer: Waiting, before: dict[str, float], want: Profile) -> str:
    if answer.slow != answer.slow:  # NaN: no usual time is known
        return "RailGauge"
    return f"RailGauge; usual: {'the nights before' if before else f'the bounds of {want.name}'}"


def usual_of_nights(evidence: Evidence) -> dict[str, float]:
    """Seconds that a call by itself usually takes, by case, from the good ones of the last nights; {} of none.

    Nights of another fingerprint (driver, NCCL, firmware, nodes …) say nothing of this cluster as it is.
    """
    if not evidence.run.history:
        return {}
    past = from_json(evidence.run.history)
    found = {}
    for row in _whole(evidence):
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
    """The same from the profile's bounds on this many nodes: more than that is slow."""
    found: dict[str, float] = {}
    count = evidence.node_count
    for limit in evidence.profile.limits:
        if limit.quantity in ("p50", "busbw") and limit.nodes[0] <= count <= limit.nodes[1]:
            for row in matching(evidence, limit):
                value = limit.bound.value
                seconds = value if limit.quantity == "p50" else _at(row, value)
                found[row.case.id] = min(seconds, found.get(row.case.id, seconds))
    return found


def _whole(evidence: Evidence) -> list[Row]:
    """Rows over the whole job, as the series of the nights are."""
    return [row for row in evidence.rows if row.ranks == len(evidence.ranks)]


def _at(row: Row, rate: float) -> float:
    """Seconds of one isolated call at a busbw of ``rate`` bytes/s: as much longer than back to back as it is now."""
    return row.isolated.p50 * row.busbw / rate
