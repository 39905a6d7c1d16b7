"""Filling buffers with the test data and counting the elements that differ from the truth.

Works in chunks, so that the memory it needs does not grow with the message, and on the device that holds the
buffer. Values and truth come from ``elements.Pattern``; the index of an element is its place in the buffer of
the rank that sent it. The data repeats after ``elements.PERIOD`` elements: it is made once, and laid beside
each chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import torch

from bench.model.collectives import BlockSource
from bench.model.elements import FACTOR, MODULUS, PERIOD, SHIFT, STEP, Element, Pattern, Reduction, tolerance
from bench.model.late_dataclass import dataclass, field
from bench.model.measurement import Mismatch

CHUNK = 1 << 18  # elements; 2 MiB for a scratch tensor of the widest type
MOST_PERIODS = 64  # kept of one case, each of PERIOD elements
POISON = 77  # what a receive buffer holds before the call; the truth differs from it almost everywhere

Parts = Callable[[], Iterator[tuple[int, torch.Tensor, torch.Tensor]]]  # (index, got, wanted) chunk by chunk


@dataclass(frozen=True)
class Data:
    """The test data of one case: ``ranks`` in the group, element type, reduction (None: copies)."""

    kind: Element
    op: Reduction | None
    pattern: Pattern
    ranks: int
    _periods: dict[tuple[tuple[int, ...], int], torch.Tensor] = field(default_factory=dict, compare=False)

    def fill(self, buffer: torch.Tensor, rank: int, repetition: int) -> None:
        """Write the data of ``rank`` into its send buffer."""
        tile = self._tile(buffer, (rank,), repetition, buffer.numel()).to(buffer.dtype)
        for low in range(0, buffer.numel(), CHUNK):
            part = buffer[low : low + CHUNK]
            part.copy_(_of(tile, low, part))

    def wrong(
        self, received: torch.Tensor, truth: Sequence[BlockSource], rank: int, repetition: int
    ) -> tuple[int, Mismatch | None]:
        """Elements of ``received`` that differ from the truth, and the first of them."""
        size = received.numel() // max(1, len(truth))

        def parts() -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
            for number, origin in enumerate(truth):
                tile = self._tile(received, origin.ranks, repetition, size)
                for low in range(0, size, CHUNK):
                    at = number * size + low
                    part = received[at : min(at + CHUNK, (number + 1) * size)]
                    yield at, part, _of(tile, origin.block * size + low, part)

        return self._count(parts, rank, repetition)

    def nonzero(self, received: torch.Tensor, rank: int) -> tuple[int, Mismatch | None]:
        """Elements of ``received`` that are not 0, and the first of them."""
        zero = torch.zeros((), dtype=received.dtype, device=received.device)

        def parts() -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
            for at in range(0, received.numel(), CHUNK):
                part = received[at : at + CHUNK]
                yield at, part, zero.expand(part.numel())

        return self._count(parts, rank, 0)

    def block(
        self, like: torch.Tensor, origin: BlockSource, repetition: int, count: int, stride: int
    ) -> torch.Tensor:
        """Every ``stride``-th element of a block of ``count`` elements, as it is sent (one rank) or reduced."""
        period = self._tile(like, origin.ranks, repetition, 0)
        offsets = torch.arange(0, count, stride, device=like.device)
        return period[(origin.block * count + offsets) % PERIOD]

    def _count(self, parts: Parts, rank: int, repetition: int) -> tuple[int, Mismatch | None]:
        """Count differing elements over ``parts`` (index, got, wanted). The device is asked once: asking for
        each part would make it wait for Python thousands of times in a large message.
        """
        counts = [self.differ(got, wanted).count_nonzero() for _, got, wanted in parts()]
        count = int(torch.stack(counts).sum()) if counts else 0
        return count, next(self._mismatches(parts, rank, repetition), None) if count else None

    def _mismatches(self, parts: Parts, rank: int, repetition: int) -> Iterator[Mismatch]:
        """The first differing element of each part that has one."""
        for at, got, wanted in parts():
            bad = self.differ(got, wanted)
            if bool(bad.any()):
                where = int(bad.to(torch.uint8).argmax())
                yield Mismatch(rank, at + where, repetition, float(got[where]), float(wanted[where]))

    def _tile(self, like: torch.Tensor, ranks: tuple[int, ...], repetition: int, size: int) -> torch.Tensor:
        """The data from index 0 on, one period longer than the largest part of ``size`` elements.

        In the element type itself where that holds the truth exactly, else in the widest. A period
        is kept: to compute it takes longer than to compare a small message, and over many ranks than a large one.
        """
        key = (ranks, repetition)
        if key not in self._periods:
            if len(self._periods) >= MOST_PERIODS:
                self._periods.clear()
            self._periods[key] = self._period(like, ranks, repetition)
        period = self._periods[key]
        return period.repeat(1 + -(-min(size, CHUNK) // PERIOD))

    def _period(self, like: torch.Tensor, ranks: tuple[int, ...], repetition: int) -> torch.Tensor:
        """[PERIOD] elements on the device of ``like``; a reduction over one rank is that rank's data."""
        if self.op is not None:
            values = self.pattern.reduced(self.op, ranks, repetition)
        else:
            values = [self.pattern.value(j, ranks[0], repetition) for j in range(MODULUS)]
        exact = torch.float64 if self.kind.floating else torch.int64
        table = torch.tensor(values, dtype=exact)
        if bool((table.to(like.dtype).to(exact) == table).all()):
            table = table.to(like.dtype)
        return table[_residues(repetition)].to(like.device)

    def differ(self, got: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        allowed = tolerance(self.kind, self.op.name if self.op else "none", self.ranks)
        if allowed:
            exact, near = got.to(torch.float64), wanted.to(torch.float64)
            # written so that NaN differs
            return ~((exact - near).abs() <= allowed * near.abs())
        return got.to(wanted.dtype) != wanted


@lru_cache(maxsize=8)
def _residues(repetition: int) -> torch.Tensor:
    """[PERIOD] the residue of each element; see ``elements.residue``."""
    return ((torch.arange(PERIOD, dtype=torch.int64) * FACTOR + repetition * STEP) >> SHIFT) % MODULUS


def _of(tile: torch.Tensor, low: int, part: torch.Tensor) -> torch.Tensor:
    """The part of a tile that stands from index ``low`` on."""
    return tile[low % PERIOD : low % PERIOD + part.numel()]
