"""What grew while it was measured: errors of the rails, and what explains a slow one.

An error counter of a rail that grew is a FAIL; growth that is not known (full, reset, gone) is INCONCLUSIVE. Counters
of other devices, retransmissions and congestion are shown as evidence, for a machine has other work as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bench.judge.counter_windows import Window
from bench.judge.evidence import Evidence
from bench.judge.findings import MOST, Finding, Question
from bench.judge.registry import check
from bench.model.counter_table import CounterRole
from bench.model.counters import HW, NET, PMA, TCP, Growth, How, counter
from bench.model.profile import Profile
from bench.model.rails import Role as Device
from bench.model.rails import by_port, rails_of
from bench.model.units import show_share
from bench.model.verdict import Verdict

# what a port or interface of this kind always counts: one that does not show them cannot be determined healthy
WANTED = {
    "infiniband": (
        PMA,
        (
            "symbol_error",
            "link_error_recovery",
            "link_downed",
            "port_rcv_errors",
            "port_xmit_discards",
            "local_link_integrity_errors",
            "excessive_buffer_overrun_errors",
        ),
    ),
    "socket": (NET, ("rx_errors", "tx_errors", "tx_dropped", "rx_dropped")),
}
STEPS = {
    PMA: "reseat or change the cable, ask for the switch port's counters (ibqueryerrors), then run again",
    HW: "look at the far side and the switches between for loss: ibqueryerrors, PFC and ECN on RoCE",
    NET: "look at its cable, ring and drops: ethtool -S, then run again",
    TCP: "look for a bad cable or checksum offload: ethtool -S",
}
UNTOLD = {
    "": "see exclusion.census: which of its devices are rails",
    PMA: "clear it (perfquery -R) or see why it cannot be read, then run again",
}
RETRANSMITTED = 0.01
FEW = 10_000  # segments: of fewer a share says nothing
MATHIS = "Mathis et al. 1997: at 1 % loss and 0.1 ms one connection carries at most 1.4 Gb/s"


@check("growth.errors")
def errors(evidence: Evidence) -> Iterator[Verdict]:
    """No error counter of a rail grew in any phase."""
    ask = Question(
        "growth.errors",
        "0",
        "counters before and after each phase",
        "reseat or change the cable, then run again",
        "see why its counters could not be read, then run again",
        0.0,
    )
    if not evidence.begun:
        yield ask.skip("all nodes", "no phase was begun")
        return
    found, gaps = evidence.windows, evidence.gaps
    for gap in gaps:
        yield ask.verdict(Finding(gap.subject, None, gap.reason))
    if evidence.rails.kind == "none":
        if found:
            yield ask.skip("all nodes", "the profile speaks of no rails; see growth.others for what grew")
        return
    looked = [(window, device) for window in found for device in rails_of(window.node, evidence.rails)]
    faults = [_none(window) for window in found if not rails_of(window.node, evidence.rails)]
    faults += [fault for window, device in looked for fault in _rail(window, device, evidence.profile)]
    faults.sort(key=lambda fault: fault[0].ok is None)
    for finding, group in faults[:MOST]:
        steps = replace(ask, repair=STEPS.get(group, ask.repair), ask=UNTOLD.get(group, ask.ask))
        yield steps.verdict(finding)
    if faults[MOST:]:
        finding, _ = faults[MOST]
        yield ask.verdict(replace(finding, subject=f"{len(faults) - MOST} more"))
    if not faults and found:
        well = [Finding(f"{window.node.name} {device.name}", True, "") for window, device in looked]
        yield from ask.verdicts(well, "windows of a phase and a rail show no error grown")


def _none(window: Window) -> tuple[Finding, str]:
    return Finding(
        window.node.name, None, f"has no rail whose counters could be compared in phase {window.phase}"
    ), ""


def _rail(window: Window, device: Device, want: Profile) -> Iterator[tuple[Finding, str]]:
    """What is wrong with a rail's counters in a phase, and the group of counters that shows it."""
    subject = f"{window.node.name} {device.name}"
    if device.name in window.before.readings and device.name not in window.after.readings:
        yield Finding(subject, False, f"was there before phase {window.phase} and is gone after it"), PMA
        return
    shown = [row for row in window.moved.of(device.name) if row.role is CounterRole.ERROR]
    group, names = WANTED.get(want.rails.kind, ("", ()))
    there = {row.counter for row in window.moved.of(device.name) if row.group == group}
    lacking = [name for name in names if name not in there]
    if lacking or not shown:
        yield (
            Finding(
                subject,
                None,
                f"does not show {', '.join(lacking) or 'any error counter'} in phase {window.phase}",
            ),
            group,
        )
    for row in shown:
        if row.growth:
            yield Finding(subject, False, _grown(row, window), float(row.growth)), row.group
        elif row.growth is None:
            yield Finding(subject, None, _untold(row, window)), row.group


def _grown(row: Growth, window: Window) -> str:
    least = "at least " if row.how is How.SATURATED else ""
    return f"{row.counter} grew by {least}{row.growth} in phase {window.phase}: {_means(row)}"


def _means(row: Growth) -> str:
    known = counter(row.group, row.counter)
    return known.reason if known else "a counter of the driver's own"


def _untold(row: Growth, window: Window) -> str:
    why = {
        How.SATURATED: f"stands at its maximum, {row.after}",
        How.RESET: f"fell from {row.before} to {row.after}: somebody reset it",
        How.ABSENT: "was there only before or only after",
    }[row.how]
    return f"{row.counter} {why}, so whether it grew in phase {window.phase} cannot be determined"


@check("growth.others")
def others(evidence: Evidence) -> Iterator[Verdict]:
    """Errors that grew on devices that are no rails are told, with no verdict on them."""
    ask = Question("growth.others", "", "counters before and after each phase", "")
    told = []
    for window in evidence.windows:
        rails = {device.name for device in rails_of(window.node, evidence.rails)}
        told += [
            f"{window.node.name} {row.subject}: {_grown(row, window)}"
            for row in window.moved.grown(CounterRole.ERROR)
            if row.subject not in rails
        ]
    if not evidence.begun:
        yield ask.skip("all nodes", "no phase was begun")
        return
    measured = (
        f"{len(told)} error counters grew beside the rails; {told[0]}"
        if told
        else "no error counter grew beside the rails"
    )
    yield ask.skip("all nodes", measured, *told[:64])


@check("growth.congestion")
def congestion(evidence: Evidence) -> Iterator[Verdict]:
    """Signs of congestion and reordering are told: they explain a slow phase and are no fault by themselves."""
    ask = Question("growth.congestion", "", "counters before and after each phase", "")
    if not evidence.begun:
        yield ask.skip("all nodes", "no phase was begun")
        return
    told = []
    for window in evidence.windows:
        rails = {device.name for device in rails_of(window.node, evidence.rails)}
        told += [
            f"{window.node.name} {row.subject}: {_grown(row, window)}"
            for row in window.moved.grown(CounterRole.INDICATOR)
            if row.subject in rails
        ]
    measured = (
        f"{len(told)} signs of congestion on rails; {told[0]}" if told else "no sign of congestion on a rail"
    )
    # port_xmit_wait counts ticks whose length sysfs does not tell, so no limit can be set on it
    yield ask.skip("all nodes", measured, *told[:64])


@check("growth.retransmissions")
def retransmissions(evidence: Evidence) -> Iterator[Verdict]:
    """TCP sent little again; where the rails are sockets, a share of 1 % or more fails."""
    ask = Question(
        "growth.retransmissions",
        f"less than {show_share(RETRANSMITTED)} of the segments sent again",
        MATHIS,
        "see blame.rails for the lossy rail; else ethtool -S, ip -s link, and the drops of the switch ports",
        "cat /proc/net/snmp",
        RETRANSMITTED,
    )
    if not evidence.begun:
        yield ask.skip("all nodes", "no phase was begun")
        return
    sockets = evidence.rails.kind == "socket"
    findings = [_tcp(window) for window in evidence.windows]
    worst = max((finding.value or 0.0 for finding in findings), default=0.0)
    if sockets:
        yield from ask.verdicts(
            _anywhere(findings), f"windows of a phase and a node; at most {show_share(worst)} sent again"
        )
        return
    notes = [finding.note for finding in findings if finding.note]
    reason = (
        "TCP carries nothing that is measured on the rails"
        if by_port(evidence.rails)
        else "the profile speaks of no rails"
    )
    yield ask.skip(
        "all nodes", f"{reason}; at most {show_share(worst)} of the segments were sent again", *notes[:64]
    )


def _anywhere(findings: list[Finding]) -> list[Finding]:
    """Who sends again is not who loses: the senders are evidence, and one finding stands for all of them."""
    bad = sorted((each for each in findings if each.ok is False), key=lambda each: -(each.value or 0.0))
    if not bad:
        return findings
    told = "; ".join(each.note for each in bad[:8])
    rest = [each for each in findings if each.ok is None]
    worst = f"at most {show_share(bad[0].value or 0.0)} sent again"
    return [Finding("tcp", False, worst, bad[0].value, told), *rest]


def _tcp(window: Window) -> Finding:
    subject = f"{window.node.name} tcp"
    again, sent = (window.moved.find(TCP, TCP, name) for name in ("RetransSegs", "OutSegs"))
    if again is None or sent is None or again.growth is None or sent.growth is None:
        return Finding(subject, None, f"TCP's counters cannot be compared in phase {window.phase}")
    told = f"{again.growth} of {sent.growth} segments sent again in phase {window.phase}"
    share = again.growth / sent.growth if sent.growth else 0.0
    return Finding(
        subject, sent.growth < FEW or share < RETRANSMITTED, told, share, note=f"{subject}: {told}"
    )
