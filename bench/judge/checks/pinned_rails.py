"""One rail at a time: did its counters move, and no other rail's?

What else may be on a rail meanwhile: subnet and performance managers, keep-alives, neighbour discovery.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge import nccl_log
from bench.judge.counter_windows import CounterWindow
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding
from bench.judge.log_files import log_of
from bench.judge.registry import check, unplanned
from bench.judge.wire.counters import calls
from bench.model.counters import bytes_moved
from bench.model.profile import Rails
from bench.model.rails import by_port, rails_of
from bench.model.units import MEGA, show_seconds, show_size
from bench.model.verdict import Status
from bench.plan.phase_names import PINNED, phase_words
from bench.store import Phase

from .exclusion_settings import by_log

CHATTER = MEGA  # bytes, and bytes/s: about 100 times what a rail that nobody uses carries
SHARE = 0.01  # of the pinned rail's bytes, if that is more
LEAST = 0.9  # of the bytes that the calls must have moved


def pinned_phases(evidence: Evidence) -> dict[str, Phase]:
    """The planned phases that measure one rail alone, by name."""
    return {phase.name: phase for phase in evidence.run.plan.phases if phase.name.startswith(PINNED)}


_none_pinned = unplanned(PINNED, pinned_phases, "no rail was measured alone in this run")


_no_worker_pinned = unplanned(
    PINNED,
    lambda evidence: evidence.backend == "nccl" and evidence.rails.kind != "none" and pinned_phases(evidence),
    "no NCCL worker was pinned to one rail in this run",
)


@check(
    "rails.alone",
    subject="rails",
    wanted="the intended rail moves, and no other",
    source="counters before and after each phase",
    on_inconclusive="see what the rails are called on this node, and what else uses them: railgauge probe",
    unit="node × rail intervals",
    unless=(_none_pinned,),
)
def counters(evidence: Evidence) -> Iterator[Finding]:
    """While one rail is measured alone its counters move, and no other rail's do."""
    for name, phase in pinned_phases(evidence).items():
        gaps = [gap for gap in evidence.gaps if gap.phase == name]
        windows = [window for window in evidence.windows if window.phase == name]
        yield from (Finding(gap.subject, None, gap.reason) for gap in gaps)
        yield from (_moved(window, phase, evidence) for window in windows)
        if not windows and not gaps:
            yield Finding("all nodes", None, f"phase “{phase_words(name)}” was not begun")


def moved_on_rails(window: CounterWindow, rails: Rails) -> dict[str, float] | str:
    """Rail → bytes that crossed it, both directions; or why that is not known of one of them."""
    moved = {}
    for role in rails_of(window.node, rails):
        traffic = bytes_moved(window.moved, role.name)
        if traffic.sent is None or traffic.received is None:
            where = f"in phase “{phase_words(window.phase)}” ({show_seconds(window.seconds)})"
            return f"the bytes of {role.name} {where} are not known: {traffic.how}"
        moved[role.name] = float(traffic.sent + traffic.received)
    return moved


def _moved(window: CounterWindow, phase: Phase, evidence: Evidence) -> Finding:
    device = phase.cases[0].rail
    subject = f"{window.node.name} {device}"
    where = f"in phase “{phase_words(phase.name)}” ({show_seconds(window.seconds)})"
    moved = moved_on_rails(window, evidence.rails)
    if isinstance(moved, str):
        return Finding(subject, None, moved)
    if device not in moved:
        return Finding(subject, None, f"{device} is none of the node's rails: {', '.join(moved) or 'none'}")
    expected = _expected(window, phase, evidence)
    if not expected:
        return Finding(subject, None, f"nothing was measured on it {where}")
    allowed = max(CHATTER * (1 + window.seconds), SHARE * moved[device])
    others = {name: total for name, total in moved.items() if name != device and total > allowed}
    text = f"{show_size(round(moved[device]))} {where}, {show_size(round(expected))} were sent and received"
    also = ", ".join(f"{name} moved {show_size(round(total))}" for name, total in others.items())
    if moved[device] < LEAST * expected:
        return Finding(subject, None, f"moved only {text}; {also or 'no other rail moved instead'}")
    if others:
        return Finding(subject, None, f"moved {text}, but {also} as well")
    return Finding(subject, True, text, moved[device], note=text)


def _expected(window: CounterWindow, phase: Phase, evidence: Evidence) -> float:
    """Bytes that the measured calls sent and received on this node, without headers."""
    repetitions = evidence.manifest.settings.repetitions
    total = 0.0
    for row in evidence.rows:
        if row.case.phase == phase.name and row.measurement.stop != "failed":
            here = [evidence.run.node_of.get(rank) == window.node.name for rank in row.measurement.ranks]
            total += 2.0 * row.case.size * calls(row.measurement, repetitions) * sum(here)
    return total


@check(
    "rails.pinned",
    subject="rails",
    wanted="exactly the pinned rail",
    source=nccl_log.SOURCE,
    unit="passes",
    unless=(_no_worker_pinned,),
)
def pinned(evidence: Evidence) -> Iterator[Finding]:
    """NCCL's own log shows that every pinned worker used its one rail alone, by GPUDirect RDMA, without a warning.

    GPUDirect RDMA is asked of the ranks that measure: their GPUs are next to the rail.
    """
    return (_logged(phase, evidence) for phase in pinned_phases(evidence).values())


def _logged(phase: Phase, evidence: Evidence) -> Finding:
    """The pinned workers' logs against the one rail; a rank without a log makes this inconclusive."""
    device = phase.cases[0].rail
    ranks = [rank.rank for rank in evidence.ranks]
    written = log_of(evidence.run, phase.name)
    log = by_log(written, [device.replace("/", ":")], ranks, evidence.profile)
    measured = {rank for case in phase.cases for group in case.groups for rank in group}
    if log.status is Status.PASS and by_port(evidence.rails):
        log = nccl_log.without_gpudirect(written, measured) or log
    if log.status is Status.PASS and (warned := nccl_log.warned(written)):
        log = nccl_log.verdict("rails.pinned", warned, "no WARN", "read the lines around it in the log")
    return Finding(
        f"rail {device}",
        {Status.PASS: True, Status.FAIL: False}.get(log.status),
        log.measured,
        note=log.measured,
        wanted=log.wanted,
        step=log.next_step,
        evidence=log.evidence,
    )
