"""Rails that are slow now and then: fast enough when they were measured once, or measured again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from bench.judge.blame import transfers
from bench.judge.blame.intermittent import (
    FLOOR,
    LEAST_SHARE,
    LEAST_SLOW,
    LEAST_STEADY,
    LEAST_WINDOWS,
    Intermittent,
    SteadyLoad,
    intermittent,
    loads,
)
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.model.measurement import Window
from bench.model.rails import members
from bench.model.units import show_both, show_count, show_seconds, show_share
from bench.plan.phase_names import STEADY, STEADY_AGAIN

from .correctness import longest_without_stall

# of the floor of a rail by itself, which all rails together keep up: one call at a time costs some of it
TOGETHER = 0.7
LOADS = (STEADY, STEADY_AGAIN)
UNSEEN = 0.25  # of that time, within which no window ended: more than a stall of one call
# of the time of a load that its calls take: the rest are comparing, and meetings, which take long on a thousand nodes;
# a median may be above the mean
BUSY, BUSIEST = 0.02, 1.5
ENOUGH = 0.8  # of the time that the load was to take: its last windows may come late


def _no_steady_load(evidence: Evidence) -> str:
    if any(phase.name == STEADY for phase in evidence.run.plan.phases):
        return ""
    reason = dict(evidence.run.plan.skipped).get(STEADY, "the rails were not loaded steadily in this run")
    return f"not measured: {reason}"


@check(
    "blame.intermittent",
    subject="rails",
    wanted="no rail that is slow in some windows in which its equals are not",
    source="RailGauge: windows of a steady load of all rails",
    on_fail="reseat or swap its cable and transceiver, then the adapter; see its error counters (growth.errors)",
    on_inconclusive="measure again, with nothing else on these nodes: railgauge accept",
    unless=(_no_steady_load,),
)
def rails(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """No rail is slow now and then: a suspect is loaded a second time, with other neighbours, before it is named."""
    measured = loads(evidence.run, evidence.rail_names)
    found = intermittent(measured)
    yield from (_named(each, measured, evidence) for each in _of_nodes(found, evidence))
    steady = [*_steadily_slow(found, measured, evidence), *_too_fast(evidence), *_stalled(evidence)]
    steady += _unlike_a_load(evidence)
    yield from steady
    wanted = len(evidence.rail_names)
    if not measured or measured[0].rings < wanted:
        count = measured[0].rings if measured else 0
        yield Finding("rails", None, f"{count} of {wanted} rails were loaded")
    elif short := _short(evidence):
        yield Finding("rails", None, short, wanted="windows to the end of the load")
    elif all(load.together for load in measured):
        last = measured[-1]
        text = f"most rails were slow at once in {last.of - last.slots} of {last.of} windows"
        yield Finding("rails", None, text, wanted=f"{LEAST_WINDOWS} windows or more in which few are")
    elif not found and not steady:
        yield _clear(measured)


def _steadily_slow(
    found: list[Intermittent], measured: list[SteadyLoad], evidence: Evidence
) -> Iterator[Finding]:
    """Rails that are slow from the first window to the last, and all rails where they are slow together."""
    named = {blame.subject.rail for blame in transfers.answer(evidence).named} | {each.rail for each in found}
    for rail in measured[0].low if measured else ():
        shares = [load.low[rail] for load in measured if rail in load.low]
        if rail in named or "" in named or len(shares) < len(measured):
            continue  # named already, or as fast as the others when it was loaded again
        text = f"keeps up {' and, loaded again, '.join(map(show_share, shares))} of the median rail's rate"
        wanted = f"at least {show_share(LEAST_STEADY)} of the median rail"
        ok = False if len(shares) > 1 else None
        yield Finding(f"rail {rail}", ok, f"under load of all rails {text}", shares[0], wanted=wanted)
    bound = next((limit.bound for limit in evidence.limits("rail_rate")), None)
    if bound and measured and evidence.backend == "nccl" and measured[-1].rate < TOGETHER * bound.value:
        text = f"under load of all rails the median rail keeps up {show_both(measured[-1].rate)}"
        yield Finding(
            "rails", None, text, wanted=f"{show_share(TOGETHER)} of {bound.text}", source=bound.source
        )


def _too_fast(evidence: Evidence) -> Iterator[Finding]:
    """Rails that are said to have moved more than their ports can: such windows were not measured well."""
    port = evidence.rails.rate
    if port is None or evidence.backend != "nccl":  # sockets take a message into their buffers
        return
    loaded = _loaded(evidence)
    fastest: dict[str, float] = {}
    for window in (each for each in evidence.run.windows if (each.case, each.ranks) in loaded):
        size, rail = loaded[window.case, window.ranks]
        rate = size / min(window.seconds) / len(members(rail))
        fastest[rail] = max(rate, fastest.get(rail, 0.0))
    for rail, rate in fastest.items():
        if rate > port.value:
            text = f"under load of all rails it is said to have moved {show_both(rate)}"
            wanted = f"at most {port.text}, which the port can"
            yield Finding(f"rail {rail}", None, text, rate, wanted=wanted, source=port.source)


def _stalled(evidence: Evidence) -> Iterator[Finding]:
    """Rings in whose windows calls stall now and then, which the median of a window hides."""
    if evidence.backend != "nccl":  # a processor that others use may be away for a while
        return
    for rail, mine in _by_rail(evidence).items():
        calls = [(max(each.slowest, each.isolated), max(each.seconds)) for each in mine]
        longest = [slowest for slowest, usual in calls if slowest > longest_without_stall(usual)]
        if len(longest) >= max(LEAST_SLOW, LEAST_SHARE * len(mine)):
            text = f"under load of all rails calls stall in {len(longest)} of {len(mine)} windows"
            text += f", for up to {show_seconds(max(longest))}"
            yield Finding(f"rail {rail}", None, text, max(longest), wanted="no call that stalls")


def _by_rail(evidence: Evidence) -> dict[str, list[Window]]:
    """Rail → its windows of all loads."""
    loaded = _loaded(evidence)
    found: dict[str, list[Window]] = {}
    for each in evidence.run.windows:
        if (each.case, each.ranks) in loaded:
            found.setdefault(loaded[each.case, each.ranks][1], []).append(each)
    return found


def _loaded(evidence: Evidence) -> dict[tuple[str, tuple[int, ...]], tuple[int, str]]:
    """(case, ranks of a ring) → bytes of its messages, and its rail."""
    local = {rank.rank: rank.local_rank for rank in evidence.ranks}
    return {
        (case.id, group): (case.size, evidence.rail_names[local[group[0]]])
        for phase in evidence.run.plan.phases
        for case in (phase.cases if phase.name in LOADS else ())
        for group in case.groups
    }


def _short(evidence: Evidence) -> str:
    """Which ring's windows end before its load was to, "" where none's do."""
    (phase,) = (phase for phase in evidence.run.plan.phases if phase.name == STEADY)
    seconds = phase.rules.get("budget", 0.0)
    for case in phase.cases:
        for group in case.groups:
            mine = [
                each.ended for each in evidence.run.windows if (each.case, each.ranks) == (case.id, group)
            ]
            ranks = f"ranks {group[0]}-{group[-1]}"
            if max(mine, default=0.0) < ENOUGH * seconds:
                return f"{ranks} were loaded for {max(mine, default=0.0):.0f} of {seconds:.0f} s"
            low, high = max(pairwise([0.0, *sorted(mine)]), key=lambda pair: pair[1] - pair[0])
            if high - low > UNSEEN * seconds:
                return f"{ranks}: no window of the load ended between {low:.0f} and {high:.0f} s"
            if twice := len(mine) - len({*mine}):
                return f"{ranks}: {show_count(twice, 'window')} ended at the same time as another"
    return ""


def _unlike_a_load(evidence: Evidence) -> Iterator[Finding]:
    """Rails whose windows cannot come from a load: times that contradict each other, or calls that take up far less, or
    more, than the time of the load.
    """
    for rail, mine in _by_rail(evidence).items():
        odd = sum(each.slowest < max(each.seconds) for each in mine)
        busy = sum(each.calls * max(each.seconds) for each in mine)
        ends: dict[str, float] = {}
        for each in mine:
            ends[each.case] = max(each.ended, ends.get(each.case, 0.0))
        text = (
            f"in {odd} of {len(mine)} windows the slowest call is quicker than the median one" if odd else ""
        )
        lasted = sum(ends.values())
        if not text and evidence.backend == "nccl" and not BUSY * lasted <= busy <= BUSIEST * lasted:
            text = (
                f"its calls took {show_seconds(busy)} of the {show_seconds(lasted)} for which it was loaded"
            )
        if text:
            yield Finding(f"rail {rail}", None, text, wanted="windows filled with calls")


def _of_nodes(found: list[Intermittent], evidence: Evidence) -> list[Intermittent]:
    """Merge the rails of a node that alone is slow on all of them into one entry with rail ""."""
    alone = {each.nodes for each in found if len(each.nodes) == 1}
    for nodes in alone:
        own = [each for each in found if each.nodes == nodes]
        if len(own) == len(evidence.rail_names) > 1:
            shares = tuple(map(min, zip(*(each.shares for each in own), strict=True)))
            found = [each for each in found if each.nodes != nodes] + [Intermittent("", nodes, shares)]
    return found


def _named(each: Intermittent, measured: list[SteadyLoad], evidence: Evidence) -> Finding | NotApplicable:
    """FAIL where a second load confirms it. What blame.rails names is named there, a path with both of its ends."""
    blames = transfers.answer(evidence).named
    on_rail = [blame.subject for blame in blames if blame.subject.rail in ("", each.rail)]
    known = {subject.node for subject in on_rail}
    subject = _subject(replace(each, nodes=tuple(node for node in each.nodes if node in known) or each.nodes))
    shares = " and, loaded again, in ".join(show_share(share) for share in each.shares)
    text = f"below {show_share(FLOOR)} of its equals' rate in {shares} of the windows"
    ends = {end for blamed in on_rail if blamed.kind == "path" for end in (blamed.node, blamed.peer)}
    if on_rail and (each.throughout or not known & set(each.nodes) or set(each.nodes) <= ends):
        return NotApplicable(f"{text}; blame.rails names {on_rail[0].text}", subject)
    if len(measured) < 2:
        return Finding(subject, None, f"suspected: {text}", each.shares[0], wanted="a second load")
    what = "slow throughout" if each.throughout else "intermittent"
    return Finding(subject, False, f"{what}: {text}", max(each.shares))


def _subject(each: Intermittent) -> str:
    """``n2 rail eth1``, ``node n2``; several where the loads do not tell them apart."""
    if not each.rail:
        return f"node {each.nodes[0]}"
    first, *others = (f"{node} rail {each.rail}" for node in each.nodes)
    return f"cannot tell {first} from {', '.join(others)}" if others else first


def _clear(measured: list[SteadyLoad]) -> Finding:
    first = measured[0]
    once = tuple(
        f"{node} rail {ring.rail} was slow in {show_share(share)} of the windows and, loaded again, is not"
        for ring in first.slow
        for node, share in ring.shares.items()
    )
    text = f"{show_count(first.rings, 'rail')} kept {show_share(FLOOR)} of their median rate in {first.slots} windows"
    return Finding("rails", True, text, wanted="no rail slow only now and then", evidence=once)
