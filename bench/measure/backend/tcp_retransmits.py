"""Counts TCP segments that this process's own connections retransmitted, socket by socket, as the kernel counts them.

/proc/net/snmp counts a whole machine; with all rails loaded at once only the sockets themselves say
which rail loses packets.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from pathlib import Path

SIOCGIFADDR = 0x8915
TOTAL_RETRANS = 100  # offset of tcpi_total_retrans in struct tcp_info (linux/tcp.h), a 32-bit count
INFO_BYTES = 104


def retransmitted(interface: str) -> int | None:
    """Segments retransmitted so far by our TCP connections from ``interface``; None: it has no IPv4 address."""
    address = _address(interface)
    if address is None:
        return None
    return sum(_of_socket(int(entry.name), address) for entry in Path("/proc/self/fd").iterdir())


def _address(interface: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        try:
            answer = fcntl.ioctl(asker.fileno(), SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def _of_socket(descriptor: int, address: str) -> int:
    try:
        # a duplicate: closing it leaves gloo's own descriptor alone
        own = os.dup(descriptor)
    except OSError:
        return 0
    try:
        connection = socket.socket(fileno=own)
    except OSError:  # a file, a pipe: no socket
        os.close(own)
        return 0
    with connection:
        return _of_connection(connection, address)


def _of_connection(connection: socket.socket, address: str) -> int:
    try:
        if connection.type != socket.SOCK_STREAM or connection.getsockname()[0] != address:
            return 0
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO_BYTES)
    except (OSError, IndexError):
        return 0
    return int(struct.unpack_from("I", info, TOTAL_RETRANS)[0]) if len(info) >= INFO_BYTES else 0
