"""The report of a run on this machine, from a fork of rank 0 that gets ready to draw while the run waits for torch.

It is stopped before the first case is measured, so that it takes nothing from what is measured, and goes on once the
run is judged. Where it is gone by then, the report is drawn without it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from bench.judge.evidence import Evidence
from bench.measure import prctl
from bench.model.late_dataclass import dataclass
from bench.model.profile import parse
from bench.model.typed_json import decode, encode
from bench.model.verdict import Verdict
from bench.store import RunError, load

from .page import write_report

if TYPE_CHECKING:
    from reports.renderer import Renderer

NAME = "rg-report"
NICE = 5  # less than torch's own import where both want the same processor, and not so little that a drawing waits


@dataclass(frozen=True)
class JudgedFolder:
    """A run folder, the profile that it was judged by, and the verdicts, which may be nowhere on the disk.

    ``seen``: see ``write_report``.
    """

    folder: str
    profile: str
    verdicts: tuple[Verdict, ...]
    seen: str


class ReportAhead:
    """The process that will draw; ``with`` ends it."""

    def __init__(self) -> None:
        self._pid, parent = 0, os.getpid()
        self._connection, its = socket.socketpair()
        with its, contextlib.suppress(OSError), warnings.catch_warnings():
            # of numpy's threads, which the fork does not use
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
            if self._pid == 0:
                _draw_when_asked(parent, its)
            # a group of its own, by whoever of the two is first: a launcher that ends must not wake a stopped job
            os.setpgid(self._pid, self._pid)

    def __enter__(self) -> ReportAhead:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self._signal(signal.SIGKILL)
        self._connection.close()
        # rank 0 may have gone on as a copy of itself, whose child it is not (``outlive_mpirun``)
        with contextlib.suppress(ChildProcessError):
            if self._pid:
                os.waitpid(self._pid, 0)

    def stop(self) -> None:
        """Take no more processor time until the report is asked for."""
        self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and to the renderer of pictures that it has started."""
        with contextlib.suppress(OSError):
            if self._pid:
                os.killpg(self._pid, number)

    def write(self, judged: Evidence, seen: str = "") -> None:
        """Write the report files of a judged run. Raises RunError when a file cannot be written."""
        error = self._answer(judged, seen)
        if error is None:
            write_report(judged, seen)
        elif error:
            raise RunError(error)

    def _answer(self, judged: Evidence, seen: str) -> str | None:
        """Why the process could not write a file, "" where it wrote all; None where it does not answer."""
        self._go_on()
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            path = str(judged.run.path.resolve())
            self._connection.sendall(encode(JudgedFolder(path, judged.profile.text, judged.verdicts, seen)))
            self._connection.shutdown(socket.SHUT_WR)
            return str(json.loads(_received(self._connection))["error"])
        return None

    def _go_on(self) -> None:
        """Wake it, with the share of the processors that this process has, where we may give it, as root may."""
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._pid, os.getpriority(os.PRIO_PROCESS, 0))
            os.sched_setscheduler(self._pid, os.sched_getscheduler(0), os.sched_getparam(0))
        self._signal(signal.SIGCONT)


def _received(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as file:
        return file.read()


def _draw_when_asked(parent: int, connection: socket.socket) -> NoReturn:
    """Get ready, then draw the run that the parent hands over."""
    try:
        with contextlib.suppress(PermissionError):  # the parent was first
            os.setpgid(0, 0)
        prctl.end_with_parent(signal.SIGKILL)
        if os.getppid() == parent:
            prctl.set_process_name(NAME)
            _be_silent()
            _step_back()
            gc.disable()  # a process of seconds; looking for cycles takes a tenth of what it imports
            connection.sendall(_drawn(connection))
    finally:
        os._exit(0)  # what rank 0 does at its own end is not the fork's


def _drawn(connection: socket.socket) -> bytes:
    """Draw the run that the parent hands over. Returns the answer: JSON with the error, "" where there is none."""
    from reports import get_ready

    with _renderer_beside(get_ready) as renderer:
        asked, error = decode(JudgedFolder, _received(connection)), ""
        try:
            evidence = Evidence(load(Path(asked.folder)), parse(asked.profile, "the profile of the run"))
            write_report(evidence.judged(asked.verdicts), asked.seen, renderer)
        except RunError as caught:
            error = str(caught)
    return json.dumps({"error": error}).encode()


def _renderer_beside(get_ready: Callable[[], None]) -> Renderer:
    """Get ready, then start the renderer of pictures: the page does without it. Where the report is asked for before
    that, it is started beside.
    """
    from reports.renderer import Renderer

    started: list[Renderer] = []
    signal.signal(
        signal.SIGCONT, lambda *_: started.append(Renderer())
    )  # by which ``write`` wakes this process
    get_ready()
    signal.signal(signal.SIGCONT, signal.SIG_DFL)
    return started[0] if started else Renderer()


def _be_silent() -> None:
    """Print nothing: who reads what rank 0 prints need not wait for this process to end."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)


def _step_back() -> None:
    """Leave the processors to torch, which is imported meanwhile."""
    policy = os.sched_getscheduler(0)
    if policy in (os.SCHED_RR, os.SCHED_FIFO):  # all of the run may be under real-time scheduling
        os.sched_setparam(0, os.sched_param(os.sched_get_priority_min(policy)))
    os.nice(NICE)
