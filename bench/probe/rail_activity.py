"""Watches the rails during a run: the link state of each, and how long ago its bytes last moved."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.model.late_dataclass import dataclass, field
from bench.probe.link_bytes import LinkBytes, of_interfaces, of_ports

STILL = 8192  # bytes between two looks that are no message: keepalives, retries, ARP


@dataclass
class RailActivity:
    """The rails of this node: ``interfaces`` by name, or where there are none all InfiniBand ports.

    ``links``: their bytes and states at the last look.
    """

    interfaces: Sequence[str]
    root: Path = Path("/")
    clock: Callable[[], float] = time.monotonic
    links: dict[str, LinkBytes] = field(default_factory=dict)
    _bytes: dict[str, int] = field(default_factory=dict)
    _moved: dict[str, float] = field(default_factory=dict)

    def look(self) -> dict[str, list[float | bool | None]]:
        """Rail -> [seconds since bytes last moved, whether its link is up (None: not known)]."""
        now = self.clock()
        self.links = of_interfaces(self.root, self.interfaces) if self.interfaces else _once_up(self.root)
        for name, link in self.links.items():
            if link.total is None:
                continue
            if link.total - self._bytes.get(name, -STILL - 1) > STILL:
                self._moved[name] = now
            self._bytes[name] = link.total
        return {
            name: [now - self._moved[name], link.up]
            for name, link in self.links.items()
            if name in self._moved
        }


def _once_up(root: Path) -> dict[str, LinkBytes]:
    """The ports that are counted and have a cable."""
    found = of_ports(root)
    return {
        name: link
        for name, link in found.items()
        if link.total is not None and link.state is not None and "DOWN" not in link.state
    }
