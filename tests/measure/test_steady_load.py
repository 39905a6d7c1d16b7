"""A steady load on ranks of paper: windows, their bounds, and what is told when."""

import itertools
import math

import pytest

from bench.measure.loop import TimingRules
from bench.measure.soak import LEAST_WINDOWS, MOST_WINDOWS, steady, window_seconds
from bench.model import typed_json
from bench.model.measurement import Window
from test_loop import Paper, Seconds


def load(paper, rules, wrong=0.0):
    """(timings, windows as they were told)."""
    told = []

    def check(number):
        paper.launch(number)
        return [Seconds([wrong] * paper.ranks), Seconds([10.0] * paper.ranks)]

    return steady(paper, paper.launch, check, rules, told.append), told


def test_the_load_lasts_as_long_as_was_asked():
    paper = Paper(lambda rank, call: 1e-2)
    times, windows = load(paper, TimingRules(budget=20.0, window=2.0))
    assert windows[-1].ended == pytest.approx(20.0, rel=0.03)
    assert len(windows) == len(times.pipelined) == 10
    assert times.stop == "budget"


def test_every_window_is_told_as_it_ends():
    paper = Paper(lambda rank, call: 1e-2)
    ends = [window.ended for window in load(paper, TimingRules(budget=10.0, window=1.0))[1]]
    assert ends == sorted(ends)
    assert all(0.7 < b - a < 1.3 for a, b in itertools.pairwise(ends))


def test_a_slowdown_in_the_middle_shows_in_its_windows():
    paper = Paper(lambda rank, call: 1e-2 if call < 1000 else 2e-2)
    windows = load(paper, TimingRules(budget=20.0, window=2.0))[1]
    assert max(windows[0].seconds) == pytest.approx(1e-2)
    assert max(windows[-1].seconds) == pytest.approx(2e-2)


def test_the_call_by_itself_of_every_window_is_counted():
    paper = Paper(lambda rank, call: 1e-2 * (1 + rank), ranks=3)
    times, windows = load(paper, TimingRules(budget=4.0, window=1.0))
    assert (times.apart.short, times.apart.long) == ((len(windows), 0, 0), (0, 0, len(windows)))


def test_a_window_of_an_older_journal_is_read_without_its_last_rank():
    window = Window(1.0, (0.1, 0.2), 0.3, 0.4, 7, (None, 0), 5, "soak/x", (0, 1))
    assert typed_json.load(Window, typed_json.to_json(window) | {"last": 1}) == window


def test_wrong_elements_are_counted_window_by_window():
    paper = Paper(lambda rank, call: 1e-2)
    windows = load(paper, TimingRules(budget=4.0, window=1.0), wrong=3.0)[1]
    assert [window.wrong for window in windows] == [(3, 3)] * len(windows)
    assert windows[0].checked == 20


def test_calls_that_last_longer_than_a_window_still_end():
    paper = Paper(lambda rank, call: 7.0)
    windows = load(paper, TimingRules(budget=30.0, window=1.0))[1]
    assert windows[-1].ended >= 30.0
    assert len(windows) <= 3


def test_rules_without_a_window_are_refused():
    with pytest.raises(ValueError, match="no window"):
        load(Paper(lambda rank, call: 1.0), TimingRules(budget=1.0))


@pytest.mark.parametrize("total", [3.0, 60.0, 180.0, 3600.0, 86400.0, 604800.0])
def test_the_rows_of_a_soak_are_bounded(total):
    rows = math.ceil(total / window_seconds(total, 5.0) - 1e-9)
    assert LEAST_WINDOWS <= rows <= MOST_WINDOWS


def test_a_window_survives_its_json():
    window = Window(1.0, (0.1, 0.2), 0.3, 0.4, 7, (None, 0), 5, "soak/x", (0, 1))
    assert typed_json.load(Window, typed_json.to_json(window)) == window
