"""Two runs side by side."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.exchange.compare import ALIKE, UnlikeRuns, compare, differing, interval, ratio

FACTS = dict.fromkeys(ALIKE, "x")


def noisy(seed: int, middle: float, spread: float, n: int = 40, launches: int = 1) -> list[list[float]]:
    rng = random.Random(seed)
    return [[middle * math.exp(rng.gauss(0, spread)) for _ in range(n)] for _ in range(launches)]


def test_a_planted_difference_is_found_both_ways():
    a, b = noisy(1, 1.0, 0.02), noisy(2, 0.8, 0.02)
    faster, slower = ratio("x", a, b), ratio("x", b, a)
    assert (faster.outcome, slower.outcome) == ("faster", "slower")
    assert faster.low < 1.25 < faster.high
    assert slower.low < 0.8 < slower.high


def test_equal_runs_are_the_same():
    assert ratio("x", noisy(1, 1.0, 0.005), noisy(2, 1.0, 0.005)).outcome == "same"


def test_noise_larger_than_the_difference_cannot_be_told():
    seen = ratio("x", noisy(1, 1.0, 0.4, 15), noisy(2, 1.05, 0.4, 15))
    assert seen.outcome == "inconclusive"
    assert seen.low < 1 < seen.high


@pytest.mark.parametrize("few", [[[1.0]], [[1.0] * 5]])
def test_too_few_samples_cannot_be_told(few):
    seen = ratio("x", few, [[2.0] * 5])
    assert (seen.outcome, seen.low, seen.high) == ("inconclusive", 0.0, math.inf)


def test_launches_that_differ_among_themselves_hide_a_small_difference():
    steady = [[1.0 + 1e-4 * k for k in range(20)], [1.1 + 1e-4 * k for k in range(20)]]
    shifted = [[value * 1.07 for value in part] for part in steady]
    assert ratio("x", steady, shifted).outcome == "inconclusive"
    assert ratio("x", steady[:1], shifted[:1]).outcome == "slower"
    low, high = interval(steady)
    assert low <= 1.001
    assert high >= 1.1


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_what_is_no_time_cannot_be_told(bad):
    seen = ratio("x", [[1.0] * 20 + [bad]], [[1.0] * 20])
    assert seen.outcome == "inconclusive"


def test_missing_cases_are_shown():
    seen = compare(
        {"a": [[1.0] * 9], "both": [[1.0] * 9]}, {"both": [[1.0] * 9], "b": [[1.0] * 9]}, FACTS, FACTS
    )
    assert [(item.case, item.outcome) for item in seen.ratios] == [
        ("a", "only a"),
        ("both", "same"),
        ("b", "only b"),
    ]
    assert "1 only a, 1 only b" in seen.text


def test_unlike_runs_are_refused_by_the_keys_that_differ():
    samples = {"x": [[1.0] * 9]}
    other = {**FACTS, "nodes": "4", "backend": "nccl"}
    with pytest.raises(
        UnlikeRuns, match=r"backend: x against nccl; nodes: x against 4; measure alike"
    ) as caught:
        compare(samples, samples, FACTS, other)
    assert [difference.key for difference in caught.value.differences] == ["backend", "nodes"]
    anyway = compare(samples, samples, FACTS, other, anyway=True)
    assert "although the runs differ in backend" in anyway.text


def test_a_key_that_one_run_did_not_record_differs():
    lacking = {key: value for key, value in FACTS.items() if key != "rails"}
    (difference,) = differing(FACTS, lacking)
    assert difference.text == "rails: x against not recorded"


def test_keys_that_neither_run_recorded_are_said():
    samples = {"x": [[1.0] * 9]}
    seen = compare(samples, samples, {}, {})
    assert seen.unknown == ALIKE
    assert "not recorded by either run: backend" in seen.text


def test_versions_may_differ():
    assert differing({**FACTS, "nccl": "2.26"}, {**FACTS, "nccl": "2.27"}) == ()


def test_few_launches_call_nothing_slower():
    a, b = {"x": [[1.0] * 9]}, {"x": [[2.0] * 9]}
    alone = compare(a, b, FACTS, FACTS)
    assert [each.outcome for each in alone.ratios] == ["inconclusive"]
    assert (
        "1 and 1 launches: what differs from launch to launch is not known: run each three times"
        in alone.text
    )
    three = {"x": [[1.0 + 0.01 * k] * 9 for k in range(3)]}
    slow = {"x": [[2.0 + 0.01 * k] * 9 for k in range(3)]}
    assert [each.outcome for each in compare(three, slow, FACTS, FACTS, launches=(3, 3)).ratios] == ["slower"]
    assert [each.outcome for each in compare(three, slow, FACTS, FACTS, launches=(3, 2)).ratios] == [
        "inconclusive"
    ]


def machine(seed: int, scale: float = 1.0, cases: int = 38) -> dict[str, list[list[float]]]:
    """Three launches of a machine whose cases differ by 1 to 15 % from launch to launch, now and then by half."""
    rng, like = random.Random(seed), random.Random(7)
    found = {}
    for case in range(cases):
        apart, parts = math.exp(like.uniform(math.log(0.01), math.log(0.15))), []
        for _ in range(3):
            off = scale * math.exp(rng.gauss(0, apart)) * (1.5 if rng.random() < 0.03 else 1.0)
            parts.append([off * math.exp(rng.gauss(0, 0.01)) for _ in range(9)])
        found[f"case{case}"] = parts
    return found


def test_equal_machines_are_hardly_ever_called_slower_and_half_as_fast_ones_always():
    def slower(a, b):
        found = compare(a, b, FACTS, FACTS, launches=(3, 3))
        return sum(each.outcome == "slower" for each in found.ratios)

    equal = [slower(machine(2 * seed), machine(2 * seed + 1)) for seed in range(60)]
    assert sum(map(bool, equal)) <= 5, equal
    assert all(slower(machine(seed), machine(seed + 100, 2.0)) >= 10 for seed in range(10))
    assert slower(machine(1), machine(2, 1.02)) == 0


@pytest.mark.parametrize(("a", "b"), [({}, {}), ({"x": [[1.0]]}, {"y": [[1.0]]})])
def test_nothing_in_common_is_an_error(a, b):
    with pytest.raises(ValueError, match="no case in common"):
        compare(a, b, FACTS, FACTS)


def test_noise_alone_is_rarely_called_a_difference():
    """The interval covers at least 90 %; by chance alone one in ten may err, and far fewer do."""
    outcomes = [ratio("x", noisy(k, 1.0, 0.1), noisy(k + 1000, 1.0, 0.1)).outcome for k in range(200)]
    assert sum(outcome in ("faster", "slower") for outcome in outcomes) <= 8


times = st.lists(st.lists(st.floats(1e-6, 10), max_size=12), max_size=4)


@settings(max_examples=50)
@given(times, times)
def test_swapping_the_sides_swaps_the_answer(a, b):
    there, back = ratio("x", a, b), ratio("x", b, a)
    swapped = {"faster": "slower", "slower": "faster", "only a": "only b", "only b": "only a"}
    assert back.outcome == swapped.get(there.outcome, there.outcome)
    if math.isfinite(there.ratio):
        assert there.low <= there.ratio * (1 + 1e-9)
        assert there.ratio <= there.high * (1 + 1e-9)
        assert there.ratio == pytest.approx(1 / back.ratio)


@settings(max_examples=50)
@given(st.lists(st.lists(st.floats(), max_size=9), max_size=3), times)
def test_no_samples_crash_or_pass(a, b):
    seen = ratio("x", a, b)
    if seen.outcome in ("faster", "slower", "same"):
        assert 0 < seen.low <= seen.high < math.inf
