from dataclasses import replace

import pytest

import runs
from bench.model.buffers import MOST_BUFFERS, ROTATED, rotation
from bench.model.collectives import COLLECTIVES, collective, least_size
from bench.model.elements import element
from bench.model.profile import load
from bench.plan import (
    AcceptOptions,
    Job,
    Memory,
    PlanError,
    Request,
    acceptance,
    by_node,
    fit,
    needed,
    sizes,
    sweep_cases,
)
from bench.store import Phase

TWO = ((0, 1),)


def test_sizes_step_by_factor_or_by_bytes_as_in_nccl_tests():
    assert list(sizes(8, 128, 2)) == [8, 16, 32, 64, 128]
    assert list(sizes(8, 100, 2)) == [8, 16, 32, 64]
    assert list(sizes(10, 40, 2, step=10)) == [10, 20, 30, 40]


def test_sizes_that_round_to_nothing_are_left_out_and_to_the_same_appear_once():
    cases = sweep_cases("x", Request("all_gather", 4, 64, 2), ((0, 1, 2),))
    assert [case.size for case in cases] == [48]


@pytest.mark.parametrize(("name", "n"), [("all_reduce", 2), ("all_gather", 3), ("all_to_all", 8), ("p2p", 2)])
def test_a_sweep_below_the_smallest_message_is_refused_with_that_size(name, n):
    group = (tuple(range(n)),)
    least = least_size(collective(name), element("float32"), n)
    assert [case.size for case in sweep_cases("x", Request(name, least, least), group)][:1] == [least]
    with pytest.raises(PlanError, match="needs .* at least"):
        sweep_cases("x", Request(name, 1, least - 1), group)


def test_what_was_refused_is_told_once_for_each_memory():
    cases = sweep_cases("x", Request("all_gather", 1 << 20, 1 << 24, 2), TWO)
    plan = fit([Phase("x", "x", tuple(cases))], "nccl", Memory(0, "no GPU"))
    assert len(plan.refused) == len(cases)
    assert len(plan.shortages) == 1
    assert plan.shortages[0].text.startswith(f"{len(cases)} cases need ")
    assert plan.shortages[0].text.endswith("0 B available on no GPU")


def test_case_names_are_unique_in_every_shipped_plan():
    for name, backend in (("local", "gloo"), ("lambda-1cc-h100", "nccl")):
        phases, _ = acceptance(Job(load(name), runs.ranks(2, 8), backend), 1.0)
        names = [case.id for phase in phases for case in phase.cases]
        assert len(set(names)) == len(names)


def test_groups_of_a_case_are_disjoint():
    phases, _ = acceptance(Job(load("lambda-1cc-h100"), runs.ranks(4, 8), "nccl"), 1.0)
    for phase in phases:
        for case in phase.cases:
            everyone = [rank for group in case.groups for rank in group]
            assert len(everyone) == len(set(everyone))


def test_a_reduction_that_the_type_lacks_is_refused():
    with pytest.raises(PlanError, match="avg of int32 does not exist"):
        sweep_cases("x", Request("all_reduce", 8, 8, dtype="int32", op="avg"), TWO)


def test_one_rank_cannot_do_point_to_point():
    with pytest.raises(PlanError, match="p2p needs 2 ranks"):
        sweep_cases("x", Request("p2p", 8, 8), ((0,),))


def test_what_does_not_fit_is_refused_by_name_with_both_figures():
    cases = sweep_cases("x", Request("all_gather", 1 << 20, 1 << 34, 1 << 7), TWO)
    plan = fit([Phase("x", "x", tuple(cases))], "gloo", Memory(1 << 30, "n0, 2 ranks"))
    refused = [row.case for row in plan.refused]
    assert refused == [cases[-1].id]
    assert plan.refused[0].needed > plan.refused[0].available == 1 << 30
    assert [case.id for case in plan.cases] == [case.id for case in cases[:-1]]


def test_a_case_that_needs_all_that_is_there_is_measured_and_one_byte_more_is_refused_by_name():
    (case,) = sweep_cases("x", Request("all_reduce", 8, 8), TWO)
    phases = [Phase("x", "x", (case,))]
    all_of_it = fit(phases, "gloo", Memory(needed(case, "gloo"), "n0"))
    one_less = fit(phases, "gloo", Memory(needed(case, "gloo") - 1, "n0"))
    assert ([each.id for each in all_of_it.cases], all_of_it.refused) == ([case.id], ())
    assert (one_less.cases, [each.case for each in one_less.refused]) == ((), [case.id])


def test_nothing_fits_into_unknown_memory():
    cases = sweep_cases("x", Request("all_reduce", 8, 8), TWO)
    plan = fit([Phase("x", "x", tuple(cases))], "nccl", Memory(0, "no GPU"))
    assert not plan.cases
    assert plan.refused


@pytest.mark.parametrize("name", COLLECTIVES)
def test_bytes_needed_cover_the_buffers_of_every_rank(name):
    row = COLLECTIVES[name]
    for n in (2, 3, 8):
        group = (tuple(range(n)),)
        for case in sweep_cases("x", Request(name, 1 << 16, 1 << 26, 1 << 10), group):
            for rank in range(n):
                sides = (row.sent(rank, n, 0) + row.received(rank, n, 0)) * case.count * 4
                if case.placement == "in":
                    sides = max(row.sent(rank, n, 0), row.received(rank, n, 0)) * case.count * 4
                assert needed(case, "nccl") >= rotation(case) * sides


def test_small_messages_rotate_through_more_than_a_cache_and_large_ones_do_not():
    small, large = sweep_cases("x", Request("all_reduce", 1 << 10, 1 << 30, 1 << 20), TWO)
    assert rotation(small) == MOST_BUFFERS
    assert rotation(large) == 1
    middle = replace(small, size=ROTATED // 4, count=ROTATED // 16)
    assert rotation(middle) == 4


def test_ranks_are_grouped_by_node_in_order():
    assert by_node(runs.ranks(3, 2)) == ((0, 1), (2, 3), (4, 5))


def test_what_is_left_out_of_a_plan_is_said_with_the_reason():
    _, skipped = acceptance(Job(load("local"), runs.ranks(1, 1), "gloo"), 1.0)
    assert {name for name, _ in skipped} == {
        *("evidence", "copies", "pairs", "links", "rails", "screen", "cross", "pinned", "steady", "nodes"),
        *("inside", "graphs", "registered", "ring"),
    }
    assert all(reason for _, reason in skipped)


def test_a_step_that_makes_millions_of_sizes_is_refused_at_once():
    with pytest.raises(PlanError, match="more than 10000 sizes"):
        sweep_cases("x", Request("all_reduce", 1024, 1 << 30, step=1), TWO)


def test_a_root_that_is_no_rank_is_refused():
    with pytest.raises(PlanError, match="root 5 does not exist: the ranks of this job are 0 to 1"):
        sweep_cases("x", Request("broadcast", 1024, 1024, root=5), TWO)


def test_what_is_measured_only_on_request_is_told_with_its_option():
    assert AcceptOptions().by_name == {}
    asked = AcceptOptions(ways="one-way", cross=True, pinned=True).by_name
    assert sorted(asked.values()) == ["--cross-rail", "--one-way", "--pinned"]
    assert [*AcceptOptions(all_pairs=True).by_name.values()] == ["--all-pairs"]
