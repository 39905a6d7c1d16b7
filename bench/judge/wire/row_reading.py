"""One measured row on the wire: the rate a node, its share of the target, the ceiling, and what follows."""

from __future__ import annotations

import math
from collections import defaultdict

from bench.judge.evidence import Evidence, derived
from bench.judge.wire.readings import Conclusion, Reading, conclude, readings
from bench.judge.wire.readings import is_possible as possible
from bench.model.bounds import BoundError, ClusterShape, hard_ceiling
from bench.model.collectives import algbw, collective
from bench.model.late_dataclass import dataclass
from bench.model.packets import HEALTHY
from bench.model.stats import median, median_interval
from bench.model.timings import Blocks
from bench.model.units import show_both, show_rate, show_share
from bench.store.rows import Row

from .algorithm import AlgorithmUsed, algorithm_used
from .group_shape import Unplaced, node_names, shape_of

SINGLE_NODE = "nodes"  # the phase that measures each node by itself


@dataclass(frozen=True)
class RowReading:
    """What a row means on the rails of its nodes.

    used        the algorithm, or unknown; ``readings`` holds one for each that it may have been
    ceiling     busbw in bytes/s that the algorithm, or when it is unknown any, can reach; inf: NVLink unknown
    target      bytes/s a node and direction that were sold, of the rails that this row may use
    """

    case: str
    shape: ClusterShape
    used: AlgorithmUsed
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
        if self.shape.nodes == 1:
            return "nothing crosses the rails"
        parts = [
            f"{show_rate(r.wire, 'Gb/s')}, {show_share(r.share)} as {r.algorithm}" for r in self.possible
        ]
        parts += [f"impossible as {r.algorithm}" for r in self.readings if not r.possible]
        return "; ".join(parts)

    @property
    def protocol_text(self) -> str:
        """``protocol LL128``; "" where NCCL's log does not name it."""
        return f"protocol {self.used.protocol}" if self.used.protocol else ""

    @property
    def ceiling_text(self) -> str:
        """The ceiling of busbw in GB/s and Gb/s, and whose it is."""
        whose = self.used.algorithm if self.used.known else "any algorithm"
        return f"{show_both(self.ceiling)} by {whose}" if math.isfinite(self.ceiling) else "not known"


def of_row(row: Row, evidence: Evidence, healthy: float = HEALTHY) -> RowReading | None:
    """The reading of one row; None where no fabric or bound describes it (``why_not`` says why).

    ``healthy``: share of the target from which the wires count as loaded as they should be.
    """
    try:
        return _read(row, evidence, healthy)
    except (Unplaced, BoundError):
        return None


def is_possible(row: Row, evidence: Evidence) -> bool | None:
    """Whether the conclusion of ``of_row`` is anything but an error; None where it has no reading.

    The same without words: of the tens of thousands of pairs of a large cluster nearly none is an error.
    """
    try:
        placed = _placed(row, evidence)
        return _fits(row.algbw, placed, evidence) or _fits(sustained_algbw(row), placed, evidence)
    except (Unplaced, BoundError):
        return None


def _fits(algbw: float, placed: tuple[str, ClusterShape, AlgorithmUsed], evidence: Evidence) -> bool:
    name, shape, used = placed
    return possible(name, algbw, shape, algorithm=used.algorithm, in_network=evidence.rails.in_network)


def sustained_algbw(row: Row) -> float:
    """algbw in bytes/s that the row reached for certain: at the slow end of its median's interval, or where its
    blocks are too few for one, in the slowest of them. Buffers on the way let a short block pass above the wire's rate.
    """
    blocks = Blocks.of(row.measurement.pipelined).slowest
    seconds = median_interval(blocks)[1] if blocks else math.nan
    if blocks and not math.isfinite(seconds):
        seconds = max(blocks)
    return algbw(row.case.size, seconds) if seconds > 0 else math.nan


def why_not(row: Row, evidence: Evidence) -> str:
    """Why ``of_row`` has no reading; "" when it has one."""
    try:
        _read(row, evidence, HEALTHY)
    except (Unplaced, BoundError) as reason:
        return str(reason)
    return ""


def _read(row: Row, evidence: Evidence, healthy: float) -> RowReading:
    name, shape, used = placed = _placed(row, evidence)
    rails, sharp = evidence.rails, evidence.rails.in_network
    reached = row.algbw
    if not _fits(reached, placed, evidence) and _fits(sustained := sustained_algbw(row), placed, evidence):
        reached = sustained
    sold = rails.target.value * shape.rails / rails.count if rails.target and rails.count else None
    seen = readings(
        name,
        reached,
        shape,
        algorithm=used.algorithm,
        target=sold,
        in_network=sharp,
    )
    inside = _single_node_algbw(evidence).get(name)
    return RowReading(
        case=row.case.id,
        shape=shape,
        used=used,
        readings=seen,
        ceiling=seen[0].ceiling if used.known else hard_ceiling(name, shape, sharp),
        target=shape.node_rate if sold is None else sold,
        conclusion=conclude(name, reached, shape, seen, inside=inside, healthy=healthy, in_network=sharp),
    )


def _placed(row: Row, evidence: Evidence) -> tuple[str, ClusterShape, AlgorithmUsed]:
    shape = shape_of(row.case, row.measurement.ranks, evidence)
    used = algorithm_used(row.case, evidence)
    if evidence.backend == "gloo" and not used.known:
        raise Unplaced(used.how)
    return row.case.collective, shape, used


@derived
def _single_node_algbw(evidence: Evidence) -> dict[str, float]:
    """Collective → algbw in bytes/s of the slowest single node measured in this run, at the largest size; else, for
    all_reduce, the profile's value for a healthy node.
    """
    planned = [case for case in evidence.run.plan.cases if case.phase == SINGLE_NODE]
    largest = {case.collective: case.id for case in sorted(planned, key=lambda case: case.size)}
    rates: dict[str, list[float]] = defaultdict(list)
    for row in evidence.rows:
        is_largest = row.case.phase == SINGLE_NODE and row.case.id == largest[row.case.collective]
        if is_largest and len(set(node_names(row.measurement.ranks, evidence))) == 1:
            rates[row.case.collective].append(row.algbw)
    found = {name: min(each) for name, each in rates.items() if all(map(math.isfinite, each))}
    profile, ranks_on = evidence.profile, evidence.run.ranks_on
    if profile.alone is not None and "all_reduce" not in found:
        gpus = profile.gpus or round(median([float(count) for count in ranks_on.values()]))
        if factor := collective("all_reduce").factor(gpus):
            found["all_reduce"] = profile.alone.value / factor
    return found
