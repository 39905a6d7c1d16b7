"""Clusters of paper, the other two schedules: rings of nodes when time is short, and transfers across rails.

Both drive what a real run drives: ``bench.plan.screening.step`` and ``bench.plan``'s rounds, ``bench.judge.blame``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np
from numpy.random import Generator

from bench.judge.blame import Answer, BlameRules, PairRate, Subject, blame, judge, retests, transfers
from bench.judge.blame.matrix import Cross
from bench.model.measurement import Case, Measurement, Rank
from bench.model.profile import parse
from bench.model.rounds import rounds
from bench.plan import AcceptOptions, Job, acceptance, pair_cases
from bench.plan.phase_names import AGAIN, CROSS, FIRST
from bench.plan.screening import Ring, ScreenedFault, ScreeningTask, Step, groups, step
from bench.plan.screening import across as crossing
from bench.plan.screening_phases import REPEATS
from bench.store.rows import Row, row_of
from simulate import LINE, Cluster, Lab, Noise, Truth, capacity


def links_of(ring: Ring) -> list[tuple[str, str]]:
    """(sender, receiver) of every link of a ring of nodes."""
    return list(zip(ring, (*ring[1:], ring[0]), strict=True))


def ring_rates(random: Generator, lab: Lab, ring: Ring) -> dict[str, float]:
    """What a ring measures: on each rail its slowest link, the middle of its repeats."""
    node = {name: at for at, name in enumerate(lab.where.nodes)}
    ends = np.array([(node[a], node[b]) for a, b in links_of(ring)])
    share = lab.share[:, ends[:, 0], ends[:, 1]]
    draws = LINE * (share * lab.noise.draw(random, (REPEATS, *share.shape))).min(axis=2)
    rates = np.median(draws, axis=0)
    return dict(zip(lab.where.rails, (float(rate) for rate in rates), strict=True))


def screen(random: Generator, where: Cluster, faults: Sequence[Truth], noise: Noise) -> tuple[Step, int]:
    """(what the screening says at its end, steps), as ``bench.run.phases`` goes on until no probe is left."""
    lab = Lab(where, tuple(faults), noise, capacity(where, faults))
    asked = ScreeningTask(where.nodes, where.rails, LINE, leaves=where.known.leaves)
    results: dict[Ring, dict[str, float]] = {}
    for steps in range(60):
        now = step(asked, results)
        if now.done:
            return now, steps
        results |= {ring: ring_rates(random, lab, ring) for ring in now.probes}
    raise RuntimeError("the screening does not end")


def can_be_found(where: Cluster, fault: Truth) -> bool:
    """Whether a link of the first rings goes through the fault: a bad path elsewhere is not looked at."""
    subject = fault.subject
    if subject.kind != "path":
        return True
    links = {link for ring in (*groups(where.nodes), *crossing(where.nodes)) for link in links_of(ring)}
    there, back = (subject.node, subject.peer) in links, (subject.peer, subject.node) in links
    return {"ab": there, "ba": back}.get(subject.direction, there or back)


def subject_of(found: ScreenedFault) -> Subject:
    """A finding as blame names it; a screening tells no direction."""
    return Subject(found.kind, found.node, found.peer, found.rail, name=found.name)


def without_direction(subject: Subject) -> Subject:
    """What a screening can say at most of ``subject``."""
    return replace(subject, direction="both")


@dataclass(frozen=True)
class Wiring:
    """Swapped ports (node, rail, other rail); ``apart``: share that gets from one plane to another (0: none)."""

    swapped: tuple[tuple[str, str, str], ...]
    apart: float

    def plane(self, node: str, rail: str) -> str:
        """The rail whose leaf the port really hangs on."""
        for name, one, other in self.swapped:
            if name == node and rail in (one, other):
                return other if rail == one else one
        return rail

    def share(self, a: str, rail_a: str, b: str, rail_b: str) -> float:
        return 1.0 if self.plane(a, rail_a) == self.plane(b, rail_b) else self.apart


def across(
    random: Generator, where: Cluster, wiring: Wiring, faults: Sequence[Truth], noise: Noise
) -> Answer:
    """All pairs straight, the pass of ``railgauge accept --cross-rail``, suspects again on their rails; judged."""
    share = capacity(where, faults)
    for r, rail in enumerate(where.rails):
        for i, j in permutations(range(len(where.nodes)), 2):
            share[r, i, j] *= wiring.share(where.nodes[i], rail, where.nodes[j], rail)
    lab = Lab(where, tuple(faults), noise, share)
    m = lab.first(random)
    node, cross = {name: at for at, name in enumerate(where.nodes)}, dict[Cross, tuple[float, int]]()
    for sender, out, receiver, into in _crossed(where):
        # as slow as the worse of the two ports on their own rails
        own = min(
            _port(share, wiring, node[sender], where, out), _port(share, wiring, node[receiver], where, into)
        )
        rate = wiring.share(sender, out, receiver, into) * own * float(noise.draw(random, (1,))[0])
        cross[sender, out, receiver, into] = (LINE * rate, 1)
    m, rules = replace(m, cross=cross), BlameRules(nominal=LINE)
    for _ in range(transfers.TIMES):
        looks = [look for look in retests(m, rules, where.known) if not look.rail_b]
        m = lab.again(random, m, looks, rules.repeats) if looks else m
    return judge(m, rules, where.known)


def _crossed(where: Cluster) -> Iterator[Cross]:
    """Both directions of every transfer of the pass: each node with two others, every rail with every other."""
    for meets in rounds(where.nodes)[: 2 + len(where.nodes) % 2]:
        for (a, b), (rail, other) in product(meets, permutations(where.rails, 2)):
            yield a, rail, b, other
            yield b, other, a, rail


def _port(share: np.ndarray, wiring: Wiring, node: int, where: Cluster, rail: str) -> float:
    """Share that a port reaches by itself: its fault, without what its wiring takes."""
    name = where.nodes[node]
    if any(name == each[0] and rail in each[1:] for each in wiring.swapped):
        return 1.0
    r = where.rails.index(rail)
    return float(np.nanmax(np.concatenate([share[r, node, :], share[r, :, node]])))


PAPER = """
format = 1
name = "paper"
title = "a cluster of paper"
source = "ci/lab/score"
[cluster]
nodes = [2, 2048]
[rails]
kind = "infiniband"
count = {count}
devices = [{devices}]
[sweep]
pair_sizes = ["256M"]
[[bounds]]
collective = "p2p_bidirectional"
quantity = "rail_rate"
at_least = "{least} GB/s"
source = "0.97 of the line"
"""


def as_run(random: Generator, where: Cluster, faults: Sequence[Truth], noise: Noise) -> tuple[Answer, int]:
    """(answer, transfers measured again) by plan, rows and ``judge.blame.transfers``: all that a real run goes through.

    Slower than ``simulate.run``, which does the same on arrays.
    """
    lab = Lab(where, tuple(faults), noise, capacity(where, faults))
    profile = parse(
        PAPER.format(
            count=len(where.rails),
            devices=", ".join(f'"{rail}"' for rail in where.rails),
            least=LINE * 0.97e-9,
        ),
        "paper",
    )
    width = len(where.rails)
    ranks = tuple(Rank(at, where.nodes[at // width], at % width) for at in range(width * len(where.nodes)))
    phases, _ = acceptance(Job(profile, ranks, "nccl", AcceptOptions(ways="one-way", all_pairs=True)), 1.0)
    rows = [
        row
        for phase in phases
        if phase.name == FIRST
        for case in phase.cases
        for row in _rows(random, lab, case, width)
    ]
    count = 0

    def seen() -> list[PairRate]:
        return transfers.pair_rates(rows, ranks, where.rails, FIRST, AGAIN, CROSS)

    for again in range(1, transfers.TIMES + 1):
        tests = transfers.retests_of(seen(), ranks, transfers.rules(profile), where.known, profile.rails)
        count += sum(len(look.pairs) for look in tests)
        for number, look in enumerate(tests):
            for case in pair_cases(
                f"{AGAIN}-{again}", f"test-{number}", look.pairs, profile, "nccl", look.ways
            ):
                rows += _rows(random, lab, case, width)
    return blame(seen(), transfers.rules(profile), where.known), count


def _rows(random: Generator, lab: Lab, case: Case, width: int) -> Iterator[Row]:
    """The first rank of each group sends, at the share that its rail and both ends allow."""
    nodes, rails = lab.where.nodes, lab.where.rails
    for group in case.groups:
        (i, r), (j, s) = divmod(group[0], width), divmod(group[1], width)
        share = lab.share[r, i, j] if r == s else lab.across((nodes[i], rails[r]), (nodes[j], rails[s]))
        rate = LINE * share * float(lab.noise.draw(random, (1,))[0])
        seconds = case.size / rate
        yield row_of(case, _measurement(case, group, seconds))


def _measurement(case: Case, group: tuple[int, ...], seconds: float) -> Measurement:
    times = ((seconds, seconds),)
    return Measurement(case.id, group, times, 4, (seconds,), (0, 0), 1, (), "budget", 0.01, 4)
