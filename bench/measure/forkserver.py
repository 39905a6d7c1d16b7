"""The fork server: one process for each rank imports torch once and forks the worker of each phase.

A supervisor starts ``python -m bench.measure.worker FD``; FD is its end of a socket pair. While the cluster is still
being probed the fork server imports what workers need. Each datagram ``fork`` then carries three descriptors: the
worker's standard input, its channel to the supervisor, its log. The worker is a process of its own, in a session
of its own, with the environment in the first line of its standard input. The fork server sends, a
datagram each: ``warm``, ``born`` (from the worker itself, once signals to its group reach it), ``ended``.

Where FD listens, the process belongs to the command that started all ranks of a job on this machine: it imports, and
each connection to FD makes a fork of it the fork server of the rank that connected. That one ends when its rank ends.

It never uses torch: CUDA must not be initialised before a fork, and no library has threads of its own by then.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TextIO

from .prctl import end_with_parent, flush, set_process_name

SHARED, NAME, CHILD = "rg-import", "rg-forkserver", "rg-worker"
FORK, JOIN = b"fork", b"join"
LOG_BYTES = 1 << 20  # of what was printed while torch was imported, that each rank is given


def serve(number: int, warm: Callable[[], None], phase: Callable[[TextIO, float], None]) -> None:
    """Fork a ``phase(channel, asked)`` for each request on descriptor ``number``, one at a time, until it is closed.

    ``asked`` is the reading of perf_counter, which processes of a machine share, when the supervisor asked.
    """
    end_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides what an interrupt means
    with socket.socket(fileno=number) as given:
        shared = bool(given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        set_process_name(SHARED if shared else NAME)
        if shared and os.getppid() != peer(given)[0]:
            return  # the command went before we could ask the kernel to end us with it
        begun = time.perf_counter()
        gc.disable()  # looking for cycles takes an eighth of the import
        warm()
        gc.freeze()  # what is there now is shared with every worker; a collection would touch, and copy, it
        gc.enable()
        seconds = time.perf_counter() - begun
        if shared:
            _share(given, phase, seconds)
        _obey(given, phase, seconds)


def _share(listener: socket.socket, phase: Callable[[TextIO, float], None], seconds: float) -> NoReturn:
    """Fork a fork server for each rank that connects, until the command that started us ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how one ended
    while True:
        rank, _ = listener.accept()
        with rank:
            if os.fork() == 0:
                _become_server(listener, rank, phase, seconds)


def _become_server(
    listener: socket.socket, rank: socket.socket, phase: Callable[[TextIO, float], None], seconds: float
) -> NoReturn:
    """Turn into the fork server of the rank at the other end of a connection."""
    status = 1
    try:
        listener.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        set_process_name(NAME)
        pid, user = peer(rank)
        supervisor = os.pidfd_open(pid)
        word, given, _, _ = socket.recv_fds(rank, len(JOIN), 1)
        if user == os.geteuid() and word == JOIN and len(given) == 1:
            os.write(given[0], os.pread(1, LOG_BYTES, 0))
            for stream in (1, 2):
                os.dup2(given[0], stream)
            os.close(given[0])
            tempfile.tempdir = None  # each rank's environment names its own
            _obey(rank, phase, seconds, supervisor)
        status = 0
    except BaseException:  # a forked child must not return into its parent's loop: it reports and ends
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _obey(
    supervisor: socket.socket,
    phase: Callable[[TextIO, float], None],
    seconds: float,
    process: int | None = None,
) -> None:
    """Fork what the supervisor asks for. ``process``: its pidfd, where it is not our parent."""
    tell(supervisor, kind="warm", seconds=seconds, pid=os.getpid())
    while _readable(supervisor.fileno(), process):
        word, given, _, _ = socket.recv_fds(supervisor, len(FORK), 3)
        if word != FORK or len(given) != 3:
            return
        _one(supervisor, given, phase, process)


def peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user at the other end of a Unix socket; of a socket that listens, those that made it listen."""
    pid, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, user


def _readable(descriptor: int, process: int | None) -> bool:
    """Wait until a descriptor can be read; False where the supervisor's ``process`` has ended."""
    if process is None:  # our parent: the kernel ends us with it
        return True
    looking = select.poll()
    for each in (descriptor, process):
        looking.register(each, select.POLLIN)
    return process not in dict(looking.poll())


def tell(supervisor: socket.socket, **fields: Any) -> None:
    supervisor.send(json.dumps(fields).encode())


def _one(
    supervisor: socket.socket,
    given: list[int],
    phase: Callable[[TextIO, float], None],
    process: int | None,
) -> None:
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(supervisor, server, given, phase)
    for each in given:
        os.close(each)
    if process is not None:
        worker = os.pidfd_open(pid)
        if not _readable(worker, process):
            os._exit(0)  # the kernel ends the worker with us
        os.close(worker)
    _, status = os.waitpid(pid, 0)
    tell(supervisor, kind="ended", pid=pid, status=os.waitstatus_to_exitcode(status))


def _become(
    supervisor: socket.socket, server: int, given: list[int], phase: Callable[[TextIO, float], None]
) -> None:
    """Turn into the worker process; never returns."""
    status = 1
    try:
        os.setsid()
        end_with_parent(signal.SIGKILL)
        if os.getppid() != server:
            os._exit(3)  # it went before we could ask
        set_process_name(CHILD)
        order, channel, log = given
        for old, new in ((order, 0), (log, 1), (log, 2)):
            os.dup2(old, new)
        os.close(order)
        os.close(log)
        tell(supervisor, kind="born", pid=os.getpid())
        supervisor.close()
        first = json.loads(sys.stdin.readline())
        replace_environment(first["environment"])
        phase(os.fdopen(channel, "w", encoding="utf-8"), first["asked"])
        status = 0
    except BaseException:  # a forked child must not return into the fork server: it reports and ends
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        flush()
        os._exit(status)  # what the fork server does at its own end is not the worker's


def replace_environment(environment: Mapping[str, str]) -> None:
    """Replace the environment, for Python and for C libraries that call getenv."""
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)
