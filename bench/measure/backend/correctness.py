"""Filling buffers with the test data and counting the elements that differ from the truth.

Works in chunks, so that the memory it needs does not grow with the message, and on the device that holds the
buffer. Values and truth come from ``elements.Pattern``; the index of an element is its place in the buffer of
the rank that sent it. The data repeats after ``elements.PERIOD`` elements: it is made once, and laid beside
each chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bench.model.collectives import Origin
from bench.model.elements import FACTOR, MODULUS, PERIOD, SHIFT, STEP, Element, Pattern, Reduction, tolerance
from bench.model.measurement import Mismatch

CHUNK = 1 << 18  # elements; 2 MiB for a scratch tensor of the widest type
COMPARES = {
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
    torch.int8, torch.uint8, torch.int32, torch.int64,
}  # fmt: skip
POISON = 77  # what a receive buffer holds before the call; the truth differs from it almost everywhere


@dataclass(frozen=True)
class Data:
    """The test data of one case: ``ranks`` in the group, element type, reduction (None: copies)."""

    kind: Element
    op: Reduction | None
    pattern: Pattern
    ranks: int

    def fill(self, buffer: torch.Tensor, rank: int, repetition: int) -> None:
        """Write the data of ``rank`` into its send buffer."""
        values = [self.pattern.value(j, rank, repetition) for j in range(MODULUS)]
        tile = self._tile(buffer, values, repetition, buffer.numel()).to(buffer.dtype)
        for low in range(0, buffer.numel(), CHUNK):
            part = buffer[low : low + CHUNK]
            part.copy_(_of(tile, low, part))

    def wrong(
        self, received: torch.Tensor, truth: Sequence[Origin], rank: int, repetition: int
    ) -> tuple[int, Mismatch | None]:
        """Elements of ``received`` that differ from the truth, and the first of them."""
        count, first = 0, None
        size = received.numel() // max(1, len(truth))
        for number, origin in enumerate(truth):
            tile = self._tile(received, self._truth(origin, repetition), repetition, size)
            block = received[number * size : (number + 1) * size]
            for low in range(0, size, CHUNK):
                part = block[low : low + CHUNK]
                wanted = _of(tile, origin.block * size + low, part)
                bad = self._differ(part, wanted)
                found = int(bad.count_nonzero())
                if found and first is None:
                    at = int(bad.to(torch.uint8).argmax())
                    index = number * size + low + at
                    first = Mismatch(rank, index, repetition, float(part[at]), float(wanted[at]))
                count += found
        return count, first

    def _truth(self, origin: Origin, repetition: int) -> list[float]:
        if self.op is not None:
            return self.pattern.reduced(self.op, origin.ranks, repetition)
        source = origin.ranks[0]
        return [self.pattern.value(j, source, repetition) for j in range(MODULUS)]

    def _tile(self, like: torch.Tensor, values: Sequence[float], repetition: int, size: int) -> torch.Tensor:
        """What stands from index 0 on, a period longer than the largest part of ``size`` elements.

        In the element type itself where that compares, and holds the truth exactly, else in the widest.
        """
        exact = torch.float64 if self.kind.floating else torch.int64
        table = torch.tensor(values, dtype=exact)
        index = torch.arange(PERIOD, dtype=torch.int64)
        period = table[((index * FACTOR + repetition * STEP) >> SHIFT) % MODULUS]
        if like.dtype in COMPARES and bool((table.to(like.dtype).to(exact) == table).all()):
            period = period.to(like.dtype)
        return period.to(like.device).repeat(1 + -(-min(size, CHUNK) // PERIOD))

    def _differ(self, got: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        allowed = tolerance(self.kind, self.op.name if self.op else "none", self.ranks)
        if allowed:
            exact, near = got.to(torch.float64), wanted.to(torch.float64)
            # written so that NaN differs
            return ~((exact - near).abs() <= allowed * near.abs())
        return got.to(wanted.dtype) != wanted


def _of(tile: torch.Tensor, low: int, part: torch.Tensor) -> torch.Tensor:
    """The part of a tile that stands from index ``low`` on."""
    return tile[low % PERIOD : low % PERIOD + part.numel()]
