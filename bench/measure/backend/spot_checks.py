"""A few elements of each timed block, laid before its calls and compared after them: a call that does nothing is seen.

To compare all elements after each block would take longer than the calls. These few are cheap, and hold data that
every call must change, also in place, where the rest of a reduction's buffer has become zeros.
"""

from __future__ import annotations

from typing import Any

import torch

from bench.measure.backend.buffers import Buffers
from bench.measure.backend.correctness import POISON, Data
from bench.model.collectives import BlockSource
from bench.model.late_dataclass import dataclass, field
from bench.model.measurement import Mismatch

SPOTS = 64  # elements of each block of a buffer
REPEATABLE = ("min", "max")  # reductions whose result stays the same when they are done again on it


@dataclass
class Spots:
    """Every ``_stride``-th element of each block of ``count`` elements, of the rank at ``place``."""

    data: Data
    buffers: Buffers
    truth: tuple[BlockSource, ...]
    place: int
    count: int
    accumulates: bool
    _sent: torch.Tensor = field(init=False)
    _wanted: torch.Tensor = field(init=False)
    _laid: torch.Tensor = field(init=False)

    @property
    def _stride(self) -> int:
        return max(1, self.count // SPOTS)

    def _of(self, buffer: torch.Tensor) -> torch.Tensor:
        """[block][spot] a view of the buffer."""
        return buffer.view(-1, self.count)[:, :: self._stride]

    def _blocks(self, like: torch.Tensor, origins: Any, repetition: int) -> torch.Tensor:
        found = [self.data.block(like, each, repetition, self.count, self._stride) for each in origins]
        return torch.stack(found) if found else self._of(like)[:0].clone()

    def choose(self, repetition: int) -> None:
        """Make the data of this repetition, and what must come of it."""
        send, recv = self.buffers.send[0], self.buffers.recv[0]
        own = [BlockSource((self.place,), block) for block in range(send.numel() // self.count)]
        self._sent = self._blocks(send, own, repetition).to(send.dtype)
        self._wanted = self._blocks(recv, self.truth, repetition)
        self.lay(0)
        self._laid = self._of(recv).clone()
        self._clear(0)

    def lay(self, which: int) -> None:
        """Poison the spots of the receive buffer, then lay this rank's data in the send buffer."""
        self._of(self.buffers.recv[which]).fill_(POISON)
        self._of(self.buffers.send[which]).copy_(self._sent)

    def compare(self, which: int, *, once: bool) -> tuple[int, Mismatch | None]:
        """Wrong elements among the spots, and the first. ``once``: one call has been made on them since they were laid.

        After several calls in place a sum is another at each: then its elements must be others than those laid.
        """
        got = self._of(self.buffers.recv[which])
        wrong, first = 0, None
        if self.truth:
            bad = self._wrong(got, once)
            wrong = int(bad.count_nonzero())
            if wrong:
                block, at = (int(each) for each in bad.nonzero()[0])
                index = block * self.count + at * self._stride
                first = Mismatch(self.place, index, 0, float(got[block, at]), float(self._wanted[block, at]))
        self._clear(which)
        return wrong, first

    def _wrong(self, got: torch.Tensor, once: bool) -> torch.Tensor:
        op = self.data.op.name if self.data.op else ""
        if once or not self.accumulates or op in REPEATABLE:
            return self.data.differ(got, self._wanted)
        # whole numbers may wrap around to where they began
        changes = self.data.differ(self._laid, self._wanted) & self.data.kind.floating
        return (got == self._laid) & changes

    def _clear(self, which: int) -> None:
        """Leave zeros where a reduction takes its own result as the next input, as in the rest of its buffer."""
        if self.accumulates:
            self._of(self.buffers.send[which]).zero_()
            self._of(self.buffers.recv[which]).zero_()
