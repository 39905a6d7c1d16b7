"""The story of a series: every night as it was judged, each baseline by itself."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.judge.drift import (
    Acceptance,
    DriftRules,
    Label,
    NightValue,
    Series,
    fingerprint,
    judge,
    replay,
)
from bench.model.verdict import Status

BUSBW = Series("c1", "all_reduce", "1 GiB", "busbw")
OLD, NEW = fingerprint({"driver": "550"}), fingerprint({"driver": "560"})
SHORT = DriftRules(window=6, least=3)
YOUNG = (Label.INSUFFICIENT,)

levels = st.sampled_from([100.0, 99.7, 100.4, 98.9, 90.0, 80.0, 110.0, math.nan, 0.0])
nights = st.lists(
    st.tuples(
        levels,
        st.one_of(st.none(), levels),
        st.sampled_from([OLD, OLD, OLD, NEW]),
        st.sampled_from([Status.PASS, Status.PASS, Status.PASS, Status.FAIL, Status.INCONCLUSIVE]),
    ),
    max_size=25,
).map(lambda rows: [NightValue(f"r{at}", at + 1.0, *_night(row)) for at, row in enumerate(rows)])
words = st.lists(st.floats(0, 25).map(lambda since: Acceptance("c1", since, "me", since, "why")), max_size=2)


def _night(row):
    value, rerun, parts, status = row
    return value, parts, rerun, status


@settings(max_examples=150)
@given(nights, words)
def test_every_mark_is_what_the_judge_said_that_night(found, accepted):
    marks = replay(BUSBW, found, accepted, SHORT)
    assert [mark.night for mark in marks] == found
    for mark in marks:
        said = judge(BUSBW, found, mark.night, accepted, SHORT)
        assert mark.label is said.label
        if mark.label is Label.INSUFFICIENT:
            assert mark.level is None
        else:
            assert said.first is not None
            assert mark.level == said.first.reference


def steady(count: int, level: float = 100.0, start: int = 0, parts=OLD) -> list[NightValue]:
    return [
        NightValue(f"r{start + at}", start + at + 1.0, level + at % 3 * 0.1, parts) for at in range(count)
    ]


def test_a_regression_stays_one_until_it_is_accepted():
    found = steady(12) + [NightValue(f"s{at}", 20.0 + at, 90.0, OLD, rerun=90.0) for at in range(5)]
    labels = [mark.label for mark in replay(BUSBW, found)]
    assert labels[10:12] == [Label.OK] * 2
    assert labels[12:] == [Label.REGRESSION] * 5
    meant = [Acceptance("c1", 20.0, "me", 30.0, "slower by design")]
    assert [mark.label for mark in replay(BUSBW, found, meant)][12:] == [Label.INSUFFICIENT] * 5


def test_what_was_accepted_of_another_series_changes_nothing():
    found = steady(12) + [NightValue(f"s{at}", 20.0 + at, 90.0, OLD, rerun=90.0) for at in range(5)]
    other = Acceptance("c1", 20.0, "me", 30.0, "slower by design", collective="all_gather")
    assert replay(BUSBW, found, [other]) == replay(BUSBW, found)


def test_each_fingerprint_has_a_baseline_of_its_own():
    marks = replay(BUSBW, steady(14) + steady(13, 100.5, 14, NEW))
    judged = [mark for mark in marks if mark.level is not None]
    assert [mark.night.run for mark in judged] == [f"r{at}" for at in (*range(10, 14), *range(24, 27))]
    assert [mark.epoch for mark in judged] == [0] * 4 + [1] * 3
    first, last = judged[0], judged[-1]
    assert first.level == pytest.approx(100.1)
    assert last.level == pytest.approx(100.6)
    assert last.low < last.level < last.high


def test_what_got_worse_with_a_fingerprint_is_drawn_as_the_judge_has_it():
    marks = replay(BUSBW, steady(14) + steady(13, 80.0, 14, NEW))
    assert [mark.label for mark in marks[14:]] == [Label.SUSPICIOUS] * 13
    assert {mark.level for mark in marks[14:]} == {100.1}


def test_an_unknown_quantity_is_refused():
    with pytest.raises(ValueError, match="known: algbw"):
        replay(Series("c1", "x", "1 B", "furlongs"), [])
