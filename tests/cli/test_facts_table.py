"""What ``railgauge probe`` prints: everything of one node, and of many what differs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.cli.facts_table import differences, many_nodes, one_node, table
from bench.model.facts import Environment, Node, PciPath
from bench.model.profile import Rails
from bench.model.verdict import Status
from made_nodes import LAMBDA, h100, node, nodes, with_gpu, with_host, with_port


def lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def test_a_port_is_a_row_with_its_part():
    text, status = table([node()], LAMBDA.rails)
    assert status is Status.PASS
    (row,) = lines(text, "mlx5_3/1")
    for word in ("rail", "ACTIVE", "400 Gb/sec (4X NDR)", "InfiniBand", "28.41.1000", "32 GT/s x16", "ibs3"):
        assert word in row
    assert "excluded" in lines(text, "mlx5_0/1")[0]


def test_a_gpu_is_a_row_with_its_rail():
    row = next(line for line in one_node(node(), LAMBDA.rails).splitlines() if "0000:32:00.0" in line)
    assert row.split()[-1] == "mlx5_3/1"
    assert "18/18" in row
    assert "80 GiB" in row


def test_columns_line_up():
    block = one_node(node(), LAMBDA.rails).split("\n\n")[3].splitlines()
    assert {line.index("MT_") for line in block[1:]} == {block[0].index("board")}


def test_a_narrow_link_on_the_way_is_shown_where_it_is():
    one = node()
    path = one.ports[3].pci
    assert path is not None
    narrow = replace(path, hops=(*path.hops[:-1], replace(path.hops[-1], width=8)))
    assert "32 GT/s x8 at 0000:30:01.0" in one_node(with_port(one, "mlx5_3", pci=narrow), LAMBDA.rails)


def test_what_is_not_known_is_a_question_mark_and_never_a_zero():
    text = one_node(Node("bare", notes=("nvml: not installed",)), Rails())
    assert "GPU: no GPU" in text
    assert "port: no RDMA device" in text
    assert "nvml: not installed" in text
    assert "driver         ?, CUDA ?" in text
    blind = with_port(node(), "mlx5_3", rate_text=None, state=None, fw=None, pci=PciPath("0000:33:00.0", ""))
    (row,) = lines(one_node(blind, LAMBDA.rails), "mlx5_3/1")
    assert row.split()[:4] == ["mlx5_3/1", "unknown", "?", "?"] or row.split()[:4] == [
        "mlx5_3/1",
        "rail",
        "?",
        "?",
    ]


def test_equal_nodes_differ_in_nothing():
    text, status = table(nodes(3), LAMBDA.rails)
    assert status is Status.PASS
    assert text.endswith("differences between 3 nodes:\n  none")
    assert [line.split()[0] for line in text.splitlines()[1:4]] == ["n0", "n1", "n2"]


CHANGES = [
    (
        lambda one: with_port(one, "mlx5_3", fw="28.39.1002"),
        "firmware of mlx5_3: 28.39.1002, 2 others 28.41.1000",
    ),
    (
        lambda one: with_port(one, "mlx5_3", state="DOWN"),
        "link of mlx5_3/1: DOWN, 400 Gb/sec (4X NDR), InfiniBand",
    ),
    (lambda one: with_host(one, kernel="6.8"), "kernel: 6.8, 2 others 5.15.0-113-generic"),
    (lambda one: with_host(one, kernel=None), "kernel: ?, 2 others"),
    (lambda one: replace(one, gpus=one.gpus[1:]), "GPUs: 7 × NVIDIA H100 80GB HBM3, 2 others 8 ×"),
    (lambda one: replace(one, ports=one.ports[1:]), "firmware of mlx5_0: absent"),
    (
        lambda one: replace(one, environment=Environment({"NCCL_ALGO": "Ring"})),
        "variable NCCL_ALGO: 'Ring', 2 others",
    ),
]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_a_node_that_differs_is_named_with_the_majority(change, words):
    machines = list(nodes(3))
    machines[1] = change(machines[1])
    assert any(text.startswith(f"n1 differs in {words}") for text in differences(machines))
    assert words in many_nodes(machines, LAMBDA.rails)


def test_no_majority_is_said():
    two = [node(0), with_host(node(1), kernel="6.8")]
    assert "no majority in kernel: n0 5.15.0-113-generic; n1 6.8" in list(differences(two))


def test_nobody_probed_is_an_error():
    assert table([]) == ("no node was probed", Status.INCONCLUSIVE)


def test_the_h100_tree_is_shown(tmp_path):
    text, _ = table([h100(tmp_path)], LAMBDA.rails)
    assert "200 Gb/sec (2X NDR)" in lines(text, "mlx5_bond_0/1")[0]
    assert len(lines(text, "mlx5_")) == 9


def test_uncorrected_errors_are_shown():
    sick = with_gpu(node(), 3, ecc=replace(node().gpus[3].ecc, volatile_uncorrected=2))
    assert "on, 2 wrong" in one_node(sick, LAMBDA.rails)
