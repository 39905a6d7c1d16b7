"""Drift: planted steps are found, noise is silent, and what cannot be determined is said."""

from __future__ import annotations

import itertools
import math
import random
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.judge.drift import (
    Acceptance,
    DriftRules,
    Label,
    NightValue,
    NoRuptures,
    Series,
    attribute,
    changed,
    fingerprint,
    judge,
    peers,
    series_verdict,
    steps,
)
from bench.judge.drift.baseline import STANDARD, Baseline, excess
from bench.judge.drift.levels import levels
from bench.judge.drift.replay import last_mark, replay
from bench.judge.drift.robust import allowance, level_and_spread, median, median_variance, spread, tail
from bench.judge.drift.steps import GAMMA, SHORTEST, _cause, _kernel_segments
from bench.judge.drift.wording import CHECK
from bench.model.units import show_rate
from bench.model.verdict import Status

ROOT = Path(__file__).parents[3]
BUSBW = Series("c1", "all_reduce", "1 GiB", "busbw")
LATENCY = Series("c1", "all_reduce", "8 B", "latency")
OLD = fingerprint({"driver": "550.90", "nccl": "2.20"})
NEW = fingerprint({"driver": "560.28", "nccl": "2.20"})
DAY = 86400.0
LEVEL = 390e9


def history(
    count: int, level: float = LEVEL, start: int = 0, parts=OLD, noise: float = 0.01, seed: int = 1
) -> list[NightValue]:
    """Nights of a steady cluster, with gaussian noise that the seed fixes."""
    dice = random.Random(seed + start)
    return [
        NightValue(
            f"run{start + i}", (20000 + start + i) * DAY, level * (1 + noise * dice.gauss(0, 1)), parts
        )
        for i in range(count)
    ]


def tonight(value: float, rerun: float | None = None, parts=OLD, at: int = 500, **others) -> NightValue:
    return NightValue("tonight", (20000 + at) * DAY, value, parts, rerun, **others)


# --- labels -------------------------------------------------------------------------------------------


def test_a_night_like_the_others_is_ok():
    found = judge(BUSBW, history(40), tonight(LEVEL * 0.995))
    assert (found.label, found.status, found.wants_rerun) == (Label.OK, Status.PASS, False)
    assert found.nights == 40


def test_a_slow_night_is_measured_again_before_an_alarm():
    found = judge(BUSBW, history(40), tonight(LEVEL * 0.92))
    assert (found.label, found.status, found.wants_rerun) == (Label.SUSPICIOUS, Status.INCONCLUSIVE, True)
    assert found.reason == "not measured again yet"


@pytest.mark.parametrize(
    ("rerun", "label", "status"),
    [
        (0.93, Label.REGRESSION, Status.FAIL),
        (1.00, Label.SUSPICIOUS, Status.PASS),
        (1.20, Label.SUSPICIOUS, Status.INCONCLUSIVE),
        (math.nan, Label.SUSPICIOUS, Status.INCONCLUSIVE),
        (0.0, Label.SUSPICIOUS, Status.INCONCLUSIVE),
    ],
)
def test_the_rerun_decides(rerun, label, status):
    found = judge(BUSBW, history(40), tonight(LEVEL * 0.92, LEVEL * rerun))
    assert (found.label, found.status, found.wants_rerun) == (label, status, False)


def test_a_reason_that_stands_alone_has_nothing_before_it():
    found = judge(BUSBW, history(40), tonight(LEVEL * 0.92, LEVEL))
    assert found.reason == "the re-run did not confirm it"


def test_a_confirmed_rise_is_an_improvement_and_passes():
    found = judge(BUSBW, history(40), tonight(LEVEL * 1.08, LEVEL * 1.07))
    assert (found.label, found.status) == (Label.IMPROVEMENT, Status.PASS)


@pytest.mark.parametrize(("share", "words"), [(1.08, "8.0 % better than"), (0.92, "8.0 % worse than")])
def test_what_is_better_and_what_is_worse_is_said_so(share, words):
    row = series_verdict(judge(BUSBW, history(40, noise=0.0), tonight(LEVEL * share, LEVEL * share)))
    assert f"{words} the baseline" in row.measured


def test_less_is_better_for_a_time():
    past = history(40, level=12e-6)
    assert judge(LATENCY, past, tonight(14e-6, 14e-6)).label is Label.REGRESSION
    assert judge(LATENCY, past, tonight(10e-6, 10e-6)).label is Label.IMPROVEMENT


def test_a_significant_change_below_the_practical_one_is_ok():
    quiet = history(40, noise=0.0005)
    assert judge(BUSBW, quiet, tonight(LEVEL * 0.985)).label is Label.OK
    assert judge(BUSBW, quiet, tonight(LEVEL * 0.975)).label is Label.SUSPICIOUS


def test_a_large_change_in_large_noise_is_ok():
    assert judge(BUSBW, history(40, noise=0.05), tonight(LEVEL * 0.92)).label is Label.OK


def test_nights_that_agree_to_the_bit_do_not_make_every_change_significant():
    same = [replace(night, value=LEVEL) for night in history(40)]
    assert judge(BUSBW, same, tonight(LEVEL * 0.981)).label is Label.OK
    assert judge(BUSBW, same, tonight(LEVEL * 0.97, LEVEL * 0.97)).label is Label.REGRESSION


def test_five_nights_show_what_one_does_not():
    past = history(40)
    low = [replace(night, value=LEVEL * 0.974) for night in history(4, start=40)]
    assert judge(BUSBW, past, tonight(LEVEL * 0.974)).label is Label.OK
    found = judge(BUSBW, past + low, tonight(LEVEL * 0.974, LEVEL * 0.974))
    assert found.label is Label.REGRESSION
    assert found.first is not None
    assert found.first.span > 1


def test_of_several_slow_nights_the_figure_is_tonights_and_the_change_that_of_their_median():
    past = history(40) + history(5, LEVEL * 0.97, 40, noise=0.001)
    found = judge(BUSBW, past, tonight(LEVEL * 0.975, LEVEL * 0.975))
    assert found.first is not None and found.first.span > 1
    measured = series_verdict(found).measured
    assert f", {LEVEL * 0.975 / 1e9:.1f} GB/s, the median of the last {found.first.span} nights" in measured


def test_a_night_that_has_recovered_is_not_alarmed_by_the_nights_before():
    low = [replace(night, value=LEVEL * 0.95) for night in history(4, start=40)]
    assert judge(BUSBW, history(40) + low, tonight(LEVEL)).label is Label.OK


def test_a_regression_is_not_learned_however_long_it_lasts():
    slow = [replace(n, rerun=n.value) for n in history(200, level=LEVEL * 0.94, start=40)]
    found = judge(BUSBW, history(40) + slow, tonight(LEVEL * 0.94, LEVEL * 0.94))
    assert found.label is Label.REGRESSION


def test_a_decay_that_a_moving_baseline_follows_is_found():
    nights = [replace(n, value=n.value * (1 - 0.0005 * i)) for i, n in enumerate(history(200, noise=0.005))]
    slow = nights[-1].value
    found = judge(BUSBW, nights, tonight(slow * 0.995, slow * 0.995))
    assert found.label is Label.REGRESSION
    moving = judge(BUSBW, nights, tonight(slow * 0.995), rules=DriftRules(creep=(10_000, 3.0)))
    assert moving.label is Label.OK


def test_the_first_alarm_of_a_slow_decay_is_held_against_the_first_nights():
    nights = [replace(n, value=n.value * (1 - 0.0005 * i)) for i, n in enumerate(history(200, noise=0.002))]
    alarms = (judge(BUSBW, nights[:at], nights[at]).first for at in range(60, 200))
    first = next(said for said in alarms if said.beyond)
    assert (first.beyond, first.creeping, first.span) == (-1, True, STANDARD.creep[0])


@pytest.mark.parametrize(("creep", "counts"), [(14, True), (15, False)])
def test_a_slow_decay_counts_from_the_night_on_that_fills_its_span(creep, counts):
    first, last = (1.0,) * 45, (0.96,) * 13
    found = excess(Baseline(last * 4, first, last), 0.96, +1, DriftRules(creep=(creep, 3.0)))
    assert (found.beyond, found.creeping) == ((-1, True) if counts else (0, False))


@pytest.mark.parametrize(("level", "counts"), [(0.985, False), (0.975, True)])
def test_a_slow_decay_that_matters_to_nobody_does_not_count_though_it_is_significant(level, counts):
    """Of nights that agree to the bit the spread is small enough for 1.5 % to be significant; 2 % matter."""
    last = (level,) * 45
    found = excess(Baseline(last, (1.0,) * 45, last[:13]), level, +1, STANDARD)
    assert (found.beyond, found.creeping) == ((-1, True) if counts else (0, False))


@pytest.mark.parametrize(("before", "counts"), [(2, True), (1, False)])
def test_the_median_of_several_nights_counts_from_the_night_on_that_fills_them(before, counts):
    """Tonight alone is too little beyond so few noisy nights; three such nights are not."""
    noisy = tuple(1 + 0.004 * apart for apart in (0, 1, -1, 1, -1, 1, -1, 0.5, -0.5, 0))
    found = excess(Baseline(noisy, noisy, (0.965,) * before), 0.965, +1, STANDARD)
    assert (found.beyond, found.span) == ((-1, 3) if counts else (0, 1))


def test_an_improvement_that_lasts_is_learned():
    fast = [replace(n, rerun=n.value) for n in history(30, level=LEVEL * 1.06, start=40)]
    found = judge(BUSBW, history(40) + fast, tonight(LEVEL, LEVEL))
    assert found.label is Label.REGRESSION


def test_the_order_of_the_past_does_not_matter():
    past = history(40)
    night = tonight(LEVEL * 0.92)
    assert judge(BUSBW, past[::-1], night) == judge(BUSBW, past, night)


def test_the_future_is_not_looked_at():
    later = history(40, start=600)
    assert judge(BUSBW, later, tonight(LEVEL)).label is Label.INSUFFICIENT


# --- what cannot be determined ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0, -1.0])
def test_a_value_that_is_no_figure_is_never_ok(value):
    found = judge(BUSBW, history(40), tonight(value, value))
    assert (found.label, found.status) == (Label.INSUFFICIENT, Status.INCONCLUSIVE)


@pytest.mark.parametrize("status", [Status.INCONCLUSIVE, Status.NOT_APPLICABLE])
def test_the_figure_of_a_measurement_that_went_wrong_is_not_shown(status):
    assert series_verdict(judge(BUSBW, history(40), tonight(LEVEL, status=status))).value is None


@pytest.mark.parametrize("status", [Status.INCONCLUSIVE, Status.NOT_APPLICABLE])
def test_a_measurement_that_went_wrong_is_never_ok(status):
    assert judge(BUSBW, history(40), tonight(LEVEL, status=status)).status is Status.INCONCLUSIVE


def test_a_series_that_was_not_measured_is_an_error():
    found = judge(LATENCY, history(40, level=12e-6), None)
    assert found.status is Status.INCONCLUSIVE
    assert "not measured tonight" in series_verdict(found).message


def test_an_expected_series_without_history_or_measurement_is_an_error():
    assert judge(BUSBW, (), None).status is Status.INCONCLUSIVE


def test_an_unknown_quantity_is_an_error_that_lists_the_known():
    found = judge(replace(BUSBW, quantity="bandwidth"), history(40), tonight(LEVEL))
    assert found.status is Status.INCONCLUSIVE
    assert "busbw" in found.reason
    assert series_verdict(found).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(("nights", "share"), [(0, 0.5), (1, 0.5), (2, 0.9), (9, 0.9)])
def test_too_few_nights_are_insufficient_and_say_how_many(nights, share):
    found = judge(BUSBW, history(nights), tonight(LEVEL * share))
    assert (found.label, found.status) == (Label.INSUFFICIENT, Status.NOT_APPLICABLE)
    assert f"{nights} of 10 nights" in series_verdict(found).message


def test_bad_nights_do_not_count_as_nights():
    broken = [replace(night, value=math.nan) for night in history(30)]
    failed = [replace(night, status=Status.FAIL) for night in history(30, start=40)]
    assert judge(BUSBW, broken + failed, tonight(LEVEL)).label is Label.INSUFFICIENT


def test_missing_nights_change_nothing():
    past = history(60)
    assert judge(BUSBW, past[::2], tonight(LEVEL * 0.92, LEVEL * 0.92)).label is Label.REGRESSION


# --- fingerprints and acceptance ----------------------------------------------------------------------


def test_what_changed_is_named_part_by_part():
    after = fingerprint({"driver": "560.28", "firmware": "28.39"})
    assert changed(OLD, after) == (
        "driver 550.90 → 560.28",
        "firmware unknown → 28.39",
        "nccl 2.20 → unknown",
    )
    assert changed(OLD, OLD) == ()


def test_a_new_fingerprint_is_said_and_starts_a_new_baseline():
    found = judge(BUSBW, history(40), tonight(LEVEL, parts=NEW))
    assert (found.label, found.status) == (Label.INSUFFICIENT, Status.NOT_APPLICABLE)
    assert "driver 550.90 → 560.28" in series_verdict(found).message


def test_a_step_with_a_new_fingerprint_is_no_pass_and_names_the_cause():
    found = judge(BUSBW, history(40), tonight(LEVEL * 0.93, LEVEL * 0.93, parts=NEW))
    assert (found.label, found.status) == (Label.SUSPICIOUS, Status.INCONCLUSIVE)
    assert "likely cause: driver 550.90 → 560.28" in series_verdict(found).next_step


def test_a_step_with_a_new_fingerprint_is_measured_again_first():
    assert judge(BUSBW, history(40), tonight(LEVEL * 0.93, parts=NEW)).wants_rerun


def test_the_new_baseline_judges_once_it_is_old_enough():
    past = history(40) + history(15, level=LEVEL * 1.1, start=40, parts=NEW)
    assert judge(BUSBW, past, tonight(LEVEL * 1.1, parts=NEW)).label is Label.OK
    assert judge(BUSBW, past, tonight(LEVEL, LEVEL, parts=NEW)).label is Label.REGRESSION


@pytest.mark.parametrize("nights", [1, 9, 10, 40])
def test_what_got_worse_with_its_fingerprint_stays_so_until_it_is_accepted(nights):
    slow = history(nights, level=LEVEL * 0.9, start=40, parts=NEW)
    night = tonight(LEVEL * 0.9, LEVEL * 0.9, parts=NEW)
    found = judge(BUSBW, history(40) + slow, night)
    assert (found.label, found.status) == (Label.SUSPICIOUS, Status.INCONCLUSIVE)
    assert "driver 550.90 → 560.28" in series_verdict(found).next_step
    assert "railgauge history accept" in series_verdict(found).next_step
    word = Acceptance("c1", slow[0].time, "ada", slow[-1].time, "a driver that costs 10 %")
    accepted = judge(BUSBW, history(40) + slow, night, [word])
    assert accepted.label is (Label.OK if nights >= 10 else Label.INSUFFICIENT)


def test_a_second_change_of_the_fingerprint_hides_nothing():
    slow = history(15, level=LEVEL * 0.9, start=40, parts=NEW)
    newer = fingerprint({"driver": "570", "nccl": "2.20"})
    found = judge(BUSBW, history(40) + slow, tonight(LEVEL * 0.9, LEVEL * 0.9, parts=newer))
    assert (found.label, found.status) == (Label.SUSPICIOUS, Status.INCONCLUSIVE)
    assert (
        judge(BUSBW, history(40) + slow, tonight(LEVEL, LEVEL, parts=newer)).status is Status.NOT_APPLICABLE
    )


def test_configurations_that_take_turns_are_not_held_against_each_other():
    fast, slow = history(40), history(40, level=LEVEL * 0.9, seed=2, parts=NEW)
    turns = [night for at in range(40) for night in ((fast if at % 2 else slow)[at],)]
    assert judge(BUSBW, turns, tonight(LEVEL * 0.9, parts=NEW)).label is Label.OK
    assert judge(BUSBW, turns, tonight(LEVEL)).label is Label.OK


@pytest.mark.parametrize(("nights", "seen"), [(1, False), (2, True), (5, True), (9, True)])
def test_from_the_third_night_on_what_is_much_slower_fails_when_it_is_slow_again(nights, seen):
    past = history(nights, noise=0.005)
    once, twice = (judge(BUSBW, past, tonight(LEVEL * 0.8, again)) for again in (None, LEVEL * 0.8))
    assert once.status is (Status.INCONCLUSIVE if seen else Status.NOT_APPLICABLE)
    assert once.wants_rerun is seen
    assert twice.status is (Status.FAIL if seen else Status.NOT_APPLICABLE)
    if seen:
        assert (twice.first.beyond, twice.first.span) == (-1, 1)
        assert "with 15.0 % allowed" in series_verdict(twice).source
        assert judge(BUSBW, past, tonight(LEVEL * 0.87, LEVEL * 0.87)).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("nights", "status"), [(2, Status.NOT_APPLICABLE), (9, Status.NOT_APPLICABLE), (10, Status.PASS)]
)
def test_what_a_rerun_clears_passes_no_sooner_than_a_quiet_night(nights, status):
    past = history(nights, noise=0.005)
    found = judge(BUSBW, past, tonight(LEVEL * 0.8, LEVEL))
    assert (found.label, found.status) == (Label.SUSPICIOUS, status)
    assert judge(BUSBW, past, tonight(LEVEL)).status is status
    learning = f"{nights} of 10 nights that a baseline needs" if nights < 10 else ""
    assert learning in found.reason


def test_slow_nights_among_the_first_are_not_learned():
    slow = [
        replace(night, rerun=night.value) for night in history(20, level=LEVEL * 0.8, start=2, noise=0.005)
    ]
    assert (
        judge(BUSBW, history(2, noise=0.005) + slow, tonight(LEVEL * 0.8, LEVEL * 0.8)).status is Status.FAIL
    )


@pytest.mark.parametrize(("series", "times"), [(BUSBW, 1000), (BUSBW, 3.5), (LATENCY, 1 / 1000)])
@pytest.mark.parametrize("nights", [4, 40])
def test_what_is_implausibly_fast_is_no_pass_and_is_never_learned(series, times, nights):
    level = LEVEL if series is BUSBW else 12e-6
    past = history(nights, level=level)
    found = judge(series, past, tonight(level * times))
    assert (found.status, found.wants_rerun) == (Status.INCONCLUSIVE, True)
    assert "3 times as fast" in series_verdict(found).measured
    twice = tonight(level * times, level * times)
    assert judge(series, past, twice).status is Status.INCONCLUSIVE
    lasting = [replace(twice, time=(20400 + at) * DAY) for at in range(20)]
    assert judge(series, past + lasting, twice).status is Status.INCONCLUSIVE
    quiet = Status.PASS if nights >= STANDARD.least else Status.NOT_APPLICABLE
    assert judge(series, past, tonight(level * times, level)).status is quiet


@pytest.mark.parametrize("nights", [0, 1, 12])
def test_what_is_implausibly_fast_since_its_fingerprint_changed_is_no_pass(nights):
    past = history(40) + history(nights, level=LEVEL * 5, start=40, parts=NEW)
    found = judge(BUSBW, past, tonight(LEVEL * 5, LEVEL * 5, parts=NEW))
    assert found.status is Status.INCONCLUSIVE
    assert "3 times as fast" in series_verdict(found).measured


def test_going_back_to_a_fingerprint_goes_back_to_its_baseline():
    past = history(40) + history(15, level=LEVEL * 0.9, start=40, parts=NEW)
    assert judge(BUSBW, past, tonight(LEVEL)).label is Label.OK
    assert judge(BUSBW, past, tonight(LEVEL * 0.9, LEVEL * 0.9)).label is Label.REGRESSION


def test_an_accepted_level_starts_a_baseline_of_its_own():
    slow = [replace(n, rerun=n.value) for n in history(25, level=LEVEL * 0.94, start=40)]
    word = Acceptance("c1", since=slow[0].time, who="ada", when=slow[-1].time, why="new switch firmware")
    night = tonight(LEVEL * 0.94, LEVEL * 0.94)
    assert judge(BUSBW, history(40) + slow, night).label is Label.REGRESSION
    assert judge(BUSBW, history(40) + slow, night, [word]).label is Label.OK
    assert judge(BUSBW, history(40) + slow, tonight(LEVEL * 0.88, LEVEL * 0.88), [word]).status is Status.FAIL


@pytest.mark.parametrize(
    "other", [{"cluster": "c2"}, {"collective": "all_gather"}, {"size_class": "8 B"}, {"quantity": "latency"}]
)
def test_an_acceptance_covers_only_what_it_names(other):
    slow = [replace(n, rerun=n.value) for n in history(12, level=LEVEL * 0.94, start=40)]
    word = replace(Acceptance("c1", slow[0].time, "ada", slow[-1].time, "why"), **other)
    found = judge(BUSBW, history(40) + slow, tonight(LEVEL * 0.94, LEVEL * 0.94), [word])
    assert found.label is Label.REGRESSION


def test_a_level_accepted_tonight_is_not_judged_by_the_nights_before():
    night = tonight(LEVEL * 0.9, LEVEL * 0.9)
    word = Acceptance("c1", night.time, "ada", night.time, "half the rails are gone")
    assert judge(BUSBW, history(40), night, [word]).label is Label.INSUFFICIENT


# --- the protocol and its words -----------------------------------------------------------------------


def test_suspects_are_measured_again_and_then_judged():
    assert not judge(LATENCY, history(40, level=12e-6), tonight(12e-6)).wants_rerun
    first = tonight(LEVEL * 0.9)
    assert judge(BUSBW, history(40), first).wants_rerun
    second = judge(BUSBW, history(40), replace(first, rerun=LEVEL * 0.91))
    assert (second.label, second.wants_rerun) == (Label.REGRESSION, False)


def test_a_regression_is_a_row_with_all_five_parts():
    row = series_verdict(judge(BUSBW, history(40), tonight(370e9, 371e9)))
    assert (row.check, row.status) == (CHECK, Status.FAIL)
    for part in (
        "c1 all_reduce 1 GiB busbw",
        "regression, 371.0 GB/s",
        "at least",
        "median of 40 nights",
        "accept",
    ):
        assert part in row.message
    assert row.value is not None
    assert row.bound is not None
    assert row.value < row.bound
    assert row.evidence[0] == "first 370.0 GB/s, re-run 371.0 GB/s"


def test_a_slow_time_is_bounded_from_above():
    row = series_verdict(judge(LATENCY, history(40, level=12e-6), tonight(15e-6, 15e-6)))
    assert "at most" in row.wanted
    assert row.value is not None
    assert row.bound is not None
    assert row.value > row.bound


@pytest.mark.parametrize("count", [1, 9, 40, 95])
@pytest.mark.parametrize("accepted", [(), (Acceptance("c1", 20030 * DAY, "ada", 0.0, "why"),)])
def test_the_last_mark_is_that_of_all_marks(count, accepted):
    nights = [
        replace(
            night,
            value=night.value * (0.9 if 50 < at < 60 else 1),
            fingerprint=NEW if at > 70 else night.fingerprint,
        )
        for at, night in enumerate(history(count))
    ]
    assert last_mark(BUSBW, nights[::-1], accepted) == replay(BUSBW, nights, accepted)[-1]


@settings(max_examples=200)
@given(st.lists(st.floats(1e-6, 1e12), min_size=1, max_size=50))
def test_level_and_spread_are_the_median_and_the_spread_around_it(values):
    level = median(values)
    assert level == statistics.median(values)
    assert level_and_spread(values) == (level, spread(values, level))


def test_no_night_has_no_last_mark():
    with pytest.raises(ValueError, match="no nights"):
        last_mark(BUSBW, [])


# --- change points ------------------------------------------------------------------------------------


def test_a_planted_step_is_found_dated_and_explained():
    pytest.importorskip("ruptures")
    nights = history(60) + history(30, level=LEVEL * 0.95, start=60, parts=NEW)
    (step,) = steps(nights)
    assert abs(step.night.time - nights[60].time) <= 2 * DAY
    assert step.change == pytest.approx(-0.05, abs=0.01)
    assert step.cause == ("driver 550.90 → 560.28",)


def test_two_planted_steps_are_two():
    pytest.importorskip("ruptures")
    nights = history(40) + history(30, LEVEL * 0.94, 40) + history(40, LEVEL, 70)
    assert [step.change for step in steps(nights)] == [
        pytest.approx(-0.06, abs=0.01),
        pytest.approx(0.064, abs=0.01),
    ]
    assert all(step.cause == () for step in steps(nights))


def test_the_only_step_is_none_where_it_is_too_small_to_matter():
    pytest.importorskip("ruptures")
    nights = history(40, noise=0.001) + history(40, LEVEL * 0.99, 40, noise=0.001)
    assert steps(nights) == ()
    (step,) = steps(nights, practical=0.005)
    assert step.change == pytest.approx(-0.01, abs=0.002)


def test_noise_has_no_steps():
    pytest.importorskip("ruptures")
    assert [steps(history(90, seed=seed)) for seed in range(20)] == [()] * 20


def test_a_night_of_dips_is_no_step():
    pytest.importorskip("ruptures")
    nights = [replace(n, value=n.value * (0.9 if i % 20 == 7 else 1)) for i, n in enumerate(history(100))]
    assert steps(nights) == ()


@pytest.mark.parametrize("nights", [[], history(1), history(5), [tonight(math.nan)] * 30])
def test_a_short_history_has_no_steps(nights):
    assert steps(nights) == ()


def test_a_history_without_any_noise_has_no_steps():
    pytest.importorskip("ruptures")
    assert steps([replace(night, value=LEVEL) for night in history(40)]) == ()


def test_a_regression_is_attributed_to_its_step():
    pytest.importorskip("ruptures")
    past = history(60) + [replace(n, rerun=n.value) for n in history(9, LEVEL * 0.95, 60)]
    found = judge(BUSBW, past, tonight(LEVEL * 0.95, LEVEL * 0.95))
    evidence = " ".join(series_verdict(attribute(found, past)).evidence)
    assert "step of -5" in evidence
    assert "nothing changed in the fingerprint then" in evidence


def test_steps_are_sought_up_to_the_night_itself_and_no_further(monkeypatch):
    """What the history holds of this night or of later ones is left out."""
    found = judge(BUSBW, history(40), tonight(LEVEL))
    sought: list[NightValue] = []
    monkeypatch.setattr(
        sys.modules["bench.judge.drift.judge_series"], "steps", lambda nights: sought.extend(nights) or ()
    )
    attribute(found, [*history(5), tonight(LEVEL), tonight(LEVEL, at=501)])
    assert sought == [*history(5), found.night]


@pytest.mark.parametrize(
    ("start", "part"),
    [(1, ""), *((at, "nccl") for at in (2, 3, 4, 5, 6)), *((at, "driver") for at in (7, 8, 9, 10))],
)
def test_the_cause_of_a_step_is_what_changed_from_the_night_before_at_most_two_nights_away(start, part):
    """One part changes at the fourth night and another at the eighth; of two as near the earlier one counts."""
    nights = [
        replace(night, fingerprint=fingerprint({"nccl": f"{1 + (at >= 4)}", "driver": f"{1 + (at >= 8)}"}))
        for at, night in enumerate(history(11))
    ]
    assert _cause(nights, start) == ((f"{part} 1 → 2",) if part else ())


def test_the_search_loaded_by_itself_finds_what_the_whole_package_finds():
    numpy, ruptures = pytest.importorskip("numpy"), pytest.importorskip("ruptures")
    whole = ruptures.KernelCPD(kernel="rbf", min_size=SHORTEST, params={"gamma": GAMMA})
    found, wanted = [], []
    for seed, penalty in itertools.product(range(20), (0.5, 2.0, 5.0)):
        levels = [
            (n.value / LEVEL - 1) / 0.01 for n in history(30 + seed, seed=seed) + history(9, LEVEL * 1.04)
        ]
        found.append(_kernel_segments(levels, penalty))
        wanted.append(whole.fit(numpy.array(levels)).predict(pen=penalty))
    assert found == wanted
    assert len({tuple(edges) for edges in found}) > 20


def test_dating_a_step_does_not_import_scipy():
    pytest.importorskip("ruptures")
    code = (
        "import sys\nfrom bench.judge.drift.steps import segment\n"
        "print(segment([1.0, 1.1] * 20 + [9.0, 9.1] * 20), 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[0, 40, 80] False", done.stderr


def test_a_missing_library_is_one_line_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ruptures", None)
    with pytest.raises(NoRuptures, match=r"^[^\n]*railgauge\[nightly\][^\n]*$"):
        steps(history(40))


def test_drift_imports_no_library_until_it_dates_a_step():
    code = (
        "import sys, bench.judge.drift, bench.store.history\n"
        "print(sorted({'numpy', 'ruptures', 'duckdb', 'pyarrow', 'fsspec', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


# --- the fleet ----------------------------------------------------------------------------------------


def rails(count: int = 64, seed: int = 3) -> dict[str, float]:
    dice = random.Random(seed)
    return {f"node{i // 8} rail{i % 8}": 48e9 * (1 + 0.005 * dice.gauss(0, 1)) for i in range(count)}


def test_a_healthy_fleet_is_ok():
    for seed in range(20):
        assert {item.label for item in peers.compare_with_peers(rails(seed=seed), +1)} == {Label.OK}


def test_the_slow_rail_and_no_other_is_found_and_measured_again():
    values = {**rails(), "node3 rail5": 40e9}
    first = peers.compare_with_peers(values, +1)
    assert peers.suspects(first) == ("node3 rail5",)
    assert {item.subject for item in first if item.status is Status.INCONCLUSIVE} == {"node3 rail5"}
    found = {item.subject: item for item in peers.compare_with_peers(values, +1, {"node3 rail5": 40.1e9})}
    assert found["node3 rail5"].status is Status.FAIL
    assert sum(item.status is Status.PASS for item in found.values()) == len(values) - 1


@pytest.mark.parametrize(("rerun", "status"), [(48e9, Status.PASS), (math.nan, Status.INCONCLUSIVE)])
def test_a_slow_rail_that_is_not_confirmed_stays_suspicious(rerun, status):
    values = {**rails(), "node3 rail5": 40e9}
    found = {item.subject: item for item in peers.compare_with_peers(values, +1, {"node3 rail5": rerun})}[
        "node3 rail5"
    ]
    assert (found.label, found.status) == (Label.SUSPICIOUS, status)


@pytest.mark.parametrize("value", [None, math.nan, 0.0])
def test_a_rail_that_was_not_measured_is_an_error(value):
    standings = peers.compare_with_peers({**rails(), "node3 rail5": value}, +1)
    assert [item.subject for item in standings if item.status is Status.INCONCLUSIVE] == ["node3 rail5"]
    assert peers.verdicts("c1 rails", standings, show_rate)[-1].status is Status.INCONCLUSIVE


def test_a_small_fleet_is_insufficient():
    assert {item.label for item in peers.compare_with_peers(rails(7), +1)} == {Label.INSUFFICIENT}


def test_an_empty_fleet_is_an_error():
    (row,) = peers.verdicts("c1 rails", peers.compare_with_peers({}, +1), show_rate)
    assert row.status is Status.INCONCLUSIVE


def test_a_fleet_of_times_finds_the_long_one():
    values = {subject: 1 / value for subject, value in rails().items()}
    assert peers.suspects(peers.compare_with_peers({**values, "slow": 1 / 40e9}, -1)) == ("slow",)


@pytest.mark.parametrize("count", [1, 3, 5, 7])
def test_the_variance_of_a_median_of_few_normal_values_is_what_integration_gives(count):
    """Of the density of the middle one of ``count`` ordered values, by the rule of rectangles."""
    half, step = count // 2, 0.001
    ways = math.factorial(count) / math.factorial(half) ** 2

    def density(x: float) -> float:
        below = 0.5 * (1 + math.erf(x / math.sqrt(2)))
        return ways * (below * (1 - below)) ** half * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    variance = sum(x * x * density(x) * step for x in (at * step for at in range(-8000, 8001)))
    assert median_variance(count) == pytest.approx(variance, abs=5e-5)


def test_a_fleet_of_which_one_can_be_compared_is_judged_and_not_left_out():
    standings = peers.compare_with_peers(rails(), +1)
    left_out = [replace(item, label=Label.INSUFFICIENT, status=Status.NOT_APPLICABLE) for item in standings]
    assert peers.verdicts("f", [left_out[0], *standings[1:]], show_rate)[-1].status is Status.PASS
    assert [each.status for each in peers.verdicts("f", left_out, show_rate)] == [Status.NOT_APPLICABLE]


def test_the_rows_of_a_fleet_name_the_slow_and_count_the_rest():
    standings = peers.compare_with_peers({**rails(), "node3 rail5": 40e9}, +1, {"node3 rail5": 40e9})
    slow, whole = peers.verdicts("c1 rails", standings, show_rate)
    assert slow.subject == "c1 rails node3 rail5"
    assert "40.00 GB/s, 16.6 % worse than the median of its peers" in slow.message
    assert "railgauge accept" in slow.next_step
    open_, _ = peers.verdicts(
        "c1 rails", peers.compare_with_peers({**rails(), "node3 rail5": 40e9}, +1), show_rate
    )
    assert (open_.status, open_.next_step) == (Status.INCONCLUSIVE, "measure it again, alone")
    assert (whole.status, whole.measured[:8]) == (Status.FAIL, "63 of 64")


def test_benjamini_and_hochberg_published_example():
    """Benjamini & Hochberg 1995, section 3.2: 15 p-values, rate 0.05, the four smallest are discoveries."""
    text = (
        "0.0001 0.0004 0.0019 0.0095 0.0201 0.0278 0.0298 0.0344 0.0459 0.3240 0.4262 0.5719 0.6528 0.759 1"
    )
    chances = [float(word) for word in text.split()]
    assert peers.benjamini_hochberg(chances, 0.05) == 0.0095
    assert peers.benjamini_hochberg([0.5, 0.9], 0.05) < 0


@pytest.mark.parametrize(
    ("chances", "cut"),
    [
        ([0.25], 0.25),
        ([0.26], -1.0),
        ([0.125, 0.3], 0.125),
        ([0.13, 0.3], -1.0),
        ([0.25, 0.2], 0.25),
        ([], -1.0),
    ],
)
def test_the_chance_of_each_discovery_is_held_against_its_own_share(chances, cut):
    """The first of two must be below half of the rate, both below the whole of it; at the limit to the bit they are."""
    assert peers.benjamini_hochberg(chances, 0.25) == cut


# --- laws ---------------------------------------------------------------------------------------------


def test_the_tail_is_students_t():
    """scipy 1.17: stats.t.sf(3, 0.37 * 63) and stats.t.sf(3, 0.37 * 15)."""
    assert tail(3.0, 64) == pytest.approx(0.0031656, rel=0.02)
    assert tail(3.0, 16) == pytest.approx(0.0132127, rel=0.02)
    assert tail(0.0, 64) == 0.5
    assert tail(-3.0, 64) == pytest.approx(1 - tail(3.0, 64))


def test_an_allowance_is_wider_for_few_nights_and_narrower_for_a_median_of_many():
    assert allowance(3, 1, 10) > allowance(3, 1, 30) > allowance(3, 1, 300) > 3
    assert allowance(3, 1, 30) > allowance(3, 3, 30) > allowance(3, 5, 30)


def test_the_spread_of_a_normal_sample_is_its_standard_deviation():
    dice = random.Random(2)
    assert spread([dice.gauss(5, 2) for _ in range(20_000)], 5) == pytest.approx(2, rel=0.03)


figures = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=60)
@given(st.lists(figures, max_size=40), figures, st.none() | figures, st.sampled_from([BUSBW, LATENCY]))
@example([0.0, 1.0, 1.0], 2.0, 1.0, LATENCY)  # slow beside two nights, and not when measured again
def test_no_history_crashes_the_judge_and_no_bad_figure_passes(values, value, rerun, series):
    past = [NightValue(f"r{i}", i * DAY, figure, (OLD, NEW)[i % 7 == 0]) for i, figure in enumerate(values)]
    found = judge(series, past, tonight(value, rerun))
    assert series_verdict(found).status is found.status
    if not (math.isfinite(value) and value > 0):
        assert found.status is Status.INCONCLUSIVE
    if found.status is Status.PASS:
        assert found.nights >= STANDARD.least


@settings(max_examples=40)
@given(st.floats(1e-9, 1e15), st.floats(0.5, 0.97), st.integers(0, 50))
def test_the_unit_of_a_series_does_not_matter(scale, share, seed):
    night = tonight(LEVEL * share, LEVEL * share)
    scaled = [replace(n, value=n.value / LEVEL * scale) for n in history(30, seed=seed)]
    here = judge(BUSBW, history(30, seed=seed), night)
    there = judge(BUSBW, scaled, tonight(scale * share, scale * share))
    assert here.first is not None
    assert there.first is not None
    if abs(abs(here.first.change) - here.first.limit) > 1e-9:
        assert here.label is there.label


@settings(max_examples=40)
@given(st.dictionaries(st.text(max_size=5), st.none() | figures, max_size=30))
def test_no_fleet_crashes_and_every_subject_is_answered_for(values):
    standings = peers.compare_with_peers(values, +1)
    assert {item.subject for item in standings} == set(values)
    assert peers.verdicts("f", standings, str)
    for item in standings:
        value = values[item.subject]
        if value is None or not math.isfinite(value) or value <= 0:
            assert item.status is Status.INCONCLUSIVE


def test_a_baseline_remembers_no_more_than_its_window():
    base = levels(history(100), +1, DriftRules()).own(history(1)[0].fingerprint)
    assert len(base.accepted) == DriftRules().window
    assert base.since == history(1)[0].time
