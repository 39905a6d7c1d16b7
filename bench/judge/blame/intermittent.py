"""Rails that are slow in some windows of a steady load and not in others, and whose port it is.

Every rail of every node is loaded at once, in a ring of nodes on each rail: each rank sends to the next one and
receives from the one before. A slow port slows the links at its two sides, so a second load with other neighbours
settles whose it is: the port that all slow links of both loads have in common.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median, median_low

from bench.judge.evidence import Evidence, derived
from bench.model.late_dataclass import dataclass
from bench.model.measurement import Case, Rank, Window
from bench.plan.phase_names import STEADY, STEADY_AGAIN
from bench.plan.steady_load import WINDOW
from bench.store import Run

FLOOR = 0.8  # of the median rate of all rails: below it a rail is slow in a window
LEAST_SLOW, LEAST_SHARE = 3, 0.05  # windows, and share of them, from which on a rail is suspected
BACKGROUND = 4.0  # times what most rails show: a machine that others use slows everybody now and then
ALIKE = 0.5  # of the largest share in a ring, from which on another rank is slow by the same cause
BURSTS = 2  # of two windows or more, or twice as many of one: a machine that does something else for a second is one
PAUSE = 2  # windows from one slow one to the next, up to which both belong to one burst
LONG = 3.0  # seconds from which on one burst is enough: 4 s of every 12 may come once in 20 s
THROUGHOUT = 0.9  # share of windows from which on a rail is slow and not intermittent
LEAST_WINDOWS = 12  # that all rails have in common
LEAST_STEADY = (
    0.85  # of the median rail, over all windows: a rail below it is slow under load, though never apart
)

Link = tuple[str, str]  # sender and receiver


@dataclass(frozen=True)
class Ring:
    """One ring of nodes on one rail under load: node → its bytes per second, slot by slot of WINDOW seconds."""

    rail: str
    nodes: tuple[str, ...]
    rates: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class SlowRing:
    """The nodes that were slow in a ring: node → the share of windows; ``links``: where the slowness must lie."""

    rail: str
    shares: Mapping[str, float]
    links: tuple[Link, ...]


@dataclass(frozen=True)
class SteadyLoad:
    """What one load shows. ``slots``: windows that count, of ``of``; in the others most rails were slow at once.

    rate   bytes per second of the median rail; ``low``: rail → its share of that, where it is too small
    """

    slow: tuple[SlowRing, ...]
    slots: int
    of: int
    rings: int
    rate: float
    low: Mapping[str, float]

    @property
    def together(self) -> bool:
        """Whether most rails were slow at once so often that nothing can be said of any by itself."""
        return self.of - self.slots >= _least(self.of) or self.slots < LEAST_WINDOWS

    @property
    def suspicious(self) -> bool:
        return bool(self.slow or self.low) or self.together


@dataclass(frozen=True)
class Intermittent:
    """An intermittently slow rail, and the nodes of which one is the cause.

    shares  of the windows of each load, how many were slow
    """

    rail: str
    nodes: tuple[str, ...]
    shares: tuple[float, ...]

    @property
    def throughout(self) -> bool:
        return min(self.shares) >= THROUGHOUT


def loads(run: Run, names: Sequence[str]) -> list[SteadyLoad]:
    """The loads that were measured, in order. ``names``: of the rails, by local rank."""
    phases = [phase for phase in run.plan.phases if phase.name in (STEADY, STEADY_AGAIN)]
    buffered = run.manifest.backend == "gloo"
    found = [rings(phase.cases, run.windows, run.manifest.ranks, names) for phase in phases]
    return [steady_load(each, buffered) for each in found if each]


def rings(
    cases: Iterable[Case], windows: Sequence[Window], ranks: Sequence[Rank], names: Sequence[str]
) -> list[Ring]:
    """The rings of these cases that told windows."""
    where = {rank.rank: rank for rank in ranks}
    found = []
    for case in cases:
        for group in case.groups:
            mine = [each for each in windows if each.case == case.id and each.ranks == group]
            if mine:
                nodes = tuple(where[rank].node for rank in group)
                rates = {node: _slots(case.size, mine, place) for place, node in enumerate(nodes)}
                found.append(Ring(names[where[group[0]].local_rank], nodes, rates))
    return found


def _slots(size: int, windows: Sequence[Window], place: int) -> list[float]:
    """Bytes per second in each WINDOW seconds of the load: a window in which calls took long lasts longer."""
    rates: list[float] = []
    for window in windows:
        count = max(1, round(window.ended / WINDOW)) - len(rates)
        rates += [size / window.seconds[place]] * count
    return rates


def steady_load(found: Sequence[Ring], buffered: bool) -> SteadyLoad:
    """Which ranks of which rings were slow in a share of windows in which most others were not.

    ``buffered``: a sender is done when its kernel has taken the message, as with sockets, so only the receiver of a
    slow link is late; else both of its ends are.
    """
    of = min(len(rates) for ring in found for rates in ring.rates.values())
    ports = [(ring, node) for ring in found for node in ring.nodes]
    usual = {
        ring.rail: median(rate for node in ring.nodes for rate in ring.rates[node][:of]) for ring in found
    }
    rate = median(usual.values())
    floor = FLOOR * median(rate for ring, node in ports for rate in ring.rates[node][:of])
    slow = {(id(ring), node): [rate < floor for rate in ring.rates[node][:of]] for ring, node in ports}
    kept = [slot for slot in range(of) if 2 * sum(each[slot] for each in slow.values()) <= len(ports)]
    counts = {key: sum(each[slot] for slot in kept) for key, each in slow.items()}
    back = {key for key, each in slow.items() if _comes_back(each) or counts[key] * WINDOW >= LONG}
    least = max(_least(len(kept)), BACKGROUND * median_low(counts.values()))
    return SteadyLoad(
        tuple(_slow_rings(found, counts, back, least, len(kept), buffered)),
        len(kept),
        of,
        len(found),
        rate,
        {} if buffered else {rail: each / rate for rail, each in usual.items() if each < LEAST_STEADY * rate},
    )


def _least(slots: int) -> float:
    return max(LEAST_SLOW, LEAST_SHARE * slots)


def _comes_back(slow: Sequence[bool]) -> bool:
    """Whether the slow windows are several bursts."""
    slots = [slot for slot, each in enumerate(slow) if each]
    bursts: list[int] = []
    for before, slot in pairwise((-PAUSE - 1, *slots)):
        if slot - before > PAUSE:
            bursts.append(1)
        else:
            bursts[-1] += 1
    return sum(min(windows, 2) for windows in bursts) >= 2 * BURSTS


def _slow_rings(
    found: Sequence[Ring],
    counts: Mapping[tuple[int, str], int],
    back: Collection[tuple[int, str]],
    least: float,
    slots: int,
    buffered: bool,
) -> Iterator[SlowRing]:
    """``back``: the ports at which slowness came back, of which one must be slow enough."""
    for ring in found:
        worst = max((counts[id(ring), node] for node in ring.nodes if (id(ring), node) in back), default=0)
        most = max(counts[id(ring), node] for node in ring.nodes)
        if worst >= least:
            shares = {
                node: counts[id(ring), node] / slots
                for node in ring.nodes
                if counts[id(ring), node] >= ALIKE * most
            }
            yield SlowRing(ring.rail, shares, _slow_links(ring.nodes, shares, buffered))


def _slow_links(nodes: Sequence[str], slow: Iterable[str], buffered: bool) -> tuple[Link, ...]:
    links = list(pairwise((nodes[-1], *nodes)))
    late = [link for link in links if link[1] in slow]
    both = [link for link in late if link[0] in slow]
    return tuple(late if buffered or not both else both)


def intermittent(measured: Sequence[SteadyLoad]) -> list[Intermittent]:
    """The rails that were slow now and then in every load that was measured."""
    if not measured:
        return []
    found = []
    for rail in dict.fromkeys(ring.rail for ring in measured[0].slow):
        here = [[ring for ring in load.slow if ring.rail == rail] for load in measured]
        if all(here):
            links = [link for each in here for ring in each for link in ring.links]
            shares = tuple(max(max(ring.shares.values()) for ring in each) for each in here)
            found.append(Intermittent(rail, _common(links), shares))
    return found


@derived
def ports(evidence: Evidence) -> frozenset[tuple[str, str]]:
    """(node, rail) of each port that is slow now and then in two loads, and that they tell from all others.

    A slow path would be slow in the load alone in which its ends are neighbours.
    """
    measured = loads(evidence.run, evidence.rail_names)
    found = intermittent(measured) if len(measured) > 1 else []
    return frozenset(
        (*each.nodes, each.rail) for each in found if len(each.nodes) == 1 and not each.throughout
    )


def _common(links: Sequence[Link]) -> tuple[str, ...]:
    """The nodes that all slow links have in common; where there is none, every end of them."""
    ends = dict.fromkeys(node for link in links for node in link)
    return tuple(node for node in ends if all(node in link for link in links)) or tuple(ends)
