from pathlib import Path

import pytest

from bench.model.facts import LEVELS, Gpu, GpuToHca, Node, Port
from bench.model.rails import nearest, shared_out
from bench.probe import topology

TEXT = (
    "\tGPU0\tGPU1\tNIC0\tNIC1\tCPU Affinity\tNUMA Affinity\n"
    "GPU0\t X \tNV18\tSYS\tPIX\t0-55\t0\n"
    "GPU1\tNV18\t X \tPXB\tSYS\t0-55\t0\n"
    "\nNIC Legend:\n\n  NIC0: mlx5_1\n  NIC1: mlx5_2\n"
)
DATA = Path(__file__).parent / "fabric" / "data"


def nearest_of(text: str) -> dict[int, tuple[str, list[str]]]:
    """GPU → the nearest level, and the HCAs that have it."""
    found = {}
    for gpu in range(8):
        rows = [near for near in topology.parse(text) if near.gpu == gpu]
        level = min((near.level for near in rows), key=LEVELS.index, default="")
        found[gpu] = (level, [near.device for near in rows if near.level == level])
    return found


def test_an_h100_host_with_a_legend():
    text = (DATA / "topo-h100.txt").read_text()
    assert len(topology.parse(text)) == 8 * 12
    assert nearest_of(text)[0] == ("PIX", ["mlx5_0", "mlx5_1", "mlx5_2"])
    assert nearest_of(text)[7] == ("PIX", ["mlx5_11"])


def test_columns_without_a_name_keep_their_place():
    text = (DATA / "topo-a100-tabs.txt").read_text()
    assert nearest_of(text)[0] == ("NODE", ["NIC column 0", "NIC column 4"])
    assert nearest_of(text)[7] == ("NODE", ["NIC column 3", "NIC column 7"])


def test_old_drivers_name_the_device_in_the_header():
    text = (
        "GPU0    GPU1    mlx5_0  CPU Affinity\n"
        "GPU0     X      NV2     NODE    0-23\nGPU1    NV2      X      PIX     0-23\n"
        "mlx5_0  NODE    PIX      X\n"
    )
    assert topology.parse(text) == (GpuToHca(0, "mlx5_0", "NODE"), GpuToHca(1, "mlx5_0", "PIX"))


def test_a_cut_row_and_an_unknown_level_say_nothing_of_the_rest():
    header = "        GPU0    GPU1    NIC0    NIC1    CPU Affinity    NUMA Affinity\n"
    assert topology.parse(header + "GPU0     X      NV18    SYS\n") == (GpuToHca(0, "NIC0", "SYS"),)
    assert topology.parse(header + "GPU0     X      NV18    NEAR    PIX\n") == (GpuToHca(0, "NIC1", "PIX"),)


def test_the_legend_names_the_devices():
    seen = {(near.gpu, near.device): near.level for near in topology.parse(TEXT)}
    assert seen == {(0, "mlx5_1"): "SYS", (0, "mlx5_2"): "PIX", (1, "mlx5_1"): "PXB", (1, "mlx5_2"): "SYS"}


def test_the_rail_of_a_gpu_follows_it_where_the_pci_tree_tells_nothing():
    node = Node(
        "n0",
        ports=(Port("mlx5_1", 1), Port("mlx5_2", 1)),
        gpus=(Gpu(0), Gpu(1)),
        topology=topology.parse(TEXT),
    )
    assert shared_out(node, ("mlx5_1", "mlx5_2")) == (("mlx5_2",), ("mlx5_1",))
    assert len(node.affinity) == 4


def test_without_it_the_rail_is_not_known():
    node = Node("n0", ports=(Port("mlx5_1", 1),), gpus=(Gpu(0),))
    assert nearest(node, ("mlx5_1",)) == ((),)


@pytest.mark.parametrize(
    "text",
    [
        *("", "rocm-smi", "\tGPU0\nGPU0\t X \n", "command not found"),
        "\tGPU0\tGPU1\nGPU0\tX\tOK\nGPU1\tOK\tX\n",
        (DATA / "topo-rocm-smi.txt").read_text(),
    ],
)
def test_other_text_says_nothing(text):
    assert topology.parse(text) == ()


def test_a_machine_without_nvidia_smi_has_none():
    assert topology.topology(lambda command: None) == ()


def test_a_line_of_a_million_tabs_is_read_once():
    assert topology.parse("\t" * 2_000_000) == ()
