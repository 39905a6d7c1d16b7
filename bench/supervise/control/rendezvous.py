"""How the supervisors come together: the first rank of each node dials rank 0, the others of its node dial that one.

Rank 0 listens only until all ranks are connected to it or behind the first ranks of their nodes, and these listen only
until rank 0 begins. In a tree (``tree_places``) rank 0 and those with other nodes behind them listen to the end: rank 0
for ranks that come again, by a secret of their own, these for ranks that rank 0 sends there.

While somebody listens a stranger can hold one of WAITING_ROOM places for ANSWER_SECONDS and send 52 bytes at most
before the connection is closed. When all places are taken, the address that holds most of them loses its oldest one, so
that a flood from one address displaces only itself. Whoever was closed dials again until its time is up.

Several ports are tried, in the same order on both sides, because the first may be in use on rank 0's node: the proofs
tell rank 0 from whatever else listens there.
"""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from bench.launch.placement import whole_nodes
from bench.measure.open_files import HOW_TO_RAISE, raise_limit
from bench.model.errors import EXIT_INCONCLUSIVE, RailGaugeError
from bench.model.late_dataclass import dataclass, field, replace
from bench.model.units import show_some

from .connection import Connection
from .resumable_stream import RETURN_SECONDS, ResumableStream, Route
from .sealed_frames import (
    AGAIN,
    DIALER,
    HELLO,
    HOST,
    LENGTH,
    MAGIC,
    NONCE,
    PROOF,
    Forged,
    Handshake,
    OtherVersion,
    expect_version,
    hello,
    parse_hello,
)
from .tcp import Control
from .tree_places import LATER, THROUGH, Place, Places, place_in

WAITING_ROOM = 128
REMIND_SECONDS = 20.0  # after which a person is told who is still missing
JOIN_SECONDS = 180.0  # until every rank must be connected
ANSWER_SECONDS = 5.0  # from a connection to its proof
LOOK_SECONDS = 0.05  # between two looks at what the first ranks of the nodes say of those behind them
CONNECT_SECONDS = 1.0  # for one address; then the next is tried
SPARE_FILES = 32  # beside the connections: pipes to the worker, logs, files of the run folder
LONGEST_PLACE = 1 << 12  # bytes of rank 0's answer to a call
AT_ONCE = 32  # connections accepted before those that wait are read
CROWDED = (
    "rank 0 has more connections than its limit: some nodes cannot reach the nodes that should pass on their messages; "
    "see that every node reaches every other by TCP, or name another interface as management in the profile's [rails]"
)
PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between two rounds of dialing


class NotMet(RailGaugeError):
    """The supervisors did not meet; the message names the missing ranks and what was observed."""


@dataclass
class Caller:
    """A connection whose handshake is not over."""

    socket: socket.socket
    address: str
    deadline: float
    received: bytearray = field(default_factory=bytearray)
    handshake: Handshake | None = None

    def missing(self) -> int:
        """Bytes that are still to come in this step."""
        return (PROOF if self.handshake else HELLO.size) - len(self.received)


class Listener:
    """The side that is dialed: rank 0, or the first rank of a node. ``say`` shows a person what is unusual."""

    def __init__(self, sockets: Sequence[socket.socket], say: Callable[[str], None]) -> None:
        self._sockets = sockets
        self._say = say
        self._shown: set[str] = set()
        self._selector = selectors.DefaultSelector()
        for each in self._sockets:
            self._selector.register(each, selectors.EVENT_READ, None)

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(str(each.getsockname()[0]) for each in self._sockets)

    @property
    def port(self) -> int:
        return int(self._sockets[0].getsockname()[1])

    def admit_to(
        self, control: Control, run: str, token: bytes, others: Collection[int], passing: bool = False
    ) -> None:
        """Let ``step`` connect ``others``, which are ranks of ``run``, to ``control``. ``passing``: these are of other
        nodes, and what they send is passed on to the end of the run.
        """
        self._control, self._run, self._size, self._token = control, run, control.size, token
        self._others, self._passing, self._begun = others, passing, passing

    def wait(
        self,
        run: str,
        size: int,
        token: bytes,
        limit: float,
        hosts: Sequence[str] = (),
        spare: bool = False,
        firsts: Sequence[int] = (),
    ) -> Control:
        """On rank 0: accept ranks 1 … size - 1 of ``run`` and stop listening; in a tree, listen for them to the end.

        After ``limit`` seconds it raises NotMet, or goes on with whole nodes where they are known by ``hosts`` and may
        be ``spare``. ``firsts``: of each rank the first rank of its node, where that is not known by ``hosts``.
        """
        self._hosts = tuple(hosts)
        known: dict[str, int] = {}
        firsts = firsts or [known.setdefault(host, rank) for rank, host in enumerate(hosts)]
        make_room(firsts.count(0) + len(set(firsts)) - 2 if firsts else size - 1)
        places = Places(firsts)
        control = Control(0, size, places=places)
        self.admit_to(control, run, token, range(1, size))
        remind, deadline, absent = time.monotonic() + REMIND_SECONDS, time.monotonic() + limit, ""
        try:
            while not control.complete and not absent:
                if time.monotonic() > deadline:
                    absent = self._absent(limit)
                    if not spare or not whole_nodes(hosts, control.missing):
                        raise NotMet(absent)
                elif time.monotonic() > remind:
                    remind = deadline
                    self._say(f"waiting for rank {self._names()}, for {limit:.0f} s at most")
                self.step(LOOK_SECONDS)
                control.keep_arrivals()
        except BaseException as error:  # the ranks that came are told why nothing begins, then it is raised
            order = {"do": "quit", "status": EXIT_INCONCLUSIVE, "reason": f"rank 0: {error}"}
            if isinstance(error, NotMet):
                for rank in control.peers:
                    control.send(rank, order)
            self.close()
            control.abandon(EXIT_INCONCLUSIVE)
            raise
        if places.needed:
            self._begun = True
            control.begin(self)
        else:
            self.close()
        control.absent = absent
        return control

    def close(self) -> None:
        for caller in self._callers():
            self._reject(caller)
        for each in self._sockets:
            each.close()
        self._selector.close()

    def step(self, seconds: float) -> None:
        """Wait at most ``seconds`` for somebody to call, and admit whoever has proved to be one of the ranks."""
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                self._accept(key.fileobj)  # type: ignore[arg-type]
            elif self._selector.get_map().get(key.fd) is key:  # it was not rejected meanwhile
                self._receive(key.data)
        now = time.monotonic()
        for caller in self._callers():
            if caller.deadline < now:
                self._reject(caller)

    def _callers(self) -> list[Caller]:
        """The callers that wait, the oldest first."""
        return [key.data for key in self._selector.get_map().values() if key.data]

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                sock, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._make_room()
                return
            if len(self._callers()) >= WAITING_ROOM:
                self._make_room()
            sock.setblocking(False)
            name = str(address[0]) if address else "this node"
            caller = Caller(sock, name, time.monotonic() + ANSWER_SECONDS)
            self._selector.register(sock, selectors.EVENT_READ, caller)

    def _make_room(self) -> None:
        callers = self._callers()
        for address, _ in Counter(caller.address for caller in callers).most_common(1):
            self._reject(next(caller for caller in callers if caller.address == address))

    def _reject(self, caller: Caller) -> None:
        self._selector.unregister(caller.socket)
        caller.socket.close()

    def _receive(self, caller: Caller) -> None:
        try:
            data = caller.socket.recv(caller.missing())
            if not data:
                raise Forged("the connection was closed")
            caller.received += data
            if caller.missing() > 0:
                return
            received, caller.received = bytes(caller.received), bytearray()
            if caller.handshake is None:
                caller.handshake = self._greet(caller, received)
            else:
                self._admit(caller, caller.handshake, received)
        except BlockingIOError:
            return
        except (OSError, Forged):
            self._reject(caller)

    def _greet(self, caller: Caller, received: bytes) -> Handshake:
        try:
            dialer, rank, size = parse_hello(received)
        except OtherVersion as other:
            caller.socket.send(MAGIC.ljust(NONCE))  # in place of the nonce: it tells its user too
            self._say_once(f"{caller.address} called as a rank of {other}")
            raise
        host = secrets.token_bytes(NONCE)
        caller.socket.send(host)  # 32 bytes into an empty buffer
        return Handshake(self._run, rank, size, dialer, host)

    def _admit(self, caller: Caller, handshake: Handshake, proof: bytes) -> None:
        rank, control = handshake.rank, self._control
        secrets = control.secrets(rank, self._token, self._begun and not self._passing)
        token = next((each for each in secrets if handshake.proves(each, DIALER, proof)), None)
        if token is None:
            self._unproved(caller, rank)
        if handshake.size != self._size:
            self._miscounted(caller, handshake)
        if rank not in self._others:
            raise Forged("this rank is not behind this one")
        if token == self._token and control.connected(rank):
            self._say_once(
                f"rank {rank} called twice, now from {caller.address}; the first connection is kept"
            )
            raise Forged("this rank is connected already")
        caller.socket.send(handshake.key(token, HOST))
        self._selector.unregister(caller.socket)
        connection = Connection(caller.socket, handshake, token, host=True)
        if control.leads:
            control.arrive(rank, connection, handshake, token, caller.address)
            if control.crowded:
                self._say_once(CROWDED)
        else:
            control.admit(rank, connection, self._passing)

    def _unproved(self, caller: Caller, rank: int) -> NoReturn:
        if not self._begun:
            self._say_once(
                f"{caller.address} called as rank {rank} and does not know the token of this job; "
                "if it belongs to this job, give it the same token and the same run; "
                f"rank 0 waits for it until {JOIN_SECONDS:.0f} s are over"
            )
        raise Forged("no proof")

    def _miscounted(self, caller: Caller, handshake: Handshake) -> NoReturn:
        if self._begun:
            raise Forged("it counts other ranks")
        # it knows the token: no stranger can end the run this way
        raise NotMet(
            f"rank {handshake.rank} at {caller.address} counts {handshake.size} ranks, rank 0 counts {self._size}: "
            "start all of them with the same number of nodes and of processes on each"
        )

    def _say_once(self, text: str) -> None:
        # of a flood one line is enough
        if len(self._shown) < 8 and text not in self._shown:
            self._shown.add(text)
            self._say(text)

    def _names(self) -> str:
        """``4, 5 of n2``: the ranks that are missing, and their nodes where these are known."""
        absent = self._control.missing
        nodes = list(dict.fromkeys(self._hosts[rank] for rank in absent if rank < len(self._hosts)))
        names = ", ".join(str(rank) for rank in absent[:16]) + (" …" if len(absent) > 16 else "")
        return names + (f" of {show_some(nodes, 8)}" if nodes else "")

    def _absent(self, limit: float) -> str:
        shown = "".join(f"; {text}" for text in sorted(self._shown))
        where, absent = f"{' or '.join(self.addresses)}, port {self.port}", len(self._control.missing)
        return (
            f"{absent} of {self._size} ranks did not reach rank 0 at {where}, within {limit:.0f} s: "
            f"rank {self._names()}{shown}; check that the same command was started on every node and that each of them "
            "reaches this address by TCP, or name another interface as management in the profile's [rails]"
        )


def make_room(more: int) -> None:
    """Raise the limit of open files. Raises NotMet where ``more`` connections do not fit."""
    limit = raise_limit()
    wanted = sum(1 for _ in Path("/proc/self/fd").iterdir()) + more + SPARE_FILES
    if wanted > limit:
        raise NotMet(
            f"rank 0 may have {limit:.0f} files open and needs {wanted}, of which {more} for the other ranks: "
            f"{HOW_TO_RAISE}"
        )


def sockets_at(addresses: Sequence[str], ports: Sequence[int], mend: str = "") -> list[socket.socket]:
    """Sockets on those of ``addresses`` that this machine has, at the first port that is free on all of them.

    ``mend`` says what to do where the ports are taken.
    """
    reason = ""
    for port in ports:
        opened: list[socket.socket] = []
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            at = (address, int(opened[0].getsockname()[1]) if opened else port)
            try:
                opened.append(socket.create_server(at, family=family, backlog=1024))
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else str(error)
                if error.errno == errno.EADDRINUSE:
                    while opened:
                        opened.pop().close()
                    break
        for each in opened:
            each.setblocking(False)
        if opened:
            return opened
    tried = f"{min(ports)} to {max(ports)}" if len(ports) > 1 else f"{ports[0]}"
    taken = reason == os.strerror(errno.EADDRINUSE) and mend
    held = f"; another job or user has them (ss -ltnp): end it, or {mend}" if taken else ""
    raise NotMet(f"cannot listen on {', '.join(addresses)}, port {tried}: {reason}{held}")


@dataclass(frozen=True)
class Arrival:
    """A call that was accepted: this rank's place, and the connection that leads there. ``own``: the address that it
    has on the way to rank 0.
    """

    dialer: Dialer
    connection: Connection
    handshake: Handshake
    token: bytes
    place: Place
    own: str

    def renew(self, stream: ResumableStream) -> None:
        """Have a stream take this route."""
        stream.renew(self.handshake, self.token, self.connection, self.place.rank)

    def control(self) -> Control:
        """This rank's end after its first call."""
        dialer = self.dialer
        route: Route = self.connection
        if self.place.where == THROUGH:
            route = stream = ResumableStream(dialer.rank, self.handshake.key(self.token, AGAIN), leads=False)
            self.renew(stream)
        control = Control(dialer.rank, dialer.size, {0: route}, dialer.above)
        # a file with the token may be gone by then
        control.search = partial(Search, replace(dialer, token=lambda: self.token))
        if isinstance(route, ResumableStream):
            control.watch_way()
        self.settle(control)
        return control

    def settle(self, control: Control) -> None:
        """Listen for ranks of other nodes where rank 0 wants it, and say at which port."""
        if not self.place.listen or control.open_listener:
            return
        dialer, port = self.dialer, 0
        try:
            listener = Listener(sockets_at([self.own], dialer.open_ports), dialer.say)
        except NotMet as error:
            dialer.say(f"rank {dialer.rank} cannot pass on messages of other nodes: {error}")
        else:
            others = [rank for rank in range(1, dialer.size) if rank != dialer.rank]
            listener.admit_to(control, dialer.run, dialer.token(), others, passing=True)
            control.open_listener, port = listener, listener.port
        control.send(0, {"said": "listens", "port": port})


class Search:
    """A thread in which a rank behind another node calls rank 0 again: ``arrival``, or why rank 0 is ``gone``.

    Rank 0 listens to the end, so where a connection is refused it is gone. While it is busy it does not answer.
    """

    def __init__(self, dialer: Dialer, secret: bytes) -> None:
        self.arrival: Arrival | None = None
        self.gone = ""
        self._dialer = replace(dialer, say=lambda text: None)
        self._secret = secret
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        deadline, pause, dialer = time.monotonic() + RETURN_SECONDS, PAUSE, self._dialer
        while True:
            errors: list[Exception] = []
            for opened in dialer.places().values():
                try:
                    self.arrival = dialer.arrive(opened, self._secret)
                except (_Refused, OSError) as error:
                    errors.append(error)
                else:
                    return
            if any(isinstance(error, _NotNow) for error in errors):
                deadline = time.monotonic() + RETURN_SECONDS
            refused = all(isinstance(error, ConnectionRefusedError) for error in errors)
            if refused or time.monotonic() > deadline:
                self.gone = "; ".join(dict.fromkeys(str(error) for error in errors))
                return
            time.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 1.5)


@dataclass(frozen=True)
class Dialer:
    """The other side: where to dial, and as which rank. ``token`` is read anew for every connection.

    ``above`` is dialed: rank 0, which answers with a place, the first rank of this node, which listens under the name
    ``node``, or one of another ``node``. ``open_ports``: at which this rank may listen for other nodes.
    """

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    run: str
    rank: int
    size: int
    token: Callable[[], bytes]
    say: Callable[[str], None]
    above: str = "rank 0"
    node: Callable[[], bytes] | None = None
    open_ports: tuple[int, ...] = (0,)

    def connect(self, limit: float) -> Control:
        """Dial until the other side accepts. Raises NotMet after ``limit`` seconds."""
        deadline = time.monotonic() + limit
        pause, reasons = PAUSE, dict[str, str]()
        while True:
            for place, opened in self.places().items():
                try:
                    return self.arrive(opened).control()
                except _Refused as refused:
                    if reasons.get(place) != str(refused) and not isinstance(refused, _NoPlace):
                        self.say(f"rank {self.rank}: {place}: {refused}; dialing again")
                    reasons[place] = str(refused)
                except OSError as error:
                    reasons[place] = error.strerror or str(error)
                if time.monotonic() > deadline:
                    tried = "; ".join(f"{place}: {why}" for place, why in sorted(reasons.items()))
                    raise NotMet(f"rank {self.rank} did not reach {self.above} within {limit:.0f} s: {tried}")
            time.sleep(pause)
            pause = pause if self.node else min(LONGEST_PAUSE, pause * 1.5)

    def arrive(self, opened: Callable[[], socket.socket], secret: bytes = b"") -> Arrival:
        """Call once, with a rank's own ``secret`` where it was connected before. Raises OSError, _Refused."""
        sock = opened()
        own = "" if self.node else str(sock.getsockname()[0])
        handshake, token = self._greet(sock, secret)
        connection = Connection(sock, handshake, token, host=False)
        place = Place() if self.node else self._place(connection)
        if place.where == THROUGH:
            connection.lose("rank 0 has another place")
            connection = self._through(place)
        return Arrival(self, connection, handshake, token, place, own)

    def _place(self, connection: Connection) -> Place:
        """What rank 0 sends first."""
        sock, deadline = connection.socket, time.monotonic() + ANSWER_SECONDS
        try:
            head = _read(sock, LENGTH.size, deadline, "it gave no place")
            (length,) = LENGTH.unpack(head)
            frame = head + _read(sock, min(length, LONGEST_PLACE) + PROOF, deadline, "it gave no place")
            place = place_in(next(connection.opened(frame)))
            if place.where == LATER:
                raise _NoPlace("rank 0 has no place for it yet")
        except (StopIteration, Forged, ValueError) as error:
            connection.lose("it gave no place")
            raise _Refused(f"it gave no place: {error}") from None
        except BaseException:  # raised again: an interrupt must not leave the socket open
            connection.lose("it gave no place")
            raise
        sock.setblocking(False)
        return place

    def places(self) -> dict[str, Callable[[], socket.socket]]:
        """What to dial, by its name for a person."""
        if self.node:
            return {"on this node": partial(_dial_here, self.node())}
        pairs = itertools.product(self.hosts, self.ports)
        return {f"{host}:{port}": partial(_dial, host, port) for host, port in pairs}

    def _through(self, place: Place) -> Connection:
        """The connection to the node behind which this rank goes."""
        try:
            sock = _dial(place.host, place.port)
            handshake, token = replace(self, above=f"rank {place.rank}")._greet(sock, b"")
        except OSError as error:  # that rank 0 cannot be reached is another matter
            why = error.strerror or str(error)
            raise _Refused(f"rank {place.rank} at {place.host}:{place.port}: {why}") from None
        return Connection(sock, handshake, token, host=False)

    def _greet(self, sock: socket.socket, secret: bytes) -> tuple[Handshake, bytes]:
        """The handshake, and the token or ``secret`` that both ends have proved to know."""
        try:
            deadline = time.monotonic() + ANSWER_SECONDS
            nonce = secrets.token_bytes(NONCE)
            sock.sendall(hello(nonce, self.rank, self.size))
            answer = _read(
                sock, NONCE, deadline, f"it is not {self.above}, or of another version of RailGauge"
            )
            expect_version(answer)
            handshake = Handshake(self.run, self.rank, self.size, nonce, answer)
            token = secret or self.token()
            sock.sendall(handshake.key(token, DIALER))
            refused = "it does not take our token: another job, another token, or this rank is there already"
            if not handshake.proves(token, HOST, _read(sock, PROOF, deadline, refused)):
                raise _Refused(f"it does not know our token and is not {self.above}")
            return handshake, token
        except OtherVersion as other:
            sock.close()
            raise _Refused(f"{self.above} is of {other}") from None
        except BaseException:  # raised again: an interrupt must not leave the socket open
            sock.close()
            raise


def _dial(host: str, port: int) -> socket.socket:
    sock = socket.create_connection((host, port), CONNECT_SECONDS)
    if sock.getsockname() == sock.getpeername():
        # TCP may connect a port of this machine to itself when nobody listens there
        sock.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens")
    return sock


def _dial_here(name: bytes) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(CONNECT_SECONDS)
        sock.connect(name)
    except OSError:
        sock.close()
        raise
    return sock


class _Refused(Exception):
    """Somebody answered, and not as the rank that is dialed would."""


class _NotNow(_Refused):
    """Rank 0, or who dials for it, is too busy to answer."""


class _NoPlace(_NotNow):
    """Rank 0 wants to be called again in a moment."""


def _read(sock: socket.socket, count: int, deadline: float, otherwise: str) -> bytes:
    """Exactly ``count`` bytes by ``deadline``, however slowly they drip."""
    data = b""
    while len(data) < count:
        left = deadline - time.monotonic()
        if left <= 0:
            raise _NotNow(f"no answer within {ANSWER_SECONDS:.0f} s")
        sock.settimeout(left)
        try:
            part = sock.recv(count - len(data))
        except TimeoutError:
            continue
        except ConnectionResetError:
            part = b""
        if not part:
            raise _Refused(otherwise)
        data += part
    return data
