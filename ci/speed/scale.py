"""Large jobs: the control plane as ranks grow, judge and report of 64 nodes, and what --help takes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from rows import Figure, at_most

ROOT = Path(__file__).resolve().parents[2]
HELP_GOAL, JUDGE_GOAL, ALL_PAIRS_GOAL, MEMORY_GOAL = 0.3, 2.0, 10.0, 500.0
LINEAR = 2.0  # times a line through the smallest size: more is growth above linear
CONTROL = ROOT / "ci" / "lab" / "control"


def figures(realtime: bool) -> list[Figure]:
    found = [_help(realtime)]
    with tempfile.TemporaryDirectory() as folder:
        for title, words, goal in (
            ("64 nodes, rails in rings", ["--screened"], JUDGE_GOAL),
            ("64 nodes, all pairs, both directions", [], ALL_PAIRS_GOAL),
        ):
            out = Path(folder) / title.replace(" ", "-")
            _run([sys.executable, str(ROOT / "ci/speed/big.py"), str(out), *words], False)
            for command in ("judge", "report"):
                seconds, mib = _run([sys.executable, "-m", "bench", command, str(out)], realtime)
                note = f"{_lines(out)} measurements"
                limit = goal if command == "judge" or goal == ALL_PAIRS_GOAL else ALL_PAIRS_GOAL
                found.append(at_most("scale", f"{command}: {title}", seconds, limit, unit="s", note=note))
                found.append(at_most("scale", f"{command}: {title}, memory", mib, MEMORY_GOAL, unit="MiB"))
    return found + _control()


def _help(realtime: bool) -> Figure:
    times = [_run([sys.executable, "-m", "bench", "--help"], realtime)[0] for _ in range(7)]
    return at_most("scale", "railgauge --help, median of 7", median(times), HELP_GOAL, unit="s")


def _run(words: list[str], realtime: bool) -> tuple[float, float]:
    """(wall seconds, MiB at most) of a process of its own."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    before = ["chrt", "-r", "10"] if realtime else []
    begun = time.perf_counter()
    started = subprocess.Popen(
        [*before, *words],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, _, used = os.wait4(started.pid, 0)
    started.returncode = 0  # wait4 has taken its status
    assert isinstance(used, resource.struct_rusage)
    return time.perf_counter() - begun, used.ru_maxrss / 1024


def _lines(folder: Path) -> int:
    with (folder / "journal.jsonl").open("rb") as file:
        return sum(b'"measurement"' in line for line in file)


def _control() -> list[Figure]:
    """8, 64 and 512 supervisors, by ci/lab/control where it is."""
    if not CONTROL.exists():
        return [Figure("scale", "control plane", float("nan"), note="ci/lab/control is not here")]
    done = subprocess.run(
        [sys.executable, str(CONTROL), "--json"], capture_output=True, text=True, timeout=580, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        note = f"ci/lab/control said nothing: {done.stderr.strip()[-120:]}"
        return [Figure("scale", "control plane", float("nan"), verdict="cannot tell", note=note)]
    told = json.loads(lines[-1])
    sizes = told.get("rows", told) if isinstance(told, dict) else told
    found = []
    for row in sizes:
        name = f"control, {row['ranks']} supervisors"
        found.append(Figure("scale", f"{name}: a round", 1e3 * row["round"], "ms"))
        found.append(Figure("scale", f"{name}: bytes of a round", float(row["round_bytes"]), "B"))
        found.append(Figure("scale", f"{name}: memory of a rank", row["memory"] / (1 << 20), "MiB"))
    if len(sizes) > 1:
        first, last = sizes[0], sizes[-1]
        growth = (last["round_bytes"] / first["round_bytes"]) / (last["ranks"] / first["ranks"])
        what = f"control: bytes of a round grow by ranks × (to {last['ranks']})"
        found.append(at_most("scale", what, growth, LINEAR))
    return found
