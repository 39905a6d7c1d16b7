"""The plan of a run: what was asked for, cut to its time and memory; and the plan of those who are left of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.judge.expected_plan import expected_phases, without_ranks
from bench.judge.gpu_of_rank import foreseen
from bench.judge.leaves import nodes_of_leaves
from bench.judge.rails_of_rank import pins
from bench.measure.perftest.schedule import seconds as verbs_seconds
from bench.measure.perftest.schedule import why_left
from bench.model.facts import Node
from bench.model.measurement import Rank
from bench.plan import Job, Memory, fit, job_groups, sweep_cases
from bench.plan.budget import planned
from bench.plan.estimate import Estimate, estimate_of
from bench.plan.nightly import short
from bench.plan.phase_names import WATCH
from bench.plan.screening import Ring
from bench.store import LOGS, Phase, Plan, Run
from bench.store.case_progress import case_progress

from .bootstrap import memory
from .options import Options


def make_plan(
    options: Options,
    ranks: tuple[Rank, ...],
    backend: str,
    room: Memory,
    nodes: Sequence[Node] = (),
    gpus: Mapping[int, int | None] | None = None,
    by_leaf: tuple[Ring, ...] = (),
) -> Plan:
    """The phases that were asked for, without the cases that do not fit. ``by_leaf``: of ``Job``."""
    if not options.measures:
        return Plan((Phase(WATCH, "beside a running job", ()),) if options.watch else ())
    if options.sweeps:
        return fit([sweep(options, ranks, backend)], backend, room)
    job = replace(_job(options, ranks, backend, nodes, gpus), by_leaf=by_leaf)
    if options.nightly:
        phases, left_out = short(job, options.nightly.budget, options.rules.budget)
    else:
        _, phases, left_out = planned(job, options.rules.budget, time.monotonic() - options.start_time)
    return replace(fit(phases, backend, room), skipped=tuple(left_out))


def plan_by_fabric(options: Options, run: Run, room: Memory) -> Plan:
    """The plan once the fabric's tools were asked: within the time that this left, the rings of many nodes by leaf.

    Raises PlanError where no time is left for anything.
    """
    manifest = run.manifest
    by_leaf = nodes_of_leaves(run, options.profile)
    if not by_leaf and (options.nightly or not options.accept.budget):
        return run.plan
    gpus = foreseen(manifest.ranks, run.nodes, manifest.environment)
    return make_plan(options, manifest.ranks, manifest.backend, room, run.nodes, gpus, by_leaf)


def _job(
    options: Options,
    ranks: tuple[Rank, ...],
    backend: str,
    nodes: Sequence[Node],
    gpus: Mapping[int, int | None] | None,
) -> Job:
    """What an acceptance run or a night is planned for; with a time limit, perftest has its share of it."""
    rails = pins(options.profile, ranks, nodes, gpus)
    job = Job(options.profile, ranks, backend, options.accept, tuple(rails), tuple(rails.values()))
    if options.accept.budget is None:
        return job
    return replace(job, verbs=0.0 if why_left(options.profile, nodes) else verbs_seconds(len(nodes)))


def sweep(options: Options, ranks: Sequence[Rank], backend: str) -> Phase:
    """What ``run`` or ``soak`` measures."""
    budget, steady = options.rules.budget, options.rules.window > 0
    name, title = ("soak", "steady load") if steady else ("run", "the sweep that was asked for")
    cases = [
        case
        for sweep in options.sweeps
        for case in sweep_cases(name, sweep, job_groups(sweep, ranks, backend))
    ]
    each = budget + 1 if steady else budget * 1.3 + 0.1
    seconds = 0.0 if options.rules.iterations else len(cases) * each + 4
    return Phase(name, title, tuple(cases), seconds=seconds)


def dry_run(
    options: Options,
    ranks: tuple[Rank, ...],
    backend: str,
    nodes: Sequence[Node],
    gpus: Mapping[int, int | None],
) -> Estimate:
    """What the acceptance run that these ranks are there for would measure, and for how long."""
    job = _job(options, ranks, backend, nodes, gpus)
    fitted, phases, left_out = planned(job, options.rules.budget, time.monotonic() - options.start_time)
    plan = fit(phases, backend, memory(ranks, nodes, backend, gpus))
    too_large = [(f"for want of memory on {each.where}", each.text) for each in plan.shortages]
    return estimate_of(job, fitted, plan.phases, [*left_out, *too_large])


def plan_again(options: Options, run: Run) -> Plan:
    """The plan of the nodes that are left of a run; what was left out of it for want of time stays out."""
    manifest = run.manifest
    gpus = foreseen(manifest.ranks, run.nodes, manifest.environment)
    room = memory(manifest.ranks, run.nodes, manifest.backend, gpus)
    phases = [sweep(options, manifest.ranks, manifest.backend)] if options.sweeps else expected_phases(run)
    named = {phase.name for phase in phases}
    gone = {rank.rank for rank in run.whole.manifest.ranks} - {rank.rank for rank in manifest.ranks}
    followed = (without_ranks(phase, gone) for phase in run.plan.phases if phase.name not in named)
    phases += [phase for phase in followed if phase.cases]
    return replace(fit(phases, manifest.backend, room), skipped=run.plan.skipped)


def put_logs_away(run: Run) -> None:
    """Rename the logs of phases that are measured again: NCCL's of two jobs in one file are no evidence."""
    missing = case_progress(run).missing
    for phase in run.plan.phases:
        if missing.isdisjoint(case.id for case in phase.cases):
            continue
        for path in (run.path / LOGS).glob(f"{phase.name}.*.log"):
            if path.name.removeprefix(f"{phase.name}.").removesuffix(".log").isdigit():
                path.rename(path.with_suffix(".before"))
