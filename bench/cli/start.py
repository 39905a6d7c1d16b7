"""Start a command that measures: as one rank of a job, or by starting that job."""

from __future__ import annotations

import os
import re
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from bench import launch
from bench.launch import LaunchContext
from bench.measure.loop import TimingRules
from bench.model.errors import EXIT_USAGE
from bench.model.profile import Profile, load
from bench.plan import AcceptOptions, sweep_cases
from bench.run.options import CannotRun, Options
from bench.store import free
from bench.supervise.control.token import FILE as TOKEN_FILE
from bench.supervise.limits import Limits

from .invocation import Invocation
from .json_output import left_to_others
from .node_supervisors import end_with_parent, fan_out


def start(typed: Invocation) -> int:
    """Measure: as one rank of the job that a launcher started, or by starting that job on this machine."""
    shared, probe = typed.shared, typed.command in ("probe", "watch")  # which start no workers
    profile = load(shared.profile_name)
    check_order(profile, shared.gpus)
    use_token(shared.token_file)
    where = launch.launch_context(os.environ)
    if where.launcher == "runpod" and where.ranks and (shared.ranks or probe):
        where = (
            LaunchContext()
        )  # the platform's variables are always there; a person asked for this machine alone
    if where.ranks:
        left_to_others()
        return fan_out(where, sys.argv[1:])
    if where.launcher == "shell":
        end_with_parent()
    options = options_of(typed, profile, shared.out or new_folder(typed.command if probe else profile.name))
    if where.rank:
        from bench.run.join import start_ahead, take_part  # who starts a job here takes no part in it

        return take_part(options, where, started=start_ahead(options, typed.fork_server))
    _check_place(where, typed, profile)
    if not where.launcher and not probe:
        ranks = shared.ranks or _ranks_here()
        for sweep in options.sweeps:  # what is wrong with the options is reported before anything starts
            sweep_cases("run", sweep, (tuple(range(ranks)),))
        free(options.out)
        if ranks > 1:
            left_to_others()
            from .local_job import under_mpirun  # a rank that somebody else started needs none of it

            return under_mpirun(ranks, options, shared.quiet, shared.verbose)
    return _lead(options, where, typed)


def _lead(options: Options, where: LaunchContext, typed: Invocation) -> int:
    """Be rank 0 of the job, and show how it goes."""
    from bench.run.join import start_ahead, take_part

    shared = typed.shared
    started = start_ahead(options, typed.fork_server)
    with _reports(options, typed, where) as options:
        from .terminal import Terminal

        terminal = Terminal(shared.quiet, shared.verbose, table=typed.command == "run", as_json=typed.as_json)
        return finished(take_part(options, where, terminal, started), options.out)


@contextmanager
def _reports(options: Options, typed: Invocation, where: LaunchContext) -> Iterator[Options]:
    """The options with what draws the report: of a run on this machine a process that is started already."""
    from bench.supervise.watchdog import STARTED_MPIRUN

    if not typed.measures or (where.launcher and STARTED_MPIRUN not in os.environ):
        from .page import write_report

        yield replace(options, report=write_report)
        return
    import bench.run.lead  # noqa: F401 - soon needed, and by the fork that draws as well

    from .report_ahead import ReportAhead

    with ReportAhead() as ahead:
        yield replace(options, report=ahead.write, before_measuring=ahead.stop)


def finished(code: int, folder: Path) -> int:
    """The exit status of rank 0, which shows where the report is.

    mpirun complains at length about any status but 0: where we started it ourselves, we read the run folder instead.
    """
    from bench.supervise.watchdog import STARTED_MPIRUN

    from .page import where_report

    if STARTED_MPIRUN in os.environ:
        return 0 if (folder / "verdicts.json").exists() else code
    where_report(folder)
    return code


class NotHere(CannotRun):
    """This machine lacks what the command needs: every device of the profile, or the interface that was named."""

    exit_status = EXIT_USAGE


def accelerators(root: Path) -> bool:
    """Whether the machine has a GPU or an RDMA device; no driver is asked."""
    places = ("dev/nvidia[0-9]*", "dev/dxg", "proc/driver/nvidia/gpus/*", "sys/class/infiniband/*")
    return any(True for place in places for _ in root.glob(place))


def _check_place(where: LaunchContext, typed: Invocation, profile: Profile) -> None:
    """Tell the ranks that wait for this one, then raise NotHere; probe and watch only print what is missing."""
    from bench.run.refused_start import refuse

    shared, error = typed.shared, ""
    if profile.backend == "nccl" and not (shared.go_on or accelerators(Path("/"))):
        error = (
            "no GPU and no RDMA device here: is this a login node? Start it on the GPU nodes, e.g. railgauge launch "
            f"--hosts FILE -- {typed.command} …"
        )
        if typed.command in ("probe", "watch"):
            click.echo(f"railgauge: {error}", err=True)
            error = ""
        else:
            error += "; with --go-on it measures here all the same"
    here = [name for _, name in socket.if_nameindex()]
    if shared.meet_interface and shared.meet_interface not in here:
        error = f"--meet-interface {shared.meet_interface}: no such interface here; known: {', '.join(here)}"
    if error:
        refuse(where, NotHere(error))
        raise NotHere(error)


def check_order(profile: Profile, gpus: int | None) -> None:
    """Raise UsageError for a number of GPUs that the profile is not for."""
    if gpus and profile.gpu_counts and gpus not in profile.gpu_counts:
        known = ", ".join(map(str, profile.gpu_counts))
        raise click.UsageError(
            f"--gpus {gpus} does not fit profile {profile.name}, whose nodes have {known} GPUs"
        )


def use_token(file: Path | None) -> None:
    """Make --token-file the job's, for this process and those that it starts."""
    if file:
        os.environ[TOKEN_FILE] = str(file)


def _ranks_here() -> int:
    from bench.probe.gpus import gpus
    from bench.probe.gpus import load as nvml

    found = len(gpus(nvml()).gpus)
    return found or max(2, min(4, os.cpu_count() or 1))


def new_folder(name: str) -> Path:
    # a profile's name is data: it must not lead out of runs/
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:64]
    # two runs that begin in the same second have folders of their own
    return Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{plain}-{secrets.token_hex(2)}"


def options_of(typed: Invocation, profile: Profile, out: Path) -> Options:
    return Options(
        profile=profile,
        out=out,
        command=("railgauge", *sys.argv[1:]),
        limits=Limits(hang=typed.shared.hang),
        rules=typed.rules or TimingRules(precision=profile.sweep.precision, budget=profile.sweep.budget),
        repetitions=typed.repetitions,
        sweeps=typed.sweeps,
        gpus=typed.shared.gpus,
        go_on=typed.shared.go_on,
        strict=typed.shared.strict,
        meet_interface=typed.shared.meet_interface,
        ports=typed.shared.ports,
        share=typed.shared.share,
        title=typed.shared.title,
        site=typed.shared.site,
        probe_only=typed.command == "probe",
        dry_run=typed.dry_run,
        accept=typed.accept or AcceptOptions(),
        nightly=typed.nightly,
        watch=typed.watch,
    )
