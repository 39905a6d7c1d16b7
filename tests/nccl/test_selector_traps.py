"""Warnings about a specification: each trap is planted and found; a right one is silent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.nccl.selector import Device, parse_devices
from bench.nccl.selector_traps import RULES, traps

NODE = parse_devices("mlx5_0 mlx5_1 mlx5_2 mlx5_3 mlx5_10 mlx5_bond_0")
RAILS = ("mlx5_1", "mlx5_2", "mlx5_3", "mlx5_10")
EXACT = "=" + ",".join(RAILS)


def kinds(spec, devices=NODE, rails=(), **more):
    return {trap.kind for trap in traps(spec, devices, rails, **more)}


def test_the_exact_list_of_rails_is_silent():
    assert traps(EXACT, NODE, RAILS) == ()


def test_excluding_all_that_is_no_rail_is_silent():
    assert traps("^=mlx5_0,mlx5_bond_0", NODE, RAILS) == ()


PLANTED = [
    ("mlx5_1", {"prefix"}),
    ("^mlx5_1", {"prefix"}),
    ("=mlx5_1", set()),
    ("mlx5", set()),
    ("^=mlx5_0 ", {"blank", "not present"}),
    ("=mlx5_1, mlx5_2", {"blank", "not present"}),
    ("'^=mlx5_0'", {"quote", "not present", "nothing selected"}),
    ("^=mlx5_0,^=mlx5_1", {"modifier inside the list", "not present"}),
    ("=^mlx5_0", {"order", "not present", "nothing selected"}),
    ("=mlx5_99", {"not present", "nothing selected"}),
    ("^", {"nothing selected"}),
    ("=ib0,ib3", {"interface", "nothing selected"}),
    ("=mlx5_1/1", {"slash", "nothing selected"}),
    ("=mlx5_1,mlx5_2,mlx5_1", {"duplicate"}),
    ("=mlx5_1:2,mlx5_2", {"port"}),
    ("=mlx5_1:abc,mlx5_2", {"port"}),
    ("=mlx5_[1-3]", {"wildcard", "not present", "nothing selected"}),
    ("=MLX5_1,mlx5_2", {"not present"}),
    ("=mlx5_1," + "x" * 64, {"long name", "not present"}),
]


@pytest.mark.parametrize(("spec", "found"), PLANTED)
def test_a_planted_trap_is_found_and_nothing_else(spec, found):
    assert kinds(spec) == found


def test_a_storage_hca_left_selected_is_named():
    found = traps("^=mlx5_0", NODE, RAILS)
    assert [trap.kind for trap in found] == ["not a rail"]
    assert "mlx5_bond_0:1" in found[0].text


def test_an_unset_variable_is_judged_against_the_rails_too():
    assert kinds(None, rails=RAILS) == {"not a rail"}


def test_a_rail_that_is_down_says_why_it_is_missing():
    devices = [Device("mlx5_1"), Device("mlx5_2", active=False)]
    found = traps("=mlx5_1,mlx5_2", devices, ("mlx5_1", "mlx5_2", "mlx5_3"))
    assert [(trap.kind, trap.text) for trap in found] == [
        ("rail missing", "rail mlx5_2 is not selected: port is not ACTIVE"),
        ("rail missing", "rail mlx5_3 is not selected: no such device"),
    ]


def test_a_rail_may_be_one_port():
    devices = parse_devices("mlx5_0:1+2")
    assert kinds("=mlx5_0:2", devices, ("mlx5_0:2",)) == set()
    assert kinds("=mlx5_0", devices, ("mlx5_0:2",)) == {"not a rail"}


def test_the_33rd_entry_and_the_33rd_device_are_named():
    devices = [Device(f"d{number}") for number in range(40)]
    found = traps("=" + ",".join(d.hca for d in devices), devices)
    assert [trap.kind for trap in found] == ["too many entries", "too many devices"]
    assert "d32" in found[0].text
    assert "d32:1" in found[1].text


def test_a_name_of_the_nodes_own_interfaces_is_known():
    assert "interface" in kinds("=weird0", interfaces=["weird0"])


def test_an_hca_called_like_an_interface_is_no_trap():
    devices = parse_devices("ibp0 ibp1")
    assert kinds("=ibp0,ibp1", devices, ("ibp0", "ibp1")) == set()


def test_the_case_hint_names_the_device():
    assert any("mlx5_1" in trap.text for trap in traps("=MLX5_1", NODE) if trap.kind == "not present")


def test_no_devices_is_no_selection_to_warn_of():
    assert kinds("=mlx5_1", ()) == {"not present"}


@given(st.one_of(st.none(), st.text(max_size=80)))
def test_no_text_crashes_a_rule(spec):
    names = {kind for kind, _ in RULES}
    assert kinds(spec, rails=RAILS) <= names
