"""The calls behind the collectives that need more than one line. torch.distributed is passed in, not imported."""

from __future__ import annotations

from typing import Any

from .late_dataclass import dataclass


@dataclass(frozen=True)
class Call:
    """The arguments of a collective call besides its buffers; ``rank`` and ``root`` are indices into ``members``."""

    dist: Any
    group: Any
    members: tuple[int, ...]
    rank: int
    root: int
    op: Any


def _into_tensor(c: Call, new: str, old: str) -> Any:
    # torch 2.13 renamed both calls and warns about the old names
    return getattr(c.dist, new, None) or getattr(c.dist, old)


def all_gather(c: Call, send: Any, recv: Any) -> None:
    _into_tensor(c, "all_gather_single", "all_gather_into_tensor")(recv, send, group=c.group)


def reduce_scatter(c: Call, send: Any, recv: Any) -> None:
    _into_tensor(c, "reduce_scatter_single", "reduce_scatter_tensor")(recv, send, op=c.op, group=c.group)


def gather(c: Call, send: Any, recv: Any) -> None:
    parts = list(recv.chunk(len(c.members))) if c.rank == c.root else None
    c.dist.gather(send, parts, dst=c.members[c.root], group=c.group)


def scatter(c: Call, send: Any, recv: Any) -> None:
    parts = list(send.chunk(len(c.members))) if c.rank == c.root else None
    c.dist.scatter(recv, parts, src=c.members[c.root], group=c.group)


def _exchange(c: Call, send: Any, to: int | None, recv: Any, source: int | None) -> None:
    # the receive is posted first: gloo halves full duplex when both sides send first
    ops = []
    if source is not None:
        ops.append(c.dist.P2POp(c.dist.irecv, recv, c.members[source], group=c.group))
    if to is not None:
        ops.append(c.dist.P2POp(c.dist.isend, send, c.members[to], group=c.group))
    if ops:
        for work in c.dist.batch_isend_irecv(ops):
            work.wait()


def partner(rank: int, n: int) -> int | None:
    """The other end of a point-to-point pair: 0-1, 2-3, …; None for the last of an odd number."""
    other = rank ^ 1
    return other if other < n else None


def one_way(c: Call, send: Any, recv: Any) -> None:
    other = partner(c.rank, len(c.members))
    if other is not None:
        sends = c.rank % 2 == 0
        _exchange(c, send, other if sends else None, recv, None if sends else other)


def both_ways(c: Call, send: Any, recv: Any) -> None:
    other = partner(c.rank, len(c.members))
    _exchange(c, send, other, recv, other)


def around(c: Call, send: Any, recv: Any) -> None:
    n = len(c.members)
    _exchange(c, send, (c.rank + 1) % n, recv, (c.rank - 1) % n)
