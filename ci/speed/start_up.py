"""From the command to the first case, beside ``import torch``; from the last case to the verdict and to the page.

A run of one small case on 2 ranks of this machine, whose calls are counted: the work is the same each time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rows import Figure, at_most

from bench.model.stats import median, median_interval

ROOT = Path(__file__).resolve().parents[2]
TURNS = 7
FIRST_GOAL = 1.5  # of what importing torch takes
PAGE_GOAL = 0.5  # seconds from the last case to report.html, judging included
WORDS = ("run", "all_reduce", "--ranks", "2", "-b", "1K", "-n", "20", "-w", "2")


@dataclass(frozen=True)
class StartUp:
    """Seconds: ``first`` from the command to the first case, the others from the end of the last case."""

    first: float
    verdict: float
    page: float


def figures(realtime: bool) -> list[Figure]:
    """Turn by turn, who is first alternating; a turn before them compiles modules and fills the cache of files."""
    before = ["chrt", "-r", "10"] if realtime else []
    imports, runs = list[float](), list[StartUp]()
    for turn in range(TURNS + 1):
        if turn % 2:
            runs.append(_run(before))
            imports.append(_import(before))
        else:
            imports.append(_import(before))
            runs.append(_run(before))
    del imports[0], runs[0]
    ratios = [each.first / seconds for each, seconds in zip(runs, imports, strict=True)]
    pages = [each.page for each in runs]
    return [
        _judged("from the command to the first case ÷ import torch", ratios, FIRST_GOAL),
        _judged("from the last case to report.html", pages, PAGE_GOAL, "s"),
        Figure("start-up", "from the last case to the verdict", median([each.verdict for each in runs]), "s"),
        Figure("start-up", "import torch", median(imports), "s"),
    ]


def _judged(what: str, values: list[float], goal: float, unit: str = "") -> Figure:
    low, high = median_interval(values)
    return at_most("start-up", what, median(values), goal, low=low, high=high, unit=unit)


def _import(before: list[str]) -> float:
    """Seconds until a new process has torch imported; what taking it down takes does not count."""
    begun = time.perf_counter()
    words = [sys.executable, "-c", "import torch, os; os._exit(0)"]
    subprocess.run([*before, *words], env=_environment(), check=True)
    return time.perf_counter() - begun


def _run(before: list[str]) -> StartUp:
    from bench.store import load
    from bench.store.rows import rows

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [*before, sys.executable, "-m", "bench", *WORDS, "--out", str(out)]
        begun = time.time()  # the clock of rows and files
        subprocess.run(command, env=_environment(), capture_output=True, check=True)
        row = rows(load(out))[0].measurement
        verdicts, page = (
            (out / name).stat().st_mtime - row.ended for name in ("verdicts.json", "report.html")
        )
        return StartUp(row.started - begun, verdicts, page)


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
