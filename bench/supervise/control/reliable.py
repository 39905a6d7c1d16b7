"""Messages that arrive, once each and in order, over a star that may lose one.

Open MPI 5.0.11 has lost a message between two supervisors. Every message gets a number of its own a peer;
the peer says up to which number it has all, and what stays without an answer is sent again. Heartbeats are
left as they are: the next one says the same.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .protocol import Control, Message

AGAIN_SECONDS = 2.0  # without an answer, after which the oldest message is sent again
REST_SECONDS = 0.002


@dataclass
class _Peer:
    """Both directions to one peer: what left and is not known to have arrived, what arrived out of turn."""

    sent: int = 0
    got: int = 0
    owing: bool = False
    asked: float = 0.0
    unheard: deque[tuple[int, Message]] = field(default_factory=deque)
    early: dict[int, Message] = field(default_factory=dict)


class Sure:
    """A star over ``inner`` in which no message is lost for good; both ends must use it."""

    def __init__(self, inner: Control, clock: Callable[[], float] = time.monotonic) -> None:
        self.rank, self.size = inner.rank, inner.size
        self._inner, self._clock = inner, clock
        self._peers: dict[int, _Peer] = {}

    def send(self, to: int, message: Message) -> None:
        if to == self.rank or message.get("said") == "beat":
            self._inner.send(to, message)
            return
        peer = self._peer(to)
        peer.sent += 1
        if not peer.unheard:
            peer.asked = self._clock()
        peer.unheard.append((peer.sent, message))
        self._inner.send(to, {"number": peer.sent, "message": message})

    def receive(self) -> Iterator[tuple[int, Message]]:
        for source, message in self._inner.receive():
            if "have" in message:
                self._heard(self._peer(source), message["have"])
            elif "number" in message:
                yield from self._in_turn(source, message)
            else:
                yield source, message
        self._answer()
        self._again()

    def flush(self, limit: float) -> bool:
        """Wait until the peers have all that was sent, ``limit`` seconds at most; what comes in is dropped."""
        deadline = self._clock() + limit
        while any(peer.unheard for peer in self._peers.values()) and self._clock() < deadline:
            for _ in self.receive():
                continue
            time.sleep(REST_SECONDS)
        left = max(0.0, deadline - self._clock())
        return self._inner.flush(left) and not any(peer.unheard for peer in self._peers.values())

    def close(self) -> None:
        self._inner.close()

    def abandon(self, status: int) -> None:
        self._inner.abandon(status)

    def _peer(self, rank: int) -> _Peer:
        return self._peers.setdefault(rank, _Peer())

    def _heard(self, peer: _Peer, have: int) -> None:
        """The peer has everything up to number ``have``."""
        while peer.unheard and peer.unheard[0][0] <= have:
            peer.unheard.popleft()
            peer.asked = self._clock()

    def _in_turn(self, source: int, message: Message) -> Iterator[tuple[int, Message]]:
        peer = self._peer(source)
        peer.owing = True  # one that came before is answered too: its answer may be what got lost
        if message["number"] > peer.got:
            peer.early[message["number"]] = message["message"]
        while peer.got + 1 in peer.early:
            peer.got += 1
            yield source, peer.early.pop(peer.got)

    def _answer(self) -> None:
        for rank, peer in self._peers.items():
            if peer.owing:
                peer.owing = False
                self._inner.send(rank, {"have": peer.got})

    def _again(self) -> None:
        """The oldest message that a peer has not answered; the later ones follow once it has."""
        now = self._clock()
        for rank, peer in self._peers.items():
            if peer.unheard and now - peer.asked > AGAIN_SECONDS:
                peer.asked = now
                number, message = peer.unheard[0]
                self._inner.send(rank, {"number": number, "message": message})
