"""What verifying results costs: the same cases with --check 1, the default, and with --check 0, in turn."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from statistics import median, quantiles

from cost import environment, railgauge
from rows import Figure, at_most

GOAL = 1.10
TIMES = 6  # pairs of runs
SIZES = ("-b", "4K", "-e", "16M", "-f", "16")


def figures() -> list[Figure]:
    """A row for each size: how many times as long its case lasts when its results are verified."""
    ratios: dict[int, list[float]] = {}
    for _ in range(TIMES):
        without, verified = _seconds("0"), _seconds("1")
        for size in without.keys() & verified.keys():
            ratios.setdefault(size, []).append(verified[size] / without[size])
    found = []
    for size, seen in sorted(ratios.items()):
        low, _, high = quantiles(seen, n=4)
        what = f"a case that is verified ÷ one that is not, {size} B"
        note = f"quartiles {low:.2f} to {high:.2f} of {len(seen)}"
        found.append(at_most("verifying", what, median(seen), GOAL, note=note))
    return found


def _seconds(check: str) -> dict[int, float]:
    """Size -> seconds from a case's begin to its end, of a run of two ranks here."""
    from bench.store import load
    from bench.store.rows import rows

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        words = railgauge("run", "all_reduce", "--ranks", "2", *SIZES, "--check", check, "--out", str(out))
        subprocess.run(words, env=environment(), capture_output=True, timeout=300, check=False)
        return {row.case.size: row.measurement.ended - row.measurement.started for row in rows(load(out))}
