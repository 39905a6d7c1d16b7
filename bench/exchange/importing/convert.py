"""Imported figures → cases and measurements, so that they are judged and reported like our own."""

from __future__ import annotations

from bench.model.collectives import collective as row_named
from bench.model.elements import UnknownName, element
from bench.model.measurement import Case, Extra, Measurement
from bench.model.timings import Blocks, Seconds

from .imported_rows import ImportedRow, ImportedRun, ImportRefused
from .infer_ranks import MOST_RANKS, UNVERIFIED_IN_PLACE
from .reconcile import usable

PHASE = "import"
NOT_IN_PLACE = "nccl-tests verifies alltoall and sendrecv out of place only"


def measured(
    run: ImportedRun, ranks: int | None = None, algorithm: str = "auto"
) -> tuple[tuple[Case, Measurement], ...]:
    """One pair for each size, type, operation, root and placement; figures of repeated cycles are its blocks.

    nccl-tests prints one time, the mean over ranks and calls (``-a 1``), so a block holds one value.
    Figures without a usable time, and types that are not measured here, are left out; ``run.problems``
    names the former. ImportRefused when the collective or the number of ranks is not known, or nothing
    is left.
    """
    count = ranks or run.ranks
    if not run.collective:
        raise ImportRefused("the table does not tell its collective; give --collective")
    if not count:
        raise ImportRefused("the table does not tell its number of ranks; give --ranks")
    if not 1 <= count <= MOST_RANKS:
        raise ImportRefused(f"{count} is no number of ranks; give --ranks")
    groups: dict[str, list[ImportedRow]] = {}
    for row in run.rows:
        if usable(row) and _known_type(row):
            groups.setdefault(_id(row), []).append(row)
    if not groups:
        raise ImportRefused(f"no figure of the {run.collective} table can be used: {'; '.join(run.problems)}")
    members = tuple(range(count))
    received = _received(run.collective, count)
    return tuple(_pair(run, name, rows, members, received, algorithm) for name, rows in groups.items())


def _known_type(row: ImportedRow) -> bool:
    try:
        element(row.dtype)
    except UnknownName:
        return False
    return True


def _id(row: ImportedRow) -> str:
    parts = [PHASE, row.collective, str(row.size), row.dtype, row.op or "none", row.placement]
    return "/".join([*parts, str(row.root)] if row.root is not None and row.root >= 0 else parts)


def _pair(
    run: ImportedRun,
    name: str,
    rows: list[ImportedRow],
    members: tuple[int, ...],
    received: int,
    algorithm: str,
) -> tuple[Case, Measurement]:
    first = rows[0]
    case = Case(
        id=name,
        phase=PHASE,
        collective=run.collective,
        size=first.size,
        count=first.count,
        groups=(members,),
        dtype=first.dtype,
        op=first.op or "none",
        root=-1 if first.root is None else first.root,
        placement=first.placement,
        algorithm=algorithm,
    )
    counts = [row.wrong for row in rows]
    wrong = None if any(value is None for value in counts) else sum(value or 0 for value in counts)
    return case, Measurement(
        case=name,
        ranks=members,
        pipelined=Blocks([(_seconds(row),) for row in rows]),
        calls=_calls(run),
        isolated=Seconds(value for row in rows for value in row.iterations),
        wrong=(wrong,),
        checked=0 if wrong is None else received * first.count * len(rows),
        mismatches=(),
        stop="count",
        width=None,
        warmup=_whole(run.settings.get("warmup iters") or run.settings.get("warmup_iters")),
        extra=Extra(
            source=run.source,
            nccl=run.nccl,
            printed_algbw=first.algbw,
            printed_busbw=first.busbw,
            complete=run.complete,
            unverified=NOT_IN_PLACE if wrong is None and _unverifiable(first) else "",
        ),
    )


def _unverifiable(row: ImportedRow) -> bool:
    return row.placement == "in" and row.collective in UNVERIFIED_IN_PLACE


def _seconds(row: ImportedRow) -> float:
    """Seconds of a call; from algbw where the time column is the launch alone (``-C 1``)."""
    return row.size / row.algbw if row.clock == "cpu" and row.algbw > 0 else row.seconds


def _received(name: str, ranks: int) -> int:
    """Blocks that all ranks receive; nccl-tests compares every one of their elements."""
    spec = row_named(name)
    return sum(spec.received(rank, ranks, 0) for rank in range(ranks))


def _calls(run: ImportedRun) -> int:
    return _whole(run.settings.get("iters") or run.settings.get("iterations"))


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
