"""Filling buffers with the test data and counting the elements that differ from the truth.

Works in chunks, so that the memory it needs does not grow with the message, and on the device that
holds the buffer. Values and truth come from ``elements.Pattern``; the index of an element is its
place in the buffer of the rank that sent it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bench.collectives import Origin
from bench.elements import MODULUS, Element, Pattern, Reduction, tolerance
from bench.model import Mismatch

CHUNK = 1 << 18  # elements; 2 MiB for each int64 scratch tensor
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
        table = self._table(buffer, [self.pattern.value(j, rank, repetition) for j in range(MODULUS)])
        for low in range(0, buffer.numel(), CHUNK):
            part = buffer[low : low + CHUNK]
            part.copy_(table[_residues(part, low, repetition)].to(part.dtype))

    def wrong(
        self, received: torch.Tensor, truth: Sequence[Origin], rank: int, repetition: int
    ) -> tuple[int, Mismatch | None]:
        """Elements of ``received`` that differ from the truth, and the first of them."""
        count, first = 0, None
        size = received.numel() // max(1, len(truth))
        for number, origin in enumerate(truth):
            table = self._table(received, self._truth(origin, repetition))
            block = received[number * size : (number + 1) * size]
            for low in range(0, size, CHUNK):
                part = block[low : low + CHUNK]
                wanted = table[_residues(part, origin.block * size + low, repetition)]
                bad = self._differ(part, wanted)
                found = int(bad.sum())
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

    def _table(self, like: torch.Tensor, values: Sequence[float]) -> torch.Tensor:
        exact = torch.float64 if self.kind.floating else torch.int64
        return torch.tensor(values, dtype=exact, device=like.device)

    def _differ(self, got: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        allowed = tolerance(self.kind, self.op.name if self.op else "none", self.ranks)
        if allowed:
            # written so that NaN differs
            return ~((got.to(wanted.dtype) - wanted).abs() <= allowed * wanted.abs())
        return got.to(wanted.dtype) != wanted


def _residues(like: torch.Tensor, low: int, repetition: int) -> torch.Tensor:
    """elements.residue() of ``like.numel()`` elements from index ``low`` on."""
    index = torch.arange(low, low + like.numel(), device=like.device, dtype=torch.int64)
    return ((index * 1_000_003 + repetition * 7_919) >> 5) % MODULUS
