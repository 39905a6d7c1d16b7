"""Real ranks for the lab's tests: all-reduce on every rail in turn, with what every interface moved.

``net_ranks.py RAILS MEGABYTES REPETITIONS TIMEOUT [SECONDS]``: rank 0 prints one JSON line per rail:
algorithm bandwidth in bytes/s, bytes each node's interfaces sent, segments each node sent again, the
seconds a fixed piece of work took on each node. With SECONDS it goes on for that long. On an exception
a rank says ``rank R on NODE: …`` and aborts with 3.
"""

from __future__ import annotations

import datetime
import json
import os
import socket
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from mpi4py import MPI

WORLD = MPI.COMM_WORLD


def sent() -> dict[str, int]:
    net = Path("/sys/class/net")
    return {path.name: int((path / "statistics/tx_bytes").read_text()) for path in sorted(net.glob("eth*"))}


def resent() -> int:
    names, values = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line[:4] == "Tcp:"
    )
    return int(values[names.index("RetransSegs")])


def work() -> float:
    """Seconds of 30 million additions, of the wall clock: what is seen when a node's cores are held back."""
    start = time.perf_counter()
    sum(range(4_000_000))
    return time.perf_counter() - start


def world(timeout: datetime.timedelta) -> None:
    """The default group; its store is on eth0."""
    os.environ["GLOO_SOCKET_IFNAME"] = "eth0"
    port = None
    if WORLD.rank == 0:
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = probe.getsockname()[1]
    host = WORLD.bcast(socket.gethostname())
    store = dist.TCPStore(host, WORLD.bcast(port), WORLD.size, WORLD.rank == 0, timeout=timeout)
    dist.init_process_group("gloo", store=store, rank=WORLD.rank, world_size=WORLD.size, timeout=timeout)


def measure(rail: int, count: int, repetitions: int, timeout: datetime.timedelta) -> dict[str, object]:
    os.environ["GLOO_SOCKET_IFNAME"] = f"eth{rail}"
    group = dist.new_group(backend="gloo", timeout=timeout)
    data = torch.full((count,), float(WORLD.rank + 1))
    dist.all_reduce(data, group=group)
    assert (data == WORLD.size * (WORLD.size + 1) / 2).all(), "the sum is wrong"
    took, before, again = work(), sent(), resent()
    WORLD.Barrier()
    start = time.perf_counter()
    for _ in range(repetitions):
        dist.all_reduce(data, group=group)
    seconds = time.perf_counter() - start
    WORLD.Barrier()  # now all has arrived; before, what we sent may still have waited for its turn
    moved = {name: value - before[name] for name, value in sent().items()}
    rows = WORLD.gather((socket.gethostname(), moved, resent() - again, took, seconds))
    return (
        {
            "rail": rail,
            "rate": 4 * count * repetitions / max(row[4] for row in rows),
            "sent": {row[0]: row[1] for row in rows},
            "resent": {row[0]: row[2] for row in rows},
            "work": {row[0]: row[3] for row in rows},
        }
        if rows
        else {}
    )


def main(rails: int, megabytes: float, repetitions: int, limit: float, seconds: float = 0) -> None:
    torch.set_num_threads(1)
    timeout = datetime.timedelta(seconds=limit)
    world(timeout)
    end = time.time() + seconds
    while True:
        for rail in range(1, rails + 1):
            row = measure(rail, int(megabytes * 250_000), repetitions, timeout)
            if row:
                print(json.dumps(row), flush=True)
        if not WORLD.bcast(time.time() < end):
            break
    dist.destroy_process_group()


if __name__ == "__main__":
    numbers = [float(word) for word in sys.argv[1:]]
    try:
        main(int(numbers[0]), numbers[1], int(numbers[2]), *numbers[3:])
    except BaseException as error:
        text = " ".join(str(error).split())[:400]
        print(
            f"rank {WORLD.rank} on {socket.gethostname()}: {type(error).__name__}: {text}",
            file=sys.stderr,
            flush=True,
        )
        WORLD.Abort(3)
