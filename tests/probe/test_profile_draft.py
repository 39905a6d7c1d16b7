"""A profile drafted from a node parses as it stands, and claims nothing that nobody said."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.model.facts import Gpu, Interface, Node, Port
from bench.model.profile import ProfileError, parse
from bench.probe.profile_draft import draft, quoted, rail_ports

NDR, HDR = 50e9, 25e9


def port(hca, number=1, rate=NDR, layer="InfiniBand", state="ACTIVE"):
    return Port(hca, number, state=state, rate=rate, link_layer=layer)


LAMBDA = Node(
    "node7",
    ports=(port("mlx5_0", layer="Ethernet", rate=HDR), *(port(f"mlx5_{i}") for i in range(1, 9))),
    gpus=tuple(Gpu(i, name="NVIDIA H100 80GB HBM3") for i in range(8)),
)


def made(node, name="mine"):
    return parse(draft(node, name, "2026-11-21"), "draft")


def test_what_was_seen_stands_with_its_source():
    profile = made(LAMBDA)
    assert profile.gpus == 8
    assert profile.gpu_name == "NVIDIA H100 80GB HBM3"
    assert profile.rails.kind == "infiniband"
    assert profile.rails.devices == tuple(f"mlx5_{i}" for i in range(1, 9))
    assert profile.rails.excluded == ("mlx5_0",)
    assert profile.rails.rate.value == NDR
    assert "node7" in profile.rails.rate.source
    assert profile.environment["NCCL_IB_HCA"] == "^=mlx5_0"


def test_what_was_sold_is_left_open_until_a_person_fills_it_in():
    text = draft(LAMBDA, "mine", "2026-11-21")
    profile = parse(text, "draft")
    assert profile.rails.target is None
    assert "target" in profile.rails.open
    assert profile.limits == ()
    filled = re.sub(r"^open = .*\n", "", text, flags=re.MULTILINE).replace("# target =", "target =")
    filled = re.sub(r"^# (\[\[bounds\]\]|\w+ = )", r"\1", filled, flags=re.MULTILINE)
    done = parse(filled, "filled")
    assert done.rails.target.value == 8 * NDR
    assert done.rails.open == ""
    assert done.nvlink.value == 450e9
    assert done.limits[0].quantity == "wire_share"


@pytest.mark.parametrize(
    ("ports", "names"),
    [
        ((), ()),
        ((port("a"), port("b"), port("c", rate=HDR)), ("a", "b")),
        ((port("a", rate=100e9), port("b"), port("c")), ("b", "c")),
        ((port("a", layer="Ethernet"), port("b", layer="Ethernet")), ("a", "b")),
        ((port("a"), port("b", layer="Ethernet"), port("c", layer="Ethernet")), ("a",)),
        ((port("a"), port("b", state="DOWN"), port("c", rate=None)), ("a",)),
        ((port("a", 1), port("a", 2)), ("a", "a")),
    ],
)
def test_rails_are_the_active_ports_of_one_kind_and_rate(ports, names):
    assert tuple(each.hca for each in rail_ports(Node("n", ports=ports))) == names


def test_two_ports_of_one_hca_are_named_with_their_numbers():
    profile = made(Node("n", ports=(port("a", 1), port("a", 2))))
    assert profile.rails.devices == ("a:1", "a:2")


def test_a_port_that_is_down_is_said():
    text = draft(Node("n", ports=(port("a"), port("b", state="DOWN"))), "x", "now")
    assert "# not active when probed: b/1" in text


def test_interfaces_are_listed_and_none_is_chosen():
    faces = (
        Interface("eth0", operstate="up"),
        Interface("lo"),
        Interface("eth1", operstate="up", speed=12.5e9),
    )
    text = draft(Node("n", interfaces=faces), "x", "now")
    assert parse(text, "draft").rails.kind == "none"
    assert "# eth1: 100.0 Gb/s" in text
    assert "# eth0: its speed is not known" in text
    assert "# lo" not in text


def test_a_node_without_anything_parses():
    profile = made(Node("empty"))
    assert (profile.gpus, profile.rails.kind, profile.backend) == (0, "none", "auto")


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=100)
def test_no_name_breaks_the_draft(node, gpu, hca):
    text = draft(
        Node(node, ports=(port(hca), port("z", state="DOWN")), gpus=(Gpu(0, name=gpu), Gpu(1, name=node))),
        hca,
        gpu,
    )
    try:
        assert parse(text, "draft").gpus == 2
    except ProfileError as error:
        pytest.fail(f"{error}\n{text}")


def test_quotes_and_control_characters_are_escaped():
    assert quoted('a"b\\c') == r'"a\"b\\c"'
    assert quoted("a\nb\x7f") == r'"a\U0000000ab\U0000007f"'
