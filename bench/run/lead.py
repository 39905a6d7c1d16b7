"""A run from its first message to its verdict, as rank 0 leads it: probe, plan, phases, judge, report."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from bench import __version__
from bench.judge.expected_plan import expected_phases
from bench.judge.gpu_of_rank import foreseen
from bench.judge.verdicts import status
from bench.launch import LaunchContext
from bench.model.discovered_rails import at_hand
from bench.model.errors import EXIT_INCONCLUSIVE
from bench.model.measurement import Rank
from bench.model.verdict import EXIT
from bench.plan import PlanError
from bench.store import (
    DRAWING_SECONDS,
    RESUMED,
    UNWRITTEN,
    VERDICTS,
    Manifest,
    Plan,
    Recorder,
    Run,
    RunError,
    Settings,
    load,
)
from bench.store.case_progress import can_resume, case_progress
from bench.store.titles import save_titles
from bench.supervise.control.tcp import Control
from bench.supervise.coordinator import Coordinator
from bench.supervise.departures import Departures, dismiss
from bench.supervise.limits import Lost, Stopped
from bench.supervise.supervisor import Supervisor
from bench.supervise.watchdog import STARTED_MPIRUN, Watchdog

from . import nightly, resume, without_sick_nodes
from .absent_nodes import attendance
from .bootstrap import ask_fabric, choose_backend, device_name, gather_facts, memory
from .finish import finish, judge_and_save
from .live_run import LiveRun
from .options import CannotRun, Options, ProgressDisplay
from .planning import dry_run, make_plan, plan_again, plan_by_fabric, put_logs_away, sweep
from .refused_start import refusal
from .resume import RemainingPhase
from .resumed_nodes import as_they_are_now, command_without, lost_nodes, rejoin
from .watch import Watch


def lead(
    options: Options,
    where: LaunchContext,
    control: Control,
    supervisor: Supervisor,
    display: ProgressDisplay,
    departures: Departures,
) -> int:
    """Be rank 0: coordinate, judge, draw, and let everybody go; the exit status."""
    code, reason = EXIT_INCONCLUSIVE, ""
    watchdog = Watchdog(options.out, STARTED_MPIRUN not in os.environ, where.mpi)
    try:
        code = _coordinate(options, where, control, supervisor, display, departures)
        if not departures.stop():
            watchdog.report("written")
    except Exception as error:  # raised again: the other ranks must hear why the run ended
        code, reason = refusal(error)
        raise
    finally:
        supervisor.stop_now()
        # all is written by now: who does not answer must not keep us, and MPI's own end waits for everybody
        limit = 1.0 if departures.stop() else options.limits.quit
        if dismiss(control, limit, code, reason, departures.departed):
            control.close()
            watchdog.dismiss()
        else:
            watchdog.report("abandon")
            control.abandon(code)
    return code


def _coordinate(
    options: Options,
    where: LaunchContext,
    control: Control,
    supervisor: Supervisor,
    display: ProgressDisplay,
    departures: Departures,
) -> int:
    # of a job that ended because a node died the report may still be drawn
    limit = DRAWING_SECONDS if options.without else 0.0
    with Recorder(options.out, options.resumed is not None, options.share, limit) as recorder:
        chief = Coordinator(control, supervisor, recorder, options.limits, display, departures)
        chief.before_measuring = options.before_measuring
        if options.resumed:  # as it is now that nobody else writes it
            options = replace(options, resumed=load(options.out))
        finished, unwritten = _measure_all(chief, options, where, display)
        if options.dry_run and finished:
            return 0
        if options.probe_only and finished:
            return probed(options, display)
        if not (options.out / "manifest.json").exists():
            return EXIT_INCONCLUSIVE
        if options.nightly and finished:
            nightly.end(options.out, options.nightly, options.profile)
        if options.title is not None or options.site is not None:
            save_titles(options.out, options.title, options.site)
        # somebody who interrupts is not kept waiting for a drawing, and mpirun kills after a second
        report = options.report if finished else None
        code = finish(options.out, options.profile, display, report, unwritten)
        if not finished and where.mpi:
            _say_who_is_lost(load(options.out), display)
        return code


def _say_who_is_lost(run: Run, display: ProgressDisplay) -> None:
    """Say the command that goes on without nodes that died, where there is one."""
    if (lost := lost_nodes(run)) and can_resume(run.whole):
        command = command_without(run.whole.manifest, lost, run.path)
        display.say(f"to go on without {', '.join(lost)}: {command}")


def _measure_all(
    chief: Coordinator, options: Options, where: LaunchContext, display: ProgressDisplay
) -> tuple[bool, str]:
    """Call ``_measure``, and say why nothing more could be written: what a full disk holds is judged."""
    try:
        return _measure(chief, options, where, display), ""
    except RunError as error:
        if not (options.out / "manifest.json").exists():
            raise
        display.say(f"{error}; what was written by then is judged")
        with contextlib.suppress(RunError):  # a line of few words may still find room, for who judges later
            chief.recorder.note(f"{UNWRITTEN}{error}")
        return False, str(error)


def _measure(chief: Coordinator, options: Options, where: LaunchContext, display: ProgressDisplay) -> bool:
    """Probe, plan and run the phases; False when a person or the launcher stopped it."""
    try:
        present = attendance(chief.control, where.hosts)
        chief.departures.ignore(present.early)
        ranks, nodes, hellos = gather_facts(chief, present.here)
        aside = present.set_aside([node.name for node in nodes])
        options = replace(options, profile=at_hand(options.profile, nodes))
        before = options.resumed
        rejoined = before and rejoin(before, ranks, options.without)
        if rejoined:
            chief.control.renumber(rejoined.numbers)
            ranks = tuple(
                replace(rank, rank=number) for rank, number in zip(ranks, rejoined.numbers, strict=True)
            )
            hellos = {rank.rank: said for rank, said in zip(ranks, hellos.values(), strict=True)}
            options = replace(options, resumed=rejoined.run)
        backend, reason = ("none", "")
        if options.measures:
            backend, reason = choose_backend(options.profile, hellos, ranks, nodes)
        _say(display, [f"backend {backend}: {reason}"] if reason else [])
        environment = {str(rank): said.environment for rank, said in hellos.items()}
        gpus = foreseen(ranks, nodes, environment)
        ranks = tuple(replace(rank, device=device_name(rank, backend, nodes, gpus)) for rank in ranks)
        manifest = _manifest(options, where, ranks, backend, environment)
        if options.dry_run:
            display.estimated(dry_run(options, ranks, backend, nodes, gpus), manifest)
            return True
        everyone = tuple(sorted((*ranks, *present.absent), key=lambda each: each.rank))
        manifest = replace(manifest, ranks=everyone, set_aside=aside)
        if options.resumed:
            known = as_they_are_now(before or options.resumed, options.resumed, ranks, nodes, environment)
            resume.unlike(known, ranks, nodes, manifest.versions, environment)
            chief.recorder.facts(known.whole.facts)
            plan, manifest = _go_on(chief, options, known, display, bool(rejoined and rejoined.changed))
        else:
            plan = make_plan(options, ranks, backend, memory(ranks, nodes, backend, gpus), nodes, gpus)
            chief.recorder.begin(manifest, nodes, plan)
        _say_noted(chief, display, [f"{each.node} is set aside: {each.reason}" for each in aside])
        if options.nightly:
            _say(display, nightly.begin(options.out, options.nightly, options.profile).said)
        chief.ranks = ranks
        live = LiveRun(chief, options, display, plan, nodes)
        if _ask_or_watch(live):
            return True
        if options.profile.rails.kind == "infiniband" and not options.resumed:
            with suppress(PlanError):  # the first plan stands; for what no time is left, that is said
                plan = plan_by_fabric(options, load(options.out), memory(ranks, nodes, backend, gpus))
                live.plan = plan
                chief.recorder.plan(plan)
        run = options.resumed and load(options.out)
        steps = resume.remaining(run, plan) if run else tuple(RemainingPhase(phase) for phase in plan.phases)
        to_measure = replace(plan, phases=tuple(step.phase for step in steps))
        display.ranks_are_there(nodes, options.profile.rails)
        display.planned(to_measure, run.manifest if run else replace(manifest, ranks=ranks))
        without_sick_nodes.measure(live, backend, steps, resumed=bool(run))
        ask_fabric(chief, options.profile)
        chief.recorder.end()
    except Stopped as stopped:
        text = f"interrupted by a person or the launcher: {stopped}; what was measured is kept"
        chief.recorder.note(text)
        display.interrupted(options.out, options.command)
        return False
    except Lost as lost:
        _lost(chief, options, lost)
    return True


def _ask_or_watch(live: LiveRun) -> bool:
    """Do what needs no measurement: ask the fabric, or watch a running job; whether that was all."""
    options = live.options
    if options.watch:
        Watch(live, options.watch.seconds, options.watch.inspector).watch()
    else:
        ask_fabric(live.coordinator, live.profile)
    if options.measures:
        return False
    live.coordinator.recorder.end()
    return True


def _lost(chief: Coordinator, options: Options, lost: Lost) -> None:
    """Note the loss for the judgement of the run folder; a dry run has none."""
    if options.dry_run:
        raise CannotRun(str(lost)) from None
    chief.recorder.note(str(lost))


def _say(display: ProgressDisplay, texts: Iterable[str]) -> None:
    for text in texts:
        display.say(text)


def _say_noted(chief: Coordinator, display: ProgressDisplay, texts: Iterable[str]) -> None:
    """Say each text, and note it in the run folder."""
    for text in texts:
        chief.recorder.note(text)
        display.say(text)


def _go_on(
    chief: Coordinator, options: Options, run: Run, display: ProgressDisplay, changed: bool
) -> tuple[Plan, Manifest]:
    """The plan and the manifest of the run that goes on. Raises ResumeRefused where the plan is not its own.

    ``changed``: other nodes take part than before, so that it is planned again.
    """
    if changed:
        plan = plan_again(options, run)
    else:
        wanted = options.sweeps and sweep(options, run.manifest.ranks, run.manifest.backend)
        plan = resume.planned_anew(run, [wanted] if wanted else expected_phases(run))
    _say_noted(chief, display, [f"{RESUMED}{case_progress(replace(run, plan=plan)).text}"])
    was = run.manifest.settings
    mark = os.environ.get(STARTED_MPIRUN, "")
    settings = replace(was, pid=os.getpid(), resumed=was.resumed + 1, started_by=mark)
    manifest = replace(run.whole.manifest, settings=settings)
    chief.recorder.manifest(manifest)
    chief.recorder.plan(plan)
    if changed:
        put_logs_away(load(run.path))
    (run.path / VERDICTS).unlink(missing_ok=True)  # of the first part alone
    return plan, manifest


def probed(options: Options, display: ProgressDisplay) -> int:
    """Judge what needs no measurement, show the facts; the exit status."""
    judged = judge_and_save(options.out, options.profile, facts_only=True)
    display.probed(judged)
    return EXIT[status(judged)]


def _manifest(
    options: Options,
    where: LaunchContext,
    ranks: tuple[Rank, ...],
    backend: str,
    environment: dict[str, dict[str, str]],
) -> Manifest:
    return Manifest(
        id=options.out.resolve().name,
        started=time.time(),
        command=options.command,
        profile_name=options.profile.name,
        profile_text=options.profile.text,
        launcher=where.launcher or "none",
        backend=backend,
        ranks=ranks,
        settings=Settings(
            pid=os.getpid(),
            started_by=os.environ.get(STARTED_MPIRUN, ""),
            precision=options.rules.precision,
            budget=options.rules.budget,
            iterations=options.rules.iterations,
            repetitions=options.repetitions,
            hang=options.limits.hang,
            gpus=options.gpus,
            asked=options.accept.by_name,
            night=options.nightly.budget if options.nightly else None,
            worker_environment=dict(options.profile.environment) if backend == "nccl" else {},
        ),
        versions={"railgauge": __version__, "python": sys.version.split()[0]},
        environment=environment,
    )
