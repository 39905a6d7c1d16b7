"""The fork server: one process for each rank imports torch once and forks the worker of each phase.

A supervisor starts ``python -m bench.measure.worker FD``; FD is its end of a socket pair. While the cluster is still
being probed the fork server imports what workers need. Each datagram ``fork`` then carries three descriptors: the
worker's standard input, its channel to the supervisor, its log. The worker is a process of its own, in a session
of its own, with the environment in the first line of its standard input. The fork server sends, a
datagram each: ``warm``, ``born`` (from the worker itself, once signals to its group reach it), ``ended``.

It never uses torch: CUDA must not be initialised before a fork, and no library has threads of its own by then.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from .prctl import end_with_parent, flush, set_process_name

NAME, CHILD = "rg-forkserver", "rg-worker"
FORK = b"fork"


def serve(number: int, warm: Callable[[], None], phase: Callable[[TextIO, float], None]) -> None:
    """Fork a ``phase(channel, asked)`` for each request on descriptor ``number``, one at a time, until it is closed.

    ``asked`` is the reading of perf_counter, which processes of a machine share, when the supervisor asked.
    """
    end_with_parent(signal.SIGKILL)
    set_process_name(NAME)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides what an interrupt means
    with socket.socket(fileno=number) as supervisor:
        begun = time.perf_counter()
        warm()
        gc.freeze()  # what is there now is shared with every worker; a collection would touch, and copy, it
        tell(supervisor, kind="warm", seconds=time.perf_counter() - begun)
        while True:
            word, given, _, _ = socket.recv_fds(supervisor, len(FORK), 3)
            if word != FORK or len(given) != 3:
                return
            _one(supervisor, given, phase)


def tell(supervisor: socket.socket, **fields: Any) -> None:
    supervisor.send(json.dumps(fields).encode())


def _one(supervisor: socket.socket, given: list[int], phase: Callable[[TextIO, float], None]) -> None:
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(supervisor, server, given, phase)
    for each in given:
        os.close(each)
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
