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
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .mpi import Mpi
from .sealed_frames import LONGEST, TO_DIALER, TO_HOST, Forged, Handshake, Opener, Sealer

Message = dict[str, Any]

READ = 1 << 20  # bytes at a time
TURN = 8 << 20  # bytes of one peer before the next peer is read
WAITING = 4 * LONGEST  # bytes for a peer that reads none: with more it counts as lost
KEEPALIVE = (
    (socket.SO_KEEPALIVE, socket.SOL_SOCKET, 1),
    # a node that died without closing its connections is noticed after about 5 + 3 × 4 s
    (socket.TCP_KEEPIDLE, socket.IPPROTO_TCP, 5),
    (socket.TCP_KEEPINTVL, socket.IPPROTO_TCP, 4),
    (socket.TCP_KEEPCNT, socket.IPPROTO_TCP, 3),
    # the same while bytes of ours are on the way, when no keepalive is sent
    (socket.TCP_USER_TIMEOUT, socket.IPPROTO_TCP, 17_000),
    (socket.TCP_NODELAY, socket.IPPROTO_TCP, 1),
)


class Connection:
    """One connection after its handshake. Nothing here blocks."""

    def __init__(self, sock: socket.socket, handshake: Handshake, token: bytes, host: bool) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            for option, level, value in KEEPALIVE:
                sock.setsockopt(level, option, value)
        sending, receiving = (TO_DIALER, TO_HOST) if host else (TO_HOST, TO_DIALER)
        self.socket = sock
        self.lost = ""  # why the peer counts as lost
        self._broken = ""  # why nothing can be sent any more; what the peer sent before is still to be read
        self._sealer = Sealer(handshake.key(token, sending))
        self._opener = Opener(handshake.key(token, receiving))
        self._unsent: deque[memoryview] = deque()

    def put(self, payload: bytes) -> None:
        if self.lost or self._broken:
            return
        self._unsent.append(memoryview(self._sealer.seal(payload)))
        self.push()
        if sum(len(part) for part in self._unsent) > WAITING:
            self.lose(f"it read nothing of the last {WAITING} bytes")

    def push(self) -> bool:
        """Hand over to the kernel what it accepts; whether nothing is left to send."""
        try:
            while self._unsent:
                sent = self.socket.send(self._unsent[0])
                if sent < len(self._unsent[0]):
                    self._unsent[0] = self._unsent[0][sent:]
                else:
                    self._unsent.popleft()
        except BlockingIOError:
            return False
        except OSError as error:
            self._unsent.clear()
            self._broken = error.strerror or str(error)
        return True

    def pull(self) -> Iterator[bytes]:
        """The payloads that have arrived; sets ``lost`` when the peer is lost."""
        left = TURN
        while left > 0 and not self.lost:
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

    def closed(self) -> bool:
        """Whether the peer has left without sending anything more."""
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def lose(self, why: str) -> None:
        self.lost = why
        self._unsent.clear()
        self.socket.close()


class Control:
    """One supervisor's end of the star: rank 0 has a connection to every rank, the others have one to rank 0.

    A peer that is lost is reported by a message of its own: rank 0 receives ``{"said": "lost", "text": why}``
    from it, the others receive ``{"do": "quit", "lost": why}`` when rank 0 is lost. Without arguments it
    is the star of one, which sends messages to itself.
    """

    mpi: Mpi | None = None  # the MPI job around the star, which ends with it
    absent = ""  # of a job that begins without some ranks: why they are not here

    def __init__(
        self, rank: int = 0, size: int = 1, connections: Mapping[int, Connection] | None = None
    ) -> None:
        self.rank, self.size = rank, size
        self._leads = rank == 0
        self._numbers = (0, *sorted(connections)) if connections and self._leads else tuple(range(size))
        self._connections = dict(connections or {})
        self._to_itself: deque[Message] = deque()
        self._selector = selectors.DefaultSelector()
        for peer, connection in self._connections.items():
            self._selector.register(connection.socket, selectors.EVENT_READ, peer)

    @property
    def peers(self) -> tuple[int, ...]:
        """The other ranks, those too that are lost."""
        return tuple(number for number in self._numbers if number != self.rank)

    def renumber(self, numbers: Sequence[int]) -> None:
        """On rank 0: call the ranks by these numbers, in order, once the run goes on without some of them."""
        named = dict(zip(self._numbers, numbers, strict=True))
        self.rank, self._numbers = named[self.rank], tuple(numbers)
        self._connections = {named[peer]: each for peer, each in self._connections.items()}
        for peer, each in self._connections.items():
            self._selector.modify(each.socket, selectors.EVENT_READ, peer)

    @property
    def address(self) -> str:
        """The address of this machine at which the most others are connected, "" where there is none."""
        found = Counter(str(each.socket.getsockname()[0]) for each in self._connections.values())
        return found.most_common(1)[0][0] if found else ""

    def send(self, to: int, message: Message) -> None:
        """Start sending; returns at once. Nothing is sent to a peer that is lost."""
        if to == self.rank or (self._leads and to == 0):  # to its own supervisor, rank 0 is who leads
            self._to_itself.append(message)
        elif to in self._connections:
            self._connections[to].put(json.dumps(message).encode())

    def receive(self) -> Iterator[tuple[int, Message]]:
        """(sender, message) of all that has arrived."""
        while self._to_itself:
            yield self.rank, self._to_itself.popleft()
        for key, _ in self._selector.select(0):
            for message in self._messages(self._connections[key.data]):
                yield key.data, message
        for peer, connection in list(self._connections.items()):
            connection.push()
            if connection.lost:
                yield peer, self._forget(peer, connection.lost)

    def _messages(self, connection: Connection) -> Iterator[Message]:
        """A peer that sends what is no message is lost, although it has the token."""
        key = "said" if self._leads else "do"
        for payload in connection.pull():
            try:
                message = json.loads(payload)
                if not isinstance(message, dict) or not isinstance(message.get(key), str):
                    raise ValueError(f"an object with {key!r} was expected")
            except (ValueError, RecursionError) as error:
                connection.lose(f"it sent an invalid message: {error}")
                return
            yield message

    def _forget(self, peer: int, why: str) -> Message:
        del self._connections[peer]
        # a socket that was closed can be found by its key only
        for key in [key for key in self._selector.get_map().values() if key.data == peer]:
            self._selector.unregister(key.fileobj)
        if self._leads:
            return {"said": "lost", "text": why}
        return {"do": "quit", "lost": f"rank 0 is gone ({why})"}

    def flush(self, limit: float) -> bool:
        """Wait until the kernel has all that was sent, at most ``limit`` seconds; whether it has."""
        deadline = time.monotonic() + limit
        while [each for each in self._connections.values() if not each.push()]:
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
        for connection in self._connections.values():
            connection.lose("we left")
