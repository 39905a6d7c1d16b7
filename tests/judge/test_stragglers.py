"""Stragglers: who is waited for most of the time, what that costs, and when all are slow alike."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.judge.stragglers import _too_often, stragglers, tail
from bench.measure.skew import SkewCounter
from bench.model import typed_json
from bench.model.measurement import Case, Measurement, Rank, RankSkew
from bench.model.verdict import Status

RANKS = tuple(Rank(rank, f"n{rank // 4}", rank % 4) for rank in range(16))
CALL = 1e-3


def case(name: str = "all_reduce", size: int = 1024, root: int = -1) -> Case:
    return Case(f"{name}/{size}", "collectives", name, size, size // 4, (tuple(range(16)),), root=root)


SIZES = [case(size=1024), case(size=65536), case("all_gather", 1024)]
CASES = {each.id: each for each in [*SIZES, case("broadcast", root=0), case("p2p_ring")]}
USUAL = dict.fromkeys(CASES, CALL)


def measurement(of: Case, columns: list[list[float]]) -> Measurement:
    """What the loop would have written of these iterations: [iteration][rank] seconds by the rank's own clock."""
    tally = SkewCounter()
    for column in columns:
        tally.add(column)
    n = len(columns[0])
    isolated = tuple(max(column) for column in columns)
    wrong = (0,) * n
    return Measurement(
        of.id, tuple(range(n)), (), 1, isolated, wrong, 1, (), "count", 0.01, 1, apart=tally.apart()
    )


def columns(late, leaves=None, tries=60, n=16, call=CALL, seed=1, jitter=0.01):
    """Iterations of a collective that nobody leaves before all have come: ``late(i)`` and ``leaves(i)`` are
    {rank: seconds}; a rank's own time begins when it comes."""
    rng = random.Random(seed)
    made = []
    for i in range(tries):
        come = [late(i).get(rank, 0.0) + rng.uniform(0, jitter * call) for rank in range(n)]
        more = (leaves or (lambda i: {}))(i)
        made.append([max(come) + call + more.get(rank, 0.0) - come[rank] for rank in range(n)])
    return made


def measured(late, leaves=None, cases=SIZES, **how):
    return [measurement(each, columns(late, leaves, seed=at, **how)) for at, each in enumerate(cases)]


def never(i: int) -> dict[int, float]:
    return {}


def named(said) -> list[tuple[str, bool]]:
    return [(found.name, found.late) for found in said.stragglers]


def test_the_rank_that_comes_late_is_named_and_not_the_one_that_came_first() -> None:
    """Three ranks that come after 0, 0.6 and 0.3 ms: the first has by far the longest time."""
    rows = measured(lambda i: {1: 0.6e-3, 2: 0.3e-3}, n=3)
    said = stragglers(rows, CASES, RANKS, USUAL)
    assert named(said) == [("rank 1 on n0", True)]
    assert "rank 1 on n0 needs less time than the others in 180 of 180 iterations" in said.text


def test_what_the_others_lose_is_told_with_the_name() -> None:
    said = stragglers(measured(lambda i: {5: 0.5e-3}), CASES, RANKS, USUAL)
    assert said.stragglers[0].loss == pytest.approx(1 / 3, abs=0.02)
    assert "they wait 50" in said.text and "of a call" in said.text
    assert "or it has the least to do" in said.text


def test_a_rank_that_leaves_late_is_named_with_the_other_explanation() -> None:
    said = stragglers(measured(never, lambda i: {5: 0.5e-3}), CASES, RANKS, USUAL)
    assert named(said) == [("rank 5 on n1", False)]
    assert "it leaves late" in said.text and "or all the others come late" in said.text


def test_calls_as_fast_as_usual_fail_nobody_whoever_is_waited_for() -> None:
    said = stragglers(measured(lambda i: {5: 0.5e-3}), CASES, RANKS, dict.fromkeys(CASES, 1.5e-3))
    assert (said.status, named(said)) == (Status.PASS, [("rank 5 on n1", True)])
    assert "all together take 1.0" in said.text


def test_slow_because_of_one_rank_is_that_rank_and_not_the_system() -> None:
    said = stragglers(measured(lambda i: {3: 0.5e-3}), CASES, RANKS, USUAL)
    assert (said.status, said.systemwide, named(said)) == (Status.FAIL, False, [("rank 3 on n0", True)])
    assert "1.50 times the usual time, at best 1.00 without waiting for it" in said.text


def test_all_slow_alike_is_the_system_and_no_straggler() -> None:
    said = stragglers(measured(never, call=1.3e-3), CASES, RANKS, USUAL)
    assert (said.status, said.systemwide, named(said)) == (Status.FAIL, True, [])
    assert "all ranks are slow alike: 1.31 times the usual time" in said.text


def test_all_slow_and_one_late_is_the_system_and_the_late_one_is_told() -> None:
    said = stragglers(measured(lambda i: {3: 0.3e-3}, call=2e-3), CASES, RANKS, USUAL)
    assert said.systemwide
    assert "all ranks are slow alike: 2.31" in said.text and "rank 3 on n0" in said.text


def test_a_rank_slow_inside_the_call_makes_all_slow_alike_and_names_nobody() -> None:
    """Nobody leaves before it is done, so the time of every rank holds its slowness."""
    said = stragglers(measured(never, call=CALL + 0.5e-3), CASES, RANKS, USUAL)
    assert (said.systemwide, named(said)) == (True, [])


@pytest.mark.parametrize("more", [0.0001, 0.01, 0.04])
def test_tiny_constant_differences_name_nobody_however_constant(more: float) -> None:
    rows = [measurement(each, [[CALL * (1 + more)] + [CALL] * 15] * 50) for each in SIZES]
    rows += [measurement(each, [[CALL * (1 - more)] + [CALL] * 15] * 50) for each in SIZES]
    said = stragglers(rows, CASES, RANKS, USUAL)
    assert (said.status, named(said)) == (Status.PASS, [])


def test_exact_ties_count_for_nobody() -> None:
    rows = [measurement(each, [[CALL] * 16] * 50) for each in SIZES]
    assert sum(sum(row.apart.short + row.apart.long) for row in rows) == 0
    assert named(stragglers(rows, CASES, RANKS, USUAL)) == []


def test_what_the_clock_cannot_tell_counts_for_nobody() -> None:
    """Calls of 8 µs on a clock of 0.5 µs: three ticks are more than 5 %."""
    rows = [measurement(each, [[8e-6] * 15 + [6.5e-6]] * 50) for each in SIZES]
    assert named(stragglers(rows, CASES, RANKS, USUAL)) == []


def test_taking_turns_is_nobodys_fault() -> None:
    rng = random.Random(2)
    rows = measured(lambda i: {rng.randrange(16): 0.5e-3}, tries=200)
    said = stragglers(rows, CASES, RANKS, dict.fromkeys(CASES, 1.5e-3))
    assert (said.status, named(said)) == (Status.PASS, [])


def test_noise_of_all_ranks_names_nobody() -> None:
    for seed in range(20):
        rows = [
            measurement(each, columns(never, n=3, jitter=1.0, seed=100 * seed + at))
            for at, each in enumerate(SIZES)
        ]
        assert named(stragglers(rows, CASES, RANKS, USUAL)) == []


def test_two_late_ranks_are_both_named() -> None:
    said = stragglers(measured(lambda i: {3: 0.5e-3, 9: 0.5e-3}), CASES, RANKS, USUAL)
    assert {name for name, _ in named(said)} == {"rank 3 on n0", "rank 9 on n2"}


@pytest.mark.parametrize("jitter", [0.0, 0.01])
def test_a_node_whose_ranks_are_all_late_is_named_as_a_node(jitter: float) -> None:
    rows = measured(lambda i: dict.fromkeys((8, 9, 10, 11), 0.5e-3), jitter=jitter)
    said = stragglers(rows, CASES, RANKS, USUAL)
    assert [(found.kind, found.name, found.ranks) for found in said.stragglers] == [
        ("node", "node n2", (8, 9, 10, 11))
    ]


def test_a_slow_node_whose_ranks_take_turns_is_named_as_a_node() -> None:
    rng = random.Random(3)
    said = stragglers(measured(lambda i: {rng.randrange(8, 12): 0.5e-3}), CASES, RANKS, USUAL)
    assert [(found.kind, found.name) for found in said.stragglers] == [("node", "node n2")]


def test_one_node_of_two_that_is_late_is_the_late_one() -> None:
    rows = measured(lambda i: dict.fromkeys((4, 5, 6, 7), 0.5e-3), n=8)
    assert named(stragglers(rows, CASES, RANKS, USUAL)) == [("node n1", True)]


def test_ranks_of_a_node_late_at_the_same_time_are_not_counted_twice() -> None:
    rows = measured(lambda i: dict.fromkeys((8, 9), 0.5e-3) if i % 10 < 3 else {}, tries=200)
    assert named(stragglers(rows, CASES, RANKS, USUAL)) == []


def test_a_rank_late_in_one_case_of_three_is_no_straggler() -> None:
    """The many short iterations of small messages do not outvote the others."""
    small = measurement(SIZES[0], columns(lambda i: {5: 0.5e-3}, tries=5000))
    rest = [measurement(each, columns(never, tries=10, seed=at)) for at, each in enumerate(SIZES[1:])]
    assert named(stragglers([small, *rest], CASES, RANKS, USUAL)) == []


def test_only_cases_whose_usual_time_is_known_decide() -> None:
    late = measurement(SIZES[0], columns(lambda i: {5: 0.5e-3}))
    fine = measurement(SIZES[1], columns(never))
    said = stragglers([late, fine], CASES, RANKS, {SIZES[1].id: CALL})
    assert (said.status, named(said)) == (Status.PASS, [])


def slow_link(size: int) -> float:
    """Seconds by which the rank before a slow link has its result sooner than those behind it."""
    return size * 0.5e-3 / 65536


@pytest.mark.parametrize(("sizes", "sure"), [((1024, 4096, 65536), False), ((65536,), None)])
def test_a_slow_link_blames_nobody_for_coming_late(sizes: tuple[int, ...], sure: bool | None) -> None:
    of = [case("all_gather", size) for size in sizes]
    rows = [
        measurement(each, columns(lambda i, each=each: {5: slow_link(each.size)}, seed=each.size))
        for each in of
    ]
    said = stragglers(rows, {each.id: each for each in of}, RANKS, {of[-1].id: CALL})
    assert [(found.name, found.sure) for found in said.stragglers] == [("rank 5 on n1", sure)]
    assert (said.status, said.culprits, said.systemwide) == (Status.FAIL, (), True)
    assert "slow link" in said.text and "slow alike" not in said.text


def test_smaller_messages_without_a_bound_tell_that_a_rank_is_late_and_no_link_slow() -> None:
    rows = measured(lambda i: {5: 0.5e-3})
    said = stragglers(rows, CASES, RANKS, {SIZES[1].id: CALL})
    assert [found.name for found in said.culprits] == ["rank 5 on n1"]
    assert said.iterations == 60


def test_a_few_iterations_prove_nothing() -> None:
    assert (
        stragglers(measured(lambda i: {5: 0.5e-3}, tries=1, cases=SIZES[:1]), CASES, RANKS).stragglers == ()
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [("broadcast", "has a root"), ("p2p_ring", "done before all have come")],
)
def test_what_does_not_make_all_wait_for_all_is_left_out(name: str, reason: str) -> None:
    each = next(each for each in CASES.values() if each.collective == name)
    said = stragglers([measurement(each, columns(lambda i: {5: 0.5e-3}))], CASES, RANKS, USUAL)
    assert (said.status, named(said)) == (Status.INCONCLUSIVE, [])
    assert reason in said.left_out[0]


GOOD = measurement(SIZES[0], columns(never, n=3, tries=4))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ranks": (0, 1)}, "fewer than three"),
        ({"isolated": ()}, "no isolated iteration"),
        ({"isolated": (math.nan,) * 4}, "no isolated iteration"),
        ({"apart": replace(GOOD.apart, short=(-1, 0, 0))}, "negative"),
        ({"apart": replace(GOOD.apart, long=(5, 0, 0))}, "above the 4"),
        ({"apart": replace(GOOD.apart, shortest=(0, 0))}, "not of 3 ranks"),
        ({"apart": replace(GOOD.apart, long_by=(math.nan, 0.0, 0.0))}, "not a time"),
    ],
)
def test_counts_that_say_nothing_are_left_out_with_the_reason(changes, reason: str) -> None:
    said = stragglers([replace(GOOD, **changes)], CASES, RANKS)
    assert reason in said.left_out[0]
    assert said.status is Status.INCONCLUSIVE


def old(times: float) -> list[Measurement]:
    """As journals before this version have it: rank 0 had the longest time of its own in every iteration."""
    row = typed_json.to_json(GOOD) | {"last": [60, 0, 0], "isolated": [CALL * times] * 60}
    del row["apart"]
    return [typed_json.load(Measurement, row)]


def test_an_old_journal_names_nobody() -> None:
    said = stragglers(old(1.0), CASES, RANKS, USUAL)
    assert (said.status, named(said), said.iterations) == (Status.INCONCLUSIVE, [], 0)
    assert "was not recorded" in said.text


def test_an_old_journal_still_tells_that_calls_are_slow() -> None:
    said = stragglers(old(1.4), CASES, RANKS, USUAL)
    assert (said.status, said.systemwide, named(said)) == (Status.FAIL, False, [])
    assert "1.40 times the usual time" in said.text and "was not recorded" in said.text


def test_nothing_measured_is_not_a_pass() -> None:
    said = stragglers([], CASES, RANKS)
    assert said.status is Status.INCONCLUSIVE
    assert "stragglers cannot be detected" in said.text
    assert math.isnan(said.slow)


def test_without_a_night_or_a_bound_a_common_slowdown_is_said_to_be_unknown() -> None:
    said = stragglers(measured(never), CASES, RANKS)
    assert "cannot be seen without a night before or a bound" in said.text


def test_a_straggler_without_a_usual_time_is_named_and_fails_nobody() -> None:
    said = stragglers(measured(lambda i: {5: 0.5e-3}), CASES, RANKS)
    assert (said.status, named(said)) == (Status.INCONCLUSIVE, [("rank 5 on n1", True)])
    assert "whether that costs anything cannot be seen" in said.text


def test_an_unknown_case_is_left_out() -> None:
    assert "not in the plan" in stragglers([replace(GOOD, case="x")], CASES, RANKS).left_out[0]


@settings(max_examples=60)
@given(st.integers(1, 60), st.floats(0.01, 0.9), st.data())
def test_the_bound_lies_above_the_binomial_tail(tries: int, share: float, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, tries))
    exact = sum(math.comb(tries, k) * share**k * (1 - share) ** (tries - k) for k in range(count, tries + 1))
    assert exact <= tail(count, tries, share) * (1 + 1e-9) + 1e-12


COUNTS = st.lists(st.integers(-2, 200), min_size=0, max_size=5)
TIMES = st.lists(st.floats(), min_size=0, max_size=5)


@settings(max_examples=100)
@given(st.lists(st.tuples(COUNTS, TIMES, COUNTS, COUNTS, TIMES, COUNTS, TIMES), max_size=4), st.booleans())
def test_no_counts_crash_and_nothing_usable_never_passes(rows, known: bool) -> None:
    made = [
        replace(
            GOOD,
            ranks=tuple(range(len(row[0]))),
            isolated=tuple(row[6]),
            apart=RankSkew(*(tuple(values) for values in row[:6])),
        )
        for row in rows
    ]
    said = stragglers(made, CASES, RANKS, USUAL if known else None)
    assert said.status is not Status.PASS or said.iterations > 0
    assert said.text


def test_half_of_the_iterations_are_not_most_of_them() -> None:
    assert not _too_often(50, 100, 1.0, 8)
    assert _too_often(51, 100, 1.0, 8)
