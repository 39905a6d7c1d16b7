"""The collectives: one constant each, with its factor, its buffers, its truth and its call.

``size`` is counted as nccl-tests counts it: the bytes of the larger buffer of a rank. A buffer is
made of blocks of ``count`` elements: one block, or one for each rank (gather-like collectives). The
effects are parameters (``Call`` carries torch.distributed), so this table imports neither torch nor MPI.

Factors and sizes: NVIDIA/nccl-tests 2.19.6, doc/PERFORMANCE.md and src/*.cu.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import collective_calls as calls
from .collective_calls import Call, partner
from .elements import Element, UnknownName
from .late_dataclass import dataclass


@dataclass(frozen=True)
class BlockSource:
    """Where one received block comes from: block ``block`` of ``ranks``, reduced when there are several."""

    ranks: tuple[int, ...]
    block: int


Blocks = Callable[[int, int, int], int]  # (rank, ranks, root) -> blocks


def everyone(n: int) -> tuple[int, ...]:
    return tuple(range(n))


def one(*_: int) -> int:
    return 1


def each(rank: int, n: int, root: int) -> int:
    return n


def unchanged(n: int) -> float:
    return 1.0


@dataclass(frozen=True)
class Collective:
    """One row; where it says nothing else, each rank hands over and gets one block, and busbw is algbw.

    factor(n)          busbw / algbw on n ranks
    blocks(n)          blocks of the buffer whose bytes are the size
    sent, received     blocks that a rank hands over and gets; 0: no buffer
    truth              (rank, n, root) -> the origin of each received block
    call               (Call, send, recv): start it and wait as torch waits (on CPU: until done)
    placements         "out" and "in" as torch.distributed offers them
    together           "in": the send buffer is ("same" as recv, "slice-of-recv", "slice-of-send")
    nccl               its name in NCCL's log where NCCL chooses an algorithm for it, such as "AllReduce"
    sides              where the send and the receive buffer lie: "device", or "host" (pinned beside a GPU)
    """

    name: str
    about: str
    truth: Callable[[int, int, int], tuple[BlockSource, ...]]
    call: Callable[[Call, Any, Any], None]
    factor: Callable[[int], float] = unchanged
    blocks: Callable[[int], int] = one
    sent: Blocks = one
    received: Blocks = one
    reduces: bool = False
    rooted: bool = False
    placements: tuple[str, ...] = ("out",)
    together: str = ""
    least: int = 1
    nccl_tests: str = ""
    nccl: str = ""
    sides: tuple[str, str] = ("device", "device")

    @property
    def alone(self) -> bool:
        """Whether nothing leaves the rank, so that every rank is a group of its own."""
        return self.name in COPIES

    @property
    def point_to_point(self) -> bool:
        """Whether each transfer is between two ranks by themselves, so that one rank alone has nothing to do."""
        return self.least > 1

    @property
    def symmetric(self) -> bool:
        """Whether every node sends what it receives: no rank has a part of its own."""
        return not (self.rooted or self.point_to_point or self.alone)

    @property
    def synchronises(self) -> bool:
        """Whether no rank can have its result before every rank has come; shown on three."""
        return all(len({r for part in self.truth(at, 3, 0) for r in part.ranks}) == 3 for at in range(3))


def _share(n: int) -> float:
    return (n - 1) / n


def _from_partner(rank: int, n: int, root: int) -> tuple[BlockSource, ...]:
    other = partner(rank, n)
    return (BlockSource((other,), 0),) if other is not None else ()


ALL_REDUCE = Collective(
    name="all_reduce",
    about="every rank gets the reduction of all",
    factor=lambda n: 2 * (n - 1) / n,
    truth=lambda rank, n, root: (BlockSource(everyone(n), 0),),
    call=lambda c, send, recv: c.dist.all_reduce(recv, op=c.op, group=c.group),
    reduces=True,
    placements=("in",),
    together="same",
    nccl_tests="all_reduce",
    nccl="AllReduce",
)

ALL_GATHER = Collective(
    name="all_gather",
    about="every rank gets the blocks of all",
    factor=_share,
    blocks=lambda n: n,
    received=each,
    truth=lambda rank, n, root: tuple(BlockSource((source,), 0) for source in range(n)),
    call=calls.all_gather,
    placements=("out", "in"),
    together="slice-of-recv",
    nccl_tests="all_gather",
    nccl="AllGather",
)

REDUCE_SCATTER = Collective(
    name="reduce_scatter",
    about="every rank gets its block of the reduction of all",
    factor=_share,
    blocks=lambda n: n,
    sent=each,
    truth=lambda rank, n, root: (BlockSource(everyone(n), rank),),
    call=calls.reduce_scatter,
    reduces=True,
    placements=("out", "in"),
    together="slice-of-send",
    nccl_tests="reduce_scatter",
    nccl="ReduceScatter",
)

ALL_TO_ALL = Collective(
    name="all_to_all",
    about="every rank sends a block of its own to each",
    factor=_share,
    blocks=lambda n: n,
    sent=each,
    received=each,
    truth=lambda rank, n, root: tuple(BlockSource((source,), rank) for source in range(n)),
    call=lambda c, send, recv: c.dist.all_to_all_single(recv, send, group=c.group),
    nccl_tests="alltoall",
)

BROADCAST = Collective(
    name="broadcast",
    about="every rank gets the root's buffer",
    truth=lambda rank, n, root: (BlockSource((root,), 0),),
    call=lambda c, send, recv: c.dist.broadcast(recv, src=c.members[c.root], group=c.group),
    rooted=True,
    placements=("in",),
    together="same",
    nccl_tests="broadcast",
    nccl="Broadcast",
)

REDUCE = Collective(
    name="reduce",
    about="the root gets the reduction of all",
    truth=lambda rank, n, root: (BlockSource(everyone(n), 0),) if rank == root else (),
    call=lambda c, send, recv: c.dist.reduce(recv, dst=c.members[c.root], op=c.op, group=c.group),
    reduces=True,
    rooted=True,
    placements=("in",),
    together="same",
    nccl_tests="reduce",
    nccl="Reduce",
)

GATHER = Collective(
    name="gather",
    about="the root gets the blocks of all",
    factor=_share,
    blocks=lambda n: n,
    received=lambda rank, n, root: n if rank == root else 0,
    truth=lambda rank, n, root: (
        tuple(BlockSource((source,), 0) for source in range(n)) if rank == root else ()
    ),
    call=calls.gather,
    rooted=True,
    nccl_tests="gather",
)

SCATTER = Collective(
    name="scatter",
    about="every rank gets its block of the root's buffer",
    factor=_share,
    blocks=lambda n: n,
    sent=lambda rank, n, root: n if rank == root else 0,
    truth=lambda rank, n, root: (BlockSource((root,), rank),),
    call=calls.scatter,
    rooted=True,
    nccl_tests="scatter",
)

P2P = Collective(
    name="p2p",
    about="ranks in pairs, even sends to odd",
    sent=lambda rank, n, root: int(rank % 2 == 0 and partner(rank, n) is not None),
    received=lambda rank, n, root: rank % 2,
    truth=lambda rank, n, root: _from_partner(rank, n, root) if rank % 2 else (),
    call=calls.one_way,
    least=2,
)

P2P_BIDIRECTIONAL = Collective(
    name="p2p_bidirectional",
    about="ranks in pairs, both send and receive at once; size is one direction",
    sent=lambda rank, n, root: int(partner(rank, n) is not None),
    received=lambda rank, n, root: int(partner(rank, n) is not None),
    truth=_from_partner,
    call=calls.both_ways,
    least=2,
)

P2P_RING = Collective(
    name="p2p_ring",
    about="every rank sends to the next and receives from the one before",
    truth=lambda rank, n, root: (BlockSource(((rank - 1) % n,), 0),),
    call=calls.around,
    least=2,
    nccl_tests="sendrecv",
)

COLLECTIVES = {
    row.name: row
    for row in (
        ALL_REDUCE,
        ALL_GATHER,
        REDUCE_SCATTER,
        ALL_TO_ALL,
        BROADCAST,
        REDUCE,
        GATHER,
        SCATTER,
        P2P,
        P2P_BIDIRECTIONAL,
        P2P_RING,
    )
}

# what a profile that lists none measures over its sizes; pairs of ranks have a phase of their own
OF_ALL_RANKS = tuple(name for name, row in COLLECTIVES.items() if not row.point_to_point)


def _copy(name: str, about: str, sides: tuple[str, str]) -> Collective:
    """A copy by the rank itself; its bytes are read once and written once, and the size counts them once."""
    return Collective(
        name=name,
        about=about,
        truth=lambda rank, n, root: (BlockSource((rank,), 0),),
        call=lambda c, send, recv: recv.copy_(send, non_blocking=True),
        sides=sides,
    )


# no collectives, but measured, checked and shown by the same code: what one GPU does without a network
COPIES = {
    row.name: row
    for row in (
        _copy("copy_device", "inside the device's own memory", ("device", "device")),
        _copy("copy_to_device", "from pinned host memory to the device", ("host", "device")),
        _copy("copy_to_host", "from the device to pinned host memory", ("device", "host")),
    )
}

ALIGNMENT = 16  # bytes; nccl-tests rounds the block of gather-like collectives down to it


def collective(name: str) -> Collective:
    """The collective called ``name``, by its own name or nccl-tests' (``alltoall``, ``sendrecv``)."""
    known = COLLECTIVES.get(name) or COPIES.get(name)
    if known:
        return known
    for row in COLLECTIVES.values():
        if name in (row.nccl_tests, f"{row.nccl_tests}_perf"):
            return row
    raise UnknownName(f"unknown collective {name!r}; known: {', '.join((*COLLECTIVES, *COPIES))}")


def count_of(row: Collective, size: int, kind: Element, n: int) -> int:
    """Elements of one block for a wanted ``size`` in bytes, rounded down as nccl-tests does; may be 0."""
    blocks = row.blocks(n)
    elements = size // kind.bytes
    if blocks == 1:
        return elements
    step = max(1, ALIGNMENT // kind.bytes)
    return elements // blocks // step * step


def least_size(row: Collective, kind: Element, n: int) -> int:
    """Bytes of the smallest message: below it ``count_of`` is 0."""
    blocks = row.blocks(n)
    return kind.bytes if blocks == 1 else blocks * max(kind.bytes, ALIGNMENT // kind.bytes * kind.bytes)


def size_of(row: Collective, count: int, kind: Element, n: int) -> int:
    """Bytes of the size column for blocks of ``count`` elements."""
    return row.blocks(n) * count * kind.bytes


def algbw(size: int, seconds: float) -> float:
    """Algorithm bandwidth in bytes per second."""
    return size / seconds


def busbw(row: Collective, size: int, seconds: float, n: int) -> float:
    """Bus bandwidth in bytes per second; 0 on one rank for the factors that vanish there."""
    return algbw(size, seconds) * row.factor(n)
