"""A group of ranks as the timing loop sees it, over torch.distributed.

On GPUs the clock is CUDA events on the current stream, so that a mark is where the device is, not
where Python is; on CPUs it is the host's monotonic clock, and a call returns when it is done.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist

from bench.model.late_dataclass import dataclass


class HostClock:
    """Marks are readings of the monotonic clock: CPU collectives are done when they return."""

    def mark(self) -> float:
        return time.perf_counter()

    def seconds(self, start: float, end: float) -> float:
        return end - start

    def settle(self) -> None:
        """Do nothing: no work is in flight on a CPU."""


class CudaClock:
    """Marks are CUDA events on the current stream of ``device``.

    torch creates an event when it is first recorded. The next two are recorded once before the clock runs, so that
    an isolated call is timed without that.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._ready: list[Any] = []

    def mark(self) -> Any:
        return self._recorded(self._ready.pop() if self._ready else torch.cuda.Event(enable_timing=True))

    def _recorded(self, event: Any) -> Any:
        event.record(torch.cuda.current_stream(self.device))
        return event

    def seconds(self, start: Any, end: Any) -> float:
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3

    def settle(self) -> None:
        while len(self._ready) < 2:
            self._ready.append(self._recorded(torch.cuda.Event(enable_timing=True)))
        torch.cuda.synchronize(self.device)


@dataclass(frozen=True)
class Group:
    """``members`` are ranks of the job; ``handle`` is torch's process group, or None for the whole job.

    A pair uses the job's own group with messages between the two, so that all pairs of a large job
    cost no communicator each; or ``talk`` is a connection of its own (one_rail.OneRailDist).
    """

    members: tuple[int, ...]
    place: int
    handle: Any
    device: torch.device
    clock: HostClock | CudaClock
    talk: Any = dist

    def together(self) -> None:
        """A barrier of the group: every rank has arrived, and nothing is in flight."""
        self.clock.settle()
        self.share([0.0])
        self.clock.settle()

    def mark(self) -> Any:
        return self.clock.mark()

    def seconds(self, start: Any, end: Any) -> float:
        return self.clock.seconds(start, end)

    def share(self, values: Sequence[float]) -> list[list[float]]:
        """[rank][value], the same on every rank of the group."""
        mine = torch.tensor(values, dtype=torch.float64, device=self.device)
        n = len(self.members)
        if n == 1:
            return [list(values)]
        if self.talk is not dist and n > 2:
            return [row.tolist() for row in self.talk.gathered(mine)]
        if self.talk is not dist or (self.handle is None and n == 2 and dist.get_world_size() != 2):
            return self._swap(mine)
        everyone = torch.empty(n * len(values), dtype=torch.float64, device=self.device)
        gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
        gather(everyone, mine, group=self.handle)
        rows: list[list[float]] = everyone.view(n, len(values)).tolist()
        return rows

    def _swap(self, mine: torch.Tensor) -> list[list[float]]:
        theirs = torch.empty_like(mine)
        other = self.members[1 - self.place]
        talk = self.talk
        ops = [talk.P2POp(talk.irecv, theirs, other), talk.P2POp(talk.isend, mine, other)]
        for work in talk.batch_isend_irecv(ops):
            work.wait()
        pair = [mine.tolist(), theirs.tolist()]
        return pair if self.place == 0 else pair[::-1]
