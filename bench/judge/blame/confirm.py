"""Suspects are measured again before they are named; this says which transfers, and against whom."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from bench.judge.blame.matrix import Floats, Mask, Matrix, cells
from bench.judge.blame.solve import Fault, Leaves, ports_of
from bench.judge.blame.suspects import Subject
from bench.model.late_dataclass import dataclass

PARTNERS = 3
"""Different good nodes that a suspect port is measured against."""

LEAST = 3
"""Re-measurements below which a transfer is not settled."""

MOST = 21
"""Re-measurements after which a transfer is settled, however restless the others are."""

CHANCE = 0.01
"""Paths named by chance that a whole run may be expected to have."""


@dataclass(frozen=True)
class Test:
    """Measure a and b on ``rail`` alone, both directions; with ``rail_b`` across rails."""

    a: str
    b: str
    rail: str
    rail_b: str = ""

    __test__ = False


def repeats_needed(m: Matrix, reference: float, floor: float, wide: Mask) -> int:
    """Re-measurements whose median may name a single transfer, so that chance names none in a whole run.

    How often a healthy transfer is slow for once is seen in those that were slow first and are not when measured
    again. wide: [R, N, N] transfers whose loss something wider than a path explains.
    """
    with np.errstate(invalid="ignore"):
        slow = (1 - m.rate / reference > floor) & ~wide
        tried = slow & (m.times >= LEAST) & np.isfinite(m.again)
        passed = tried & (1 - m.again / reference <= floor)
    count, looked = int(slow.sum()), int(tried.sum())
    if not looked:
        return LEAST
    often = count / max(int(np.isfinite(m.rate).sum()), 1) * int(passed.sum()) / looked
    return next(
        (times for times in range(LEAST, MOST, 2) if count * _median_slow(times, often) <= CHANCE), MOST
    )


@lru_cache(maxsize=256)
def _median_slow(times: int, often: float) -> float:
    """Probability that the median of ``times`` values is slow by chance, where each is with ``often``."""
    half = range((times + 1) // 2, times + 1)
    return sum(math.comb(times, slow) * often**slow * (1 - often) ** (times - slow) for slow in half)


def _settled(test: Test, m: Matrix, least: int) -> bool:
    """Whether both directions were measured again often enough already."""
    a, b = m.nodes.index(test.a), m.nodes.index(test.b)
    if test.rail_b:
        return (test.a, test.rail, test.b, test.rail_b) in m.cross
    rail = m.rails.index(test.rail)
    return bool(min(m.times[rail, a, b], m.times[rail, b, a]) >= least)


def confirmations(
    suspects: Sequence[Fault], m: Matrix, limit: int, leaves: Leaves, least: int = LEAST
) -> tuple[Test, ...]:
    """The transfers to measure again, deepest suspect first, at most ``limit``; ``bench.model.rounds.pack`` packs.

    Ports, nodes and leaves meet good nodes, each test another one where there are enough; a path is
    measured as it is; two ends that cannot be distinguished also meet across rails. Go through the whole
    list ``BlameRules.repeats`` times rather than repeat each test on the spot: a disturbance passes. ``least``:
    re-measurements that a path needs (see ``repeats_needed``).
    """
    bad = {(s.node, s.rail) for fault in suspects for s in _all(fault) if s.kind in ("port", "gpu")}
    bad |= {(s.node, rail) for fault in suspects for s in _all(fault) if s.kind == "node" for rail in m.rails}
    good = _Partners(m.nodes, bad)
    wanted: dict[Test, None] = {}
    for fault in suspects:
        for test in _tests(fault, m, good, leaves):
            if not _settled(test, m, least if fault.subject.kind == "path" else LEAST):
                wanted.setdefault(test)
    return tuple(wanted)[:limit]


def _all(fault: Fault) -> tuple[Subject, ...]:
    return (fault.subject, *fault.rivals)


class _Partners:
    """Gives good nodes in turn, the least used first, so that the tests pack into few rounds."""

    def __init__(self, nodes: Sequence[str], bad: set[tuple[str, str]]) -> None:
        self.nodes, self.bad, self.used = nodes, bad, Counter[str]()

    def take(self, node: str, rail: str, count: int) -> list[str]:
        others = [other for other in self.nodes if other != node]
        best = sorted(others, key=lambda other: ((other, rail) in self.bad, self.used[other], other))[:count]
        self.used.update(best)
        return best


def _tests(fault: Fault, m: Matrix, good: _Partners, leaves: Leaves) -> Iterator[Test]:
    subject = fault.subject
    if subject.kind == "path":
        yield _test(subject.node, subject.peer, subject.rail)
    elif subject.kind in ("port", "gpu"):
        yield from (
            _test(subject.node, to, subject.rail) for to in good.take(subject.node, subject.rail, PARTNERS)
        )
        yield from _across(fault, m)
    elif subject.kind == "node":
        for rail in m.rails:
            yield from (_test(subject.node, to, rail) for to in good.take(subject.node, rail, 2))
    elif subject.kind == "leaf":
        for node, rail in ports_of(subject, leaves)[: 2 * PARTNERS]:
            yield from (_test(node, to, rail) for to in good.take(node, rail, 1))
    elif subject.kind == "rail":
        free = [node for node in m.nodes if (node, subject.rail) not in good.bad]
        free = (free if len(free) > 1 else list(m.nodes))[: 4 * PARTNERS]
        yield from (_test(a, b, subject.rail) for a, b in zip(free[::2], free[1::2], strict=False))


def _test(a: str, b: str, rail: str) -> Test:
    return Test(min(a, b), max(a, b), rail)


def _across(fault: Fault, m: Matrix) -> Iterator[Test]:
    """Each of two ports that cannot be distinguished, against another rail of the other node."""
    ports = [subject for subject in _all(fault) if subject.kind == "port"]
    others = [rail for rail in m.rails if rail != fault.subject.rail]
    if len(ports) == 2 and others:
        yield Test(ports[0].node, ports[1].node, fault.subject.rail, others[0])
        yield Test(ports[1].node, ports[0].node, fault.subject.rail, others[0])


def verdict(
    fault: Fault, fresh: Floats, m: Matrix, floor: float, leaves: Leaves, least: int = LEAST
) -> bool | None:
    """Whether re-measurements ``fresh`` [R, N, N] (NaN none) of its transfers confirm it; None: too few.

    ``least``: as of ``confirmations``; what fewer of them clear is cleared.
    """
    inside = cells(fault.subject, m, ports_of(fault.subject, leaves))
    seen = fresh[inside & (m.times >= LEAST) & np.isfinite(fresh)]
    tried = int((inside & np.isfinite(m.best)).sum())
    if seen.size < max(1, min(2, tried)):
        return None
    slow = bool(np.median(seen) > floor)
    few = fault.subject.kind == "path" and int(m.times[inside & np.isfinite(fresh)].max()) < least
    return None if slow and few else slow


def same(left: Subject, right: Subject) -> bool:
    """Whether the two are the same thing, whatever the direction."""
    key = ("kind", "node", "peer", "rail", "name")
    return all(getattr(left, name) == getattr(right, name) for name in key)


def cleared(before: Iterable[Fault], after: Iterable[Fault], m: Matrix) -> tuple[Subject, ...]:
    """The subjects that the first pass suspected, that were measured again, and that are suspected no more."""
    still = [subject for fault in after for subject in _all(fault)]
    return tuple(
        fault.subject
        for fault in before
        if fault.subject.kind in ("port", "path", "node", "rail")
        and (cells(fault.subject, m) & (m.times >= LEAST)).any()
        and not any(same(fault.subject, subject) for subject in still)
    )
