"""What gpu-check asks of one GPU in a process of its own.

python card.py rates                copies inside the GPU, by CUDA events and by the host's clock: one JSON line
python card.py load                 copies for ever; says "loaded" once
python card.py hold BYTES           says "ready"; after a line takes all memory but these and says "held"
python card.py calls SECONDS        small all_reduces of one rank: seconds a call of each block, one JSON line
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable

COPIES = 20
BLOCK = 200  # calls


def rates() -> None:
    import torch

    free, _ = torch.cuda.mem_get_info()
    size = min(1 << 28, free // 8)
    source = torch.ones(size, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    found = []
    for _ in range(5):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        host = time.perf_counter()
        begin.record()
        for _ in range(COPIES):
            target.copy_(source)
        end.record()
        torch.cuda.synchronize()
        found.append((begin.elapsed_time(end) / 1e3, time.perf_counter() - host))
    events, host = min(found)  # the first block wakes the clocks
    name = torch.cuda.get_device_name(0)
    print(json.dumps({"name": name, "bytes": size, "copies": COPIES, "events": events, "host": host}))


def load() -> None:
    import torch

    source = torch.ones(1 << 28, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    print("loaded", flush=True)
    while True:
        for _ in range(COPIES):
            target.copy_(source)
        torch.cuda.synchronize()


def hold(left: int) -> None:
    import torch

    torch.cuda.mem_get_info()
    print("ready", flush=True)
    sys.stdin.readline()
    kept = []
    while (free := torch.cuda.mem_get_info()[0]) > 2 * left:
        with contextlib.suppress(torch.cuda.OutOfMemoryError):  # others took some meanwhile
            kept.append(torch.empty(free - left, dtype=torch.uint8, device="cuda"))
    print("held", flush=True)
    sys.stdin.readline()


def calls(seconds: float) -> None:
    import torch
    import torch.distributed as dist

    store = dist.TCPStore("127.0.0.1", 0, 1, True)
    dist.init_process_group("nccl", store=store, rank=0, world_size=1)
    data = torch.ones(1024, device="cuda")
    blocks: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        torch.cuda.synchronize()
        begun = time.perf_counter()
        for _ in range(BLOCK):
            dist.all_reduce(data)
        torch.cuda.synchronize()
        blocks.append((time.perf_counter() - begun) / BLOCK)
    print(json.dumps(blocks[1:]), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    parts: dict[str, Callable[[], None]] = {
        "rates": rates,
        "load": load,
        "hold": lambda: hold(int(words[0])),
        "calls": lambda: calls(float(words[0])),
    }
    parts[what]()
