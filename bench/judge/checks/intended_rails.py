"""Point-to-point over the rails of the GPUs, without pinning: did the counters of each GPU's own rails move?

NCCL chooses the adapter. Where it chose another than the one a transfer is called by, blame would name the wrong port.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.counter_windows import CounterWindow
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check, unplanned
from bench.judge.wire.counters import calls
from bench.model.rails import joined, members
from bench.model.units import show_seconds, show_size
from bench.plan.phase_names import AGAIN, FIRST, REPEATED, phase_words

from .pinned_rails import CHATTER, LEAST, SHARE, moved_on_rails

Due = dict[tuple[str, ...], float]  # rails of one GPU, or of several that share them → bytes
WAYS = {"p2p": 1.0, "p2p_bidirectional": 2.0}  # of the message that a rank sends and receives in a call


def _phases(evidence: Evidence) -> list[str]:
    """The phases of transfers that use the rails of their GPUs."""
    if evidence.rails.kind == "none":
        return []
    return [
        phase.name
        for phase in evidence.run.plan.phases
        if phase.name.startswith((FIRST, AGAIN, REPEATED)) and any(case.rail == "own" for case in phase.cases)
    ]


_not_planned = unplanned(FIRST, _phases, "no transfer of this run was to use the rails of its GPU")


@check(
    "rails.intended",
    subject="rails",
    wanted="the bytes of each GPU on its own rails",
    source="counters before and after each phase",
    on_inconclusive="see rails.alone and the pinned passes (--pinned), which use one rail each; then rails.own and "
    "railgauge probe",
    unit="node × phase intervals",
    unless=(_not_planned,),
)
def intended(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """In the passes between GPUs of two nodes each GPU's own rails carry its bytes, and no other rail does."""
    phases, due = _phases(evidence), _due(evidence)
    gaps = [gap for gap in evidence.gaps if gap.phase in phases]
    windows = [window for window in evidence.windows if (window.phase, window.node.name) in due]
    yield from (Finding(gap.subject, None, gap.reason) for gap in gaps)
    for window in windows:
        yield from _moved(window, due[window.phase, window.node.name], evidence)
    if not gaps and not windows:
        yield NotApplicable("none of these phases was begun")


def _moved(window: CounterWindow, due: Due, evidence: Evidence) -> Iterator[Finding]:
    node, where = window.node.name, f"in phase “{phase_words(window.phase)}” ({show_seconds(window.seconds)})"
    moved = moved_on_rails(window, evidence.rails)
    if isinstance(moved, str):
        yield Finding(node, None, moved)
        return
    unknown = [joined(own) for own in due if not set(own) <= set(moved)]
    if unknown:
        text = f"{', '.join(unknown)}: none of the node's rails; which its GPU uses is not known"
        yield Finding(node, None, text)
        return
    strangers, also = _elsewhere(window, due, moved)
    short = [own for own in due if sum(moved[rail] for rail in own) < LEAST * due[own]]
    for own in short:
        got, sent = (show_size(round(each)) for each in (sum(moved[rail] for rail in own), due[own]))
        text = f"moved only {got} {where}, {sent} were sent and received; {also or 'no other rail moved instead'}"
        yield Finding(f"{node} {joined(own)}", None, text)
    if strangers and not short:
        yield Finding(node, None, f"{also}, {where}")
    if not short and not strangers:
        total = show_size(round(sum(moved.values())))
        yield Finding(f"{node} {window.phase}", True, f"{total} on the rails of the GPUs {where}")


def _elsewhere(window: CounterWindow, due: Due, moved: dict[str, float]) -> tuple[list[str], str]:
    """Rails that belong to no GPU of the transfers and moved all the same; what else moved too much, in words."""
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
    also = [
        f"{rail} moved {show_size(round(more[rail]))} that no GPU next to it did"
        for rail in strangers + fuller
    ]
    return strangers, ", ".join(also)


def _due(evidence: Evidence) -> dict[tuple[str, str], Due]:
    """(phase, node) → bytes that the measured calls moved on the rails of each GPU, without headers."""
    phases, repetitions = _phases(evidence), evidence.manifest.settings.repetitions
    where = {rank.rank: rank for rank in evidence.ranks}
    own = [members(name) for name in evidence.rail_names]
    found: dict[tuple[str, str], Due] = {}
    for row in evidence.rows:
        if row.case.phase not in phases or row.case.rail != "own" or row.measurement.stop == "failed":
            continue
        moved = WAYS.get(row.case.collective, 0.0) * row.case.size * calls(row.measurement, repetitions)
        for rank in (where[number] for number in row.measurement.ranks if moved and number in where):
            due = found.setdefault((row.case.phase, rank.node), {})
            due[own[rank.local_rank]] = due.get(own[rank.local_rank], 0.0) + moved
    return found
