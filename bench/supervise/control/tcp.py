"""Messages between supervisors: a star with rank 0 in the middle, over authenticated TCP under every launcher.

What is exchanged grows with the number of ranks: everybody talks to rank 0 and nobody else. Nothing
blocks: ``receive`` yields what has arrived, and callers sleep between looks, so that an idle
supervisor takes no share of a core from the workers.

Plain sockets of the standard library, and not torch's TCPStore: that one has no authentication (whoever
reaches its port reads, writes and deletes every key), its client waits inside C++ with limits of minutes,
and importing torch costs a supervisor seconds and memory on every rank. Nor MPI: it does not report who died,
Open MPI aborts a process that touches a connection to a dead one, and Open MPI 5.0.11 has lost a message.
Nor TLS: with a secret that both ends share, sealed frames (``frames``) give what is needed here without
certificates, and Python has pre-shared keys for TLS only from 3.13 on.

No stranger can join, speak, repeat or alter. Honest limits: whoever sits on the path between two nodes
can cut a connection, as he can cut any; messages can be read there; and what torch, gloo and NCCL open
for the measurement itself (their store, their sockets) is theirs and knows no token.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from .mpi import Mpi
from .sealed_frames import LONGEST, TO_CALLER, TO_HOST, Call, Forged, Opener, Sealer

Message = dict[str, Any]

READ = 1 << 20  # bytes at a time
LOOK = 8 << 20  # bytes of one peer in one look: one who talks much does not keep the others waiting
WAITING = 4 * LONGEST  # bytes for a peer that takes none: more, and it counts as lost
KEEPALIVE = (
    (socket.SO_KEEPALIVE, socket.SOL_SOCKET, 1),
    # a node that died without a word is found after about 5 + 3 × 4 s
    (socket.TCP_KEEPIDLE, socket.IPPROTO_TCP, 5),
    (socket.TCP_KEEPINTVL, socket.IPPROTO_TCP, 4),
    (socket.TCP_KEEPCNT, socket.IPPROTO_TCP, 3),
    # the same while something of ours is on the way, when no keepalive is sent
    (socket.TCP_USER_TIMEOUT, socket.IPPROTO_TCP, 17_000),
    (socket.TCP_NODELAY, socket.IPPROTO_TCP, 1),
)


class Link:
    """One connection after its handshake. Nothing here blocks."""

    def __init__(self, sock: socket.socket, call: Call, token: bytes, host: bool) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            for option, level, value in KEEPALIVE:
                sock.setsockopt(level, option, value)
        mine, theirs = (TO_CALLER, TO_HOST) if host else (TO_HOST, TO_CALLER)
        self.socket = sock
        self.gone = ""  # why the other end counts as lost
        self._broken = ""  # why nothing can be sent any more; what it said before is still to be read
        self._sealer = Sealer(call.key(token, mine))
        self._opener = Opener(call.key(token, theirs))
        self._leaving: deque[memoryview] = deque()

    def put(self, payload: bytes) -> None:
        if self.gone or self._broken:
            return
        self._leaving.append(memoryview(self._sealer.seal(payload)))
        self.push()
        if sum(len(part) for part in self._leaving) > WAITING:
            self.lose(f"it took nothing of the last {WAITING} bytes")

    def push(self) -> bool:
        """Hand over to the kernel what it takes; whether all has left."""
        try:
            while self._leaving:
                sent = self.socket.send(self._leaving[0])
                if sent < len(self._leaving[0]):
                    self._leaving[0] = self._leaving[0][sent:]
                else:
                    self._leaving.popleft()
        except BlockingIOError:
            return False
        except OSError as error:
            self._leaving.clear()
            self._broken = error.strerror or str(error)
        return True

    def pull(self) -> Iterator[bytes]:
        """Payloads that have arrived; sets ``gone`` when the other end is lost."""
        left = LOOK
        while left > 0 and not self.gone:
            try:
                data = self.socket.recv(READ)
            except BlockingIOError:
                return
            except OSError as error:
                self.lose(error.strerror or str(error))
                return
            if not data:
                self.lose(self._broken or "it closed the connection")
                return
            left -= len(data)
            try:
                yield from self._opener.open(data)
            except Forged as error:
                self.lose(str(error))

    def ended(self) -> bool:
        """Whether the other end has left without another word."""
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def lose(self, why: str) -> None:
        self.gone = why
        self._leaving.clear()
        self.socket.close()


class Control:
    """One supervisor's end of the star: rank 0 has a link to every rank, the others have one to rank 0.

    A peer that is lost is reported by a message of its own: rank 0 hears ``{"said": "lost", "text": why}``
    from it, the others hear ``{"do": "quit", "lost": why}`` from a rank 0 that is gone. Without arguments it
    is the star of one, which sends messages to itself.
    """

    mpi: Mpi | None = None  # the MPI job around the star, which ends with it

    def __init__(self, rank: int = 0, size: int = 1, links: Mapping[int, Link] | None = None) -> None:
        self.rank, self.size = rank, size
        self._links = dict(links or {})
        self._self: deque[Message] = deque()
        self._told: set[int] = set()
        self._selector = selectors.DefaultSelector()
        for peer, link in self._links.items():
            self._selector.register(link.socket, selectors.EVENT_READ, peer)

    def send(self, to: int, message: Message) -> None:
        """Start sending; returns at once."""
        if to == self.rank:
            self._self.append(message)
        else:
            self._links[to].put(json.dumps(message).encode())

    def receive(self) -> Iterator[tuple[int, Message]]:
        """(sender, message) of all that has arrived."""
        while self._self:
            yield self.rank, self._self.popleft()
        for key, _ in self._selector.select(0):
            link = self._links[key.data]
            for payload in link.pull():
                try:
                    yield key.data, self._message(payload)
                except ValueError as error:
                    link.lose(f"it sent what is no message: {error}")
                    break
        for peer, link in self._links.items():
            link.push()
            if link.gone and peer not in self._told:
                self._told.add(peer)
                yield peer, self._lost(peer, link.gone)

    def _message(self, payload: bytes) -> Message:
        """Raises ValueError where a peer, which has the token, speaks another language."""
        try:
            message = json.loads(payload)
        except RecursionError as error:
            raise ValueError(str(error)) from None
        key = "said" if self.rank == 0 else "do"
        if not isinstance(message, dict) or not isinstance(message.get(key), str):
            raise ValueError(f"wanted an object with {key!r}")
        return message

    def _lost(self, peer: int, why: str) -> Message:
        self._forget(peer)
        if self.rank == 0:
            return {"said": "lost", "text": why}
        return {"do": "quit", "lost": f"rank 0 is gone ({why})"}

    def _forget(self, peer: int) -> None:
        # a socket that was closed can be found by its key only
        for key in list(self._selector.get_map().values()):
            if key.data == peer:
                self._selector.unregister(key.fileobj)

    def flush(self, limit: float) -> bool:
        """Wait until all that was sent has left, at most ``limit`` seconds; whether it has."""
        deadline = time.monotonic() + limit
        while [link for link in self._links.values() if not link.push()]:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def close(self) -> None:
        """Leave the star; all supervisors leave at about the same time."""
        self._cut()
        if self.mpi:
            self.mpi.finish()

    def abandon(self, status: int) -> None:
        """Leave although some supervisor does not answer, and abort the MPI job.

        Without MPI the other supervisors end by themselves, and their workers with them, once rank 0 is gone.
        """
        self._cut()
        if self.mpi:
            self.mpi.abort(status)

    def _cut(self) -> None:
        self._selector.close()
        for link in self._links.values():
            link.lose("we left")
