"""When there is no time for all pairs: groups, then halves of the slow ones, then confirmation.

A probe is a ring of nodes: each sends to the next and receives from the one before, all rails at once;
its result is the slowest link on each rail (of several iterations, the median). The probes of a step
share no node, so they run at the same time.

1. √N rings of about √N nodes: every port of every node sends and receives once.
2. A slow ring is cut in halves until the slow node is alone; both halves fast means that the fault lies
   on a link that the cut took away, so those two links are measured alone.
3. A node under suspicion meets two different nodes of fast rings before it is named.

Nothing here keeps a state: ``step`` reads all results so far and says what follows, so a run can be
stopped, resumed and replayed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise

from bench.pairs import count_rounds

Ring = tuple[str, ...]
Results = Mapping[Ring, Mapping[str, float]]

FAST = 0.9
"""The reference is this quantile of the first rings' rates over all rails: most may be slow, not all."""


@dataclass(frozen=True)
class Problem:
    """nominal in bytes/s of one rail, None: compared with each other only; smallest share lost that is slow."""

    nodes: tuple[str, ...]
    rails: tuple[str, ...]
    nominal: float | None = None
    smallest: float = 0.03

    def __post_init__(self) -> None:
        if len(set(self.nodes)) < max(len(self.nodes), 2) or not self.rails:
            raise ValueError(
                f"{len(self.nodes)} nodes and {len(self.rails)} rails; give two different nodes and a rail"
            )


@dataclass(frozen=True)
class Finding:
    """kind: node, port, path (node - peer), rail or fabric; ``lost`` of the reference, 0..1."""

    kind: str
    node: str
    peer: str
    rail: str
    lost: float
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Coverage:
    """What was, or will be, measured: ports (node x rail) and paths (pair x rail) out of how many."""

    ports: int
    ports_of: int
    paths: int
    paths_of: int

    @property
    def text(self) -> str:
        """With what it could not have found."""
        said = (
            f"{self.ports} of {self.ports_of} ports, {self.paths} of {self.paths_of} paths between two nodes"
        )
        if self.paths < self.paths_of:
            said += "; a bad link between two good nodes is not found on the others: measure all pairs"
        return said


@dataclass(frozen=True)
class Step:
    """What to measure now, and what is known so far.

    probes    rings without a common node; empty: nothing is left to do
    findings  confirmed
    open      slow rings not yet traced to anybody: if time ends here, this is what remains
    unknown   what could not be told
    """

    probes: tuple[Ring, ...]
    findings: tuple[Finding, ...]
    open: tuple[str, ...]
    unknown: tuple[str, ...]
    coverage: Coverage

    @property
    def done(self) -> bool:
        """Whether no probe is left."""
        return not self.probes


@dataclass(frozen=True)
class Promise:
    """What a budget buys, said beforehand.

    method   pairs (all), screening, groups (slow rings are seen but not traced), nothing
    rounds   of that method: for screening with one faulty ring; each more that shares no node is free
    """

    method: str
    rounds: int
    seconds: float
    coverage: Coverage
    text: str


def groups(nodes: Sequence[str]) -> tuple[Ring, ...]:
    """About √N rings of about √N neighbours, none of one node; neighbours, so that a leaf stays together."""
    count = max(1, min(round(math.sqrt(len(nodes))), len(nodes) // 2))
    cuts = [len(nodes) * at // count for at in range(count + 1)]
    return tuple(tuple(nodes[a:b]) for a, b in pairwise(cuts))


def promise(problem: Problem, budget: float, seconds: float) -> Promise:
    """What ``budget`` seconds buy when a round, of pairs or of rings, takes ``seconds``."""
    if not (seconds > 0 and budget >= 0):
        raise ValueError(f"a round of {seconds} s in {budget} s cannot be planned; give positive times")
    n, rails = len(problem.nodes), len(problem.rails)
    first = groups(problem.nodes)
    traced = 1 + math.ceil(math.log2(max(map(len, first)))) + 2
    offers = (("pairs", count_rounds(n) + 3), ("screening", traced), ("groups", 1))
    method, rounds = next((offer for offer in offers if offer[1] * seconds <= budget), ("nothing", 0))
    paths = math.comb(n, 2) if method == "pairs" else len(_links(first)) if rounds else 0
    coverage = Coverage(n * rails if rounds else 0, n * rails, paths * rails, math.comb(n, 2) * rails)
    text = f"{METHODS[method]}: {rounds} rounds, {rounds * seconds:.0f} s of {budget:.0f} s; covers {coverage.text}"
    return Promise(method, rounds, rounds * seconds, coverage, text)


METHODS = {
    "pairs": "all pairs, then suspects again",
    "screening": "screening in rings, halves and confirmation",
    "groups": "rings only: a fault is seen, not traced",
    "nothing": "nothing can be measured",
}


def step(problem: Problem, results: Results) -> Step:
    """What follows from ``results``: probes as given out by earlier steps -> rail -> bytes/s."""
    first = groups(problem.nodes)
    missing = [ring for ring in first if ring not in results]
    tree = _Tree(problem, results, first)
    if not missing:
        tree.run()
    wanted = missing or tree.wanted
    return Step(
        probes=_disjoint(wanted),
        findings=tuple(tree.findings),
        open=tuple(dict.fromkeys(tree.open)),
        unknown=tuple(dict.fromkeys(tree.unknown)),
        coverage=_coverage(problem, results),
    )


def _disjoint(wanted: Sequence[Ring]) -> tuple[Ring, ...]:
    """As many of ``wanted``, in order, as share no node; the others come with the next step."""
    taken, busy = list[Ring](), set[str]()
    for ring in dict.fromkeys(wanted):
        if busy.isdisjoint(ring):
            taken.append(ring)
            busy.update(ring)
    return tuple(taken)


def _links(rings: Sequence[Ring]) -> set[frozenset[str]]:
    """The pairs of neighbours on the rings."""
    return {frozenset(pair) for ring in rings for pair in zip(ring, (*ring[1:], ring[0]), strict=True)}


def _coverage(problem: Problem, results: Results) -> Coverage:
    ports = {
        (n, rail)
        for ring, rates in results.items()
        for rail in problem.rails
        if _rated(rates, rail)
        for n in ring
    }
    paths = {
        (link, rail)
        for ring, rates in results.items()
        for rail in problem.rails
        if _rated(rates, rail)
        for link in _links([ring])
    }
    n, rails = len(problem.nodes), len(problem.rails)
    return Coverage(len(ports), n * rails, len(paths), math.comb(n, 2) * rails)


def _rated(rates: Mapping[str, float], rail: str) -> bool:
    rate = rates.get(rail, math.nan)
    return math.isfinite(rate) and rate >= 0


@dataclass
class _Tree:
    """One walk over the results; gathers what it finds and what it misses. Lives for one ``step``."""

    problem: Problem
    results: Results
    first: tuple[Ring, ...]
    wanted: list[Ring] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    reference: float = math.nan

    def run(self) -> None:
        """Judge the first rings, then trace each slow one."""
        rates = [
            self.results[r][rail] for r in self.first for rail in self.problem.rails if self._known(r, rail)
        ]
        passed = sorted(rate for rate in rates if rate > 0)
        if not passed:
            self.unknown.append("no ring gave a rate on any rail; measure again")
            return
        self.reference = passed[math.ceil(FAST * (len(passed) - 1))]
        self._fabric()
        whole = self._whole_rails()
        for ring in self.first:
            slow = [rail for rail in self.problem.rails if rail not in whole and self._slow(ring, rail)]
            if slow:
                self._trace(ring, tuple(slow))
        self._gather()

    def _fabric(self) -> None:
        nominal = self.problem.nominal
        if nominal and not self.reference >= nominal * (1 - self.problem.smallest):
            lost = 1 - self.reference / nominal
            self.findings.append(
                Finding("fabric", "", "", "", lost, ("even the fast rings are slower than nominal",))
            )
        elif nominal is None and len(self.first) == 1:
            self.unknown.append(
                "one ring and no nominal rate: what slows all rails cannot be seen; give the nominal rate"
            )

    def _whole_rails(self) -> set[str]:
        """Rails slow in every ring, of which there are two at least: the rail, or its leaf."""
        slow = {rail for rail in self.problem.rails if all(self._slow(ring, rail) for ring in self.first)}
        if len(self.first) < 2:
            return set()
        for rail in sorted(slow):
            text = f"slow in all {len(self.first)} rings"
            best = max(self.results[ring][rail] for ring in self.first)
            self.findings.append(Finding("rail", "", "", rail, 1 - best / self.reference, (text,)))
        return slow

    def _known(self, ring: Ring, rail: str) -> bool:
        """Whether the probe gave a rate on the rail; if not, that is said."""
        known = _rated(self.results[ring], rail)
        if not known:
            self.unknown.append(f"ring {' '.join(ring)} gave no rate on rail {rail}; measure it again")
        return known

    def _slow(self, ring: Ring, rail: str) -> bool:
        return self._known(ring, rail) and not self.results[ring][rail] >= self.reference * (
            1 - self.problem.smallest
        )

    def _good(self, node: str, rails: tuple[str, ...], turn: int) -> str:
        """The ``turn``-th good partner of ``node``: a node of a ring fast on these rails; empty: there is none."""
        good = [
            other
            for ring in self.first
            if all(self._known(ring, rail) and not self._slow(ring, rail) for rail in rails)
            for other in ring
            if other != node
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
        probes = [self._probe(half, rails) for half in halves]
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
                self._suspect(half[0], slow) if len(half) == 1 else self._trace(half, slow)
        rest -= {rail for probe in probes for rail in rails if not self._known(probe, rail)}
        if rest:
            self._link(ring, halves, tuple(sorted(rest)))

    def _probe(self, half: Ring, rails: tuple[str, ...]) -> Ring:
        """``half`` as a ring; a single node with a good partner."""
        return half if len(half) > 1 else (half[0], self._good(half[0], rails, 0))

    def _ask(self, probes: Sequence[Ring], ring: Ring, rails: tuple[str, ...]) -> bool:
        """Whether all ``probes`` have results; if not, they are wanted, and ``ring`` stays open."""
        missing = [probe for probe in probes if probe not in self.results]
        self.wanted += missing
        if missing:
            self.open.append(f"ring {' '.join(ring)} is slow on rail {', '.join(rails)}, not traced")
        return not missing

    def _no_partner(self, ring: Ring, rails: tuple[str, ...]) -> None:
        self.open.append(f"ring {' '.join(ring)} is slow on rail {', '.join(rails)}, not traced")
        self.unknown.append(
            f"too few nodes are good on rail {', '.join(rails)} to compare with; measure all pairs"
        )

    def _suspect(self, node: str, rails: tuple[str, ...]) -> None:
        """A node slow with one good partner: two other good ones decide."""
        probes = [(node, self._good(node, rails, turn)) for turn in (1, 2)]
        if "" in probes[0] or "" in probes[1] or probes[0] == probes[1]:
            self._no_partner((node,), rails)
            return
        if not self._ask(probes, (node,), rails):
            return
        for rail in rails:
            slow = [probe for probe in probes if self._slow(probe, rail)]
            met = ", ".join(partner for _, partner in slow)
            if len(slow) == 2:
                lost = 1 - max(self.results[probe][rail] for probe in slow) / self.reference
                self.findings.append(
                    Finding("port", node, "", rail, lost, (f"slow with {met}, who are good",))
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
                lost = 1 - self.results[probe][rail] / self.reference
                left, right = sorted(probe)
                text = "slow in its ring and alone; both ends are fast with others"
                self.findings.append(Finding("path", left, right, rail, lost, (text,)))
            if not slow and all(self._known(probe, rail) for probe in probes):
                self.unknown.append(
                    f"ring {' '.join(ring)} was slow on rail {rail} once and not again; measure it again"
                )

    def _gather(self) -> None:
        """Ports of one node on every rail become the node."""
        rails = len(self.problem.rails)
        for node in sorted({found.node for found in self.findings if found.kind == "port"}):
            own = [found for found in self.findings if found.kind == "port" and found.node == node]
            if len(own) == rails > 1:
                lost = sorted(found.lost for found in own)[rails // 2]
                self.findings = [found for found in self.findings if found not in own]
                self.findings.append(Finding("node", node, "", "", lost, own[0].evidence))


def unmeasured(problem: Problem, results: Results, rail: str) -> Iterator[tuple[str, str]]:
    """The pairs whose path on ``rail`` no probe went over: what the screening could not have found."""
    seen = _links([ring for ring, rates in results.items() if _rated(rates, rail)])
    return (pair for pair in combinations(problem.nodes, 2) if frozenset(pair) not in seen)
