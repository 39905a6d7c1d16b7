"""Stragglers: who is last most of the time, and when all are slow alike."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.model import Case, Measurement, Rank, Status
from bench.stragglers import stragglers, tail

RANKS = tuple(Rank(rank, f"n{rank // 4}", rank % 4) for rank in range(16))
CASES = {
    "all_reduce": Case("all_reduce", "collectives", "all_reduce", 1024, 256, (tuple(range(16)),)),
    "broadcast": Case("broadcast", "collectives", "broadcast", 1024, 256, (tuple(range(16)),), root=0),
}


def measurement(
    last: tuple[int, ...], case: str = "all_reduce", isolated: tuple[float, ...] = (1e-3,)
) -> Measurement:
    ranks = tuple(range(len(last)))
    wrong = (0,) * len(last)
    return Measurement(case, ranks, (), 1, isolated, last, wrong, 1, (), "count", 0.01, 1)


def turns(rng: random.Random, n: int, tries: int, slow: dict[int, float]) -> tuple[int, ...]:
    """Lasts of ``tries`` iterations in which rank r is last with probability slow[r], else anybody."""
    counts = [0] * n
    for _ in range(tries):
        pick, at = rng.random(), 0.0
        who = rng.randrange(n)
        for rank, share in slow.items():
            who = rank if at <= pick < at + share else who
            at += share
        counts[who] += 1
    return tuple(counts)


def test_a_rank_last_in_most_iterations_is_named() -> None:
    said = stragglers([measurement(turns(random.Random(1), 16, 50, {5: 0.8}))], CASES, RANKS)
    assert said.status is Status.FAIL
    assert [found.ranks for found in said.stragglers] == [(5,)]
    assert "rank 5 on n1 is last in" in said.text


def test_taking_turns_is_nobodys_fault() -> None:
    said = stragglers([measurement(turns(random.Random(2), 16, 400, {}))], CASES, RANKS, {"all_reduce": 1e-3})
    assert said.status is Status.PASS
    assert said.stragglers == ()


def test_a_slow_node_whose_ranks_take_turns_is_named_as_a_node() -> None:
    slow = {8: 0.2, 9: 0.2, 10: 0.2, 11: 0.2}
    said = stragglers([measurement(turns(random.Random(3), 16, 200, slow))], CASES, RANKS)
    assert [(found.kind, found.name, found.ranks) for found in said.stragglers] == [
        ("node", "node n2", (8, 9, 10, 11))
    ]


def test_all_slow_alike_is_the_system_and_no_straggler() -> None:
    lasts = turns(random.Random(4), 16, 200, {})
    said = stragglers([measurement(lasts, isolated=(1.3e-3,) * 9)], CASES, RANKS, {"all_reduce": 1e-3})
    assert said.systemwide
    assert said.stragglers == ()
    assert said.status is Status.FAIL
    assert "1.30 times the usual time" in said.text


def test_slow_because_of_one_rank_is_that_rank_and_not_the_system() -> None:
    lasts = turns(random.Random(5), 16, 200, {3: 0.9})
    said = stragglers([measurement(lasts, isolated=(1.3e-3,) * 9)], CASES, RANKS, {"all_reduce": 1e-3})
    assert not said.systemwide
    assert [found.ranks for found in said.stragglers] == [(3,)]


def test_a_few_iterations_prove_nothing() -> None:
    assert stragglers([measurement((2, 0, 0, *[0] * 13))], CASES, RANKS).stragglers == ()


def test_the_order_of_a_broadcast_is_not_a_straggler() -> None:
    said = stragglers([measurement((0,) * 15 + (100,), case="broadcast")], CASES, RANKS)
    assert said.status is Status.ERROR
    assert said.left_out == ("broadcast: it has a root, so the algorithm decides who is last",)


@pytest.mark.parametrize(
    ("last", "reason"),
    [((9, 1), "fewer than three"), ((0, 0, 0), "no isolated iteration"), ((5, -1, 2), "negative")],
)
def test_counts_that_say_nothing_are_left_out_with_the_reason(last: tuple[int, ...], reason: str) -> None:
    said = stragglers([measurement(last)], CASES, RANKS)
    assert reason in said.left_out[0]
    assert said.status is Status.ERROR


def test_nothing_measured_is_not_a_pass() -> None:
    said = stragglers([], CASES, RANKS)
    assert said.status is Status.ERROR
    assert "no measurement can show" in said.text
    assert math.isnan(said.slow)


def test_without_a_night_or_a_bound_a_common_slowdown_is_said_to_be_unknown() -> None:
    said = stragglers([measurement((10,) * 16)], CASES, RANKS)
    assert "cannot be seen without a night before or a bound" in said.text


def test_an_unknown_case_is_left_out() -> None:
    assert "not in the plan" in stragglers([measurement((9, 0, 0), case="x")], CASES, RANKS).left_out[0]


@settings(max_examples=60)
@given(st.integers(1, 60), st.floats(0.01, 0.9), st.data())
def test_the_bound_lies_above_the_binomial_tail(tries: int, share: float, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, tries))
    exact = sum(math.comb(tries, k) * share**k * (1 - share) ** (tries - k) for k in range(count, tries + 1))
    assert exact <= tail(count, tries, share) * (1 + 1e-9) + 1e-12


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(-2, 200), min_size=0, max_size=16), max_size=5))
def test_no_counts_crash_and_nothing_usable_never_passes(lasts: list[list[int]]) -> None:
    said = stragglers([measurement(tuple(last)) for last in lasts], CASES, RANKS, {"all_reduce": 1e-3})
    assert said.status is not Status.PASS or said.iterations > 0
