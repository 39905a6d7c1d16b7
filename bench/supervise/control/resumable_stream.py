"""A rank's route to rank 0 through other nodes, which can be replaced while messages are on it.

A tree has more nodes than rank 0 has places. The first rank of a node, called X here, dials rank 0 in any case and
proves that it knows the token. Rank 0 answers with its place; where that is behind another node, M, X dials M as well
and leaves rank 0. Its stream of frames to rank 0 then obeys these rules:

1. What X and rank 0 send each other is sealed by keys that follow from the random numbers of X's call to rank 0, which
   M has not seen. M carries sealed bytes over its own route to rank 0: it can delay or drop them, and neither make nor
   alter nor repeat any.
2. Each end numbers its frames from 1 on, and keeps each until the other end has named its number or a later one, which
   every frame does. A frame with number 0 does nothing else.
3. A route ends when one of its connections does, when X has not heard M for SILENCE_SECONDS, or when rank 0 tells X to
   come. X then calls rank 0 again, and proves that it is X by a secret that follows from its first call. It keeps the
   old route until rank 0 has answered: M, if it lives, cannot report X as lost while rank 0 still expects X behind it.
4. A new route has keys of its own. X speaks first on it, and each end sends all that it keeps once more. The numbers on
   a route have no gap, and one that was taken before is dropped: every frame is taken exactly once, and in order.
5. Rank 0 takes X's frames from the node alone behind which it expects X; what still comes by an older route is dropped.
6. X counts as lost when its connection to rank 0, or by M's report that to M, ends after X has spoken on it, or when X
   has not called for RETURN_SECONDS after its route has ended, or has called and not spoken for BUSY_SECONDS.
   Until then its silence is not held against it. While X is busy with a probe of its own, a thread calls for it.
7. What M itself says and what it carries are one stream to rank 0. Where M is behind a third node, and that one ends, M
   comes again by these rules, and those behind M notice nothing.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

from .connection import WAITING, Connection
from .message_frames import HEAD, SEALED, framed, messages_in
from .sealed_frames import (
    LENGTH,
    LONGEST,
    PROOF,
    THROUGH_TO_DIALER,
    THROUGH_TO_HOST,
    Forged,
    Handshake,
    Opener,
    Sealer,
)

NUMBERS = struct.Struct("!QQ")  # of a frame, and of the last one that its sender has taken
WRAP = HEAD.size + NUMBERS.size + LENGTH.size + PROOF  # bytes that each stream adds to a frame
RELAY_HEARTBEAT_SECONDS = 1.0  # between two signs of life of a node to those behind it
SILENCE_SECONDS = 5.0  # without one, after which they leave it
RETURN_SECONDS = 20.0  # in which a rank whose route ended must have called again
# in which it must speak once it has called: a probe of its own may keep it, as long as ``PROBE_SECONDS``
BUSY_SECONDS = 120.0
NAME_SECONDS, NAME_FRAMES = (
    2.0,
    64,
)  # after which the frames taken are named, also where there is nothing to send


class ResumableStream:
    """One end of X's stream, with the calls of a Connection. ``leads``: rank 0's end.

    secret     by which X proves that it is X
    carrier    what carries its frames: of X its connection to M, or to rank 0; of rank 0 the route to M, or the
               connection to X; None while there is none
    middle     M; 0: none, X is connected to rank 0
    open       whether it can be used: at rank 0 once X has spoken on the present route
    heard      when anything of M, at X, or of X arrived last; on the monotonic clock
    patience   seconds of rank 0 in which X must come
    """

    def __init__(self, rank: int, secret: bytes, leads: bool) -> None:
        self.rank, self.secret, self._leads = rank, secret, leads
        self.lost = ""
        self.carrier: Route | None = None
        self.middle, self.open, self.heard = 0, False, time.monotonic()
        self.summoned, self.patience = False, RETURN_SECONDS
        self._kept: deque[tuple[int, bytes]] = deque()
        self._bytes = self._sent = self._taken = self._named = 0
        self._named_at = 0.0

    def renew(self, handshake: Handshake, token: bytes, carrier: Route, middle: int) -> None:
        """Use this route from now on. Its keys follow from the handshake of the call to rank 0."""
        sending, receiving = THROUGH_TO_HOST, THROUGH_TO_DIALER
        if self._leads:
            sending, receiving = receiving, sending
        self._sealer = Sealer(handshake.key(token, sending))
        self._opener = Opener(handshake.key(token, receiving))
        self.carrier, self.middle, self.open, self.summoned = carrier, middle, False, False
        self.patience = RETURN_SECONDS
        if not self._leads:
            self.heard = time.monotonic()
            self._begin()

    def called(self) -> None:
        """At rank 0: X is connected to where it is expected. It lives, and may still be busy."""
        if not self.open:
            self.patience = BUSY_SECONDS

    def interrupt(self) -> None:
        """At rank 0: the route has ended, and X is expected to come again."""
        self.carrier, self.open, self.patience = None, False, RETURN_SECONDS

    def end(self, why: str) -> None:
        """At rank 0: X's connection has ended. If X never spoke on it, X gave that call up and calls again."""
        if self.open:
            self.lose(why)
        else:
            self.interrupt()

    def _begin(self) -> None:
        self.open = True
        for number, payload in [(0, b""), *self._kept]:
            self._seal(number, payload)

    def put(self, payload: bytes) -> None:
        """Keep a frame, and send it where there is a route. Raises ValueError for one that is too long."""
        if self.lost:
            return
        if len(payload) > LONGEST - WRAP:
            raise ValueError(f"a message of {len(payload)} bytes, at most {LONGEST - WRAP} can be sent")
        self._sent += 1
        self._kept.append((self._sent, payload))
        self._bytes += len(payload)
        if self._bytes > WAITING:
            self.lose(f"it took nothing of the last {WAITING} bytes")
        elif self.open:
            self._seal(self._sent, payload)

    def _seal(self, number: int, payload: bytes) -> None:
        assert self.carrier is not None
        sealed = self._sealer.seal(NUMBERS.pack(number, self._taken) + payload)
        self.carrier.put(HEAD.pack(self.rank, SEALED, len(sealed)) + sealed)
        self._named, self._named_at = self._taken, time.monotonic()

    def push(self) -> bool:
        """Name what was taken, where it is time, and hand the rest over to the kernel; whether nothing is left."""
        if self.open and self._taken > self._named:
            late = time.monotonic() - self._named_at > NAME_SECONDS
            if late or self._taken - self._named >= NAME_FRAMES:
                self._seal(0, b"")
        return self.carrier.push() if isinstance(self.carrier, Connection) else True

    def pull(self) -> Iterator[bytes]:
        """Of the end with a connection of its own: the payloads that have arrived and were not taken before."""
        carrier = self.carrier
        if not isinstance(carrier, Connection):
            return
        for frame in carrier.pull():
            if not self._leads:
                self.heard = time.monotonic()
            try:
                for whose, kind, text in messages_in(frame):
                    if whose != self.rank or kind != SEALED:
                        raise Forged("it spoke for another rank")
                    yield from self.take(text)
            except (ValueError, Forged) as error:
                carrier.lose(str(error))
        if carrier.lost and self._leads:
            self.end(carrier.lost)

    def take(self, sealed: bytes) -> Iterator[bytes]:
        """The payloads of a sealed frame that were not taken before; none once the route has ended. Raises Forged."""
        if self.carrier is None:
            return
        for text in self._opener.open(sealed):
            if len(text) < NUMBERS.size:
                raise Forged("a frame without its numbers")
            number, named = NUMBERS.unpack_from(text)
            while self._kept and self._kept[0][0] <= named:
                self._bytes -= len(self._kept.popleft()[1])
            if self._leads:
                self.heard = time.monotonic()
            if not self.open:
                self._begin()
            if number > self._taken + 1:
                raise Forged(f"frame {number} came where {self._taken + 1} was expected")
            if number == self._taken + 1:
                self._taken = number
                yield text[NUMBERS.size :]

    @property
    def ended(self) -> bool:
        """At X: whether it must call rank 0 again."""
        carrier = self.carrier
        silent = self.middle and time.monotonic() - self.heard > SILENCE_SECONDS
        return self.summoned or bool(silent) or carrier is None or bool(carrier.lost)

    def closed(self) -> bool:
        """Never: that the other end has left is seen by the connections that carry the stream."""
        return False

    def lose(self, why: str) -> None:
        """Take and send nothing more. X, whose connection to M stays, is told to end."""
        if self._leads and self.middle and self.open and not self.lost:
            self._seal(self._sent + 1, framed(self.rank, {"do": "quit", "lost": why}))
        self.lost, self.open = why, False
        self._kept.clear()
        if isinstance(self.carrier, Connection) and not (self._leads and self.middle):
            self.carrier.lose(why)


Route: TypeAlias = Connection | ResumableStream
"""What leads to a rank: a connection to it, or its stream through other nodes."""
