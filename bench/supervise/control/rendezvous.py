"""How a star over TCP comes together: rank 0 opens a door, the others knock.

The door is open only until everybody is in, then nobody can even connect. While it is open a stranger
can do this much: hold one of WAITING_ROOM places for ANSWER_SECONDS, send up to 52 bytes, and be shown
out. When the room is full, the oldest caller of the address with the most callers makes place, so that a
flood from one address pushes out its own. A caller who is shown out comes back until its time is up.

Several ports are tried, in one order on both sides, because the first may be taken on rank 0's node:
the proofs tell the right door from whatever else listens there.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import resource
import secrets
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.model.errors import RailGaugeError
from bench.model.verdict import EXIT, Status

from .sealed_frames import CALLER, HELLO, HOST, NONCE, PROOF, Call, Forged, hello, parse_hello
from .tcp import Control, Link

WAITING_ROOM = 128
JOIN_SECONDS = 180.0  # until everybody must be in
ANSWER_SECONDS = 5.0  # from a connection to its proof
CONNECT_SECONDS = 1.0  # for one address; then the next is tried
SPARE_FILES = 32  # beside the connections: pipes to the worker, logs, files of the run folder
AT_ONCE = 32  # connections accepted between two looks at those that wait
PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between two rounds of knocking


class NotMet(RailGaugeError):
    """The supervisors did not come together; the message says who is missing and what was seen."""


@dataclass
class Caller:
    """A connection whose handshake is not over."""

    socket: socket.socket
    address: str
    until: float
    heard: bytearray = field(default_factory=bytearray)
    call: Call | None = None

    def wanted(self) -> int:
        """Bytes that are still to come in this step."""
        return (PROOF if self.call else HELLO.size) - len(self.heard)


class Door:
    """Rank 0's side. ``run``, ``size`` and ``token`` are the job's; ``say`` tells a person what is odd."""

    def __init__(self, addresses: Sequence[str], ports: Sequence[int], say: Callable[[str], None]) -> None:
        self._listeners = _listen(addresses, ports)
        self.addresses = tuple(str(each.getsockname()[0]) for each in self._listeners)
        self.port = int(self._listeners[0].getsockname()[1])
        self._say = say
        self._callers: dict[int, Caller] = {}
        self._said: set[str] = set()
        self._selector = selectors.DefaultSelector()
        for listener in self._listeners:
            self._selector.register(listener, selectors.EVENT_READ, None)

    def wait(self, run: str, size: int, token: bytes, limit: float) -> Control:
        """Let ranks 1 … size - 1 in and close the door. Raises NotMet after ``limit`` seconds."""
        self._run, self._size, self._token = run, size, token
        self._links: dict[int, Link] = {}
        raise_open_files(size - 1)
        deadline = time.monotonic() + limit
        try:
            while len(self._links) < size - 1:
                if time.monotonic() > deadline:
                    raise NotMet(self._missing(limit))
                self._step()
        except BaseException as error:
            for link in self._links.values():
                if isinstance(error, NotMet):
                    link.put(
                        json.dumps(
                            {"do": "quit", "status": EXIT[Status.ERROR], "reason": f"rank 0: {error}"}
                        ).encode()
                    )
                link.lose("the job did not come together")
            raise
        finally:
            self.close()
        return Control(0, size, self._links)

    def close(self) -> None:
        for caller in list(self._callers.values()):
            self._out(caller)
        for listener in self._listeners:
            listener.close()
        self._selector.close()

    def _step(self) -> None:
        for key, _ in self._selector.select(0.2):
            if key.data is None:
                self._accept(key.fileobj)  # type: ignore[arg-type]
            elif (caller := self._callers.get(key.fd)) is key.data and caller:
                self._hear(caller)
        now = time.monotonic()
        for caller in [caller for caller in self._callers.values() if caller.until < now]:
            self._out(caller)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._make_room()
                return
            if len(self._callers) >= WAITING_ROOM:
                self._make_room()
            sock.setblocking(False)
            caller = Caller(sock, str(address[0]), time.monotonic() + ANSWER_SECONDS)
            self._callers[sock.fileno()] = caller
            self._selector.register(sock, selectors.EVENT_READ, caller)

    def _make_room(self) -> None:
        if not self._callers:
            return
        most, _ = Counter(caller.address for caller in self._callers.values()).most_common(1)[0]
        # dictionaries keep their order: the first of an address is its oldest
        self._out(next(caller for caller in self._callers.values() if caller.address == most))

    def _out(self, caller: Caller) -> None:
        self._leave(caller)
        caller.socket.close()

    def _leave(self, caller: Caller) -> None:
        del self._callers[caller.socket.fileno()]
        self._selector.unregister(caller.socket)

    def _hear(self, caller: Caller) -> None:
        try:
            data = caller.socket.recv(caller.wanted())
            if not data:
                raise Forged("it left")
            caller.heard += data
            if caller.wanted() > 0:
                return
            heard, caller.heard = bytes(caller.heard), bytearray()
            if caller.call is None:
                caller.call = self._greet(caller, heard)
            else:
                self._let_in(caller, caller.call, heard)
        except BlockingIOError:
            return
        except (OSError, Forged):
            self._out(caller)

    def _greet(self, caller: Caller, heard: bytes) -> Call:
        theirs, rank, size = parse_hello(heard)
        ours = secrets.token_bytes(NONCE)
        caller.socket.send(ours)  # 32 bytes into an empty buffer
        return Call(self._run, rank, size, theirs, ours)

    def _let_in(self, caller: Caller, call: Call, proof: bytes) -> None:
        if not call.proves(self._token, CALLER, proof):
            self._once(
                f"{caller.address} called as rank {call.rank} and does not know the token of this job; "
                "if it is one of ours, give it the same token and the same run; "
                f"waiting for it until {JOIN_SECONDS:.0f} s are over"
            )
            raise Forged("no proof")
        if call.size != self._size:
            # proven, so it is one of us: no stranger can end the run this way
            raise NotMet(
                f"rank {call.rank} at {caller.address} was told of {call.size} ranks, rank 0 of {self._size}: "
                "start all of them with the same number of nodes and of processes on each"
            )
        before = self._links.get(call.rank)
        if before is not None and not before.ended():
            self._once(f"rank {call.rank} called twice, now from {caller.address}; the first stays")
            raise Forged("its place is taken")
        caller.socket.send(call.key(self._token, HOST))
        self._leave(caller)
        if before is not None:
            before.lose("it called again")
        self._links[call.rank] = Link(caller.socket, call, self._token, host=True)

    def _once(self, text: str) -> None:
        # of a flood one line is enough
        if len(self._said) < 8 and text not in self._said:
            self._said.add(text)
            self._say(text)

    def _missing(self, limit: float) -> str:
        absent = [rank for rank in range(1, self._size) if rank not in self._links]
        names = ", ".join(str(rank) for rank in absent[:16]) + (" …" if len(absent) > 16 else "")
        odd = "".join(f"; {text}" for text in sorted(self._said))
        where = f"{' or '.join(self.addresses)}, port {self.port}"
        return (
            f"{len(absent)} of {self._size} ranks did not reach rank 0 at {where}, within {limit:.0f} s: "
            f"rank {names}{odd}; check that the same command was started on every node and that each of them reaches "
            "this address by TCP, or name another interface as management in the profile's [rails]"
        )


def raise_open_files(more: int) -> None:
    """Raise the limit of open files as far as this user may. Raises NotMet where ``more`` connections do not fit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(
        OSError, ValueError
    ):  # a hard limit above the kernel's own: what there is has to do
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sum(1 for _ in Path("/proc/self/fd").iterdir()) + more + SPARE_FILES
    if limit != resource.RLIM_INFINITY and wanted > limit:
        raise NotMet(
            f"rank 0 may have {limit} files open and needs {wanted}, one for each of {more} other ranks: raise its "
            "hard limit (ulimit -Hn; nofile in /etc/security/limits.conf, LimitNOFILE of a systemd unit)"
        )


def _listen(addresses: Sequence[str], ports: Sequence[int]) -> list[socket.socket]:
    """Sockets on those of ``addresses`` that this machine has, at the first port that is free on all of them."""
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
        for listener in opened:
            listener.setblocking(False)
        if opened:
            return opened
    tried = f"{ports[0]} to {ports[-1]}" if len(ports) > 1 else f"{ports[0]}"
    raise NotMet(f"cannot listen on {', '.join(addresses)}, port {tried}: {reason}")


@dataclass(frozen=True)
class Knock:
    """A joining rank's side: whom to call, and as whom. ``token`` is read anew for every call."""

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    run: str
    rank: int
    size: int
    token: Callable[[], bytes]
    say: Callable[[str], None]

    def until_in(self, limit: float) -> Control:
        """Call until rank 0 lets us in. Raises NotMet after ``limit`` seconds."""
        deadline = time.monotonic() + limit
        pause, reasons = PAUSE, dict[str, str]()
        while True:
            for host, port in itertools.product(self.hosts, self.ports):
                try:
                    return Control(self.rank, self.size, {0: self._call(host, port)})
                except _Refused as refused:
                    self._tell(reasons, f"{host}:{port}", str(refused))
                except OSError as error:
                    reasons[f"{host}:{port}"] = error.strerror or str(error)
                if time.monotonic() > deadline:
                    seen = "; ".join(f"{place}: {why}" for place, why in sorted(reasons.items()))
                    raise NotMet(f"rank {self.rank} did not reach rank 0 within {limit:.0f} s: {seen}")
            time.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 1.5)

    def _tell(self, reasons: dict[str, str], place: str, why: str) -> None:
        if reasons.get(place) != why:
            self.say(f"rank {self.rank}: {place}: {why}; calling on")
        reasons[place] = why

    def _call(self, host: str, port: int) -> Link:
        sock = socket.create_connection((host, port), CONNECT_SECONDS)
        try:
            if sock.getsockname() == sock.getpeername():
                # TCP may connect a port of this machine to itself when nobody listens there
                raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens")
            until = time.monotonic() + ANSWER_SECONDS
            nonce = secrets.token_bytes(NONCE)
            sock.sendall(hello(nonce, self.rank, self.size))
            call = Call(self.run, self.rank, self.size, nonce, _read(sock, NONCE, until, "it is not rank 0"))
            token = self.token()
            sock.sendall(call.key(token, CALLER))
            refused = "it does not take our token: another job, another token, or this rank is there already"
            if not call.proves(token, HOST, _read(sock, PROOF, until, refused)):
                raise _Refused("it does not know our token and is not rank 0")
            return Link(sock, call, token, host=False)
        except BaseException:
            with contextlib.suppress(OSError):
                sock.close()
            raise


class _Refused(Exception):
    """Somebody answered, and not as rank 0 would."""


def _read(sock: socket.socket, count: int, until: float, otherwise: str) -> bytes:
    """Exactly ``count`` bytes by ``until``, however slowly they drip."""
    data = b""
    while len(data) < count:
        left = until - time.monotonic()
        if left <= 0:
            raise _Refused(f"no answer within {ANSWER_SECONDS:.0f} s")
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
