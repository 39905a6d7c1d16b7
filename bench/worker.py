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

from .collectives import Call, collective
from .elements import element, pattern, reduction
from .measure import Rules, measure
from .model import Case, Measurement, Mismatch

BEAT_SECONDS = 0.5
RAIL_LIMIT = 8.0  # seconds that a pair waits for a rail that does not answer
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Order:
    """What a worker is told.

    address    where the first rank's store listens
    rotation   case id -> buffers to rotate through
    rails      interfaces in rail order, where gloo has to be told which one to use
    """

    phase: str
    cases: tuple[Case, ...]
    rank: int
    size: int
    local_rank: int
    backend: str
    address: str
    timeout: float
    rules: Rules
    repetitions: int
    rotation: dict[str, int]
    rails: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "cases": [case.to_json() for case in self.cases],
            "rules": asdict(self.rules),
        }

    @staticmethod
    def from_json(row: dict[str, Any]) -> Order:
        cases = tuple(Case.from_json(case) for case in row["cases"])
        return Order(**{**row, "cases": cases, "rules": Rules(**row["rules"]), "rails": tuple(row["rails"])})


@dataclass
class Progress:
    """Where this worker is; the main thread writes it, the heartbeat thread reads it."""

    case: str = ""
    stage: str = "starting"
    calls: int = 0


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
        channel.send("failed", error=type(error).__name__, text=_first_line(error), at=asdict(progress))
        sys.stderr.flush()
        os._exit(1)  # a communicator that lost a peer may hang in its destructor


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0][:400] if lines else type(error).__name__


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

    from .backend.group import CudaClock, Group, HostClock

    progress.stage = "joining"
    device = torch.device("cuda", order.local_rank) if order.backend == "nccl" else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    clock = CudaClock(device) if device.type == "cuda" else HostClock()
    begun = time.perf_counter()
    _join(order, channel, dist, device)
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
            row = _on_rail(case, mine, place, device, clock, order, progress)
        else:
            row = _case(case, Group(mine, place, handles.get(mine), device, clock), order, progress)
        if place == 0:
            channel.send("measurement", **row.to_json())
    progress.stage = "leaving"
    everyone.together()
    dist.destroy_process_group()


def _join(order: Order, channel: Channel, dist: Any, device: Any) -> None:
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


def _on_rail(
    case: Case, mine: tuple[int, ...], place: int, device: Any, clock: Any, order: Order, progress: Progress
) -> Measurement:
    """Measure a pair over one interface, in a gloo group of its own.

    A rail that is down, or swallows what is sent, is a result and not the end of the phase: the pair
    gives up after a while, says why, and both go on to their next partners.
    """
    import torch.distributed as dist

    from .backend.group import Group

    rail = order.rails[order.local_rank % len(order.rails)] if case.rail == "own" else case.rail
    before = os.environ.get("GLOO_SOCKET_IFNAME")
    os.environ["GLOO_SOCKET_IFNAME"] = rail
    try:
        limit = timedelta(seconds=RAIL_LIMIT)
        handle = dist.new_group(list(mine), timeout=limit, use_local_synchronization=True)
        row = _case(case, Group(mine, place, handle, device, clock), order, progress)
        dist.destroy_process_group(handle)
        return row
    except RuntimeError as error:
        return Measurement(
            case=case.id,
            ranks=mine,
            pipelined=(),
            calls=0,
            isolated=(),
            last=(),
            wrong=(None,) * len(mine),
            checked=0,
            mismatches=(),
            stop="failed",
            width=-1.0,
            warmup=0,
            extra={"failed": _first_line(error)},
        )
    finally:
        if before is None:
            del os.environ["GLOO_SOCKET_IFNAME"]
        else:
            os.environ["GLOO_SOCKET_IFNAME"] = before


def _case(case: Case, group: Any, order: Order, progress: Progress) -> Measurement:
    import torch
    import torch.distributed as dist

    from .backend.buffers import allocate
    from .backend.truth import POISON, Data

    row, kind = collective(case.collective), element(case.dtype)
    n, rank, root = len(group.members), group.place, max(case.root, 0)
    op = reduction(case.op) if row.reduces else None
    torch_op = getattr(dist.ReduceOp, {"prod": "PRODUCT"}.get(case.op, case.op.upper())) if op else None
    call = Call(dist, group.handle, group.members, rank, root, torch_op)
    data = Data(kind, op, pattern(kind, case.op, n), n)
    progress.stage = "allocating"
    place = (rank, n, root)
    buffers = allocate(
        row,
        case.count,
        getattr(torch, kind.name),
        case.placement,
        place,
        order.rotation[case.id],
        group.device,
    )
    started = time.time()

    def launch(i: int) -> None:
        progress.calls += 1
        which = i % len(buffers)
        row.call(call, buffers.send[which], buffers.recv[which])

    progress.stage = "checking"
    wrong, checked, first = 0, 0, None
    truth = row.truth(rank, n, root)
    for repetition in range(order.repetitions):
        which = repetition % len(buffers)
        buffers.recv[which].fill_(POISON)
        data.fill(buffers.send[which], rank, repetition)
        group.together()
        launch(which)
        group.clock.settle()
        count, mismatch = data.wrong(buffers.recv[which], truth, rank, repetition) if truth else (0, None)
        wrong, first = wrong + count, first or mismatch
        checked += buffers.recv[which].numel() if truth else 0
    for send in buffers.send[1:]:
        send.copy_(buffers.send[0])
    progress.stage, progress.calls = "timing", 0
    times = measure(group, launch, order.rules)
    progress.stage = "sharing"
    verdicts = group.share(_pack(wrong, checked, first))
    return Measurement(
        case=case.id,
        ranks=group.members,
        pipelined=tuple(tuple(round(value, 10) for value in block) for block in times.pipelined),
        calls=times.calls,
        isolated=tuple(round(value, 10) for value in times.isolated),
        last=times.last,
        wrong=tuple(int(line[0]) if line[1] else None for line in verdicts),
        checked=int(sum(line[1] for line in verdicts)),
        mismatches=tuple(_unpack(line, group.members[i]) for i, line in enumerate(verdicts) if line[2]),
        stop=times.stop,
        width=times.width if times.width < 1e9 else -1.0,
        warmup=times.warmup,
        started=started,
        ended=time.time(),
    )


def _pack(wrong: int, checked: int, first: Mismatch | None) -> list[float]:
    if first is None:
        return [wrong, checked, 0, 0, 0, 0, 0]
    return [wrong, checked, 1, first.index, first.repetition, first.got, first.wanted]


def _unpack(line: list[float], rank: int) -> Mismatch:
    return Mismatch(rank=rank, index=int(line[3]), repetition=int(line[4]), got=line[5], wanted=line[6])


if __name__ == "__main__":
    main()
