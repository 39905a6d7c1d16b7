"""What a measured figure means on the wire: readings of algbw, and what packets leave of a line rate.

"busbw ≥ 400 GB/s" cannot judge 3200 Gb/s: two nodes that reduce inside first read 696 GB/s with wires at
93 %. A reading derives, for one algorithm, the bytes that must have crossed each node's rails. When the
algorithm is not known there is a reading for each that NCCL may have used, and ``conclude`` says what
holds whichever it was.
"""

from __future__ import annotations

import math
from functools import lru_cache

from bench.model.bounds import (
    UNKNOWN,
    ClusterShape,
    candidates,
    ceiling,
    hard_ceiling,
    usable_rate,
    way,
    wire_factor,
    wire_rate,
)
from bench.model.collectives import collective
from bench.model.late_dataclass import dataclass
from bench.model.packets import HEALTHY, MOST
from bench.model.units import show_both, show_rate, show_share

ROUNDING = 1e-3  # a printed figure may stand this much above a ceiling


@dataclass(frozen=True)
class Reading:
    """A measured algbw read under one algorithm.

    known      the algorithm was seen (NCCL's log) or forced; else it is assumed
    wire       bytes/s that each node's rails carried, each way; 0 on one node
    share      of the target; NaN on one node
    ceiling    of busbw under this algorithm, bytes/s
    possible   whether the rails could carry it and busbw is not above the ceiling
    """

    algorithm: str
    known: bool
    wire: float
    share: float
    ceiling: float
    possible: bool
    text: str


def readings(
    name: str,
    algbw: float,
    shape: ClusterShape,
    *,
    algorithm: str = UNKNOWN,
    target: float | None = None,
    in_network: bool = False,
) -> tuple[Reading, ...]:
    """One reading of ``algbw`` (bytes/s) when the algorithm is known, else one for each that may be.

    ``target``: bytes/s a node and direction that were sold; R·B when not given. A collective that ends at
    one GPU is compared with that GPU's share of it. ``in_network``: whether the switches may reduce.
    """
    wanted = shape.node_rate if target is None else target
    known = algorithm != UNKNOWN or len(candidates(name, in_network)) == 1
    ways = _ways(name, algorithm, in_network)
    return tuple(_reading(name, algbw, shape, each, known, wanted) for each in ways)


def is_possible(
    name: str, algbw: float, shape: ClusterShape, *, algorithm: str = UNKNOWN, in_network: bool = False
) -> bool:
    """Whether ``conclude`` calls the ``readings`` of ``algbw`` (bytes/s) anything but an error."""
    if algorithm == UNKNOWN:
        _top(name, shape, in_network)  # a fabric that has none is a BoundError here as there
    fitting = [_fits(name, algbw, shape, each) for each in _ways(name, algorithm, in_network)]
    return any(fitting) and math.isfinite(algbw) and algbw > 0


def _ways(name: str, algorithm: str, in_network: bool) -> tuple[str, ...]:
    """The algorithm, or those that it may have been. A tree loads the rails as hierarchical does on two nodes, and
    within 1/n as a ring from three on.
    """
    if algorithm != UNKNOWN:
        return (algorithm,)
    return tuple(each for each in candidates(name, in_network) if each != "tree")


@dataclass(frozen=True)
class _Limits:
    """``factor`` of algbw gives busbw; ``wire`` and ``busbw`` are at most so much in bytes/s; ``load``: a multiple of
    algbw is on the wire.
    """

    load: float
    factor: float
    wire: float
    busbw: float


@lru_cache(maxsize=4096)
def _limits(name: str, algorithm: str, shape: ClusterShape) -> _Limits:
    """What many rows of one fabric ask of ``bounds``."""
    return _Limits(
        load=wire_factor(name, algorithm, shape),
        factor=collective(name).factor(shape.ranks),
        wire=usable_rate(name, algorithm, shape) * (1 + ROUNDING),
        busbw=math.inf if shape.ranks < 2 else ceiling(name, algorithm, shape) * (1 + ROUNDING),
    )


_top = lru_cache(maxsize=4096)(hard_ceiling)


def _fits(name: str, algbw: float, shape: ClusterShape, algorithm: str) -> bool:
    """Whether the rails could carry ``algbw``, with a busbw not above the ceiling."""
    limits = _limits(name, algorithm, shape)
    # on one rank busbw says nothing, and it may be NaN
    good = shape.ranks < 2 or algbw * limits.factor <= limits.busbw
    return algbw * limits.load <= limits.wire and good


def _reading(
    name: str, algbw: float, shape: ClusterShape, algorithm: str, known: bool, target: float
) -> Reading:
    wire = wire_rate(name, algorithm, algbw, shape)
    top = ceiling(name, algorithm, shape)
    sold = target * way(name, algorithm).part(shape)
    share = wire / sold if shape.nodes > 1 else math.nan
    possible = _fits(name, algbw, shape, algorithm)
    if shape.nodes == 1:
        text = "one node: nothing crosses the rails"
    else:
        text = f"as {algorithm}: {show_both(wire)} a node, {show_share(share)} of {show_rate(sold, 'Gb/s')}"
    if not possible:
        text += f": impossible, its ceiling is a busbw of {show_rate(top)}"
    return Reading(algorithm, known, wire, share, top, possible, text)


@dataclass(frozen=True)
class Conclusion:
    """What the readings of one figure say together.

    kind    error     above every ceiling, or no number: the measurement is wrong
            healthy   the wires carry their share, whichever algorithm it was
            below     they do not, whichever algorithm it was
            inside    a limit inside the node shows, not the rails
            depends   the algorithms disagree: it must be forced or read from the log
            no_wire   one node
    """

    kind: str
    text: str
    next_step: str = ""


NEXT_RAIL = "measure each rail point-to-point, and read the port counters"
FORCE_RING = "measure again with NCCL_ALGO=Ring, which loads the rails whatever NVLink does"


def conclude(
    name: str,
    algbw: float,
    shape: ClusterShape,
    seen: tuple[Reading, ...],
    *,
    inside: float | None = None,
    healthy: float = HEALTHY,
    in_network: bool = False,
) -> Conclusion:
    """One conclusion from the ``readings`` of ``algbw`` (bytes/s).

    ``inside``: algbw in bytes/s of the same collective on one node (measured, or from the profile). It
    tells a run that NVLink holds back from one whose rails are slow.
    """
    if not (math.isfinite(algbw) and algbw > 0) or not seen:
        return Conclusion(
            "error", f"algbw is {algbw}, which is no measurement", "look into the log of the run"
        )
    possible = [reading for reading in seen if reading.possible]
    if not possible:
        return _impossible(name, algbw, shape, seen, in_network)
    if shape.nodes == 1:
        return Conclusion("no_wire", "one node: nothing crosses the rails")
    good = [reading.share >= healthy for reading in possible]
    figures = "; ".join(reading.text for reading in seen)
    if all(good) and all(reading.share > MOST for reading in possible):
        return _too_much(name, figures)
    if all(good):
        how = "healthy" if len(possible) == 1 else "healthy either way"
        return Conclusion("healthy", f"{figures}: {how}")
    if any(good):
        return Conclusion("depends", f"{figures}: depends on the algorithm", FORCE_RING)
    return _below(algbw, possible, figures, inside, healthy)


def _too_much(name: str, figures: str) -> Conclusion:
    """More than packets leave room for, though the rails could carry it."""
    if "in_network" in candidates(name, in_network=True):
        text = "more than packets leave room for, so the switches may have reduced (SHARP)"
        return Conclusion("depends", f"{figures}: {text}", "look for CollNet or NVLS+SHARP in NCCL's log")
    text = "more of what was sold than packets leave room for"
    return Conclusion(
        "depends", f"{figures}: {text}", "check the rate of the rails and the target in the profile"
    )


def _impossible(
    name: str, algbw: float, shape: ClusterShape, seen: tuple[Reading, ...], in_network: bool
) -> Conclusion:
    busbw = algbw * collective(name).factor(shape.ranks)
    if seen[0].known:
        top, whose = seen[0].ceiling, seen[0].algorithm
    else:
        top, whose = hard_ceiling(name, shape, in_network), "any algorithm"
    return Conclusion(
        "error",
        f"busbw {show_rate(busbw)} is above the {show_rate(top)} that {whose} can reach on this fabric: "
        "the measurement is wrong",
        "check the size convention, the number of ranks and the timing; with SHARP, say that switches reduce",
    )


def _below(
    algbw: float, possible: list[Reading], figures: str, inside: float | None, healthy: float
) -> Conclusion:
    if any(reading.algorithm == "ring" for reading in possible):
        whichever = " either way" if len(possible) > 1 else ""
        return Conclusion("below", f"{figures}: below {show_share(healthy)}{whichever}", NEXT_RAIL)
    if inside is None:
        text = "not a test of the rails: a limit inside the node would show the same"
        return Conclusion("inside", f"{figures}: {text}", FORCE_RING)
    if algbw >= healthy * inside:
        share = show_share(algbw / inside)
        text = f"not a test of the rails: {share} of what one node does alone, so bound inside the node"
        return Conclusion("inside", f"{figures}: {text}", FORCE_RING)
    text = (
        f"below {show_share(healthy)} of the wire and of what one node does alone ({show_rate(inside)} algbw)"
    )
    return Conclusion("below", f"{figures}: {text}", FORCE_RING)
