"""The scale of blame: the rate of a healthy transfer, the noise, and the smallest loss that may be named.

The reference is the median of the faster transfers, never of all: with four nodes half of all
pairs contain a bad node, with two nodes all of them.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from bench.judge.blame.matrix import Floats
from bench.model.late_dataclass import dataclass

FAST = 0.95
"""The search for the fast ones starts at this quantile: with a bad node of four the median is bad itself."""

STEPS = (3, 2, 2, 2)
"""Each step takes the median of what lies above so many sigma below the last; they end within 0.1 sigma.
The first is wide, so that one lucky transfer does not stand for all."""

BEST = 0.25
"""A port is judged by this quantile of its losses, so that up to 3 of 4 partners may be bad themselves."""

SMALLEST_NOISE = 0.002
MAD = 1.4826
"""Standard deviation of a normal distribution / its median absolute deviation."""


@dataclass(frozen=True)
class Scale:
    """reference in bytes/s; noise as the relative standard deviation of one transfer; smallest: the share
    lost below which nobody is blamed; sigmas: how far above the noise an effect must stand."""

    reference: float
    noise: float
    smallest: float
    sigmas: float

    def floor(self, count: Floats) -> Floats:
        """The share lost that ``count`` transfers together can prove; NaN where there is none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            floor = np.maximum(self.smallest, self.sigmas * self.noise / np.sqrt(count))
        return np.where(count > 0, floor, np.nan)


def scale(rate: Floats, single: Floats, noise: float, smallest: float, sigmas: float) -> Scale:
    """The scale of [R, N, N] bytes/s; ``noise`` is the least to reckon with. Reference NaN: all dead.

    single  [R, N, N] of one measurement each, which shows the noise; ``rate`` may hold medians of several
    """
    passed = rate[np.isfinite(rate) & (rate > 0)]
    if not passed.size:
        return Scale(math.nan, max(noise, SMALLEST_NOISE), smallest, sigmas)
    guess = max(noise, SMALLEST_NOISE, _between_directions(single))
    middle = centre(passed, guess)
    above = single[np.isfinite(single) & (single >= middle)] / middle - 1
    spread = MAD * float(np.median(above)) if above.size else 0.0
    return Scale(middle, max(guess, spread), smallest, sigmas)


def centre(rates: Floats, noise: float) -> float:
    """The middle of the fast ones among ``rates`` (bytes/s, any shape); NaN when none passed."""
    ordered = np.sort(rates[np.isfinite(rates) & (rates > 0)])
    if not ordered.size:
        return math.nan
    middle = float(ordered[math.ceil(FAST * (ordered.size - 1))])
    for sigmas in STEPS:
        first, last = int(np.searchsorted(ordered, middle * (1 - sigmas * noise))), ordered.size - 1
        middle = float(ordered[(first + last) // 2] + ordered[(first + last + 1) // 2]) / 2
    return middle


def _between_directions(rate: Floats) -> float:
    """Noise as the two directions of a pair differ: most faults slow both down, so it sees past them."""
    there, back = rate, rate.transpose(0, 2, 1)
    known = np.isfinite(there) & np.isfinite(back) & (there > 0) & (back > 0)
    if not known.any():
        return 0.0
    apart = np.abs(there[known] - back[known]) / np.maximum(there[known], back[known])
    return MAD * float(np.median(apart)) / math.sqrt(2)


def low(loss: Floats, noise: float) -> tuple[Floats, Floats]:
    """(loss of the good partners, how many partners) along the last axis of ``loss``, NaN left out.

    The loss is the BEST quantile, moved by what noise alone shifts that order statistic (Blom 1958).
    A bottleneck slows all its transfers, so a port with good partners is good. No partner: NaN.
    """
    ordered = np.sort(loss, axis=-1)
    count = np.isfinite(ordered).sum(axis=-1)
    place = np.maximum((BEST * (count - 1)).astype(np.int64), 0)
    value = np.take_along_axis(ordered, place[..., None], axis=-1)[..., 0]
    shift = np.array([_shift(n) for n in range(loss.shape[-1] + 1)])
    return value + noise * shift[count], count.astype(np.float64)


@lru_cache(maxsize=4096)
def _shift(count: int) -> float:
    """Standard deviations by which the order statistic that ``low`` takes lies below the mean."""
    if not count:
        return 0.0
    place = max(int(BEST * (count - 1)), 0)
    return -NormalDist().inv_cdf((place + 1 - 0.375) / (count + 0.25))
