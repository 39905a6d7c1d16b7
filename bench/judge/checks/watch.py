"""A watch of somebody else's job: what its rails carried, which of them it waits for, and what happened to them.

What a job does with its rails is not known, so a rail is judged by its likes alone, and only by what it does while data
waits for it. A rail that nobody uses is no fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from statistics import median_high

from bench.judge.evidence import Evidence
from bench.judge.findings import MOST, Finding, NotApplicable
from bench.judge.registry import check, no_rails
from bench.judge.watched import (
    LITTLE,
    LOAD,
    DeviceLoad,
    SlowPath,
    events,
    inspected_calls,
    is_watch,
    loads,
    rail_loads,
    slow_paths,
    traffic,
    watched_rails,
)
from bench.model.rails import by_port
from bench.model.units import show_both, show_count, show_rate, show_seconds, show_share, show_size

End = tuple[str, str]  # node and rail
LEAST_SECONDS = 10.0
LEAST_LOOKS = 40
UNLIKE = 0.5  # of the share that the same rail of the other nodes has
LEAST_SHARE = 0.02  # of a node's traffic: what carries less there is hardly used
SOURCE = "RailGauge: counters and sockets of every second"

_of_watch = partial(check, only=is_watch, beside=True)


def _too_short(evidence: Evidence) -> str:
    """Why nothing can be said of speed; "" where something can."""
    lasted = min((each.seconds for each in loads(evidence)), default=0.0)
    return "" if lasted >= LEAST_SECONDS else f"it was watched for {show_seconds(lasted)}"


@_of_watch(
    "watch.traffic",
    wanted=f"at least {show_seconds(LEAST_SECONDS)}, and 1 MB/s on the rails of each node",
    source=SOURCE,
    on_inconclusive="start it on the nodes of the job while that runs: srun --overlap --jobid=ID railgauge watch",
)
def watched(evidence: Evidence) -> Iterator[Finding]:
    """Every node was watched for ten seconds or more, while a job used its rails."""
    rails = evidence.rails.kind != "none"
    used = rail_loads(evidence) if rails else loads(evidence)
    for node in evidence.manifest.nodes:
        own = [each for each in loads(evidence) if each.node == node]
        lasted = max((each.seconds for each in own), default=0.0)
        mine = [each for each in used if each.node == node]
        rate = sum(traffic(each.found, each.seconds) for each in mine)
        what = "its rails carried" if rails else "its interfaces carried"
        text = f"{show_seconds(lasted)}; {what} {show_rate(rate)}"
        yield Finding(node, True if lasted >= LEAST_SECONDS and rate >= LOAD else None, text, rate)


@_of_watch(
    "watch.waiting",
    wanted="as fast as the other rails while data waits for it",
    source=SOURCE,
    on_fail="measure it alone: railgauge accept --profile NAME on these nodes, when they are free",
    on_inconclusive="watch all nodes of the job at once, and for a minute or more",
    unit="rails",
    unless=(no_rails,),
)
def waiting(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """No rail is slower than the others while data waits for it."""
    if by_port(evidence.rails):
        reason = "what waits at a port of an HCA cannot be seen from outside the job; watch.share compares their bytes"
        yield NotApplicable(reason)
        return
    yield from _unknown(evidence)
    used = [each for each in rail_loads(evidence) if each.known and each.sent >= LITTLE]
    if len(used) < 2:
        yield NotApplicable(f"{show_count(len(used), 'rail')} carried something: two are needed to compare")
        return
    paths = slow_paths(evidence)
    for named, of in _named(paths):
        doubt = _doubt(evidence, of)
        text = _slow_text(named, of) + (f"; {doubt}" if doubt else "")
        yield Finding(
            _subject(named, of), None if doubt else False, text, min(each.load.rate_waiting for each in of)
        )
    ends = {end for path in paths for end in path.ends}
    for each in used:
        if (each.node, each.name) not in ends:
            few = each.looks < LEAST_LOOKS
            text = f"{each.looks} looks at its sockets" if few else _carried(each)
            yield Finding(f"{each.node} {each.name}", None if few else True, text)


def _unknown(evidence: Evidence) -> Iterator[Finding]:
    """The rails whose bytes are not known, which are neither slow nor idle for that."""
    for each in rail_loads(evidence):
        if not each.known:
            yield Finding(f"{each.node} {each.name}", None, "its counters do not tell what it carried")


def _doubt(evidence: Evidence, of: list[SlowPath]) -> str:
    """Why slow paths do not show a slow rail; "" where they do."""
    far = [path for path in of if path.to is None]
    deaf = [path.to[0] for path in of if path.to and path.unread]
    few = min(path.load.looks for path in of)
    reasons = (
        _too_short(evidence),
        f"{few} looks at its sockets, {LEAST_LOOKS} are wanted" if few < LEAST_LOOKS else "",
        "the far side was not watched" if far else "",
        f"the processes on {', '.join(dict.fromkeys(deaf))} do not read what has come" if deaf else "",
    )
    return "; ".join(filter(None, reasons))


def _slow_text(named: End | None, of: list[SlowPath]) -> str:
    """``runs at 49.2 % of the other rails' rate while data waits for it: n0 eth1 sends it 0.0536 Gb/s (data waits
    66.2 % of the time), …; the others 0.105 Gb/s or more``.
    """
    parts = []
    for path in of:
        load, to = path.load, path.to
        who = "it" if (load.node, load.name) == named else f"{load.node} {load.name}"
        whom = "it" if to == named else f"{to[0]} {to[1]}" if to else load.found.toward or "others"
        waits = f"data waits {show_share(load.found.waiting)} of the time"
        parts.append(f"{who} sends {whom} {show_rate(load.rate_waiting, 'Gb/s')} ({waits})")
    share = show_share(min(path.load.rate_waiting / path.usual for path in of))
    usual = show_rate(min(path.usual for path in of), "Gb/s")
    return (
        f"runs at {share} of the other rails' rate while data waits for it: {', '.join(parts)}; "
        f"the others {usual} or more"
    )


def _named(paths: tuple[SlowPath, ...]) -> Iterator[tuple[End | None, list[SlowPath]]]:
    """The end that most slow paths have in common, with those paths; where no end stands out, None with the paths
    between the same two ends, of which either may be slow.
    """
    left = list(paths)
    while left:
        ends = Counter(end for path in left for end in path.ends)
        most = [end for end, count in ends.items() if count == max(ends.values())]
        if len(most) == 1:
            yield most[0], [path for path in left if most[0] in path.ends]
            left = [path for path in left if most[0] not in path.ends]
        else:
            same = left[0].ends
            yield None, [path for path in left if path.ends == same]
            left = [path for path in left if path.ends != same]


def _subject(named: End | None, of: list[SlowPath]) -> str:
    """``n2 eth1``; ``path n0 - n2 on rail eth1`` where either end may be the slow one."""
    if named:
        return " ".join(named)
    (node, rail), *other = sorted(of[0].ends)
    if not other:
        return f"{node} {rail}"
    ((far, far_rail),) = other
    return (
        f"path {node} - {far} on rail {rail}"
        if rail == far_rail
        else f"path {node} {rail} - {far} {far_rail}"
    )


def _carried(load: DeviceLoad) -> str:
    both = f"sent {show_rate(load.sent)}, received {show_rate(load.received)}"
    return f"{both}; data waited {show_share(load.found.waiting)} of the time"


@_of_watch(
    "watch.share",
    wanted=f"at least {show_share(UNLIKE)} of what the same rail carries of other nodes' traffic",
    source=SOURCE,
    on_fail="see railgauge explain LOG of the job's NCCL log for which rails each rank uses",
    on_inconclusive="watch all nodes of the job at once, and for a minute or more",
    unit="rails",
    unless=(no_rails,),
)
def share(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """Each rail carries as much of its node's traffic as the same rail does on the other nodes."""
    shares = _shares(evidence)
    if len({node for node, _ in shares}) < 2:
        yield NotApplicable(
            "only one node was watched while its rails carried something", evidence=_listed(shares)
        )
        return
    yield from _unknown(evidence)
    for (node, rail), own in shares.items():
        others = [value for (other, name), value in shares.items() if name == rail and other != node]
        usual = median_high(others) if others else 0.0
        odd = own < UNLIKE * usual and usual >= LEAST_SHARE
        few = len(others) < 2 or _too_short(evidence)  # of two nodes it is not known which is odd
        text = f"carries {show_share(own)} of its node's traffic, the same rail of the other nodes {show_share(usual)}"
        yield Finding(f"{node} {rail}", True if not odd else None if few else False, text, own)


def _shares(evidence: Evidence) -> dict[tuple[str, str], float]:
    """Node and rail → its share of the bytes of the node's rails, of nodes whose rails carried something."""
    total: dict[str, float] = {}
    for each in rail_loads(evidence):
        total[each.node] = total.get(each.node, 0.0) + traffic(each.found, each.seconds)
    return {
        (each.node, each.name): traffic(each.found, each.seconds) / total[each.node]
        for each in rail_loads(evidence)
        if total[each.node] >= LOAD and each.known
    }


def _listed(shares: dict[tuple[str, str], float]) -> tuple[str, ...]:
    return tuple(f"{node} {rail}: {show_share(value)}" for (node, rail), value in shares.items())[:MOST]


@_of_watch(
    "watch.events",
    wanted="no link that goes down, no error",
    source=SOURCE,
    on_fail="reseat or change the cable; ask for the switch port's counters (ibqueryerrors), or ethtool -S",
    unit="nodes",
)
def happened(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """No link of a rail went down and no error counter of a rail grew; what did is named with its time."""
    bad, others = dict[str, list[str]](), list[str]()
    for each in events(evidence):
        text = f"{each.text} at {show_seconds(each.seconds)}"
        if each.error and (each.node, each.device) in watched_rails(evidence):
            bad.setdefault(f"{each.node} {each.device}", []).append(text)
        elif each.device:
            others.append(f"{each.node} {each.device}: {text}")
    for subject, texts in bad.items():
        yield Finding(subject, False, "; ".join(texts[:4]), float(len(texts)), evidence=tuple(texts[:MOST]))
    seen = {each.node for each in loads(evidence)}
    for node in evidence.manifest.nodes if evidence.rails.kind != "none" else ():
        if not any(subject.startswith(f"{node} ") for subject in bad):
            text = "nothing happened to a rail" if node in seen else "was not watched"
            yield Finding(node, True if node in seen else None, text)
    if others:
        first = f"beside the rails {show_count(len(others), 'event')}; {others[0]}"
        yield NotApplicable(first, evidence=tuple(others[:MOST]))
    elif evidence.rails.kind == "none":
        yield NotApplicable("the profile has no rails; nothing happened to an interface")


@_of_watch("watch.ras", source="NCCL's RAS, every 30 s")
def ras(evidence: Evidence) -> Iterator[Finding]:
    """What NCCL's RAS finds wrong with the job leaves its state open: a rank may be late or gone."""
    for each in events(evidence):
        if not each.device and not each.error:
            step = "see which process is meant and where it stands: py-spy dump, or the job's own log"
            yield Finding(each.node, None, f"{each.text} at {show_seconds(each.seconds)}", step=step)


@_of_watch("watch.collectives", source="NCCL's Inspector")
def collectives(evidence: Evidence) -> Iterator[NotApplicable]:
    """What NCCL's Inspector timed is shown and not judged: a job computes meanwhile."""
    found: dict[tuple[str, int, int], list[tuple[int, float, float]]] = {}
    for _, each in inspected_calls(evidence):
        found.setdefault((each.name, each.size, each.ranks), []).append((each.calls, each.busbw, each.least))
    lines = [
        f"{name} {show_size(size)}, {show_count(ranks, 'rank')}: {sum(calls for calls, _, _ in rows)} calls, busbw "
        f"{show_both(_middle(rows))} in the middle, {show_both(min(least for _, _, least in rows))} at least"
        for (name, size, ranks), rows in sorted(found.items())
    ]
    if lines:
        yield NotApplicable(
            f"{show_count(len(lines), 'kind')} of calls; {lines[0]}", evidence=tuple(lines[:MOST])
        )


def _middle(rows: list[tuple[int, float, float]]) -> float:
    """The median of medians, each as often as it had calls."""
    ordered = sorted((busbw, calls) for calls, busbw, _ in rows)
    half, seen = sum(calls for _, calls in ordered) / 2, 0
    for busbw, calls in ordered:
        seen += calls
        if seen >= half:
            return busbw
    return 0.0
