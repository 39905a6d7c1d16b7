"""Where the workers of a job meet: which addresses are tried in which order, and the first that all nodes reach."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bench.model.facts import Interface, Node
from bench.model.profile import Rails, load
from bench.probe.reachability import Try
from bench.run.meeting_address import Candidate, NoAddress, candidates, choose, find_meeting

RUNPOD = load("runpod-instant-cluster").rails
MANAGED = Rails("socket", 2, ("eth1", "eth2"), management="eth0")


def node(name: str, **addresses: str) -> Node:
    return Node(name, interfaces=tuple(Interface(each, addresses=(at,)) for each, at in addresses.items()))


POD = node("n0", lo="127.0.0.1/8", eth0="172.18.0.2/16", eth1="10.65.0.2/24", eth2="10.65.1.2/24")
BRIDGED = node("n0", podman0="10.88.0.1/16", cbr0="10.1.0.1/16", usb0="169.254.0.18/16", eno1="10.9.0.1/24")


def names(*args, **kwargs) -> list[str]:
    return [each.interface for each in candidates(*args, **kwargs)]


def test_the_management_interface_comes_first_and_rails_after_what_is_none():
    assert names(POD, MANAGED) == ["eth0", "eth1", "eth2"]
    assert names(POD, Rails("socket", 1, ("eth0",))) == ["eth1", "eth2", "eth0"]


def test_an_excluded_interface_without_a_management_interface_comes_after_the_rails():
    assert names(POD, RUNPOD) == ["eth1", "eth2", "eth0"]


def test_what_the_supervisors_talk_over_comes_before_the_management_interface():
    assert names(POD, MANAGED, "10.65.0.2") == ["eth1", "eth0", "eth2"]


def test_what_the_platform_calls_the_address_of_the_node_comes_before_the_management_interface():
    found = candidates(POD, MANAGED, stated=("10.65.0.2", ""))
    assert [each.interface for each in found] == ["eth1", "eth0", "eth2"]


def test_bridges_and_link_local_addresses_are_last():
    assert names(BRIDGED, Rails()) == ["eno1", "podman0", "cbr0", "usb0"]


def test_a_person_may_name_the_interface():
    assert names(BRIDGED, Rails(), named="podman0") == ["podman0"]


def test_an_interface_that_is_not_there_is_a_mistake_and_no_sick_node():
    chief = SimpleNamespace(control=SimpleNamespace(address=""))
    with pytest.raises(
        NoAddress, match="--meet-interface eht2: n0 has no address there; it has some on "
    ) as told:
        find_meeting(chief, {"n0": 0, "n1": 2}, [POD, node("n1", eth1="10.65.0.3/24")], RUNPOD, "eht2")
    assert told.value.reasons == {}
    with pytest.raises(NoAddress, match="--meet-interface eht2: n0 has no address there"):
        find_meeting(chief, {"n0": 0}, [POD], RUNPOD, "eht2")
    assert find_meeting(chief, {"n0": 0}, [POD], RUNPOD).address == "127.0.0.1"


REACHED, REFUSED = Try("10.65.0.3", ""), Try("", "no answer within 1 s")
TRIED = [Candidate("172.18.0.2", "eth0"), Candidate("10.65.0.2", "eth1")]


def test_the_first_address_that_all_reach_is_taken_with_each_nodes_own_interface_on_the_way():
    others = [node("n1", ens1="10.65.0.3/24"), node("n2", eth1="10.65.0.3/24")]
    found = {"n1": [REFUSED, REACHED], "n2": [REACHED, REACHED]}
    meeting = choose([POD, *others], TRIED, found)
    assert (meeting.address, meeting.interfaces) == ("10.65.0.2", {"n0": "eth1", "n1": "ens1", "n2": "eth1"})
    assert meeting.addresses["n1"] == "10.65.0.3"
    assert meeting.refused == "172.18.0.2 (eth0) is not reached by n1 (no answer within 1 s)"


def test_without_an_address_that_all_reach_it_is_told_who_cannot_reach_what():
    found = {"n1": [REFUSED, REACHED], "n2": [REACHED, Try("", "Connection refused")]}
    with pytest.raises(NoAddress) as error:
        choose([POD, node("n1"), node("n2")], TRIED, found)
    assert "172.18.0.2 (eth0) is not reached by n1 (no answer within 1 s)" in str(error.value)
    assert "10.65.0.2 (eth1) is not reached by n2 (Connection refused)" in str(error.value)
