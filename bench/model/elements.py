"""Element types and reduction operations, one row each; and the data that tells right from wrong.

Test data depends on (rank, index, repetition), so that a swapped chunk, a stale buffer or a missing
rank is seen. Its values are small whole numbers that every type holds exactly, whatever the order of
the reduction, so the truth is compared with tolerance zero (``avg`` on floating types: a few units in
the last place). The truth of an element follows from its residue alone, by a table of ``MODULUS``
entries: no rank ever holds the inputs of the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from bench.model.errors import EXIT_USAGE, RailGaugeError

from .late_dataclass import dataclass

MODULUS = 251  # prime, so that no power-of-two shift of the data looks like the data


@dataclass(frozen=True)
class Element:
    """An element type. ``exact``: the largest whole number up to which all are represented."""

    name: str
    bytes: int
    floating: bool
    exact: int
    aliases: tuple[str, ...] = ()


ELEMENTS = {
    row.name: row
    for row in (
        Element("float32", 4, True, 1 << 24, ("float",)),
        Element("float16", 2, True, 1 << 11, ("half",)),
        Element("bfloat16", 2, True, 1 << 8),
        Element("float64", 8, True, 1 << 53, ("double",)),
        Element("int8", 1, False, 127),
        Element("uint8", 1, False, 255),
        Element("int32", 4, False, (1 << 31) - 1, ("int",)),
        Element("int64", 8, False, 1 << 53),
    )
}


@dataclass(frozen=True)
class Reduction:
    """A reduction: its value over the ranks' values, and the fraction that floats may be off."""

    name: str
    of: Callable[[Sequence[int]], float]
    floating_only: bool = False


REDUCTIONS = {
    row.name: row
    for row in (
        Reduction("sum", sum),
        Reduction("avg", lambda values: sum(values) / len(values), floating_only=True),
        Reduction("min", min),
        Reduction("max", max),
        Reduction("prod", math.prod),
    )
}


class UnknownName(RailGaugeError, ValueError):
    """A name that no row has; the message lists the known ones."""

    exit_status = EXIT_USAGE


def element(name: str) -> Element:
    """The element type called ``name``, by its own name or nccl-tests'."""
    for row in ELEMENTS.values():
        if name == row.name or name in row.aliases:
            return row
    raise UnknownName(f"unknown element type {name!r}; known: {', '.join(ELEMENTS)}")


def reduction(name: str) -> Reduction:
    """The reduction called ``name``."""
    if name not in REDUCTIONS:
        raise UnknownName(f"unknown reduction {name!r}; known: {', '.join(REDUCTIONS)}")
    return REDUCTIONS[name]


@dataclass(frozen=True)
class Pattern:
    """The test data of one element type and reduction on ``ranks`` ranks.

    An element's value is ``base + values[(residue + shift(rank)) % MODULUS]``, where base is
    ``residue // ramp`` (min and max, so that the winner depends on the place), or 0 without a ramp.
    """

    values: tuple[int, ...]
    ramp: int = 0

    def shift(self, rank: int, repetition: int) -> int:
        """How far this rank's data is turned; two ranks of one job never share all repetitions."""
        turn, lap = rank % MODULUS, rank // MODULUS
        return (turn * (2 * repetition + 3) + lap * (5 * repetition + 1) + 17 * repetition) % MODULUS

    def value(self, residue: int, rank: int, repetition: int) -> int:
        """The element with this residue in the buffer of ``rank``."""
        base = residue // self.ramp if self.ramp else 0
        return base + self.values[(residue + self.shift(rank, repetition)) % MODULUS]

    def reduced(self, op: Reduction, ranks: Sequence[int], repetition: int) -> list[float]:
        """[MODULUS] the truth of a reduction over ``ranks``, by residue."""
        return [op.of([self.value(j, rank, repetition) for rank in ranks]) for j in range(MODULUS)]


FACTOR, STEP, SHIFT = 1_000_003, 7_919, 5
PERIOD = MODULUS << SHIFT  # elements after which the residues repeat


def residue(index: int, repetition: int) -> int:
    """The residue of an element by its place in the sending buffer; the backend computes the same."""
    return ((index * FACTOR + repetition * STEP) >> SHIFT) % MODULUS


def pattern(kind: Element, op: str, ranks: int) -> Pattern:
    """Data whose reduction over ``ranks`` ranks stays exact in ``kind``; ``op`` is "none" for copies."""
    if op in ("sum", "avg"):
        return _bounded(kind, ranks)
    if op == "prod":
        return Pattern(_ones(2, 1, _share(ranks, 6)))
    if op in ("min", "max"):
        return Pattern(_ones(1, 0, MODULUS // 2), ramp=1 if kind.exact > MODULUS else 3)
    low = -125 if kind.name == "int8" else 0
    return Pattern(tuple(low + j for j in range(MODULUS)))


def _bounded(kind: Element, ranks: int) -> Pattern:
    top = min(kind.exact // ranks, MODULUS - 1)
    if top >= 1:
        return Pattern(tuple(j % (top + 1) for j in range(MODULUS)))
    return Pattern(_ones(1, 0, _share(ranks, kind.exact)))


def _share(ranks: int, most: int) -> int:
    """How many of the MODULUS places may be "high" so that at most ``most`` ranks are high at once."""
    if ranks <= most:
        return MODULUS // 2
    laps = -(-ranks // MODULUS)
    return max(1, most // laps if laps > 1 else MODULUS * most // ranks // 4)


def _ones(high: int, low: int, count: int) -> tuple[int, ...]:
    # spread, so that neighbouring ranks are not high together
    chosen = {(k * MODULUS) // count for k in range(count)}
    return tuple(high if j in chosen else low for j in range(MODULUS))


def cancelling(kind: Element, op: str, rank: int, ranks: int) -> int:
    """What ``rank`` sends so that the reduction over all ranks is 0, whatever its order, and most ranks' own is not.

    0 on every rank where the type has no negative values, or cannot hold the sum of half of the ranks.
    """
    signed = kind.name != "uint8"
    if op in ("min", "max", "prod"):
        other = -int(signed) if op == "max" else 1
        return other if rank else 0
    if ranks < 2 or not signed or ranks // 2 > kind.exact:
        return 0
    odd = 3 * (ranks % 2)  # three ranks cancel out among themselves, the others in pairs
    return (1, 1, -2)[rank] if rank < odd else 1 - 2 * ((rank - odd) % 2)


def tolerance(kind: Element, op: str, ranks: int) -> float:
    """Relative error allowed: 0, but for ``avg`` on floats, whose 1/n is rounded once on each rank."""
    if op != "avg" or not kind.floating:
        return 0.0
    epsilon = 1.0 / kind.exact
    return 2 * (2 + ranks / 2) * epsilon
