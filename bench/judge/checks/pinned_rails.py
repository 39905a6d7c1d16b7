"""One rail at a time: did its counters move, and no other rail's?

What else may be on a rail meanwhile: subnet and performance managers, keep-alives, neighbour discovery.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge import nccl_log
from bench.judge.blame.transfers import PINNED
from bench.judge.counter_windows import Window
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, Question
from bench.judge.registry import check
from bench.judge.wire.counters import calls
from bench.model.counters import bytes_moved
from bench.model.rails import rails_of
from bench.model.units import MEGA, show_seconds, show_size
from bench.model.verdict import Status, Verdict
from bench.nccl.log import read_ranks
from bench.store import LOGS, Phase
from bench.store.rows import Row

from .exclusion import by_log

CHATTER = MEGA  # bytes, and bytes/s: about 100 times what a rail that nobody uses carries
SHARE = 0.01  # of the pinned rail's bytes, if that is more
LEAST = 0.9  # of the bytes that the calls must have moved


@check("rails.alone")
def counters(evidence: Evidence) -> Iterator[Verdict]:
    """While one rail is measured alone its counters move, and no other rail's do."""
    ask = Question(
        "rails.alone",
        "the intended rail moves, and no other",
        "counters before and after each phase",
        "",
        "see what the rails are called on this node, and what else uses them: railgauge probe",
    )
    phases = pinned_phases(evidence)
    if not phases:
        reason = dict(evidence.run.plan.skipped).get(PINNED, "no rail was measured alone in this run")
        yield ask.skip("rails", reason)
        return
    found, gaps = evidence.windows, evidence.gaps
    findings = [Finding(gap.subject, None, gap.reason) for gap in gaps if gap.phase in phases]
    for name, phase in phases.items():
        here = [window for window in found if window.phase == name]
        if not here and not any(gap.phase == name for gap in gaps):
            findings.append(Finding("all nodes", None, f"phase {name} was not begun"))
        findings += [_moved(window, phase, evidence) for window in here]
    yield from ask.verdicts(findings, "windows of a node and a rail show that rail moving, and no other")


def pinned_phases(evidence: Evidence) -> dict[str, Phase]:
    """The planned phases that measure one rail alone, by name."""
    return {phase.name: phase for phase in evidence.run.plan.phases if phase.name.startswith(PINNED)}


def _moved(window: Window, phase: Phase, evidence: Evidence) -> Finding:
    device = phase.cases[0].rail
    subject = f"{window.node.name} {device}"
    where = f"in phase {phase.name} ({show_seconds(window.seconds)})"
    moved: dict[str, float] = {}
    for role in rails_of(window.node, evidence.rails):
        traffic = bytes_moved(window.moved, role.name)
        if traffic.sent is None or traffic.received is None:
            return Finding(
                subject, None, f"the bytes of {role.name} {where} cannot be determined: {traffic.how}"
            )
        moved[role.name] = float(traffic.sent + traffic.received)
    if device not in moved:
        return Finding(subject, None, f"{device} is none of the node's rails: {', '.join(moved) or 'none'}")
    expected = _expected(window, phase, evidence)
    if not expected:
        return Finding(subject, None, f"nothing was measured on it {where}")
    allowed = max(CHATTER * (1 + window.seconds), SHARE * moved[device])
    strangers = {name: total for name, total in moved.items() if name != device and total > allowed}
    told = f"{show_size(round(moved[device]))} {where}, {show_size(round(expected))} were sent and received"
    also = ", ".join(f"{name} moved {show_size(round(total))}" for name, total in strangers.items())
    if moved[device] < LEAST * expected:
        return Finding(subject, None, f"moved only {told}; {also or 'no other rail moved instead'}")
    if strangers:
        return Finding(subject, None, f"moved {told}, but {also} as well")
    return Finding(subject, True, told, moved[device], note=told)


def _expected(window: Window, phase: Phase, evidence: Evidence) -> float:
    """Bytes that the measured calls sent and received on this node, without headers."""
    node = {rank.rank: rank.node for rank in evidence.ranks}
    repetitions = evidence.manifest.settings.repetitions

    def of(row: Row) -> float:
        here = [node.get(rank) == window.node.name for rank in row.measurement.ranks]
        return 2.0 * row.case.size * calls(row.measurement, repetitions) * sum(here)

    return sum(
        of(row) for row in evidence.rows if row.case.phase == phase.name and row.measurement.stop != "failed"
    )


@check("rails.pinned")
def pinned(evidence: Evidence) -> Iterator[Verdict]:
    """NCCL's own log says that a pinned worker used its one rail and nothing else, on every rank."""
    phases = pinned_phases(evidence)
    ask = Question("rails.pinned", "", nccl_log.SOURCE, "")
    if evidence.backend != "nccl" or evidence.rails.kind == "none" or not phases:
        reason = dict(evidence.run.plan.skipped).get(
            PINNED, "no NCCL worker was pinned to one rail in this run"
        )
        yield ask.skip("rails", reason)
        return
    found = [_said(phase, evidence) for phase in phases.values()]
    yield from (verdict for verdict in found if verdict.status is not Status.PASS)
    if all(verdict.status is Status.PASS for verdict in found):
        yield Verdict(
            "rails.pinned",
            "rails",
            Status.PASS,
            f"{len(found)} pinned passes used their one rail on every rank",
            "exactly the pinned rail",
            nccl_log.SOURCE,
            evidence=tuple(f"{verdict.subject}: {verdict.measured}" for verdict in found),
        )


def _said(phase: Phase, evidence: Evidence) -> Verdict:
    """The pinned workers' logs against the one rail; a rank without a log is missing, which is an INCONCLUSIVE."""
    device = phase.cases[0].rail
    ranks = [rank.rank for rank in evidence.ranks]
    texts = {}
    for rank in ranks:
        path = evidence.run.path / LOGS / f"{phase.name}.{rank}.log"
        if path.is_file():
            texts[rank] = path.read_text(encoding="utf-8", errors="replace")
    judged = by_log(read_ranks(texts), [device.replace("/", ":")], ranks, evidence.profile)
    return Verdict(
        "rails.pinned",
        f"rail {device}",
        judged.status,
        judged.measured,
        judged.wanted,
        judged.source,
        judged.next_step,
        evidence=judged.evidence,
    )
