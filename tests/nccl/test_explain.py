"""What ``railgauge explain`` says, against the table of NCCL's own parser."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model.facts import Node
from bench.model.profile import Rails
from bench.model.verdict import Status
from bench.nccl.explain import explain, explain_interfaces, explain_node, meaning, wanted_of
from bench.nccl.selector import parse_devices
from made_nodes import LAMBDA, h100, node, port, with_port

SIX = "mlx5_0 mlx5_1 mlx5_2 mlx5_9 mlx5_10 mlx5_11"
TWO_PORTS = "mlx5_0:1+2 mlx5_1:1+2 mlx5_10:1+2"

# specification, devices, what NCCL up to 2.30.4 takes (by compiling its parser), what is added from 2.30.5
TABLE = [
    (None, SIX, "mlx5_0:1 mlx5_1:1 mlx5_2:1 mlx5_9:1 mlx5_10:1 mlx5_11:1", ""),
    ("^", SIX, "", ""),
    ("^=", SIX, "", ""),
    ("mlx5_1", SIX, "mlx5_1:1 mlx5_10:1 mlx5_11:1", ""),
    ("=mlx5_1", SIX, "mlx5_1:1", ""),
    ("^mlx5_1", SIX, "mlx5_0:1 mlx5_2:1 mlx5_9:1", ""),
    ("^=mlx5_1", SIX, "mlx5_0:1 mlx5_2:1 mlx5_9:1 mlx5_10:1 mlx5_11:1", ""),
    ("^=mlx5_0", SIX, "mlx5_1:1 mlx5_2:1 mlx5_9:1 mlx5_10:1 mlx5_11:1", ""),
    ("=mlx5_1:1", TWO_PORTS, "mlx5_1:1", ""),
    ("^=mlx5_0:1", TWO_PORTS, "mlx5_0:2 mlx5_1:1 mlx5_1:2 mlx5_10:1 mlx5_10:2", ""),
    ("=mlx5_1:", TWO_PORTS, "", "mlx5_1:1 mlx5_1:2"),
    ("^=mlx5_0,^=mlx5_1", SIX, "mlx5_1:1 mlx5_2:1 mlx5_9:1 mlx5_10:1 mlx5_11:1", ""),
    ("=mlx5_1, mlx5_2", SIX, "mlx5_1:1", ""),
    ("^=mlx5_0 ", SIX, "mlx5_0:1 mlx5_1:1 mlx5_2:1 mlx5_9:1 mlx5_10:1 mlx5_11:1", ""),
    ("^=mlx5_99", SIX, "mlx5_0:1 mlx5_1:1 mlx5_2:1 mlx5_9:1 mlx5_10:1 mlx5_11:1", ""),
    ("=:1,mlx5_1", TWO_PORTS, "mlx5_1:1 mlx5_1:2", ""),
]


def rows(text: str, verb: str) -> list[str]:
    """The devices on the lines that begin with ``taken`` or ``not taken``."""
    return [line.split()[len(verb.split())] for line in text.splitlines() if line.startswith(f"  {verb} ")]


@pytest.mark.parametrize(("spec", "devices", "taken", "added"), TABLE)
def test_explain_agrees_with_nccls_own_parser(spec, devices, taken, added):
    present = parse_devices(devices)
    text = explain(spec, present).text
    assert rows(text, "taken") == taken.split()
    assert sorted(rows(text, "taken") + rows(text, "not taken")) == sorted(
        f"{d.hca}:{d.port}" for d in present
    )
    expected = f"from NCCL 2.30.5 it takes {', '.join(added.split())} too"
    assert (expected in text) == bool(added)
    assert ("from NCCL" in text) == bool(added)


@pytest.mark.parametrize(
    ("spec", "devices", "words"),
    [
        ("^mlx5_1", SIX, "'mlx5_1' is a prefix and excludes mlx5_10, mlx5_11 too"),
        ("^=mlx5_0 ", SIX, "holds a blank"),
        ("^=mlx5_0,^=mlx5_1", SIX, "'^' and '=' count only at the start of the list"),
        ("=mlx5_99", SIX, "no port is selected: NCCL falls back to sockets"),
    ],
)
def test_the_traps_are_told_and_end_with_1(spec, devices, words):
    answer = explain(spec, parse_devices(devices))
    assert f"warning: {answer.text.split('warning: ')[1]}".startswith("warning: ")
    assert words in answer.text
    assert answer.status is Status.FAIL


def test_nothing_odd_ends_with_0():
    answer = explain("^=mlx5_0", parse_devices(SIX))
    assert answer.status is Status.PASS
    assert "no trap was found" in answer.text
    assert answer.text.startswith("NCCL_IB_HCA = '^=mlx5_0' on the given devices: take every one but")


def test_no_device_cannot_be_explained():
    assert explain("^=mlx5_0", ()).status is Status.INCONCLUSIVE
    assert explain_node("^=mlx5_0", Node("n")).status is Status.INCONCLUSIVE
    assert explain_interfaces("eth", []).status is Status.INCONCLUSIVE


def test_a_node_is_explained_against_the_profiles_rails():
    answer = explain_node("^=mlx5_0", node(), LAMBDA.rails)
    assert answer.status is Status.PASS
    assert "exactly the rails are taken" in answer.text
    assert (
        "mlx5_3:1  matches no entry of '^=mlx5_0' (rail, ACTIVE, 400 Gb/sec (4X NDR), InfiniBand)"
        in answer.text
    )
    # a storage HCA that is still selected, and a port that is down
    machine = with_port(
        replace(node(), ports=(*node().ports, port(9, link_layer="Ethernet"))), "mlx5_4", state="DOWN"
    )
    answer = explain_node("^=mlx5_0", machine, LAMBDA.rails)
    assert answer.status is Status.FAIL
    assert "mlx5_9:1 is selected but is not a rail" in answer.text
    assert "mlx5_4:1" in rows(answer.text, "not taken")
    assert "port is not ACTIVE" in answer.text


def test_devices_given_by_name_are_explained_against_the_profiles_rails():
    devices = parse_devices("mlx5_0 mlx5_1:1+2")
    assert wanted_of(devices, Rails("infiniband", excluded=("mlx5_0",))) == ("mlx5_1:1", "mlx5_1:2")
    assert wanted_of(devices, Rails("infiniband", devices=("mlx5_1/2", "mlx5_7"))) == ("mlx5_1:2",)
    assert wanted_of(devices, Rails("socket", devices=("eth1",))) == ()


def test_the_bond_of_the_h100_tree_is_warned_of(tmp_path):
    answer = explain_node("^=mlx5_0", h100(tmp_path), LAMBDA.rails)
    assert "mlx5_bond_0:1 is selected but is not a rail" in answer.text
    assert answer.status is Status.FAIL


@pytest.mark.parametrize(
    ("spec", "names", "taken"),
    [
        ("eth", "lo eth0 eth1 eth2 eth8 eth10 docker0 ib0", "eth0 eth1 eth2 eth8 eth10"),
        ("eth1", "lo eth0 eth1 eth2 eth8 eth10 docker0", "eth1 eth10"),
        ("=eth1", "lo eth0 eth1 eth2 eth8 eth10 docker0", "eth1"),
        ("=eth1:2", "lo eth0 eth1 eth2", "eth1"),
        (None, "lo eth0 ib0", "ib0"),
    ],
)
def test_interfaces_agree_with_nccls_own_parser(spec, names, taken):
    answer = explain_interfaces(spec, names.split())
    assert rows(answer.text, "taken") == taken.split()
    assert f"bootstrap goes by {taken.split()[0]}" in answer.text


def test_interfaces_that_are_no_rails_are_warned_of():
    answer = explain_interfaces("eth1", ["eth0", "eth1", "eth10"], ["eth1", "eth2"])
    assert "eth10 is taken but is not a rail" in answer.text
    assert "rail eth2 is not taken" in answer.text
    assert answer.status is Status.FAIL
    assert "NCCL cannot start" in explain_interfaces("=eth7", ["eth0"]).text


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (None, "take every one"),
        ("^", "take none"),
        ("^=mlx5_0", "take every one but those called exactly mlx5_0"),
        ("mlx5_1,mlx5_2", "take those whose name starts with mlx5_1, mlx5_2"),
    ],
)
def test_a_specification_in_words(spec, words):
    assert meaning(spec) == words


@given(st.text(max_size=20), st.lists(st.sampled_from(["mlx5_0", "mlx5_1", "eth0", ""]), max_size=4))
def test_no_text_makes_it_crash(spec, names):
    devices = parse_devices(" ".join(name for name in names if name)) if any(names) else ()
    assert explain(spec, devices).text
    assert explain_interfaces(spec, names).text
