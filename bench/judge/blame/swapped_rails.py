"""Ports wired to another rail than their own: by transfers across the rails, and by the leaves they hang on.

On a fabric with one plane a rail, a port that hangs on the leaf of rail j reaches j of the other nodes and
not its own; where the planes meet in spines, it reaches its own rail only by way of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from bench.judge.blame.matrix import Matrix
from bench.judge.blame.scale import Scale
from bench.judge.blame.solve import Fault, Leaves
from bench.judge.blame.suspects import Blame, Subject
from bench.model.late_dataclass import dataclass
from bench.model.units import show_rate

LEAF_PORTS = 3
"""Ports of one rail on a leaf from which on the leaf is that rail's."""

LEAF_SHARE = 0.75
NEXT = "trace the cables of these ports to the switch and put each on its own rail's leaf, then measure again"


@dataclass(frozen=True)
class Wired:
    """Port ``rail`` of ``node`` behaves as one of rail ``as_rail``; ``lost`` of the reference on its own."""

    node: str
    rail: str
    as_rail: str
    lost: float
    evidence: str
    measured: bool = True


def by_rates(m: Matrix, scale: Scale) -> tuple[Wired, ...]:
    """Ports slow or dead on their own rail with every partner, and fast with one other rail of each.

    Needs a cross-rail pass; both partners of a node (one where there is one) and both directions must agree.
    """
    if not m.cross or not scale.reference > 0:
        return ()
    across = _across(m)
    found = {port: wired for port in across if (wired := _stray(port, across[port], m, scale))}
    # a partner that is swapped itself speaks against the second port of a swap; its twin speaks for it
    for node, rail in list(found):
        twin = (node, found[node, rail].as_rail)
        if twin not in found and twin in across and rail in across[twin]:
            wired = _compared(twin, rail, max(across[twin][rail]), m, scale)
            found |= {twin: wired} if wired else {}
    return tuple(found.values())


def _stray(port: tuple[str, str], others: Mapping[str, list[float]], m: Matrix, scale: Scale) -> Wired | None:
    """The one other rail with which ``port`` is fast, as all of its partners agree."""
    best = max(others, key=lambda other: median(others[other]))
    rate = min(others[best])
    rest = [each for other, rates in others.items() if other != best for each in rates]
    if rate > 0 and rest and not 1 - median(rest) / rate > scale.smallest:
        return None  # fast with several rails: its own rail is at fault, not its cable
    return _compared(port, best, rate, m, scale)


def _compared(port: tuple[str, str], other: str, rate: float, m: Matrix, scale: Scale) -> Wired | None:
    """``port`` at ``rate`` with rail ``other``, if its own rail is clearly slower with everybody."""
    node, rail = port
    straight = _straight(m, node, rail)
    # of two nodes alone each looks as miswired as the other
    if not straight or not rate > 0 or other == rail or len(m.nodes) < 3:
        return None
    own = max(straight)
    if not 1 - own / rate > scale.floor(np.array(float(len(straight)))):
        return None
    text = (
        f"{node} {rail} reaches {show_rate(rate)} or more against rail {other} of its partners, "
        f"{show_rate(own)} at most against its own"
    )
    return Wired(node, rail, other, float(1 - own / scale.reference), text)


def _across(m: Matrix) -> dict[tuple[str, str], dict[str, list[float]]]:
    """(node, rail) -> rail of the partner -> rates, both directions of every cross-rail transfer."""
    rates: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (sender, out, receiver, into), (rate, _) in m.cross.items():
        rates[sender, out][into].append(rate)
        rates[receiver, into][out].append(rate)
    return {port: dict(others) for port, others in rates.items()}


def _straight(m: Matrix, node: str, rail: str) -> list[float]:
    """Rates of a port on its own rail, sending and receiving; cells where nothing was measured are left out."""
    at, i = m.rails.index(rail), m.nodes.index(node)
    both = np.concatenate([m.best[at, i, :], m.best[at, :, i]])
    return [float(rate) for rate in both[np.isfinite(both)]]


def by_leaves(leaves: Leaves) -> tuple[Wired, ...]:
    """Ports that hang on a leaf which is another rail's: three ports or more of that rail, three of four."""
    ports: dict[str, Counter[str]] = defaultdict(Counter)
    for (_, rail), leaf in leaves.items():
        ports[leaf][rail] += 1
    owner = {}
    for leaf, counts in ports.items():
        rail, count = counts.most_common(1)[0]
        if count >= LEAF_PORTS and count >= LEAF_SHARE * sum(counts.values()):
            owner[leaf] = rail
    return tuple(
        Wired(
            node, rail, owner[leaf], 0.0, f"{node} {rail} hangs on {leaf}, where rail {owner[leaf]} is", False
        )
        for (node, rail), leaf in leaves.items()
        if leaf in owner and owner[leaf] != rail
    )


def merged(faults: Sequence[Fault], wired: Sequence[Wired]) -> tuple[tuple[Fault, ...], tuple[Blame, ...]]:
    """(the faults that wiring does not explain, a row of blame for each swap and each stray port)."""
    as_rail: dict[tuple[str, str], Wired] = {}
    for each in wired:
        as_rail.setdefault((each.node, each.rail), each)
    explained = set(as_rail)
    rows = [_row(pair) for pair in _pairs(as_rail)]
    kept = tuple(
        fault
        for fault in faults
        if not (fault.subject.kind == "port" and (fault.subject.node, fault.subject.rail) in explained)
    )
    return kept, tuple(rows)


def _pairs(as_rail: Mapping[tuple[str, str], Wired]) -> list[tuple[Wired, ...]]:
    """Two ports of a node that stand in each other's place together, the others by themselves."""
    taken: set[tuple[str, str]] = set()
    found: list[tuple[Wired, ...]] = []
    for (node, rail), one in as_rail.items():
        if (node, rail) in taken:
            continue
        other = as_rail.get((node, one.as_rail))
        pair = (one, other) if other is not None and other.as_rail == rail else (one,)
        taken |= {(each.node, each.rail) for each in pair}
        found.append(pair)
    return found


def _row(pair: tuple[Wired, ...]) -> Blame:
    first = pair[0]
    kind = "swap" if len(pair) == 2 else "stray"
    low, high = sorted((first.rail, first.as_rail)) if kind == "swap" else (first.rail, first.as_rail)
    return Blame(
        subject=Subject(kind, first.node, rail=low, name=high),
        lost=max(each.lost for each in pair),
        confidence=0.99,
        confirmed=True,
        evidence=tuple(each.evidence for each in pair),
        next_step=NEXT,
        metric="rate" if any(each.measured for each in pair) else "wiring",
    )


def ports(subject: Subject) -> tuple[Subject, ...]:
    """The ports of a swap or of a stray one; any other subject as it is."""
    rails = {"swap": (subject.rail, subject.name), "stray": (subject.rail,)}.get(subject.kind)
    return tuple(Subject("port", subject.node, rail=rail) for rail in rails) if rails else (subject,)
