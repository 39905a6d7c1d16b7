"""Finds the members that differ from the majority."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .late_dataclass import dataclass


@dataclass(frozen=True)
class Odd:
    """A member whose value differs from the majority's. ``usual`` None: there is no majority; ``peers`` have it."""

    name: str
    value: str
    usual: str | None
    peers: int


def odd_ones(values: Mapping[str, str]) -> tuple[Odd, ...]:
    """The members that differ from what more than half of all have; every one where no value has that."""
    if not values:
        return ()
    usual, peers = Counter(values.values()).most_common(1)[0]
    if 2 * peers > len(values):
        return tuple(Odd(name, value, usual, peers) for name, value in values.items() if value != usual)
    return tuple(Odd(name, value, None, 0) for name, value in values.items())
