"""Does every rail carry its share of the collectives? A node's sum does not show a rail whose bytes go by another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.judge.counter_windows import CounterWindow
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.judge.wire.counters import least_sent, most_moved, total_sent
from bench.model.counters import bytes_moved
from bench.model.rails import rails_of
from bench.model.units import GIGA, show_share, show_size
from bench.plan.phase_names import STEADY, STEADY_AGAIN, phase_words

PHASES = ("ring", "collectives")  # which load all rails of a node alike
LEAST = (
    0.5  # of the mean of the node's rails; gather and scatter, which end at one GPU, move it by some per cent
)
CROSSING = (*PHASES, "pairs")  # of which it is known what each node sends at the least
OF_CALLS = 0.9  # of that, which is without headers: what is missing went another way, or was not counted
BEYOND = 1.5  # times what the calls can send, with headers and all
WAYS = ("sent", "received")
Moved = Mapping[str, int | None]  # by these
ENOUGH = GIGA  # bytes, as the mean over a node's rails, from which on NCCL uses all of its channels

BESIDES = (
    "see what else used the rails (storage, another job), and whether their driver counts each byte once"
)
ELSEWHERE = "see exclusion.bytes and nccl.network for where they went, and railgauge probe for whether the ports count"


def _no_collectives(evidence: Evidence) -> str:
    if evidence.backend != "nccl":
        return "a call of gloo goes over one interface"
    if evidence.rails.kind == "none" or evidence.node_count < 2:
        return "no collective crosses rails"
    return "" if any(window.phase in PHASES for window in evidence.windows) else "no collective was measured"


@check(
    "rails.share",
    subject="rails",
    wanted=f"at least {show_share(LEAST)} of the mean of the node's rails",
    source="counters before and after each phase",
    on_fail="see exclusion.log and rails.own for whether NCCL uses it, then measure it alone: --pinned",
    every="every rail carries its share of the collectives",
    unit="node × phase intervals",
    unless=(_no_collectives,),
)
def share(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """Every rail carries at least half of its node's mean in Ring and collectives, and together what the calls sent."""
    phases = {window.phase for window in evidence.windows}
    least = {phase: least_sent(phase, evidence) for phase in phases & {*CROSSING}}
    most = {phase: most_moved(phase, evidence) for phase in phases - {STEADY, STEADY_AGAIN}}
    moved: dict[str, list[Moved]] = {}
    odd: dict[tuple[str, str], Finding] = {}
    for window in evidence.windows:
        phase, name = window.phase, window.node.name
        if not (least.get(phase) or most.get(phase)):
            continue
        here = _moved(window, evidence)
        moved.setdefault(phase, []).append(here)
        finding = _short(window, here, least.get(phase, {}).get(name, 0.0))
        if finding := finding or _beyond(window, here, most.get(phase, {}), evidence):
            odd[phase, name] = finding
    yield from odd.values()
    for phase in (each for each in CROSSING if not any(odd_phase == each for odd_phase, _ in odd)):
        yield from _together(phase, moved.get(phase, []), evidence)
    for window in evidence.windows:
        if window.phase in PHASES and (window.phase, window.node.name) not in odd:
            yield from _of_node(window, evidence)


def _moved(window: CounterWindow, evidence: Evidence) -> Moved:
    """Bytes that all rails of the node ``sent`` and ``received``; None where a rail's are not known."""
    rails = [bytes_moved(window.moved, role.name) for role in rails_of(window.node, evidence.rails)]
    found = {way: [getattr(each, way) for each in rails] for way in WAYS}
    return {way: None if None in each else sum(each) for way, each in found.items()}


def _short(window: CounterWindow, moved: Moved, least: float) -> Finding | None:
    """The finding on rails that carried less than the node's calls sent at the ``least``; None where they did not."""
    for way, total in moved.items():
        if total is not None and total < OF_CALLS * least:
            text = f"and its calls at least {show_size(round(least))}"
            wanted = f"at least {show_share(OF_CALLS)} of what its calls {way}, on its rails"
            return _finding(window, way, total, text, wanted, ELSEWHERE)
    return None


def _beyond(
    window: CounterWindow, moved: Moved, most: Mapping[tuple[str, str], float], evidence: Evidence
) -> Finding | None:
    """The finding on rails that carried much more than the node's calls could; None where they did not."""
    enough = ENOUGH * len(rails_of(window.node, evidence.rails))
    for way, total in moved.items():
        could = most.get((window.node.name, way), 0.0)
        if most and total is not None and total > enough + BEYOND * could:
            wanted = f"at most {BEYOND:g} times what its calls {way}"
            return _finding(
                window, way, total, f"and its calls at most {show_size(round(could))}", wanted, BESIDES
            )
    return None


def _finding(window: CounterWindow, way: str, total: int, text: str, wanted: str, step: str) -> Finding:
    where = f"in phase “{phase_words(window.phase)}”"
    text = f"its rails {way} {show_size(total)} {where}, {text}"
    return Finding(f"{window.node.name} {where}", None, text, float(total), wanted=wanted, step=step)


def _together(phase: str, nodes: Sequence[Moved], evidence: Evidence) -> Iterator[Finding]:
    """The finding where all nodes together moved less than any algorithm must.

    One node may move half of that, as a leaf of a tree does; all of them cannot.
    """
    least = total_sent(phase, evidence) if len(nodes) == evidence.node_count else 0.0
    for way in WAYS if least else ():
        moved = [each[way] for each in nodes]
        total = sum(each for each in moved if each is not None)
        if None not in moved and total < OF_CALLS * least:
            where = f"in phase “{phase_words(phase)}”"
            text = f"the rails {way} {show_size(total)} {where}, and the calls at least {show_size(round(least))}"
            wanted = f"at least {show_share(OF_CALLS)} of what the calls {way}, on the rails"
            yield Finding(f"all nodes {where}", None, text, float(total), wanted=wanted, step=ELSEWHERE)
            return


def _of_node(window: CounterWindow, evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    name, where = window.node.name, f"in phase “{phase_words(window.phase)}”"
    traffic = {
        role.name: bytes_moved(window.moved, role.name) for role in rails_of(window.node, evidence.rails)
    }
    faults = []
    for way in ("sent", "received"):
        moved = {rail: getattr(each, way) for rail, each in traffic.items()}
        if not moved or None in moved.values():
            unknown = ", ".join(rail for rail, count in moved.items() if count is None) or "its rails"
            yield Finding(name, None, f"what {unknown} {way} {where} is not known")
            return
        mean = sum(moved.values()) / len(moved)
        if mean < ENOUGH:
            yield NotApplicable(
                f"each rail {way} {show_size(round(mean))} {where} on average, too little to compare", name
            )
            return
        for rail, count in moved.items():
            if count < LEAST * mean:
                text = f"{way} {show_size(count)} {where}; the mean of its node's rails is {show_size(round(mean))}"
                faults.append(Finding(f"{name} {rail}", False, text, count / mean))
    yield from faults or [Finding(f"{name} {where}", True, "every rail carried its share")]
