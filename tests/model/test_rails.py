"""Which devices of a node are its rails: by name, or by kind, link layer and rate."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model.facts import Node, Port
from bench.model.profile import Rails
from bench.model.rails import DeviceUse, missing, named, rails_of, roles, used_as
from bench.model.verdict import Bound
from bench.nccl.devices import nccl_devices, nccl_name
from made_nodes import LAMBDA, h100, interface, node, port, with_port

NDR = Bound(50e9, "400 Gb/s", "datasheet")


def names(machine: Node, rails: Rails, wanted: DeviceUse = DeviceUse.RAIL) -> list[str]:
    return [role.name for role in used_as(machine, rails, wanted)]


def reason(machine: Node, rails: Rails, name: str) -> str:
    return next(role.reason for role in roles(machine, rails) if role.name == name)


def test_every_active_port_of_the_right_kind_and_rate_is_a_rail():
    assert names(node(), LAMBDA.rails) == [f"mlx5_{number}/1" for number in range(1, 9)]
    assert names(node(), LAMBDA.rails, DeviceUse.EXCLUDED) == ["mlx5_0/1"]


@pytest.mark.parametrize(
    ("changes", "wanted", "words"),
    [
        ({"state": "DOWN"}, DeviceUse.WEAK, "its state is DOWN"),
        ({"state": "INIT"}, DeviceUse.WEAK, "its state is INIT"),
        ({"rate": 25e9}, DeviceUse.WEAK, "its rate is 200.0 Gb/s, not 400 Gb/s"),
        ({"rate": 100e9}, DeviceUse.RAIL, "800.0 Gb/s"),
        ({"link_layer": "Ethernet"}, DeviceUse.OTHER, "its link layer is Ethernet"),
        ({"link_layer": "Ethernet", "state": "DOWN"}, DeviceUse.OTHER, "its link layer is Ethernet"),
        ({"state": None}, DeviceUse.UNKNOWN, "its state is not known"),
        ({"rate": None}, DeviceUse.UNKNOWN, "its rate is not known"),
        ({"link_layer": None}, DeviceUse.UNKNOWN, "its link layer is not known"),
        ({"rate": None, "state": "DOWN"}, DeviceUse.UNKNOWN, "its rate is not known"),
    ],
)
def test_each_lack_has_its_part_and_its_words(changes, wanted, words):
    machine = with_port(node(), "mlx5_3", **changes)
    assert "mlx5_3/1" in names(machine, LAMBDA.rails, wanted)
    assert words in reason(machine, LAMBDA.rails, "mlx5_3/1")


def test_a_profile_that_names_its_rails_is_believed_and_keeps_their_order():
    rails = Rails(
        kind="infiniband", count=3, devices=("mlx5_5", "mlx5_2:1", "mlx5_3/1"), excluded=("mlx5_0",), rate=NDR
    )
    machine = with_port(node(), "mlx5_3", state="DOWN", rate=1.25e9)
    assert [role.name for role in rails_of(machine, rails)] == ["mlx5_5/1", "mlx5_2/1", "mlx5_3/1"]
    assert reason(machine, rails, "mlx5_4/1") == "not named by the profile"
    assert missing(machine, rails) == ()
    assert missing(replace(machine, ports=machine.ports[:3]), rails) == ("mlx5_5", "mlx5_3/1")


def test_of_an_hca_with_two_ports_the_one_that_is_up_is_meant():
    rails = Rails(kind="infiniband", count=1, devices=("mlx5_1",))
    two = (port(1), replace(port(1), number=2, state="DOWN"))
    assert names(Node("n", ports=two), rails) == ["mlx5_1/1"]
    assert reason(Node("n", ports=two), rails, "mlx5_1/2") == "another port of mlx5_1 is up"
    # neither is up, or it is not known which: both are meant
    dark = tuple(replace(each, state="DOWN") for each in two)
    assert names(Node("n", ports=dark), rails) == ["mlx5_1/1", "mlx5_1/2"]
    assert names(Node("n", ports=(two[0], replace(two[1], state=None))), rails) == ["mlx5_1/1", "mlx5_1/2"]
    assert names(Node("n", ports=two), replace(rails, devices=("mlx5_1:2",))) == ["mlx5_1/2"]


def test_the_h100_tree_has_eight_rails_and_a_bond(tmp_path):
    machine = h100(tmp_path)
    rails = Rails(kind="infiniband", count=8, rate=NDR)
    assert names(machine, rails) == [f"mlx5_{number}/1" for number in (0, 1, 4, 5, 6, 7, 8, 9)]
    assert names(machine, rails, DeviceUse.OTHER) == ["mlx5_bond_0/1"]
    assert reason(machine, rails, "mlx5_bond_0/1") == "its link layer is Ethernet"


def test_without_rails_nothing_is_one():
    assert names(node(), Rails()) == []
    assert {role.reason for role in roles(node(), Rails())} == {"the profile has no rails"}


def test_a_rate_is_asked_only_where_the_profile_has_one():
    machine = with_port(node(), "mlx5_3", rate=None)
    assert "mlx5_3/1" in names(machine, replace(LAMBDA.rails, rate=None))


def test_roce_rails_are_ethernet_ports():
    machine = with_port(node(), "mlx5_0", rate=50e9)
    assert names(machine, Rails(kind="roce", rate=NDR)) == ["mlx5_0/1"]


def test_interfaces_by_name():
    machine = Node(
        "n", interfaces=tuple(interface(name) for name in ("lo", "eth0", "eth1", "eth2", "eth10", "docker0"))
    )
    rails = Rails(kind="socket", count=2, devices=("eth2", "eth1"), management="eth0")
    assert [role.name for role in rails_of(machine, rails)] == ["eth2", "eth1"]
    assert names(machine, rails, DeviceUse.EXCLUDED) == ["eth0"]
    assert missing(machine, replace(rails, devices=("eth1", "eth9"))) == ("eth9",)


def test_interfaces_without_names():
    machine = Node(
        "n",
        interfaces=(
            interface("lo", operstate="unknown"), interface("eth0"), interface("eth1", speed=50e9),
            interface("eth2", speed=None), interface("eth3", speed=50e9, operstate="down"),
            interface("eth4", speed=50e9, operstate=None), interface("docker0"), interface("eth5"),
        ),
    )  # fmt: skip
    rails = Rails(kind="socket", management="eth0", rate=NDR)
    assert names(machine, rails) == ["eth1"]
    assert names(machine, rails, DeviceUse.WEAK) == ["eth3", "eth5"]
    assert names(machine, rails, DeviceUse.UNKNOWN) == ["eth2", "eth4"]
    assert names(machine, rails, DeviceUse.OTHER) == ["lo", "docker0"]


@pytest.mark.parametrize("name", ["mlx5_3", "mlx5_3/1", "mlx5_3:1"])
def test_a_port_may_be_written_in_three_ways(name):
    assert named(Port("mlx5_3", 1), name)
    assert not named(Port("mlx5_30", 1), name)
    assert not named(Port("mlx5_3", 2), name) or name == "mlx5_3"


def test_nccl_is_asked_about_every_port_and_an_unknown_state_counts_as_up():
    machine = Node("n", ports=(port(1), port(2, state=None), port(3, state="DOWN")))
    assert [device.active for device in nccl_devices(machine)] == [True, True, False]
    assert [nccl_name(role) for role in rails_of(node(), LAMBDA.rails)][:2] == ["mlx5_1:1", "mlx5_2:1"]


@given(
    st.lists(
        st.builds(
            Port,
            hca=st.sampled_from(["mlx5_0", "mlx5_1", "mlx5_10"]),
            number=st.integers(1, 2),
            state=st.sampled_from([None, "ACTIVE", "DOWN"]),
            rate=st.sampled_from([None, 1e9, 50e9]),
            link_layer=st.sampled_from([None, "InfiniBand", "Ethernet"]),
        ),
        unique_by=lambda each: each.name,
    ),
    st.sampled_from(["infiniband", "roce", "socket", "none"]),
    st.sampled_from([(), ("mlx5_1",), ("mlx5_1:2", "mlx5_10")]),
    st.sampled_from([(), ("mlx5_0",)]),
)
def test_every_port_has_one_part_and_an_excluded_one_is_never_a_rail(ports, kind, devices, excluded):
    machine = Node("n", ports=tuple(ports))
    rails = Rails(kind=kind, devices=devices, excluded=excluded, rate=NDR)
    found = roles(machine, rails)
    assert [role.name for role in found] == ([] if kind == "socket" else [each.name for each in ports])
    assert all(role.reason for role in found)
    assert not any(role.use is DeviceUse.RAIL and role.port.hca in excluded for role in found)
    sure = [role for role in found if role.use is DeviceUse.RAIL and not devices]
    assert all(role.port.active and role.port.rate == 50e9 for role in sure)
