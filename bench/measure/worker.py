"""One phase of cases in one torch.distributed process.

The fork server forks it (``python -m bench.measure.worker FD`` starts that). A supervisor writes the order as one JSON
line to its standard input and, once the first rank's store has a port, the rendezvous as a second line. It
answers on its channel, a JSON line at a time: ``store``, ``ready``, ``beat``, ``window``, ``measurement``,
``done``, ``failed``. Standard output and error belong to torch and NCCL and go to the phase's log.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TextIO

from bench.model.case_templates import digest, unpacked
from bench.model.collectives import collective
from bench.model.groups import group_of, group_sizes
from bench.model.late_dataclass import asdict, dataclass, field, replace
from bench.model.measurement import Case
from bench.model.typed_json import load, to_json

from . import flight_recorder, forkserver
from .work_order import CAPTURING, HEARTBEAT_SECONDS, Progress, WorkOrder, first_line

if TYPE_CHECKING:  # torch is imported in _work, where how long that takes is timed
    from .backend.cases import CaseContext
    from .backend.group import Group

STALL_SECONDS = 4.0  # without progress, after which torch is asked what it recorded
RECORDERS = (
    "torch._C._distributed_c10d"  # never imported here: the heart must not wait for an import that hangs
)


@dataclass
class Channel:
    """Messages to the supervisor, one JSON line each, from two threads."""

    file: TextIO
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, kind: str, **fields: Any) -> None:
        line = json.dumps({"kind": kind, **fields}, separators=(",", ":"))
        with self.lock:
            self.file.write(line + "\n")
            self.file.flush()


def warm() -> None:
    """Import what every phase needs. What fails here fails again in the worker, where the supervisor hears of it."""
    with contextlib.suppress(Exception):
        import torch.distributed  # noqa: F401

        from .backend import cases, device, group, tcp_store  # noqa: F401


def phase(file: TextIO, asked: float) -> None:
    """Run one phase as its worker; ``asked``: when it was ordered (perf_counter of this machine)."""
    channel = Channel(file)
    order = load(WorkOrder, json.loads(sys.stdin.readline()))
    progress = Progress()
    threading.Thread(target=_beat, args=(channel, progress, order.backend), daemon=True).start()
    try:
        _work(order, channel, progress, asked)
        channel.send("done")
    except Exception as error:  # whatever torch raises is evidence for the supervisor, which ends the worker
        import traceback

        traceback.print_exc()
        channel.send("failed", error=type(error).__name__, text=first_line(error), at=asdict(progress))
        sys.stderr.flush()
        os._exit(1)  # a communicator that lost a peer may hang in its destructor


def _beat(channel: Channel, progress: Progress, backend: str) -> None:
    at, since, reported = asdict(progress), time.monotonic(), False
    while True:
        try:
            channel.send("beat", **asdict(progress))
        except (OSError, ValueError):
            os._exit(3)  # the supervisor is gone
        if asdict(progress) != at:
            at, since, reported = asdict(progress), time.monotonic(), False
        elif not reported and progress.stage != CAPTURING and time.monotonic() - since > STALL_SECONDS:
            reported = True
            # in a thread of its own: what asks a hung library may hang too, and the heart must not
            threading.Thread(target=_tell_flight, args=(channel, backend), daemon=True).start()
        time.sleep(HEARTBEAT_SECONDS)


def _tell_flight(channel: Channel, backend: str) -> None:
    """Send what torch's recorder holds of the last collectives; nothing where there is no recorder, or it is off."""
    found = flight_recorder.held(sys.modules.get(RECORDERS), backend)
    if found.last:
        with contextlib.suppress(OSError, ValueError):  # the supervisor is gone: the heart ends us
            channel.send("flight", **to_json(found))


def _work(order: WorkOrder, channel: Channel, progress: Progress, asked: float) -> None:
    progress.stage = "importing torch"
    import torch.distributed as dist

    from .backend import device as devices
    from .backend.cases import CaseContext
    from .backend.group import CudaClock, Group, HostClock

    _threads()
    imported = time.perf_counter()
    progress.stage = "joining"
    device = devices.of_rank(order.backend, order.local_rank)
    devices.use(device)
    opened = time.perf_counter()
    store = _meet(order, channel, dist)
    met = time.perf_counter()
    timeout = timedelta(seconds=order.timeout)
    os.environ.update(flight_recorder.switched_on(os.environ, sys.modules.get(RECORDERS)))
    dist.init_process_group(
        order.backend,
        store=store,
        rank=order.rank,
        world_size=order.size,
        timeout=timeout,
        **devices.eager(device),
    )
    connected = time.perf_counter()
    clock = CudaClock(device) if device.type == "cuda" else HostClock()
    everyone = Group(tuple(range(order.size)), order.rank, None, device, clock)
    everyone.together()
    seconds = {
        "import": imported - asked,
        **({"context": opened - imported} if device.type == "cuda" else {}),
        "meet": met - opened,
        "init": connected - met,
        "first": time.perf_counter() - connected,
    }
    cases = unpacked(order.cases)
    gpu = devices.identity(device)
    channel.send("ready", seconds=seconds, versions=devices.versions(), gpu=gpu, plan=digest(cases))
    _cases(cases, everyone, store, dist, CaseContext(order, progress, channel.send))
    progress.stage = "leaving"
    everyone.together()
    dist.destroy_process_group()


def _threads() -> None:
    """Set torch's threads as this phase's environment says: the library read the variable when it was loaded."""
    import torch

    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if wanted.isdigit() and int(wanted):
        torch.set_num_threads(int(wanted))


def _cases(cases: Iterable[Case], everyone: Group, store: Any, dist: Any, to: CaseContext) -> None:
    """Measure every case in turn; ranks that are in none of its groups wait for the next."""
    from .backend.cases import failed, measure_case, measure_on_rail
    from .backend.device import Unsupported, release_memory

    order, progress = to.order, to.progress
    handles: dict[tuple[int, ...], Any] = {everyone.members: None}
    for case in cases:
        progress.case, progress.stage, progress.calls = case.id, "meeting", 0
        to.tell("beat", **asdict(progress))  # at once: the supervisor looks at the GPU around each case
        _open_groups(case, handles, dist, order)
        everyone.together()
        mine = order.placed(group_of(case.groups, order.numbers[order.rank]))
        if not mine:
            continue
        if case.rail and order.rails:
            row = measure_on_rail(case, mine, everyone, store, to)
        else:
            group = replace(everyone, members=mine, place=mine.index(order.rank), handle=handles.get(mine))
            try:
                row = measure_case(case, group, to)
            except Unsupported as error:
                row = failed(case, mine, error)
        release_memory(everyone.device)
        if mine.index(order.rank) == 0:
            to.tell("measurement", **to_json(row))


def _meet(order: WorkOrder, channel: Channel, dist: Any) -> Any:
    """Open the rendezvous store on the first rank, or connect to it."""
    timeout = timedelta(seconds=order.timeout)
    if order.rank == 0:
        from .backend import tcp_store as meeting

        store = meeting.opened(dist, order.address, order.size, timeout, order.ports)
        channel.send("store", port=store.port)
        return store
    line = sys.stdin.readline()
    if not line:
        os._exit(3)
    return dist.TCPStore(order.address, json.loads(line)["port"], order.size, False, timeout)


def _open_groups(case: Case, handles: dict[tuple[int, ...], Any], dist: Any, order: WorkOrder) -> None:
    """Open communicators for groups that are neither the whole job nor a pair; every rank calls in the same order."""
    # a pair needs no communicator of its own: it talks in that of the whole job; a copy talks to nobody
    p2p = case.collective.startswith("p2p")
    if collective(case.collective).alone or (p2p and group_sizes(case.groups) == {2}):
        return
    for members in map(order.placed, case.groups):
        if members not in handles and not (p2p and len(members) == 2):
            handles[members] = dist.new_group(list(members), timeout=timedelta(seconds=order.timeout))


if __name__ == "__main__":
    forkserver.serve(int(sys.argv[1]), warm, phase)
