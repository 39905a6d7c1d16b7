"""Does every rail carry its share of the collectives? A node's sum does not show a rail whose bytes go by another."""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.counter_windows import CounterWindow
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.judge.wire.counters import least_sent
from bench.model.counters import bytes_moved
from bench.model.rails import rails_of
from bench.model.units import GIGA, show_share, show_size
from bench.plan.names import phase_words

PHASES = ("ring", "collectives")  # which load all rails of a node alike
LEAST = (
    0.5  # of the mean of the node's rails; gather and scatter, which end at one GPU, move it by some per cent
)
CROSSING = (*PHASES, "pairs")  # of which it is known what each node sends at the least
OF_CALLS = 0.9  # of that, which is without headers: what is missing went another way, or was not counted
ENOUGH = GIGA  # bytes, as the mean over a node's rails, from which on NCCL uses all of its channels

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
    least = {phase: least_sent(phase, evidence) for phase in CROSSING}
    for window in evidence.windows:
        short = _short(window, least.get(window.phase, {}).get(window.node.name, 0.0), evidence)
        if short:
            yield short
        elif window.phase in PHASES:
            yield from _of_node(window, evidence)


def _short(window: CounterWindow, least: float, evidence: Evidence) -> Finding | None:
    """The finding on rails that carried less than the node's calls sent at the ``least``; None where they did not."""
    found = [bytes_moved(window.moved, role.name).sent for role in rails_of(window.node, evidence.rails)]
    sent = sum(each for each in found if each is not None)
    if not least or None in found or sent >= OF_CALLS * least:
        return None
    where, name = f"in phase “{phase_words(window.phase)}”", window.node.name
    text = f"its rails sent {show_size(sent)} {where}, and its calls at least {show_size(round(least))}"
    wanted = f"at least {show_share(OF_CALLS)} of what its calls sent, on its rails"
    return Finding(f"{name} {where}", None, text, sent / least, wanted=wanted, step=ELSEWHERE)


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
