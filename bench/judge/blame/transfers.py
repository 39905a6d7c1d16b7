"""Makes the transfers that blame reasons about from measured rows: node pair × rail × direction."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from statistics import median

from bench.judge.evidence import Evidence, derived
from bench.judge.leaves import nodes_of_leaves
from bench.model.late_dataclass import dataclass, replace
from bench.model.measurement import Case, Rank
from bench.model.profile import Profile, Rails
from bench.model.rails import can_cross
from bench.model.rounds import pack
from bench.plan.phase_names import AGAIN, CROSS, FIRST, SCREEN
from bench.plan.screening import Ring, ScreeningTask, Step, step
from bench.store.rows import Row

from . import Background, Blame, BlameRules, PairRate, Test, blame, confirmations, explained_by, intermittent
from .background import background
from .suspects import Answer

TIMES = 3  # at most so often are suspects measured again
RETRIES_DEAD_PAIR = 3  # a pair that transfers nothing has no noise to average out
REPEATS = 4  # times that a transfer is measured again as it was; the median of all five is judged
MOST_REPEATED = 6  # cases that are: where more are slow and nobody is to blame, it was no passing disturbance


def transfers(evidence: Evidence, *phases: str) -> tuple[PairRate, ...]:
    """One for each measurement of the phases whose names begin so; see ``pair_rates``."""
    known = _transfers(evidence)
    if phases not in known:
        known[phases] = tuple(pair_rates(evidence.rows, evidence.ranks, evidence.rail_names, *phases))
    return known[phases]


@derived
def _transfers(evidence: Evidence) -> dict[tuple[str, ...], tuple[PairRate, ...]]:
    """The transfers by phases, as they are asked for: blame, bounds, charts and maps ask for the same."""
    return {}


def pair_rates(
    rows: Sequence[Row], ranks: Sequence[Rank], names: Sequence[str], *phases: str
) -> list[PairRate]:
    """One rate for each measurement of these phases; a transfer that did not get through has rate 0.

    One direction at a time where that was measured, else both directions by their one time.

    phases  how their names begin
    names   of the rails, by local rank
    """
    where = {rank.rank: rank for rank in ranks}
    return [_pair_rate(row, where, names) for row in _between_two(rows, phases)]


def _between_two(rows: Sequence[Row], phases: tuple[str, ...]) -> list[Row]:
    """The rows between two ranks: those of one direction, and a bidirectional row only where its pair has no other."""
    here = [row for row in rows if row.case.phase.startswith(phases) and row.ranks == 2]
    one_way = {_meeting(row) for row in here if row.case.collective == "p2p"}
    return [
        row
        for row in here
        if row.case.collective == "p2p"
        or (row.case.collective == "p2p_bidirectional" and _meeting(row) not in one_way)
    ]


def _meeting(row: Row) -> tuple[str, frozenset[int], str]:
    return row.case.phase, frozenset(row.measurement.ranks), row.case.rail


def _pair_rate(row: Row, where: Mapping[int, Rank], names: Sequence[str]) -> PairRate:
    """The first member of the group sends, or both do."""
    sender, receiver = (where[rank] for rank in row.measurement.ranks)
    failed = row.measurement.extra.failed
    counts = row.measurement.extra.retransmits or (None,)
    pinned = row.case.rail not in ("", "own")
    rail = row.case.rail if pinned else names[sender.local_rank]
    other = rail if pinned else names[receiver.local_rank]
    return PairRate(
        round=_round(row.case.id),
        a=sender.node,
        b=receiver.node,
        rail=rail,
        direction="ab" if row.case.collective == "p2p" else "both",
        rate=0.0 if failed else row.algbw,
        retransmits=None if counts[0] is None else float(counts[0]),
        again=row.case.phase.startswith(AGAIN),
        rail_b="" if rail == other else other,
    )


@lru_cache(maxsize=1 << 14)
def _round(case_id: str) -> int:
    number = case_id.split("/")[-2].rpartition("-")[2]
    return int(number) if number.isdigit() else 0


@derived
def answer(evidence: Evidence) -> Answer:
    """The parts to blame, by all rows of the rails phases and what else the run knows.

    A transfer that meets the bad seconds of an intermittent port, and again where it was repeated, looks like a slow
    path; the steady load saw its port for longer, with other neighbours.
    """
    found = blame(straight_and_across(evidence), rules(evidence.profile), background(evidence))
    slow = intermittent.ports(evidence)
    explained = tuple(each for each in found.blames if _is_path_of(each, slow))
    blames = tuple(each for each in found.blames if each not in explained)
    return replace(found, blames=blames, explained=explained)


def _is_path_of(found: Blame, ports: Collection[tuple[str, str]]) -> bool:
    path = found.subject
    ends = {(node, path.rail) for node in (path.node, path.peer)}
    return (path.kind, found.metric) == ("path", "rate") and not ends.isdisjoint(ports)


def straight_and_across(evidence: Evidence) -> list[PairRate]:
    """All that blame reasons about."""
    found = transfers(evidence, FIRST, AGAIN, CROSS)
    return [each for each in found if not each.rail_b or can_cross(evidence.rails)]


def unexplained(evidence: Evidence) -> list[Case]:
    """Cases of the first phase with a transfer below the profile's bound that goes through nobody who is blamed,
    slowest first.

    A disturbance of a tenth of a second halves a transfer that lasts as long, and alone on its rail it is fast
    again. Whether it was a disturbance only the same load tells.
    """
    bounds = [limit.bound for limit in evidence.limits("rail_rate")]
    if not bounds:
        return []
    explained = explained_by(answer(evidence).blames, straight_and_across(evidence), background(evidence))
    where = {rank.rank: rank for rank in evidence.ranks}
    worst: dict[str, tuple[float, Case]] = {}
    for row in _between_two([row for row in evidence.rows if row.case.phase == FIRST], (FIRST,)):
        each = _pair_rate(row, where, evidence.rail_names)
        if not all(bound.reached(each.rate) for bound in bounds) and not explained(each):
            rate = min(each.rate, worst.get(row.case.id, (math.inf, row.case))[0])
            worst[row.case.id] = (rate, row.case)
    return [case for _, case in sorted(worst.values(), key=lambda each: each[0])]


def rules(profile: Profile) -> BlameRules:
    """What a healthy pair reaches is taken from the pairs themselves, and from the profile's bound on a rail.

    The bound is what is just enough: the nominal rate stands so far above it that it is not blamed.
    """
    plain = BlameRules()
    bounds = [limit.bound.value for limit in profile.limits if limit.quantity == "rail_rate"]
    return replace(plain, nominal=max(bounds) / (1 - plain.smallest)) if bounds else plain


@dataclass(frozen=True)
class Retest:
    """A round of rank pairs to be measured again. ``dead``: nothing got through between them in either direction."""

    pairs: tuple[tuple[int, int], ...]
    dead: bool = False

    @property
    def ways(self) -> str:
        """``one-way`` or ``both``, as in ``plan.pair_cases``. A dead pair is measured both ways at once: its time-out
        tells no more.
        """
        return "both" if self.dead else "one-way"


def retests(evidence: Evidence) -> list[Retest]:
    """Rounds of rank pairs that settle the suspects; empty when there are none."""
    seen = straight_and_across(evidence)
    return retests_of(seen, evidence.ranks, rules(evidence.profile), background(evidence), evidence.rails)


def retests_of(
    seen: Sequence[PairRate], ranks: Sequence[Rank], rules: BlameRules, known: Background, rails: Rails
) -> list[Retest]:
    """``retests`` of transfers.

    The whole list is gone through ``BlameRules.repeats`` times, because a disturbance passes; what is dead
    RETRIES_DEAD_PAIR times, in rounds of their own.
    """
    if not any(math.isfinite(each.rate) for each in seen):
        return []
    tests = [test for test in confirmations(seen, rules, known) if not test.rail_b or can_cross(rails)]
    place = {(rank.node, known.rails[rank.local_rank]): rank.rank for rank in ranks}
    dead = _dead(seen)
    still = [test for test in tests if (test.a, test.b, test.rail) in dead]
    quick = [test for test in tests if test not in still]
    turns = [(still, True)] * RETRIES_DEAD_PAIR + [(quick, False)] * rules.repeats
    return [
        Retest(
            tuple((place[test.a, test.rail], place[test.b, test.rail_b or test.rail]) for test in meets),
            of_dead,
        )
        for turn, of_dead in turns
        for meets in _rounds(turn)
    ]


def _dead(seen: Sequence[PairRate]) -> set[tuple[str, str, str]]:
    """Pairs on a rail between which nothing at all got through: every further try costs a time-out."""
    rates: dict[tuple[str, str, str], list[float]] = {}
    for row in seen:
        rates.setdefault((min(row.a, row.b), max(row.a, row.b), row.rail), []).append(row.rate)
    return {key for key, found in rates.items() if not any(found)}


def _rounds(tests: Sequence[Test]) -> list[list[Test]]:
    """Tests in rounds in which no node stands twice: a suspect is measured alone."""
    left = list(tests)
    rounds = []
    for meets in pack([(test.a, test.b) for test in tests]):
        chosen = []
        for a, b in meets:
            test = next(test for test in left if (test.a, test.b) == (a, b))
            left.remove(test)
            chosen.append(test)
        rounds.append(chosen)
    return rounds


@derived
def screened(evidence: Evidence) -> Step:
    """What the rings of nodes say so far, and what to measure next."""
    known = background(evidence)
    nominal, by_leaf = rules(evidence.profile).nominal, nodes_of_leaves(evidence.run, evidence.profile)
    problem = ScreeningTask(known.nodes, known.rails, nominal, leaves=known.leaves, by_leaf=by_leaf)
    return step(problem, ring_rates(evidence.rows, evidence.ranks, known.rails))


def ring_rates(
    rows: Sequence[Row], ranks: Sequence[Rank], names: Sequence[str]
) -> dict[Ring, dict[str, float]]:
    """Ring of nodes -> rail -> bytes/s of its slowest link, the middle of its repeats; 0: nothing got through.

    A ring of which a repeat gave no figure has none.
    """
    where = {rank.rank: rank for rank in ranks}
    found: dict[Ring, dict[str, list[float]]] = {}
    for row in rows:
        if not row.case.phase.startswith(SCREEN):
            continue
        members = [where[rank] for rank in row.measurement.ranks]
        ring = tuple(member.node for member in members)
        rate = 0.0 if row.measurement.extra.failed else row.algbw
        found.setdefault(ring, {}).setdefault(names[members[0].local_rank], []).append(rate)
    return {
        ring: {rail: median(seen) for rail, seen in rates.items() if all(map(math.isfinite, seen))}
        for ring, rates in found.items()
    }
