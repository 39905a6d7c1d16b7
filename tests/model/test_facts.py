import json
import types
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.model import typed_json
from bench.model.facts import (
    LEVELS,
    Gpu,
    GpuToHca,
    Host,
    Interface,
    Node,
    PciLink,
    PciPath,
    Port,
    relation,
)
from bench.model.rails import nearest, shared_out

PLAIN = {
    str: st.text(max_size=8),
    int: st.integers(-1, 1 << 64),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
}


def made(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that stands in the facts."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return st.none() | made(arguments[0])
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{item.name: made(hints[item.name]) for item in fields(kind)})
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(made(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(made, arguments))
    if origin is Mapping:
        return st.dictionaries(PLAIN[str], made(arguments[1]), max_size=2)
    return PLAIN[kind]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=20)
@given(made(Node))
def test_load_is_the_inverse_of_to_json(node):
    assert typed_json.load(Node, json.loads(json.dumps(typed_json.to_json(node)))) == node
    assert typed_json.load(Node, typed_json.to_json(node)) == node


def test_absent_stays_absent_and_is_not_zero():
    row = json.loads(json.dumps(typed_json.to_json(Node("n1", ports=(Port("mlx5_0", 1),)))))
    port = typed_json.load(Node, row).ports[0]
    assert (port.rate, port.lid, port.pci, dict(port.counters)) == (None, None, None, {})


def test_a_value_that_is_no_utf8_survives():
    node = Node("n1", notes=("\udcff",))
    assert typed_json.load(Node, json.loads(json.dumps(typed_json.to_json(node)))) == node


def test_a_key_of_a_later_version_is_left_out_and_a_missing_one_is_absent():
    assert typed_json.load(Node, {"name": "n1", "sharp": 3, "host": {"kernel": "6.8"}}) == Node(
        "n1", host=Host(kernel="6.8")
    )


@pytest.mark.parametrize(
    ("row", "where"),
    [
        ([], "expected an object, found []"),
        ({}, "name: is missing"),
        ({"name": 3}, "name: expected a text, found 3"),
        ({"name": "n", "ports": {}}, "ports: expected a list, found {}"),
        ({"name": "n", "ports": [{"hca": "mlx5_0"}]}, "ports[0].number: is missing"),
        (
            {"name": "n", "ports": [{"hca": "a", "number": True}]},
            "ports[0].number: expected a whole number, found true",
        ),
        (
            {"name": "n", "ports": [{"hca": "a", "number": 1, "counters": {"x": "N/A"}}]},
            'ports[0].counters.x: expected a whole number, found "N/A"',
        ),
        (
            {"name": "n", "host": {"port_range": [1]}},
            "host.port_range: expected a list of length 2, found [1]",
        ),
        ({"name": "n", "tcp": {1: 1}}, "tcp: expected a text"),
        ({"name": "n", "host": {"clock": 10**400}}, "host.clock: number out of range, found 1000"),
    ],
)
def test_what_is_not_a_node_is_refused_with_the_place(row, where):
    with pytest.raises(typed_json.Misfit) as caught:
        typed_json.load(Node, row)
    assert str(caught.value).startswith(where)


@settings(max_examples=100)
@given(JSON, st.sampled_from([item.name for item in fields(Node)]))
def test_no_json_crashes_the_reader(value, name):
    for row in (value, {"name": "n", name: value}):
        with suppress(typed_json.Misfit):
            assert isinstance(typed_json.load(Node, row), Node)


def test_a_port_names_itself_and_its_guid():
    port = Port("mlx5_3", 1, "ACTIVE", link_layer="InfiniBand", gid="fe80:0000:0000:0000:a088:c203:0012:3456")
    assert (port.name, port.active, port.guid) == ("mlx5_3/1", True, "a088:c203:0012:3456")
    assert replace(port, state=None).active is None
    assert replace(port, state="INIT").active is False
    assert replace(port, link_layer="Ethernet").guid is None


# ── affinity ────────────────────────────────────────────────────────────────────────────────────────────


def path(root: str, *addresses: str, numa: int | None = None) -> PciPath:
    """Addresses from the device to the root port."""
    return PciPath(addresses[0], root, numa, tuple(map(PciLink, addresses)))


def below(switch: int, device: int, numa: int | None = 0) -> PciPath:
    """Device number ``device`` of a switch with a root complex of its own."""
    return path(
        f"pci{switch}",
        f"{switch}:d{device}",
        f"{switch}:down{device}",
        f"{switch}:up",
        f"{switch}:rp",
        numa=numa,
    )


GPU = path("pci1", "gpu", "1:down0", "1:up", "1:top0", "1:topup", "1:rp", numa=0)


@pytest.mark.parametrize(
    ("other", "level"),
    [
        (path("pci1", "nic", "1:down1", "1:up", "1:top0", "1:topup", "1:rp", numa=0), "PIX"),
        (path("pci1", "gpu.1", "1:down0", "1:up", "1:top0", "1:topup", "1:rp", numa=0), "PIX"),
        (path("pci1", "nic", "2:down1", "2:up", "1:top1", "1:topup", "1:rp", numa=0), "PXB"),
        (
            path("pci1", "nic", "n:down", "n:up", "1:down1", "1:up", "1:top0", "1:topup", "1:rp", numa=0),
            "PXB",
        ),
        (path("pci1", "nic", "1:rp2", numa=0), "PHB"),
        (path("pci2", "nic", "2:rp", numa=0), "NODE"),
        (path("pci2", "nic", "2:rp", numa=1), "SYS"),
        (path("pci2", "nic", "2:rp", numa=None), None),
        (PciPath("nic", "", 0), None),
        (None, None),
    ],
)
def test_the_common_ancestor_tells_how_near_two_devices_are(other, level):
    assert relation(GPU, other) == level
    assert relation(other, GPU) == level


# a device's place in one tree of bridges: every address is the way from the root, so a prefix is an ancestor
paths = st.builds(
    lambda root, way, numa: path(root, *(root + way[:end] for end in range(len(way), 0, -1)), numa=numa),
    st.sampled_from(("r0", "r1")),
    st.text("ab", min_size=1, max_size=6),
    st.sampled_from((None, 0, 1)),
)


@given(paths, paths)
def test_nearness_is_the_same_from_both_sides(one, other):
    assert relation(one, other) == relation(other, one)
    assert relation(one, other) in (None, *LEVELS)


def hgx(order: tuple[int, ...] = tuple(range(8))) -> Node:
    """Eight switches, each with a GPU and an InfiniBand HCA; two more Ethernet HCAs with GPU 0."""
    numbers = (0, 3, 4, 5, 6, 9, 10, 11)
    return Node(
        "n1",
        ports=(
            *(
                Port(f"mlx5_{number}", 1, pci=below(switch, 1, switch // 4))
                for switch, number in enumerate(numbers)
            ),
            Port("mlx5_1", 1, pci=below(0, 2)),
            Port("mlx5_2", 1, pci=below(0, 3)),
        ),
        gpus=tuple(Gpu(index, pci=below(switch, 0, switch // 4)) for index, switch in enumerate(order)),
    )


RAILS = tuple(f"mlx5_{number}" for number in (0, 3, 4, 5, 6, 9, 10, 11))


def test_each_gpu_takes_the_rail_of_its_own_switch():
    assert shared_out(hgx(), RAILS) == tuple((rail,) for rail in RAILS)
    turned = (7, 6, 5, 4, 3, 2, 1, 0)
    assert shared_out(hgx(turned), RAILS) == tuple((rail,) for rail in reversed(RAILS))


def test_rails_may_be_named_as_ports():
    assert shared_out(hgx(), ["mlx5_3:1", "mlx5_0/1"])[:2] == (("mlx5_0/1",), ("mlx5_3:1",))


def test_affinity_holds_every_gpu_against_every_hca():
    rows = hgx().affinity
    assert len(rows) == 8 * 10
    assert GpuToHca(0, "mlx5_1", "PIX") in rows
    assert GpuToHca(0, "mlx5_3", "NODE") in rows
    assert GpuToHca(0, "mlx5_11", "SYS") in rows


def test_gpus_equally_near_to_the_same_rails_share_them_out():
    flat = Node(
        "vm",
        interfaces=tuple(Interface(f"eth{i}", pci=path("pci0", f"n{i}", f"p{i}")) for i in range(1, 5)),
        gpus=tuple(Gpu(i, pci=path("pci0", f"g{i}", f"q{i}")) for i in range(4)),
    )
    assert shared_out(flat, ["eth1", "eth2", "eth3", "eth4"]) == (("eth1",), ("eth2",), ("eth3",), ("eth4",))
    assert shared_out(flat, ["eth4", "eth2"]) == (("eth4",), ("eth4",), ("eth2",), ("eth2",))


def test_no_rail_is_made_up_where_the_way_is_unknown():
    node = Node("n", ports=(Port("mlx5_0", 1),), gpus=(Gpu(0, pci=below(0, 0)), Gpu(1)))
    assert nearest(node, ["mlx5_0"]) == ((), ())
    assert shared_out(node, []) == ((), ())
    assert node.affinity == ()


def uneven(*switches: int) -> Node:
    """A GPU below each of these switches; an HCA below switches 0, 1 and 2, two below switch 3."""
    ports = [Port(f"mlx5_{at}", 1, pci=below(at, 1)) for at in (0, 1, 2)]
    ports += [Port(f"mlx5_{at}", 1, pci=below(3, at)) for at in (3, 4)]
    gpus = tuple(Gpu(index, pci=below(switch, 0)) for index, switch in enumerate(switches))
    return Node("n", ports=tuple(ports), gpus=gpus)


HCAS = tuple(f"mlx5_{at}" for at in range(5))


@pytest.mark.parametrize(
    ("switches", "own"),
    [
        # a GPU uses the one that is nearest, whoever else does
        ((0, 0, 1), [("mlx5_0",), ("mlx5_0",), ("mlx5_1",)]),
        ((2, 1, 0), [("mlx5_2",), ("mlx5_1",), ("mlx5_0",)]),
        # those that are equally near to one GPU alone are all its own
        ((0, 3), [("mlx5_0",), ("mlx5_3", "mlx5_4")]),
        # two GPUs below one switch share them out
        ((0, 3, 3), [("mlx5_0",), ("mlx5_3",), ("mlx5_4",)]),
        # three GPUs and two HCAs: nothing tells which two share
        ((0, 3, 3, 3), [("mlx5_0",), (), (), ()]),
    ],
)
def test_on_uneven_layouts_each_gpu_uses_what_is_nearest(switches, own):
    assert list(shared_out(uneven(*switches), HCAS)) == own


def test_a_gpu_between_two_adapters_of_others_is_not_given_either():
    levels = {
        (0, "a"): "PIX",
        (0, "b"): "SYS",
        (1, "a"): "PHB",
        (1, "b"): "PHB",
        (2, "a"): "SYS",
        (2, "b"): "PIX",
    }
    near = tuple(GpuToHca(gpu, device, level) for (gpu, device), level in levels.items())
    node = Node("n", gpus=tuple(Gpu(at) for at in range(3)), topology=near)
    assert shared_out(node, ("a", "b")) == (("a",), (), ("b",))
