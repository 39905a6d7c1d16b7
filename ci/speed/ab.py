"""One rank of the fidelity measurement: RailGauge's timing loop and a raw one, turn by turn in one process.

A is ``bench.measure.loop`` on ``bench.measure.backend.Group``; B is what a person writes by hand: a barrier, a
clock (CUDA events on a GPU), n calls of torch.distributed, a clock. Both use the same buffers in the same order
and make the same number of calls; A and B alternate block by block, and who is first alternates too, so that a load
that comes and goes meets both.

    python ab.py RANK RANKS PORT BACKEND CASES SECONDS     (CASES: JSON of [[collective, size], …])

The first rank prints one JSON line a case: the medians of A and B, pipelined and isolated, and their ratios.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from datetime import timedelta

import torch
import torch.distributed as dist

from bench.measure.backend import device as devices
from bench.measure.backend.buffers import allocate
from bench.measure.backend.group import CudaClock, Group, HostClock
from bench.measure.loop import MOST_CALLS, TimingRules, measure
from bench.model.buffers import rotation
from bench.model.collective_calls import Call
from bench.model.collectives import collective
from bench.model.elements import element
from bench.model.stats import median_interval
from bench.plan import Request, sweep_cases

BLOCK_SECONDS = 0.01
LEAST_TURNS = 30
ORDERS = ("bac", "cab", "abc", "cba", "bca", "acb")


def main() -> None:
    rank, ranks, port = (int(word) for word in sys.argv[1:4])
    backend, cases, seconds = sys.argv[4], json.loads(sys.argv[5]), float(sys.argv[6])
    device = devices.of_rank(backend, rank)
    devices.use(device)
    store = dist.TCPStore("127.0.0.1", port, ranks, rank == 0, timedelta(seconds=120))
    dist.init_process_group(backend, store=store, rank=rank, world_size=ranks, **devices.eager(device))
    clock = CudaClock(device) if device.type == "cuda" else HostClock()
    group = Group(tuple(range(ranks)), rank, None, device, clock)
    for name, size in cases:
        found = compare(group, name, size, seconds)
        if rank == 0:
            print(json.dumps({"collective": name, "size": size, "ranks": ranks, **found}), flush=True)
    group.together()
    dist.destroy_process_group()
    # torch's CPU threads may be slow to end; nothing is left to do
    sys.stdout.flush()
    os._exit(0)


def compare(group: Group, name: str, size: int, seconds: float) -> dict[str, object]:
    """Medians in seconds a call, and the ratios as they stand for bandwidth and latency.

    C is B once more: what the ratio of C to B is off 1 by is this machine's noise and nobody's merit.
    """
    launch = launcher(group, name, size)
    launch(0)
    calls = calls_for(group, launch)
    rules = TimingRules(iterations=calls, warmup=0)
    few = min(calls, 20)
    blocks: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    alone: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    turn, begun = 0, time.perf_counter()
    while True:
        for which in ORDERS[turn % len(ORDERS)]:
            if which == "a":
                times = measure(group, launch, rules)
                blocks["a"].append(max(times.pipelined[0]))
                alone["a"].append(statistics.median(times.isolated[:few]))
            else:
                blocks[which].append(worst(group, raw_pipelined(group, launch, calls)))
                singles = [worst(group, raw_isolated(group, launch)) for _ in range(few)]
                alone[which].append(statistics.median(singles))
        turn += 1
        spent = max(row[0] for row in group.share([time.perf_counter() - begun]))
        if turn >= LEAST_TURNS and spent > seconds:
            break
    # turn by turn, against the mean of both raw blocks around it: a load that comes and goes meets all three
    ratios = [(b + c) / 2 / a for a, b, c in zip(*blocks.values(), strict=True)]
    late = [2 * a / (b + c) for a, b, c in zip(*alone.values(), strict=True)]
    low, high = median_interval(ratios)
    late_low, late_high = median_interval(late)
    return {
        "turns": turn,
        "calls": calls,
        "ours": statistics.median(blocks["a"]),
        "raw": statistics.median(blocks["b"] + blocks["c"]),
        "ratio": statistics.median(ratios),
        "low": low,
        "high": high,
        "floor": statistics.median([b / c for b, c in zip(blocks["b"], blocks["c"], strict=True)]),
        "spread": spread(blocks["b"] + blocks["c"]),
        "latency_ours": statistics.median(alone["a"]),
        "latency_raw": statistics.median(alone["b"] + alone["c"]),
        "latency_ratio": statistics.median(late),
        "latency_low": late_low,
        "latency_high": late_high,
    }


def spread(values: list[float]) -> float:
    """Interquartile range as a share of the median."""
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / middle


def calls_for(group: Group, launch) -> int:  # type: ignore[no-untyped-def]
    times = [worst(group, raw_isolated(group, launch)) for _ in range(5)]
    return max(1, min(MOST_CALLS, round(BLOCK_SECONDS / max(statistics.median(times), 1e-9))))


def launcher(group: Group, name: str, size: int):  # type: ignore[no-untyped-def]
    """The call of a case on this rank, over as many rotated buffers as RailGauge takes."""
    row, kind = collective(name), element("float32")
    n, rank = len(group.members), group.place
    case = sweep_cases("speed", Request(name, size, size), (group.members,))[0]
    op = dist.ReduceOp.SUM if row.reduces else None
    buffers = allocate(
        row, case.count, torch.float32, case.placement, (rank, n, 0), rotation(case), group.device
    )
    call = Call(dist, None, group.members, rank, 0, op)
    assert kind.bytes == 4

    def launch(i: int) -> None:
        which = i % len(buffers)
        row.call(call, buffers.send[which], buffers.recv[which])

    return launch


def raw_pipelined(group: Group, launch, calls: int) -> float:  # type: ignore[no-untyped-def]
    dist.barrier()
    if group.device.type == "cuda":
        torch.cuda.synchronize()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for i in range(calls):
            launch(i)
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3 / calls
    start_time = time.perf_counter()
    for i in range(calls):
        launch(i)
    return (time.perf_counter() - start_time) / calls


def raw_isolated(group: Group, launch) -> float:  # type: ignore[no-untyped-def]
    return raw_pipelined(group, launch, 1)


def worst(group: Group, value: float) -> float:
    """The slowest rank's: a collective lasts as long as that."""
    return max(row[0] for row in group.share([value]))


if __name__ == "__main__":
    main()
