"""Measured rows: the bandwidths and latencies that follow from raw seconds.

One row is one case on one group of ranks. The judge, the terminal and the reports all read rows, so
that a figure is derived in one place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.model.collectives import algbw, collective
from bench.model.measurement import Case, Measurement
from bench.model.stats import Summary, median, summary
from bench.model.timings import Blocks

from . import Run


@dataclass(frozen=True, slots=True)
class Row:
    """A case on a group.

    seconds    pipelined: median over blocks of the slowest rank's seconds per call
    algbw      size / seconds, bytes per second
    busbw      algbw × factor(n), bytes per second
    wrong      wrong elements over all ranks; None when nothing was compared (unchecked is not 0)
    """

    case: Case
    measurement: Measurement
    seconds: float
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
    seconds = median(blocks) if blocks else math.nan
    rate = algbw(case.size, seconds) if math.isfinite(seconds) and seconds > 0 else math.nan
    counted = [count for count in measurement.wrong if count is not None]
    return Row(
        case=case,
        measurement=measurement,
        seconds=seconds,
        algbw=rate,
        busbw=rate * collective(case.collective).factor(len(measurement.ranks)),
        wrong=sum(counted) if counted and measurement.checked else None,
    )


def rows(run: Run) -> tuple[Row, ...]:
    """All rows of a run, in the order in which they were measured."""
    cases = {case.id: case for case in run.plan.cases}
    return tuple([row_of(cases[each.case], each) for each in run.measurements if each.case in cases])
