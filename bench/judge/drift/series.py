"""The series that a run measured: whole-cluster figures over the nights, single rails and nodes beside their peers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from bench.judge.blame import PairRate
from bench.judge.blame.transfers import FIRST, transfers
from bench.judge.drift import Fingerprint, NightValue, Series
from bench.judge.evidence import Evidence, derived
from bench.model.collectives import collective
from bench.model.late_dataclass import dataclass
from bench.model.measurement import Case
from bench.model.profile import Limit
from bench.model.units import show_size
from bench.model.verdict import Status
from bench.plan.phase_names import NODES, RERUN
from bench.store.history import RecordedRun, Sample
from bench.store.rows import Row

# below this a call is a matter of latency, from it on of bandwidth
LATENCY_BELOW = 64 << 10
TRENDS = ("collectives", "ring", "pairs")  # phases whose cases are followed over the nights
RAILS = FIRST


@dataclass(frozen=True)
class Fleet:
    """Equals of one night: rails of all nodes, or the nodes.

    values  subject (``node7 mlx5_3``) → bytes/s; None where it was planned and gave no figure
    reruns  subject → bytes/s of its second measurement, NaN where that failed
    """

    name: str
    collective: str
    size: int
    values: Mapping[str, float | None]
    reruns: Mapping[str, float]


def series_of(case: Case, cluster: str) -> Series:
    """The series that a case over the whole job belongs to."""
    forced = "" if case.algorithm == "auto" else f" ({case.algorithm})"
    quantity = "latency" if case.size < LATENCY_BELOW else "busbw"
    return Series(cluster, case.collective + forced, show_size(case.size), quantity)


def followed(evidence: Evidence, again: bool = False) -> dict[Case, Row | None]:
    """The cases of the plan that are followed over the nights, with what they gave; ``again``: their re-runs.

    Of a case in and out of place the collective's first placement is followed.
    """
    everyone = len(evidence.ranks)
    got = {row.case.id: row for row in evidence.rows}
    return {
        case: got.get(case.id)
        for phase in evidence.run.plan.phases
        for case in phase.cases
        if phase.name in ({f"{RERUN}-{name}" for name in TRENDS} if again else TRENDS)
        and case.placement == collective(case.collective).placements[0]
        and [len(group) for group in case.groups] == [everyone]
    }


def samples(evidence: Evidence, cluster: str) -> tuple[Sample, ...]:
    """Every planned series of a run; what was planned and lost is NaN and INCONCLUSIVE, never left out."""
    reruns = {series_of(case, cluster): row for case, row in followed(evidence, again=True).items()}
    found = {}
    for case, row in followed(evidence).items():
        series = series_of(case, cluster)
        second = _value(series, reruns[series]) if series in reruns else None
        value = _value(series, row)
        found[series] = Sample(series, value, _count(row), _status(row, value, evidence), second)
    return tuple(found.values()) + tuple(
        Sample(
            Series(cluster, fleet.collective, show_size(fleet.size), "busbw", subject),
            math.nan if value is None else value,
            status=Status.INCONCLUSIVE if value is None else Status.PASS,
            rerun=fleet.reruns.get(subject),
        )
        for fleet in fleets(evidence)
        for subject, value in fleet.values.items()
    )


def recorded_run(evidence: Evidence, cluster: str, parts: Fingerprint) -> RecordedRun:
    """A run as the history keeps it."""
    manifest = evidence.manifest
    return RecordedRun(manifest.id, manifest.started, cluster, parts, samples(evidence, cluster))


def nights(record: RecordedRun) -> dict[Series, NightValue]:
    """The whole-cluster series of a record as the judge of drift takes them."""
    return {
        each.series: NightValue(
            record.run, record.time, each.value, record.fingerprint, each.rerun, status=each.status
        )
        for each in record.samples
        if not each.series.subject
    }


@derived
def fleets(evidence: Evidence) -> tuple[Fleet, ...]:
    """The rails of all nodes against each other, and the nodes, where the plan had them."""
    found = (_rails(evidence), _nodes(evidence))
    return tuple(fleet for fleet in found if fleet is not None)


def _rails(evidence: Evidence) -> Fleet | None:
    planned = [
        case
        for phase in evidence.run.plan.phases
        for case in phase.cases
        if phase.name == RAILS and case.collective == "p2p"
    ]
    if not planned:
        return None
    # the re-runs of blame are left out: there a healthy rail may have met nobody but the suspect
    first, again = (_by_rail(transfers(evidence, name)) for name in (RAILS, f"{RERUN}-{RAILS}"))
    subjects = _rail_subjects(evidence, planned, first)
    values = {subject: _middle(first.get(subject, ())) for subject in subjects}
    reruns = {subject: median(rates) for subject, rates in again.items() if subject in values}
    return Fleet("rails", "p2p", max(case.size for case in planned), values, reruns)


def _rail_subjects(evidence: Evidence, planned: Sequence[Case], seen: Iterable[str]) -> dict[str, None]:
    """Every rail that the plan wanted to measure, whether or not it gave a figure."""
    where = rail_subjects(evidence)
    wanted = (where[rank] for case in planned for group in case.groups for rank in group if rank in where)
    return dict.fromkeys((*wanted, *seen))


def rail_subjects(evidence: Evidence) -> dict[int, str]:
    """Rank → the node and rail that it uses: ``node7 mlx5_3/1``."""
    names = evidence.rail_names
    return {rank.rank: f"{rank.node} {names[rank.local_rank]}" for rank in evidence.ranks}


def _by_rail(seen: Iterable[PairRate]) -> dict[str, list[float]]:
    """Rates of the transfers that a rail took part in, at either end."""
    found: dict[str, list[float]] = {}
    for each in seen:
        if math.isfinite(each.rate):
            for subject in (f"{each.a} {each.rail}", f"{each.b} {each.rail_b or each.rail}"):
                found.setdefault(subject, []).append(each.rate)
    return found


def _middle(rates: Sequence[float]) -> float | None:
    return median(rates) if rates else None


def _nodes(evidence: Evidence) -> Fleet | None:
    where = evidence.run.node_of
    got: dict[tuple[str, str], float] = {}
    wanted: dict[str, int] = {}
    for phase in evidence.run.plan.phases:
        if phase.name == NODES:
            wanted |= {where[group[0]]: case.size for case in phase.cases for group in case.groups}
    if not wanted:
        return None
    for row in evidence.rows:
        if row.case.phase in (NODES, f"{RERUN}-{NODES}") and row.ranks:
            got[row.case.phase, where[row.measurement.ranks[0]]] = row.busbw
    values = {node: got.get((NODES, node)) for node in wanted}
    reruns = {node: rate for (phase, node), rate in got.items() if phase != NODES}
    return Fleet("nodes", "all_reduce inside a node", max(wanted.values()), values, reruns)


def _value(series: Series, row: Row | None) -> float:
    if row is None:
        return math.nan
    return row.isolated.p50 if series.quantity == "latency" else row.busbw


def _count(row: Row | None) -> int:
    return 0 if row is None else len(row.measurement.pipelined)


def _status(row: Row | None, value: float, evidence: Evidence) -> Status:
    """What is said of the measurement itself: a night that is wrong or below a bound is never a baseline."""
    if row is None or not (math.isfinite(value) and value > 0):
        return Status.INCONCLUSIVE
    limits = (limit for limit in evidence.limits("busbw", "p50") if limit.covers(row.case))
    below = any(not _reached(limit, row) for limit in limits)
    return Status.FAIL if row.wrong or below else Status.PASS


def _reached(limit: Limit, row: Row) -> bool:
    if limit.quantity == "p50":
        return row.isolated.p50 <= limit.bound.value
    return limit.bound.reached(row.busbw)
