"""An address, a GUID and a UUID belong to one node each; two machines are not one node."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.model.facts import Interface, Node
from bench.model.profile import parse
from bench.model.verdict import Status
from bench.probe.host import machine
from bench.run.bootstrap import number_ranks
from bench.run.options import CannotRun
from bench.supervise.questions import Hello
from made_nodes import LOCAL, interface, judged, nodes, seen, with_gpu, with_port

SOCKETS = parse(
    """\
format = 1
name = "lab"
title = "two rails of sockets"
source = "a test"
[cluster]
backend = "gloo"
nodes = [2, 2]
[rails]
kind = "socket"
count = 1
devices = ["eth1"]
excluded = ["eth0"]
management = "eth0"
rate = { value = "100 Mb/s", source = "a test" }
[sweep]
collectives = ["all_reduce"]
""",
    "lab.toml",
)


def hellos(*machines: tuple[str, str]) -> dict[int, Hello]:
    return {rank: Hello(host, kernel, True, "python3", {}) for rank, (host, kernel) in enumerate(machines)}


def test_two_machines_of_one_name_are_refused_with_both_ranks():
    said = hellos(("n0", "a"), ("n1", "b"), ("n0", "a"), ("n1", "c"))
    with pytest.raises(CannotRun, match=r"two machines are called n1: those of rank 1 and of rank 3 "):
        number_ranks(said)
    assert [rank.local_rank for rank in number_ranks(hellos(("n0", "a"), ("n1", "b"), ("n0", "a")))] == [
        0,
        0,
        1,
    ]


def test_a_machine_is_known_by_its_boot_or_else_by_its_installation(tmp_path):
    assert machine(tmp_path) == ""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "machine-id").write_text("0b1c\n")
    assert machine(tmp_path) == "0b1c"
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("9f2e\n")
    assert machine(tmp_path) == "9f2e"


def one(name: str, *interfaces: Interface) -> Node:
    return Node(name, interfaces=interfaces)


def face(name: str, *addresses: str, **changes: object) -> Interface:
    return interface(name, **{"addresses": addresses, "virtual": True, **changes})


def said(first: Interface, second: Interface) -> tuple[Status, str]:
    evidence = seen([one("n0", first), one("n1", second)], backend="gloo", each=1)
    verdict, *others = judged("host.addresses", evidence, SOCKETS)
    assert not others
    return verdict.status, f"{verdict.subject}: {verdict.measured}"


@pytest.mark.parametrize("name", ["eth0", "eth1", "bond0"])
def test_an_address_of_two_nodes_is_named_with_both(name):
    twice = said(face(name, "10.0.0.7/24"), face(name, "10.0.0.7/16"))
    assert twice == (Status.FAIL, f"n0 {name} and n1 {name}: 10.0.0.7 is on 2 nodes")
    assert said(face(name, "10.0.0.7/24"), face(name, "10.0.0.8/24"))[0] is Status.PASS


@pytest.mark.parametrize(
    "same",
    [
        face("docker0", "172.17.0.1/16"),
        face("lo", "127.0.0.1/8"),
        interface(
            "enp0s20f0u14", addresses=("16.1.15.2/30",), driver="cdc_ether", pci=nodes(1)[0].gpus[0].pci
        ),
        face("dummy0", "10.0.0.7/32"),
    ],
)
def test_an_address_that_leads_to_no_other_node_may_be_on_all(same):
    assert said(same, same)[0] is Status.INCONCLUSIVE  # the profile has rails, and not one address is known
    twice = seen([one("n0", same), one("n1", same)], backend="gloo", each=1)
    (verdict,) = judged("host.addresses", twice, LOCAL)
    assert verdict.status is Status.NOT_APPLICABLE


def test_link_local_addresses_are_as_good_as_none():
    assert (
        said(face("eth1", "fe80::1/64", "10.0.0.1/24"), face("eth1", "fe80::1/64", "10.0.0.2/24"))[0]
        is Status.PASS
    )


def test_addresses_that_could_not_be_read_are_inconclusive():
    unread = interface("eth1", addresses=None)
    assert said(face("eth1", "10.0.0.1/24"), unread) == (
        Status.INCONCLUSIVE,
        "n1 eth1: its addresses could not be read",
    )


def test_a_guid_of_two_nodes_is_named_with_both():
    n0, n1 = nodes()
    (verdict,) = judged("rails.guids", seen([n0, with_port(n1, "mlx5_3", gid=n0.ports[3].gid)]))
    assert (verdict.status, verdict.subject) == (Status.FAIL, "n0 mlx5_3/1 and n1 mlx5_3/1")
    assert n0.ports[3].guid in verdict.measured
    (verdict,) = judged("rails.guids", seen([n0, n1]))
    assert verdict.status is Status.PASS


def test_a_gpu_of_two_nodes_is_named_with_both():
    n0, n1 = nodes()
    (verdict,) = judged("gpus.uuids", seen([n0, with_gpu(n1, 5, uuid=n0.gpus[2].uuid)]))
    assert (verdict.status, verdict.subject) == (Status.FAIL, "n0 GPU 2 and n1 GPU 5")
    (verdict,) = judged("gpus.uuids", seen([n0, n1]))
    assert verdict.status is Status.PASS


def test_gpus_that_no_rank_uses_may_be_seen_from_two_nodes():
    n0, n1 = nodes()
    (verdict,) = judged("gpus.uuids", seen([n0, replace(n1, gpus=n0.gpus)], backend="gloo"))
    assert verdict.status is Status.NOT_APPLICABLE
