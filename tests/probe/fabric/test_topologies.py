from pathlib import Path

import pytest

from bench.probe.fabric import topo_matrix
from bench.probe.fabric.pasted_text import Refused

DATA = Path(__file__).parent / "data"


def matrix(name: str) -> topo_matrix.TopoMatrix:
    return topo_matrix.parse((DATA / name).read_text())


def nearest(seen: topo_matrix.TopoMatrix) -> dict[str, tuple[str, list[str]]]:
    found = {row.name: topo_matrix.nearest(row) for row in seen.rows}
    return {gpu: (relation, [seen.name(nic) for nic in nics]) for gpu, (relation, nics) in found.items()}


def test_an_h100_host_with_a_legend():
    seen = matrix("topo-h100.txt")
    assert (len(seen.gpus), len(seen.nics), seen.complete, seen.unparsed) == (8, 12, True, ())
    assert nearest(seen)["GPU0"] == ("PIX", ["mlx5_0", "mlx5_1", "mlx5_2"])
    assert nearest(seen)["GPU7"] == ("PIX", ["mlx5_11"])
    assert [row.numa for row in seen.rows] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert seen.rows[4].cpu_affinity == "1,3,5,7,9,11"
    assert {cell for row in seen.rows for cell in row.gpus} == {"X", "NV18"}


def test_columns_without_a_name_keep_their_place():
    seen = matrix("topo-a100-tabs.txt")
    assert seen.nics == ("",) * 8
    assert topo_matrix.nearest(seen.rows[0]) == ("NODE", (0, 4))
    assert topo_matrix.nearest(seen.rows[7]) == ("NODE", (3, 7))
    assert [row.numa for row in seen.rows] == [1, 1, 0, 0, 3, 3, 2, 2]
    assert seen.name(3) == "NIC column 3"


def test_rocm_smi_is_refused():
    with pytest.raises(Refused, match="no cell like NV18, PIX or SYS"):
        matrix("topo-rocm-smi.txt")


def test_a_p2p_matrix_alone_is_refused():
    with pytest.raises(Refused, match="not nvidia-smi topo -m output"):
        topo_matrix.parse("\tGPU0\tGPU1\nGPU0\tX\tOK\nGPU1\tOK\tX\n")


def test_a_second_matrix_is_left_alone():
    seen = topo_matrix.parse(
        "\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\nGPU0\t X \tPHB\t0-63\t0\t\tN/A\n"
        "GPU1\tPHB\t X \t0-63\t0\t\tN/A\n\nLegend:\n\n \tGPU0\tGPU1\t\n GPU0\tX\tGNS\t\n GPU1\tGNS\tX\t\n"
    )
    assert [row.gpus for row in seen.rows] == [("X", "PHB"), ("PHB", "X")]
    assert (seen.nics, seen.complete, nearest(seen)) == ((), True, {"GPU0": ("", []), "GPU1": ("", [])})


def test_markdown_and_a_legend_in_a_sentence():
    seen = topo_matrix.parse(
        "|      | GPU0 | GPU1 | NIC0 | NIC1 |\n|------|------|------|------|------|\n"
        "| GPU0 | X    | NV18 | SYS  | PHB  |\n| GPU1 | NV18 | X    | SYS  | SYS  |\n\n"
        "NIC mapping: NIC0=mlx5_0/rdma0 (NUMA 0), NIC1=mlx5_5/rdma4 (NUMA 1)\n"
    )
    assert seen.devices == ("mlx5_0", "mlx5_5")
    assert nearest(seen) == {"GPU0": ("PHB", ["mlx5_5"]), "GPU1": ("SYS", ["mlx5_0", "mlx5_5"])}


def test_old_drivers_name_the_device_in_the_header():
    seen = topo_matrix.parse(
        "GPU0    GPU1    mlx5_0  CPU Affinity\n"
        "GPU0     X      NV2     NODE    0-23\nGPU1    NV2      X      PIX     0-23\n"
        "mlx5_0  NODE    PIX      X\n"
    )
    assert (seen.nics, seen.devices) == (("mlx5_0",), ("mlx5_0",))
    assert nearest(seen)["GPU1"] == ("PIX", ["mlx5_0"])
    assert seen.rows[0].numa is None


def test_a_cut_matrix_is_not_complete():
    header = "        GPU0    GPU1    NIC0    NIC1    CPU Affinity    NUMA Affinity\n"
    assert not topo_matrix.parse(header + "GPU0     X      NV18    PIX     SYS     0-55   0\n").complete
    cut = topo_matrix.parse(
        header + "GPU0     X      NV18    SYS\nGPU1    NV18     X      PIX     SYS     0-55   0\n"
    )
    assert (cut.complete, cut.rows[0].nics) == (False, ("SYS", ""))


def test_a_row_with_an_unknown_relation_is_said():
    seen = topo_matrix.parse("GPU0 GPU1 NIC0\nGPU0 X NV18 NEAR\nGPU1 NV18 X PIX\n")
    assert seen.unparsed == ("GPU0 X NV18 NEAR",)
    assert not seen.complete


def test_more_numa_nodes_than_one_are_no_number():
    row = topo_matrix.parse("\tGPU0\tCPU Affinity\tNUMA Affinity\nGPU0\t X \t0-63\t0-1\n").rows[0]
    assert (row.numa_affinity, row.numa) == ("0-1", None)
