"""Which addresses of other nodes this one reaches by TCP: each is tried against a listener that says whose it is.

An address can be in use on several machines (a container bridge is, on every node), so a connection alone proves
nothing: the listener greets with a word of this job and the name of its node.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from bench.model.late_dataclass import dataclass, field

from .tcp_ports import listen_at

SECONDS = 1.0  # for one try
TRIES = 2  # a lost packet is sent again after a second, and must accuse nobody
OPEN_SECONDS = 30.0  # for which the listeners stay open: every node has tried by then
AT_ONCE = 200  # connections that one node tries at the same time; it may have 1024 files open
GREETING = 512  # bytes


class Target(NamedTuple):
    """Where a node is to be reached, and the greeting that must come from there."""

    address: str
    port: int
    greeting: str


class Try(NamedTuple):
    """Whether one target was reached: from which local address ("": it was not), and the reason when it was not."""

    source: str
    reason: str


def answered(tries: Sequence[Try], targets: int) -> list[Try]:
    """What a node said about its targets; one that it leaves out counts as not reached."""
    return [*tries[:targets]] + [Try("", "it does not say")] * (targets - len(tries))


def listen(addresses: Sequence[str], greeting: str, ports: Sequence[int] = ()) -> dict[str, int]:
    """Greet whoever connects to ``addresses`` for some seconds; address → port, of those that could be opened.

    ``ports``: the first and the last of a range, or none.
    """
    opened = {}
    for address in addresses:
        try:
            opened[address] = listen_at(address, ports)
        except OSError:
            continue
    found = {address: int(each.getsockname()[1]) for address, each in opened.items()}
    threading.Thread(target=_greet, args=(tuple(opened.values()), greeting.encode()), daemon=True).start()
    return found


def _greet(listening: Sequence[socket.socket], greeting: bytes) -> None:
    until = time.monotonic() + OPEN_SECONDS
    with selectors.DefaultSelector() as waiting:
        for each in listening:
            each.setblocking(False)
            waiting.register(each, selectors.EVENT_READ)
        while listening and (left := until - time.monotonic()) > 0:
            for key, _ in waiting.select(left):
                try:
                    sock, _address = key.fileobj.accept()  # type: ignore[union-attr]
                    with sock:
                        sock.setblocking(False)
                        sock.send(greeting)  # fits into an empty buffer
                except OSError:  # the caller has gone
                    continue
    for each in listening:
        each.close()


@dataclass
class _Call:
    target: Target
    socket: socket.socket
    received: bytearray = field(default_factory=bytearray)


def reach(targets: Sequence[Target]) -> list[Try]:
    """Try every target, those that fail once more."""
    found = [Try("", "")] * len(targets)
    left = list(range(len(targets)))
    for _ in range(TRIES):
        for first in range(0, len(left), AT_ONCE):
            turn = left[first : first + AT_ONCE]
            for at, tried in zip(turn, _reach([targets[each] for each in turn]), strict=True):
                found[at] = tried
        left = [at for at in left if not found[at].source]
    return found


def _reach(targets: Sequence[Target]) -> list[Try]:
    """All of ``targets`` at the same time."""
    found = [Try("", f"no answer within {SECONDS:.0f} s")] * len(targets)
    until = time.monotonic() + SECONDS
    with selectors.DefaultSelector() as waiting:
        for at, target in enumerate(targets):
            sock = socket.socket(socket.AF_INET6 if ":" in target.address else socket.AF_INET)
            sock.setblocking(False)
            error = sock.connect_ex((target.address, target.port))
            if error not in (0, errno.EINPROGRESS):
                found[at] = Try("", os.strerror(error))
                sock.close()
                continue
            waiting.register(sock, selectors.EVENT_READ, (at, _Call(target, sock)))
        while waiting.get_map() and (left := until - time.monotonic()) > 0:
            for key, _ in waiting.select(left):
                at, call = key.data
                if (tried := _result(call)) is not None:
                    found[at] = tried
                    waiting.unregister(call.socket)
                    call.socket.close()
        for key in list(waiting.get_map().values()):
            key.data[1].socket.close()
    return found


def _result(call: _Call) -> Try | None:
    """What came of a call whose socket can be read; None while its greeting is not complete."""
    wanted = call.target.greeting.encode()
    try:
        data = call.socket.recv(GREETING)
        call.received += data
        if call.received == wanted:
            return Try(str(call.socket.getsockname()[0]), "")
    except BlockingIOError:
        return None
    except OSError as error:
        return Try("", error.strerror or type(error).__name__)
    if data and wanted.startswith(bytes(call.received)):
        return None
    job, _, node = bytes(call.received).decode(errors="replace").partition(" ")
    mine = bool(node) and job == call.target.greeting.partition(" ")[0]
    return Try("", f"{node} answers at this address" if mine else "another program answers there")
