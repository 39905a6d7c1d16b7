"""What an acceptance run would measure, before there is a cluster."""

from dataclasses import replace

import pytest

from bench.model.measurement import Rank
from bench.model.profile import load
from bench.plan import AcceptOptions, Job, PlanError, acceptance
from bench.plan.budget import total
from bench.plan.estimate import estimate
from bench.plan.memory import NCCL_RESERVE
from bench.plan.phases import start_seconds

H100 = load("lambda-1cc-h100")


def test_it_is_the_plan_of_the_run_itself():
    found = estimate(H100, 4, 8, AcceptOptions())
    ranks = tuple(Rank(at, f"n{at // 8}", at % 8) for at in range(32))
    job = Job(H100, ranks, "nccl", AcceptOptions(), tuple("abcdefgh"), tuple(range(8)))
    phases, left_out = acceptance(job, H100.sweep.budget)
    assert [(each.name, each.cases, each.seconds) for each in found.phases] == [
        (phase.name, len(phase.cases), phase.seconds) for phase in phases
    ]
    assert found.left_out == tuple(left_out)
    assert found.seconds == total(job, H100.sweep.budget) > sum(each.seconds for each in found.phases)


def test_bytes_are_those_of_all_rails_and_none_stay_inside():
    phases = {each.name: each for each in estimate(H100, 2, 8, AcceptOptions(ways="both", cross=True)).phases}
    assert phases["nodes"].wire_bytes == phases["inside"].wire_bytes == phases["copies"].wire_bytes == 0
    rate = H100.rails.target.value
    assert phases["ring"].wire_bytes == phases["ring"].cases * H100.sweep.budget * rate
    # a rail is measured alone for half a second: an eighth of what the node can send
    assert phases["pinned-0"].wire_bytes == 0.5 * rate / 8


def test_memory_is_that_of_the_largest_case_and_of_nccl():
    phases = {each.name: each for each in estimate(H100, 2, 8, AcceptOptions()).phases}
    assert phases["collectives"].memory > H100.sweep.end + NCCL_RESERVE
    assert phases["pairs"].memory < phases["collectives"].memory


@pytest.mark.parametrize(("nodes", "seconds"), [(2, 4.32), (64, 14.0), (128, 14.0), (1250, 31.6)])
def test_workers_are_given_longer_to_meet_where_they_are_many(nodes, seconds):
    """20 ms a rank, at most 10 s, and past that what NCCL was published to take for 96 000."""
    ranks = tuple(Rank(at, f"n{at // 8}", at % 8) for at in range(8 * nodes))
    job = Job(H100, ranks, "nccl", AcceptOptions())
    assert start_seconds(job) == pytest.approx(seconds, abs=0.01)


def test_a_budget_cuts_and_lists_what_it_cuts():
    whole, cut = (estimate(H100, 64, 8, AcceptOptions(budget=limit)) for limit in (None, 600.0))
    assert cut.seconds <= 600 < whole.seconds
    assert [what for what, _ in cut.left_out][:2] == ["budget", "given up"]
    with pytest.raises(PlanError, match="--budget 5 s is too short"):
        estimate(H100, 64, 8, AcceptOptions(budget=5.0))


@pytest.mark.parametrize("phase", ["pinned", "pairs"])
def test_what_is_cut_for_want_of_time_is_said_to_be(phase):
    """Of a phase that the profile asks for, nothing else is the reason."""
    left_out = dict(estimate(H100, 64, 8, AcceptOptions(budget=180.0)).left_out)
    assert left_out[phase] == "left out, as the time is too short"
    assert "given up" not in left_out["budget"] and len(left_out["budget"]) < 300


def test_nodes_that_the_profile_does_not_allow_are_refused():
    profile = load("local")
    with pytest.raises(PlanError, match="profile lambda-1cc-h100 is for 2 to 64 nodes, not for 65"):
        estimate(H100, 65, 8, AcceptOptions())
    with pytest.raises(PlanError, match="profile single is for 1 node, not for 2"):
        estimate(replace(profile, name="single", nodes=(1, 1)), 2, 2, AcceptOptions())
    assert estimate(profile, 1, 2, AcceptOptions()).backend == "gloo"
