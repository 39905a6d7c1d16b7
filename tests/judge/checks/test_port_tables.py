"""Partition keys, GIDs and earlier flaps of the rails; the NVLink fabric of the GPUs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.judge.verdicts import judge
from bench.model.facts import Gid, Node, NvlinkFabric
from bench.model.profile import load
from bench.model.verdict import Status
from made_nodes import judged, node, nodes, oci, seen, status, with_gpu, with_port, with_software, worst_words

OCI = load("oci-h100")
FULL, LIMITED, OTHER = 0xFFFF, 0x7FFF, 0x8001


def keyed(one: Node, *keys: int | None) -> Node:
    """The node with these tables of partition keys on its ports, the last for all further ones."""
    tables = [None if key is None else (key,) for key in keys]
    return replace(
        one, ports=tuple(replace(p, pkeys=tables[min(at, len(tables) - 1)]) for at, p in enumerate(one.ports))
    )


def test_one_partition_passes():
    assert status("rails.pkey", seen([keyed(node(at), FULL) for at in range(2)])) is Status.PASS


def test_a_port_of_another_partition_fails_and_is_named():
    evidence = seen([keyed(node(0), FULL, FULL, OTHER, FULL), keyed(node(1), FULL)])
    assert status("rails.pkey", evidence) is Status.FAIL
    assert "n0 mlx5_2/1: its partition key is 0x8001, not of partition 0x7fff" in worst_words(
        "rails.pkey", evidence
    )


def test_two_limited_members_do_not_reach_each_other():
    assert (
        status("rails.pkey", seen([keyed(node(at), FULL, LIMITED, FULL) for at in range(2)])) is Status.FAIL
    )
    assert (
        status("rails.pkey", seen([keyed(node(0), FULL, LIMITED, FULL), keyed(node(1), FULL)])) is Status.PASS
    )


def test_an_unset_or_unread_key_does_not_pass():
    assert status("rails.pkey", seen([keyed(node(0), 0), keyed(node(1), FULL)])) is Status.FAIL
    assert status("rails.pkey", seen([keyed(node(0), None), keyed(node(1), FULL)])) is Status.INCONCLUSIVE


def test_the_key_is_taken_at_the_index_that_nccl_is_told():
    machines = [replace(n, ports=tuple(replace(p, pkeys=(FULL, OTHER)) for p in n.ports)) for n in nodes(2)]
    told = seen(machines, environment={rank: {"NCCL_IB_PKEY": "2"} for rank in range(16)})
    assert status("rails.pkey", told) is Status.FAIL
    assert status("rails.pkey", seen(machines)) is Status.PASS


def test_roce_has_no_partitions():
    assert status("rails.pkey", seen([keyed(oci(0), FULL), oci(1)]), OCI) is Status.NOT_APPLICABLE


LOCAL = Gid(0, "fe80:0000:0000:0000:0a00:27ff:fe00:0001", "IB/RoCE v1", "rdma0")
LOCAL_V2 = replace(LOCAL, index=1, kind="RoCE v2")
V1 = Gid(2, "0000:0000:0000:0000:0000:ffff:0ae0:0001", "IB/RoCE v1", "rdma0")
V2 = replace(V1, index=3, kind="RoCE v2")


def roce(*gids: Gid, nccl: str = "2.21.5", **environment: str):
    machines = [
        with_software(replace(n, ports=tuple(replace(p, gids=gids) for p in n.ports)), torch_nccl=nccl)
        for n in (oci(0), oci(1))
    ]
    return seen(machines, environment=dict.fromkeys(range(16), environment))


@pytest.mark.parametrize(
    ("gids", "environment", "wanted"),
    [
        ((LOCAL, LOCAL_V2, V1, V2), {}, Status.PASS),
        ((LOCAL, LOCAL_V2), {}, Status.FAIL),
        ((LOCAL, LOCAL_V2, V1, V2), {"NCCL_IB_GID_INDEX": "3"}, Status.PASS),
        ((LOCAL, LOCAL_V2, V1, V2), {"NCCL_IB_GID_INDEX": "2"}, Status.FAIL),
        ((LOCAL, LOCAL_V2, V1, V2), {"NCCL_IB_GID_INDEX": "-1"}, Status.PASS),
        ((LOCAL, LOCAL_V2), {"NCCL_IB_GID_INDEX": "3"}, Status.FAIL),
        ((replace(V2, kind=None),), {}, Status.INCONCLUSIVE),
    ],
)
def test_a_roce_rail_needs_a_v2_gid_where_nccl_looks(gids, environment, wanted):
    assert status("rails.gid", roce(*gids, **environment), OCI) is wanted


def test_nccl_before_2_21_takes_index_0():
    old = roce(LOCAL, LOCAL_V2, V1, V2, nccl="2.20.5")
    assert "NCCL 2.20.5 takes index 0, IB/RoCE v1" in worst_words("rails.gid", old, OCI)


def test_unread_gids_do_not_pass_and_infiniband_has_none():
    half = seen([replace(oci(0), ports=tuple(replace(p, gids=(V2,)) for p in oci(0).ports)), oci(1)])
    assert status("rails.gid", half, OCI) is Status.INCONCLUSIVE
    assert status("rails.gid", seen([keyed(node(0), FULL), node(1)])) is Status.NOT_APPLICABLE


def test_a_folder_of_an_earlier_version_holds_no_tables():
    assert judged("rails.pkey", seen(nodes(2))) == judged("rails.gid", seen([oci(0), oci(1)]), OCI) == []


def test_earlier_flaps_are_listed_the_most_first():
    one = with_port(
        with_port(node(0), "mlx5_2", counters={"link_downed": 1}), "mlx5_3", counters={"link_downed": 7}
    )
    found = judged("rails.flaps", seen([one, node(1)]))[0]
    assert (found.status, found.evidence) == (Status.NOT_APPLICABLE, ("n0 mlx5_3/1: 7", "n0 mlx5_2/1: 1"))


HEALTHY = NvlinkFabric("completed", 0, "", 0)


def fabric(first: NvlinkFabric | None, others: NvlinkFabric | None = HEALTHY):
    one = node(0)
    for gpu in range(8):
        one = with_gpu(one, gpu, fabric=first if gpu == 0 else others)
    return seen([one])


@pytest.mark.parametrize(
    ("first", "wanted", "words"),
    [
        (HEALTHY, Status.PASS, ""),
        (None, Status.INCONCLUSIVE, "not known"),
        (replace(HEALTHY, state="in progress"), Status.FAIL, "is in progress"),
        (replace(HEALTHY, status=999), Status.FAIL, "NVML's error 999"),
        (replace(HEALTHY, trouble=("a route is unhealthy",)), Status.FAIL, "a route is unhealthy"),
        (replace(HEALTHY, clique=2), Status.FAIL, "is in clique 2, and most GPUs of its node are in another"),
    ],
)
def test_a_gpu_that_is_not_in_its_fabric_does_not_pass(first, wanted, words):
    assert status("gpus.fabric", fabric(first)) is wanted
    assert words in worst_words("gpus.fabric", fabric(first))


def test_gpus_without_a_fabric_are_not_judged():
    assert judged("gpus.fabric", fabric(None, None)) == []


def test_the_tables_are_judged_before_the_first_byte_of_traffic():
    evidence = seen([keyed(node(0), FULL, FULL, OTHER, FULL), keyed(node(1), FULL)])
    said = judge(evidence.run, evidence.profile, facts_only=True).verdicts
    assert Status.FAIL in {each.status for each in said if each.check == "rails.pkey"}
