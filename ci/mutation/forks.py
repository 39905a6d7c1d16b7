"""Work in forked processes: a few at a time, each in a session and a folder of its own, each with a limit."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import select
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BROKEN, TIMED_OUT = 127, 200
WAITING = (
    3  # times the limit, which is of CPU time, that a function may wait as well: others may use the machine
)
MEMORY = 4 << 30  # bytes beyond what the parent has: a broken loop may want all there are


@dataclass
class _Child:
    key: Hashable
    pid: int
    ends: float
    watch: int
    folder: Path


class Pool:
    """Functions of one process each; what they return is their exit status, below BROKEN.

    BROKEN: the function itself has raised, and ``log`` has the traceback; what it prints is there too if ``loud``.
    """

    def __init__(self, jobs: int, log: Path, loud: bool = False) -> None:
        self._jobs, self._log, self._loud = jobs, log, loud
        self._waiting: list[tuple[Hashable, Callable[[], int], float]] = []
        self._running: dict[int, _Child] = {}

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for child in list(self._running.values()):
            self._end(child)

    def start(self, key: Hashable, work: Callable[[], int], limit: float) -> None:
        """Queue a function; ``limit`` is in seconds of CPU time."""
        self._waiting.append((key, work, limit))

    def results(self) -> Iterator[tuple[Any, int]]:
        """Keys and exit statuses, as they end: TIMED_OUT, or minus the signal's number for one that was killed."""
        self._waiting.reverse()
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self._jobs:
                child = self._fork(*self._waiting.pop())
                self._running[child.watch] = child
            nearest = min(child.ends for child in self._running.values())
            ready, _, _ = select.select(list(self._running), [], [], max(0.0, nearest - time.monotonic()))
            over = [child for child in self._running.values() if child.ends <= time.monotonic()]
            for child in {
                id(each): each for each in [*map(self._running.__getitem__, ready), *over]
            }.values():
                status = self._end(child)
                late = child.watch not in ready or status == -signal.SIGXCPU
                yield child.key, TIMED_OUT if late else status

    def _fork(self, key: Hashable, work: Callable[[], int], limit: float) -> _Child:
        folder = Path(tempfile.mkdtemp(prefix="mutant-"))
        pid = os.fork()
        if pid == 0:
            _run(work, folder, self._log, self._loud, limit)
        return _Child(key, pid, time.monotonic() + WAITING * limit, os.pidfd_open(pid), folder)

    def _end(self, child: _Child) -> int:
        """Its status; it, and whatever it has started, is ended if it has not ended by itself."""
        del self._running[child.watch]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        status = os.waitpid(child.pid, 0)[1]
        os.close(child.watch)
        shutil.rmtree(child.folder, ignore_errors=True)
        return os.waitstatus_to_exitcode(status)


def _run(work: Callable[[], int], folder: Path, log: Path, loud: bool, limit: float) -> None:
    """In the child: never returns."""
    status = BROKEN
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nobody is left to end it at its limit
        gc.freeze()
        nothing, written = (
            os.open(os.devnull, os.O_RDWR),
            os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        )
        for number, target in enumerate((nothing, *[written if loud else nothing] * 2)):
            os.dup2(target, number)
        os.environ["TMPDIR"] = os.environ["PYTEST_DEBUG_TEMPROOT"] = str(folder)
        tempfile.tempdir = None
        own, most = (
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            resource.getrlimit(resource.RLIMIT_DATA)[1],
        )
        resource.setrlimit(resource.RLIMIT_DATA, (own * 1024 + MEMORY, most))
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        status = work()
    except BaseException:  # whatever a broken line raises ends this process, and is read as its status
        with log.open("a") as file:
            traceback.print_exc(file=file)
    finally:
        os._exit(status)
