"""Rank 0 outlives an mpirun that ends its job: who left first may show only after the launcher has killed rank 0.

mpirun that has lost a rank, a daemon or a node tells rank 0 to end and kills it about a second later, or is itself
gone, and then MPI ends the process. On a busy machine the connections of what died may be closed later than that. So
a copy of the process, with the same connections and the same run folder, goes on in a session that no launcher knows.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import warnings

from bench.model.errors import EXIT_INCONCLUSIVE

from .control.tcp import Control

PARENT_DEATH = signal.SIGUSR2
"""The signal by which the kernel tells rank 0 that the launcher's process above it is gone."""


def streams_of(pid: int) -> tuple[int, ...]:
    """What a launcher prints to, on its standard output and error; () where that cannot be opened."""
    opened: list[int] = []
    try:
        for number in (1, 2):
            flags = os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_CLOEXEC
            opened.append(os.open(f"/proc/{pid}/fd/{number}", flags))
    except OSError:
        for each in opened:
            os.close(each)
        return ()
    return tuple(opened)


def print_to(streams: tuple[int, ...]) -> None:
    """Print there from now on: what this process prints went through a launcher that is gone."""
    for number, stream in enumerate(streams, 1):
        os.dup2(stream, number)


def go_on_in_a_copy(control: Control) -> None:
    """Return in a copy of this process alone; the process itself waits for the copy's end, or is killed meanwhile.

    The copy must not speak to MPI, and is no parent of the workers and the fork server: they end with the process.
    """
    with warnings.catch_warnings():
        # of the threads of MPI, which the copy does not use
        warnings.simplefilter("ignore", DeprecationWarning)
        copy = os.fork()
    if copy:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: os._exit(EXIT_INCONCLUSIVE))
        os.waitpid(copy, 0)
        os._exit(EXIT_INCONCLUSIVE)
    os.setsid()
    control.mpi = None
    atexit.register(_leave)


def _leave() -> None:
    """End without the interpreter's shutdown, which would end MPI."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # the launcher that read it is gone
            continue
    os._exit(EXIT_INCONCLUSIVE)
