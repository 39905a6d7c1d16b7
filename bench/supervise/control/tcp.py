"""Messages between supervisors: rank 0 talks to the first rank of each node, and that one to the others of its node.

Between nodes they travel over authenticated TCP under every launcher, on a node over a Unix socket, sealed as well; the
ranks of rank 0's node are connected to rank 0 itself. Each message stands behind the number of the rank that sent it or
is to receive it, and the first rank of a node passes on those of the others, the heartbeats of a moment in one frame.
Rank 0 takes from it messages of the ranks that joined through it and of no other: whoever has the token could have
joined in their place. On more nodes than rank 0 has places for, the first ranks of some carry what those of others and
rank 0 send each other, sealed between these two: see resumable_stream and tree_places.

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

import selectors
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol

from . import tree_places
from .connection import Connection
from .message_frames import BEAT, HEAD, ROW, SEALED, Message, framed, messages_in, parsed
from .mpi import Mpi
from .resumable_stream import (
    RELAY_HEARTBEAT_SECONDS,
    RETURN_SECONDS,
    SILENCE_SECONDS,
    WRAP,
    ResumableStream,
    Route,
)
from .sealed_frames import AGAIN, LONGEST, Forged, Handshake
from .tree_places import HERE, LATER, Places

WAIT_SECONDS = 0.5  # that a heartbeat waits for those of the other ranks of its node
HUNG_SECONDS = 30.0  # whoever has passed nothing on for so long gives no sign of life: those behind it leave
SHORT = 1 << 16  # bytes of a frame that holds several messages
FOLLOWED = "cut off with the first rank of its node"


class OpenPort(Protocol):
    """Where other ranks may still connect."""

    def step(self, seconds: float) -> None: ...

    def close(self) -> None: ...


class NewPlace(Protocol):
    """What rank 0 answered to a rank that called again."""

    def renew(self, stream: ResumableStream) -> None: ...

    def settle(self, control: Control) -> None: ...


class RouteSearch(Protocol):
    """A search for rank 0: the new place, once there is one, or why rank 0 is gone."""

    @property
    def arrival(self) -> NewPlace | None: ...

    @property
    def gone(self) -> str: ...


class Control:
    """One supervisor's end. Rank 0 is connected to the first rank of each node and to the others of its own node; the
    first rank of another node is connected to rank 0 and to the others of that node, which are *behind* it.

    A rank that is lost is reported by a message of its own: rank 0 receives ``{"said": "lost", "text": why}``
    from it, the others receive ``{"do": "quit", "lost": why}`` when the route to rank 0 is lost. Without arguments it
    is the job of one, which sends messages to itself.

    _connections  by the rank at their other end; 0: the route to rank 0
    _via          on rank 0: rank -> to whom the connection is that leads to it; ``_joined``: all that ever came, those
                  too that are lost; ``_numbers``: rank -> its number in the run, where that is another one
    _heard        on rank 0 of a tree: when a connection brought anything last
    _unsettled    on rank 0: ranks with a stream that have not spoken on their present route, or are to leave it
    _carried      ranks of other nodes behind this one
    """

    mpi: Mpi | None = None  # the MPI job around the supervisors, which ends with it
    absent = ""  # of a job that begins without some ranks: why they are not here
    listener: OpenPort | None = None  # of the first rank of a node, until rank 0 begins
    # in a tree, to the end: of rank 0, and of a rank with others behind it
    open_listener: OpenPort | None = None
    search: Callable[[bytes], RouteSearch] | None = None  # how a rank behind another node calls rank 0 again

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        connections: Mapping[int, Route] | None = None,
        above: str = "rank 0",
        places: Places | None = None,
    ) -> None:
        self.rank, self.size, self._own, self._above = rank, size, rank, above
        self._leads = self.leads = rank == 0
        self._connections: dict[int, Route] = {}
        self._places = places or Places()
        self._unsettled: set[int] = set()
        self._carried: set[int] = set()
        self._pulsing, self._pulse_at, self._ended = False, 0.0, threading.Event()
        self._turn = time.monotonic()  # when it last looked for messages
        self._search: RouteSearch | None = None
        self._calling = threading.Lock()
        self._heard: dict[int, float] = {}
        self._looked = time.monotonic()
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

    def admit(self, peer: int, connection: Route, passing: bool = False) -> None:
        """Take part over this connection too; rank 0 hears of the ranks behind the first one of a node. ``passing``: it
        leads to another node, whose stream this rank carries.
        """
        self._connections[peer] = connection
        self._register(peer, connection)
        if passing:
            self._carried.add(peer)
            self.send(0, {"said": "carries", "rank": peer})
            if not self._pulsing:
                self._pulsing = True
                threading.Thread(target=self._pulse, daemon=True).start()
        elif self._leads:
            self._via[peer] = peer
            self._joined.add(peer)
        elif peer:
            self.send(0, {"said": "behind", "rank": peer})

    def _register(self, peer: int, route: Route) -> None:
        connection = route.carrier if isinstance(route, ResumableStream) else route
        if isinstance(connection, Connection):
            self._selector.register(connection.socket, selectors.EVENT_READ, peer)

    def _unregister(self, peer: int) -> None:
        # a socket that was closed can be found by its key only
        for key in [key for key in self._selector.get_map().values() if key.data == peer]:
            self._selector.unregister(key.fileobj)

    def secrets(self, rank: int, token: bytes, begun: bool) -> tuple[bytes, ...]:
        """What proves that a caller is this rank: its own secret, and before the run has ``begun`` the token too."""
        route = self._connections.get(rank)
        known = (route.secret,) if isinstance(route, ResumableStream) else ()
        return known if begun else (*known, token)

    def begin(self, listener: OpenPort) -> None:
        """On rank 0 of a tree: whoever is not there by now comes no more, and those who are may call again."""
        self.open_listener = listener
        for rank in self._unsettled - self._via.keys():
            self._unsettled.discard(rank)
            self._unregister(rank)
            self._connections.pop(rank).lose("the run has begun without it")

    def arrive(
        self, rank: int, connection: Connection, handshake: Handshake, token: bytes, host: str
    ) -> None:
        """On rank 0: give a rank that has called from ``host`` its place, where it did so before another one."""
        place, stream = self._places.choose(rank, host, self._connections), self._connections.get(rank)
        connection.put(place.text)
        if place.where == LATER:
            connection.lose("there is no place for it yet")
            return
        self._unregister(rank)
        if not isinstance(stream, ResumableStream) or stream.secret != token:  # a first call
            if place.where == HERE:
                self._unsettled.discard(rank)
                self.admit(rank, connection)
                return
            stream = ResumableStream(rank, handshake.key(token, AGAIN), leads=True)
        old = None if stream.middle else stream.carrier
        if place.where == HERE:
            stream.renew(handshake, token, connection, 0)
            stream.called()
            self._register(rank, stream)
        else:
            stream.renew(handshake, token, self._connections[place.rank], place.rank)
            connection.lose("it has another place")
        if isinstance(old, Connection):
            old.lose("it has another place")
        self._connections[rank] = stream
        self._unsettled.add(rank)

    def leave(self, numbers: Collection[int]) -> None:
        """On rank 0: let those behind these ranks come away, and send nobody behind them any more."""
        avoided = {self._ranks_of.get(number, number) for number in numbers}
        self._places.avoided |= avoided
        for rank, route in self._connections.items():
            if isinstance(route, ResumableStream) and route.middle in avoided:
                route.put(framed(rank, {"do": "come"}))
                route.summoned = True
                self._unsettled.add(rank)

    def excuse(self, number: int) -> float:
        """On rank 0: for how many seconds nothing of a rank could arrive, because its route is broken or silent."""
        at, seconds, now = self._via.get(self._ranks_of.get(number, number), 0), 0.0, time.monotonic()
        while isinstance(route := self._connections.get(at), ResumableStream):
            if not route.open:
                seconds = max(seconds, now - route.heard)
            if not route.middle:
                break
            at = route.middle
            seconds = max(seconds, now - self._heard.get(at, now))
        return seconds

    def connected(self, peer: int) -> bool:
        """Whether a rank is connected to this one, itself or behind another one."""
        connection = self._connections.get(peer)
        if isinstance(connection, Connection) and (connection.lost or connection.closed()):
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
    def connections(self) -> int:
        """How many connections with other ranks this one has."""
        return len({key.data for key in self._selector.get_map().values()})

    @property
    def crowded(self) -> bool:
        """Whether rank 0 has more connections than the limit of a tree."""
        return self._places.needed and self.connections > 2 * tree_places.FAN_OUT

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
        routes = [self._connections[peer] for peer in self._via.values()]
        found = Counter(
            str(each.socket.getsockname()[0]) for each in routes if not isinstance(each, ResumableStream)
        )
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
        self._turn = time.monotonic()
        while self._held:
            yield self._held.popleft()
        if self.open_listener:
            self.open_listener.step(0.0)
        for key, _ in self._selector.select(0):
            if connection := self._connections.get(key.data):
                yield from self._pull(key.data, connection)
        if self._waiting and (self._urgent or time.monotonic() - self._since > WAIT_SECONDS):
            self._pass_on()
        if self._leads:
            self._settle()
        else:
            self._keep_way()
        for peer, connection in list(self._connections.items()):
            connection.push()
            if connection.lost:
                yield from self._forget(peer, connection.lost)

    def _pull(self, peer: int, connection: Route) -> Iterator[tuple[int, Message]]:
        for payload in connection.pull():
            yield from self._take(peer, connection, payload)
            if connection.lost:
                return
        if self._leads and isinstance(connection, ResumableStream) and connection.carrier is None:
            self._unregister(peer)  # its route has ended: a closed socket is always ready

    def _settle(self) -> None:
        """On rank 0: a rank that has spoken from its place is connected; one that does not in time is lost."""
        past, self._looked = time.monotonic() - self._looked, time.monotonic()
        for rank in list(self._unsettled):
            stream = self._connections.get(rank)
            if not isinstance(stream, ResumableStream) or (stream.open and not stream.summoned):
                self._unsettled.discard(rank)
                if stream:
                    self._came(rank)
                continue
            stream.patience -= min(0.5, past)  # while rank 0 was busy it could hear nobody
            if stream.patience < 0:
                stream.lose(
                    f"its route through another node ended, and it did not come again: {RETURN_SECONDS:.0f} s"
                )

    def _came(self, rank: int) -> None:
        """On rank 0: something of a rank has arrived from its place."""
        self._places.came(rank)
        self._via[rank] = rank
        self._joined.add(rank)

    def _keep_way(self) -> None:
        """Call rank 0 again where the route there has ended, and give a sign of life where this rank carries others."""
        now, stream = time.monotonic(), self._connections.get(0)
        if self._carried and stream and now - self._pulse_at > RELAY_HEARTBEAT_SECONDS:
            self._pulse_at = now
            stream.put(b"")
        if not isinstance(stream, ResumableStream) or not self.search:
            return
        if isinstance(stream.carrier, Connection) and stream.carrier.lost:
            self._unregister(0)
        if self._search is None:
            if stream.ended:
                self._call_again(stream)
        elif self._search.gone:
            stream.lose(self._search.gone)
        elif arrival := self._search.arrival:
            self._search, old = None, stream.carrier
            self._unregister(0)
            arrival.renew(stream)
            self._register(0, stream)
            arrival.settle(self)
            if isinstance(old, Connection):
                old.lose("it has another place")

    def _call_again(self, stream: ResumableStream, only_if_busy: bool = False) -> None:
        """Search for rank 0, unless that is done already. ``only_if_busy``: only where this rank reads no messages."""
        with self._calling:
            busy = time.monotonic() - self._turn > SILENCE_SECONDS
            if self.search and self._search is None and (busy or not only_if_busy):
                self._search = self.search(stream.secret)

    def watch_way(self) -> None:
        """Call rank 0 again, from a thread, where the route there ends while this rank is busy with a probe."""
        threading.Thread(target=self._watch_way, daemon=True).start()

    def _watch_way(self) -> None:
        # what has arrived and waits for this rank, and since when it is as much
        before, since = 0, time.monotonic()
        while not self._ended.wait(RELAY_HEARTBEAT_SECONDS):
            stream, now = self._connections.get(0), time.monotonic()
            carrier = stream.carrier if isinstance(stream, ResumableStream) and stream.middle else None
            if not isinstance(stream, ResumableStream) or not isinstance(carrier, Connection):
                continue
            try:
                unread = carrier.unread()
            except (OSError, ValueError):  # it was closed: this rank is not busy
                continue
            if unread != before:
                before, since = unread, now
            elif now - since > SILENCE_SECONDS:
                self._call_again(stream, only_if_busy=True)

    def _pulse(self) -> None:
        """The signs of life of this process to those whose stream it carries, while it passes on what they say."""
        while not self._ended.wait(RELAY_HEARTBEAT_SECONDS):
            if time.monotonic() - self._turn > HUNG_SECONDS:
                continue
            for peer in tuple(self._carried):
                if connection := self._connections.get(peer):
                    connection.put(b"")

    def _take(self, peer: int, connection: Route, frame: bytes) -> Iterator[tuple[int, Message]]:
        """The messages of one frame that are for this rank; those for other ranks are passed on."""
        try:
            messages = messages_in(frame)
        except ValueError as error:
            connection.lose(f"it sent an invalid frame: {error}")
            return
        if self._leads:
            yield from self._take_all(peer, connection, messages)
        elif peer:
            if any(whose != peer for whose, _, _ in messages):
                connection.lose("it spoke for another rank")
            elif len(frame) > LONGEST - WRAP:
                connection.lose(f"it sent {len(frame)} bytes at once, too many to be passed on")
            else:
                self._urgent = self._urgent or any(kind != BEAT for _, kind, _ in messages)
                self._pass_on(frame, waits=True)  # for the others of this node that speak in this moment
        else:
            for whose, kind, text in messages:
                if whose == self._own:
                    yield from self._obey(connection, text)
                elif whose in self._connections:
                    self._connections[whose].put(HEAD.pack(whose, kind, len(text)) + text)

    def _take_all(
        self, peer: int, connection: Route, messages: list[tuple[int, int, bytes]]
    ) -> Iterator[tuple[int, Message]]:
        """On rank 0: the messages of one frame."""
        if self._places.needed:
            self._heard[peer] = time.monotonic()
        if peer in self._unsettled and isinstance(connection, ResumableStream):
            self._came(peer)
        for whose, kind, text in messages:
            if kind == SEALED:
                yield from self._open(peer, whose, text)
            elif self._via.get(whose) != peer:  # it was lost before, or never joined through this one
                continue
            elif kind == ROW:  # for whoever reads it: most of what rank 0 is sent is rows
                yield self._number(whose), {"said": "row", "row": text}
            else:
                yield from self._hear(peer, whose, connection, text)

    def _open(self, peer: int, whose: int, sealed: bytes) -> Iterator[tuple[int, Message]]:
        """On rank 0: what ``peer`` carries of a rank behind it."""
        stream = self._connections.get(whose)
        if not isinstance(stream, ResumableStream) or stream.middle != peer:
            return  # it has left that place
        try:
            for payload in stream.take(sealed):
                yield from self._take(whose, stream, payload)
                if stream.lost:
                    return
        except Forged as error:
            stream.lose(str(error))

    def _obey(self, connection: Route, text: bytes) -> Iterator[tuple[int, Message]]:
        """A message of rank 0 for this rank."""
        if self.listener:  # rank 0 begins once all are connected
            self.listener.close()
            self.listener = None
        message = self._message(text)
        if isinstance(message, str):
            connection.lose(message)
        elif message["do"] == "come":
            if isinstance(connection, ResumableStream):
                connection.summoned = True
        else:
            yield 0, message

    def _hear(self, peer: int, whose: int, connection: Route, text: bytes) -> Iterator[tuple[int, Message]]:
        """On rank 0: one rank's message. Whoever sends what is no message is lost, although it has the token."""
        message, number = self._message(text), self._number(whose)
        if isinstance(message, str):
            if whose == peer:
                connection.lose(message)
                return
            self.send(number, {"do": "quit", "lost": message})
            del self._via[whose]
            yield number, {"said": "lost", "text": message}
        elif message["said"] == "listens":
            self._places.listens(whose, message.get("port"))
        elif message["said"] not in ("behind", "carries"):
            yield number, message
        elif whose == peer and type(rank := message.get("rank")) is int and 0 < rank < self.size:
            yield from self._hear_of(peer, rank, message)

    def _hear_of(self, peer: int, rank: int, message: Message) -> Iterator[tuple[int, Message]]:
        """On rank 0: handle what the first rank of a node reports of a rank that is connected to that node."""
        route = self._connections.get(rank)
        carried = route if isinstance(route, ResumableStream) and route.middle == peer else None
        if message["said"] == "carries":
            if carried:
                carried.called()
        elif "lost" not in message:
            if not self.connected(rank):
                self._via[rank] = peer
                self._joined.add(rank)
        elif rank != peer and self._via.get(rank) == peer:
            del self._via[rank]
            yield self._number(rank), {"said": "lost", "text": str(message["lost"])}
        elif carried:
            carried.end(str(message["lost"]))
            self._unsettled.add(rank)

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
        route, known = self._connections.pop(peer), peer in self._via
        self._carried.discard(peer)
        self._unregister(peer)
        if self._leads:
            self._interrupt(route)
            self._places.left([peer])
            gone = [rank for rank, via in self._via.items() if via == peer and rank != peer]
            self._via = {rank: via for rank, via in self._via.items() if via != peer}
            if known:
                yield self._number(peer), {"said": "lost", "text": why}
            text = f"rank {self._number(peer)}, through which it was connected, is gone"
            for rank in gone:
                yield self._number(rank), {"said": "lost", "how": FOLLOWED, "text": text}
        elif peer:
            self.send(0, {"said": "behind", "rank": peer, "lost": why})
        else:
            text = f"{self._above} is gone ({why})"
            for rank in self.behind:
                if rank in self._carried:  # it sees for itself
                    self._connections[rank].lose(text)
                else:
                    self._connections[rank].put(framed(rank, {"do": "quit", "lost": text}))
            yield 0, {"do": "quit", "lost": text}

    def _interrupt(self, route: Route) -> None:
        """On rank 0: those whose stream this route carried will come again."""
        for rank, other in self._connections.items():
            if isinstance(other, ResumableStream) and other.carrier is route:
                other.interrupt()
                self._unsettled.add(rank)

    def linger(self, limit: float) -> None:
        """Pass on what the ranks behind this one still have to say, until they have left, at most ``limit`` seconds."""
        deadline = time.monotonic() + (
            2 * limit if self._carried else limit
        )  # they wait for their own as long
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
        for each in (self.listener, self.open_listener):
            if each:
                each.close()
        self.listener = self.open_listener = None
        self._ended.set()
        self._selector.close()
        for connection in self._connections.values():
            connection.lose("we left")
