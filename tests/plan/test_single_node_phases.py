"""Phases of GPUs: what is planned, and what is left out with a reason."""

import pytest

import runs
from bench.model.collectives import COPIES
from bench.model.profile import parse
from bench.plan import Job, PlanError, Request, job_groups
from bench.plan.single_node_phases import copies, graphs, links, registered
from bench.store import Phase

NODE = runs.ranks(1, 4)
TEXT = runs.LOCAL.text
ASKING = parse(TEXT.replace('budget = "600 ms"', 'budget = "600 ms"\ngraphs = "64K"\nregistered = true'), "x")


def test_every_gpu_copies_by_itself_and_all_at_once():
    phase = copies(Job(runs.LOCAL, NODE, "nccl"))
    assert {case.collective for case in phase.cases} == set(COPIES)
    assert {case.groups for case in phase.cases} == {((0,), (1,), (2,), (3,))}


@pytest.mark.parametrize("make", [copies, links, graphs, registered])
def test_without_gpus_each_is_left_out_with_a_reason(make):
    name, reason = make(Job(ASKING, NODE, "gloo"))
    assert name and reason


@pytest.mark.parametrize("make", [graphs, registered])
def test_what_the_profile_does_not_ask_for_is_left_out(make):
    assert make(Job(runs.LOCAL, NODE, "nccl"))[1] == "the profile asks for none"


def test_one_gpu_has_no_links_and_two_nodes_have_another_phase():
    assert "no link" in links(Job(runs.LOCAL, runs.ranks(1, 1), "nccl"))[1]
    assert "inside" in links(Job(runs.LOCAL, runs.ranks(2, 4), "nccl"))[1]


def test_small_messages_are_replayed_up_to_the_profiles_size():
    phase = graphs(Job(ASKING, NODE, "nccl"))
    assert isinstance(phase, Phase)
    assert max(case.size for case in phase.cases) <= 64 << 10
    assert {case.algorithm for case in phase.cases} == {"graph"}


def test_one_rank_has_nothing_to_replay():
    assert "one rank" in graphs(Job(ASKING, runs.ranks(1, 1), "nccl"))[1]


def test_the_largest_message_is_registered():
    phase = registered(Job(ASKING, NODE, "nccl"))
    assert {(case.size, case.algorithm) for case in phase.cases} == {(ASKING.sweep.end, "registered")}


def test_what_only_nccl_can_do_is_refused_without_it():
    with pytest.raises(PlanError, match="need NCCL"):
        job_groups(Request("all_reduce", 8, 8, algorithm="graph"), NODE, "gloo")


def test_a_copy_is_each_ranks_own_and_a_collective_everybodys():
    assert job_groups(Request("copy_device", 8, 8), NODE, "gloo") == ((0,), (1,), (2,), (3,))
    assert job_groups(Request("all_reduce", 8, 8), NODE, "gloo") == ((0, 1, 2, 3),)
