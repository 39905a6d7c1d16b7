"""The data that TCP sockets of this machine hold: not yet sent or acknowledged, or not yet read by their process.

It tells a rail that is slow from one that has nothing to do: where bytes wait all the time, the rail is what limits.
Source: Linux, Documentation/networking/proc_net_tcp.rst; the words of an address are in the order of the machine.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bench.probe import sysfs

FILES = ("proc/net/tcp", "proc/net/tcp6")
ESTABLISHED = "01"


@dataclass(frozen=True)
class SocketQueue:
    """An established connection: its addresses, bytes ``unsent`` or unacknowledged, and bytes ``unread``."""

    local: str
    remote: str
    unsent: int
    unread: int


def socket_queues(root: Path, least: int = 1) -> tuple[SocketQueue, ...]:
    """The connections that hold at least so many bytes; the first MiB of each file."""
    return tuple(each for name in FILES for each in parse(sysfs.text(root / name) or "", least))


def parse(text: str, least: int = 1) -> Iterator[SocketQueue]:
    """Lines that are cut short or say something else are left out."""
    for line in text.splitlines()[1:]:
        words = line.split(None, 5)
        if len(words) < 6 or words[3] != ESTABLISHED:
            continue
        try:
            unsent, unread = (int(part, 16) for part in words[4].split(":"))
            if max(unsent, unread) >= least:
                yield SocketQueue(_address(words[1]), _address(words[2]), unsent, unread)
        except ValueError:
            continue


@lru_cache(maxsize=4096)
def _address(word: str) -> str:
    """``10.0.1.2`` of ``0201000A:1F90``; of an IPv4 address in IPv6 the former."""
    digits = word.partition(":")[0]
    if len(digits) not in (8, 32):
        raise ValueError(word)
    raw = b"".join(int(digits[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(digits), 8))
    found = ipaddress.ip_address(raw)
    return str(getattr(found, "ipv4_mapped", None) or found)
