"""What of a run is not measuring: start, rendezvous, control, journal, judge, report; 4 ranks on this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cost import medians, railgauge
from rows import Figure, at_most

ROOT = Path(__file__).resolve().parents[2]
GOAL = 0.15
RANKS = 4
TIMES = 3  # of which the median stands
AROUND = 6.0  # s that such a run takes besides


def figures(wanted: float) -> list[Figure]:
    """A run of about ``wanted`` seconds: every case takes its budget, which is chosen for it."""
    from bench.model.profile import load as profile
    from bench.plan import sizes
    from bench.store import load

    text = profile("local").text
    sweep = profile("local").sweep
    each = len(list(sizes(sweep.begin, sweep.end, sweep.factor)))
    cases = len(sweep.collectives) * each + len(sweep.pairs) * len(sweep.pair_sizes)
    with tempfile.TemporaryDirectory() as folder:
        toml = Path(folder) / "minute.toml"
        budget = max(0.05, (wanted - AROUND) / cases)
        for old, new in (("budget", f"{budget * 1000:.0f} ms"), ("precision", "0.001 %")):
            text, lines = re.subn(rf'(?m)^{old} = ".*"', f'{old} = "{new}"', text)
            assert lines == 1, f"the local profile has {lines} lines for {old}"
        toml.write_text(text, encoding="utf-8")
        out = Path(folder) / "run"
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        begun = time.time()
        subprocess.run(
            [sys.executable, "-m", "bench", "accept", "--profile", str(toml), "--ranks", str(RANKS), "--out", str(out)],
            env={**os.environ, "PYTHONPATH": path}, capture_output=True, timeout=6 * wanted + 120, check=False,
        )  # fmt: skip
        wall = time.time() - begun
        run = load(out)
        costs = _again(out) if run.ended else []
    spans: dict[str, tuple[float, float]] = {}
    for each in run.measurements:
        first, last = spans.get(each.case, (each.started, each.ended))
        spans[each.case] = (min(first, each.started), max(last, each.ended))
    measuring = sum(last - first for first, last in spans.values())
    share = 1 - measuring / wall
    found = [at_most("overhead", f"not measuring, of {wall:.0f} s, {RANKS} ranks", share, GOAL)]
    for line in run.joined:
        for step, seconds in line.seconds.items():
            found.append(Figure("overhead", f"{line.phase}: {step}, slowest rank", 1e3 * seconds, "ms"))
    if run.ended:
        first = min((first for first, _ in spans.values()), default=begun)
        found.append(Figure("overhead", "from the command to the first case", 1e3 * (first - begun), "ms"))
        found.append(Figure("overhead", "judge, report and end", 1e3 * (begun + wall - run.ended), "ms"))
    return found + costs


def _again(out: Path) -> list[Figure]:
    """What judging and drawing this run costs by itself: CPU seconds of commands that do nothing else."""
    found = []
    for what, command in (("judge and draw", "report"), ("judge, nothing to draw", "judge")):
        seen = medians(railgauge(command, str(out)), TIMES)
        found.append(Figure("overhead", f"{what}, by itself: CPU", 1e3 * seen.cpu, "ms"))
        found.append(Figure("overhead", f"{what}, by itself: wall", 1e3 * seen.wall, "ms"))
    return found
