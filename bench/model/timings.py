"""Holds the seconds of many calls as C doubles: Python's floats would take four times the memory for 64 nodes.

``Seconds`` and ``Blocks`` are sequences that cannot be changed, and equal to any sequence of the same values.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

LONGEST = 1e7  # seconds: no call, and no case in all its calls, takes four months
SIGN = 7 if sys.byteorder == "little" else 0  # which byte of a double has its sign and most of its exponent


def _possible(values: array[float]) -> bool:
    """Whether all are above 0 and finite. Looking at each takes as long as reading it; these three ask C."""
    signs = values.tobytes()[SIGN::8]
    # with 0 in that byte a value is 0 or next to it; one that is NaN, infinite or too long for a time makes the sum so
    return signs.isascii() and 0 not in signs and sum(values) < LONGEST


class Seconds(Sequence[float]):
    """[call] seconds."""

    __slots__ = ("_values",)

    def __init__(self, values: Iterable[float]) -> None:
        self._values = array("d")
        self._values.fromlist(values if isinstance(values, list) else [*values])

    @classmethod
    def of(cls, values: Sequence[float]) -> Seconds:
        return values if isinstance(values, cls) else cls(values)

    @property
    def data(self) -> array[float]:
        """The doubles themselves, for numpy; not to be changed."""
        return self._values

    @property
    def possible(self) -> bool:
        """Whether each is a time that a call can take."""
        return _possible(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[float]:
        return iter(self._values)

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> Seconds: ...
    def __getitem__(self, index: int | slice) -> float | Seconds:
        found = self._values[index]
        return Seconds(found) if isinstance(found, array) else found

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(tuple(self))


class Blocks(Sequence[tuple[float, ...]]):
    """[block][rank] seconds. ValueError where the blocks are not of the same ranks."""

    __slots__ = ("_count", "_values", "_width")

    def __init__(self, blocks: Iterable[Sequence[float]]) -> None:
        rows = tuple(blocks)
        self._count = len(rows)
        self._width = len(rows[0]) if rows else 0
        if len({*map(len, rows)}) > 1:
            raise ValueError("blocks of different numbers of ranks")
        self._values = array("d")
        for row in rows:  # in half the time of all values together
            self._values.fromlist(row if isinstance(row, list) else [*row])

    @classmethod
    def of(cls, blocks: Sequence[Sequence[float]]) -> Blocks:
        return blocks if isinstance(blocks, cls) else cls(blocks)

    @property
    def slowest(self) -> list[float]:
        """[block] seconds of its slowest rank; none where a block has no ranks."""
        return [*map(max, self)] if self._width else []

    @property
    def data(self) -> array[float]:
        """The doubles themselves, block after block, for numpy; not to be changed."""
        return self._values

    @property
    def total(self) -> float:
        return sum(self._values)

    @property
    def width(self) -> int:
        """The number of ranks in a block; 0 without blocks."""
        return self._width

    @property
    def possible(self) -> bool:
        """Whether each is a time that a call can take."""
        return _possible(self._values)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        if not self._width:
            return iter([()] * self._count)
        value = iter(self._values)
        return zip(*[value] * self._width, strict=True)

    @overload
    def __getitem__(self, index: int) -> tuple[float, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> Blocks: ...
    def __getitem__(self, index: int | slice) -> tuple[float, ...] | Blocks:
        if isinstance(index, slice):
            return Blocks([self[at] for at in range(*index.indices(self._count))])
        at = range(self._count)[index] * self._width
        return tuple(self._values[at : at + self._width])

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(map(tuple, other)) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(tuple(self))
