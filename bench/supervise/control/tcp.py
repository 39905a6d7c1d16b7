"""Messages between supervisors: rank 0 talks to the first rank of each node, and that one to the others of its node.

Between nodes they travel over authenticated TCP under every launcher, on a node over a Unix socket, sealed as well; the
ranks of rank 0's node are connected to rank 0 itself. Each message stands behind the number of the rank that sent it or
is to receive it, and the first rank of a node passes on those of the others, the heartbeats of a moment in one frame.
Rank 0 takes from it messages of the ranks that joined through it and of no other: whoever has the token could have
joined in their place.

Nothing blocks but ``rest``: ``receive`` yields what has arrived, and callers sleep between looks, so that an idle
supervisor takes no share of a core from the workers.

Plain sockets of the standard library, and not torch's TCPStore: that one has no authentication (whoever
reaches its port reads, writes and deletes every key), its client waits inside C++ with limits of minutes,
and importing torch costs a supervisor seconds and memory on every rank. Nor MPI: it does not report who died,
Open MPI aborts a process that touches a connection to a dead one, and Open MPI 5.0.11 has lost a message.
Nor TLS: with a secret that both ends share, ``sealed_frames`` give what is needed here without
certificates, and Python has pre-shared keys for TLS only from 3.13 on.

No stranger can join, speak, repeat or alter. Honest limits: whoever sits on the path between two nodes
can cut a connection, as he can cut any; messages can be read there; and what torch, gloo and NCCL open
for the measurement itself (their store, their sockets) is theirs and knows no token.
"""

from __future__ import annotations

import json
import selectors
import struct
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from .connection import Connection
from .mpi import Mpi

if TYPE_CHECKING:
    from .rendezvous import Listener

Message = dict[str, Any]

HEAD = struct.Struct("!IBI")
"""Before each message: the rank that sent it or is to receive it, its kind, its bytes."""
MESSAGE, BEAT, ROW = range(3)
"""Kinds: a message in JSON; a heartbeat, which may wait; a row, as the worker wrote it."""

WAIT_SECONDS = 0.5  # that a heartbeat waits for those of the other ranks of its node
SHORT = 1 << 16  # bytes of a frame that holds several messages
FOLLOWED = "cut off with the first rank of its node"


def framed(rank: int, message: Message) -> bytes:
    """A message of or for a rank, as it stands in a frame."""
    said = message.get("said", "")
    text = message["row"] if said == "row" else json.dumps(message).encode()
    return HEAD.pack(rank, {"beat": BEAT, "row": ROW}.get(said, MESSAGE), len(text)) + text


def messages_in(frame: bytes) -> list[tuple[int, int, bytes]]:
    """(rank, kind, text) of the messages of a frame. Raises ValueError."""
    found, at = [], 0
    while at < len(frame):
        try:
            rank, kind, length = HEAD.unpack_from(frame, at)
        except struct.error as error:
            raise ValueError(str(error)) from None
        at += HEAD.size + length
        found.append((rank, kind, frame[at - length : at]))
    if at != len(frame):
        raise ValueError(f"a message ends {at - len(frame)} bytes behind its frame")
    return found


def parsed(payload: bytes) -> Any:
    """JSON, also with ``NaN``, which a row may hold: it is read as such, and not as ``null``."""
    try:
        return msgspec.json.decode(payload)  # in a third of the time
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(payload)


class Control:
    """One supervisor's end. Rank 0 is connected to the first rank of each node and to the others of its own node; the
    first rank of another node is connected to rank 0 and to the others of that node, which are *behind* it.

    A rank that is lost is reported by a message of its own: rank 0 receives ``{"said": "lost", "text": why}``
    from it, the others receive ``{"do": "quit", "lost": why}`` when the way to rank 0 is lost. Without arguments it
    is the job of one, which sends messages to itself.

    _connections  by the rank at their other end; 0: the way to rank 0
    _via          on rank 0: rank -> to whom the connection is that leads to it; ``_joined``: all that ever came, those
                  too that are lost; ``_numbers``: rank -> its number in the run, where that is another one
    """

    mpi: Mpi | None = None  # the MPI job around the supervisors, which ends with it
    absent = ""  # of a job that begins without some ranks: why they are not here
    listener: Listener | None = None  # of the first rank of a node, until rank 0 begins

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        connections: Mapping[int, Connection] | None = None,
        above: str = "rank 0",
    ) -> None:
        self.rank, self.size, self._own, self._above = rank, size, rank, above
        self._leads = rank == 0
        self._connections: dict[int, Connection] = {}
        self._via: dict[int, int] = {}
        self._joined: set[int] = set()
        self._numbers: dict[int, int] = {}
        self._ranks_of: dict[int, int] = {}
        self._held: deque[tuple[int, Message]] = deque()
        self._waiting, self._since = b"", 0.0  # what those behind this rank sent, the first of it then
        self._urgent = False  # whether there is more than heartbeats in it
        self._selector = selectors.DefaultSelector()
        for peer, connection in (connections or {}).items():
            self.admit(peer, connection)

    def admit(self, peer: int, connection: Connection) -> None:
        """Take part over this connection too; rank 0 hears of the ranks behind the first one of a node."""
        self._connections[peer] = connection
        self._selector.register(connection.socket, selectors.EVENT_READ, peer)
        if self._leads:
            self._via[peer] = peer
            self._joined.add(peer)
        elif peer:
            self.send(0, {"said": "behind", "rank": peer})

    def connected(self, peer: int) -> bool:
        """Whether a rank is connected to this one, itself or behind another one."""
        connection = self._connections.get(peer)
        if connection and (connection.lost or connection.closed()):
            connection.lose("it called again")
            self._held.extend(self._forget(peer, connection.lost))
        return peer in (self._via if self._leads else self._connections)

    def keep_arrivals(self) -> None:
        """On rank 0, while it waits for all: keep what arrives for ``receive``; of a rank that was lost and came again,
        only what followed.
        """
        arrived = list(self.receive())
        arrived += self._held
        again = {
            rank: at
            for at, (rank, message) in enumerate(arrived)
            if message.get("said") == "lost" and rank in self._via
        }
        self._held = deque(each for at, each in enumerate(arrived) if at > again.get(each[0], -1))

    @property
    def behind(self) -> tuple[int, ...]:
        """The ranks that are connected to this one, which is not rank 0."""
        return () if self._leads else tuple(peer for peer in self._connections if peer)

    @property
    def complete(self) -> bool:
        """On rank 0: whether every rank came."""
        return len(self._joined) == self.size - 1

    @property
    def missing(self) -> list[int]:
        """On rank 0: the ranks that never came."""
        return [rank for rank in range(1, self.size) if rank not in self._joined]

    @property
    def _ranks(self) -> tuple[int, ...]:
        return (0, *sorted(self._joined)) if self._joined else tuple(range(self.size))

    @property
    def peers(self) -> tuple[int, ...]:
        """The other ranks, those too that are lost."""
        return tuple(self._number(rank) for rank in self._ranks if rank != self._own)

    def renumber(self, numbers: Sequence[int]) -> None:
        """On rank 0: call the ranks by these numbers, in order, once the run goes on without some of them."""
        self._numbers = dict(zip(self._ranks, numbers, strict=True))
        self._ranks_of = {number: rank for rank, number in self._numbers.items()}
        self.rank = self._numbers[self._own]

    def _number(self, rank: int) -> int:
        return self._numbers.get(rank, rank)

    @property
    def address(self) -> str:
        """On rank 0: the address of this machine over which most other ranks are connected; "" where there is none."""
        ways = [self._connections[peer] for peer in self._via.values()]
        found = Counter(str(each.socket.getsockname()[0]) for each in ways)
        return found.most_common(1)[0][0] if found else ""

    def send(self, to: int, message: Message) -> None:
        """Start sending; returns at once. Nothing is sent to a peer that is lost."""
        if to == self.rank or (self._leads and to == 0):  # to its own supervisor, rank 0 is who leads
            self._held.append((self.rank, message))
            return
        to = self._ranks_of.get(to, to)
        if self._leads:
            if to in self._via:
                self._connections[self._via[to]].put(framed(to, message))
        else:
            self._pass_on(framed(self._own, message))

    def _pass_on(self, frame: bytes = b"", waits: bool = False) -> None:
        """To rank 0, with what waits; that is one frame where it is short."""
        both = self._waiting + frame
        if waits and len(both) < SHORT:
            self._since = self._since if self._waiting else time.monotonic()
            self._waiting = both
            return
        for each in (both,) if len(both) < SHORT else (self._waiting, frame):
            if each and 0 in self._connections:
                self._connections[0].put(each)
        self._waiting, self._urgent = b"", False

    def receive(self) -> Iterator[tuple[int, Message]]:
        """(sender, message) of all that has arrived."""
        while self._held:
            yield self._held.popleft()
        for key, _ in self._selector.select(0):
            if connection := self._connections.get(key.data):
                for payload in connection.pull():
                    yield from self._take(key.data, connection, payload)
                    if connection.lost:
                        break
        if self._waiting and (self._urgent or time.monotonic() - self._since > WAIT_SECONDS):
            self._pass_on()
        for peer, connection in list(self._connections.items()):
            connection.push()
            if connection.lost:
                yield from self._forget(peer, connection.lost)

    def _take(self, peer: int, connection: Connection, frame: bytes) -> Iterator[tuple[int, Message]]:
        """The messages of one frame that are for this rank; those for other ranks are passed on."""
        try:
            messages = messages_in(frame)
        except ValueError as error:
            connection.lose(f"it sent an invalid frame: {error}")
            return
        if self._leads:
            for whose, kind, text in messages:
                if self._via.get(whose) != peer:  # it was lost before, or never joined through this one
                    continue
                if kind == ROW:  # for whoever reads it: most of what rank 0 is sent is rows
                    yield self._number(whose), {"said": "row", "row": text}
                else:
                    yield from self._hear(peer, whose, connection, text)
        elif peer:
            if any(whose != peer for whose, _, _ in messages):
                connection.lose("it spoke for another rank")
            else:
                self._urgent = self._urgent or any(kind != BEAT for _, kind, _ in messages)
                self._pass_on(frame, waits=True)  # for the others of this node that speak in this moment
        else:
            for whose, _, text in messages:
                yield from self._obey(whose, connection, text)

    def _obey(self, whose: int, connection: Connection, text: bytes) -> Iterator[tuple[int, Message]]:
        """A message of rank 0 for this rank, or for one behind it."""
        if whose != self._own:
            if whose in self._connections:
                self._connections[whose].put(HEAD.pack(whose, MESSAGE, len(text)) + text)
            return
        if self.listener:  # rank 0 begins once all are connected
            self.listener.close()
            self.listener = None
        message = self._message(text)
        if isinstance(message, str):
            connection.lose(message)
        else:
            yield 0, message

    def _hear(
        self, peer: int, whose: int, connection: Connection, text: bytes
    ) -> Iterator[tuple[int, Message]]:
        """On rank 0: one rank's message. Whoever sends what is no message is lost, although it has the token."""
        message, number = self._message(text), self._number(whose)
        if isinstance(message, str):
            if whose == peer:
                connection.lose(message)
                return
            self.send(number, {"do": "quit", "lost": message})
            del self._via[whose]
            yield number, {"said": "lost", "text": message}
        elif message["said"] != "behind":
            yield number, message
        elif whose == peer and type(rank := message.get("rank")) is int and 0 < rank < self.size:
            if "lost" not in message:
                if not self.connected(rank):
                    self._via[rank] = peer
                    self._joined.add(rank)
            elif rank != peer and self._via.get(rank) == peer:
                del self._via[rank]
                yield self._number(rank), {"said": "lost", "text": str(message["lost"])}

    def _message(self, text: bytes) -> Message | str:
        """The message, or why it is none."""
        key = "said" if self._leads else "do"
        try:
            message = parsed(text)
            if not isinstance(message, dict) or not isinstance(message.get(key), str):
                raise ValueError(f"an object with {key!r} was expected")
        except (ValueError, RecursionError) as error:
            return f"it sent an invalid message: {error}"
        return message

    def _forget(self, peer: int, why: str) -> Iterator[tuple[int, Message]]:
        del self._connections[peer]
        # a socket that was closed can be found by its key only
        for key in [key for key in self._selector.get_map().values() if key.data == peer]:
            self._selector.unregister(key.fileobj)
        if self._leads:
            gone = [rank for rank, via in self._via.items() if via == peer and rank != peer]
            self._via = {rank: via for rank, via in self._via.items() if via != peer}
            yield self._number(peer), {"said": "lost", "text": why}
            text = f"rank {self._number(peer)}, through which it was connected, is gone"
            for rank in gone:
                yield self._number(rank), {"said": "lost", "how": FOLLOWED, "text": text}
        elif peer:
            self.send(0, {"said": "behind", "rank": peer, "lost": why})
        else:
            text = f"{self._above} is gone ({why})"
            for rank in self.behind:
                order = {"do": "quit", "lost": text}
                self._connections[rank].put(framed(rank, order))
            yield 0, {"do": "quit", "lost": text}

    def linger(self, limit: float) -> None:
        """Pass on what the ranks behind this one still have to say, until they have left, at most ``limit`` seconds."""
        deadline = time.monotonic() + limit
        while self.behind and time.monotonic() < deadline:
            list(self.receive())
            time.sleep(0.002)

    def rest(self, seconds: float) -> None:
        """Sleep so long, or until something arrives: a message that is passed on must not wait on every node. Until
        rank 0 begins, the others of this node join meanwhile.
        """
        if self.listener:
            self.listener.step(seconds)
        else:
            self._selector.select(seconds)

    def flush(self, limit: float) -> bool:
        """Wait until the kernel has all that was sent, at most ``limit`` seconds; whether it has."""
        deadline = time.monotonic() + limit
        while [each for each in self._connections.values() if not each.push()]:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def close(self) -> None:
        """Leave; all supervisors leave at about the same time."""
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
        if self.listener:
            self.listener.close()
            self.listener = None
        self._selector.close()
        for connection in self._connections.values():
            connection.lose("we left")
