import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model.stats import median, median_interval, median_without, quantile, relative_width, summary


def test_fewer_than_six_values_give_no_interval():
    assert median_interval([1.0] * 5) == (-math.inf, math.inf)
    assert math.isinf(relative_width([1.0] * 5))
    assert relative_width([1.0] * 6) == 0


def test_no_values_give_nan_never_zero():
    assert math.isnan(quantile([], 0.5))
    assert math.isnan(summary([]).p50)
    assert math.isinf(relative_width([]))


def test_a_nan_among_the_values_is_never_precise():
    assert not relative_width([math.nan] * 10) <= 0.01


@pytest.mark.parametrize("n", [6, 15, 40, 101, 500])
def test_the_interval_covers_the_median_as_often_as_it_says(n):
    rng = random.Random(n)
    covered = 0
    for _ in range(800):
        low, high = median_interval([rng.gauss(0, 1) for _ in range(n)])
        covered += low <= 0 <= high
    assert covered / 800 > 0.93


@pytest.mark.parametrize("n", [*range(6, 60), 200, 399, 400])
def test_the_interval_leaves_out_no_more_than_the_exact_binomial_allows(n):
    low, high = median_interval([float(at) for at in range(1, n + 1)])
    outside = [Fraction(sum(math.comb(n, j) for j in range(int(k))), 2**n) for k in (low, low + 1)]
    assert low + high == n + 1 and outside[0] <= Fraction(25, 1000) < outside[1]


@given(st.lists(st.floats(1e-9, 1e3), min_size=2, max_size=20), st.data())
def test_the_median_without_a_value_is_that_of_the_others(values, data):
    gone = data.draw(st.sampled_from(values))
    others = values.copy()
    others.remove(gone)
    assert median_without(sorted(values), gone) == median(others)


@given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=60))
def test_percentiles_are_ordered_and_inside(values):
    s = summary(values)
    assert s.min <= s.p50 <= s.p95 <= s.p99 <= s.max
    assert s.n == len(values)


def test_quantiles_interpolate_as_numpy_does():
    assert quantile([1, 2, 3, 4], 0.5) == 2.5
    assert quantile([10, 20], 0.95) == pytest.approx(19.5)
