"""The names of GPUs and rails: by the workers' word and the PCI tree, against the order that the profile gives."""

from __future__ import annotations

from dataclasses import replace

import pytest

import runs
from bench.judge.rails_of_rank import own_by_rank, pins, rail_names
from bench.model.profile import load
from bench.model.rails import DeviceUse, in_order, own_rails, used_as
from bench.model.run_folder_lines import Joined, WorkerGpu
from bench.model.verdict import Status
from made_nodes import (
    LAMBDA,
    gpu,
    judged,
    node,
    nodes,
    oci,
    port,
    seen,
    status,
    way,
    with_gpu,
    with_port,
    worst_words,
)

OCI = load("oci-h100")
PAIRS = tuple(
    f"mlx5_{a}/1+mlx5_{b}/1"
    for a, b in ((0, 1), (3, 4), (5, 6), (7, 8), (9, 10), (12, 13), (14, 15), (16, 17))
)
TURNED = (1, 0, 2, 3, 4, 5, 6, 7)


def told(machines, gpus):
    """Evidence with each rank's GPU as its worker said it."""
    evidence = seen(machines)
    lines = (Joined("evidence", gpus={str(rank): WorkerGpu(**said) for rank, said in gpus.items()}),)
    return replace(evidence, run=replace(evidence.run, joined=lines))


def uuids(*order, nodes_=2):
    return {
        8 * at + local: {"uuid": f"GPU-{8 * at + gpu_}"}
        for at in range(nodes_)
        for local, gpu_ in enumerate(order)
    }


# ── which rails a GPU has ───────────────────────────────────────────────────────────────────────────────


def test_names_are_dealt_out_in_equal_shares_or_not_at_all():
    assert in_order("abcd", 2) == (("a", "b"), ("c", "d"))
    assert in_order("ab", 4) == (("a",), ("a",), ("b",), ("b",))
    assert in_order("abc", 2) == in_order("", 2) == ((), ())
    assert in_order("ab", 0) == ()


def test_sixteen_ports_of_eight_gpus_are_two_a_gpu():
    machines = [oci(at) for at in range(2)]
    assert rail_names(OCI, runs.ranks(2, 8), machines) == PAIRS
    # without facts the profile's order tells as much, and no local rank is called by another's port
    bare = rail_names(OCI, runs.ranks(2, 8))
    assert bare == tuple(name.replace("/1", "") for name in PAIRS)


def test_pairs_of_ports_behind_other_gpus_are_called_by_the_tree_and_not_by_the_profiles_order():
    machines = [oci(at, TURNED) for at in range(2)]
    assert rail_names(OCI, runs.ranks(2, 8), machines) == (PAIRS[1], PAIRS[0], *PAIRS[2:])


def test_a_profile_that_names_devices_is_not_believed_against_the_tree():
    want = replace(
        LAMBDA, rails=replace(LAMBDA.rails, devices=tuple(f"mlx5_{at}" for at in (2, 1, *range(3, 9))))
    )
    found = rail_names(want, runs.ranks(2, 8), nodes(2))
    assert found == tuple(f"mlx5_{at}/1" for at in range(1, 9))


def test_gpus_that_share_a_switch_share_its_adapters_in_order():
    """Two GPUs and two adapters behind each of four switches, numbered against each other."""
    gpus = tuple(gpu(at, pci=way(at // 2, at % 2)) for at in range(8))
    ports = tuple(port(at, pci=way((8 - at) // 2, 2 + at % 2)) for at in range(1, 9))
    machine = node(0, gpus=gpus, ports=ports)
    assert own_rails(machine, LAMBDA.rails) == tuple((f"mlx5_{at}/1",) for at in (7, 8, 5, 6, 3, 4, 1, 2))


def test_gpus_that_share_one_rail_have_names_of_their_own():
    want = replace(LAMBDA, rails=replace(LAMBDA.rails, count=4))
    ports = tuple(port(at, pci=way(2 * at - 2, 1)) for at in range(1, 5))
    gpus = tuple(gpu(at, pci=way(at // 2 * 2, at % 2 * 2)) for at in range(8))
    machines = [node(at, gpus=gpus, ports=ports) for at in range(2)]
    found = rail_names(want, runs.ranks(2, 8), machines)
    assert found[:3] == ("mlx5_1/1 (local rank 0)", "mlx5_1/1 (local rank 1)", "mlx5_2/1 (local rank 2)")
    assert len(set(found)) == 8


def test_a_rail_that_is_down_on_one_of_two_nodes_takes_no_name_away():
    lame = with_port(node(1), "mlx5_3", state="DOWN")
    assert rail_names(LAMBDA, runs.ranks(2, 8), [node(0), lame]) == tuple(
        f"mlx5_{at}/1" for at in range(1, 9)
    )


def test_a_rank_with_another_gpu_is_called_by_that_gpus_rail():
    where, turned = runs.ranks(2, 8), {rank: 7 - rank % 8 for rank in range(16)}
    assert rail_names(LAMBDA, where, nodes(2), turned) == tuple(f"mlx5_{8 - at}/1" for at in range(8))
    # on one node only: neither name holds for both
    half = turned | {rank: rank % 8 for rank in range(8)}
    assert rail_names(LAMBDA, where, nodes(2), half) == tuple(f"rail {at}" for at in range(8))
    unknown = dict.fromkeys(range(16))
    assert own_by_rank(LAMBDA, where, nodes(2), unknown) == ((),) * 8


def test_each_rail_is_measured_alone_by_the_gpu_next_to_it():
    machines = [oci(at) for at in range(2)]
    found = pins(OCI, runs.ranks(2, 8), machines)
    assert found["mlx5_0/1"] == found["mlx5_1/1"] == 0
    assert (found["mlx5_3/1"], found["mlx5_17/1"], len(found)) == (1, 7, 16)
    assert list(found.values()) == sorted(found.values())
    assert pins(LAMBDA, runs.ranks(2, 8), nodes(2)) == {f"mlx5_{at + 1}/1": at for at in range(8)}
    # rails that no rank is next to are measured all the same
    assert pins(LAMBDA, runs.ranks(2, 4), nodes(2)) == {f"mlx5_{at + 1}/1": at % 4 for at in range(8)}
    odd = with_port(node(1), "mlx5_3", state="DOWN")
    assert pins(LAMBDA, runs.ranks(2, 8), [node(0), odd]) == {}
    assert pins(LAMBDA, runs.ranks(2, 8), []) == {}


# ── rails.names ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_rails_of_gpus_that_the_facts_show_are_judged_also_where_the_profile_counts_none():
    assert status("rails.names", seen(nodes(2)), replace(LAMBDA, gpus=0)) is Status.PASS
    bare = [replace(each, gpus=()) for each in nodes(2)]
    assert status("rails.names", seen(bare), replace(LAMBDA, gpus=0)) is Status.NOT_APPLICABLE


def test_healthy_nodes_have_the_rails_of_their_place():
    assert status("rails.names", seen(nodes(2))) is Status.PASS
    assert status("rails.names", seen([oci(0), oci(1)]), OCI) is Status.PASS
    assert len(used_as(oci(0), OCI.rails, DeviceUse.RAIL)) == 16


def test_a_profiles_order_that_is_not_the_trees_is_said_with_what_was_expected_and_found():
    evidence = seen([oci(0, TURNED), oci(1, TURNED)])
    assert status("rails.names", evidence, OCI) is Status.INCONCLUSIVE
    words = worst_words("rails.names", evidence, OCI)
    found = "n0 GPU 0, n1 GPU 0: is next to mlx5_3/1, mlx5_4/1"
    assert f"{found}; by the order of the profile's devices it has mlx5_0/1+mlx5_1/1" in words
    assert "n0 GPU 1, n1 GPU 1: is next to mlx5_0/1, mlx5_1/1" in words


def test_a_node_whose_adapters_sit_elsewhere_is_named_against_the_others():
    odd = with_port(with_port(node(2), "mlx5_1", pci=way(1, 1)), "mlx5_2", pci=way(0, 1))
    evidence = seen([node(0), node(1), odd])
    assert status("rails.names", evidence) is Status.INCONCLUSIVE
    words = worst_words("rails.names", evidence)
    assert "n2 GPU 0: is next to mlx5_2/1, and GPU 0 of 2 other nodes has mlx5_1/1" in words
    assert "n0" not in words


def test_a_tree_that_does_not_tell_is_no_pass_and_a_rail_that_is_down_is_the_censuss():
    blind = [replace(each, gpus=tuple(replace(g, pci=None) for g in each.gpus)) for each in nodes(2)]
    assert status("rails.names", seen(blind)) is Status.NOT_APPLICABLE
    assert "the PCI trees do not show" in judged("rails.names", seen(blind))[0].measured
    lame = with_port(node(1), "mlx5_3", state="DOWN")
    assert status("rails.names", seen([node(0), lame])) is Status.PASS
    assert status("rails.names", seen([lame])) is Status.NOT_APPLICABLE
    assert "no node has all of its rails" in judged("rails.names", seen([lame]))[0].measured


@pytest.mark.parametrize(
    "name", ["lambda-1cc-b200", "hgx-h100-ndr", "local", "lambda-on-demand", "runpod-instant-cluster"]
)
def test_no_other_profile_fails_healthy_nodes_by_their_names(name):
    machines = nodes(2)
    if name == "hgx-h100-ndr":
        machines = tuple(replace(each, ports=each.ports[1:]) for each in machines)
    assert status("rails.names", seen(machines), load(name)) in (Status.PASS, Status.NOT_APPLICABLE)


@pytest.mark.parametrize("name", ["dgx-h100", "azure-nd-h100-v5"])
def test_profiles_with_names_pass_machines_whose_adapters_are_in_their_order(name):
    want = load(name)
    machines = [
        node(
            at,
            ports=tuple(
                port(1, at, hca=hca, pci=way(slot, 1)) for slot, hca in enumerate(want.rails.devices)
            ),
        )
        for at in range(2)
    ]
    assert status("rails.names", seen(machines), want) is Status.PASS
    assert rail_names(want, runs.ranks(2, 8), machines) == tuple(f"{hca}/1" for hca in want.rails.devices)
    # a virtual machine that hides the tree: called in order, and that is no fault
    hidden = [replace(each, gpus=tuple(replace(g, pci=None) for g in each.gpus)) for each in machines]
    assert rail_names(want, runs.ranks(2, 8), hidden) == tuple(f"{hca}/1" for hca in want.rails.devices)
    assert status("rails.names", seen(hidden), want) is Status.NOT_APPLICABLE


def test_gpus_whose_rails_cannot_be_dealt_out_evenly_do_not_pass():
    """Three GPUs and two ports behind one switch, the third port with the fourth GPU: whose are the two?"""
    want = replace(LAMBDA, gpus=4, rails=replace(LAMBDA.rails, count=3))
    gpus = tuple(gpu(at, pci=way(at // 3, at % 3)) for at in range(4))
    ports = tuple(port(at, pci=way(at // 3, 3 + at % 3)) for at in range(1, 4))
    found = judged("rails.names", seen([node(at, gpus=gpus, ports=ports) for at in range(2)]), want)
    assert {v.status for v in found} == {Status.INCONCLUSIVE}
    assert all("which of these are its own" in v.measured for v in found)


# ── gpus.placed ─────────────────────────────────────────────────────────────────────────────────────────


def test_workers_on_the_gpus_of_their_node_pass_permuted_or_not():
    for order in (range(8), range(7, -1, -1)):
        assert status("gpus.placed", told(nodes(2), uuids(*order))) is Status.PASS


def test_a_gpu_that_the_facts_do_not_know_is_named():
    evidence = told(nodes(2), uuids(*range(8)) | {11: {"uuid": "GPU-stranger"}})
    assert status("gpus.placed", evidence) is Status.INCONCLUSIVE
    assert "rank 11 (n1, local rank 3): its worker has GPU-stranger, which is none of the 8" in worst_words(
        "gpus.placed", evidence
    )


def test_a_rank_on_a_node_without_facts_does_not_pass():
    whole = told(nodes(2), uuids(*range(8)))
    half = replace(whole, run=replace(whole.run, facts=whole.run.facts[:1]))
    found = {v.subject: v.status for v in judged("gpus.placed", half)}
    assert set(found.values()) == {Status.INCONCLUSIVE} and all("n1" in subject for subject in found)
    assert "its node has no facts" in worst_words("gpus.placed", half)


def test_one_node_in_another_order_is_named():
    permuted = {16 + local: {"uuid": f"GPU-{16 + 7 - local}"} for local in range(8)}
    evidence = told(nodes(3), uuids(*range(8)) | permuted)
    assert status("gpus.placed", evidence) is Status.INCONCLUSIVE
    words = worst_words("gpus.placed", evidence)
    assert "rank 16 (n2, local rank 0): has GPU 7, and local rank 0 of 2 nodes has GPU 0" in words
    assert "(n0" not in words


def test_a_worker_that_does_not_say_is_could_not_tell_and_old_runs_are_left_alone():
    quiet = uuids(*range(8))
    del quiet[4]
    assert status("gpus.placed", told(nodes(2), quiet)) is Status.INCONCLUSIVE
    assert status("gpus.placed", seen(nodes(2))) is Status.NOT_APPLICABLE
    assert status("gpus.placed", seen(nodes(2), backend="gloo")) is Status.NOT_APPLICABLE


def test_facts_without_a_uuid_are_matched_by_the_bus_and_without_both_not_at_all():
    bare = [with_gpu(each, 2, uuid=None) for each in nodes(2)]
    by_bus = uuids(*range(8)) | {rank: {"uuid": f"GPU-{rank}", "pci": "0000:32"} for rank in (2, 10)}
    assert status("gpus.placed", told(bare, by_bus)) is Status.PASS
    blind = [with_gpu(each, 2, uuid=None, pci=None) for each in nodes(2)]
    assert status("gpus.placed", told(blind, by_bus)) is Status.INCONCLUSIVE
