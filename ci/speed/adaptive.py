"""Adaptive stop against fixed iterations, at equal precision: what a whole sweep takes.

A fixed count is one number for the whole sweep, as in nccl-tests' -n. It has to be large enough for the case that
needs most. So every case is measured by RailGauge until its median is known to the wanted precision; the largest
number of calls that any case needed is what a fixed count must be for all of them to be as well known. Then the same
cases are measured with that fixed count, and both times are those of the measuring alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rows import Figure, at_most

if TYPE_CHECKING:
    from bench.store.rows import Row

ROOT = Path(__file__).resolve().parents[2]
GOAL = 1 / 3
PRECISION = 0.10  # of the median; a machine with two busy cores gives no better in a second
BUDGET = 20.0  # seconds for a case, so that precision ends it and not the budget
LIMIT = 500.0  # seconds for one sweep
SIZES = [4**exponent << 10 for exponent in range(8)]  # 1 KiB to 16 MiB
SCRIPT = """
import json, sys
from pathlib import Path
import os
from bench.run.join import take_part
from bench.launch import launch_context
from bench.measure.loop import TimingRules
from bench.run.options import Options
from bench.plan import Request
from bench.model.profile import load
from bench.cli.terminal import Terminal
sizes, precision, budget, count = json.loads(sys.argv[2])
options = Options(
    profile=load("local"), out=Path(sys.argv[1]), command=("speed",),
    rules=TimingRules(precision=precision, budget=budget, iterations=count),
    sweeps=tuple(Request("all_reduce", size, size) for size in sizes),
)
sys.exit(take_part(options, launch_context(os.environ), Terminal(quiet=True)))
"""


def figures(realtime: bool) -> list[Figure]:
    measured = _measured(SIZES, realtime)
    precise = [row for row in measured if row.measurement.stop == "precision"]
    spent = _spent(precise)
    needed = max((_calls(row) for row in precise), default=0)
    sizes = [row.case.size for row in precise]
    note = f"{len(precise)} sizes to {PRECISION:.0%}, {spent:.1f} s"
    if left := len(SIZES) - len(precise):
        note += f"; {left} sizes did not get so precise in {BUDGET:.0f} s and are left out"
    if len(precise) < 3:
        return [Figure("adaptive", "adaptive ÷ fixed", float("nan"), verdict="inconclusive", note=note)]
    same = _measured(sizes, realtime, needed)
    fixed = _spent(same)
    note += f"; fixed -n {needed}: {fixed:.1f} s"
    if len(same) < len(sizes):
        note += f", and {len(sizes) - len(same)} sizes not measured"
        return [Figure("adaptive", "adaptive ÷ fixed", float("nan"), verdict="inconclusive", note=note)]
    return [at_most("adaptive", "time of the sweep: adaptive ÷ fixed", spent / fixed, GOAL, note=note)]


def _spent(rows: Sequence[Row]) -> float:
    """Seconds of measuring."""
    return sum(row.measurement.ended - row.measurement.started for row in rows)


def _calls(row: Row) -> int:
    return max(len(row.measurement.isolated), row.measurement.calls * len(row.measurement.pipelined))


def _measured(sizes: Sequence[int], realtime: bool, count: int | None = None) -> tuple[Row, ...]:
    """all_reduce of these sizes on 2 ranks; ``count``: exactly so many calls, else until precise."""
    from bench.launch import find_mpirun, flavour, local_command, mpi_environment, mpirun_version
    from bench.store import load
    from bench.store.rows import rows

    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "sweep.py"
        script.write_text(SCRIPT, encoding="utf-8")
        mpirun = find_mpirun()
        *before, _, _, _, _ = local_command(mpirun, flavour(mpirun_version(mpirun)), 2, ["x"])
        out = Path(folder) / "run"
        words = json.dumps([list(sizes), PRECISION, BUDGET if count is None else LIMIT, count])
        chrt = ["chrt", "-r", "10"] if realtime else []
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = {**mpi_environment(os.environ), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        subprocess.run(
            [*chrt, *before, sys.executable, str(script), str(out), words],
            env=environment, capture_output=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        return rows(load(out))
