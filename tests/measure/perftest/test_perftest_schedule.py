"""Who meets whom, on which rails, and whose memory is written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import made_nodes
from bench.measure.perftest.schedule import (
    BACK,
    THERE,
    expected_ports,
    gpu_access,
    legs,
    matched,
    meetings,
    why_left,
)
from bench.model.profile import Verbs, load
from bench.model.run_folder_lines import PerftestTool

LAMBDA = load("lambda-1cc-h100")
CUDA = ("bind_source_ip", "use_cuda", "use_cuda_bus_id", "use_cuda_dmabuf")


def tools(*nodes, knows=CUDA):
    return {node.name: PerftestTool(node.name, "6.24", knows) for node in nodes}


def made(gpus=True, knows=CUDA, way=THERE, nodes=None):
    one, other = nodes or made_nodes.nodes(2)
    named = {one.name: one, other.name: other}
    return legs(0, way, ((one.name, other.name),), named, tools(one, other, knows=knows), LAMBDA, gpus)


@given(st.integers(min_value=2, max_value=40))
def test_everybody_meets_two_partners_and_nobody_two_at_once(count):
    names = [f"n{i}" for i in range(count)]
    met: dict[str, set[str]] = {name: set() for name in names}
    for turn in meetings(names):
        busy = [name for pair in turn for name in pair]
        assert len(busy) == len(set(busy))
        for one, other in turn:
            met[one].add(other)
            met[other].add(one)
    assert min(len(partners) for partners in met.values()) >= min(2, count - 1)
    assert len(meetings(names)) <= 3


@pytest.mark.parametrize("names", [[], ["n0"]])
def test_one_node_has_nobody_to_meet(names):
    assert meetings(names) == ()


def test_the_excluded_adapter_is_never_measured():
    assert {leg.sender.hca for leg in made()} == {f"mlx5_{i}" for i in range(1, 9)}


def test_back_turns_sender_and_receiver():
    there, back = made(), made(way=BACK)
    assert [(leg.sender, leg.receiver) for leg in back] == [(leg.receiver, leg.sender) for leg in there]
    assert len({leg.key for leg in there}) == 8


def test_each_rail_writes_the_memory_of_its_own_gpu():
    addresses = {leg.sender.hca: leg.sender.gpu_address for leg in made()}
    gpus = {f"mlx5_{gpu.index + 1}": gpu.pci.address for gpu in made_nodes.node().gpus}
    assert addresses == gpus


@pytest.mark.parametrize("change", ["no gpus in the run", "no cuda in perftest", "one side cannot"])
def test_both_sides_use_host_memory_where_one_cannot_use_the_gpu(change):
    one, other = made_nodes.nodes(2)
    if change == "one side cannot":
        other = made_nodes.with_host(other, peermem=None)
    found = made(
        gpus=change != "no gpus in the run",
        knows=() if change == "no cuda in perftest" else CUDA,
        nodes=(one, other),
    )
    assert {side.gpu for leg in found for side in (leg.sender, leg.receiver)} == {""}


def test_gpu_memory_is_reached_by_peermem_or_dmabuf_or_not_at_all():
    node, tool = made_nodes.node(), PerftestTool("n0", "6.24", CUDA)
    assert gpu_access(node, tool) == "peermem"
    bare = made_nodes.with_host(node, peermem=None)
    assert gpu_access(bare, tool) == ""
    assert gpu_access(made_nodes.with_host(bare, nvidia_open=True), tool) == "dmabuf"
    assert (
        gpu_access(made_nodes.with_host(bare, nvidia_open=True), PerftestTool("n0", "6.0", ("use_cuda",)))
        == ""
    )


def test_a_port_that_is_down_is_still_wanted():
    node = made_nodes.with_port(made_nodes.node(), "mlx5_4", state="DOWN", rate=None)
    assert [port.hca for port in expected_ports(node, LAMBDA.rails)] == [f"mlx5_{i}" for i in range(1, 9)]


def test_ports_of_one_name_are_one_rail_and_the_rest_go_by_order():
    one, other = made_nodes.node().ports[1:4], made_nodes.node(1).ports[2:5]
    assert [(a.hca, b.hca) for a, b in matched(one, other)] == [
        ("mlx5_2", "mlx5_2"),
        ("mlx5_3", "mlx5_3"),
        ("mlx5_1", "mlx5_4"),
    ]


@pytest.mark.parametrize(
    ("profile", "count", "why"),
    [
        (replace(LAMBDA, verbs=Verbs("off")), 2, "turns it off"),
        (load("local"), 2, "speaks of no rails"),
        (load("runpod-instant-cluster"), 2, "no RDMA ports"),
        (LAMBDA, 1, "one node"),
        (LAMBDA, 2, ""),
    ],
)
def test_why_nothing_is_measured(profile, count, why):
    assert why in why_left(profile, made_nodes.nodes(count))
    assert bool(why) == bool(why_left(profile, made_nodes.nodes(count)))
