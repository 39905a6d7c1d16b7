"""The phases of an acceptance run: the table, and the makers of those that measure collectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.model.collectives import COLLECTIVES, collective
from bench.model.measurement import Case
from bench.model.profile import Sweep
from bench.store import Phase

from .job import Job, everyone
from .rails import Left, cross, inside, off_nvlink, pinned, rails
from .screening_phases import screening
from .single_node_phases import copies, graphs, links, registered
from .steady_load import steady
from .sweep import Request, cases_of

EVIDENCE_SECONDS = 0.3  # for one case; its log is wanted, not its speed
EVIDENCE = {
    "NCCL_DEBUG": "INFO",
    "NCCL_DEBUG_SUBSYS": "INIT,BOOTSTRAP,ENV,NET,GRAPH,TUNING",
}
# Seconds until all workers of a phase have met: torch's import, measured on CPUs, and with NCCL so much more a rank of
# the job for its bootstrap: an estimate for few ranks; of many, stock NCCL's 265 s at 96 000 (arXiv 2510.20171).
# A run that has timed its own starts uses those.
START, START_NCCL, MOST_OF_FEW, START_OF_MANY = 4.0, 0.02, 10.0, 265 / 96_000
AROUND_CASE = (
    0.25  # seconds of meeting, connecting and checking: 0.1 to 0.2 over interfaces on two loaded cores
)


def acceptance(job: Job, case_seconds: float) -> tuple[list[Phase], list[Left]]:
    """Phases of an acceptance run, and those left out with the reason. ``case_seconds``: budget of one case."""
    phases: list[Phase] = []
    skipped: list[Left] = []
    for make in PHASES:
        made = make(job)
        if isinstance(made, tuple):
            skipped.append(made)
        else:
            phases += made if isinstance(made, list) else [made]
    families = [phase.name.split("-")[0] for phase in phases]  # pinned-3 is of pinned
    cut = [name for name in dict.fromkeys(families) if name in job.accept.without]
    kept = [
        _of_night(phase, job.accept.sizes)
        for phase, name in zip(phases, families, strict=True)
        if name not in cut
    ]
    skipped += [(name, "left out, as the time is too short") for name in cut]
    return [
        replace(off_nvlink(phase, job.profile), seconds=seconds(phase, case_seconds, job))
        for phase in kept
        if phase.cases
    ], skipped


def _of_night(phase: Phase, sizes: int) -> Phase:
    """The phase with as many ``sizes`` of each collective; 0: with all."""
    if not sizes or phase.name not in ("collectives", "ring", "pairs"):
        return phase
    cases = _of_sizes(phase.cases, sizes if phase.name == "collectives" else 1)
    return replace(phase, cases=tuple(case for case in cases if case.collective != "p2p"))


def _of_sizes(cases: Sequence[Case], count: int) -> list[Case]:
    """``count`` sizes of each collective in its first placement, by rank among them: rounding moves the bytes."""
    found = []
    for name in dict.fromkeys(case.collective for case in cases):
        placement = collective(name).placements[0]
        own = [case for case in cases if (case.collective, case.placement) == (name, placement)]
        own.sort(key=lambda case: case.size)
        ranks = {1: (-1,), 2: (0, -1)}.get(count, (0, len(own) // 2, -1))
        found += list(dict.fromkeys(own[rank] for rank in ranks if own))
    return found


def seconds(phase: Phase, budget: float, job: Job) -> float:
    """The longest that a phase may take: the workers' start, and the budget of each case with an overrun."""
    return len(phase.cases) * (phase.rules.get("budget", budget) * 1.3 + AROUND_CASE) + start_seconds(job)


def start_seconds(job: Job) -> float:
    """The estimate until all workers of a phase have met."""
    ranks = len(job.ranks) if job.backend == "nccl" else 0
    return START + max(min(START_NCCL * ranks, MOST_OF_FEW), START_OF_MANY * ranks)


def _evidence(job: Job) -> Phase | Left:
    if job.backend != "nccl":
        return "evidence", "NCCL is not in use, so it logs nothing"
    sweep = job.profile.sweep
    # at the largest size, because NCCL's choice of algorithm there is what the bounds' readings rest on
    wanted = [
        (row.name, sweep.end if row.nccl else min(sweep.end, 64 << 20))
        for row in sorted(COLLECTIVES.values(), key=lambda row: bool(row.nccl))
        if row.symmetric
    ]
    requests = [Request(name, size, size, dtype=sweep.dtype) for name, size in wanted]
    cases = cases_of("evidence", requests, everyone(job.ranks))
    title = "a short run with NCCL's log on"
    return Phase("evidence", title, cases, EVIDENCE, {"budget": EVIDENCE_SECONDS})


def _neighbours(job: Job) -> Phase | Left:
    sweep = job.profile.sweep
    if len(job.ranks) < 2 or not sweep.pairs:
        return "pairs", "one rank has no partner" if sweep.pairs else "the profile asks for none"
    requests = [
        Request(name, size, size, dtype=sweep.dtype) for name in sweep.pairs for size in sweep.pair_sizes
    ]
    cases = cases_of("pairs", requests, everyone(job.ranks))
    return Phase("pairs", "point-to-point between neighbours", cases)


def _nodes(job: Job) -> Phase | Left:
    if len(job.nodes) < 2 or any(len(members) < 2 for members in job.nodes):
        return "nodes", "one node, or one rank a node: the collectives already measure it"
    sweep = job.profile.sweep
    request = Request("all_reduce", sweep.end, sweep.end, dtype=sweep.dtype)
    title = "all_reduce inside each node, all nodes at once"
    uneven = len({len(members) for members in job.nodes}) > 1
    groups = job.nodes if uneven else job.groups("nodes")
    return Phase("nodes", title, cases_of("nodes", [request], groups))


def _collectives(job: Job) -> Phase | Left:
    sweep = job.profile.sweep
    requests = [_request(name, sweep) for name in sweep.collectives]
    cases = cases_of("collectives", requests, everyone(job.ranks))
    return Phase("collectives", "collectives over the sizes", cases)


def _ring(job: Job) -> Phase | Left:
    if job.backend != "nccl" or len(job.nodes) < 2:
        return "ring", "forcing Ring means something with NCCL on several nodes"
    wanted = job.profile.sweep
    sweep = replace(wanted, begin=max(wanted.begin, wanted.end // 4), factor=2)
    requests = [replace(_request(name, sweep), algorithm="ring") for name in ("all_reduce", "all_gather")]
    cases = cases_of("ring", requests, everyone(job.ranks))
    return Phase("ring", "forced to Ring: what the wires carry", cases, {"NCCL_ALGO": "Ring"})


def _request(name: str, sweep: Sweep) -> Request:
    return Request(name, sweep.begin, sweep.end, sweep.factor, dtype=sweep.dtype)


# in the order in which they run; a maker says what to measure, or why nothing
PHASES = (
    _evidence, copies, _neighbours, links, rails, screening, cross, pinned, steady, _nodes, inside,
    _collectives, graphs, registered, _ring,
)  # fmt: skip
