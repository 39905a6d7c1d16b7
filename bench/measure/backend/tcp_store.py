"""The rendezvous store of a phase, on its first rank.

torch binds a store of its own to all addresses of the machine, whatever host name it is given, so the socket is bound
here, to the one address that the others were told, and handed over: ``master_listen_fd``. The store takes whoever
connects: it has no authentication.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from bench.probe.tcp_ports import listen_at


def opened(dist: Any, address: str, size: int, timeout: timedelta, ports: Sequence[int] = ()) -> Any:
    """A ``torch.distributed.TCPStore`` that listens at ``address`` alone, on a port of the range ``ports``."""
    listening = listen_at(address, ports)
    try:
        port = listening.getsockname()[1]
        given = {"wait_for_workers": False, "master_listen_fd": listening.fileno()}
        try:
            store = dist.TCPStore(address, port, size, True, timeout, **given)
        except NotImplementedError:
            # torch 2.4 to 2.7: the server that it prefers takes no socket, the one before it does
            store = dist.TCPStore(address, port, size, True, timeout, **given, use_libuv=False)
    except BaseException:  # raised again: the port must not stay open
        listening.close()
        raise
    listening.detach()  # the store closes it
    return store
