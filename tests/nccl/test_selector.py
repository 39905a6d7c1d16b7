"""NCCL_IB_HCA and NCCL_SOCKET_IFNAME as NCCL reads them.

The tables are rows of a conformance table made by compiling NCCL's own parser (v2.28.9-1 and v2.30.7-1).
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.nccl import selector
from bench.nccl.c_strings import atoi
from bench.nccl.selector import (
    Device,
    Item,
    device_limit,
    interfaces,
    parse,
    parse_devices,
    select,
)
from bench.nccl.version import parse_version

OLD = (2, 30, 4)
NEW = (2, 30, 7)
SIX = "mlx5_0 mlx5_1 mlx5_2 mlx5_9 mlx5_10 mlx5_11"
TWO_PORTS = "mlx5_0:1+2 mlx5_1:1+2 mlx5_10:1+2"
ALL_SIX = "mlx5_0:1 mlx5_1:1 mlx5_2:1 mlx5_9:1 mlx5_10:1 mlx5_11:1"


def taken(spec, devices, version):
    return " ".join(f"{c.name}:{c.port}" for c in select(spec, parse_devices(devices), version) if c.taken)


# spec, devices, selected up to 2.30.4, selected from 2.30.5 (None: the same)
IB_HCA = [
    (None, SIX, ALL_SIX, None),
    ("", SIX, ALL_SIX, None),
    ("=", SIX, ALL_SIX, None),
    (",", SIX, ALL_SIX, None),
    ("^", SIX, "", None),
    ("^=", SIX, "", None),
    ("^,", SIX, "", None),
    ("mlx5_1", SIX, "mlx5_1:1 mlx5_10:1 mlx5_11:1", None),
    ("=mlx5_1", SIX, "mlx5_1:1", None),
    ("^mlx5_1", SIX, "mlx5_0:1 mlx5_2:1 mlx5_9:1", None),
    ("^=mlx5_1", SIX, "mlx5_0:1 mlx5_2:1 mlx5_9:1 mlx5_10:1 mlx5_11:1", None),
    ("^=mlx5_0", SIX, "mlx5_1:1 mlx5_2:1 mlx5_9:1 mlx5_10:1 mlx5_11:1", None),
    ("^mlx5_0", SIX, "mlx5_1:1 mlx5_2:1 mlx5_9:1 mlx5_10:1 mlx5_11:1", None),
    ("=mlx5_1:1", TWO_PORTS, "mlx5_1:1", None),
    ("^=mlx5_0:1", TWO_PORTS, "mlx5_0:2 mlx5_1:1 mlx5_1:2 mlx5_10:1 mlx5_10:2", None),
    ("=mlx5_1:", TWO_PORTS, "", "mlx5_1:1 mlx5_1:2"),
    ("^=mlx5_0,^=mlx5_1", SIX, "mlx5_1:1 mlx5_2:1 mlx5_9:1 mlx5_10:1 mlx5_11:1", None),
    ("=mlx5_1, mlx5_2", SIX, "mlx5_1:1", None),
    ("^=mlx5_0 ", SIX, ALL_SIX, None),
    ("^=mlx5_0\r", SIX, ALL_SIX, None),
    ("^=mlx5_99", SIX, ALL_SIX, None),
    ("=mlx5_99", SIX, "", None),
    ("=:1,mlx5_1", TWO_PORTS, "mlx5_1:1 mlx5_1:2", None),
    # the order of the list does not matter
    ("mlx5_2:1,mlx5_0:1", SIX, "mlx5_0:1 mlx5_2:1", None),
    ("=^mlx5_0", SIX, "", None),
    ("=^x", "^x mlx5_0", "^x:1", None),
    ("MLX5_0", SIX, "", None),
    ("'^=mlx5_0'", SIX, "", None),
    ("mlx5_[0-1]", SIX, "", None),
    ("=mlx5_1:0", TWO_PORTS, "", None),
    ("=mlx5_1:abc", TWO_PORTS, "", None),
    ("=mlx5_1:-1", TWO_PORTS, "mlx5_1:1 mlx5_1:2", None),
    ("=mlx5_1:18446744073709551615", TWO_PORTS, "mlx5_1:1 mlx5_1:2", None),
    ("=mlx5_1: 2", TWO_PORTS, "mlx5_1:2", None),
    ("=mlx5_1:2x", TWO_PORTS, "mlx5_1:2", None),
    ("=mlx5_1:01", TWO_PORTS, "mlx5_1:1", None),
    ("=mlx5_1:2:7:3", TWO_PORTS, "mlx5_1:2", None),
    ("=mlx5_1::7", TWO_PORTS, "", "mlx5_1:1 mlx5_1:2"),
    ("=mlx5_1,,mlx5_2", SIX, "mlx5_1:1 mlx5_2:1", None),
]


@pytest.mark.parametrize(("spec", "devices", "old", "new"), IB_HCA)
def test_the_list_selects_what_nccl_selects(spec, devices, old, new):
    assert taken(spec, devices, OLD) == old
    assert taken(spec, devices, NEW) == (old if new is None else new)


def test_a_33rd_name_is_not_read_so_its_device_stays_selected():
    names = [f"d{number}" for number in range(33)]
    assert taken("^=" + ",".join(names), " ".join(names), OLD) == "d32:1"
    assert [item.name for item in parse("=" + ",".join(names)).ignored] == ["d32"]


def test_nccl_stops_after_32_ports():
    choices = select(None, [Device(f"d{number}") for number in range(34)], NEW)
    assert [c.taken for c in choices] == [True] * 32 + [False] * 2
    assert "32" in choices[-1].reason


def test_the_room_is_asked_for_once_per_device():
    devices = [Device(f"d{number}") for number in range(31)] + [Device("last", 1), Device("last", 2)]
    assert all(choice.taken for choice in select(None, devices, NEW))


def test_before_2_18_5_the_limit_is_16():
    assert device_limit((2, 18, 4)) == 16
    assert device_limit((2, 18, 5)) == 32
    assert sum(c.taken for c in select(None, [Device(f"d{n}") for n in range(20)], (2, 12, 10))) == 16


def test_a_name_is_kept_to_63_bytes_from_2_30_5():
    device = "a" * 63
    assert taken("=" + "a" * 70, device, NEW) == f"{device}:1"
    assert taken("=" + "a" * 70, device, OLD) == ""
    assert taken("a" * 64, device, OLD) == ""


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        (Device("mlx5_1", active=False), "not ACTIVE"),
        (Device("mlx5_1", link=""), "link layer"),
        (Device("mlx5_1"), "taken: is 'mlx5_1'"),
        (Device("mlx5_2"), "matches no entry"),
    ],
)
def test_every_choice_says_why(device, reason):
    assert reason in select("=mlx5_1", [device])[0].reason


def test_what_is_excluded_names_the_item_that_did_it():
    choice = select("^mlx5_9,mlx5_1", [Device("mlx5_10")])[0]
    assert (choice.taken, choice.item) == (False, Item("mlx5_1", "mlx5_1"))
    assert choice.reason == "excluded: starts with 'mlx5_1'"


def test_rail_and_plane_are_read_from_2_30_5():
    assert parse("=a:1:2:3,b::4,c:::5,d", NEW).items == (
        Item("a:1:2:3", "a", 1, 2, 3),
        Item("b::4", "b", -1, 4),
        Item("c:::5", "c", -1, -1, 5),
        Item("d", "d"),
    )
    assert parse("=a:1:2:3", OLD).items == (Item("a:1:2:3", "a", 1),)
    assert parse("=a:1:2:3", (2, 30, 5)).items == parse("=a:1:2:3", NEW).items != parse("=a:1:2:3", OLD).items


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0),
        ("7", 7),
        (" \t+7x", 7),
        ("-1", -1),
        ("- 1", 0),
        ("00000000000000000000000000008", 8),
        ("2147483648", -(1 << 31)),
        ("4294967297", 1),
        ("99999999999999999999", -1),
        ("-99999999999999999999", 0),
    ],
)
def test_atoi_is_glibcs(text, number):
    assert atoi(text) == number


UP = "lo eth0 eth1 eth2 eth8 eth10 docker0 ib0 ibs1 bond0 bond0.100"
SOCKETS = [
    ("eth", "lo eth0 eth1 eth2 eth8 eth10 docker0 ib0", "eth0 eth1 eth2 eth8 eth10"),
    ("eth1", "lo eth0 eth1 eth2 eth8 eth10 docker0", "eth1 eth10"),
    ("=eth1", "lo eth0 eth1 eth2 eth8 eth10 docker0", "eth1"),
    (
        "=eth1,eth2,eth3,eth4,eth5,eth6,eth7,eth8",
        "lo eth0 eth1 eth2 eth3 eth4 eth5 eth6 eth7 eth8 eth10",
        "eth1 eth2 eth3 eth4 eth5 eth6 eth7 eth8",
    ),
    # the port of an entry does not count: the match is made with any
    ("=eth1:2", "lo eth0 eth1 eth2", "eth1"),
    ("^docker0,lo", UP, "eth0 eth1 eth2 eth8 eth10 ib0 ibs1 bond0 bond0.100"),
    # NCCL's own order
    (None, UP, "ib0 ibs1"),
    ("", UP, "ib0 ibs1"),
    ("e", UP, "ib0 ibs1"),
    (None, "lo docker0 virbr0 eth0", "eth0"),
    (None, "lo docker0 virbr0", "docker0"),
    (None, "lo virbr0", "lo"),
    (None, "virbr0", "virbr0"),
    (None, "", ""),
    ("=eth9", UP, ""),
]


@pytest.mark.parametrize("version", [(2, 28, 9), NEW])
@pytest.mark.parametrize(("spec", "names", "matched"), SOCKETS)
def test_interfaces_are_matched_as_nccl_matches_them(spec, names, matched, version):
    assert [c.name for c in interfaces(spec, names.split(), version) if c.taken] == matched.split()


def test_an_unset_matcher_takes_every_interface():
    assert [c.name for c in select(None, parse_devices(UP)) if c.taken] == UP.split()


def test_before_2_28_3_virbr_is_like_any_other():
    for version, taken in (((2, 28, 2), "virbr0"), ((2, 28, 3), "lo")):
        assert [c.name for c in interfaces(None, ["lo", "virbr0"], version) if c.taken] == [taken]


def test_at_most_16_interfaces_and_16_entries():
    names = [f"eth{number}" for number in range(20)]
    assert [c.name for c in interfaces("eth", names) if c.taken] == names[:16]
    assert [c.name for c in interfaces("^=" + ",".join(names), names) if c.taken] == names[16:]


def test_bootstrap_takes_the_first_in_the_systems_order():
    choices = interfaces("=eth2,eth1", ["eth0", "eth1", "eth2"], limit=1)
    assert [c.name for c in choices if c.taken] == ["eth1"]


def test_only_what_would_have_been_taken_is_left_out_for_its_number():
    """eth2 comes after the limit; docker0 is not taken at any place."""
    choices = {c.name: c for c in interfaces("eth", ["eth0", "eth1", "docker0", "eth2"], limit=2)}
    assert [name for name, c in choices.items() if c.taken] == ["eth0", "eth1"]
    assert "stops after 2" in choices["eth2"].reason
    assert "stops after" not in choices["docker0"].reason


def test_the_subnet_of_the_comm_id_comes_after_ib():
    assert [c.name for c in interfaces(None, ["eth0", "eth1"], near=["eth1"]) if c.taken] == ["eth1"]
    assert [c.name for c in interfaces(None, ["ib0", "eth1"], near=["eth1"]) if c.taken] == ["ib0"]


@pytest.mark.parametrize("text", ["mlx5_0:x", ":1", "mlx5_0:1+"])
def test_a_device_list_that_is_none_says_what_would_be(text):
    with pytest.raises(ValueError, match="write mlx5_0"):
        parse_devices(text)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("2.28.9+cuda13.0", (2, 28, 9)),
        ("2.22.3-HEAD:271856d", (2, 22, 3)),
        ("2.18.5+cudaCUDA_MAJOR.CUDA_MINOR", (2, 18, 5)),
        ("2.4", (2, 4, 0)),
        ("nccl", None),
        ("", None),
    ],
)
def test_versions_are_read(text, version):
    assert parse_version(text) == version


specs = st.text(alphabet=st.sampled_from("mlx5_01^=,: -a9\t\0é\ud800"), max_size=60)
DEVICES = parse_devices(SIX) + parse_devices(TWO_PORTS)


@given(specs, st.sampled_from([OLD, NEW, (2, 4, 8)]))
def test_a_caret_turns_every_choice_round(spec, version):
    if spec.startswith("^"):
        return
    plain = [c.taken for c in select(spec, DEVICES[:6], version)]
    assert [c.taken for c in select("^" + spec, DEVICES[:6], version)] == [not one for one in plain]


@given(st.one_of(st.none(), st.text(max_size=200), specs), st.sampled_from([OLD, NEW]))
def test_any_text_is_decided_for_every_device(spec, version):
    choices = select(spec, DEVICES, version)
    assert [(c.name, c.port) for c in choices] == [(d.hca, d.port) for d in DEVICES]
    assert all(c.reason for c in choices)
    assert len(interfaces(spec, UP.split(), version)) == len(UP.split())


def test_the_first_version_that_reads_rail_and_plane_is_2_30_5():
    read = [selector.parse("=mlx5_1:", parse_version(f"2.30.{patch}")).items[0].port for patch in (4, 5)]
    assert read == [0, selector.ANY]


@pytest.mark.parametrize(
    ("spec", "taken", "why"),
    [
        ("=mlx5_1", False, "not taken: matches no entry of '=mlx5_1'"),
        ("^=mlx5_1", True, "taken: matches no entry of '^=mlx5_1'"),
        ("", True, "no name is listed: every one is taken"),
        ("^", False, "'^' with no name behind it excludes every one"),
    ],
)
def test_a_choice_says_why(spec, taken, why):
    (choice,) = selector.select(spec, selector.parse_devices("mlx5_0"))
    assert (choice.taken, choice.reason) == (taken, why)


def test_a_port_is_written_in_plain_digits():
    with pytest.raises(selector.DeviceError):
        selector.parse_devices("mlx5_0:²")
    with pytest.raises(selector.DeviceError):
        selector.parse_devices("mlx5_0:٣")
