"""What a command of RailGauge costs, in a process of its own: wall seconds, CPU seconds, memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Cost:
    """``cpu``: user and system seconds, of its own processes too; ``mib``: of the largest of them at its most."""

    wall: float
    cpu: float
    mib: float


def environment() -> dict[str, str]:
    """Of a command that is started from this tree, with one thread a process."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    found = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    found.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled
    return found


def cost(words: Sequence[str], realtime: bool = False) -> Cost:
    """Of a command, to its end; what it says is thrown away."""
    before = ["chrt", "-r", "10"] if realtime else []
    begun = time.perf_counter()
    started = subprocess.Popen(
        [*before, *words], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)  # wait4 has taken it
    assert isinstance(used, resource.struct_rusage)
    return Cost(time.perf_counter() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def railgauge(*words: str) -> list[str]:
    return [sys.executable, "-m", "bench", *words]


def medians(words: Sequence[str], times: int, realtime: bool = False) -> Cost:
    """The median of each figure of so many runs, after one that is not counted: it compiles and fills caches."""
    cost(words, realtime)
    seen = [cost(words, realtime) for _ in range(times)]
    return Cost(*(median(getattr(each, name) for each in seen) for name in Cost.__dataclass_fields__))
