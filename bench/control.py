"""Messages between supervisors: a star with rank 0 in the middle.

What is exchanged grows with the number of ranks: everybody talks to rank 0 and nobody else. Nothing
blocks: ``receive`` yields what has arrived, and callers sleep between looks, so that an idle
supervisor takes no share of a core from the workers (an MPI wait would spin).
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

Message = dict[str, Any]
TAG = 7
FINALIZE_SECONDS = 20.0


class Control(Protocol):
    """One supervisor's end of the star."""

    rank: int
    size: int

    def send(self, to: int, message: Message) -> None:
        """Start sending; returns at once."""

    def receive(self) -> Iterator[tuple[int, Message]]:
        """(sender, message) of all that has arrived."""

    def flush(self, limit: float) -> bool:
        """Wait until all that was sent has left, at most ``limit`` seconds; whether it has."""

    def close(self) -> None:
        """Leave the star; everybody leaves at about the same time."""

    def abandon(self, status: int) -> None:
        """End this process, and with it the job, although somebody does not answer."""


class Alone:
    """A star of one: messages to oneself."""

    def __init__(self) -> None:
        self.rank, self.size = 0, 1
        self._waiting: deque[Message] = deque()

    def send(self, to: int, message: Message) -> None:
        self._waiting.append(message)

    def receive(self) -> Iterator[tuple[int, Message]]:
        while self._waiting:
            yield 0, self._waiting.popleft()

    def flush(self, limit: float) -> bool:
        return True

    def close(self) -> None:
        return

    def abandon(self, status: int) -> None:
        return


class Mpi:
    """Over mpi4py, with point-to-point messages of JSON bytes on a communicator of its own."""

    def __init__(self) -> None:
        import mpi4py

        mpi4py.rc.thread_level = "funneled"
        from mpi4py import MPI

        self._mpi = MPI
        self._comm = MPI.COMM_WORLD.Dup()
        self.rank, self.size = self._comm.Get_rank(), self._comm.Get_size()
        self._self: deque[Message] = deque()
        self._leaving: list[tuple[Any, bytes]] = []

    def send(self, to: int, message: Message) -> None:
        if to == self.rank:
            self._self.append(message)
            return
        data = json.dumps(message).encode()
        # the bytes are kept until they have left: MPI reads them from our memory
        self._leaving.append((self._comm.Isend([data, self._mpi.BYTE], dest=to, tag=TAG), data))

    def receive(self) -> Iterator[tuple[int, Message]]:
        while self._self:
            yield self.rank, self._self.popleft()
        self._leaving = [(request, data) for request, data in self._leaving if not request.Test()]
        status = self._mpi.Status()
        while (found := self._comm.Improbe(tag=TAG, status=status)) is not None:
            data = bytearray(status.Get_count(self._mpi.BYTE))
            found.Recv([data, self._mpi.BYTE])
            yield status.Get_source(), json.loads(data)

    def flush(self, limit: float) -> bool:
        deadline = time.monotonic() + limit
        while self._leaving and time.monotonic() < deadline:
            self._leaving = [(request, data) for request, data in self._leaving if not request.Test()]
            time.sleep(0.002)
        return not self._leaving

    def close(self) -> None:
        # MPI_Finalize waits for everybody and knows no limit
        watchdog = threading.Timer(FINALIZE_SECONDS, os._exit, (3,))
        watchdog.daemon = True
        if self.rank == 0:
            watchdog.start()
        self._mpi.Finalize()
        watchdog.cancel()

    def abandon(self, status: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._mpi.COMM_WORLD.Abort(status)
