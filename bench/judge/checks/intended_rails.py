"""Point-to-point over the rails of the GPUs, nobody pinned: did the counters of each GPU's own rails move?

NCCL chooses the adapter. Where it chose another than the one a transfer is called by, blame would name the wrong port.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from bench.judge.counter_windows import Window
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, Question
from bench.judge.registry import check
from bench.judge.wire.counters import calls
from bench.model.counters import bytes_moved
from bench.model.profile import Profile
from bench.model.rails import joined, members, rails_of
from bench.model.units import show_seconds, show_size
from bench.model.verdict import Verdict
from bench.plan.names import AGAIN, FIRST, REPEATED

from .pinned_rails import CHATTER, LEAST, SHARE

Due = dict[tuple[str, ...], float]  # rails of one GPU, or of several that share them → bytes
WAYS = {"p2p": 1.0, "p2p_bidirectional": 2.0}  # of the message that a rank sends and receives in a call


@check("rails.intended")
def intended(evidence: Evidence) -> Iterator[Verdict]:
    """In the passes between GPUs of two nodes each GPU's own rails carry its bytes, and no other rail does."""
    ask = Question(
        "rails.intended",
        "the bytes of each GPU on its own rails",
        "counters before and after each phase",
        "",
        "see rails.alone and the pinned passes (--pinned), which use one rail each; then rails.own and railgauge probe",
    )
    phases = [
        phase.name
        for phase in evidence.run.plan.phases
        if phase.name.startswith((FIRST, AGAIN, REPEATED)) and any(case.rail == "own" for case in phase.cases)
    ]
    if evidence.rails.kind == "none" or not phases:
        why = dict(evidence.run.plan.skipped).get(
            FIRST, "no transfer of this run was to use the rails of its GPU"
        )
        yield ask.skip("rails", why)
        return
    found, gaps = evidence.windows, evidence.gaps
    due = _due(phases, evidence.rail_names, evidence)
    findings = [Finding(gap.subject, None, gap.reason) for gap in gaps if gap.phase in phases]
    for window in found:
        if (window.phase, window.node.name) in due:
            findings += _moved(window, due[window.phase, window.node.name], evidence.profile)
    if not findings:
        yield ask.skip("rails", "none of these phases was begun")
        return
    yield from ask.verdicts(findings, "windows of a node show its GPUs' bytes on their own rails")


def _moved(window: Window, due: Due, want: Profile) -> Iterator[Finding]:
    node, where = window.node.name, f"in phase {window.phase} ({show_seconds(window.seconds)})"
    moved: dict[str, float] = {}
    for role in rails_of(window.node, want.rails):
        traffic = bytes_moved(window.moved, role.name)
        if traffic.sent is None or traffic.received is None:
            yield Finding(node, None, f"the bytes of {role.name} {where} cannot be determined: {traffic.how}")
            return
        moved[role.name] = float(traffic.sent + traffic.received)
    strange = [joined(own) for own in due if not set(own) <= set(moved)]
    if strange:
        yield Finding(
            node, None, f"{', '.join(strange)}: none of the node's rails; which its GPU uses is not known"
        )
        return
    # of what the node moved, beyond what the GPUs next to a rail did
    more = {
        rail: total - sum(share / len(own) for own, share in due.items() if rail in own)
        for rail, total in moved.items()
    }
    most = max(CHATTER * (1 + window.seconds), SHARE * sum(due.values()))
    strangers = [rail for rail in moved if more[rail] > most and not any(rail in own for own in due)]
    fuller = [
        rail for rail in moved if more[rail] > (1 - LEAST) * max(due.values()) and rail not in strangers
    ]
    also = ", ".join(
        f"{rail} moved {show_size(round(more[rail]))} that no GPU next to it did"
        for rail in (*strangers, *fuller)
    )
    got = {own: sum(moved[rail] for rail in own) for own in due}
    short = [own for own in due if got[own] < LEAST * due[own]]
    for own in short:
        told = f"moved only {show_size(round(got[own]))} {where}, {show_size(round(due[own]))} were sent and received"
        yield Finding(f"{node} {joined(own)}", None, f"{told}; {also or 'no other rail moved instead'}")
    if strangers and not short:
        yield Finding(node, None, f"{also}, {where}")
    if not short and not strangers:
        total = show_size(round(sum(moved.values())))
        yield Finding(f"{node} {window.phase}", True, f"{total} on the rails of the GPUs {where}")


def _due(phases: Container[str], names: Sequence[str], evidence: Evidence) -> dict[tuple[str, str], Due]:
    """(phase, node) → bytes that the measured calls moved on the rails of each GPU, without headers."""
    repetitions = evidence.manifest.settings.repetitions
    where = {rank.rank: rank for rank in evidence.ranks}
    own = [members(name) for name in names]
    found: dict[tuple[str, str], Due] = {}
    for row in evidence.rows:
        if row.case.phase not in phases or row.case.rail != "own" or row.measurement.stop == "failed":
            continue
        moved = WAYS.get(row.case.collective, 0.0) * row.case.size * calls(row.measurement, repetitions)
        for rank in (where[number] for number in row.measurement.ranks if moved and number in where):
            due = found.setdefault((row.case.phase, rank.node), {})
            due[own[rank.local_rank]] = due.get(own[rank.local_rank], 0.0) + moved
    return found
