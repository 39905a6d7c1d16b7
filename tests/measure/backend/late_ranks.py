"""One real rank of gloo with a fault planted: python late_ranks.py RANK RANKS FILE HOW WHO

HOW is where rank WHO sleeps: "coming" between the meeting and the call, "inside" after its clock has begun and
before it calls, "leaving" between the call and the end of its clock; "never" nobody does. Rank 0 prints its
measurements, a JSON line each.
"""

import json
import sys
import time
from dataclasses import replace

import torch
import torch.distributed as dist

from bench.measure.backend.cases import CaseContext, measure_case
from bench.measure.backend.group import Group, HostClock
from bench.measure.loop import TimingRules
from bench.measure.work_order import Progress, WorkOrder
from bench.model import typed_json
from bench.model.collectives import COLLECTIVES
from bench.plan import Request, sweep_cases

ASLEEP = 0.06  # s; a meeting of three ranks on a busy machine of two cores takes a few ms
ITERATIONS = 24
NAMES = ("all_reduce", "all_gather", "all_to_all", "reduce_scatter")


class Late(Group):
    """Leaves every meeting late."""

    def together(self) -> None:
        super().together()
        time.sleep(ASLEEP)


def plant(how: str) -> None:
    """Make this rank's collectives sleep."""
    for name in NAMES:
        row = COLLECTIVES[name]

        def call(c, send, recv, call=row.call):
            time.sleep(ASLEEP * (how == "inside"))
            call(c, send, recv)
            time.sleep(ASLEEP * (how == "leaving"))

        COLLECTIVES[name] = replace(row, call=call)


def main(rank: int, ranks: int, file: str, how: str, who: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=ranks)
    everyone = tuple(range(ranks))
    mine = rank == who
    if mine:
        plant(how)
    kind = Late if mine and how == "coming" else Group
    group = kind(everyone, rank, None, torch.device("cpu"), HostClock())
    rules = TimingRules(iterations=ITERATIONS, warmup=1)
    for name, size in zip(NAMES, (4096, 65536, 4096, 65536), strict=True):
        (case,) = sweep_cases("collectives", Request(name, size, size), (everyone,))
        order = WorkOrder("x", (case,), rank, ranks, rank, "gloo", "", 60.0, rules, 1)
        row = measure_case(case, group, CaseContext(order, Progress(), lambda kind, **fields: None))
        if rank == 0:
            print(json.dumps({"case": typed_json.to_json(case), "row": typed_json.to_json(row)}), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
