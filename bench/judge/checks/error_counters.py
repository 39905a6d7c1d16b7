"""What increased while it was measured: errors of the rails, and what explains a slow one.

An error counter of a rail that increased is a FAIL; growth that is not known (full, reset, gone) is INCONCLUSIVE.
Counters of other devices, retransmissions and congestion are shown as evidence, for a machine has other work as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

from msgspec import structs

from bench.judge.counter_windows import WHOLE, CounterWindow, started_anew, whole_run
from bench.judge.evidence import Evidence
from bench.judge.findings import MOST, Finding, NotApplicable, Outcome
from bench.judge.registry import check
from bench.judge.run_times import of_another_day
from bench.model.counter_table import CounterRole
from bench.model.counters import HW, NET, PMA, TCP, Certainty, Growth, counter
from bench.model.rails import Role as Device
from bench.model.rails import by_port, rails_of
from bench.model.units import show_count, show_share, show_some
from bench.plan.phase_names import phase_words
from bench.store import Run
from bench.store.case_progress import COPY_AGAIN

from .exclusion_bytes import nothing_begun

# what a port or interface of this kind always counts: one that does not show them is not known to be healthy
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
UNREAD = "see why its counters could not be read, then run again"
FULL = "clear it (perfquery -R) or see why it cannot be read, then run again"
RETRANSMITTED = 0.01
FEW = 10_000  # segments: of fewer a share says nothing
MATHIS = "Mathis et al. 1997: at 1 % loss and 0.1 ms one connection carries at most 1.4 Gb/s"


GOOD = Finding(
    "rail", True, "no error counter increased"
)  # of a large run there are many thousands, which are only counted

_of_counters = partial(
    check, source="counters before and after each phase", unless=(nothing_begun,), beside=True
)


@_of_counters(
    "growth.errors",
    wanted="0",
    on_fail="reseat or change the cable, then run again",
    on_inconclusive=UNREAD,
    bound=0.0,
    unit="rail × phase intervals",
)
def errors(evidence: Evidence) -> Iterator[Outcome]:
    """No error counter of a rail increased in any phase or between two."""
    yield from (Finding(gap.subject, None, gap.reason) for gap in evidence.gaps)
    yield from _of_others(evidence.run)
    if evidence.rails.kind == "none":
        if evidence.windows:
            yield NotApplicable("the profile has no rails; see growth.others for the counters of all devices")
        return
    for window in evidence.windows:
        rails = rails_of(window.node, evidence.rails)
        wrong = [row for row in window.moved.changed if row.role is CounterRole.ERROR]
        for device in rails:
            yield from _rail(
                window, device, evidence.rails.kind, [row for row in wrong if row.subject == device.name]
            )
        if not rails:
            text = f"has no rail whose counters could be compared in phase “{phase_words(window.phase)}”"
            step = (
                "see exclusion.census, which lists the devices of the node and why each is a rail or is not"
            )
            yield Finding(window.node.name, None, text, step=step)
    yield from _between_phases(evidence)


def _of_others(run: Run) -> Iterator[Finding]:
    """The findings on readings that are not of this run: of other nodes, or of another day."""
    known = {*run.whole.manifest.nodes}
    if others := sorted({name for line in run.counters for name in line.nodes} - known):
        text = f"the counters are of {show_some(others)}, and the run has no node so called"
        yield Finding("all nodes", None, text, step=COPY_AGAIN)
    times: dict[str, list[float]] = {}
    for line in run.counters if run.ended is not None else ():
        for name, shot in zip(run.manifest.nodes, line.snapshots, strict=False):
            times.setdefault(name, []).append(shot.time)
    for name, read in times.items():
        if apart := of_another_day(run, min(read), max(read)):
            yield Finding(name, None, f"its counters were read {apart}", step=COPY_AGAIN)


def _between_phases(evidence: Evidence) -> Iterator[Finding]:
    """What grew over the whole run and in none of its phases, as while the next was planned."""
    seen = Counter[tuple[str, str, str, str]]()
    reset = set()
    for window in evidence.windows:
        for row in window.moved.changed:
            if row.growth or row.how is Certainty.RESET:
                key = window.node.name, row.subject, row.group, row.counter
                seen[key] += row.growth or 0
                reset |= {key} if row.how is Certainty.RESET else set()
    if evidence.manifest.settings.resumed:
        seen.clear()  # what is compared then lies between two phases
    moved = {(name, subject) for name, subject, _, _ in seen}
    for window in whole_run(evidence.run):
        rails = {device.name for device in rails_of(window.node, evidence.rails)}
        moved |= {(window.node.name, row.subject) for row in window.moved.changed}
        subjects = [each for each in window.moved.subjects if (window.node.name, each) in moved]
        for row in (row for subject in subjects for row in window.moved.of(subject)):
            if row.subject in rails and row.role is CounterRole.ERROR:
                key = window.node.name, row.subject, row.group, row.counter
                if key not in reset:
                    yield from _outside(row, window, seen[key])
    yield from (Finding(gap.subject, None, gap.reason, step=UNREAD) for gap in started_anew(evidence.run))


def _outside(row: Growth, window: CounterWindow, within: int) -> Iterator[Finding]:
    """A counter that grew by ``within`` in all phases together, held against its growth over the whole run."""
    subject, more = f"{window.node.name} {row.subject}", (row.growth or 0) - within
    if row.how is Certainty.RESET or (row.how is Certainty.EXACT and more < 0):
        text = f"{row.counter} was reset between two phases, so its growth there is not known"
        yield Finding(subject, None, text, step=FULL if row.group == PMA else UNREAD)
    elif more > 0:
        text = _grown(structs.replace(row, growth=more), window)
        text = text.replace(f"in phase “{WHOLE}”", "outside the phases")
        yield Finding(subject, False, text, float(more), step=STEPS.get(row.group))


def _rail(window: CounterWindow, device: Device, kind: str, wrong: Sequence[Growth]) -> Iterator[Finding]:
    """A finding for each fault of a rail in a phase; GOOD where there is none.

    ``wrong``: its error counters that grew, or may have grown.
    """
    there = window.moved.names(device.name)
    read = tuple(device.port.hw_counters) if device.port else ()
    lacking, shown = _lacking(kind, tuple((group, *names) for group, names in there.items()), read)
    if shown and not lacking and not wrong:
        yield GOOD
        return
    subject, during = f"{window.node.name} {device.name}", f"in phase “{phase_words(window.phase)}”"
    if device.name in window.before.readings and device.name not in window.after.readings:
        text = f"was there before phase “{phase_words(window.phase)}” and is gone after it"
        yield Finding(subject, False, text, step=STEPS[PMA])
        return
    if lacking or not shown:
        text = f"does not show {', '.join(lacking) or 'any error counter'} {during}"
        yield Finding(subject, None, text, step=FULL if WANTED.get(kind, ("",))[0] == PMA else UNREAD)
    for row in wrong:
        if row.growth:
            yield Finding(subject, False, _grown(row, window), float(row.growth), step=STEPS.get(row.group))
        else:
            text = f"{row.counter} {_why_unknown(row)}, so its growth {during} is not known"
            yield Finding(subject, None, text, step=FULL if row.group == PMA else UNREAD)


@lru_cache(maxsize=1024)
def _lacking(kind: str, groups: tuple[tuple[str, ...], ...], read: tuple[str, ...]) -> tuple[list[str], bool]:
    """(the error counters that a rail of this kind must have and lacks, whether it has any error counter).

    ``groups``: the name of each group, then its counters; ``read``: those of the driver that the probe read. Nearly all
    rails of a cluster have the same ones.
    """
    group, names = WANTED.get(kind, ("", ()))
    there = {(group, name) for group, *names in groups for name in names}
    rows = (counter(*key) for key in there)
    errors = any(row is not None and row.role is CounterRole.ERROR for row in rows)
    of_driver = [(HW, name) for name in read if (row := counter(HW, name)) and row.role is CounterRole.ERROR]
    wanted = [*((group, name) for name in names), *of_driver]
    return [name for group, name in wanted if (group, name) not in there], errors


def _grown(row: Growth, window: CounterWindow) -> str:
    least = "at least " if row.how is Certainty.SATURATED else ""
    known = counter(row.group, row.counter)
    meaning = known.reason if known else "a counter of the driver's own"
    return f"{row.counter} grew by {least}{row.growth} in phase “{phase_words(window.phase)}”: {meaning}"


def _why_unknown(row: Growth) -> str:
    return {
        Certainty.SATURATED: f"stands at its maximum, {row.after}",
        Certainty.RESET: f"fell from {row.before} to {row.after}: somebody reset it",
        Certainty.ABSENT: "was there only before or only after",
    }[row.how]


def _listed(evidence: Evidence, role: CounterRole, on_rails: bool) -> list[str]:
    """The counters of this role that increased, on the rails or on the other devices."""
    found = []
    for window in evidence.windows:
        rails = {device.name for device in rails_of(window.node, evidence.rails)}
        found += [
            f"{window.node.name} {row.subject}: {_grown(row, window)}"
            for row in window.moved.grown(role)
            if (row.subject in rails) is on_rails
        ]
    return found


@_of_counters("growth.others")
def others(evidence: Evidence) -> Iterator[NotApplicable]:
    """Errors that increased on devices that are no rails are listed and not judged."""
    found = _listed(evidence, CounterRole.ERROR, on_rails=False)
    text = (
        f"beside the rails {show_count(len(found), 'error counter')} increased; {found[0]}" if found else ""
    )
    yield NotApplicable(text or "no error counter increased beside the rails", evidence=tuple(found[:MOST]))


@_of_counters("growth.congestion")
def congestion(evidence: Evidence) -> Iterator[NotApplicable]:
    """Signs of congestion and reordering are listed: they explain a slow phase and are no fault by themselves."""
    found = _listed(evidence, CounterRole.INDICATOR, on_rails=True)
    text = f"{show_count(len(found), 'sign')} of congestion on rails; {found[0]}" if found else ""
    # port_xmit_wait counts ticks whose length sysfs does not show, so no limit can be set on it
    yield NotApplicable(text or "no sign of congestion on a rail", evidence=tuple(found[:MOST]))


@check(
    "growth.retransmissions",
    wanted=f"less than {show_share(RETRANSMITTED)} of the segments sent again",
    source=MATHIS,
    on_fail="see blame.rails for the lossy rail; else ethtool -S, ip -s link, and the drops of the switch ports",
    on_inconclusive="cat /proc/net/snmp",
    every=f"less than {show_share(RETRANSMITTED)} of the segments were sent again",
    unit="node × phase intervals",
    beside=True,
    bound=RETRANSMITTED,
    unless=(nothing_begun,),
)
def retransmissions(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """TCP sends little again; where the rails are sockets, a share of 1 % or more fails."""
    findings = [_tcp(window) for window in evidence.windows]
    worst = max((finding.value or 0.0 for finding in findings), default=0.0)
    if evidence.rails.kind == "socket":
        yield from _anywhere(findings)
        return
    why = "TCP carries nothing that is measured on the rails"
    reason = why if by_port(evidence.rails) else "the profile has no rails"
    notes = tuple(finding.note for finding in findings if finding.note)[:MOST]
    yield NotApplicable(
        f"{reason}; at most {show_share(worst)} of the segments were sent again", evidence=notes
    )


def _anywhere(findings: list[Finding]) -> list[Finding]:
    """One finding for the whole cluster, with the senders as evidence: who retransmits is not who loses."""
    bad = sorted((each for each in findings if each.ok is False), key=lambda each: -(each.value or 0.0))
    if not bad:
        return findings
    senders = "; ".join(each.note for each in bad[:8])
    worst = f"at most {show_share(bad[0].value or 0.0)} sent again"
    return [
        Finding("tcp", False, worst, bad[0].value, senders),
        *(each for each in findings if each.ok is None),
    ]


def _tcp(window: CounterWindow) -> Finding:
    subject = f"{window.node.name} tcp"
    again, sent = (window.moved.find(TCP, TCP, name) for name in ("RetransSegs", "OutSegs"))
    if again is None or sent is None or again.growth is None or sent.growth is None:
        return Finding(
            subject, None, f"TCP's counters cannot be compared in phase “{phase_words(window.phase)}”"
        )
    text = f"{again.growth} of {sent.growth} segments sent again in phase “{phase_words(window.phase)}”"
    share = again.growth / sent.growth if sent.growth else 0.0
    ok = sent.growth < FEW or share < RETRANSMITTED
    return Finding(subject, ok, text, share, note=f"{subject}: {text}")
