"""The schedule of node pairs: laws of a round-robin tournament."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.model.rounds import pack, rounds


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
