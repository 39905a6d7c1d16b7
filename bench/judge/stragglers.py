"""Ranks that others wait for, told apart from a slowdown of everybody.

``apart`` says what can be seen in the calls that are timed by themselves: that a rank comes late (its own time
is the shorter one) or leaves late (the longer one), in collectives that nobody leaves before all have come. A
straggler does so in most iterations and in most cases, and by a share of the call that counts. That fails
nobody by itself: only where the calls take longer than usual is it asked whether the waiting is the reason.

Of large messages a slow link looks the same: before it ranks have their results sooner than behind it. But who
is late is so by the same seconds whatever the size, so the smaller messages tell; nobody is blamed without them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from types import MappingProxyType

from bench.measure.skew import EFFECT, LEAST
from bench.model.collectives import COLLECTIVES
from bench.model.late_dataclass import dataclass, replace
from bench.model.measurement import Case, Measurement, Rank
from bench.model.units import show_seconds, show_share
from bench.model.verdict import Status

MOST = 0.5
"""Share of iterations in which a straggler stands apart, and of the cases in which it does."""

CHANCE = 1e-4
"""Probability, over all ranks, that chance alone makes one of them stand apart so often."""

SLOWER = 1.1
"""Times the usual time from which on the whole is called slow."""

SMALLER = 4
"""Times smaller that a message must be to tell a late rank from a slow link, which costs it next to nothing."""

SHOWN = 4  # stragglers in one line of text


@dataclass(frozen=True)
class Straggler:
    """``name`` (a rank, or a node whose ranks are it all or by turns) stood apart in ``share`` of iterations.

    late   it comes late; False: it leaves late, or all the others come late
    loss   share of a call that the others wait for it, in the median case
    sure   it is so by the same seconds in much smaller messages; False: it is not; None: there are none
    """

    kind: str
    name: str
    ranks: tuple[int, ...]
    late: bool
    share: float
    loss: float
    sure: bool | None
    evidence: str


@dataclass(frozen=True)
class Waiting:
    """What the times of the ranks and of the whole say.

    status      FAIL slower than usual; PASS not slower; INCONCLUSIVE where it is not known whether that matters
    stragglers  who costs most first
    slow        time / usual time of the median case; NaN when no usual time is known
    systemwide  slow, and waiting for stragglers is not the reason, or not alone
    iterations  in which was counted who stood apart; ``left_out``: measurements that say nothing, with the reason
    unknown     what could not be determined
    """

    status: Status
    stragglers: tuple[Straggler, ...]
    slow: float
    systemwide: bool
    iterations: int
    left_out: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def rest(self) -> float:
        """``slow`` without the waiting, at best: calls back to back lose less by it than single ones."""
        return self.slow * (1 - max((straggler.loss for straggler in self.culprits), default=0.0))

    @property
    def culprits(self) -> tuple[Straggler, ...]:
        """Stragglers that can be told from a slow link."""
        return tuple(straggler for straggler in self.stragglers if straggler.sure)

    @property
    def text(self) -> str:
        """One line."""
        return "; ".join([*self._whole(), *self._who(), *self.unknown])

    def _whole(self) -> list[str]:
        if not self.slow >= SLOWER:
            return []
        if not self.iterations:
            return [f"calls take {self.slow:.2f} times the usual time"]
        best = f", at best {self.rest:.2f} without waiting for " if self.culprits else ""
        best += "it" if len(self.culprits) == 1 else "them" if best else ""
        if self.systemwide and len(self.culprits) == len(self.stragglers):
            return [f"all ranks are slow alike: {self.slow:.2f} times the usual time{best}"]
        return [f"calls take {self.slow:.2f} times the usual time{best}"]

    def _who(self) -> list[str]:
        usual = ""
        if self.slow < SLOWER:
            usual = f", all together take {self.slow:.2f} times the usual time"
        if self.stragglers:
            more = len(self.stragglers) - SHOWN
            told = [straggler.evidence for straggler in self.stragglers[:SHOWN]]
            told += [f"{more} more like that"] if more > 0 else []
            return told + ([usual.removeprefix(", ")] if usual else [])
        if not self.iterations:
            return []
        return [f"no rank comes late or leaves late in most of {self.iterations} iterations{usual}"]


def stragglers(
    measurements: Iterable[Measurement],
    cases: Mapping[str, Case],
    ranks: Sequence[Rank],
    usual: Mapping[str, float] = MappingProxyType({}),
) -> Waiting:
    """The ranks that others wait for most of the time, and whether that or something else makes the calls slow.

    cases  by id, to leave out those in which a rank may leave before all have come
    ranks  of the job, for the nodes
    usual  median isolated seconds of a case id, from nights before or a bound; without it nothing is called slow,
           and where it is known of some cases only these decide
    """
    kept, left_out = _usable(measurements, cases)
    known = [each for each in kept if usual.get(each.case, 0) > 0]
    every = [each for each in kept if each.apart is not None]
    kept = known or kept
    counted = [each for each in kept if each.apart is not None]
    deciding = {each.case for each in kept}
    sized = [(each, cases[each.case].size, each.case in deciding) for each in every]
    found = _persistent(sized, {rank.rank: rank.node for rank in ranks})
    slow = _slow(known, usual)
    answer = Waiting(
        status=_status(slow, bool(found), bool(counted)),
        stragglers=found,
        slow=slow,
        systemwide=False,
        iterations=sum(len(each.isolated) for each in counted),
        left_out=left_out,
        unknown=_unknown(kept, counted, slow, bool(found)),
    )
    return _with_reason(answer)


def _with_reason(answer: Waiting) -> Waiting:
    """The answer with ``systemwide``: whether calls stay slow without the waiting; False where nothing was counted."""
    return replace(answer, systemwide=bool(answer.iterations) and answer.rest >= SLOWER)


def _status(slow: float, found: bool, counted: bool) -> Status:
    if slow >= SLOWER:
        return Status.FAIL
    # who is waited for is no fault where nobody says what the calls should take
    told = counted and (not found or slow < SLOWER)
    return Status.PASS if told else Status.INCONCLUSIVE


def _usable(
    measurements: Iterable[Measurement], cases: Mapping[str, Case]
) -> tuple[list[Measurement], tuple[str, ...]]:
    """(measurements that can show a straggler or how slow all are, why the others cannot)."""
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
    if case is None:
        return "its case is not in the plan"
    if case.root >= 0:
        return "it has a root, so the algorithm decides who is last"
    if case.collective not in COLLECTIVES or not COLLECTIVES[case.collective].synchronises:
        return "a rank may be done before all have come, so nobody need wait for the late one"
    if len(each.ranks) < LEAST:
        return "of fewer than three ranks one is as far from the typical time as the other"
    if not each.isolated or not all(0 <= seconds < math.inf for seconds in each.isolated):
        return "no isolated iteration was counted"
    return _damaged(each)


def _damaged(each: Measurement) -> str:
    if each.apart is None:
        return ""
    seen, iterations = each.apart, len(each.isolated)
    counts = (seen.short, seen.shortest, seen.long, seen.longest)
    times = (seen.short_by, seen.long_by)
    if any(len(values) != len(each.ranks) for values in (*counts, *times)):
        return f"its counts are not of {len(each.ranks)} ranks"
    if not all(0 <= count <= iterations for values in counts for count in values):
        return f"a count is negative or above the {iterations} iterations"
    good = all(0 <= seconds < math.inf for values in times for seconds in values)
    return "" if good else "a difference is not a time"


@dataclass(frozen=True)
class _EarlyOrLate:
    """One measurement, with ranks early or late: [rank] how often, how often by most, and by how many seconds.

    decides  whether it says who is a straggler; the others only whether he is so in smaller messages as well
    """

    size: int
    decides: bool
    ranks: tuple[int, ...]
    iterations: int
    typical: float
    counts: tuple[int, ...]
    most: tuple[int, ...]
    seconds: tuple[float, ...]

    def places(self, ranks: tuple[int, ...]) -> list[int]:
        """The indices of these ranks; none where no other rank could wait for them."""
        found = [at for at, rank in enumerate(self.ranks) if rank in ranks]
        return found if len(found) < len(self.ranks) else []


_Sized = tuple[Measurement, int, bool]


def _early_or_late(sized: _Sized, late: bool) -> _EarlyOrLate:
    each, size, decides = sized
    assert each.apart is not None
    at = each.apart
    side = (at.short, at.shortest, at.short_by) if late else (at.long, at.longest, at.long_by)
    return _EarlyOrLate(size, decides, each.ranks, len(each.isolated), median(each.isolated), *side)


def _persistent(sized: Sequence[_Sized], node: Mapping[int, str]) -> tuple[Straggler, ...]:
    """The ranks that come late in most iterations; if none does, those that leave late, which look early."""
    found: list[Straggler] = []
    for late in (True, False):
        seen = [_early_or_late(each, late) for each in sized]
        found = found or _as_nodes(_ranks(seen, node, late), seen, node)
    return tuple(sorted(found, key=lambda straggler: -straggler.loss))


def _ranks(seen: Sequence[_EarlyOrLate], node: Mapping[int, str], late: bool) -> list[Straggler]:
    """Ranks that stood apart by themselves; nodes whose ranks did by turns, where none of them did by itself."""
    everyone = sorted({rank for each in seen for rank in each.ranks})
    found = [
        straggler
        for rank in everyone
        if (straggler := _judged(seen, (rank,), f"rank {rank} on {node.get(rank, '?')}", late, len(everyone)))
    ]
    members = _members(everyone, node)
    blamed = {node.get(rank, "?") for straggler in found for rank in straggler.ranks}
    for name in sorted(set(members) - blamed):
        straggler = _judged(seen, members[name], f"node {name}", late, len(members), "node")
        found += [straggler] if straggler else []
    return found


def _members(everyone: Sequence[int], node: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """Nodes that have more ranks than one and are known."""
    found = defaultdict[str, list[int]](list)
    for rank in everyone:
        if rank in node:
            found[node[rank]].append(rank)
    return {name: tuple(ranks) for name, ranks in found.items() if len(ranks) > 1}


def _as_nodes(
    found: list[Straggler], seen: Sequence[_EarlyOrLate], node: Mapping[int, str]
) -> list[Straggler]:
    """A node in place of its ranks where every one of them is a straggler."""
    single = {straggler.ranks[0]: straggler for straggler in found if straggler.kind == "rank"}
    for name, ranks in _members(sorted({rank for each in seen for rank in each.ranks}), node).items():
        if all(rank in single for rank in ranks):
            worst = max((single[rank] for rank in ranks), key=lambda straggler: straggler.loss)
            text = f"node {name}, each of its {len(ranks)} ranks: {worst.evidence}"
            whole = replace(worst, kind="node", name=f"node {name}", ranks=ranks, evidence=text)
            found = [each for each in found if each.ranks[0] not in ranks] + [whole]
    return found


def _judged(
    seen: Sequence[_EarlyOrLate],
    ranks: tuple[int, ...],
    name: str,
    late: bool,
    rivals: int,
    kind: str = "rank",
) -> Straggler | None:
    """``ranks`` together: in most iterations, far more than by turns, and by what counts in most cases."""
    count, iterations, expected = 0, 0, 0.0
    effects: list[tuple[float, float]] = []
    by_size: list[tuple[int, float]] = []
    for each in seen:
        places = each.places(ranks)
        if not places:
            continue
        # of several ranks, one iteration counts once: for the one that stood apart by most
        counts = each.counts if len(ranks) == 1 else each.most
        mine = sum(counts[at] for at in places)
        effect = _effect(each, places, mine)
        by_size.append((each.size, effect[1]))
        if not each.decides:
            continue
        effects.append(effect)
        count += mine
        iterations += each.iterations
        expected += sum(counts) * len(places) / len(each.ranks)
    if not _too_often(count, iterations, expected, rivals):
        return None
    loss, seconds = sorted(effects)[(len(effects) - 1) // 2]
    if not loss >= EFFECT:
        return None
    often = f"{count} of {iterations} iterations ({show_share(count / iterations)}, "
    often += f"by turns {show_share(expected / iterations)})"
    sure = _whatever_the_size(by_size)
    told = _sentence(name, often, show_seconds(seconds), show_share(loss), late) + LINK[sure]
    return Straggler(kind, name, ranks, late, count / iterations, loss, sure, told)


LINK: dict[bool | None, str] = {
    True: "",
    None: "; a slow link looks the same: only messages of which one is much smaller would tell",
    False: "; not so in smaller messages, which speaks for a slow link between the others and it: see the pairs",
}


def _whatever_the_size(by_size: Sequence[tuple[int, float]]) -> bool | None:
    """Whether most of the much smaller messages show half the seconds of the largest one; None where there are none."""
    shown = [(size, seconds) for size, seconds in by_size if seconds > 0]
    if not shown:
        return None
    largest = max(size for size, _ in shown)
    wanted = median([seconds for size, seconds in shown if size == largest]) / 2
    smaller = [seconds >= wanted for size, seconds in by_size if size * SMALLER <= largest]
    return sum(smaller) > len(smaller) / 2 if smaller else None


def _effect(each: _EarlyOrLate, places: Sequence[int], mine: int) -> tuple[float, float]:
    """(share of a call, seconds) that is waited in the iterations that count; 0 where these are not most of them."""
    if mine <= MOST * each.iterations or not each.typical > 0:
        return 0.0, 0.0
    waited = sum(each.most[at] * each.seconds[at] for at in places)
    often = sum(each.most[at] for at in places)
    seconds = waited / often if often else max(each.seconds[at] for at in places)
    return min(1.0, seconds / each.typical), seconds


def _too_often(count: int, iterations: int, expected: float, rivals: int) -> bool:
    if count <= MOST * iterations or count <= 1.5 * expected:
        return False
    return rivals * tail(count, iterations, expected / iterations) < CHANCE


def _sentence(name: str, often: str, seconds: str, loss: str, late: bool) -> str:
    if late:
        text = f"{name} needs less time than the others in {often}: it comes late and they wait {seconds} for it, "
        return text + f"{loss} of a call, or it has the least to do"
    text = (
        f"{name} needs more time than the others in {often}: it leaves late, by {seconds}, {loss} of a call, "
    )
    return text + "or all the others come late"


def tail(count: int, tries: int, share: float) -> float:
    """Bound of the probability of ``count`` or more of ``tries`` at ``share`` each (Chernoff 1952), 0..1."""
    seen = count / tries
    if seen <= share:
        return 1.0
    rest = (1 - seen) * math.log((1 - seen) / (1 - share)) if seen < 1 else 0.0
    return math.exp(-tries * (seen * math.log(seen / share) + rest))


def _slow(known: Sequence[Measurement], usual: Mapping[str, float]) -> float:
    """Median over the cases of isolated median / usual; NaN when no case has both."""
    ratios = [median(each.isolated) / usual[each.case] for each in known]
    return median(ratios) if ratios else math.nan


def _unknown(
    kept: Sequence[Measurement], counted: Sequence[Measurement], slow: float, found: bool
) -> tuple[str, ...]:
    if not kept:
        return ("stragglers cannot be detected: this needs an unrooted collective on 3 or more ranks",)
    if not counted:
        return ("who is waited for, if anybody, was not recorded by the version that measured this",)
    if not math.isnan(slow):
        return ()
    if found:
        return ("whether that costs anything cannot be seen without a night before or a bound",)
    typical = show_seconds(median([median(each.isolated) for each in kept]))
    return (
        "whether all are slow alike cannot be seen without a night before or a bound"
        + f" (median {typical})",
    )
