"""The schedule of node pairs: laws of a round-robin tournament."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.model.rounds import Cost, pack, rounds, seconds


@pytest.mark.parametrize("n", range(201))
def test_every_pair_meets_once_and_no_node_is_in_two_pairs_of_a_round(n: int) -> None:
    nodes = [f"n{i}" for i in range(n)]
    schedule = rounds(nodes)
    for meets in schedule:
        busy = [node for pair in meets for node in pair]
        assert len(busy) == len(set(busy))
    assert sorted(pair for meets in schedule for pair in meets) == sorted(combinations(nodes, 2))


@pytest.mark.parametrize("n", range(201))
def test_no_schedule_is_longer_than_it_must_be(n: int) -> None:
    schedule = rounds(range(n))
    assert len(schedule) == (0 if n < 2 else n - 1 if n % 2 == 0 else n)
    assert all(len(meets) == n // 2 for meets in schedule)


def test_three_nodes_take_three_rounds_and_each_rests_once() -> None:
    assert set(rounds("abc")) == {(("a", "b"),), (("a", "c"),), (("b", "c"),)}


def test_a_node_listed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="listed twice"):
        rounds(["n0", "n1", "n0"])


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(13, 25)), max_size=40))
def test_packing_keeps_every_pair_and_never_shares_a_node(wanted: list[tuple[int, int]]) -> None:
    packed = pack(wanted)
    assert sorted(pair for meets in packed for pair in meets) == sorted(wanted)
    for meets in packed:
        busy = [node for pair in meets for node in pair]
        assert len(busy) == len(set(busy))
    busiest = max((sum(node in pair for pair in wanted) for node in range(26)), default=0)
    assert len(packed) <= max(2 * busiest - 1, 0)


def test_a_node_does_not_meet_itself() -> None:
    with pytest.raises(ValueError, match="against itself"):
        pack([("n0", "n0")])


def test_all_pairs_of_64_nodes_fit_in_20_minutes() -> None:
    # 1 GiB at 46 GB/s, 5 warm-up + 50 timed transfers of all eight rails at once, 12 s a round to set up NCCL
    cost = Cost(size=1 << 30, transfers=55, rate=46e9, overhead=12.0)
    assert 63 * 12 < seconds(63, cost) < 20 * 60


def test_time_grows_with_rounds_and_passes() -> None:
    cost = Cost(size=1000, transfers=10, rate=1e4, overhead=0.5)
    assert seconds(3, cost) == pytest.approx(3 * 1.5)
    assert seconds(3, Cost(1000, 10, 1e4, 0.5, passes=3)) == pytest.approx(9 * 1.5)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_says_nothing_plans_nothing(rate: float) -> None:
    with pytest.raises(ValueError, match="cannot be planned"):
        seconds(3, Cost(1000, 10, rate, 0.5))
