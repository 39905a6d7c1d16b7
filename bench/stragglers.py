"""Ranks that others wait for, told apart from a slowdown of everybody.

A synchronous collective lasts as long as its slowest rank. If that is the same rank most of the time,
it is a straggler; if everybody takes a turn and it is slow nevertheless, the system is slow. What the
algorithm itself makes last (the leaves of a broadcast, the root of a reduce) says nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.model import Case, Measurement, Rank, Status
from bench.units import show_seconds, show_share

MOST = 0.5
"""Share of iterations in which a straggler is last."""

CHANCE = 1e-4
"""Probability, over all ranks, that chance alone makes one of them last so often."""

SLOWER = 1.1
"""Times the usual time from which on the whole is called slow."""


@dataclass(frozen=True)
class Straggler:
    """``name`` (a rank, or a node when several of its ranks take turns) was last in ``share`` of iterations."""

    kind: str
    name: str
    ranks: tuple[int, ...]
    share: float
    evidence: str


@dataclass(frozen=True)
class Waiting:
    """What the lasts and the isolated times say.

    status      FAIL somebody is waited for, or all are slow; PASS neither; ERROR could not tell
    stragglers  most waited for first
    slow        time / usual time of the median case; NaN when no usual time is known
    systemwide  all are slow although nobody is waited for more than others
    iterations  counted; ``left_out``: measurements that say nothing, with the reason
    unknown     what could not be told
    """

    status: Status
    stragglers: tuple[Straggler, ...]
    slow: float
    systemwide: bool
    iterations: int
    left_out: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def text(self) -> str:
        """One line."""
        if self.stragglers:
            return "; ".join(straggler.evidence for straggler in self.stragglers)
        if self.systemwide:
            return f"all ranks are slow alike: {self.slow:.2f} times the usual time, no rank is last in most iterations"
        told = f"no rank is last in most of {self.iterations} iterations"
        if math.isfinite(self.slow):
            told += f", all together take {self.slow:.2f} times the usual time"
        return "; ".join(self.unknown) or told


def stragglers(
    measurements: Iterable[Measurement],
    cases: Mapping[str, Case],
    ranks: Sequence[Rank],
    usual: Mapping[str, float] | None = None,
) -> Waiting:
    """Who is last most of the time.

    cases  by id, to leave out collectives with a root
    ranks  of the job, for the nodes
    usual  median isolated seconds of a case id, from nights before or a bound; without it a slowdown of all is not seen
    """
    kept, left_out = _usable(measurements, cases)
    node = {rank.rank: rank.node for rank in ranks}
    found = _persistent(kept, node)
    slow = _slow(kept, usual or {})
    iterations = sum(sum(each.last) for each in kept)
    unknown = _unknown(kept, slow, found)
    systemwide = not found and slow >= SLOWER
    return Waiting(
        status=_status(bool(found) or systemwide, bool(kept)),
        stragglers=found,
        slow=slow,
        systemwide=systemwide,
        iterations=iterations,
        left_out=left_out,
        unknown=unknown,
    )


def _status(failed: bool, told: bool) -> Status:
    if failed:
        return Status.FAIL
    return Status.PASS if told else Status.ERROR


def _usable(
    measurements: Iterable[Measurement], cases: Mapping[str, Case]
) -> tuple[list[Measurement], tuple[str, ...]]:
    """(measurements that can show a straggler, why the others cannot)."""
    kept, left_out = [], []
    for each in measurements:
        reason = _useless(each, cases.get(each.case))
        if reason:
            left_out.append(f"{each.case}: {reason}")
        else:
            kept.append(each)
    return kept, tuple(left_out)


def _useless(each: Measurement, case: Case | None) -> str:
    """Why ``each`` says nothing about stragglers; empty when it does."""
    checks = (
        (case is None, "its case is not in the plan"),
        (case is not None and case.root >= 0, "it has a root, so the algorithm decides who is last"),
        (
            len(each.ranks) < 3,
            "with fewer than three ranks one of them is always last in half of the iterations",
        ),
        (len(each.last) != len(each.ranks), f"{len(each.last)} counts for {len(each.ranks)} ranks"),
        (any(count < 0 for count in each.last), "a count is negative"),
        (sum(each.last) == 0, "no isolated iteration was counted"),
    )
    return next((reason for wrong, reason in checks if wrong), "")


def _persistent(kept: Sequence[Measurement], node: Mapping[int, str]) -> tuple[Straggler, ...]:
    """Ranks last in most iterations; a node when only its ranks together are."""
    by_rank, by_node, chances = defaultdict[int, int](int), defaultdict[str, int](int), _Chances()
    for each in kept:
        chances.add(each, node)
        for rank, count in zip(each.ranks, each.last, strict=True):
            by_rank[rank] += count
            by_node[node.get(rank, "?")] += count
    found = [
        _named("rank", f"rank {rank} on {node.get(rank, '?')}", (rank,), by_rank[rank], chances.rank[rank])
        for rank in by_rank
        if _is_straggler(by_rank[rank], chances.rank[rank], len(by_rank))
    ]
    blamed = {node.get(rank, "?") for straggler in found for rank in straggler.ranks}
    for name in sorted(set(by_node) - blamed - {"?"}):
        if _is_straggler(by_node[name], chances.node[name], len(by_node)):
            ranks = tuple(sorted(rank for rank in by_rank if node.get(rank) == name))
            found.append(_named("node", f"node {name}", ranks, by_node[name], chances.node[name]))
    return tuple(sorted(found, key=lambda straggler: -straggler.share))


@dataclass(frozen=True)
class _Chance:
    """``iterations`` that somebody took part in; ``expected`` of them last by turns."""

    iterations: int = 0
    expected: float = 0.0

    def plus(self, iterations: int, expected: float) -> _Chance:
        return _Chance(self.iterations + iterations, self.expected + expected)


class _Chances:
    """How often each rank and each node would be last if everybody took turns."""

    def __init__(self) -> None:
        self.rank: dict[int, _Chance] = {}
        self.node: dict[str, _Chance] = {}

    def add(self, each: Measurement, node: Mapping[int, str]) -> None:
        iterations, turn = sum(each.last), sum(each.last) / len(each.ranks)
        for rank in each.ranks:
            self.rank[rank] = self.rank.get(rank, _Chance()).plus(iterations, turn)
        names = [node.get(rank, "?") for rank in each.ranks]
        for name in set(names):
            self.node[name] = self.node.get(name, _Chance()).plus(iterations, turn * names.count(name))


def _is_straggler(count: int, chance: _Chance, rivals: int) -> bool:
    """Most iterations, and far more than its turns; a node alone in its measurements cannot be one."""
    turn = chance.expected / chance.iterations
    if turn > 0.99 or count <= MOST * chance.iterations or count <= 1.5 * chance.expected:
        return False
    return rivals * tail(count, chance.iterations, turn) < CHANCE


def tail(count: int, tries: int, share: float) -> float:
    """Bound of the probability of ``count`` or more of ``tries`` at ``share`` each (Chernoff 1952), 0..1."""
    seen = count / tries
    if seen <= share:
        return 1.0
    rest = (1 - seen) * math.log((1 - seen) / (1 - share)) if seen < 1 else 0.0
    return math.exp(-tries * (seen * math.log(seen / share) + rest))


def _named(kind: str, name: str, ranks: tuple[int, ...], count: int, chance: _Chance) -> Straggler:
    share = count / chance.iterations
    turn = chance.expected / chance.iterations
    text = f"{name} is last in {count} of {chance.iterations} iterations"
    text += f" ({show_share(share)}, by turns {show_share(turn)})"
    return Straggler(kind, name, ranks, share, text)


def _slow(kept: Sequence[Measurement], usual: Mapping[str, float]) -> float:
    """Median over the cases of isolated median / usual; NaN when no case has both."""
    ratios = [
        median(each.isolated) / usual[each.case]
        for each in kept
        if each.isolated and usual.get(each.case, 0) > 0 and all(map(math.isfinite, each.isolated))
    ]
    return median(ratios) if ratios else math.nan


def _unknown(kept: Sequence[Measurement], slow: float, found: Sequence[Straggler]) -> tuple[str, ...]:
    if not kept:
        return (
            "no measurement can show who is last; measure a collective without a root on three ranks or more",
        )
    if math.isnan(slow) and not found:
        times = [median(each.isolated) for each in kept if each.isolated]
        typical = f" (median {show_seconds(median(times))})" if times else ""
        return (
            "no rank is waited for; whether all are slow alike cannot be seen without a night before or a bound"
            + typical,
        )
    return ()
