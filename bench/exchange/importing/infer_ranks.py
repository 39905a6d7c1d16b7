"""How many ranks, and which collective, a table of figures can only have come from.

busbw/algbw is 2(n-1)/n for all_reduce and (n-1)/n for the gather-like collectives, so the printed digits
admit few n; for gather-like ones size/(count · element) is n itself. One vendor's "64 GPU" all_reduce
table has a ratio of 1.979: 96 ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.model.collectives import ALL_TO_ALL, COLLECTIVES, P2P_RING, Collective

from .imported_rows import TYPE_BYTES, ImportedRow

MOST_RANKS = 1 << 16  # more than any cluster; beyond it the digits tell nothing
PRINTED = tuple(row for row in COLLECTIVES.values() if row.nccl_tests)  # the collectives of nccl-tests
NONE_FITS = (1, 0)
# their in-place results are compared with nothing (src/alltoall.cu and sendrecv.cu: reportErrors = in_place ? 0 : 1)
UNVERIFIED_IN_PLACE = (ALL_TO_ALL.name, P2P_RING.name)

Range = tuple[int, int]  # the least and most ranks


def share_factor(row: Collective) -> float:
    """busbw/algbw is ``share_factor`` · (n-1)/n; 0 of a collective whose busbw is its algbw on any number of ranks."""
    return 0.0 if row.factor(1) else 2 * row.factor(2)


def in_blocks(row: Collective) -> bool:
    """Whether a size is a block of ``count`` elements for each rank."""
    return row.blocks(2) > 1


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


def admitted(row: ImportedRow, factor: float) -> Range | None:
    """The ranks that fit this row's ratio of ``factor`` · (n-1)/n; None when it says nothing; NONE_FITS."""
    seen = ratio(row)
    if seen is None or not factor:
        return None
    # n of a share (n-1)/n, which stays below 1 on any number of ranks
    low, high = (1 / (1 - share) if (share := value / factor) < 1 else math.inf for value in seen)
    least, most = max(1.0, low - 1e-9), min(high + 1e-9, MOST_RANKS)
    return (math.ceil(least), math.floor(most)) if least <= math.floor(most) else NONE_FITS


def infer(rows: Sequence[ImportedRow], factor: float) -> tuple[Range | None, int]:
    """The range of rank counts that fits the rows, from the most precise row on; and how many rows fit none in it."""
    least, most, fitting, misfits = 1, MOST_RANKS, 0, 0
    for row in sorted(rows, key=lambda row: -row.busbw if math.isfinite(row.busbw) else math.inf):
        seen = admitted(row, factor)
        if seen is None:
            continue
        low, high = max(least, seen[0]), min(most, seen[1])
        if seen == NONE_FITS or low > high:
            misfits += 1
        else:
            least, most, fitting = low, high, fitting + 1
    return ((least, most) if fitting else None), misfits


def fits(kind: Collective, row: ImportedRow, redop: bool | None = None) -> bool:
    """Whether a row can be one of this collective: by its columns, its blocks and its ratio.

    ``redop``: whether the header has a redop column, None where there is no header.
    """
    blocks = blocks_of(row)
    if not _columns_fit(kind, row, redop):
        return False
    if blocks is None:
        return row.count == 0
    return (blocks == 1 or in_blocks(kind)) and _ratio_fits(kind, row, blocks)


def _columns_fit(kind: Collective, row: ImportedRow, redop: bool | None) -> bool:
    reduces = row.op not in ("", "none")
    if kind.rooted != (row.root is not None and row.root >= 0):
        return False
    if row.root is None and redop is not None:
        # before 2.13 each program prints the columns that it needs, and alltoall a redop that is blank
        return reduces == kind.reduces and redop == (kind.reduces or kind is ALL_TO_ALL)
    # from 2.13 on sendrecv prints the operation that it was given, which it does not use
    return reduces == kind.reduces or kind is P2P_RING


def _ratio_fits(kind: Collective, row: ImportedRow, blocks: int) -> bool:
    seen = ratio(row)
    if seen is None:
        return True
    admits = admitted(row, share_factor(kind))
    if admits is None:
        return seen[0] <= 1.0 <= seen[1]
    return admits != NONE_FITS and (not in_blocks(kind) or admits[0] <= blocks <= admits[1])


def candidates(rows: Sequence[ImportedRow], redop: bool | None = None) -> tuple[str, ...]:
    """The collectives that most rows fit; several where tables look alike (all_gather and all_to_all)."""
    telling = [row for row in rows if ratio(row) is not None]
    # without a ratio one block is taken as one block, not as a gather-like collective on one rank
    one_block = not telling and all(blocks_of(row) in (None, 1) for row in rows)
    kinds = [kind for kind in PRINTED if not (one_block and in_blocks(kind))]
    counts = {kind.name: sum(fits(kind, row, redop) for row in telling or rows) for kind in kinds}
    best = max(counts.values(), default=0)
    return tuple(name for name, count in counts.items() if best and count == best)


def by_checks(found: tuple[str, ...], rows: Sequence[ImportedRow], bounds: int | None) -> tuple[str, ...]:
    """Tell look-alikes apart by what was verified: alltoall and sendrecv verify results out of place only.

    Before 2.14 both print what differs in place and do not count it among the ``bounds`` of the footer.
    """
    into = [row for row in rows if row.placement == "in"]
    ignored = bounds == 0 and any(row.wrong for row in into)
    verified = any(row.wrong is not None for row in into) and not ignored
    unverified = not verified and into and any(row.wrong is not None for row in rows)
    kept = tuple(
        name for name in found if not (verified if name in UNVERIFIED_IN_PLACE else ignored or unverified)
    )
    return kept or found


def by_ranks(found: tuple[str, ...], rows: Sequence[ImportedRow], count: int | None) -> tuple[str, ...]:
    """Tell look-alikes apart by the number of ranks: all_reduce has sendrecv's ratio of 1 on two ranks only."""
    spans = {kind.name: infer(rows, share_factor(kind))[0] for kind in PRINTED if kind.name in found}
    kept = tuple(name for name, span in spans.items() if not count or not span or span[0] <= count <= span[1])
    return kept or found


def by_name(found: tuple[str, ...], file: str) -> tuple[str, ...]:
    """Tell look-alikes apart by the file's name, whose longest word counts: reduce_scatter, not reduce."""
    letters = "".join(filter(str.isalnum, file.lower()))
    words = {word.replace("_", ""): kind.name for kind in PRINTED for word in (kind.name, kind.nccl_tests)}
    named = words.get(max((word for word in words if word in letters), key=len, default=""))
    return (named,) if named in found else found
