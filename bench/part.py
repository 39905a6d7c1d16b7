"""The part of one process in a run: its supervisor, until the run is over.

Rank 0 goes on to lead; the others serve until they are dismissed, and import no more than that takes.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from .agent import Nursery
from .answers import answer
from .control import connect
from .launch import Place, agree, elastic, quiet_mpi
from .options import Options, Watcher
from .supervise import Supervisor


def begin(options: Options) -> Nursery | None:
    """Set what MPI reads when it starts, whoever started us; importing torch begins beside all that comes first."""
    for name, value in quiet_mpi(options.profile.rails.management).items():
        os.environ.setdefault(name, value)
    return None if options.probe_only else Nursery(os.environ)


def take_part(
    options: Options, where: Place, watcher: Watcher | None = None, nursery: Nursery | None = None
) -> int:
    """Be this rank's supervisor until the run is over; the exit status, which only rank 0's matters.

    watcher  told how it goes; only rank 0 has one
    nursery  what ``begin`` returned, where that was called before
    """
    nursery = nursery or begin(options)
    control = connect(where, options.profile.rails.management, options.profile.rails.devices)
    agree(where, control.size)
    supervisor = Supervisor(control, answer, dict(os.environ), nursery=nursery)
    stopping = _on_signals(supervisor, control.rank)
    if control.rank != 0:
        supervisor.serve()
        control.close()
        return _left(supervisor, where)
    from .acceptance import (
        lead,
    )  # planning, judging and blaming: half a second that the other ranks are spared

    assert watcher is not None
    return lead(options, where, control, supervisor, watcher, stopping)


def _left(supervisor: Supervisor, where: Place) -> int:
    """The exit status of a rank that was dismissed.

    MPI's launchers have rank 0's own status, and would take a second one for the cause. Without MPI every node has
    its launcher: the first rank of each speaks for it, the others leave it the time.
    """
    if where.mpi or where.local:
        return 0
    if supervisor.reason:
        print(f"railgauge: {supervisor.reason}", file=sys.stderr, flush=True)
        elastic.tell(supervisor.reason, os.environ)
    return supervisor.status


def _on_signals(supervisor: Supervisor, rank: int) -> Callable[[], bool]:
    asked: list[int] = []

    def ask(number: int, _: Any) -> None:
        asked.append(number)
        if rank != 0 or len(asked) > 1:
            supervisor.stop_now()
            os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, ask)
    return lambda: bool(asked)
