"""Watches one node beside the job of somebody else: a thread looks at its sockets, rank 0 asks for the sums.

Nothing is sent over the network for it. The thread takes at most BUSY of one core: where there are many sockets it
looks more seldom.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_interface
from pathlib import Path

from bench.model.activity import DeviceActivity, InspectedCalls, NodeActivity
from bench.model.counter_table import HW, NET, PMA, TABLE, CounterRole
from bench.model.late_dataclass import dataclass, field
from bench.model.rails import inward
from bench.nccl.inspector import inspected
from bench.probe import addresses, sysfs
from bench.probe.link_bytes import LinkBytes, of_interfaces, of_ports
from bench.probe.tcp_sockets import SocketQueue, socket_queues

from .hangs import nccl_ras

LOOK_SECONDS = 0.05
BUSY = 0.1  # of one core: the kernel takes some ms to list its sockets
DEEP = 64 << 10  # bytes in a socket: more than a message that is merely on its way
RAS_SECONDS = 30.0
NEWEST = 8 << 20  # bytes of an Inspector's file that are read at once

_ERRORS = {
    group: [row.name for row in TABLE if row.group == group and row.role is CounterRole.ERROR]
    for group in (PMA, HW, NET)
}


@dataclass
class QueueTally:
    """How often the sockets of each device held data. ``devices``: address of this machine → its device."""

    devices: Mapping[str, str]
    looks: int = 0
    waiting: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    toward: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, found: tuple[SocketQueue, ...]) -> None:
        """One look."""
        self.looks += 1
        waiting, unread = set[str](), set[str]()
        for each in found:
            name = "lo" if each.remote in self.devices else self.devices.get(each.local, "")
            if each.unsent >= DEEP:
                waiting.add(name)
                self.toward.setdefault(name, Counter())[each.remote] += each.unsent
            if each.unread >= DEEP:
                unread.add(name)
        self.waiting.update(waiting)
        self.unread.update(unread)

    def share(self, of: Counter[str], name: str) -> float:
        return of[name] / self.looks if self.looks else 0.0

    def most(self, name: str) -> str:
        found = self.toward.get(name)
        return found.most_common(1)[0][0] if found else ""


class NodeWatch:
    """``inspector``: the folder in which NCCL's Inspector writes; ``ras``: NCCL's settings by which its RAS is asked,
    None: it is not.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        inspector: Path | None = None,
        ras: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root, self._clock = root, clock
        self._tally = QueueTally(_own_addresses())
        self._lock = threading.Lock()
        self._files = InspectorFiles(inspector) if inspector else None
        self._at, self._links = clock(), _links(root)
        self._errors = dict(_errors(root))
        self._ras = ""
        threading.Thread(target=self._look, daemon=True).start()
        if ras is not None:
            threading.Thread(target=self._ask_ras, args=(ras,), daemon=True).start()

    def _look(self) -> None:
        while True:
            begun = time.thread_time()
            found = socket_queues(self._root, DEEP)
            with self._lock:
                self._tally.add(found)
            time.sleep(max(LOOK_SECONDS, (time.thread_time() - begun) / BUSY))

    def _ask_ras(self, settings: Mapping[str, str]) -> None:
        while True:
            try:
                self._ras = nccl_ras.parse(nccl_ras.ask(settings).text).summary
            except OSError:  # no job, or none with RAS
                self._ras = ""
            time.sleep(RAS_SECONDS)

    def take(self) -> NodeActivity:
        """What has happened since the last call."""
        now, links = self._clock(), _links(self._root)
        with self._lock:
            tally, self._tally = self._tally, QueueTally(_own_addresses())
        devices = {
            name: DeviceActivity(
                *link.since(self._links.get(name, link)),
                link.up,
                tally.share(tally.waiting, name),
                tally.share(tally.unread, name),
                tally.most(name),
            )
            for name, link in links.items()
        }
        gone = {name: DeviceActivity(up=False) for name in self._links if name not in links}
        span, self._at = now - self._at, now
        self._links = {**{name: LinkBytes(None, None, False, None) for name in gone}, **links}
        calls = self._files.new() if self._files else ()
        return NodeActivity(span, tally.looks, {**devices, **gone}, dict(self._grown()), calls, self._ras)

    def _grown(self) -> Iterator[tuple[str, int]]:
        for name, count in _errors(self._root):
            before = self._errors.setdefault(name, count)
            if count < before:  # somebody reset it, or the driver was loaded anew
                self._errors[name] = count
            elif count > before:
                yield name, count - before


class InspectorFiles:
    """The lines that NCCL's Inspector adds to the files of a folder from now on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read = {path: path.stat().st_size for path in self._paths()}

    def _paths(self) -> list[Path]:
        try:
            return sorted(path for path in self._folder.glob("*.log") if path.is_file())
        except OSError:
            return []

    def new(self) -> tuple[InspectedCalls, ...]:
        return inspected(line for path in self._paths() for line in self._lines(path))

    def _lines(self, path: Path) -> list[str]:
        """The new whole lines of a file; when there are more than NEWEST bytes, the newest of them."""
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                start = max(self._read.get(path, 0), size - NEWEST)
                start = file.seek(start if start <= size else 0)
                text, end, _ = file.read(NEWEST).rpartition(b"\n")
                self._read[path] = start + len(text) + len(end)
        except OSError:
            return []
        return text.decode(errors="replace").splitlines()


def _own_addresses() -> dict[str, str]:
    """Address → its device; without those of the loopback, which stand for themselves."""
    try:
        found = addresses.addresses()
    except OSError:
        return {}
    return {str(ip_interface(each).ip): name for name, all_of_it in found.items() for each in all_of_it}


def _links(root: Path) -> dict[str, LinkBytes]:
    names = [name for name in sysfs.names(root / sysfs.NET) if name == "lo" or not inward(name)]
    there = [name for name in names if (root / sysfs.NET / name).is_dir()]  # bonding_masters is a file
    return {**of_ports(root), **of_interfaces(root, there)}


def _errors(root: Path) -> Iterator[tuple[str, int]]:
    """``eth3 rx_errors`` → its count, of every error counter that is known by its name."""
    for name in sysfs.names(root / sysfs.NET):
        folder = root / sysfs.NET / name
        if not inward(name) and folder.is_dir():
            yield from _counts(name, _ERRORS[NET], folder / "statistics", folder)
    for hca in sysfs.names(root / sysfs.INFINIBAND):
        for number in sysfs.names(root / sysfs.INFINIBAND / hca / "ports"):
            for group in (PMA, HW):
                yield from _counts(
                    f"{hca}/{number}",
                    _ERRORS[group],
                    root / sysfs.INFINIBAND / hca / "ports" / number / group,
                )


def _counts(device: str, names: list[str], *folders: Path) -> Iterator[tuple[str, int]]:
    for name in names:
        for folder in folders:
            count = sysfs.value(folder / name, sysfs.parse_count)
            if count is not None:
                yield f"{device} {name}", count
                break
