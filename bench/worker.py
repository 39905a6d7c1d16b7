"""One phase of cases in one torch.distributed process.

A supervisor starts it as ``python -m bench.worker FD``, writes the order as one JSON line to its
standard input and, once the first rank's store has a port, the rendezvous as a second line. It answers
on file descriptor FD, a JSON line at a time: ``store``, ``ready``, ``beat``, ``measurement``, ``done``,
``failed``. Standard output and error belong to torch and NCCL and go to the phase's log.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, TextIO

from .model import Case
from .order import Order, Progress, first_line

BEAT_SECONDS = 0.5
PR_SET_PDEATHSIG = 1


@dataclass
class Channel:
    """Messages to the supervisor, one JSON line each, from two threads."""

    file: TextIO
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, kind: str, **fields: Any) -> None:
        line = json.dumps({"kind": kind, **fields})
        with self.lock:
            self.file.write(line + "\n")
            self.file.flush()


def main() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides what an interrupt means
    channel = Channel(os.fdopen(int(sys.argv[1]), "w", encoding="utf-8"))
    order = Order.from_json(json.loads(sys.stdin.readline()))
    progress = Progress()
    threading.Thread(target=_beat, args=(channel, progress), daemon=True).start()
    try:
        _work(order, channel, progress)
        channel.send("done")
    except Exception as error:
        # whatever torch raises is evidence for the supervisor, who knows which rank failed first
        import traceback

        traceback.print_exc()
        channel.send("failed", error=type(error).__name__, text=first_line(error), at=asdict(progress))
        sys.stderr.flush()
        os._exit(1)  # a communicator that lost a peer may hang in its destructor


def _beat(channel: Channel, progress: Progress) -> None:
    while True:
        try:
            channel.send("beat", **asdict(progress))
        except (OSError, ValueError):
            os._exit(3)  # the supervisor is gone
        time.sleep(BEAT_SECONDS)


def _work(order: Order, channel: Channel, progress: Progress) -> None:
    progress.stage = "importing torch"
    import torch
    import torch.distributed as dist

    from .backend.cases import measure_case, measure_on_rail
    from .backend.group import CudaClock, Group, HostClock

    progress.stage = "joining"
    device = torch.device("cuda", order.local_rank) if order.backend == "nccl" else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    clock = CudaClock(device) if device.type == "cuda" else HostClock()
    begun = time.perf_counter()
    store = _join(order, channel, dist, device)
    everyone = Group(tuple(range(order.size)), order.rank, None, device, clock)
    everyone.together()
    channel.send("ready", seconds=time.perf_counter() - begun, nccl=_nccl_version(torch))
    handles: dict[tuple[int, ...], Any] = {everyone.members: None}
    for case in order.cases:
        progress.case, progress.stage, progress.calls = case.id, "meeting", 0
        _open_groups(case, handles, dist)
        everyone.together()
        mine = next((group for group in case.groups if order.rank in group), None)
        if mine is None:
            continue
        place = mine.index(order.rank)
        if case.rail and order.rails:
            row = measure_on_rail(case, mine, everyone, store, order, progress)
        else:
            row = measure_case(case, Group(mine, place, handles.get(mine), device, clock), order, progress)
        if place == 0:
            channel.send("measurement", **row.to_json())
    progress.stage = "leaving"
    everyone.together()
    dist.destroy_process_group()


def _join(order: Order, channel: Channel, dist: Any, device: Any) -> Any:
    timeout = timedelta(seconds=order.timeout)
    if order.rank == 0:
        # port 0: the kernel picks a free one, so that no other process can take it in between
        store = dist.TCPStore(order.address, 0, order.size, True, timeout, wait_for_workers=False)
        channel.send("store", port=store.port)
    else:
        line = sys.stdin.readline()
        if not line:
            os._exit(3)
        store = dist.TCPStore(order.address, json.loads(line)["port"], order.size, False, timeout)
    dist.init_process_group(
        order.backend,
        store=store,
        rank=order.rank,
        world_size=order.size,
        timeout=timeout,
        device_id=device if device.type == "cuda" else None,
    )
    return store


def _nccl_version(torch: Any) -> str:
    if not torch.cuda.is_available():
        return ""
    return ".".join(str(part) for part in torch.cuda.nccl.version())


def _open_groups(case: Case, handles: dict[tuple[int, ...], Any], dist: Any) -> None:
    """Communicators for groups that are neither the whole job nor a pair; every rank calls in the same order."""
    for members in case.groups:
        # a pair needs no communicator of its own: it talks in that of the whole job
        pair = len(members) == 2 and case.collective.startswith("p2p")
        if members not in handles and not pair:
            handles[members] = dist.new_group(list(members))


if __name__ == "__main__":
    main()
