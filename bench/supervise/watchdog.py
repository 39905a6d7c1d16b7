"""A process beside rank 0 that outlives it: the report is written and the launcher ends, whatever happens.

mpirun can hang for ever over a frozen node, and it kills rank 0 when another rank dies, before the measurements are
judged. So rank 0 starts this process at its beginning and reports to it how far it is, a word a line; when rank 0 is
gone without the last word, or takes too long over MPI's end, this process does the rest: judge and draw what the run
folder holds, end rank 0, then its launcher. It touches nothing of a job that closed properly.

Without MPI nothing can hold rank 0 up, and it ends by itself with its own status.

    written   verdicts and reports are there
    abandon   MPI's end has begun although some supervisor does not answer
    closed    MPI has ended
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.launch.python import as_module
from bench.model.late_dataclass import dataclass

LEAVE_SECONDS = 8.0  # that rank 0 may take over MPI's end once some supervisor does not answer
LAUNCHER_SECONDS = 8.0  # that a launcher may take to end once rank 0 is gone
TERM_SECONDS = 4.0  # between SIGTERM and SIGKILL to a launcher
REPORT_SECONDS = 120.0
LONGEST = LEAVE_SECONDS + LAUNCHER_SECONDS + TERM_SECONDS
"""Seconds in which a job has ended once its report is written, whatever is frozen or dead."""

# in the environment: our own command started the launcher and waits for it
STARTED_MPIRUN = "RAILGAUGE_STARTED_MPIRUN"
MPIRUNS = ("mpirun", "mpiexec", "prterun", "orterun", "mpiexec.hydra")


@dataclass(frozen=True)
class ProcessIdentity:
    """One process and no later one with its number: ``started`` in ticks since boot."""

    pid: int
    started: int


class Watchdog:
    """Rank 0's end: start the process, report to it, dismiss it."""

    def __init__(self, out: Path, draw: bool, mpi: bool) -> None:
        """``draw``: nobody else is there to write the report when rank 0 is gone. ``mpi``: it may hang in MPI's end."""
        launcher = parent_mpirun(os.getpid())
        self._written = False
        pids = os.getpid() if mpi else 0, launcher.pid if launcher else 0
        words = [str(out.resolve()), *map(str, pids), str(int(draw))]
        self._process = subprocess.Popen(
            [sys.executable, *as_module("bench.supervise.watchdog"), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def report(self, word: str) -> None:
        """One of the three words."""
        self._written |= word == "written"
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word.encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            return

    def dismiss(self) -> None:
        """The job has closed properly: nothing is left to do."""
        self.report("closed")
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._written:
            try:
                self._process.wait(2.0)
            except subprocess.TimeoutExpired:
                self._process.kill()


def main() -> None:
    folder, rank0, launcher, draw = sys.argv[1:]
    coordinator, above = identify(int(rank0)), identify(int(launcher))
    words = hear(sys.stdin.fileno(), LEAVE_SECONDS)
    if "closed" not in words and coordinator:  # it takes too long over MPI's end
        end(coordinator, 0.0)
    if "written" not in words and draw == "1" and (Path(folder) / "manifest.json").exists():
        _draw(folder)
    if above and "closed" not in words:
        wait(above, LAUNCHER_SECONDS)
        end(above, TERM_SECONDS)


def hear(reading: int, leave: float) -> set[str]:
    """The words received until the other end closed or sent "closed", or ``leave`` seconds after "abandon"."""
    words, rest, deadline = set[str](), b"", None
    while "closed" not in words:
        if deadline is None and "abandon" in words:
            deadline = time.monotonic() + leave
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([reading], [], [], left)[0]:
            break
        data = os.read(reading, 4096)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        words |= {line.decode(errors="replace") for line in lines}
    return words


def _draw(folder: str) -> None:
    words = [sys.executable, *as_module("bench"), "report", folder]
    try:
        subprocess.run(words, stdin=subprocess.DEVNULL, timeout=REPORT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return


def parent_mpirun(pid: int, root: Path = Path("/proc")) -> ProcessIdentity | None:
    """The nearest launcher of MPI jobs above ``pid``, over no more than a wrapper script or two."""
    for _ in range(4):
        own = _stat(pid, root)
        if own is None or own[1] <= 1:
            return None
        pid = own[1]
        found = _stat(pid, root)
        if found and found[0] in MPIRUNS:
            return ProcessIdentity(pid, found[2])
    return None


def identify(pid: int, root: Path = Path("/proc")) -> ProcessIdentity | None:
    found = _stat(pid, root) if pid else None
    return ProcessIdentity(pid, found[2]) if found else None


def _stat(pid: int, root: Path) -> tuple[str, int, int] | None:
    """(name, parent, started) of a process that runs; None: it is gone, or a zombie."""
    try:
        name, _, rest = (
            (root / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
        )
        fields = rest.split()
        return None if fields[0] == "Z" else (name.partition("(")[2], int(fields[1]), int(fields[19]))
    except (OSError, ValueError, IndexError):
        return None


def wait(process: ProcessIdentity, limit: float) -> bool:
    """Whether the process ended within ``limit`` seconds."""
    deadline = time.monotonic() + limit
    while identify(process.pid) == process:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def end(process: ProcessIdentity, limit: float) -> None:
    """Send SIGTERM, and SIGKILL after ``limit`` seconds; do nothing where the process is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL) if limit else (signal.SIGKILL,):
        if identify(process.pid) != process:
            return
        try:
            os.kill(process.pid, number)
        except (ProcessLookupError, PermissionError):
            return
        wait(process, limit or 1.0)


if __name__ == "__main__":
    main()
