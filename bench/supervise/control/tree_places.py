"""Who is connected to rank 0 itself, and who behind which other node; rank 0 decides it, one call after the other.

Where all first ranks of nodes and the ranks of rank 0's own node fit into 2 × FAN_OUT connections, all are connected to
rank 0 itself. Else the first to call are, and listen for others; who calls later goes behind the one of these that is
nearest to rank 0 and has the fewest, FAN_OUT at most. Some room at rank 0 is kept for those who call again.

A rank that calls again before anything of it came from its place could not reach that: it is sent to another one, and
one that could reach neither is kept by rank 0 itself, whatever it has then: a node without any way would be no part of
the run. No rank goes twice behind the same one, so that no late report of an earlier stay can be taken for one of now.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

from bench.model.late_dataclass import asdict, dataclass

from .connection import Connection
from .message_frames import parsed
from .resumable_stream import ResumableStream, Route

FAN_OUT = 32
"""Most nodes behind one node. Rank 0 has twice as many connections, and more only where nodes reach no other node."""
TRIES = 2
"""Places that are tried one after the other before a rank is kept by rank 0."""
HERE, THROUGH, LATER = "here", "through", "later"
LISTEN_SECONDS = 10.0  # that a rank may take to say at which port it listens


@dataclass(frozen=True)
class Place:
    """Rank 0's answer to a call: stay HERE, go THROUGH ``rank``, which listens at ``host`` and ``port``, or call LATER.

    ``listen``: be ready for others who are sent here.
    """

    where: str = HERE
    listen: bool = False
    rank: int = 0
    host: str = ""
    port: int = 0

    @property
    def text(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def place_in(text: bytes) -> Place:
    """Raises ValueError for what is none."""
    try:
        place = Place(**parsed(text))
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not a place: {error}") from None
    kinds = (str, bool, int, str, int)
    if any(type(value) is not kind for value, kind in zip(asdict(place).values(), kinds, strict=True)):
        raise ValueError(f"not a place: {place}")
    return place


class Places:
    """``firsts``: of each rank the first rank of its node; () where nothing is known, and then all are kept.

    avoided  ranks behind which nobody is sent any more
    """

    def __init__(self, firsts: Sequence[int] = ()) -> None:
        self._staying = {rank for rank, first in enumerate(firsts) if rank and not first}
        self._callers = len({first for first in firsts if first})
        self.avoided: set[int] = set()
        self._hosts: dict[int, str] = {}
        self._ports: dict[int, int] = {}
        self._asked: dict[int, float] = {}
        self._tried: dict[int, set[int]] = defaultdict(set)
        self._unheard: set[int] = set()
        self._missed = Counter[int]()  # places that a rank could not reach since it was heard last

    @property
    def needed(self) -> bool:
        """Whether some must be behind others."""
        return self._callers + len(self._staying) > 2 * FAN_OUT

    def choose(self, rank: int, host: str, routes: Mapping[int, Route]) -> Place:
        """Choose the place of a rank that calls from ``host``. ``routes``: rank 0's, by the rank that each leads to."""
        if not self.needed or rank in self._staying:
            return Place()
        self._hosts[rank] = host
        if rank in self._unheard:
            self._unheard.discard(rank)
            self._missed[rank] += 1
        known = rank in self._ports
        direct = [
            each
            for each, route in routes.items()
            if each not in self._staying
            and each != rank
            and (isinstance(route, Connection) or _direct(route))
        ]
        room = 2 * FAN_OUT - len(self._staying) - FAN_OUT // 4
        if len(direct) < room or self._missed[rank] >= TRIES:
            return self._asking(rank, Place(HERE, not known))
        few = len({*self._ports, *self._asked}) * FAN_OUT < self._callers
        if middle := self._middle(rank, routes):
            self._tried[rank].add(middle)
            self._unheard.add(rank)
            at = middle, self._hosts[middle], self._ports[middle]
            return self._asking(rank, Place(THROUGH, few and not known, *at))
        self._asked = {each: at for each, at in self._asked.items() if time.monotonic() - at < LISTEN_SECONDS}
        return Place(LATER) if self._asked else self._asking(rank, Place(HERE, not known))

    def _asking(self, rank: int, place: Place) -> Place:
        if place.listen:
            self._asked[rank] = time.monotonic()
        return place

    def _middle(self, rank: int, routes: Mapping[int, Route]) -> int:
        """Behind whom this rank goes; 0: there is nobody."""
        behind = Counter(route.middle for route in routes.values() if isinstance(route, ResumableStream))
        found = []
        for each in self._ports.keys() - self._tried[rank]:
            depth = self._depth(each, rank, routes)
            if behind[each] < FAN_OUT and depth is not None:
                found.append((depth, behind[each], each))
        return min(found)[-1] if found else 0

    def _depth(self, middle: int, rank: int, routes: Mapping[int, Route]) -> int | None:
        """How many nodes are between this one and rank 0; None where it cannot be used, as behind ``rank`` itself."""
        depth = 0
        while True:
            route = routes.get(middle)
            if route is None or route.lost or middle == rank or middle in self.avoided:
                return None
            if isinstance(route, Connection):
                return depth
            if not route.open:
                return None
            if not route.middle:
                return depth
            middle, depth = route.middle, depth + 1

    def listens(self, rank: int, port: object) -> None:
        """A rank that was asked to says at which port it listens; 0: it cannot."""
        if self._asked.pop(rank, None) is not None and type(port) is int and 0 < port < 1 << 16:
            self._ports[rank] = port

    def came(self, rank: int) -> None:
        """Something of this rank has arrived from its place."""
        self._unheard.discard(rank)
        self._missed.pop(rank, None)

    def left(self, ranks: Collection[int]) -> None:
        """These are lost."""
        for rank in ranks:
            self._ports.pop(rank, None)
            self._asked.pop(rank, None)
            self._unheard.discard(rank)
            self._missed.pop(rank, None)


def _direct(route: ResumableStream) -> bool:
    return not route.middle and route.carrier is not None
