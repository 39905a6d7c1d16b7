"""Large jobs: the control plane as ranks grow, judge and report of 64 nodes, and what --help takes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import plans
from cost import ROOT, cost, medians, railgauge
from rows import Figure, at_most

TIMES = 3  # of which the median stands
HELP_GOAL, JUDGE_GOAL, ALL_PAIRS_GOAL, MEMORY_GOAL, HISTORY_GOAL = 0.1, 2.0, 10.0, 500.0, 2.0
CLUSTER_GOAL = 1.0
PLANNED_GOAL = 30.0  # minutes of an acceptance of 1250 nodes
LINEAR = 2.0  # times a line through the smallest size: more is growth above linear
CONTROL = ROOT / "ci" / "lab" / "control"


def figures(realtime: bool) -> list[Figure]:
    found = [_help(realtime)]
    with tempfile.TemporaryDirectory() as folder:
        for title, words, goal in (
            ("64 nodes, rails in rings", ["--screened"], JUDGE_GOAL),
            ("64 nodes, all pairs, both directions", ["--ways", "both"], ALL_PAIRS_GOAL),
            ("64 nodes, all pairs, three ways each", [], ALL_PAIRS_GOAL),
        ):
            out = Path(folder) / title.replace(" ", "-")
            cost([sys.executable, str(ROOT / "ci/speed/big.py"), str(out), *words])
            note = f"{_lines(out)} measurements"
            # judged first without a report to draw again; then drawn
            for command, limit in (("judge", goal), ("report", ALL_PAIRS_GOAL)):
                seen = medians(railgauge(command, str(out)), TIMES, realtime)
                found += [
                    at_most("scale", f"{command}: {title}", seen.wall, limit, unit="s", note=note),
                    Figure("scale", f"{command}: {title}, CPU", seen.cpu, "s"),
                    at_most("scale", f"{command}: {title}, memory", seen.mib, MEMORY_GOAL, unit="MiB"),
                ]
            again = medians(railgauge("judge", str(out)), TIMES, realtime)
            found.append(at_most("scale", f"judge beside a report: {title}", again.wall, goal, unit="s"))
    return found + _plans() + _history(realtime) + _control()


def _plans() -> list[Figure]:
    """Plans of 64, 256 and 1250 nodes, screened where that is the rule."""
    found = []
    for nodes in plans.SIZES:
        row = plans.planned(nodes, "hgx-h100-ndr", all_pairs=False)
        name = f"plan of {nodes} nodes"
        found += [
            Figure("scale", f"{name}, CPU", row["cpu"], "s"),
            Figure("scale", f"{name}, memory", row["mib"], "MiB"),
            Figure("scale", f"{name}, plan.json", row["bytes"] / 1024, "KiB"),
            at_most("scale", f"{name}: lasts at most", row["lasts"] / 60, PLANNED_GOAL, unit="min"),
        ]
    return found


def _history(realtime: bool) -> list[Figure]:
    """Listing 10 000 nights, a file each and a file a month; one cluster of 100 in three years."""
    with tempfile.TemporaryDirectory() as folder:
        home = str(Path(folder) / "history")
        cost([sys.executable, str(ROOT / "ci/speed/nights.py"), home])
        single = medians(railgauge("history", "list", home), TIMES, realtime)
        put = cost(railgauge("history", "compact", home))
        seen = medians(railgauge("history", "list", home), 5, realtime)
        years = str(Path(folder) / "years")
        cost([sys.executable, str(ROOT / "ci/speed/nights.py"), years, "--compact"])
        one = medians(railgauge("history", "list", years, "--cluster", "cluster7"), 5, realtime)
    return [
        Figure("scale", "history list, 10 000 nights, a file each", single.wall, "s"),
        Figure("scale", "history compact of them", put.wall, "s"),
        at_most("scale", "history list, 10 000 nights, a file a month", seen.wall, HISTORY_GOAL, unit="s"),
        at_most("scale", "history list of a cluster, 100 of them, 3 years", one.wall, CLUSTER_GOAL, unit="s"),
    ]


def _help(realtime: bool) -> Figure:
    seen = medians(railgauge("--help"), 7, realtime)
    return at_most("scale", "railgauge --help, median of 7", seen.wall, HELP_GOAL, unit="s")


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
        return [Figure("scale", "control plane", float("nan"), verdict="inconclusive", note=note)]
    told = json.loads(lines[-1])
    sizes = told.get("rows", told) if isinstance(told, dict) else told
    found = []
    for row in sizes:
        name = f"control, {row['ranks']} supervisors"
        found += [
            Figure("scale", f"{name}: a round, CPU time of rank 0", 1e3 * row["round_cpu"], "ms"),
            Figure("scale", f"{name}: bytes of a round", float(row["round_bytes"]), "B"),
            Figure("scale", f"{name}: memory of a rank", row["memory"] / (1 << 20), "MiB"),
        ]
    if len(sizes) > 1:
        first, last = sizes[0], sizes[-1]
        more = last["ranks"] / first["ranks"]
        for what in ("round_cpu", "round_bytes", "start_bytes", "start_cpu", "memory"):
            name = f"control: {what.replace('_', ' ')} grows by ranks × (to {last['ranks']})"
            found.append(at_most("scale", name, last[what] / first[what] / more, LINEAR))
    return found
