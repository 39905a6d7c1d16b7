"""One process that stands for a node: it starts the supervisors of the node's ranks and waits for them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import Any

from bench.launch import LaunchContext
from bench.launch.python import as_module
from bench.launch.table import FIRST, HERE, LOCAL, MEET, RANK, RUN, SIZE
from bench.measure import prctl
from bench.model.errors import EXIT_INCONCLUSIVE
from bench.supervise.control.token import FILE, VARIABLE, NoToken

STOP_SECONDS = 12.0  # from the first signal to the next: rank 0 ends the job and judges it
LEAVE_SECONDS = 3.0  # for the others once rank 0 has ended: it dismissed them, or they never met
LOOK = 0.1
PARENT = "RAILGAUGE_NODE_PID"  # of the node's process, for its supervisors


def fan_out(where: LaunchContext, arguments: list[str]) -> int:
    """Start ``where.ranks`` supervisors with the words we were started with; rank 0's exit status.

    Raises NoToken where the job has other nodes and no token was given.
    """
    assert where.meet is not None
    if not where.meet.local and not (os.environ.get(VARIABLE) or os.environ.get(FILE)):
        raise NoToken(
            f"{where.launcher} says that this node has ranks {where.rank} to {where.rank + where.ranks - 1} of "
            f"{where.size}: run this command on every node, with {VARIABLE} set to the same secret (openssl rand -hex "
            f"32) or --token-file; --ranks {where.ranks} measures this machine alone"
        )
    job = _Job(where, arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, job.asked)
    try:
        return job.wait()
    finally:
        job.send(signal.SIGKILL)  # a fault of ours leaves nobody behind


def end_with_parent() -> None:
    """Ask the kernel for a SIGTERM when the node's process is gone, whatever ended it."""
    prctl.end_with_parent()
    if os.environ.pop(PARENT, "") not in ("", str(os.getppid())):
        sys.exit(EXIT_INCONCLUSIVE)  # it went before we could ask


class _Job:
    """The supervisors of this node."""

    def __init__(self, where: LaunchContext, arguments: list[str]) -> None:
        self._where = where
        self._deadline = 0.0  # once somebody asked to stop
        self._asked = 0
        self._children = [
            # a session of its own: an interrupt reaches us alone, and we end the job in order
            subprocess.Popen(
                [sys.executable, *as_module("bench"), *arguments],
                env=environment(where, index, os.environ),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            for index in range(where.ranks)
        ]

    def asked(self, number: int, _: Any) -> None:
        """The first signal ends the job in order where rank 0 is here, the second at once."""
        self._asked += 1
        self._deadline = self._deadline or time.monotonic() + STOP_SECONDS
        if self._asked == 1 and self._where.rank == 0:
            # not SIGINT: a shell that started us in the background has told us to ignore it, and our children
            self._children[0].send_signal(signal.SIGTERM)
        else:
            self.send(signal.SIGTERM)

    def send(self, number: int) -> None:
        for child in self._children:
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    child.send_signal(number)

    def wait(self) -> int:
        over = False
        while any(child.poll() is None for child in self._children):
            if not over and self._where.rank == 0 and self._children[0].poll() is not None:
                over, self._deadline = True, time.monotonic() + LEAVE_SECONDS
            if self._deadline and time.monotonic() > self._deadline:
                late = time.monotonic() > self._deadline + LEAVE_SECONDS
                self.send(signal.SIGKILL if late else signal.SIGTERM)
            time.sleep(LOOK)
        codes = [child.returncode for child in self._children]
        if self._where.rank == 0:
            return codes[0] if codes[0] >= 0 else EXIT_INCONCLUSIVE
        # the first speaks for the node: it ends with rank 0's status where it heard of it
        return next((code if code > 0 else EXIT_INCONCLUSIVE for code in codes if code), 0)


def environment(where: LaunchContext, index: int, ours: Any) -> dict[str, str]:
    """The environment of the ``index``-th supervisor of this node: ``ours`` and its own variables."""
    assert where.meet is not None
    host = f"[{where.meet.host}]" if ":" in where.meet.host else where.meet.host
    return {
        **{name: text for name, text in ours.items() if name != FIRST},
        PARENT: str(os.getpid()),
        RANK: str(where.rank + index),
        LOCAL: str(index),
        SIZE: str(where.size),
        HERE: str(where.ranks),
        MEET: f"{host}:{where.meet.ports[0]}",
        RUN: where.meet.run,
    }
