"""The star over mpi4py."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from .protocol import Message

TAG = 7
FINALIZE_SECONDS = 20.0  # for rank 0; the others wait for it
FOLLOW_SECONDS = 60.0


class Mpi:
    """Over mpi4py, with point-to-point messages of JSON bytes.

    On the world itself, which nobody else uses: to make a communicator connects the other ranks with each other, and
    Open MPI aborts those whose connection to a dead one is cut.
    """

    def __init__(self) -> None:
        import mpi4py

        mpi4py.rc.thread_level = "funneled"
        from mpi4py import MPI

        self._mpi = MPI
        self._comm = MPI.COMM_WORLD
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
        watchdog = threading.Timer(FOLLOW_SECONDS if self.rank else FINALIZE_SECONDS, os._exit, (3,))
        watchdog.daemon = True
        watchdog.start()
        self._mpi.Finalize()
        watchdog.cancel()

    def abandon(self, status: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._mpi.COMM_WORLD.Abort(status)
