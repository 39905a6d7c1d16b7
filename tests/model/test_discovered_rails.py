"""The rails of a platform that calls them differently: found on the nodes by what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.model.discovered_rails import at_hand
from bench.model.facts import Interface, Node, Port
from bench.model.profile import ProfileError, load, parse
from bench.model.rails import rails_of
from bench.model.units import BITS, GIGA

RUNPOD = load("runpod-instant-cluster")
FAST = 200 * GIGA / BITS


def interface(name: str, address: str, speed: float | None = FAST, driver: str = "veth") -> Interface:
    return Interface(name, "up", True, speed, addresses=(address,), driver=driver)


def port(at: int, **given: object) -> Port:
    facts = {"state": "ACTIVE", "rate": 2 * FAST, "link_layer": "InfiniBand", "driver": "mlx5_core", **given}
    return Port(f"mlx5_{at}", 1, **facts)  # type: ignore[arg-type]


def pod(at: int, name: Callable[[int], str], more: tuple[Interface, ...] = (), **given: object) -> Node:
    """A pod with eth0, eight rails in a network each, and what every container host has."""
    rails = [interface(name(rail), f"10.65.{rail}.{2 + at}/24") for rail in range(1, 9)]
    inner = [
        Interface("lo", "unknown", addresses=("127.0.0.1/8",)),
        interface("podman0", "10.88.0.1/16"),
    ]
    here = (*inner, interface("eth0", f"172.18.0.{2 + at}/16", FAST / 20), *rails, *more)
    return Node(f"n{at}", interfaces=here, **given)  # type: ignore[arg-type]


def pods(name: Callable[[int], str] = "ens{}".format, count: int = 3, **given: object) -> list[Node]:
    return [pod(at, name, **given) for at in range(count)]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["ens{}", "eth{}", "enp{}s0"])
def test_rails_are_found_whatever_they_are_called(name):
    found = at_hand(RUNPOD, pods(name.format))
    assert found.rails.devices == tuple(name.format(rail) for rail in range(1, 9))
    assert found.environment["NCCL_SOCKET_IFNAME"] == "=" + ",".join(found.rails.devices)
    assert found.environment["NCCL_NET"] == "Socket"


def test_a_profile_that_names_its_rails_is_left_alone():
    lab = replace(RUNPOD, rails=replace(RUNPOD.rails, found=False))
    assert at_hand(lab, pods()) is lab


def test_where_pods_have_rdma_devices_nccl_is_not_held_to_sockets():
    found = at_hand(RUNPOD, pods(ports=tuple(port(at) for at in range(8))))
    assert (found.rails.kind, found.rails.devices[0], len(found.rails.devices)) == (
        "infiniband",
        "mlx5_0/1",
        8,
    )
    assert "NCCL_NET" not in found.environment and "NCCL_SOCKET_IFNAME" not in found.environment
    assert found.environment["NCCL_IB_HCA"] == "=" + ",".join(f"mlx5_{at}:1" for at in range(8))


def test_ports_with_ethernet_below_are_roce():
    assert at_hand(RUNPOD, pods(ports=(port(0, link_layer="Ethernet"),))).rails.kind == "roce"


@pytest.mark.parametrize("bad", [{"openable": False}, {"state": "DOWN"}, {"link_layer": None}])
def test_ports_that_no_process_of_the_pod_can_use_leave_it_with_sockets(bad):
    found = at_hand(RUNPOD, pods(ports=tuple(port(at, **bad) for at in range(8))))
    assert (found.rails.kind, found.rails.devices[0]) == ("socket", "ens1")
    assert found.environment["NCCL_NET"] == "Socket"


def test_ports_on_one_pod_of_three_alone_are_not_the_rails():
    one, *others = pods()
    assert at_hand(RUNPOD, [replace(one, ports=(port(0),)), *others]).rails.kind == "socket"


def test_an_interface_in_a_network_that_no_other_pod_has_is_no_rail():
    nodes = [pod(at, "ens{}".format, (interface("net9", f"10.{90 + at}.0.2/24"),)) for at in range(3)]
    assert "net9" not in at_hand(RUNPOD, nodes).rails.devices


def test_a_bridge_that_has_one_address_on_all_pods_is_no_rail():
    nodes = [pod(at, "ens{}".format, (interface("svc0", "10.0.0.1/24"),)) for at in range(3)]
    assert "svc0" not in at_hand(RUNPOD, nodes).rails.devices


def test_of_more_interfaces_those_of_one_driver_are_the_rails():
    nodes = [
        pod(at, "ens{}".format, (interface("net9", f"10.9.0.{at + 2}/24", driver="tun"),)) for at in range(3)
    ]
    assert "net9" not in at_hand(RUNPOD, nodes).rails.devices


def test_of_more_interfaces_of_one_driver_those_of_one_speed_are_the_rails():
    nodes = [
        pod(at, "ens{}".format, (interface("net9", f"10.9.0.{at + 2}/24", FAST / 8),)) for at in range(3)
    ]
    assert "net9" not in at_hand(RUNPOD, nodes).rails.devices


def test_a_rail_that_is_slow_is_a_rail_all_the_same():
    def with_tunnel(at: int) -> Node:
        node = pod(at, "ens{}".format, (interface("net9", f"10.9.0.{at + 2}/24", driver="tun"),))
        slow = (replace(each, speed=FAST / 2) if each.name == "ens3" else each for each in node.interfaces)
        return replace(node, interfaces=tuple(slow))

    found = at_hand(RUNPOD, [with_tunnel(at) for at in range(3)]).rails.devices
    assert "ens3" in found and "net9" not in found


def test_what_leads_into_the_machine_by_its_name_is_no_rail_of_a_single_pod_either():
    assert at_hand(RUNPOD, pods(count=1)).rails.devices == tuple(f"ens{rail}" for rail in range(1, 9))


def test_of_two_groups_of_eight_the_faster_one_is_the_rails():
    def slow(at: int) -> tuple[Interface, ...]:
        return tuple(interface(f"slow{n}", f"10.9.{n}.{at + 2}/24", FAST / 8, "tun") for n in range(8))

    nodes = [pod(at, "ens{}".format, slow(at)) for at in range(3)]
    assert at_hand(RUNPOD, nodes).rails.devices[0] == "ens1"


def test_excluded_interfaces_link_local_ones_and_the_management_interface_are_no_rails():
    nodes = [pod(at, "ens{}".format, (interface("bmc0", f"169.254.0.{18 + at}/16"),)) for at in range(3)]
    assert not {"eth0", "bmc0", "lo", "podman0"} & {*at_hand(RUNPOD, nodes).rails.devices}
    managed = replace(RUNPOD, rails=replace(RUNPOD.rails, excluded=(), management="eth0"))
    assert "eth0" not in at_hand(managed, nodes).rails.devices


def test_a_rail_that_is_down_on_one_pod_is_a_rail_there_too():
    one, *others = pods()
    down = tuple(replace(each, operstate="down") if each.name == "ens3" else each for each in one.interfaces)
    found = at_hand(RUNPOD, [replace(one, interfaces=down), *others]).rails
    assert "ens3" in [role.name for role in rails_of(replace(one, interfaces=down), found)]


def test_the_names_of_most_pods_count_where_one_has_another():
    one, *others = pods()
    odd = tuple(replace(each, name="enp65s0") if each.name == "ens3" else each for each in one.interfaces)
    assert "enp65s0" not in at_hand(RUNPOD, [replace(one, interfaces=odd), *others]).rails.devices


def test_what_the_profile_sets_itself_stands():
    mine = replace(RUNPOD, environment={"NCCL_NET": "AWS"})
    assert at_hand(mine, pods()).environment["NCCL_NET"] == "AWS"


def test_without_facts_nothing_is_found_and_nothing_is_forced():
    found = at_hand(RUNPOD, [])
    assert (found.rails.devices, found.environment) == ((), {})


@pytest.mark.parametrize(
    ("old", "new"),
    [("count = 8", 'count = 1\ndevices = ["eth1"]'), ('kind = "socket"', 'kind = "infiniband"')],
)
def test_found_rails_are_interfaces_without_names(old, new):
    with pytest.raises(ProfileError, match="found = true is for kind"):
        parse(RUNPOD.text.replace(old, new, 1), "mine.toml")
