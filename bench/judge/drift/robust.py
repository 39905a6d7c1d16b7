"""Median, median absolute deviation, and how far is too far when both come from a few nights.

Standard library alone: the windows are tens of values, and a judgement must not wait for an import.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from bench.model.stats import median as median

# 1 / Φ⁻¹(3/4): makes the MAD of a normal sample its standard deviation
NORMAL = 1.4826
# The MAD uses 37 % of a normal sample's information about its spread (Rousseeuw & Croux 1993), so a
# spread taken from n nights is worth 0.37 (n - 1) degrees of freedom and not n - 1.
MAD_EFFICIENCY = 0.37
# The median of n normal values has the variance 1.57 / n of one of them (π/2, for large n) ...
MEDIAN_VARIANCE = math.pi / 2
# ... and for the odd small n that are used here, exactly:
_MEDIAN_VARIANCE = {1: 1.0, 3: 0.4487, 5: 0.2868, 7: 0.2104}


def level_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """The median, and the spread around it, of one value at least; in a third of the time that the two take apart."""
    ordered, middle = sorted(values), len(values) // 2
    if len(ordered) % 2:
        level = ordered[middle]
        return level, NORMAL * _nearest(ordered, level, middle + 1)
    level = (ordered[middle - 1] + ordered[middle]) / 2
    return level, NORMAL * ((_nearest(ordered, level, middle) + _nearest(ordered, level, middle + 1)) / 2)


def _nearest(ordered: Sequence[float], centre: float, count: int) -> float:
    """The distance from ``centre`` within which ``count`` of the values lie: the nearest of them are neighbours."""
    low, high, reach = 0, len(ordered) - count, count - 1
    while low < high:  # the first of the neighbours whose last is further from the centre than they are
        middle = (low + high) // 2
        if ordered[middle + reach] - centre < centre - ordered[middle]:
            low = middle + 1
        else:
            high = middle
    farther = max(ordered[low + reach] - centre, centre - ordered[low])
    return farther if not low else min(farther, centre - ordered[low - 1])


def spread(values: Sequence[float], centre: float) -> float:
    """The standard deviation that a normal sample with this median absolute deviation would have."""
    return NORMAL * median([abs(value - centre) for value in values])


def median_variance(count: int) -> float:
    """The variance of the median of ``count`` normal values, as a share of the variance of one."""
    return _MEDIAN_VARIANCE.get(count, MEDIAN_VARIANCE / count)


@lru_cache(maxsize=4096)
def allowance(k: float, span: int, nights: int) -> float:
    """How many spreads the median of ``span`` new nights may lie from the median of ``nights`` old ones.

    ``k`` is in standard deviations of a normal distribution; the result is larger, because level and
    spread are themselves estimated from ``nights`` values (k = 3 becomes 4.0 spreads at 30 nights, 8.9
    at 10). It is Student's t at the tail probability of ``k``, by Wallace's approximation (1959).
    """
    freedom = MAD_EFFICIENCY * (nights - 1)
    return _student(k, freedom) * math.sqrt(median_variance(span) + median_variance(nights))


def tail(deviation: float, count: int) -> float:
    """The probability that one of ``count`` normal values lies at least so many spreads below the median.

    One-sided, for a spread estimated by the MAD of the same ``count`` values: Wallace's approximation
    of Student's t the other way round.
    """
    freedom = MAD_EFFICIENCY * (count - 1)
    normal = math.sqrt(freedom * math.log1p(deviation * deviation / freedom)) * _wallace(freedom)
    return 0.5 * math.erfc(math.copysign(normal, deviation) / math.sqrt(2))


def _student(k: float, freedom: float) -> float:
    return math.sqrt(freedom * math.expm1((k / _wallace(freedom)) ** 2 / freedom))


def _wallace(freedom: float) -> float:
    return (8 * freedom + 1) / (8 * freedom + 3)
