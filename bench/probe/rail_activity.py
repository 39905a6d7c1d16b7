"""Watches the rails during a run: the link state of each, and how long ago its bytes last moved.

Read every second by each supervisor, so a few small files and nothing else. Sources: Linux,
Documentation/ABI/testing/sysfs-class-net, Documentation/ABI/stable/sysfs-class-infiniband.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.probe import sysfs

NET, IB = "sys/class/net", "sys/class/infiniband"
WORD = 4  # bytes of one step of an InfiniBand port's data counters
STILL = 8192  # bytes between two looks that are no message: keepalives, retries, ARP


@dataclass
class RailActivity:
    """The rails of this node: ``interfaces`` by name, or where there are none all InfiniBand ports."""

    interfaces: Sequence[str]
    root: Path = Path("/")
    clock: Callable[[], float] = time.monotonic
    _bytes: dict[str, int] = field(default_factory=dict)
    _moved: dict[str, float] = field(default_factory=dict)

    def look(self) -> dict[str, list[float | bool | None]]:
        """Rail -> [seconds since bytes last moved, whether its link is up (None: not known)]."""
        now, seen = self.clock(), self._interfaces() if self.interfaces else self._ports()
        for name, (moved, _) in seen.items():
            if moved is not None and moved - self._bytes.get(name, -STILL - 1) > STILL:
                self._moved[name] = now
            if moved is not None:
                self._bytes[name] = moved
        return {name: [now - self._moved[name], up] for name, (_, up) in seen.items() if name in self._moved}

    def _interfaces(self) -> dict[str, tuple[int | None, bool | None]]:
        found: dict[str, tuple[int | None, bool | None]] = {}
        for name in self.interfaces:
            folder = self.root / NET / name
            counts = [
                sysfs.value(folder / "statistics" / way, sysfs.parse_count)
                for way in ("tx_bytes", "rx_bytes")
            ]
            state = sysfs.text(folder / "operstate")
            found[name] = (_sum(counts), None if state in (None, "unknown") else state == "up")
        return found

    def _ports(self) -> dict[str, tuple[int | None, bool | None]]:
        found: dict[str, tuple[int | None, bool | None]] = {}
        for hca in sysfs.names(self.root / IB):
            for number in sysfs.names(self.root / IB / hca / "ports"):
                folder = self.root / IB / hca / "ports" / number
                counts = [
                    sysfs.value(folder / "counters" / way, sysfs.parse_count)
                    for way in ("port_xmit_data", "port_rcv_data")
                ]
                total, state = _sum(counts), sysfs.text(folder / "state")
                if total is not None and state is not None and "DOWN" not in state:
                    found[f"{hca}/{number}"] = (total * WORD, "ACTIVE" in state)
        return found


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
