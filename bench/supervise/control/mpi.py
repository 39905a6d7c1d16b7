"""The MPI job around the supervisors: it hands out rank 0's address and secret, and ends or aborts the job."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

HAND_OUT_SECONDS = 60.0
FINALIZE_SECONDS = 20.0  # for rank 0; the others wait for it
FOLLOW_SECONDS = 60.0

Value = TypeVar("Value")


class Mpi:
    """Control messages over mpi4py, on the world communicator, which nothing else uses."""

    def __init__(self) -> None:
        import mpi4py

        mpi4py.rc.thread_level = "funneled"
        from mpi4py import MPI

        self._mpi = MPI
        self._comm = MPI.COMM_WORLD
        self.rank, self.size = self._comm.Get_rank(), self._comm.Get_size()

    def gather(self, value: Value) -> list[Value] | None:
        """The values of all ranks, on rank 0 alone. All ranks call this at the same time, and ``scatter``."""
        with _limit(HAND_OUT_SECONDS, self._late):
            return self._comm.gather(value)

    def scatter(self, values: Sequence[Value] | None) -> Value:
        """This rank's one of the values that rank 0 has."""
        with _limit(HAND_OUT_SECONDS, self._late):
            sent: Value = self._comm.scatter(values)
        return sent

    @property
    def _late(self) -> str:
        return f"rank {self.rank}: MPI did not deliver rank 0's address within {HAND_OUT_SECONDS:.0f} s"

    def finish(self) -> None:
        with _limit(FOLLOW_SECONDS if self.rank else FINALIZE_SECONDS):
            self._mpi.Finalize()

    def abort(self, status: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._comm.Abort(status)


@contextmanager
def _limit(seconds: float, text: str = "") -> Iterator[None]:
    """End this process after ``seconds``, with ``text``: MPI's calls wait for everybody and know no limit."""

    def end() -> None:
        if text:
            print(f"railgauge: {text}", file=sys.stderr, flush=True)
        os._exit(3)

    watchdog = threading.Timer(seconds, end)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
