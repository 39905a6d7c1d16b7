"""The bytes of interfaces and InfiniBand ports and the state of their links: a few small files, quick enough for every
second of a run.

Sources: Linux, Documentation/ABI/testing/sysfs-class-net, Documentation/ABI/stable/sysfs-class-infiniband.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.model.counters import WORD
from bench.model.late_dataclass import dataclass
from bench.probe import sysfs


@dataclass(frozen=True)
class LinkBytes:
    """Bytes since the machine's start, None where they cannot be read; ``up``: None where that is not known; ``state``:
    what the kernel calls it.
    """

    sent: int | None
    received: int | None
    up: bool | None
    state: str | None

    def since(self, before: LinkBytes) -> tuple[int | None, int | None]:
        """Bytes sent and received since then; None where one is not known, or was reset."""
        return _growth(before.sent, self.sent), _growth(before.received, self.received)

    @property
    def total(self) -> int | None:
        return None if self.sent is None or self.received is None else self.sent + self.received


def of_interfaces(root: Path, names: Iterable[str]) -> dict[str, LinkBytes]:
    """Read the bytes of the interfaces with these names; an interface that is not there has none."""
    found = {}
    for name in names:
        folder = root / sysfs.NET / name
        sent, received = (_count(folder / "statistics" / way) for way in ("tx_bytes", "rx_bytes"))
        state = sysfs.text(folder / "operstate")
        found[name] = LinkBytes(sent, received, None if state in (None, "unknown") else state == "up", state)
    return found


def of_ports(root: Path) -> dict[str, LinkBytes]:
    """Read the bytes of every port of every HCA; its key is ``mlx5_3/1``."""
    found = {}
    for hca in sysfs.names(root / sysfs.INFINIBAND):
        for number in sysfs.names(root / sysfs.INFINIBAND / hca / "ports"):
            folder = root / sysfs.INFINIBAND / hca / "ports" / number
            sent, received = (
                _count(folder / "counters" / way) for way in ("port_xmit_data", "port_rcv_data")
            )
            state = sysfs.text(folder / "state")
            up = None if state is None else "ACTIVE" in state
            found[f"{hca}/{number}"] = LinkBytes(_bytes(sent), _bytes(received), up, state)
    return found


def _count(path: Path) -> int | None:
    return sysfs.value(path, sysfs.parse_count)


def _bytes(words: int | None) -> int | None:
    return None if words is None else words * WORD


def _growth(before: int | None, after: int | None) -> int | None:
    return after - before if before is not None and after is not None and after >= before else None
