"""Traces slow rings to the part that slows them: halves, then confirmation with other good nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import product
from statistics import NormalDist, median

from bench.model.late_dataclass import dataclass, field
from bench.model.stats import deviation
from bench.plan.screening.rings import (
    Results,
    Ring,
    ScreenedFault,
    ScreeningTask,
    Step,
    across,
    coverage,
    groups,
    rated,
    ring_text,
)

FAST = 0.9
"""The reference is this quantile of the first rings' rates over all rails: most may be slow, not all."""
FORGIVEN = (
    0.25  # of what noise takes of a long ring: with all of it a slow link would look 3 % faster than it is
)
SPREADS = 5  # standard deviations of the healthy rings' rates, within which no ring is slow


def step(problem: ScreeningTask, results: Results) -> Step:
    """What follows from ``results``: probes as given out by earlier steps -> rail -> bytes/s."""
    nodes = problem.nodes, problem.by_leaf
    first, others = groups(*nodes), across(*nodes)
    missing = [ring for ring in (*first, *others) if ring not in results]
    tree = _Tree(problem, results, first, others)
    if not missing:
        tree.run()
    wanted = missing or tree.wanted
    return Step(
        probes=_disjoint(wanted),
        findings=tuple(tree.findings),
        open=tuple(dict.fromkeys(tree.open)),
        unknown=tuple(dict.fromkeys(tree.unknown)),
        coverage=coverage(problem, results),
    )


def _disjoint(wanted: Sequence[Ring]) -> tuple[Ring, ...]:
    """The rings of ``wanted``, in order, that share no node; the others come with the next step."""
    taken, busy = list[Ring](), set[str]()
    for ring in dict.fromkeys(wanted):
        if busy.isdisjoint(ring):
            taken.append(ring)
            busy.update(ring)
    return tuple(taken)


@dataclass
class _Tree:
    """One walk over the results; gathers what it finds and what it misses. Lives for one ``step``."""

    problem: ScreeningTask
    results: Results
    first: tuple[Ring, ...]
    others: tuple[Ring, ...] = ()
    wanted: list[Ring] = field(default_factory=list)
    findings: list[ScreenedFault] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    met: dict[tuple[str, str], set[str]] = field(
        default_factory=dict
    )  # suspect and rail → with whom it was slow
    reference: float = math.nan  # bytes/s of a link inside a leaf, ``far``: of one between two leaves
    far: float = math.nan
    spread: float = 0.0

    def run(self) -> None:
        """Judge the first rings, then trace each slow one."""
        passed = self._passed(self.first)
        if not passed:
            self.unknown.append("no ring gave a rate on any rail; measure again")
            return
        self.reference = self.far = _fast(passed)
        self.spread = deviation(passed) / self.reference
        between = self._passed(self.others)
        if between and _fast(between) >= self.reference * (1 - self.problem.smallest):
            self.far = _fast(between)
        self._fabric()
        whole = self._whole_rails()
        whole |= self._whole_leaves({rail for _, rail in whole})
        for ring in self.first:
            slow = [
                rail for rail in self.problem.rails if (ring, rail) not in whole and self._slow(ring, rail)
            ]
            if slow:
                self._trace(ring, tuple(slow))
        if not self.wanted:
            self._across()
        self._gather_leaves()
        self._gather()

    def _passed(self, rings: Sequence[Ring]) -> list[float]:
        """Bytes/s of a link on each rail of each ring that gave a rate, in rising order."""
        rates = [
            self.results[ring][rail] / self._least(ring)
            for ring in rings
            for rail in self.problem.rails
            if self._known(ring, rail)
        ]
        return sorted(rate for rate in rates if rate > 0)

    def _fabric(self) -> None:
        nominal = self.problem.nominal
        if nominal and not self.reference >= nominal * (1 - self.problem.smallest):
            lost = 1 - self.reference / nominal
            self.findings.append(
                ScreenedFault("fabric", "", "", "", lost, ("even the fast rings are slower than nominal",))
            )
        elif nominal is None and len(self.first) == 1:
            self.unknown.append(
                "one ring and no nominal rate: what slows all rails cannot be seen; give the nominal rate"
            )

    def _whole_rails(self) -> set[tuple[Ring, str]]:
        """The rails that are slow in every ring, of two or more: the rail itself is slow, or its leaf."""
        slow = {rail for rail in self.problem.rails if all(self._slow(ring, rail) for ring in self.first)}
        if len(self.first) < 2:
            return set()
        for rail in sorted(slow):
            text = f"slow in all {len(self.first)} rings"
            lost = min(self._lost(ring, rail) for ring in self.first)
            self.findings.append(ScreenedFault("rail", "", "", rail, lost, (text,)))
        return {(ring, rail) for ring in self.first for rail in slow}

    def _whole_leaves(self, rails: set[str]) -> set[tuple[Ring, str]]:
        """The leaves with two or more rings of their own, all slow, while a ring elsewhere is fast."""
        members: dict[tuple[str, str], set[str]] = {}
        for (node, rail), leaf in self.problem.leaves.items():
            if rail in self.problem.rails and rail not in rails:
                members.setdefault((leaf, rail), set()).add(node)
        found = set[tuple[Ring, str]]()
        for (leaf, rail), nodes in members.items():
            inside = [ring for ring in self.first if nodes.issuperset(ring)]
            outside = [ring for ring in self.first if nodes.isdisjoint(ring)]
            all_slow = len(inside) > 1 and all(self._slow(ring, rail) for ring in inside)
            if all_slow and any(not self._slow(ring, rail) for ring in outside if self._known(ring, rail)):
                text = f"slow in all {len(inside)} rings on this leaf, fast elsewhere"
                lost = min(self._lost(ring, rail) for ring in inside)
                self.findings.append(ScreenedFault("leaf", "", "", rail, lost, (text,), leaf))
                found |= {(ring, rail) for ring in inside}
        return found

    def _across(self) -> None:
        """Trace the rings across leaves that are slower than what is found by now explains."""
        for ring in self.others:
            slow = [
                rail
                for rail in self.problem.rails
                if self._slow(ring, rail) and not self._explained(ring, rail)
            ]
            if slow:
                self._trace(ring, tuple(slow))

    def _explained(self, ring: Ring, rail: str) -> bool:
        """Whether a part of the ring that is found, or that could not be traced, takes as much as the ring lost."""
        leaves = self.problem.leaves
        return any(
            found.rail in ("", rail)
            and {found.node, found.peer} <= {"", *ring}
            and (not found.name or any(leaves.get((node, rail)) == found.name for node in ring))
            and self._lost(ring, rail) <= found.lost + self.problem.smallest
            for found in self.findings
        )

    def _known(self, ring: Ring, rail: str) -> bool:
        """Whether the probe gave a rate on the rail; a missing rate is noted."""
        known = rated(self.results[ring], rail)
        if not known:
            self.unknown.append(f"{ring_text(ring)} gave no rate on rail {rail}; measure it again")
        return known

    def _least(self, ring: Ring) -> float:
        """What noise alone makes of the slowest link of a healthy ring, as a share of one link."""
        return 1 - self.problem.noise * slowest_deviation(len(ring))

    def _lost(self, ring: Ring, rail: str) -> float:
        """Share of a healthy ring's rate that is missing."""
        inside = any(leaf.issuperset(ring) for leaf in self.leaves)
        reference = self.reference if inside else self.far
        return 1 - self.results[ring][rail] / (reference * self._least(ring))

    def _slow(self, ring: Ring, rail: str) -> bool:
        return self._known(ring, rail) and not self._lost(ring, rail) <= self._tolerated(ring)

    def _tolerated(self, ring: Ring) -> float:
        """The share of its rate that a ring may lose and still count as healthy."""
        smallest = self.problem.smallest
        forgiven = (1 - FORGIVEN) * (1 - self._least(ring))
        return min(smallest, max(smallest - forgiven, SPREADS * self.spread))

    @cached_property
    def leaves(self) -> tuple[frozenset[str], ...]:
        """The nodes of each of the first rings, and of all of them where there are no others."""
        return tuple(map(frozenset, self.first)) if self.others else (frozenset(self.problem.nodes),)

    def _good(self, node: str, rails: tuple[str, ...], turn: int, besides: Ring = ()) -> str:
        """The ``turn``-th good partner of ``node``: of another ring fast on these rails, none of ``besides``.

        Empty: there is none.
        """
        good = [
            other
            for ring in self.first
            if node not in ring
            and all(self._known(ring, rail) and not self._slow(ring, rail) for rail in rails)
            for other in ring
            if other not in besides
        ]
        # each node starts elsewhere, so that the probes of a step seldom want the same partner
        return (
            good[(self.problem.nodes.index(node) + turn * max(1, len(good) // 3)) % len(good)]
            if len(good) > turn
            else ""
        )

    def _trace(self, ring: Ring, rails: tuple[str, ...]) -> None:
        """A ring slow on ``rails``: cut it."""
        halves = (ring[: len(ring) // 2], ring[len(ring) // 2 :])
        probes = [self._probe(half, rails, ring) for half in halves]
        if "" in [node for probe in probes for node in probe]:
            self._no_partner(ring, rails)
            return
        if not self._ask(probes, ring, rails):
            return
        rest = set(rails)
        for half, probe in zip(halves, probes, strict=True):
            slow = tuple(rail for rail in rails if self._slow(probe, rail))
            rest -= set(slow)
            if slow:
                self._suspect(probe, slow) if len(half) == 1 else self._trace(half, slow)
        rest -= {rail for probe in probes for rail in rails if not self._known(probe, rail)}
        if rest:
            self._link(ring, halves, tuple(sorted(rest)))

    def _probe(self, half: Ring, rails: tuple[str, ...], ring: Ring) -> Ring:
        """``half`` of ``ring`` as a ring; a single node with a good partner."""
        return half if len(half) > 1 else (half[0], self._good(half[0], rails, 0, ring))

    def _ask(self, probes: Sequence[Ring], ring: Ring, rails: tuple[str, ...]) -> bool:
        """Whether all ``probes`` have results; if not, they are wanted, and ``ring`` stays open."""
        missing = [probe for probe in probes if probe not in self.results]
        self.wanted += missing
        if missing:
            self.open.append(f"{ring_text(ring)} is slow on rail {', '.join(rails)}, not traced")
        return not missing

    def _no_partner(self, ring: Ring, rails: tuple[str, ...]) -> None:
        self.open.append(f"{ring_text(ring)} is slow on rail {', '.join(rails)}, not traced")
        self.unknown.append(
            f"too few nodes are good on rail {', '.join(rails)} to compare with; measure all pairs"
        )

    def _suspect(self, probe: Ring, rails: tuple[str, ...]) -> None:
        """The first node of a slow probe of two: two other good partners decide."""
        node, first = probe
        probes = [(node, self._good(node, rails, turn)) for turn in (1, 2)]
        if "" in probes[0] or "" in probes[1] or probes[0] == probes[1]:
            self._no_partner((node,), rails)
            return
        if not self._ask(probes, (node,), rails):
            return
        for rail in rails:
            slow = [probe for probe in probes if self._slow(probe, rail)]
            met = ", ".join(partner for _, partner in slow)
            self.met[node, rail] = {first, *(partner for _, partner in slow)}
            if len(slow) == 2:
                lost = min(self._lost(probe, rail) for probe in slow)
                self.findings.append(
                    ScreenedFault("port", node, "", rail, lost, (f"slow with {met}, who are good",))
                )
            else:
                count = f"{len(slow)} of 2 other good nodes"
                self.unknown.append(
                    f"{node} rail {rail} is slow with one good node and {count}; measure all its pairs"
                )

    def _link(self, ring: Ring, halves: tuple[Ring, Ring], rails: tuple[str, ...]) -> None:
        """Both halves are fast: one of the links between them is not, or the slowness has passed."""
        a, b = halves
        probes = list(dict.fromkeys(((b[0], a[-1]), (a[0], b[-1])))) if len(ring) > 2 else [(b[0], a[0])]
        if not self._ask(probes, ring, rails):
            return
        for rail in rails:
            slow = [probe for probe in probes if self._slow(probe, rail)]
            for probe in slow:
                lost = self._lost(probe, rail)
                left, right = sorted(probe)
                text = "slow in its ring and alone; both ends are fast with others"
                self.findings.append(ScreenedFault("path", left, right, rail, lost, (text,)))
            if not slow and all(self._known(probe, rail) for probe in probes):
                self.unknown.append(
                    f"{ring_text(ring)} was slow on rail {rail} once and not again; measure it again"
                )

    def _gather_leaves(self) -> None:
        """Ports of three nodes of four of a leaf on one rail, or more, become the leaf; first those that are sure."""
        for sure, ring, rail in product((True, False), self.first if self.others else (), self.problem.rails):
            ports = [found for found in self.findings if found.kind == "port" and found.rail == rail]
            own = [found for found in ports if found.node in ring]
            if len(own) < 0.75 * len(ring) or sure != self._is_slower(ring, own):
                continue
            name = self.problem.leaves.get((ring[0], rail), f"{ring[0]} to {ring[-1]}")
            where = "among themselves too" if self._slow(ring, rail) else "not among themselves"
            text = f"{len(own)} of its {len(ring)} nodes are slow to other leaves, {where}"
            if sure:
                lost = median(found.lost for found in own)
                self.findings.append(ScreenedFault("leaf", "", "", rail, lost, (text,), name))
            # those elsewhere that were slow with its nodes alone
            own += [found for found in ports if self._met_only(found.node, rail, ring)]
            self.findings = [found for found in self.findings if found not in own]
            self.unknown = [text for text in self.unknown if not self._is_of(text, ring, rail)]
            if not sure:
                self.unknown.append(
                    f"leaf {name} of rail {rail}: {text}, and so is the other; measure all pairs"
                )

    def _is_slower(self, ring: Ring, own: Sequence[ScreenedFault]) -> bool:
        """Whether a leaf is slow in itself or with two others: of two that are slow to each other it may be either."""
        met = set[str]().union(*(self.met[found.node, found.rail] for found in own))
        others = [other for other in self.first if other != ring and not met.isdisjoint(other)]
        return len(others) > 1 or self._slow(ring, own[0].rail)

    def _is_of(self, text: str, ring: Ring, rail: str) -> bool:
        """Whether a text is on a suspect of a leaf, or on one that was slow with nodes of that leaf alone."""
        node = text.partition(" rail ")[0]
        own = text.startswith(f"{node} rail {rail} ")
        return own and (node in ring or self._met_only(node, rail, ring))

    def _met_only(self, node: str, rail: str, ring: Ring) -> bool:
        return self.met.get((node, rail), {""}) <= {*ring}

    def _gather(self) -> None:
        """Ports of one node on three rails of four, or more, become the node."""
        rails = len(self.problem.rails)
        for node in sorted({found.node for found in self.findings if found.kind == "port"}):
            own = [found for found in self.findings if found.kind == "port" and found.node == node]
            if rails > 1 and len(own) >= 0.75 * rails:
                lost = sorted(found.lost for found in own)[len(own) // 2]
                self.unknown = [text for text in self.unknown if not text.startswith(f"{node} rail ")]
                self.findings = [found for found in self.findings if found not in own]
                self.findings.append(ScreenedFault("node", node, "", "", lost, own[0].evidence))


def _fast(rates: Sequence[float]) -> float:
    return rates[math.ceil(FAST * (len(rates) - 1))]


@lru_cache(maxsize=1024)
def slowest_deviation(count: int) -> float:
    """Standard deviations by which the slowest of ``count`` equal links lies below their mean (Blom 1958)."""
    return -NormalDist().inv_cdf((1 - 0.375) / (count + 0.25))
