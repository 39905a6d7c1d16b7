"""Measured rows: the bandwidths and latencies that follow from raw seconds.

One row is one case on one group of ranks. The judge, the terminal and the reports all read rows, so
that a figure is derived in one place.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

from msgspec import Struct

from bench.model.collectives import algbw, collective
from bench.model.measurement import Case, Measurement
from bench.model.stats import Summary, median, quantile, summary
from bench.model.timings import Blocks, Seconds

from . import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Shape = TypeVar("Shape", bound=Hashable)
PIECE = 1 << 14  # rows that are sorted at once


class Row(Struct, frozen=True):
    """A case on a group. A Struct, which is made in a fifth of the time: of 64 nodes there are 50 000.

    algbw      size / seconds, bytes per second
    busbw      algbw × factor(n), bytes per second
    wrong      wrong elements over all ranks; None when nothing was compared (unchecked is not 0)
    seconds    pipelined: median over blocks of the slowest rank's seconds per call
    quickest, slowest, blocks    the same of the quickest and of the slowest block; the sum over all
    alone, together    isolated: median and sum
    """

    case: Case
    measurement: Measurement
    algbw: float
    busbw: float
    wrong: int | None
    seconds: float
    quickest: float
    slowest: float
    blocks: float
    alone: float
    together: float

    @property
    def isolated(self) -> Summary:
        """Summary of the isolated iterations in seconds, each as long as its slowest rank; not kept, few are asked."""
        return summary(self.measurement.isolated)

    @property
    def ranks(self) -> int:
        return len(self.measurement.ranks)


def row_of(case: Case, measurement: Measurement) -> Row:
    """Derive one row; figures that the raw seconds cannot give are NaN."""
    blocks, alone = Blocks.of(measurement.pipelined).slowest, [*measurement.isolated]
    figures = (median(blocks), min(blocks), max(blocks), sum(blocks)) if blocks else (math.nan,) * 4
    return _row(case, measurement, *figures, quantile(alone, 0.5), sum(alone) if alone else math.nan)


def _row(case: Case, measurement: Measurement, seconds: float, *figures: float) -> Row:
    rate = algbw(case.size, seconds) if 0 < seconds < math.inf else math.nan
    wrong, n = measurement.wrong, len(measurement.ranks)
    counted = [count for count in wrong if count is not None] if None in wrong else wrong
    total = sum(counted) if counted and measurement.checked else None  # type: ignore[arg-type]
    return Row(
        case, measurement, rate, rate * collective(case.collective).factor(n), total, seconds, *figures
    )


def rows(run: Run) -> tuple[Row, ...]:
    """All rows of a run, in the order in which they were measured."""
    import numpy as np

    cases = {case.id: case for case in run.plan.cases}
    known = [each for each in run.measurements if each.case in cases]
    with np.errstate(all="ignore"):  # as Python adds
        figures = zip(known, _of_blocks(known), _of_isolated(known), strict=True)
    return tuple([_row(cases[each.case], each, *blocks, *alone) for each, blocks, alone in figures])


def _of_blocks(measured: Sequence[Measurement]) -> list[list[float]]:
    """Median, least, greatest and sum of the slowest rank's seconds over the blocks of each measurement; those of one
    shape are computed at once.
    """
    import numpy as np

    every = [Blocks.of(each.pipelined) for each in measured]
    found = np.full((len(every), 4), math.nan)
    for (count, width), at in _alike([(len(blocks), blocks.width) for blocks in every]):
        if width:
            values = np.frombuffer(b"".join([every[place].data for place in at])).reshape(-1, count, width)
            low, high, *others = _in_order(values.max(axis=2))
            found[at] = np.column_stack([(low + high) / 2, *others])
    return cast(list[list[float]], found.tolist())


def _of_isolated(measured: Sequence[Measurement]) -> list[list[float]]:
    """Median and sum of the isolated iterations of each measurement; those of equally many iterations are computed at
    once.
    """
    import numpy as np

    every = [Seconds.of(each.isolated) for each in measured]
    found = np.full((len(every), 2), math.nan)
    for count, at in _alike([*map(len, every)]):
        if count:
            values = np.frombuffer(b"".join([every[place].data for place in at])).reshape(-1, count)
            low, high, *_, total = _in_order(values)
            found[at] = np.column_stack([low + (high - low) * 0.5, total])  # exactly as ``quantile``
    return cast(list[list[float]], found.tolist())


def _alike(shapes: Sequence[Shape]) -> Iterator[tuple[Shape, list[int]]]:
    """Each shape with the places at which it stands, at most PIECE at a time: all of a large run take tens of MB."""
    places: dict[Shape, list[int]] = {}
    for at, shape in enumerate(shapes):
        places.setdefault(shape, []).append(at)
    for shape, every in places.items():
        yield from ((shape, every[first : first + PIECE]) for first in range(0, len(every), PIECE))


def _in_order(values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The lower median, the upper median, the least, the greatest and the sum of each row of ``values``."""
    import numpy as np

    rising, n = np.sort(values, axis=1), values.shape[1]
    return [*(rising[:, at] for at in ((n - 1) // 2, n // 2, 0, -1)), values.sum(axis=1)]
