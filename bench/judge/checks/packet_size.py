"""Do the packets of large messages fit the MTU? No link carries bytes without packets."""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.counter_windows import CounterWindow
from bench.judge.evidence import Evidence
from bench.judge.findings import MOST as FINDINGS
from bench.judge.findings import Finding, NotApplicable, inconclusive
from bench.judge.registry import check
from bench.model.counter_table import PMA
from bench.model.counters import bytes_moved
from bench.model.rails import Role, by_port, rails_of
from bench.model.units import GIGA, show_count, show_size
from bench.plan.phase_names import phase_words

LARGE = 16 << 20  # bytes: a phase whose messages are all that large moves whole packets
ENOUGH = GIGA  # bytes of a port in a phase, beside which the packets of management and meetings are few
# of the MTU: a packet of data for each short one that acknowledges it leaves a half of it
LEAST, MOST = 0.25, 1.5


@check(
    "rails.packets",
    subject="rails",
    wanted=f"{LEAST:g} to {MOST:g} times the MTU",
    source="counters before and after each phase of large messages",
    on_inconclusive="see ibv_devinfo for the MTU of both ends, and whether the port's driver counts packets",
    only=lambda evidence: evidence.backend == "nccl" and by_port(evidence.rails),
)
def packets(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """The packets that carry large messages over a rail are about as large as its MTU."""
    sizes = {
        phase.name: min((case.size for case in phase.cases), default=0) for phase in evidence.run.plan.phases
    }
    found = [
        (f"{window.node.name} {role.name}", mean, finding)
        for window in evidence.windows
        if sizes.get(window.phase, 0) >= LARGE
        for role in rails_of(window.node, evidence.rails)
        if (mean := _mean(window, role)) is not None
        for finding in [_of_rail(window, role, mean)]
    ]
    odd: dict[str, Finding] = {}
    for rail, _, finding in found:
        if finding:
            odd.setdefault(rail, finding)  # in the first phase of several
    yield from inconclusive(odd.values(), "rails")[:FINDINGS]
    if found and not odd:
        means = [mean for _, mean, _ in found]
        text = f"{show_size(round(min(means)))} to {show_size(round(max(means)))} a packet on average"
        rails = show_count(len({name for name, _, _ in found}), "rail")
        yield Finding("rails", True, f"{text} on {rails}")
    elif not found:
        yield NotApplicable("no rail counted packets of large messages, or its MTU is not known")


def _mean(window: CounterWindow, role: Role) -> float | None:
    """Bytes of a packet on average; 0 where bytes moved and no packet is counted, None where that is not known."""
    moved = bytes_moved(window.moved, role.name)
    counts = [window.moved.exact(role.name, PMA, f"port_{way}_packets") for way in ("xmit", "rcv")]
    if None in (moved.sent, moved.received, *counts) or not _mtu(role):
        return None
    total, packets = (moved.sent or 0) + (moved.received or 0), sum(count or 0 for count in counts)
    if total < ENOUGH:
        return None
    return total / packets if packets else 0.0


def _mtu(role: Role) -> int:
    return (role.port.mtu if role.port else None) or 0


def _of_rail(window: CounterWindow, role: Role, mean: float) -> Finding | None:
    mtu = _mtu(role)
    if LEAST * mtu <= mean <= MOST * mtu:
        return None
    each = f"in packets of {show_size(round(mean))} on average" if mean else "and counted no packet"
    text = f"moved its bytes {each} in phase “{phase_words(window.phase)}”, with an MTU of {mtu}"
    wanted = f"{show_size(round(LEAST * mtu))} to {show_size(round(MOST * mtu))}"
    return Finding(f"{window.node.name} {role.name}", None, text, mean, wanted=wanted)
