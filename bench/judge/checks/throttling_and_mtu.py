"""What else explains a slow or silent rail: a CPU that was held back, packets too large for the way.

Blame judges transfers alone. A node whose cores were taken away is slow on all of its rails, and a way that
loses full packets looks like a dead one: neither is mended by a new cable.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from bench.judge.blame import Blame, Subject
from bench.judge.counter_windows import CounterWindow
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.model.counters import CPU
from bench.model.units import show_seconds, show_share, show_size
from bench.plan.phase_names import AGAIN, FIRST, phase_words

from .exclusion_bytes import nothing_begun

THROTTLED = 0.1  # share of the quota's periods: a limit that is touched now and then slows no transfer
FEW = 20  # periods (of 0.1 s, as a rule): of fewer a share proves nothing
CORES = "give the job the whole machine: look at cpu.max of its cgroup, --cpus-per-task, resources.limits.cpu"
SIZE = "compare the MTU along the way, switch ports too: ping -M do -s 8972 from its address, smaller until it passes"


@check(
    "growth.throttling",
    wanted=f"throttled in less than {show_share(THROTTLED)} of the periods",
    source="Linux, Documentation/scheduler/sched-bwc.rst",
    on_fail=CORES,
    on_inconclusive="cat /sys/fs/cgroup/cpu.stat",
    unit="nodes with a CPU quota",
    bound=THROTTLED,
    unless=(nothing_begun,),
)
def throttling(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """No node's work was held back by a CPU quota while it was measured."""
    if not evidence.windows:
        yield from (Finding(gap.subject, None, gap.reason) for gap in evidence.gaps)
        return
    worst: dict[str, Finding] = {}
    for finding in filter(None, map(_cpu_quota, evidence.windows)):
        if (finding.value or 0.0) >= (worst.get(finding.subject, finding).value or 0.0):
            worst[finding.subject] = finding
    yield from worst.values()
    if not worst:
        yield NotApplicable("no node shows that a CPU quota limits it")


def _cpu_quota(window: CounterWindow) -> Finding | None:
    """The finding on a node's CPU quota; None without a quota, or where its counters cannot be compared."""
    rows = [window.moved.find(CPU, CPU, name) for name in ("nr_periods", "nr_throttled", "throttled_usec")]
    grown = [row.growth for row in rows if row is not None and row.growth is not None]
    if len(grown) != 3:
        return None
    periods, times, waited = grown
    share = times / periods if periods else 0.0
    text = (
        f"its CPU is throttled: nr_throttled rose by {times} in {periods} periods of its quota, its threads"
        f" waited {show_seconds(waited / 1e6)} in phase “{phase_words(window.phase)}”"
    )
    return Finding(f"{window.node.name} cpu", periods < FEW or share < THROTTLED, text, share)


def explained(found: Finding, blamed: Blame, evidence: Evidence) -> Finding:
    """The finding on ``blamed``, with what else explains it where something does."""
    held = sorted({name for name in _nodes(blamed) if name in held_back(evidence)})
    if held:
        return replace(
            found,
            ok=None,
            measured=f"{found.measured}, but the CPU of {', '.join(held)} was throttled meanwhile",
            step=f"see growth.throttling, then measure again: {CORES}",
        )
    size = swallowed(blamed.subject, evidence)
    if size:
        return replace(
            found,
            measured=f"connections come up and small messages pass, but not one of {show_size(size)} gets through:"
            " full packets are lost on the way, as where its MTU is smaller than that of the ends",
            step=SIZE,
        )
    return found


def held_back(evidence: Evidence) -> frozenset[str]:
    """Nodes whose CPU quota ran out in many periods of a phase."""
    return frozenset(
        window.node.name
        for window in evidence.windows
        if (finding := _cpu_quota(window)) and finding.ok is False
    )


def _nodes(blamed: Blame) -> set[str]:
    return {name for each in (blamed.subject, *blamed.alternatives) for name in (each.node, each.peer)} - {""}


def swallowed(subject: Subject, evidence: Evidence) -> int:
    """The smallest message that a silent port or path lost although it was connected; 0: it is another fault."""
    where = {rank.rank: rank for rank in evidence.ranks}
    rows = [
        row
        for row in evidence.rows
        if row.case.phase.startswith((FIRST, AGAIN))
        and {subject.node, subject.peer} - {""} <= {where[rank].node for rank in row.measurement.ranks}
        and row.measurement.extra.rail == subject.rail
        and row.measurement.extra.failed
    ]
    stages = [row.measurement.extra.stage or "connecting" for row in rows]
    if not rows or subject.kind not in ("port", "path") or any(s.startswith("connecting") for s in stages):
        return 0
    return min(row.case.size for row in rows)
