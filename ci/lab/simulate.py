"""Clusters of paper with known faults, for scoring ``bench.judge.blame``; numpy draws, bench judges.

A transfer runs at the rate of the worst thing that it goes through, times noise. Nothing here knows
how blame is found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bench.judge.blame import Answer, Background, BlameRules, Matrix, Subject, Test, judge, retests
from bench.judge.blame.matrix import Cross, Floats, cells, empty
from bench.judge.blame.transfers import TIMES

LINE = 46e9
"""Bytes/s of a healthy pair on one rail of 400 Gb/s."""

KINDS = ("node", "port", "port-tx", "port-rx", "path", "path-one-way", "rail", "leaf")
LEAF_NODES = 32
"""Nodes of one leaf of a rail: half the ports of a 64-port NDR switch."""


@dataclass(frozen=True)
class Noise:
    """Relative normal noise ``sigma``; with probability ``tail`` also slower by an exponential ``slow``.

    ``seen``: factors that were measured; drawn from these alone where there are some.
    """

    name: str
    sigma: float = 0.01
    tail: float = 0.0
    slow: float = 0.05
    seen: tuple[float, ...] = ()

    def draw(self, random: Generator, shape: tuple[int, ...]) -> Floats:
        """Factors around 1, in [0.01, ...)."""
        if self.seen:
            return np.maximum(random.choice(np.array(self.seen), shape), 0.01)
        factor = 1 + self.sigma * random.standard_normal(shape)
        if self.tail:
            factor -= (random.random(shape) < self.tail) * random.exponential(self.slow, shape)
        return np.maximum(factor, 0.01)


GAUSS = Noise("gauss 1 %")
TAILS = Noise("tails: gauss 1 %, 1 in 100 slower by 5 % on average", tail=0.01)


def measured() -> Noise:
    """The noise of real transfers: see ``what`` and ``from`` in the file."""
    told = json.loads(Path(__file__).with_name("noise.json").read_text(encoding="utf-8"))
    return Noise(f"measured: {len(told['ratios'])} transfers of {told['from']}", seen=tuple(told["ratios"]))


@dataclass(frozen=True)
class Cluster:
    """Names and leaves; a leaf holds LEAF_NODES neighbours of one rail, so small clusters have one a rail."""

    nodes: tuple[str, ...]
    rails: tuple[str, ...]

    @property
    def known(self) -> Background:
        """What blame is told: names, and leaves where a rail has more than one."""
        many = len(self.nodes) > LEAF_NODES
        leaves = {
            (node, rail): f"{rail}-{at // LEAF_NODES}"
            for at, node in enumerate(self.nodes)
            for rail in (self.rails if many else ())
        }
        return Background(self.nodes, self.rails, leaves)


@dataclass(frozen=True)
class Truth:
    """A planted fault."""

    subject: Subject
    lost: float


def cluster(nodes: int, rails: int = 8) -> Cluster:
    """n000, n001 ... on mlx5_1 ... as a 1-Click Cluster calls them."""
    return Cluster(tuple(f"n{i:03d}" for i in range(nodes)), tuple(f"mlx5_{i + 1}" for i in range(rails)))


def plant(random: Generator, where: Cluster, kind: str, lost: float) -> Truth:
    """A fault of ``kind`` at a random place."""
    rail = str(random.choice(where.rails))
    a, b = sorted(str(node) for node in random.choice(where.nodes, 2, replace=False))
    node = str(random.choice((a, b)))
    leaves = sorted({leaf for (_, at), leaf in where.known.leaves.items() if at == rail}) or [""]
    subject = {
        "node": Subject("node", node),
        "port": Subject("port", node, rail=rail),
        "port-tx": Subject("port", node, rail=rail, direction="tx"),
        "port-rx": Subject("port", node, rail=rail, direction="rx"),
        "path": Subject("path", a, b, rail),
        "path-one-way": Subject("path", a, b, rail, str(random.choice(("ab", "ba")))),
        "rail": Subject("rail", rail=rail),
        "leaf": Subject("leaf", rail=rail, name=str(random.choice(leaves))),
    }[kind]
    return Truth(subject, lost)


def blank(where: Cluster) -> Matrix:
    """A matrix of nothing measured."""
    none = empty(where.nodes, where.rails)
    times = np.zeros(none.shape, dtype=np.int64)
    return Matrix(where.nodes, where.rails, none, none, times, none, {}, 0)


def _inside(subject: Subject, m: Matrix, known: Background) -> NDArray[np.bool_]:
    ports = [port for port, leaf in known.leaves.items() if leaf == subject.name] if subject.name else []
    return cells(subject, m, ports)


def capacity(where: Cluster, faults: Sequence[Truth]) -> Floats:
    """[R, N, N] share of the line rate that each transfer can reach; NaN on the diagonal."""
    m = blank(where)
    share = np.where(np.eye(len(where.nodes), dtype=bool), np.nan, np.ones(m.rate.shape))
    for fault in faults:
        inside = _inside(fault.subject, m, where.known)
        share[inside] = np.minimum(share[inside], 1 - fault.lost)
    return share


def hidden(where: Cluster, faults: Sequence[Truth]) -> bool:
    """Whether a fault hides behind the others: over a third of its transfers are as slow without it."""
    m = blank(where)
    for at, fault in enumerate(faults):
        inside = _inside(fault.subject, m, where.known)
        rest = capacity(where, [*faults[:at], *faults[at + 1 :]])
        if np.mean(rest[inside] < 1 - fault.lost + 0.03) > 1 / 3:
            return True
    return False


@dataclass(frozen=True)
class Lab:
    """A cluster with its faults and its noise; ``share`` [R, N, N] is ``capacity`` of both."""

    where: Cluster
    faults: tuple[Truth, ...]
    noise: Noise
    share: Floats
    drawn: dict[tuple[int, int, int], list[float]] = field(default_factory=dict)

    def first(self, random: Generator) -> Matrix:
        """The first pass over all pairs."""
        return replace(blank(self.where), rate=LINE * self.share * self.noise.draw(random, self.share.shape))

    def again(self, random: Generator, m: Matrix, tests: Sequence[Test], repeats: int) -> Matrix:
        """``m`` with ``tests`` measured again ``repeats`` times, both directions; their earlier times count too."""
        cross = {key: (LINE * share, repeats) for key, share in self._cross(random, tests, repeats)}
        straight = [test for test in tests if not test.rail_b]
        node = {name: at for at, name in enumerate(m.nodes)}
        rail = {name: at for at, name in enumerate(m.rails)}
        ends = [(rail[t.rail], node[t.a], node[t.b]) for t in straight]
        ends += [(r, j, i) for r, i, j in ends]
        r, i, j = np.array(ends, dtype=np.int64).reshape(-1, 3).T
        again, times = m.again.copy(), m.times.copy()
        draws = LINE * self.share[r, i, j] * self.noise.draw(random, (repeats, len(r)))
        for at, seen in zip(zip(r, i, j, strict=True), draws.T, strict=True):
            self.drawn.setdefault(at, []).extend(seen)
            again[at], times[at] = np.median(self.drawn[at]), len(self.drawn[at])
        return replace(m, again=again, times=times, cross={**m.cross, **cross})

    def _cross(self, random: Generator, tests: Sequence[Test], repeats: int) -> Iterator[tuple[Cross, float]]:
        """Shares of the cross-rail ``tests``."""
        for test in tests:
            there, back = (test.a, test.rail), (test.b, test.rail_b)
            for out, into in ((there, back), (back, there)) if test.rail_b else ():
                noise = float(np.median(self.noise.draw(random, (repeats,))))
                yield (*out, *into), self.across(out, into) * noise

    def across(self, sender: tuple[str, str], receiver: tuple[str, str]) -> float:
        """Share of a transfer between (node, rail) of two rails: as slow as the worse port, whatever their path."""
        return 1 - max((f.lost for f in self.faults if _touches(f.subject, sender, receiver)), default=0.0)


def _touches(subject: Subject, sender: tuple[str, str], receiver: tuple[str, str]) -> bool:
    """Whether a cross-rail transfer goes through ``subject``."""
    ends = {"tx": (sender,), "rx": (receiver,)}.get(subject.direction, (sender, receiver))
    return subject.kind in ("node", "port", "rail") and any(
        subject.node in ("", node) and subject.rail in ("", rail) for node, rail in ends
    )


def run(
    random: Generator, where: Cluster, faults: Sequence[Truth], noise: Noise, rules: BlameRules | None = None
) -> tuple[Answer, int]:
    """(answer, transfers measured again): first pass, suspects again, judged; as on a cluster."""
    rules, known = rules or BlameRules(nominal=LINE), where.known
    lab = Lab(where, tuple(faults), noise, capacity(where, faults))
    m, count = lab.first(random), 0
    for _ in range(TIMES):
        looks = retests(m, rules, known)
        m = lab.again(random, m, looks, rules.repeats) if looks else m
        count += len(looks)
    return judge(m, rules, known), count
