import pytest

from bench.model.facts import Gpu, Node, Port, affinity
from bench.model.rails import nearest, shared_out
from bench.probe import topology

TEXT = (
    "\tGPU0\tGPU1\tNIC0\tNIC1\tCPU Affinity\tNUMA Affinity\n"
    "GPU0\t X \tNV18\tSYS\tPIX\t0-55\t0\n"
    "GPU1\tNV18\t X \tPXB\tSYS\t0-55\t0\n"
    "\nNIC Legend:\n\n  NIC0: mlx5_1\n  NIC1: mlx5_2\n"
)


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
    assert len(affinity(node)) == 4


def test_without_it_the_rail_is_not_known():
    node = Node("n0", ports=(Port("mlx5_1", 1),), gpus=(Gpu(0),))
    assert nearest(node, ("mlx5_1",)) == ((),)


@pytest.mark.parametrize("text", ["", "rocm-smi", "\tGPU0\nGPU0\t X \n", "command not found"])
def test_other_text_says_nothing(text):
    assert topology.parse(text) == ()


def test_a_machine_without_nvidia_smi_has_none():
    assert topology.topology(lambda command: None) == ()
