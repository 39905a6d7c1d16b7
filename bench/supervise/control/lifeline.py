"""A connection from every supervisor to rank 0 beside MPI, which does not tell who died.

Under MPI a peer that is gone is silence. The kernel closes a socket in the moment in which its process ends, whatever
ended it, so that rank 0 knows who was first before the launcher, which ends all the others, gets to it. Last words
go over it as well. It is authenticated like the star over TCP, by a secret that rank 0 hands out over MPI; a cluster on
whose management network no port can be reached does without.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from .protocol import Control, Message
from .rendezvous import Door, Knock, NotMet
from .tcp import Tcp

MEET_SECONDS = 20.0
PORTS = (0,)  # any that is free
REST = 0.002


class Watched:
    """A star over ``inner``, and a line to tell who is gone.

    Once something came over the line everything goes over it, for somebody is gone: Open MPI aborts a process that
    touches a connection whose other end has died, whatever its error handler. So the line is looked at first, too.
    """

    def __init__(self, inner: Control, line: Tcp) -> None:
        self.rank, self.size = inner.rank, inner.size
        self._inner, self._line = inner, line
        self._cut = False

    def send(self, to: int, message: Message) -> None:
        last = self._cut or message.get("said") == "farewell"
        (self._line if last else self._inner).send(to, message)

    def receive(self) -> Iterator[tuple[int, Message]]:
        for source, message in self._line.receive():
            self._cut = True
            yield source, message
        if not self._cut:
            yield from self._inner.receive()

    def flush(self, limit: float) -> bool:
        begun = time.monotonic()
        left = self._line.flush(limit)
        return left if self._cut else left and self._inner.flush(max(0.0, limit - (time.monotonic() - begun)))

    def close(self) -> None:
        self._line.close()
        self._inner.close()

    def abandon(self, status: int) -> None:
        self._line.close()
        self._inner.abandon(status)


def watched(
    inner: Control, addresses: Callable[[bool], tuple[str, ...]], say: Callable[[str], None]
) -> Control:
    """``inner`` with a line beside it; without one, which is said, where the supervisors cannot reach each other so.

    ``addresses`` are those at which rank 0 listens, given whether all are on its machine. All ranks call this at the
    same time; at most a few times MEET_SECONDS pass.
    """
    if inner.size == 1:
        return inner
    try:
        line = _host(inner, addresses, say) if inner.rank == 0 else _join(inner, say)
    except NotMet as error:
        if inner.rank == 0:
            say(f"no line beside MPI to the others, so who dies is found later: {error}")
        line = None
    return _agreed(inner, line)


def _host(inner: Control, addresses: Callable[[bool], tuple[str, ...]], say: Callable[[str], None]) -> Tcp:
    run, secret = secrets.token_hex(8), secrets.token_bytes(32)
    told: Message = {"door": []}
    try:
        homes = {str(message["home"]) for message in _heard(inner, inner.size - 1, "home").values()}
        where = addresses(homes == {socket.gethostname()})
        door = Door(where, PORTS, say)
        told = {"door": [*where], "port": door.port, "run": run, "secret": secret.hex()}
    finally:
        for rank in range(1, inner.size):
            inner.send(rank, told)
    return door.wait(run, inner.size, secret, MEET_SECONDS)


def _join(inner: Control, say: Callable[[str], None]) -> Tcp:
    inner.send(0, {"home": socket.gethostname()})
    told = _heard(inner, 1, "door", 2 * MEET_SECONDS)[0]
    if not told["door"]:
        raise NotMet("rank 0 has no door")
    secret = bytes.fromhex(told["secret"])
    hosts, ports = tuple(told["door"]), (told["port"],)
    return Knock(hosts, ports, told["run"], inner.rank, inner.size, lambda: secret, say).until_in(
        MEET_SECONDS
    )


def _agreed(inner: Control, line: Tcp | None) -> Control:
    """All have a line, or nobody has: rank 0 decides."""
    if inner.rank == 0:
        for rank in range(1, inner.size):
            inner.send(rank, {"line": line is not None})
    elif not _heard(inner, 1, "line", 3 * MEET_SECONDS)[0]["line"] and line:
        line.close()
        line = None
    return Watched(inner, line) if line else inner


def _heard(inner: Control, count: int, what: str, limit: float = 0.0) -> dict[int, Any]:
    """The message with ``what`` of so many peers. Raises NotMet."""
    found: dict[int, Message] = {}
    limit = limit or MEET_SECONDS
    deadline = time.monotonic() + limit
    while True:
        for source, message in inner.receive():
            if what in message:
                found[source] = message
            if len(found) == count:
                return found  # what comes after it is for others to receive
        if time.monotonic() > deadline:
            raise NotMet(f"{len(found)} of {count} supervisors answered within {limit:.0f} s")
        time.sleep(REST)
