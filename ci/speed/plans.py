"""Plans as nodes grow: seconds and memory of making one, bytes of plan.json, and how these grow.

python plans.py [--nodes 64 256 1250] [--profile lambda-1cc-h100] [--all-pairs]
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
GPUS = 8
SIZES = (64, 256, 1250)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--profile", default="lambda-1cc-h100")
    parser.add_argument("--all-pairs", action="store_true", help="of nodes, however many they are")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        print(json.dumps(made(asked.nodes[0], asked.profile, asked.all_pairs)))
        return
    rows = [planned(nodes, asked.profile, asked.all_pairs) for nodes in asked.nodes]
    print(f"{'nodes':>6} {'cases':>6} {'planned':>8} {'CPU':>8} {'memory':>9} {'plan.json':>10} {'lasts':>8}")
    for row in rows:
        print(
            f"{row['nodes']:6d} {row['cases']:6d} {row['seconds']:6.2f} s {row['cpu']:6.2f} s "
            f"{row['mib']:5.0f} MiB {row['bytes'] / 1024:6.0f} KiB {row['lasts'] / 60:4.0f} min"
        )
    first, last = rows[0], rows[-1]
    if last["nodes"] > first["nodes"]:
        for what in ("cpu", "mib", "bytes"):
            power = math.log(last[what] / first[what]) / math.log(last["nodes"] / first["nodes"])
            print(f"{what} grows as nodes to the power of {power:.2f}")


def planned(nodes: int, profile: str, all_pairs: bool) -> dict:
    """One plan in a process of its own, so that its memory is its own."""
    more = ["--all-pairs"] if all_pairs else []
    words = [sys.executable, __file__, "--inside", "--nodes", str(nodes), "--profile", profile, *more]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def made(nodes: int, name: str, all_pairs: bool) -> dict:
    """The figures of one plan; what is imported first counts in the memory, and not in the time."""
    sys.path.insert(0, str(ROOT))
    from bench.model.case_templates import packed
    from bench.model.measurement import Rank
    from bench.model.profile import load
    from bench.model.typed_json import encode
    from bench.plan import AcceptOptions, Job, Memory, acceptance, fit
    from bench.plan.budget import total

    profile = load(name)
    ranks = tuple(Rank(at, f"n{at // GPUS}", at % GPUS) for at in range(nodes * GPUS))
    options = AcceptOptions(**({"all_pairs": True} if all_pairs else {}))
    rails = (profile.rails.devices or tuple(f"#{at}" for at in range(profile.rails.count)))[:GPUS]
    job = Job(profile, ranks, "nccl", options, rails, tuple(range(len(rails))))
    begun, cpu = time.perf_counter(), time.process_time()
    phases, _ = acceptance(job, profile.sweep.budget)
    plan = fit(phases, "nccl", Memory(70 << 30, "a GPU"))
    short = tuple(replace(phase, cases=packed(phase.cases)) for phase in plan.phases)  # as it is written
    size = len(encode(replace(plan, phases=short)))
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lasts = total(job, profile.sweep.budget)
    return {
        "nodes": nodes, "cases": len(plan.cases), "seconds": seconds, "cpu": cpu, "mib": mib, "bytes": size,
        "lasts": lasts,
    }  # fmt: skip


if __name__ == "__main__":
    main()
