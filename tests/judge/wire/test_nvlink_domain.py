"""An NVLink domain over several nodes: its collectives have NVLink's ceilings, its rails are measured without it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.judge.evidence import Evidence
from bench.judge.wire.group_shape import Unplaced, shape_of
from bench.model.bounds import ClusterShape
from bench.model.facts import Node, NvlinkFabric
from bench.model.measurement import Case
from bench.model.profile import ProfileError, load, parse
from bench.plan import AcceptOptions, Job, acceptance
from bench.plan.rails import off_nvlink
from made_nodes import judged_by, node, seen
from runs import ranks

NVL72 = load("gb200-nvl72")
RACK = "0011223344556677"


def tray(number: int, cluster: str = RACK, cliques: tuple[int, ...] = (7, 7, 7, 7)) -> Node:
    plain = node(number)
    gpus = zip(plain.gpus, cliques, strict=False)
    return replace(
        plain, gpus=tuple(replace(gpu, fabric=NvlinkFabric("completed", 0, cluster, at)) for gpu, at in gpus)
    )


def evidence(*nodes: Node) -> Evidence:
    return judged_by(seen(nodes, each=4), NVL72)


def case(count: int, rail: str = "") -> Case:
    return replace(
        Case("c", "collectives", "all_reduce", 1 << 30, 1 << 29, (tuple(range(count)),)), rail=rail
    )


def test_nodes_of_one_domain_are_one_fabric_of_nvlink():
    assert shape_of(case(8), range(8), evidence(tray(0), tray(1))) == ClusterShape(
        1, 8, 1, float("inf"), 900e9
    )


def test_what_is_measured_on_rails_crosses_the_rails():
    assert shape_of(case(8, "own"), range(8), evidence(tray(0), tray(1))) == ClusterShape(
        2, 4, 4, 50e9, 900e9
    )


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (tray(1, "ff"), "2 NVLink domains"),
        (tray(1, "", (0, 0, 0, 0)), "the NVLink domain of n1 is not known"),
        (tray(1, RACK, (7, 7, 8, 8)), "the NVLink domain of n1 is not known"),
        (node(1), "the NVLink domain of n1 is not known"),
    ],
)
def test_nodes_that_are_not_known_to_share_a_domain_have_no_bound(other, words):
    with pytest.raises(Unplaced, match=words):
        shape_of(case(8), range(8), evidence(tray(0), other))


def test_a_machine_whose_nvlink_ends_at_the_node_is_as_before():
    both = seen([tray(0), tray(1)], each=4)
    assert shape_of(case(8), range(8), both).nodes == 2


def test_phases_on_rails_run_without_nvlink_between_nodes_and_no_others():
    job = Job(NVL72, ranks(2, 4), "nccl", AcceptOptions(cross=True))
    phases, _ = acceptance(job, 1.0)
    off = {phase.name for phase in phases if phase.environment.get("NCCL_MNNVL_ENABLE") == "0"}
    assert off == {phase.name for phase in phases if any(case.rail for case in phase.cases)}
    assert {"rails", "cross", "steady"} <= off and not {"collectives", "ring", "inside"} & off
    hgx = replace(NVL72, nvlink_nodes=1)
    assert all(off_nvlink(phase, hgx) is phase for phase in phases)


def test_a_floor_inside_the_domain_is_held_against_nvlink_and_outside_against_the_rails():
    text = NVL72.text.replace("nvlink_nodes = 18", "nvlink_nodes = 1")
    with pytest.raises(ProfileError, match="800 GB/s' is 400.0 % of the rails"):
        parse(text, "x.toml")
