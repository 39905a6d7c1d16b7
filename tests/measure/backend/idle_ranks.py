"""One of two real ranks of gloo whose collectives do nothing now and then: python idle_ranks.py RANK FILE FROM EVERY

In its timed calls from number FROM on no call moves anything; before and after timing all do. Where EVERY is not 0
each such call of few large ones does nothing instead, timed or not. Rank 0 prints each measurement as a JSON line.
"""

import json
import sys
from dataclasses import replace

import torch
import torch.distributed as dist

from bench.measure.backend.cases import CaseContext, measure_case
from bench.measure.backend.group import Group, HostClock
from bench.measure.loop import TimingRules
from bench.measure.work_order import Progress, WorkOrder
from bench.model import typed_json
from bench.model.collectives import COLLECTIVES
from bench.model.measurement import Measurement
from bench.plan import Request, sweep_cases

RULES = TimingRules(precision=0.0, budget=1.0)
FEW = TimingRules(iterations=3, warmup=0)


NAMES = ("all_reduce", "broadcast", "all_gather", "reduce_scatter", "reduce")


def main(rank: int, file: str, idle_from: int, every: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    for name in NAMES:
        found = measured(rank, name, idle_from, every)
        if rank == 0:
            print(json.dumps(typed_json.to_json(found)), flush=True)
    dist.destroy_process_group()


def measured(rank: int, name: str, idle_from: int, every: int) -> Measurement:
    progress, made, timed, row = Progress(), [], [], COLLECTIVES[name]

    def call(c, send, recv):
        made.append(None)
        if progress.stage == "timing":
            timed.append(None)
        idle = len(made) % every == 0 if every else progress.stage == "timing" and len(timed) > idle_from
        if not idle:
            row.call(c, send, recv)

    COLLECTIVES[name] = replace(row, call=call)
    size = 1 << 20 if every else 1 << 16
    case = sweep_cases("collectives", Request(name, size, size, placements=("in",)), ((0, 1),))[0]
    order = WorkOrder("x", (case,), rank, 2, rank, "gloo", "", 60.0, FEW if every else RULES, 2)
    group = Group((0, 1), rank, None, torch.device("cpu"), HostClock())
    return measure_case(case, group, CaseContext(order, progress, lambda kind, **fields: None))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
