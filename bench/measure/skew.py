"""Rank skew within isolated iterations, and what it does and does not prove.

Every rank reads its own clock: its time begins when it has left the barrier before the call and ends when it
has left the call. The clocks of two nodes share no zero, so who came first is not seen, but two things are.
Where nobody can leave before everybody has come, the ranks leave nearly together, so

* a rank that comes late waits for nobody: its time is *shorter* than the typical one, by what the others wait;
* a rank that leaves late has a time *longer* than the typical one; or all the others came late.

Of large messages over links of different speed the ranks do not leave together: the sizes tell that apart.
A rank that is slow inside the call, or between its clock and the call, makes the time of all ranks longer
alike: it cannot be seen here. The longest time alone names nobody: it is that of whoever came first.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from bench.model.measurement import RankSkew
from bench.model.stats import median

EFFECT = 0.05
"""Share of an iteration from which on a difference counts."""

RESOLUTION = 2e-6
"""Seconds below which it never does: four ticks of CUDA events (about 0.5 µs, CUDA's cudaEventElapsedTime)."""

LEAST = 3
"""Ranks that can tell: of two, one is as far from the typical time as the other."""


class SkewCounter:
    """Counts the iterations in which each rank deviated from the typical rank, and by how much.

    Kept as they come and counted at the end: while the ranks are being timed, counting those of a large job would
    take as long as their calls.
    """

    def __init__(self) -> None:
        self._own: list[array[float]] = []

    def add(self, own: Sequence[float]) -> None:
        """One iteration: [rank] seconds of each rank by its own clock."""
        self._own.append(array("d", own))

    def apart(self) -> RankSkew | None:
        """The skew of each rank; None for fewer than LEAST ranks."""
        if not self._own or len(self._own[0]) < LEAST:
            return None
        import numpy as np

        own = np.array(self._own)
        n = own.shape[1]
        # of an even number each side is held against the other half: half of the ranks may be late
        low, high = np.sort(own, axis=1)[:, [(n - 1) // 2, n // 2]].T
        least = np.maximum(EFFECT * own.max(axis=1), RESOLUTION)
        return RankSkew(*_side(high[:, None] - own, least), *_side(own - low[:, None], least))


def _side(differences: Any, least: Any) -> tuple[tuple[int, ...], tuple[float, ...], tuple[int, ...]]:
    """Deviations to one side, from [iteration][rank] seconds: how often, by how much, and how often by the most."""
    stand = differences >= least[:, None]
    counts = tuple(int(count) for count in stand.sum(axis=0))
    by = tuple(
        round(median(differences[stand[:, rank], rank].tolist()), 10) if count else 0.0
        for rank, count in enumerate(counts)
    )
    most = [0] * len(counts)
    for iteration in stand.any(axis=1).nonzero()[0]:
        row = differences[iteration]
        equal = (row == row.max()).nonzero()[0].tolist()
        most[min(equal, key=most.__getitem__)] += 1
    return counts, by, tuple(most)
