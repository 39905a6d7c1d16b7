"""Does independent pieces of work in several processes, each a fork that holds all that was read so far.

Python runs one thread at a time, and what a large run was read into is far more than could be sent to a process. In a
pool of the standard library this process would only wait: one more process that takes memory and does nothing.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn, TypeVar

import msgspec

from bench.measure import prctl

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST = 2  # processes: each copies the memory that it touches, and three of them take more than 1 GB for 1250 nodes
MOST_ITEMS = 4096  # whose numbers fit into a pipe at once
BYTES = 2  # in a pipe for the number of an item
LONGEST = 120.0  # seconds that this process waits for a fork once it has nothing left to do itself
PIECE = 1 << 20  # bytes of results that are read at once


def processes() -> int:
    """Return how many processes share the work: at most MOST, and no more than this one may use processors."""
    return min(len(os.sched_getaffinity(0)), MOST)


def forked_map(kind: type[Result], function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """``[function(item) for item in items]``, in as many processes as ``processes`` says.

    ``kind``: the type of the results, as msgspec reads them. An item whose fork fails, or whose result cannot be sent,
    is done again here, and raises here what it raises.
    """
    if processes() < 2 or not 1 < len(items) <= MOST_ITEMS:
        return [function(item) for item in items]
    waiting = _numbers(len(items))
    forks: list[_Fork] = []
    try:
        with contextlib.suppress(OSError):  # there may be no more processes; this one does it all then
            for _ in range(processes() - 1):
                forks.append(_Fork(function, items, waiting))
        found = dict(_done(function, items, waiting))
        for fork in forks:
            found.update(fork.results(kind))
    finally:
        os.close(waiting)
        for fork in forks:
            fork.end()
    return [found[at] if at in found else function(item) for at, item in enumerate(items)]


def _numbers(count: int) -> int:
    """Return the reading end of a pipe that holds the numbers of all items; who takes a number does the item."""
    ours, its = os.pipe()
    os.write(its, b"".join(at.to_bytes(BYTES, "big") for at in range(count)))
    os.close(its)
    return ours


def _done(
    function: Callable[[Item], Result], items: Sequence[Item], waiting: int
) -> Iterator[tuple[int, Result]]:
    while number := os.read(waiting, BYTES):
        at = int.from_bytes(number, "big")
        yield at, function(items[at])


class _Fork:
    """A forked process: it does items until none is left, then sends their results."""

    def __init__(self, function: Callable[[Item], Result], items: Sequence[Item], waiting: int) -> None:
        self._results, its = os.pipe()
        parent = os.getpid()
        with warnings.catch_warnings():
            # of numpy's threads, which the fork does not use
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                self._pid = os.fork()
            except OSError:
                os.close(self._results)
                os.close(its)
                raise
        if self._pid == 0:
            _work(function, items, waiting, its, parent)
        os.close(its)

    def results(self, kind: type[Result]) -> dict[int, Result]:
        """Wait for the results, by the number of their item; there are none where the process has failed."""
        read = bytearray()
        while select.select([self._results], [], [], LONGEST)[0]:
            if not (piece := os.read(self._results, PIECE)):
                break
            read += piece
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.msgpack.decode(read, type=dict[int, kind])  # type: ignore[valid-type]
        return {}

    def end(self) -> None:
        os.close(self._results)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _work(
    function: Callable[[Item], Result], items: Sequence[Item], waiting: int, its: int, parent: int
) -> NoReturn:
    try:
        prctl.end_with_parent(signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
        if os.getppid() == parent:
            found = msgspec.msgpack.encode(dict(_done(function, items, waiting)))
            with os.fdopen(its, "wb") as file:
                file.write(found)
    finally:
        os._exit(0)  # what the parent does at its own end is not the fork's
