"""Phases that need no second node: copies of each GPU, its links to the others, other ways to call NCCL."""

from __future__ import annotations

from collections.abc import Sequence

from bench.model.collectives import COPIES, collective
from bench.model.groups import GroupRule
from bench.model.measurement import Rank
from bench.plan.phase_names import LINKS
from bench.store import Phase

from .job import Job, alone, everyone
from .rails import PAIR_RULES, Left, inside_cases
from .sweep import PlanError, Request, cases_of

COPIES_PHASE, GRAPHS, REGISTERED = "copies", "graphs", "registered"
COPY_SIZES = (1 << 20, 256 << 20)  # one that a cache of the GPU holds, one that it does not
COPY_RULES = {"budget": 0.5}
GRAPH, REGISTER = "graph", "registered"  # values of Case.algorithm: how NCCL is called


def by_algorithm(name: str) -> bool:
    """Whether every rank takes the same part in it and NCCL chooses an algorithm for it."""
    row = collective(name)
    return bool(row.symmetric and row.nccl)


def job_groups(request: Request, ranks: Sequence[Rank], backend: str) -> GroupRule:
    """The groups that ``railgauge run`` and ``soak`` measure: all ranks together, or each alone for copies.

    Raises PlanError for an option of NCCL where NCCL is not in use.
    """
    if request.algorithm != "auto" and backend != "nccl":
        raise PlanError("CUDA graphs and registered buffers need NCCL; this job runs on gloo")
    return alone(ranks) if collective(request.collective).alone else everyone(ranks)


def copies(job: Job) -> Phase | Left:
    """Inside each GPU's memory, and between it and its host; all GPUs at once, as in training."""
    if job.backend != "nccl":
        return COPIES_PHASE, "without GPUs there is only the host's memory"
    requests = [Request(name, size, size) for name in COPIES for size in COPY_SIZES]
    cases = cases_of(COPIES_PHASE, requests, alone(job.ranks))
    return Phase(COPIES_PHASE, "copies of each GPU, all at once", cases, rules=COPY_RULES)


def links(job: Job) -> Phase | Left:
    """Every GPU of one node against every other: NVLink, pair by pair."""
    if job.backend != "nccl":
        return LINKS, "without GPUs there are no links between them"
    if len(job.nodes) > 1:
        return LINKS, "on several nodes “GPUs inside their nodes” measures them"
    members = job.nodes[0]
    if len(members) < 2:
        return LINKS, "one GPU has no link to another"
    title = "point-to-point between all GPUs of the node"
    return Phase(LINKS, title, inside_cases(LINKS, job), rules=PAIR_RULES)


def graphs(job: Job) -> Phase | Left:
    """Small messages replayed from CUDA graphs: without what Python and torch take for each call."""
    sweep = job.profile.sweep
    if job.backend != "nccl" or not sweep.graphs:
        return GRAPHS, "the profile asks for none" if job.backend == "nccl" else "CUDA graphs need a GPU"
    if len(job.ranks) < 2:
        return GRAPHS, "one rank's call in place does nothing that a graph could replay"
    requests = [
        Request(name, sweep.begin, sweep.graphs, sweep.factor, dtype=sweep.dtype, algorithm=GRAPH)
        for name in filter(by_algorithm, sweep.collectives)
    ]
    cases = cases_of(GRAPHS, requests, everyone(job.ranks))
    return Phase(GRAPHS, "small messages from CUDA graphs", cases)


def registered(job: Job) -> Phase | Left:
    """The largest message in buffers of NCCL's own, as nccl-tests measures by default."""
    sweep = job.profile.sweep
    if job.backend != "nccl" or not sweep.registered:
        reason = "the profile asks for none" if job.backend == "nccl" else "buffers are registered with NCCL"
        return REGISTERED, reason
    requests = [
        Request(name, sweep.end, sweep.end, dtype=sweep.dtype, algorithm=REGISTER)
        for name in filter(by_algorithm, sweep.collectives)
    ]
    cases = cases_of(REGISTERED, requests, everyone(job.ranks))
    return Phase(REGISTERED, "the largest message in registered buffers", cases)
