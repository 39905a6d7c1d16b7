"""How many ranks, and which collective, a table of figures can only have come from.

busbw/algbw is 2(n-1)/n for all_reduce and (n-1)/n for the gather-like collectives, so the printed digits
admit few n; for gather-like ones size/(count · element) is n itself. One vendor's "64 GPU" all_reduce
table has a ratio of 1.979: 96 ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .nouns import TYPE_BYTES, ImportedRow

MOST_RANKS = 1 << 17  # more than any cluster; beyond it the digits tell nothing


@dataclass(frozen=True)
class Shape:
    """How a collective's rows look. ``times``: busbw/algbw is times · (n-1)/n, or 1 when 0."""

    collective: str
    times: int
    blocks: bool
    reduces: bool
    rooted: bool


SHAPES = (
    Shape("all_reduce", 2, False, True, False),
    Shape("all_gather", 1, True, False, False),
    Shape("reduce_scatter", 1, True, True, False),
    Shape("all_to_all", 1, True, False, False),
    Shape("broadcast", 0, False, False, True),
    Shape("reduce", 0, False, True, True),
    Shape("gather", 1, True, False, True),
    Shape("scatter", 1, True, False, True),
    Shape("p2p_ring", 0, False, False, False),
    # point-to-point between pairs is ours alone; nothing but the name tells it from sendrecv
    Shape("p2p", 0, False, False, False),
    Shape("p2p_bidirectional", 0, False, False, False),
)
NAMED_ONLY = ("p2p", "p2p_bidirectional")


def blocks_of(row: ImportedRow) -> int | None:
    """Blocks of ``count`` elements in ``size``: 1, or n for gather-like collectives; None if not whole."""
    width = TYPE_BYTES.get(row.dtype)
    if not width or row.count <= 0 or row.size % (row.count * width):
        return None
    return row.size // (row.count * width)


def ratio(row: ImportedRow) -> tuple[float, float] | None:
    """The least and most that busbw/algbw may be, given the printed digits; None of a row without figures.

    algbw is size/seconds, which has more digits; the printed one where the column is the launch time.
    """
    half_time, half_algbw, half_busbw = row.digits
    if not (row.seconds > half_time and row.algbw > half_algbw and row.busbw >= 0 and row.size > 0):
        return None
    if not all(map(math.isfinite, (row.seconds, row.algbw, row.busbw))):
        return None
    low, high = row.algbw - half_algbw, row.algbw + half_algbw
    if row.clock == "gpu":
        fast, slow = row.size / (row.seconds - half_time), row.size / (row.seconds + half_time)
        if slow <= high and fast >= low:  # they agree: use what both allow
            low, high = max(low, slow), min(high, fast)
        else:  # up to nccl-tests 2.9 the column of gather-like collectives was another quantity
            low, high = slow, fast
    return max(0.0, row.busbw - half_busbw) / high, (row.busbw + half_busbw) / low


def _ranks_of(share: float) -> float:
    """n of (n-1)/n."""
    return 1 / (1 - share) if share < 1 else math.inf


def admitted(row: ImportedRow, times: int) -> tuple[int, int] | None:
    """The least and most ranks that fit this row's ratio; None when it says nothing; (1, 0) when none fit."""
    seen = ratio(row)
    if seen is None or times == 0:
        return None
    low, high = (_ranks_of(value / times) for value in seen)
    most = MOST_RANKS if math.isinf(high) else math.floor(high + 1e-9)
    least = MOST_RANKS if math.isinf(low) else max(1, math.ceil(low - 1e-9))
    return (least, most) if least <= most else (1, 0)


@dataclass(frozen=True)
class Ranks:
    """``admits``: (least, most) over all rows that agree; ``misfits``: rows that fit no such number."""

    admits: tuple[int, int] | None
    misfits: int


def infer(rows: Sequence[ImportedRow], times: int) -> Ranks:
    """Narrow the number of ranks down by every row, the most precise first."""
    least, most, fitting, misfits = 1, MOST_RANKS, 0, 0
    for row in sorted(rows, key=lambda row: -row.busbw if math.isfinite(row.busbw) else math.inf):
        seen = admitted(row, times)
        if seen is None:
            continue
        low, high = max(least, seen[0]), min(most, seen[1])
        if seen == (1, 0) or low > high:
            misfits += 1
        else:
            least, most, fitting = low, high, fitting + 1
    return Ranks((least, most) if fitting else None, misfits)


def fits(shape: Shape, row: ImportedRow) -> bool:
    """Whether a row can be one of this collective: by its columns, its blocks and its ratio."""
    rooted = row.root is not None and row.root >= 0
    reduces = row.op not in ("", "none")
    # up to nccl-tests 2.11 alltoall printed a redop that it did not use, and no root
    old_alltoall = shape.collective == "all_to_all" and row.root is None
    if rooted != shape.rooted or (reduces != shape.reduces and not old_alltoall):
        return False
    blocks = blocks_of(row)
    if blocks is None:
        return row.count == 0
    if blocks > 1 and not shape.blocks:
        return False
    return _ratio_fits(shape, row, blocks)


def _ratio_fits(shape: Shape, row: ImportedRow, blocks: int) -> bool:
    seen = ratio(row)
    if seen is None:
        return True
    if shape.times == 0:
        return seen[0] <= 1.0 <= seen[1]
    admits = admitted(row, shape.times)
    if admits is None or admits == (1, 0):
        return False
    return not shape.blocks or admits[0] <= blocks <= admits[1]


def candidates(rows: Sequence[ImportedRow]) -> tuple[str, ...]:
    """The collectives that most rows fit; several where tables look alike (all_gather and all_to_all)."""
    telling = [row for row in rows if ratio(row) is not None]
    # without a ratio one block is taken as one block, not as a gather-like collective on one rank
    shapes = [s for s in SHAPES if s.collective not in NAMED_ONLY and (telling or not _one_block(s, rows))]
    telling = telling or list(rows)
    counts = {shape.collective: sum(fits(shape, row) for row in telling) for shape in shapes}
    best = max(counts.values(), default=0)
    if not best:
        return ()
    return tuple(name for name, count in counts.items() if count == best)


def _one_block(shape: Shape, rows: Sequence[ImportedRow]) -> bool:
    return shape.blocks and all(blocks_of(row) in (None, 1) for row in rows)


def by_checks(found: tuple[str, ...], rows: Sequence[ImportedRow]) -> tuple[str, ...]:
    """Tell look-alikes apart: nccl-tests 2.13 and later checks all_to_all out of place only."""
    if "all_to_all" not in found:
        return found
    checked = {row.placement for row in rows if row.wrong is not None}
    if "in" in checked:
        return tuple(name for name in found if name != "all_to_all")
    if "out" in checked and any(row.placement == "in" for row in rows):
        return ("all_to_all",)
    return found


def shape_of(collective: str) -> Shape | None:
    """The shape of a collective's rows; None of an unknown name."""
    return next((shape for shape in SHAPES if shape.collective == collective), None)
