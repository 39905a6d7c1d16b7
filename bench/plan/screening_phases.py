"""Screening as phases: rings of nodes first, and after each step the probes that follow from the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.model.groups import runs_of
from bench.model.measurement import Case
from bench.plan.phase_names import SCREEN
from bench.plan.screening import Ring, across, groups
from bench.store import Phase

from .job import Job
from .rails import PAIR_RULES, Left, why_uneven
from .sweep import Request, sweep_cases

REPEATS = 5  # of every ring; its middle counts. A worker takes longer to start than to measure them


def screening(job: Job) -> Phase | Left:
    """The first step: rings of all nodes; what follows is planned when their rates are known."""
    if not job.screened:
        return SCREEN, "all pairs are measured instead"
    if reason := why_uneven(job):
        return SCREEN, reason
    nodes = node_names(job), job.by_leaf
    phase, others = step_phase(job, 1, groups(*nodes)), across(*nodes)
    if not others:
        return phase
    title = f"{phase.title}, then {len(others)} across them"
    return replace(phase, title=title, cases=(*phase.cases, *ring_cases(phase.name, others, job, "/across")))


def node_names(job: Job) -> tuple[str, ...]:
    """Nodes in the order of their first rank."""
    return tuple(dict.fromkeys(rank.node for rank in job.ranks))


def step_phase(job: Job, number: int, rings: Sequence[Ring]) -> Phase:
    """Step ``number``: all ``rings``, which share no node, at once."""
    name = f"{SCREEN}-{number}"
    what = "ring" if number == 1 else "probe"
    title = f"screening, step {number}: {len(rings)} {what}{'' if len(rings) == 1 else 's'} of nodes"
    return Phase(name, title, tuple(ring_cases(name, rings, job)), rules=PAIR_RULES)


def ring_cases(phase: str, rings: Sequence[Ring], job: Job, name: str = "") -> list[Case]:
    """Rank i of each node of a ring sends to rank i of the next, all rails and rings at once; REPEATS times."""
    place = {name: at for at, name in enumerate(node_names(job))}
    size = max(job.profile.sweep.pair_sizes, default=1 << 22)
    own = "own" if job.backend == "nccl" or job.profile.rails.interfaces else ""
    groups_ = job.groups("rings", rings=tuple(runs_of([place[node] for node in ring]) for ring in rings))
    request = Request("p2p_ring", size, size, dtype=job.profile.sweep.dtype)
    return [
        replace(case, id=f"{case.id}{name}/time-{time}", rail=own)
        for time in range(REPEATS)
        for case in sweep_cases(phase, request, groups_)
    ]
