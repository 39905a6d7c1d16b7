"""Measured rows: the bandwidths and latencies that follow from raw seconds.

One row is one case on one group of ranks. The judge, the terminal and the reports all read rows, so
that a figure is derived in one place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from bench.model.collectives import algbw, collective
from bench.model.measurement import Case, Measurement
from bench.model.stats import Summary, median, summary
from bench.model.timings import Blocks

from . import Run


class Row(Struct, frozen=True):
    """A case on a group. A Struct, which is made in a fifth of the time: of 64 nodes there are 50 000.

    seconds    pipelined: median over blocks of the slowest rank's seconds per call
    quickest, slowest    the same of the quickest and of the slowest block
    algbw      size / seconds, bytes per second
    busbw      algbw × factor(n), bytes per second
    wrong      wrong elements over all ranks; None when nothing was compared (unchecked is not 0)
    """

    case: Case
    measurement: Measurement
    seconds: float
    quickest: float
    slowest: float
    algbw: float
    busbw: float
    wrong: int | None

    @property
    def isolated(self) -> Summary:
        """Summary of the isolated iterations in seconds, each as long as its slowest rank; not kept, few are asked."""
        return summary(self.measurement.isolated)

    @property
    def ranks(self) -> int:
        return len(self.measurement.ranks)


def row_of(case: Case, measurement: Measurement) -> Row:
    """Derive one row; figures that the raw seconds cannot give are NaN."""
    blocks = Blocks.of(measurement.pipelined).slowest
    figures = (median(blocks), min(blocks), max(blocks)) if blocks else (math.nan,) * 3
    return _row(case, measurement, *figures)


def _row(case: Case, measurement: Measurement, seconds: float, quickest: float, slowest: float) -> Row:
    rate = algbw(case.size, seconds) if 0 < seconds < math.inf else math.nan
    wrong = measurement.wrong
    counted = [count for count in wrong if count is not None] if None in wrong else wrong
    return Row(
        case=case,
        measurement=measurement,
        seconds=seconds,
        quickest=quickest,
        slowest=slowest,
        algbw=rate,
        busbw=rate * collective(case.collective).factor(len(measurement.ranks)),
        wrong=sum(counted) if counted and measurement.checked else None,  # type: ignore[arg-type]
    )


def rows(run: Run) -> tuple[Row, ...]:
    """All rows of a run, in the order in which they were measured."""
    cases = {case.id: case for case in run.plan.cases}
    known = [each for each in run.measurements if each.case in cases]
    figures = _of_blocks([Blocks.of(each.pipelined) for each in known])
    return tuple([_row(cases[each.case], each, *own) for each, own in zip(known, figures, strict=True)])


def _of_blocks(measured: Sequence[Blocks]) -> list[list[float]]:
    """(median, least, most) of the seconds of the slowest rank, of each; those of one shape at once."""
    import numpy as np

    found = np.full((len(measured), 3), math.nan)
    shapes: dict[tuple[int, int], list[int]] = {}
    for at, blocks in enumerate(measured):
        shapes.setdefault((len(blocks), blocks.width), []).append(at)
    for (count, width), places in shapes.items():
        if count and width:
            values = np.frombuffer(b"".join([measured[at].data for at in places])).reshape(-1, count, width)
            slowest = np.sort(values.max(axis=2), axis=1)
            found[places, 0] = (slowest[:, (count - 1) // 2] + slowest[:, count // 2]) / 2
            found[places, 1], found[places, 2] = slowest[:, 0], slowest[:, -1]
    figures: list[list[float]] = found.tolist()
    return figures
