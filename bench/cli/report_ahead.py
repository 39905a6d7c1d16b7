"""The report of a run on this machine, from a process that gets ready to draw while the run waits for torch.

It is stopped before the first case is measured, so that it takes nothing from what is measured, and goes on once the
run is judged. Where it is gone by then, the report is drawn without it.

    python -m bench.cli.report_ahead PARENT          a JudgedFolder in JSON in, a line of JSON out
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from bench.launch.python import as_module
from bench.model.profile import parse
from bench.model.typed_json import decode, encode
from bench.model.verdict import Verdict
from bench.store import RunError, load

from .page import write_report

if TYPE_CHECKING:
    from bench.judge.evidence import Evidence

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
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, *as_module("bench.cli.report_ahead"), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # a launcher that ends must not wake it as a stopped job
            )

    def __enter__(self) -> ReportAhead:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(OSError):
                self._process.communicate()

    def stop(self) -> None:
        """Take no more processor time until the report is asked for."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def write(self, judged: Evidence, seen: str = "") -> None:
        """Write the report files of a judged run. Raises RunError when a file cannot be written."""
        error = self._answer(judged, seen)
        if error is None:
            write_report(judged, seen)
        elif error:
            raise RunError(error)

    def _answer(self, judged: Evidence, seen: str) -> str | None:
        """Why the process could not write a file, "" where it wrote all; None where it does not answer."""
        if self._process is None:
            return None
        self._go_on(self._process)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            path = str(judged.run.path.resolve())
            asked = JudgedFolder(path, judged.profile.text, judged.verdicts, seen)
            answer, _ = self._process.communicate(encode(asked))
            return str(json.loads(answer)["error"])
        return None

    def _go_on(self, process: subprocess.Popen[bytes]) -> None:
        """Wake it, with the share of the processors that this process has, where we may give it, as root may."""
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0))
            os.sched_setscheduler(process.pid, os.sched_getscheduler(0), os.sched_getparam(0))
        process.send_signal(signal.SIGCONT)


def main() -> None:
    """Get ready, then draw the run that the parent hands over."""
    from bench.measure import prctl

    prctl.end_with_parent(signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        return
    _step_back()
    from bench.judge.evidence import Evidence
    from reports import get_ready

    get_ready()
    asked = decode(JudgedFolder, sys.stdin.buffer.read())
    try:
        evidence = Evidence(load(Path(asked.folder)), parse(asked.profile, "the profile of the run"))
        write_report(evidence.judged(asked.verdicts), asked.seen)
        error = ""
    except RunError as caught:
        error = str(caught)
    print(json.dumps({"error": error}), flush=True)
    os._exit(0)  # taking pandas and altair down again would take a quarter of a second


def _step_back() -> None:
    """Leave the processors to torch, which is imported meanwhile."""
    policy = os.sched_getscheduler(0)
    if policy in (os.SCHED_RR, os.SCHED_FIFO):  # all of the run may be under real-time scheduling
        os.sched_setparam(0, os.sched_param(os.sched_get_priority_min(policy)))
    os.nice(NICE)


if __name__ == "__main__":
    main()
