"""What is screened and what was found; which rings come first, and what they cover."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from bench.model.late_dataclass import dataclass, field

MOST_IN_PAIRS = (
    64  # nodes; on more, rings are measured by default: all pairs would take as many rounds as nodes
)
LEAF_NODES = 32  # half the ports of a 64-port NDR switch
LONG_RING = 8  # nodes, of which a sentence names all

Ring = tuple[str, ...]
Results = Mapping[Ring, Mapping[str, float]]


@dataclass(frozen=True)
class ScreeningTask:
    """What is screened.

    nominal   bytes/s of one rail; None: compared with each other only
    smallest  share lost that is slow
    noise     least relative standard deviation of one transfer to reckon with
    leaves    leaf of (node, rail), where that is known
    by_leaf   the nodes of each leaf when the rings were planned; see ``nodes_by_leaf``
    """

    nodes: tuple[str, ...]
    rails: tuple[str, ...]
    nominal: float | None = None
    smallest: float = 0.03
    noise: float = 0.01
    leaves: Mapping[tuple[str, str], str] = field(default_factory=dict)
    by_leaf: tuple[Ring, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.nodes)) < max(len(self.nodes), 2) or not self.rails:
            raise ValueError(
                f"{len(self.nodes)} nodes and {len(self.rails)} rails; give two different nodes and a rail"
            )


@dataclass(frozen=True)
class ScreenedFault:
    """kind: node, port, path (node - peer), rail, leaf (``name``) or fabric; ``lost`` of the reference, 0..1."""

    kind: str
    node: str
    peer: str
    rail: str
    lost: float
    evidence: tuple[str, ...]
    name: str = ""


@dataclass(frozen=True)
class Coverage:
    """What was, or will be, measured: ports (node x rail) and paths (pair x rail) out of how many."""

    ports: int
    ports_of: int
    paths: int
    paths_of: int

    @property
    def text(self) -> str:
        """What was covered, and what could not have been found."""
        said = (
            f"{self.ports} of {self.ports_of} ports, {self.paths} of {self.paths_of} paths between two nodes"
        )
        if self.paths < self.paths_of:
            said += ", in one direction; a bad link between two good nodes is not found on the others"
            said += ": measure all pairs"
        return said


@dataclass(frozen=True)
class Step:
    """What to measure now, and what is known so far.

    probes    rings without a common node; empty: nothing is left to do
    findings  confirmed
    open      slow rings not yet traced to anybody: if time ends here, this is what remains
    unknown   what could not be determined
    """

    probes: tuple[Ring, ...]
    findings: tuple[ScreenedFault, ...]
    open: tuple[str, ...]
    unknown: tuple[str, ...]
    coverage: Coverage

    @property
    def done(self) -> bool:
        """Whether no probe is left."""
        return not self.probes


def nodes_by_leaf(nodes: Sequence[str], leaves: Mapping[tuple[str, str], str]) -> tuple[Ring, ...]:
    """The nodes of each leaf or, where every rail has a leaf of its own, of each set of leaves.

    ``leaves``: leaf of (node, rail), as the fabric's tools say. A node with a cable on another leaf belongs to the set
    that most of its rails are on. Empty where no two nodes are on the same leaves.
    """
    ports: dict[str, set[tuple[str, str]]] = {node: set() for node in nodes}
    for (node, rail), leaf in leaves.items():
        if node in ports:
            ports[node].add((rail, leaf))
    alike = Counter(frozenset(on) for on in ports.values() if on)
    shared = [on for on, count in alike.most_common() if count > 1]
    found: dict[frozenset[tuple[str, str]], list[str]] = {}
    for node, on in ports.items():
        nearest = max(shared, key=lambda each: len(each & on), default=frozenset())
        if nearest & on:
            found.setdefault(nearest, []).append(node)
    return tuple(map(tuple, found.values()))


def groups(nodes: Sequence[str], by_leaf: Sequence[Ring] = ()) -> tuple[Ring, ...]:
    """Rings of neighbours, none of one node; neighbours, so that a leaf stays together.

    About √N rings of about √N nodes; on more than MOST_IN_PAIRS nodes a ring for each leaf of ``by_leaf``. Nodes whose
    leaf is not known are taken in turn, as many as a leaf has.
    """
    if len(nodes) > MOST_IN_PAIRS:
        here, placed = set(nodes), {node for leaf in by_leaf for node in leaf}
        known = [[node for node in leaf if node in here] for leaf in by_leaf]
        return _rings([*known, [node for node in nodes if node not in placed]])
    count = max(1, min(round(math.sqrt(len(nodes))), len(nodes) // 2))
    cuts = [len(nodes) * at // count for at in range(count + 1)]
    return tuple(tuple(nodes[a:b]) for a, b in pairwise(cuts))


def _rings(leaves: Sequence[Sequence[str]]) -> tuple[Ring, ...]:
    """The leaves, a large one in parts of LEAF_NODES; a node that is alone goes with the ring before it."""
    rings = list[Ring]()
    for leaf in leaves:
        for at in range(0, len(leaf), LEAF_NODES):
            part = tuple(leaf[at : at + LEAF_NODES])
            if rings and 1 in (len(part), len(rings[-1])):
                rings[-1] += part
            else:
                rings.append(part)
    return tuple(rings)


def across(nodes: Sequence[str], by_leaf: Sequence[Ring] = ()) -> tuple[Ring, ...]:
    """Rings of the first nodes of all ``groups``, of the second ones and so on; none where pairs are the rule."""
    if len(nodes) <= MOST_IN_PAIRS:
        return ()
    leaves = groups(nodes, by_leaf)
    rings = [tuple(leaf[at] for leaf in leaves if at < len(leaf)) for at in range(max(map(len, leaves)))]
    if len(rings[-1]) == 1:
        rings[0] += rings.pop()
    return tuple(rings)


def ring_text(ring: Ring) -> str:
    """``ring n0 n1 n2``; a long one by its first and last nodes: ``ring n0 n1 … n31 (32 nodes)``."""
    if len(ring) <= LONG_RING:
        return f"ring {' '.join(ring)}"
    return f"ring {ring[0]} {ring[1]} … {ring[-1]} ({len(ring)} nodes)"


def most_steps(nodes: Sequence[str], by_leaf: Sequence[Ring] = ()) -> int:
    """Steps until one slow ring is traced: the rings, their halves, a good partner, two other ones."""
    others = across(nodes, by_leaf)
    longest = max(map(len, (*groups(nodes, by_leaf), *others)))
    return 1 + bool(others) + math.ceil(math.log2(longest)) + 2


def links(rings: Sequence[Ring]) -> set[frozenset[str]]:
    """The pairs of neighbours on the rings."""
    return {frozenset(pair) for ring in rings for pair in zip(ring, (*ring[1:], ring[0]), strict=True)}


def coverage(problem: ScreeningTask, results: Results) -> Coverage:
    ports = {
        (n, rail)
        for ring, rates in results.items()
        for rail in problem.rails
        if rated(rates, rail)
        for n in ring
    }
    paths = {
        (link, rail)
        for ring, rates in results.items()
        for rail in problem.rails
        if rated(rates, rail)
        for link in links([ring])
    }
    n, rails = len(problem.nodes), len(problem.rails)
    return Coverage(len(ports), n * rails, len(paths), math.comb(n, 2) * rails)


def rated(rates: Mapping[str, float], rail: str) -> bool:
    rate = rates.get(rail, math.nan)
    return math.isfinite(rate) and rate >= 0
