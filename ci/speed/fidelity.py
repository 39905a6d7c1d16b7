"""Fidelity: RailGauge's bandwidth ÷ a raw torch.distributed loop's, and latency likewise, case by case.

python fidelity.py [--backend gloo] [--ranks 2] [--cases all_reduce:1024,…] [--seconds 4] [--realtime]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]

from rows import Figure, at_least, at_most  # noqa: E402

from bench.model.collectives import COLLECTIVES  # noqa: E402
from bench.model.units import show_size  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
LARGE_GOAL, SMALL_GOAL, LATENCY_GOAL = 0.99, 0.95, 1.03
NAMES = tuple(COLLECTIVES)
SIZES = (1 << 10, 64 << 10, 1 << 20, 16 << 20)
LIMIT = 540.0


def cases(names: Sequence[str] = NAMES, sizes: Sequence[int] = SIZES) -> list[tuple[str, int]]:
    return [(name, size) for name in names for size in sizes]


def measure(
    backend: str, ranks: int, wanted: Sequence[tuple[str, int]], seconds: float, realtime: bool
) -> list[dict[str, Any]]:
    """What ab.py found on ``ranks`` ranks of this machine. RuntimeError with a rank's last words."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    before = ["chrt", "-r", "10"] if realtime else []
    words = [str(ranks), str(port), backend, json.dumps([list(each) for each in wanted]), str(seconds)]
    started = [
        subprocess.Popen(
            [*before, sys.executable, str(Path(__file__).with_name("ab.py")), str(rank), *words],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(ranks)
    ]  # fmt: skip
    try:
        said = [each.communicate(timeout=LIMIT) for each in started]
    finally:
        for each in started:
            if each.poll() is None:
                each.kill()
    if any(each.returncode for each in started):
        words = [text[1].strip().splitlines()[-1:] for text in said]
        raise RuntimeError(f"a rank failed: {[each.returncode for each in started]} {words}")
    return [json.loads(line) for line in said[0][0].splitlines() if line.startswith("{")]


def can_have_realtime() -> bool:
    """Whether we may ask for real-time scheduling: without it a second job on the machine drowns small messages."""
    chrt = shutil.which("chrt")
    return (
        chrt is not None and subprocess.run([chrt, "-r", "10", "true"], capture_output=True).returncode == 0
    )


def figures(ranks: Sequence[int], seconds: float, realtime: bool) -> list[Figure]:
    """One figure a case for bandwidth, one for latency of small messages, and the noise of raw against raw."""
    found: list[Figure] = []
    for n in ranks:
        rows = measure("gloo", n, cases(), seconds, realtime)
        for row in rows:
            name = f"{row['collective']} {show_size(row['size'])}, {n} ranks"
            note = f"raw ÷ raw {row['floor']:.3f}"
            goal = LARGE_GOAL if row["size"] >= 1 << 20 else SMALL_GOAL
            found.append(
                at_least(
                    "fidelity",
                    f"{name}: busbw",
                    row["ratio"],
                    goal,
                    low=row["low"],
                    high=row["high"],
                    note=note,
                )
            )
            if row["size"] <= 64 << 10:
                late = row["latency_ratio"], row["latency_low"], row["latency_high"]
                found.append(
                    at_most("fidelity", f"{name}: latency", late[0], LATENCY_GOAL, low=late[1], high=late[2])
                )
        large = [row["ratio"] for row in rows if row["size"] >= 1 << 20]
        small = [row["ratio"] for row in rows if row["size"] < 1 << 20]
        late = [row["latency_ratio"] for row in rows if row["size"] <= 64 << 10]
        floor = [abs(row["floor"] - 1) for row in rows]
        found.append(at_least("fidelity", f"median from 1 MiB, {n} ranks", median(large), LARGE_GOAL))
        found.append(at_least("fidelity", f"median below 1 MiB, {n} ranks", median(small), SMALL_GOAL))
        found.append(at_most("fidelity", f"median latency, {n} ranks", median(late), LATENCY_GOAL))
        found.append(Figure("fidelity", f"noise floor: median |raw ÷ raw − 1|, {n} ranks", median(floor)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backend", default="gloo")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--cases", default="", help="name:bytes,…")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each case")
    parser.add_argument("--realtime", action="store_true", help="schedule the ranks by chrt -r 10")
    asked = parser.parse_args()
    wanted = [
        (name, int(size))
        for name, _, size in (word.partition(":") for word in asked.cases.split(",") if word)
    ]
    for row in measure(asked.backend, asked.ranks, wanted or cases(), asked.seconds, asked.realtime):
        print(
            f"{row['collective']:<18} {row['size']:>10}  ratio {row['ratio']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
            f"  raw ÷ raw {row['floor']:.3f}  latency {row['latency_ratio']:.3f}"
        )


if __name__ == "__main__":
    main()
