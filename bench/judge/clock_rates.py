"""Finds clocks that stand still or run faster or slower than others of the same run, and times that were copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from bench.model.collectives import collective
from bench.model.timings import Blocks, Seconds
from bench.model.units import show_seconds, show_share
from bench.store import Run
from bench.store.rows import Row

SLEWED = 0.1  # by so much chrony lets a clock run fast or slow while it mends its time, at most
ANSWERS = 1.0  # s within which all nodes are read
# s and calls of a block that takes every rank equally long, whichever of them came late to its first call
LONG_BLOCK, MANY = 0.01, 8
FEWEST = 3  # such rows
APART = 0.75  # of the time of most ranks

Spans = list[tuple[float, float]]  # the seconds between two readings by two clocks


def clocks_of_nodes(run: Run) -> Iterator[tuple[str, str]]:
    """(node, what is wrong) of those whose monotonic clock does not go as its time of day does, or as the first node's.

    A clock that is set jumps, and a machine that is suspended loses time, between two readings: the one pair of
    readings in which most is lost does not count.
    """
    own, others = dict[str, Spans](), dict[str, Spans]()
    for before, after in pairwise(run.counters):
        if (before.when, after.when) != ("before", "after"):
            continue
        if (before.phase, before.nodes) != (after.phase, after.nodes):
            continue
        shots = list(zip(before.snapshots, after.snapshots, strict=False))
        went = [(last.monotonic - first.monotonic, last.time - first.time) for first, last in shots]
        for name, (steady, day) in zip(before.nodes or run.manifest.nodes, went, strict=False):
            own.setdefault(name, []).append((steady, day))
            others.setdefault(name, []).append((steady, went[0][0]))
    for spans, whose in ((own, "its clock of the day"), (others, "that of the first node")):
        for name, found in spans.items():
            steady, other = _without_the_worst(found)
            if not abs(steady - other) <= SLEWED * max(steady, other) + ANSWERS:
                text = f"its monotonic clock went {show_seconds(steady)} while {whose} went {show_seconds(other)}"
                yield name, text


def _without_the_worst(spans: Spans) -> tuple[float, float]:
    worst = max(spans, key=lambda pair: abs(pair[0] - pair[1]))
    return sum(a for a, _ in spans) - worst[0], sum(b for _, b in spans) - worst[1]


def clocks_of_ranks(rows: Sequence[Row]) -> Iterator[tuple[int, str]]:
    """(rank, what is wrong) of those whose clocks say less, or more, than those of the others of all that took them
    equally long: many calls of a collective in which each rank waits for all others.
    """
    shares: dict[int, list[float]] = {}
    for row in rows:
        found = row.measurement
        if len(found.ranks) < 2 or found.calls < MANY or not _waits_for_all(row):
            continue
        usual = np.median(
            np.asarray(Blocks.of(found.pipelined).data).reshape(len(found.pipelined), -1), axis=0
        )
        for rank, share in zip(found.ranks, (usual / np.median(usual)).tolist(), strict=False):
            shares.setdefault(rank, []).append(share)
    for rank, own in shares.items():
        if len(own) >= FEWEST and (max(own) < APART or min(own) > 1 / APART):
            text = (
                f"by its clock {len(own)} rows took {show_share(min(own))} to {show_share(max(own))} of what"
            )
            yield (
                rank,
                f"{text} the other ranks measured, though in each call every rank waits for all others",
            )


def _waits_for_all(row: Row) -> bool:
    return collective(row.case.collective).synchronises and row.quickest * row.measurement.calls >= LONG_BLOCK


def copied(rows: Sequence[Row]) -> Iterator[tuple[Row, str]]:
    """(row, whose times it has) of those whose times are another row's to the last digit, which no clock says twice.

    A line of the journal that is there twice is one row; and a clock may be so coarse that calls are alike.
    """
    first = dict[tuple[bytes, bytes], Row]()
    for row in rows:
        found, alone = row.measurement, row.measurement.isolated
        if 2 * len({*alone}) <= max(FEWEST, len(alone)):
            continue
        times = Blocks.of(found.pipelined).data.tobytes(), Seconds.of(alone).data.tobytes()
        other = first.setdefault(times, row)
        if (other.case.id, other.measurement.ranks) != (row.case.id, found.ranks):
            yield row, f"its times are to the last digit those of {other.case.id} on {_ranks(other)}"


def _ranks(row: Row) -> str:
    return f"ranks {', '.join(map(str, row.measurement.ranks[:2]))}{' …' if row.ranks > 2 else ''}"
