"""The plan of a night: the cases that matter, inside its budget, and what was given up is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.model.measurement import Rank
from bench.model.profile import load
from bench.plan import Job, PlanError
from bench.plan.budget import AFTER, AROUND, COUNTERS
from bench.plan.nightly import NIGHT, RESERVE, short, summary
from bench.store import Plan
from tests import runs

H100 = load("lambda-1cc-h100")
CASE = 4.0


def cluster(nodes: int, gpus: int = 8) -> tuple[Rank, ...]:
    return tuple(Rank(at, f"n{at // gpus:02d}", at % gpus) for at in range(nodes * gpus))


def planned(nodes: int, budget: float, profile=H100, gpus: int = 8):
    return short(Job(profile, cluster(nodes, gpus), "nccl"), budget, CASE)


@pytest.mark.parametrize("nodes", [2, 8, 64])
def test_ten_minutes_hold_what_a_cluster_is_sold_for(nodes):
    phases, skipped = planned(nodes, 600.0)
    seen = {phase.name: phase for phase in phases}
    assert sum(phase.seconds + COUNTERS for phase in phases) + AROUND <= 600 * (1 - RESERVE)
    # the gated size of every collective with a bound, the forced Ring, and each rail in rails or in rings
    largest = {case.collective for case in seen["collectives"].cases if case.size >= 4 << 30}
    assert largest >= {"all_reduce", "all_gather", "reduce_scatter"}
    assert {case.collective for case in seen["ring"].cases} == {"all_reduce", "all_gather"}
    assert "rails" in seen or "screen-1" in seen
    assert "evidence" in seen
    assert all(text for _, text in skipped)


def test_a_small_cluster_with_time_gives_nothing_up_but_what_is_for_acceptance():
    phases, skipped = planned(2, 1800.0)
    assert not [text for name, text in skipped if name == NIGHT]
    (collectives,) = [phase for phase in phases if phase.name == "collectives"]
    sizes = {}
    for case in collectives.cases:
        sizes.setdefault(case.collective, []).append(case.size)
    assert {len(each) for each in sizes.values()} == {3}
    assert len({case.placement for case in collectives.cases if case.collective == "all_reduce"}) == 1


def test_less_time_gives_up_more_and_says_so():
    last = -1
    for budget in (1800.0, 600.0, 400.0, 300.0, 200.0):
        _, skipped = planned(16, budget)
        given_up = [text for name, text in skipped if name == NIGHT]
        assert len(given_up) >= last
        last = len(given_up)
    assert last > 3


def test_no_time_is_refused_with_the_least_that_is_needed():
    with pytest.raises(
        PlanError,
        match=r"--budget .* is too short for a night: the shortest needs .*; give --budget \d+s or more",
    ) as caught:
        planned(2, 5.0)
    least = float(str(caught.value).rpartition("--budget ")[2].split("s")[0])
    phases, _ = planned(2, least)
    assert phases


def test_what_is_measured_is_said_beforehand():
    phases, skipped = planned(2, 200.0)
    said = summary(Plan(tuple(phases), (), tuple(skipped)), 200.0)
    assert said.startswith("tonight ")
    assert "all_reduce" in said and "8 GiB" in said
    assert "given up for the budget: point-to-point between neighbours" in said


@settings(max_examples=40)
@example(nodes=1, gpus=1, budget=40.0)
@given(nodes=st.integers(1, 20), gpus=st.sampled_from([1, 2, 8]), budget=st.floats(1, 3000))
def test_a_plan_never_costs_more_than_its_budget(nodes, gpus, budget):
    profile = replace(runs.LOCAL, sweep=replace(runs.LOCAL.sweep, budget=1.0))
    try:
        phases, _ = short(Job(profile, cluster(nodes, gpus), "gloo"), budget, 1.0)
    except PlanError:
        return
    assert phases
    around = AROUND - AFTER + min(AFTER, 3 + nodes)  # fewer nodes are judged and drawn sooner
    assert sum(phase.seconds + COUNTERS for phase in phases) + around <= budget * (1 - RESERVE)
    names = [case.id for phase in phases for case in phase.cases]
    assert len(set(names)) == len(names)
