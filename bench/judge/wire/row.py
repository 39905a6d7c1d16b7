"""One measured row on the wire: the rate a node, its share of the target, the ceiling, and what follows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.judge.wire.readings import Conclusion, Reading, conclude, readings
from bench.judge.wire.readings import is_possible as possible
from bench.model.bounds import BoundError, Fabric, hard_ceiling
from bench.model.collectives import algbw, collective
from bench.model.measurement import Case, Measurement
from bench.model.packets import HEALTHY
from bench.model.profile import Profile
from bench.model.stats import median, median_interval
from bench.model.units import show_both, show_rate, show_share
from bench.store import Run
from bench.store.rows import Row, row_of

from .algorithm import AlgorithmInForce, in_force
from .fabric_of import Unplaced, fabric_of, node_names

ALONE = "nodes"  # the phase that measures each node by itself


@dataclass(frozen=True)
class RowReading:
    """What a row means on the rails of its nodes.

    in_force    the algorithm, or unknown; ``readings`` holds one for each that it may have been
    ceiling     busbw in bytes/s that the algorithm, or when it is unknown any, can reach; inf: NVLink unknown
    target      bytes/s a node and direction that were sold, of the rails that this row may use
    """

    case: str
    fabric: Fabric
    in_force: AlgorithmInForce
    readings: tuple[Reading, ...]
    ceiling: float
    target: float
    conclusion: Conclusion

    @property
    def possible(self) -> tuple[Reading, ...]:
        """The readings that the rails could carry."""
        return tuple(reading for reading in self.readings if reading.possible)

    @property
    def wire(self) -> tuple[float, float]:
        """(least, most) bytes/s a node and direction over the possible readings; NaN when there is none."""
        rates = [reading.wire for reading in self.possible]
        return (min(rates), max(rates)) if rates else (math.nan, math.nan)

    @property
    def share(self) -> tuple[float, float]:
        """(least, most) share of the target over the possible readings; NaN on one node."""
        shares = [reading.share for reading in self.possible]
        return (min(shares), max(shares)) if shares else (math.nan, math.nan)

    @property
    def network_text(self) -> str:
        """``2970.0 Gb/s, 92.8 % as hierarchical; impossible as ring``."""
        if self.fabric.nodes == 1:
            return "nothing crosses the rails"
        parts = [
            f"{show_rate(r.wire, 'Gb/s')}, {show_share(r.share)} as {r.algorithm}" for r in self.possible
        ]
        parts += [f"impossible as {r.algorithm}" for r in self.readings if not r.possible]
        return "; ".join(parts)

    @property
    def protocol_text(self) -> str:
        """``protocol LL128``; "" where NCCL's log does not name it."""
        return f"protocol {self.in_force.protocol}" if self.in_force.protocol else ""

    @property
    def ceiling_text(self) -> str:
        """The ceiling of busbw in GB/s and Gb/s, and whose it is."""
        whose = self.in_force.algorithm if self.in_force.known else "any algorithm"
        return f"{show_both(self.ceiling)} by {whose}" if math.isfinite(self.ceiling) else "not known"


def of_row(row: Row, run: Run, profile: Profile, healthy: float = HEALTHY) -> RowReading | None:
    """The reading of one row; None where no fabric or bound describes it (``why_not`` says why).

    ``healthy``: share of the target from which the wires count as loaded as they should be.
    """
    try:
        return _read(row, run, profile, healthy)
    except (Unplaced, BoundError):
        return None


def is_possible(row: Row, run: Run, profile: Profile) -> bool | None:
    """Whether the conclusion of ``of_row`` is anything but an error; None where it has no reading.

    The same without words: of the tens of thousands of pairs of a large cluster nearly none is an error.
    """
    try:
        placed = _placed(row, run, profile)
        return _fits(row.algbw, placed, profile) or _fits(lasting(row), placed, profile)
    except (Unplaced, BoundError):
        return None


def _fits(algbw: float, placed: tuple[str, Fabric, AlgorithmInForce], profile: Profile) -> bool:
    name, fabric, force = placed
    return possible(name, algbw, fabric, algorithm=force.algorithm, in_network=profile.rails.in_network)


def lasting(row: Row) -> float:
    """algbw in bytes/s that the row reached for certain: at the slow end of its median's interval, or where its
    blocks are too few for one, in the slowest of them. Buffers on the way let a short block pass above the wire's rate.
    """
    blocks = [max(block) for block in row.measurement.pipelined if block]
    seconds = median_interval(blocks)[1] if blocks else math.nan
    if blocks and not math.isfinite(seconds):
        seconds = max(blocks)
    return algbw(row.case.size, seconds) if seconds > 0 else math.nan


def why_not(row: Row, run: Run, profile: Profile) -> str:
    """Why ``of_row`` has no reading; "" when it has one."""
    try:
        _read(row, run, profile, HEALTHY)
    except (Unplaced, BoundError) as reason:
        return str(reason)
    return ""


def _read(row: Row, run: Run, profile: Profile, healthy: float) -> RowReading:
    name, fabric, force = placed = _placed(row, run, profile)
    rails, sharp = profile.rails, profile.rails.in_network
    sure = lasting(row)
    reached = sure if not _fits(row.algbw, placed, profile) and _fits(sure, placed, profile) else row.algbw
    sold = rails.target.value * fabric.rails / rails.count if rails.target and rails.count else None
    seen = readings(
        name,
        reached,
        fabric,
        algorithm=force.algorithm,
        target=sold if fabric.nodes > 1 else None,
        in_network=sharp,
    )
    return RowReading(
        case=row.case.id,
        fabric=fabric,
        in_force=force,
        readings=seen,
        ceiling=seen[0].ceiling if force.known else hard_ceiling(name, fabric, sharp),
        target=fabric.node_rate if sold is None else sold,
        conclusion=conclude(
            name, reached, fabric, seen, inside=alone(name, run, profile), healthy=healthy, in_network=sharp
        ),
    )


def _placed(row: Row, run: Run, profile: Profile) -> tuple[str, Fabric, AlgorithmInForce]:
    fabric = fabric_of(row.case, row.measurement.ranks, run, profile)
    force = in_force(row.case, run)
    if run.manifest.backend == "gloo" and not force.known:
        raise Unplaced(force.how)
    return row.case.collective, fabric, force


def alone(name: str, run: Run, profile: Profile) -> float | None:
    """algbw in bytes/s of a collective on one node by itself: the slowest node measured in this run, at the
    largest size; else what the profile says of a healthy one; else None.
    """
    if not _ALONE or _ALONE[0][0] is not run or _ALONE[0][1] is not profile:
        _ALONE[:] = [(run, profile, {})]
    known = _ALONE[0][2]
    if name not in known:
        known[name] = _alone(name, run, profile)
    return known[name]


# of the run that was read last: every one of its rows asks, and an answer reads all of its measurements
_ALONE: list[tuple[Run, Profile, dict[str, float | None]]] = []


def _alone(name: str, run: Run, profile: Profile) -> float | None:
    planned = [case for phase in run.plan.phases if phase.name == ALONE for case in phase.cases]
    largest = max((case for case in planned if case.collective == name), key=lambda c: c.size, default=None)
    rates = [row_of(largest, each).algbw for each in _inside(run, largest)] if largest else []
    if rates and all(math.isfinite(rate) for rate in rates):
        return min(rates)
    if profile.alone is None or name != "all_reduce":
        return None
    gpus = profile.gpus or round(median([float(count) for count in _ranks_a_node(run)]))
    factor = collective(name).factor(gpus)
    return profile.alone.value / factor if factor else None


def _inside(run: Run, case: Case) -> list[Measurement]:
    """The measurements of a case whose group is on one node."""
    return [
        each
        for each in run.measurements
        if each.case == case.id and len(set(node_names(each.ranks, run))) == 1
    ]


def _ranks_a_node(run: Run) -> list[int]:
    return [sum(rank.node == node for rank in run.manifest.ranks) for node in run.manifest.nodes]
