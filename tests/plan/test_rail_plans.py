"""Plans that measure rails: one way, across, pinned, in rings; and what is cut when time is short."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runs
from bench.model.profile import load
from bench.nccl.selector import Device, select
from bench.nccl.version import NEWEST
from bench.plan import CUTS, AcceptOptions, Job, PlanError, acceptance, fit_to_budget, pair_cases, step_phase
from bench.plan.budget import AFTER, total
from bench.plan.rails import own_rails
from bench.plan.screening import groups
from bench.store import Phase

H100 = load("lambda-1cc-h100")
RUNPOD = load("runpod-instant-cluster")
DEVICES = tuple(f"mlx5_{at}/1" for at in range(1, 9))


def phases(nodes: int = 4, backend: str = "nccl", each: int = 8, profile=H100, **asked) -> dict[str, Phase]:
    made, _ = acceptance(
        Job(profile, runs.ranks(nodes, each), backend, AcceptOptions(**asked), DEVICES[:each]), 1.0
    )
    return {phase.name: phase for phase in made}


def left(nodes: int = 4, backend: str = "nccl", each: int = 8, devices=DEVICES, profile=H100, **asked):
    return dict(
        acceptance(Job(profile, runs.ranks(nodes, each), backend, AcceptOptions(**asked), devices), 1.0)[1]
    )


def test_one_way_measures_each_direction_by_itself_and_not_both_at_once():
    plain, one_way = phases()["rails"], phases(ways="one-way")["rails"]
    assert {case.collective for case in plain.cases} == {"p2p", "p2p_bidirectional"}
    assert {case.collective for case in one_way.cases} == {"p2p"}
    assert len(one_way.cases) * 3 == len(plain.cases) * 2
    assert {case.id for case in one_way.cases} < {case.id for case in plain.cases}


@pytest.mark.parametrize(
    ("backend", "kind", "rail"),
    [("nccl", "infiniband", "own"), ("gloo", "socket", "own"), ("gloo", "infiniband", "")],
)
def test_rings_of_nodes_are_bound_to_the_rails_wherever_a_rank_can_be_bound_to_one(backend, kind, rail):
    devices = ("eth1", "eth2") if kind == "socket" else ("mlx5_1", "mlx5_2")
    profile = replace(H100, rails=replace(H100.rails, kind=kind, count=2, devices=devices))
    job = Job(profile, runs.ranks(4, 2), backend, AcceptOptions(), devices)
    assert {case.rail for case in step_phase(job, 1, (("n0", "n1"), ("n2", "n3"))).cases} == {rail}


@pytest.mark.parametrize("nodes", [2, 3, 4, 5, 8])
def test_the_cross_rail_pass_gives_every_node_two_partners_and_every_rail_each_other_rail(nodes):
    phase, where = phases(nodes, each=3, cross=True)["cross"], runs.ranks(nodes, 3)
    seen = Counter()
    for case in phase.cases:
        busy = [rank for group in case.groups for rank in group]
        assert len(busy) == len(set(busy))
        for a, b in case.groups:
            assert where[a].node != where[b].node
            assert where[a].local_rank != where[b].local_rank
            seen[where[a].node, where[a].local_rank, where[b].node, where[b].local_rank] += 1
    assert set(seen.values()) == {1}
    for node in {rank.node for rank in where}:
        partners = {b for a, _, b, _ in seen if a == node}
        assert len(partners) >= min(2, nodes - 1)
        for partner in partners:
            rails = {(i, j) for a, i, b, j in seen if (a, b) == (node, partner)}
            assert rails == {(i, j) for i in range(3) for j in range(3) if i != j}


def test_the_cross_rail_pass_is_measured_on_demand_only():
    assert "cross" not in phases()
    assert "--cross-rail" in left()["cross"]
    assert "one rank a node" in left(each=1, cross=True)["cross"]


def test_the_whole_environment_of_each_phase():
    """Across the rails NCCL would send by the receiver's rail at both ends: by PXN, and with NCCL_CROSS_NIC=0."""
    logged = {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "NET,ENV"}
    evidence = {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "INIT,BOOTSTRAP,ENV,NET,GRAPH,TUNING"}
    found = {name: phase.environment for name, phase in phases(2, each=3, cross=True, pinned=True).items()}
    wanted = {
        "evidence": evidence,
        "ring": {"NCCL_ALGO": "Ring"},
        "cross": {"NCCL_PXN_DISABLE": "1", "NCCL_CROSS_NIC": "2", **logged},
        **{f"pinned-{at}": {"NCCL_IB_HCA": f"=mlx5_{at + 1}:1", **logged} for at in range(3)},
    }
    assert {name: environment for name, environment in found.items() if environment} == wanted
    assert {"rails", "steady", "inside", "collectives"} <= found.keys()
    assert own_rails("gloo") == {}


def test_a_pinned_pass_has_a_worker_of_its_own_for_each_rail_that_takes_exactly_this_one():
    found = [phase for name, phase in phases(3).items() if name.startswith("pinned")]
    devices = [Device(f"mlx5_{at}", 1, True, "InfiniBand") for at in range(12)]
    assert len(found) == 8
    for number, phase in enumerate(found):
        spec = phase.environment["NCCL_IB_HCA"]
        assert spec == f"=mlx5_{number + 1}:1"
        taken = [each.name for each in select(spec, devices, NEWEST) if each.taken]
        assert taken == [f"mlx5_{number + 1}"]
        assert phase.environment["NCCL_DEBUG"] == "INFO"
        ranks = {rank for case in phase.cases for group in case.groups for rank in group}
        assert ranks == {8 * node + number for node in range(3)}
        assert {case.rail for case in phase.cases} == {DEVICES[number]}


def test_a_rail_is_measured_alone_by_the_ranks_next_to_it():
    """Two rails a GPU: rail k is not GPU k's."""
    rails = {f"mlx5_{at}/1": at // 2 for at in range(16)}
    made, _ = acceptance(
        Job(load("oci-h100"), runs.ranks(2, 8), "nccl", AcceptOptions(), tuple(rails), tuple(rails.values())),
        1.0,
    )
    found = {phase.cases[0].rail: phase for phase in made if phase.name.startswith("pinned")}
    assert list(found) == list(rails)
    for rail, phase in found.items():
        ranks = {rank % 8 for case in phase.cases for group in case.groups for rank in group}
        assert ranks == {rails[rail]}


def test_a_pinned_pass_without_the_equals_sign_would_take_more_than_its_rail():
    devices = [Device(f"mlx5_{at}", 1, True, "InfiniBand") for at in range(12)]
    taken = [each.name for each in select("mlx5_1", devices, NEWEST) if each.taken]
    assert taken == ["mlx5_1", "mlx5_10", "mlx5_11"]


def test_sockets_are_pinned_by_the_name_of_the_interface():
    made, _ = acceptance(Job(RUNPOD, runs.ranks(2, 2), "nccl", AcceptOptions(), ("eth1", "eth2")), 1.0)
    assert [p.environment.get("NCCL_SOCKET_IFNAME") for p in made if p.name.startswith("pinned")] == [
        "=eth1",
        "=eth2",
    ]
    made, _ = acceptance(
        Job(RUNPOD, runs.ranks(2, 2), "gloo", AcceptOptions(pinned=True), ("eth1", "eth2")), 1.0
    )
    assert [p.environment for p in made if p.name.startswith("pinned")] == [
        {"GLOO_SOCKET_IFNAME": "eth1"},
        {"GLOO_SOCKET_IFNAME": "eth2"},
    ]


def test_what_cannot_be_pinned_is_left_out_with_the_reason():
    assert "no names in common" in left(devices=())["pinned"]
    assert "gloo uses no RDMA" in left(backend="gloo", pinned=True)["pinned"]
    assert "--pinned" in left(backend="gloo")["pinned"]
    assert "one node" in left(nodes=1)["pinned"]


def test_every_gpu_meets_every_other_of_its_node_inside():
    phase, where = phases(2)["inside"], runs.ranks(2, 8)
    seen = {frozenset(group) for case in phase.cases for group in case.groups}
    for node in ("n0", "n1"):
        own = [rank.rank for rank in where if rank.node == node]
        assert {frozenset(pair) for pair in combinations(own, 2)} <= seen
    assert len(seen) == 2 * 28
    assert {case.rail for case in phase.cases} == {""}


def test_a_screening_step_sends_all_rails_of_a_ring_around_it_several_times():
    job = Job(H100, runs.ranks(9, 2), "nccl", accept=AcceptOptions(screened="screening"))
    first = step_phase(job, 1, groups([f"n{at}" for at in range(9)]))
    assert {case.collective for case in first.cases} == {"p2p_ring"}
    assert len(first.cases) == len({case.id for case in first.cases}) == 5
    rings = first.cases[0].groups
    assert len(rings) == 3 * 2
    assert sorted(rank for ring in rings for rank in ring) == list(range(18))
    assert {len({job.ranks[rank].local_rank for rank in ring}) for ring in rings} == {1}


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────


def job(nodes: int = 16, profile=H100) -> Job:
    return Job(profile, runs.ranks(nodes, 8), "nccl", devices=DEVICES)


def test_a_budget_that_holds_everything_cuts_nothing():
    fitted = fit_to_budget(job(), 3600.0, H100.sweep.budget)
    assert fitted.given_up == ()
    assert "16 nodes" not in fitted.text
    assert fitted.job.accept.ways == "all"


def test_what_is_given_up_is_given_up_in_the_stated_order_and_said():
    order = [cut.text for cut in CUTS]
    for budget in (600.0, 300.0, 150.0, 90.0, 60.0):
        fitted = fit_to_budget(job(), budget, H100.sweep.budget)
        assert fitted.seconds <= budget
        assert sorted(fitted.given_up, key=order.index) == list(fitted.given_up)
        assert [text for name, text in fitted.left_out if name == "given up"] == list(fitted.given_up)


def test_a_smaller_budget_never_gives_up_less():
    before: set[str] = set()
    for budget in (3600, 900, 600, 400, 300, 200, 150, 100, 80, 60):
        now = set(fit_to_budget(job(), float(budget), H100.sweep.budget).given_up)
        assert before <= now
        before = now


def test_a_budget_too_small_for_anything_is_refused_with_the_least_that_is_needed():
    with pytest.raises(
        PlanError, match=r"is too short: the smallest run .* needs .* give --budget ([0-9]+)s or more"
    ) as error:
        fit_to_budget(job(), 10.0, H100.sweep.budget)
    least = float(str(error.value).rpartition("--budget ")[2].partition("s")[0])
    assert fit_to_budget(job(), least, H100.sweep.budget).seconds <= least
    with pytest.raises(PlanError, match="the smallest run"):
        fit_to_budget(Job(load("local"), runs.ranks(1, 2), "gloo"), 1.0, 0.6)


def test_what_was_spent_before_the_plan_is_counted_and_said():
    fresh, late = (fit_to_budget(job(), 1200.0, H100.sweep.budget, spent) for spent in (3.0, 700.0))
    assert fresh.given_up == () and "start-up and probing" not in fresh.text
    usual, slow = (fit_to_budget(job(), 1200.0, H100.sweep.budget, spent) for spent in (10.0, 11.0))
    assert "start-up and probing" not in usual.text and "took 11 s" in slow.text
    assert late.given_up and late.seconds <= 1200.0
    assert "of which start-up and probing took 11 min 40 s" in late.text
    assert late.seconds >= 700.0 + AFTER + sum(phase.seconds for phase in planned(late))
    with pytest.raises(PlanError, match="9 min 50 s of start-up and probing included"):
        fit_to_budget(job(), 600.0, H100.sweep.budget, 590.0)


def test_without_sizes_for_pairs_4_mib_are_sent():
    plain = replace(H100, sweep=replace(H100.sweep, pair_sizes=()))
    assert {case.size for case in pair_cases("rails", "round-0", ((0, 8),), plain, "nccl")} == {4 << 20}


def planned(fitted):
    at = fitted.job
    return acceptance(at, H100.sweep.budget)[0]


def test_perftest_has_its_time_in_the_plan_and_gives_way_before_anything_is_given_up():
    with_verbs = replace(job(), verbs=56.0)
    whole = total(job(), H100.sweep.budget)
    assert total(with_verbs, H100.sweep.budget) >= whole + 56.0
    roomy, tight = (fit_to_budget(with_verbs, whole + more, H100.sweep.budget) for more in (60.0, 30.0))
    assert (roomy.verbs, roomy.given_up) == (True, ()) and "perftest" not in roomy.text
    assert (tight.verbs, tight.given_up) == (False, ())
    assert "perftest runs only if time is left" in tight.text


def test_a_screened_plan_says_that_bad_links_between_good_nodes_are_not_found():
    fitted = fit_to_budget(job(64), 100.0, H100.sweep.budget)
    assert fitted.job.accept.screened
    assert "512 of 512 ports" in fitted.text
    assert "a bad link between two good nodes is not found" in fitted.text


def test_all_pairs_of_64_nodes_are_planned_in_twenty_minutes():
    rails = phases(64)["rails"]
    assert len(rails.cases) == 3 * 63
    assert rails.seconds <= 20 * 60
    assert total(job(64), H100.sweep.budget) <= 20 * 60


@settings(max_examples=15)
@given(st.integers(1, 12), st.floats(1.0, 2000.0))
def test_a_bargain_holds_its_budget_or_is_refused(nodes, budget):
    try:
        fitted = fit_to_budget(
            Job(H100, runs.ranks(nodes, 2), "nccl", devices=DEVICES[:2]), budget, H100.sweep.budget
        )
    except PlanError as error:
        assert "the smallest run" in str(error)
        return
    made, _ = acceptance(
        Job(fitted.job.profile, fitted.job.ranks, "nccl", fitted.job.accept, DEVICES[:2]),
        H100.sweep.budget,
    )
    assert made
    assert sum(phase.seconds for phase in made) <= fitted.seconds <= budget
