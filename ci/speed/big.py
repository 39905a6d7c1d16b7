"""A run folder as large as an acceptance run of 64 nodes leaves, healthy but for one port at half its rate.

The plan is the real one; the seconds are drawn (normal noise of 1 %), since only their amount matters here.

    python big.py FOLDER [--nodes 64] [--profile lambda-1cc-h100] [--ways both | --screened]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.model import typed_json
from bench.store import Settings

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench.model.collectives import COPIES, collective  # noqa: E402
from bench.model.facts import Node  # noqa: E402
from bench.model.measurement import Case, Measurement, Rank  # noqa: E402
from bench.model.profile import Profile, load  # noqa: E402
from bench.plan import AcceptOptions, Job, Memory, acceptance, fit  # noqa: E402
from bench.plan.phase_names import NODES  # noqa: E402
from bench.store import Manifest, Phase, Recorder  # noqa: E402
from made_nodes import node  # noqa: E402

RATE = 47e9  # bytes/s of a healthy pair on one rail
BUS, ALONE = 370e9, 475e9  # bytes/s of busbw of a collective over all ranks, and inside a node
COPY, HOST_COPY = 1.4e12, 40e9  # bytes/s of a copy inside a GPU, and from or to its host
SICK = ("n17", 3)  # node and rail of the port at half its rate
GPUS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--profile", default="lambda-1cc-h100")
    parser.add_argument(
        "--screened", action="store_true", help="rails in rings of nodes instead of all pairs"
    )
    parser.add_argument("--all-pairs", action="store_true", help="also of more than 64 nodes")
    parser.add_argument(
        "--ways",
        choices=("all", "one-way", "both"),
        default="all",
        help="of each pair; all: both, there and back",
    )
    asked = parser.parse_args()
    how = AcceptOptions(asked.ways, screened="groups" if asked.screened else "", all_pairs=asked.all_pairs)
    write(asked.folder, asked.nodes, load(asked.profile), how)


def write(folder: Path, count: int, profile: Profile, how: AcceptOptions) -> None:
    machines = [replace(node(number), name=f"n{number}") for number in range(count)]
    ranks = tuple(Rank(i, f"n{i // GPUS}", i % GPUS, "cuda H100") for i in range(count * GPUS))
    phases, skipped = acceptance(Job(profile, ranks, "nccl", how), profile.sweep.budget)
    plan = replace(fit(phases, "nccl", Memory(70 << 30, "a GPU")), skipped=tuple(skipped))
    draw = random.Random(1)
    with Recorder(folder) as recorder:
        recorder.manifest(
            Manifest(
                id=folder.name,
                started=1_700_000_000.0,
                command=("railgauge", "accept"),
                profile_name=profile.name,
                profile_text=profile.text,
                launcher="openmpi",
                backend="nccl",
                ranks=ranks,
                settings=Settings(pid=1, repetitions=2, budget=profile.sweep.budget),
                versions={"railgauge": "0"},
                environment={str(rank.rank): {"NCCL_IB_HCA": "^=mlx5_0"} for rank in ranks},
            )
        )
        recorder.facts(machines)
        recorder.plan(plan)
    # the recorder sees every line on the disk; a hundred thousand of them here are one write
    with (folder / "journal.jsonl").open("ab") as journal:
        for phase in plan.phases:
            journal.write(_line("phase", name=phase.name, state="begin", cases=len(phase.cases)))
            for row in _rows(phase, ranks, draw):
                journal.write(_line("measurement", **typed_json.to_json(row)))
            journal.write(_line("phase", name=phase.name, state="end", measured=len(phase.cases)))
            _counters(folder, phase, machines)
        journal.write(_line("end"))


def _line(kind: str, **fields: object) -> bytes:
    return json.dumps({"kind": kind, "time": 1_700_000_100.0, **fields}).encode() + b"\n"


def _rows(phase: Phase, ranks: tuple[Rank, ...], draw: random.Random) -> Iterator[Measurement]:
    for case in phase.cases:
        for group in case.groups:
            yield _measured(case, group, ranks, draw)


def _measured(
    case: Case, group: tuple[int, ...], ranks: tuple[Rank, ...], draw: random.Random
) -> Measurement:
    if case.rail or case.collective in COPIES:
        sick = any((ranks[rank].node, ranks[rank].local_rank) == SICK for rank in group)
        copy = HOST_COPY if "host" in collective(case.collective).sides else COPY
        rate = copy if case.collective in COPIES else RATE / 2 if sick else RATE
        seconds = case.size / rate
    else:
        bus = ALONE if case.phase == NODES else BUS
        seconds = max(case.size * collective(case.collective).factor(len(group)) / bus, 20e-6)
    blocks = tuple(
        tuple(round(seconds * draw.gauss(1, 0.01), 10) for _ in group)
        for _ in range(11 if len(group) == 2 else 8)
    )
    alone = tuple(round(seconds * draw.gauss(1.05, 0.02), 10) for _ in range(44))
    return Measurement(
        case=case.id,
        ranks=group,
        pipelined=blocks,
        calls=4,
        isolated=alone,
        wrong=(0,) * len(group),
        checked=2 * case.count * len(group),
        mismatches=(),
        stop="budget",
        width=0.01,
        warmup=4,
    )


def _counters(folder: Path, phase: Phase, machines: list[Node]) -> None:
    for when, moved in (("before", 0), ("after", 1 << 34)):
        shots = []
        for machine in machines:
            readings = {
                port.name: {
                    "counters": {
                        name: value + (moved if name.endswith("_data") and port.hca != "mlx5_0" else 0)
                        for name, value in port.counters.items()
                    },
                    "hw_counters": dict(port.hw_counters),
                }
                for port in machine.ports
            }
            shots.append({"time": 1.0 + moved, "monotonic": 1.0 + bool(moved) * 60, "readings": readings})
        with (folder / "counters.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"phase": phase.name, "when": when, "snapshots": shots}) + "\n")


if __name__ == "__main__":
    main()
