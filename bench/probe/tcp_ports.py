"""TCP ports at which a job listens on an outward address: a fixed range, so that a packet filter can name it."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

PORTS = (29_600, 29_699)  # below those that the kernel gives away (net.ipv4.ip_local_port_range)
MEND = "name other ports with --ports FIRST-LAST, or end what holds these (ss -ltnp)"


def to_try(ports: Sequence[int]) -> tuple[int, ...]:
    """The ports of a range in a random order: of two jobs that begin together, neither waits for the other's."""
    import random  # the command line reads PORTS alone

    first, last = ports
    return tuple(random.sample(range(first, last + 1), last + 1 - first))


def listen_at(address: str, ports: Sequence[int] = ()) -> socket.socket:
    """A socket that listens at ``address`` on a free port of the range; without one, and on the loopback, on any.

    Raises OSError: the machine does not have the address, or every port is taken.
    """
    import socket

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    inward = address == "::1" or address.startswith("127.")
    for port in to_try(ports) if ports and not inward else (0,):
        try:
            return socket.create_server((address, port), family=family, backlog=1024)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    shown = "-".join(str(each) for each in ports)
    raise OSError(errno.EADDRINUSE, f"every port of {shown} is in use at {address}: {MEND}")
