"""Starting the ranks of a job on this machine, without MPI, within a limit; and reading what they left."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measure.forkserver import CHILD
from bench.model.verdict import Verdict
from bench.store import Run, RunError, load
from bench.store.rows import Row, rows

HERE = Path(__file__).parent
OURS = ("OMPI_", "PMI", "PRTE_", "SLURM_", "TORCHELASTIC", "RAILGAUGE_")  # of a launcher around us
SHELL = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Asked:
    """A job. ``each``: what a rank's environment holds beside the machine's own."""

    name: str
    ranks: int
    profile: str
    sweeps: tuple[dict[str, Any], ...] = ()
    rules: dict[str, Any] = field(default_factory=dict)
    each: Callable[[int], Mapping[str, str]] = lambda rank: {}
    limit: float = 90.0  # seconds without progress
    disturb: Callable[[Sequence[int]], bool] = lambda pids: (
        True
    )  # given the ranks' pids again and again until it is true


@dataclass(frozen=True)
class Done:
    """What a job left; ``trouble`` says why there is no run to read."""

    folder: Path
    run: Run | None
    trouble: str = ""

    @property
    def rows(self) -> tuple[Row, ...]:
        return rows(self.run) if self.run else ()

    def verdicts(self, *names: str) -> list[Verdict]:
        return [each for each in (self.run.verdicts if self.run else ()) if each.check in names]

    def logs(self, phase: str) -> list[Path]:
        return sorted((self.folder / "run" / "logs").glob(f"{phase}.*.log"))


def run(asked: Asked, out: Path, seconds: float) -> Done:
    """Start every rank, wait at most ``seconds``, end what is left, read the run folder."""
    folder = out / asked.name
    folder.mkdir(parents=True, exist_ok=True)
    sweeps = [{"placements": (), **sweep} for sweep in asked.sweeps]
    told = {"profile": asked.profile, "sweeps": sweeps, "rules": asked.rules, "limit": asked.limit}
    (folder / "asked.json").write_text(json.dumps(told), encoding="utf-8")
    token, number = secrets.token_hex(32), secrets.token_hex(4)
    meet = f"127.0.0.1:{_free_port()}"
    started = [_rank(asked, rank, folder, token, number, meet) for rank in range(asked.ranks)]
    late = _wait(started, seconds, asked.disturb)
    try:
        found = load(folder / "run")
    except RunError as error:
        return Done(folder, None, f"{error}; {_last_words(folder)}")
    if late:
        return Done(folder, found, f"not done within {seconds:.0f} s and ended")
    return Done(folder, found)


def _free_port() -> int:
    """A port that nobody has now; who takes it before our first rank does makes the job say so."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _rank(
    asked: Asked, rank: int, folder: Path, token: str, number: str, meet: str
) -> subprocess.Popen[bytes]:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(OURS) and name not in SHELL
    }
    place = {
        "RAILGAUGE_RANK": str(rank),
        "RAILGAUGE_SIZE": str(asked.ranks),
        "RAILGAUGE_RANKS_HERE": str(asked.ranks),
        "RAILGAUGE_MEET": meet,
        "RAILGAUGE_RUN": number,
        "RAILGAUGE_TOKEN": token,
    }
    with (folder / f"rank.{rank}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, str(HERE / "rank.py"), str(folder)],
            env={**clean, **place, **asked.each(rank)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(
    command: Sequence[str], log: Path, seconds: float, environment: Mapping[str, str] | None = None
) -> tuple[int | None, str]:
    """Exit status and output of a command with a process group of its own, which is killed as one; None: too late."""
    with log.open("w+", encoding="utf-8", errors="replace") as file:
        started = subprocess.Popen(
            command, cwd=HERE.parent.parent, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            start_new_session=True, env=environment,
        )  # fmt: skip
        try:
            status: int | None = started.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()
        file.seek(0)
        return status, file.read()


def workers_of(pid: int) -> list[int]:
    """The workers below a rank's process, by the name that the fork server gives them."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            head, _, rest = path.read_text().rpartition(")")
            child = int(path.parent.name)
            children.setdefault(int(rest.split()[1]), []).append(child)
            names[child] = head.partition("(")[2]
    found, below = [], [pid]
    while below:
        below = [child for each in below for child in children.get(each, ())]
        found += [child for child in below if names[child].startswith(CHILD)]
    return found


def _wait(
    started: Sequence[subprocess.Popen[bytes]], seconds: float, disturb: Callable[[Sequence[int]], bool]
) -> bool:
    """Whether some had to be ended: asked first, so that a supervisor takes its worker with it."""
    deadline, disturbed = time.monotonic() + seconds, False
    while any(each.poll() is None for each in started) and time.monotonic() < deadline:
        time.sleep(0.1)
        if not disturbed:
            disturbed = disturb([each.pid for each in started])
    left = [each for each in started if each.poll() is None]
    for number, patience in ((signal.SIGINT, 10.0), (signal.SIGKILL, 5.0)):
        for each in left:
            if each.poll() is None:
                os.killpg(each.pid, number)
        until = time.monotonic() + patience
        while any(each.poll() is None for each in left) and time.monotonic() < until:
            time.sleep(0.1)
    return bool(left)


def _last_words(folder: Path) -> str:
    for path in sorted(folder.glob("rank.*.log")):
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if lines:
            return f"{path.name}: {lines[-1][:300]}"
    return "no rank said anything"
