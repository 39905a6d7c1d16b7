"""How many bytes the buffers of a case take, and how many of them it rotates through."""

from __future__ import annotations

from .collectives import collective
from .elements import element
from .groups import group_sizes
from .measurement import Case

ROTATED = 64 << 20  # bytes of buffers that a small message rotates through: more than a last-level cache
MOST_BUFFERS = 16


def largest(case: Case) -> int:
    """Bytes of one send and one receive buffer on the rank that has the most."""
    row, kind = collective(case.collective), element(case.dtype)
    n, root = max(group_sizes(case.groups)), max(case.root, 0)
    shared = case.placement == "in"
    most = 0
    for rank in {0, 1 % n, root}:
        sides = (row.sent(rank, n, root), row.received(rank, n, root))
        most = max(most, max(sides) if shared else sum(sides))
    return most * case.count * kind.bytes


def rotation(case: Case) -> int:
    """How many buffers a case rotates through, so that small messages are not served from a cache."""
    bytes_each = largest(case)
    return max(1, min(MOST_BUFFERS, ROTATED // bytes_each)) if bytes_each else 1
