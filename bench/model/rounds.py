"""Schedules node pairs in rounds of disjoint pairs.

The schedule is the circle method of round-robin tournaments: one node stands still, the others turn
by one place a round. With n nodes it has n - 1 rounds (n when n is odd, each round one node rests),
no node is in two pairs of a round, and every pair meets once. Fewer rounds are impossible.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)
Round = tuple[tuple[T, T], ...]


def rounds(nodes: Sequence[T]) -> tuple[Round[T], ...]:
    """All pairs of ``nodes`` in rounds of disjoint pairs; the earlier node of ``nodes`` stands first.

    No or one node: no round. Raises ValueError when a node is listed twice, as it would meet itself.
    """
    if len(set(nodes)) != len(nodes):
        raise ValueError("a node is listed twice; list every node once")
    return tuple(
        tuple((nodes[first], nodes[second]) for first, second in round_of(len(nodes), turn))
        for turn in range(round_count(len(nodes)))
    )


def round_count(count: int) -> int:
    """How many rounds ``count`` nodes have."""
    return count - 1 + count % 2 if count > 1 else 0


def round_of(count: int, turn: int) -> list[tuple[int, int]]:
    """The pairs of nodes that meet in round ``turn``, by their numbers; of an odd count one node rests."""
    turning = count - 1 + count % 2
    if count < 2:
        return []
    circle = [0, *(1 + (place + turn) % turning for place in range(turning))]
    meets = ((circle[i], circle[-1 - i]) for i in range(len(circle) // 2))
    return [(a, b) if a < b else (b, a) for a, b in meets if a < count and b < count]


def partner(node: int, count: int, turn: int) -> int:
    """Whom ``node`` meets in round ``turn``; -1 where it rests."""
    turning = count - 1 + count % 2
    if count < 2:
        return -1
    place = 0 if node == 0 else 1 + (node - 1 - turn) % turning
    other = turning - place
    found = 0 if other == 0 else 1 + (other - 1 + turn) % turning
    return found if found < count else -1


def pack(pairs: Iterable[tuple[T, T]]) -> tuple[Round[T], ...]:
    """Any pairs in rounds of disjoint pairs, each pair in the first round where both are free.

    For re-measurements, which are few. A pair given twice is measured twice. At most
    2 x (pairs of the busiest node) - 1 rounds (greedy edge colouring).
    """
    packed: list[list[tuple[T, T]]] = []
    busy: list[set[T]] = []
    for first, second in pairs:
        if first == second:
            raise ValueError(f"{first} cannot be measured against itself; give two nodes")
        turn = next((i for i, taken in enumerate(busy) if first not in taken and second not in taken), None)
        if turn is None:
            turn = len(busy)
            busy.append(set())
            packed.append([])
        busy[turn] |= {first, second}
        packed[turn].append((first, second))
    return tuple(tuple(meets) for meets in packed)
