"""The gate of one node against its probe: both read the facts, and a gate must end within a prolog."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rows import Figure, at_most

from bench.model.stats import median, median_interval

ROOT = Path(__file__).resolve().parents[2]
TURNS = 7
GOAL = 1.0  # of the probe's time: the gate writes no run folder and starts no control


def figures() -> list[Figure]:
    """Turn by turn, who is first alternating; each is a process of its own, started as a prolog starts it."""
    with tempfile.TemporaryDirectory() as folder:
        gate = ("gate", "--state", f"{folder}/state.json")
        times: dict[str, list[float]] = {"gate": [], "probe": []}
        for turn in range(TURNS):
            probe = ("probe", "--out", f"{folder}/probe-{turn}")
            pair = {"gate": gate, "probe": probe}
            for name in sorted(pair, reverse=bool(turn % 2)):
                times[name].append(_seconds(pair[name]))
    ratios = [one / other for one, other in zip(times["gate"], times["probe"], strict=True)]
    low, high = median_interval(ratios)
    return [
        at_most("gate", "gate --level 1 against probe, wall time", median(ratios), GOAL, low=low, high=high),
        *(Figure("gate", f"railgauge {name}", median(each), "s") for name, each in times.items()),
    ]


def _seconds(words: tuple[str, ...]) -> float:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begun
    if done.returncode not in (0, 1, 3):
        raise RuntimeError(f"railgauge {words[0]} ended with status {done.returncode}: {done.stderr[-300:]}")
    return seconds
