"""The TCP sockets of this machine by the kernel's own table: who listens, and the data that connections hold.

Data that is not yet sent, acknowledged or read tells a rail that is slow from one that has nothing to do: where bytes
wait all the time, the rail is what limits. Source: Linux, Documentation/networking/proc_net_tcp.rst; the words of an
address are in the order of the machine.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from bench.model.late_dataclass import dataclass
from bench.probe import sysfs

FILES = ("proc/net/tcp", "proc/net/tcp6")
ESTABLISHED, LISTENING = "01", "0A"  # Linux, include/net/tcp_states.h


@dataclass(frozen=True)
class SocketQueue:
    """An established connection: its addresses, bytes ``unsent`` or unacknowledged, and bytes ``unread``."""

    local: str
    remote: str
    unsent: int
    unread: int


@dataclass(frozen=True)
class ListeningPort:
    """A TCP port that a process of the user ``uid`` listens on."""

    port: int
    uid: int


def socket_queues(root: Path, least: int = 1) -> tuple[SocketQueue, ...]:
    """The connections that hold at least so many bytes; the first MiB of each file."""
    return tuple(each for text in _tables(root) for each in queues_in(text, least))


def listeners(root: Path) -> frozenset[ListeningPort]:
    """The listening ports; the kernel lists them before the connections. Connecting would be taken for a client."""
    return frozenset(each for text in _tables(root) for each in listeners_in(text))


def queues_in(text: str, least: int = 1) -> Iterator[SocketQueue]:
    """Lines that are cut short or say something else are left out."""
    for words in _rows(text, ESTABLISHED, 6):
        try:
            unsent, unread = (int(part, 16) for part in words[4].split(":"))
            if max(unsent, unread) >= least:
                yield SocketQueue(_address(words[1]), _address(words[2]), unsent, unread)
        except ValueError:
            continue


def listeners_in(text: str) -> Iterator[ListeningPort]:
    """Lines that are cut short or say something else are left out."""
    for words in _rows(text, LISTENING, 8):
        port = words[1].rpartition(":")[2]
        try:
            yield ListeningPort(int(port, 16), int(words[7]))
        except ValueError:
            continue


def _tables(root: Path) -> Iterator[str]:
    return (sysfs.text(root / name) or "" for name in FILES)


def _rows(text: str, state: str, least: int) -> Iterator[list[str]]:
    """The words of each line after the head with this state and so many words or more."""
    for line in text.splitlines()[1:]:
        words = line.split(None, 8)
        if len(words) >= least and words[3] == state:
            yield words


@lru_cache(maxsize=4096)
def _address(word: str) -> str:
    """``10.0.1.2`` of ``0201000A:1F90``; of an IPv4 address in IPv6 the former."""
    digits = word.partition(":")[0]
    if len(digits) not in (8, 32):
        raise ValueError(word)
    raw = b"".join(int(digits[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(digits), 8))
    found = ipaddress.ip_address(raw)
    return str(getattr(found, "ipv4_mapped", None) or found)
