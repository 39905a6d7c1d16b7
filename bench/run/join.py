"""Joins a run as one rank's supervisor and serves until rank 0 dismisses it.

Rank 0 goes on to lead the run; the other ranks import no more than serving takes.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.launch import LaunchContext, agree, quiet_mpi, torchrun_error_file
from bench.measure import prctl
from bench.measure.work_order import first_line
from bench.model.errors import EXIT_INCONCLUSIVE
from bench.model.late_dataclass import dataclass, replace
from bench.supervise.answers import answer
from bench.supervise.control import token
from bench.supervise.control.connect import connect
from bench.supervise.control.tcp import Control
from bench.supervise.departures import FAILED, Departures, ParentLauncher, parent_launcher, send_farewell
from bench.supervise.outlive_mpirun import PARENT_DEATH, go_on_in_a_copy, print_to, streams_of
from bench.supervise.supervisor import Supervisor
from bench.supervise.worker_process import ForkServer

from .options import Options, ProgressDisplay

LAST_SECONDS = 1  # for a supervisor that is told to end to leave in order


@dataclass(frozen=True)
class Started:
    """What was started first: the fork server, which imports torch, and the job's token from the environment."""

    fork_server: ForkServer | None
    token: token.TokenSource


def start_ahead(options: Options, begun: ForkServer | None = None) -> Started:
    """Set what MPI reads when it starts, whoever started us; importing torch begins beside all that comes first.

    ``begun``: this rank's fork server, where it was started before. The environment is final from here on: a fork
    server that was started in another one would have to import again.
    """
    given, rails = token.take(os.environ), options.profile.rails
    for name, value in quiet_mpi(rails.management, rails.unreached).items():
        os.environ.setdefault(name, value)
    measures = options.measures and not options.dry_run
    return Started(begun or ForkServer(os.environ) if measures else None, given)


def take_part(
    options: Options,
    where: LaunchContext,
    display: ProgressDisplay | None = None,
    started: Started | None = None,
) -> int:
    """Be this rank's supervisor until the run is over; the exit status, of which only rank 0's matters.

    display  shows the progress; only rank 0 has one
    started  what ``start_ahead`` returned, where that was called before
    """
    started = started or start_ahead(options)
    rails = options.profile.rails
    control = connect(
        where,
        options.meet_interface or rails.management,
        (*rails.devices, *rails.unreached),
        source=started.token,
        ports=options.ports,
        spare=not options.strict and not options.resumed,
    )
    agree(where, control.size)
    launcher = parent_launcher(where.launcher == "shell")
    supervisor = Supervisor(
        control, answer, dict(os.environ), fork_server=started.fork_server, parent=launcher
    )
    stop_signal = _on_signals(supervisor, control.rank)
    if control.rank != 0:
        return _follow(supervisor, where)
    copied = _outlive(control, launcher) if where.mpi else None
    # planning, judging and blaming: half a second that the other ranks are spared
    from .lead import lead

    assert display is not None

    gone = f"{launcher.text} is gone"
    departures = Departures(stop_signal, lambda: gone if launcher.ended() else "")
    if copied is not None:  # whoever interrupts rank 0 alone is not kept waiting for the others to leave
        departures.outlives = lambda: bool(copied) or not stop_signal()
    if not options.dry_run:
        return lead(options, where, control, supervisor, display, departures)
    with TemporaryDirectory(prefix="railgauge-") as folder:  # no run, so no run folder
        return lead(
            replace(options, out=Path(folder, "run")), where, control, supervisor, display, departures
        )


def _follow(supervisor: Supervisor, where: LaunchContext) -> int:
    """Serve until dismissed. A rank that leaves earlier sends the reason and does not wait for MPI's end, which waits
    for all ranks.
    """
    try:
        early = supervisor.serve()
    except Exception as error:  # whatever it is, rank 0 must hear of it before this rank falls silent
        traceback.print_exc()
        early = f"{type(error).__name__}: {first_line(error)}"
        send_farewell(supervisor.control, FAILED, early)
        supervisor.stop_now()
    if early and where.mpi:
        if not supervisor.signalled:  # of a job that is interrupted everyone would say so
            print(f"railgauge: rank {supervisor.control.rank}: {early}", file=sys.stderr, flush=True)
        os._exit(EXIT_INCONCLUSIVE)
    supervisor.reason = supervisor.reason or early
    supervisor.control.close()
    return _dismissed(supervisor, where)


def _dismissed(supervisor: Supervisor, where: LaunchContext) -> int:
    """The exit status of a rank that was dismissed.

    MPI's launchers have rank 0's own status, and would take a second one for the cause. Without MPI every node has
    its launcher: the first rank of each speaks for it, the others leave it the time.
    """
    if where.mpi or where.local:
        return 0
    if supervisor.reason:
        print(f"railgauge: {supervisor.reason}", file=sys.stderr, flush=True)
        torchrun_error_file.write_error_file(supervisor.reason, os.environ)
    return supervisor.status


def _on_signals(supervisor: Supervisor, rank: int) -> Callable[[], str]:
    """A function that returns which signal told rank 0 to end, "" while none did. Other ranks end within a second."""
    asked: list[str] = []

    def ask(number: int, _: Any) -> None:
        asked.append(signal.Signals(number).name)
        if len(asked) > 1:
            supervisor.stop_now()
            os._exit(128 + number)
        if rank != 0:
            supervisor.signalled = f"told to end by {asked[0]}"
            signal.alarm(LAST_SECONDS)

    signal.signal(signal.SIGALRM, ask)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, ask)
    return lambda: f"told to end by {asked[0]}" if asked else ""


def _outlive(control: Control, launcher: ParentLauncher) -> list[bool]:
    """Have rank 0 go on in a copy of itself when the launcher tells it to end, and when the launcher is gone.

    The list is empty until then.
    """
    told, streams = signal.getsignal(signal.SIGTERM), streams_of(launcher.pid)
    copied: list[bool] = []

    def copy(number: int, frame: Any) -> None:
        orphaned = number == PARENT_DEATH
        if orphaned and not launcher.ended():
            return  # the kernel says so as well when a thread of the launcher ends
        if not copied:
            copied.append(True)
            go_on_in_a_copy(control)
            if orphaned:
                print_to(streams)
        if not orphaned and callable(told):
            told(number, frame)

    signal.signal(signal.SIGTERM, copy)
    signal.signal(PARENT_DEATH, copy)
    prctl.end_with_parent(PARENT_DEATH)
    return copied
