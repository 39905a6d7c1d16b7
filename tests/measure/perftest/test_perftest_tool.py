"""What the installed ib_write_bw can, and the words that follow from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.perftest.command import latency_words, lawful, words
from bench.measure.perftest.tool import read
from bench.model import typed_json
from bench.model.run_folder_lines import PerftestEnd, PerftestTool

PLAIN = (Path(__file__).parent / "data" / "help-4.5.txt").read_text()
# the lines that a build with CUDA adds (linux-rdma/perftest 00b55b6, src/perftest_parameters.c)
CUDA = (
    PLAIN
    + """
      --bind_source_ip  Source IP of the interface used for connection establishment.
      --use_cuda=<cuda device id> Use CUDA specific device for GPUDirect RDMA testing
      --use_cuda_bus_id=<cuda full BUS id> Use CUDA specific device for GPUDirect RDMA testing
      --use_cuda_dmabuf Use CUDA DMA-BUF for GPUDirect RDMA testing
"""
)
OLD = PerftestTool("n0", "6.06", ("tclass",))
NEW = read("n0", CUDA, "Version: 6.24")


def test_a_distributions_build_knows_no_gpu():
    assert read("n0", PLAIN, "Version: 6.06\n") == OLD


def test_a_build_with_cuda_says_so():
    assert (
        PerftestTool(
            "n0", "6.24", ("bind_source_ip", "tclass", "use_cuda", "use_cuda_bus_id", "use_cuda_dmabuf")
        )
        == NEW
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it says: nothing"),
        ("ib_write_bw: error while loading shared libraries: libpci.so.3: no", "libpci.so.3"),
        ("usage: something --ib-dev else", "does not know --duration"),
    ],
)
def test_what_is_no_help_of_perftest_is_missing(text, said):
    tool = read("n0", text, "")
    assert said in tool.missing
    assert not tool.knows


@given(st.text(max_size=200), st.text(max_size=50))
def test_no_text_crashes_and_none_makes_a_tool_by_chance(text, version):
    tool = read("n0", text, version)
    assert tool.missing or "--ib-dev" in text
    assert typed_json.load(PerftestTool, typed_json.to_json(tool)) == tool


def test_a_client_names_its_peer_last_and_a_server_names_none():
    side = PerftestEnd("n0", "mlx5_3", 2)
    server, client = words(side, OLD, "10.0.0.1"), words(side, OLD, "10.0.0.2", "10.0.0.1")
    assert client == (*server, "10.0.0.1")
    assert server[:5] == ("ib_write_bw", "-d", "mlx5_3", "-i", "2")


def test_it_is_bound_to_the_management_address_where_it_can_be():
    side = PerftestEnd("n0", "mlx5_3", 1)
    assert "--bind_source_ip" not in words(side, OLD, "10.0.0.1")
    bound = words(side, NEW, "10.0.0.1")
    assert bound[bound.index("--bind_source_ip") + 1] == "10.0.0.1"


def test_host_memory_has_no_word_about_cuda():
    assert not any("cuda" in word for word in words(PerftestEnd("n0", "mlx5_3", 1), NEW, ""))


def test_a_gpu_is_named_by_its_bus_where_perftest_takes_that():
    side = PerftestEnd("n0", "mlx5_3", 1, gpu="3", gpu_address="0000:8f:00.0", dmabuf=True)
    assert words(side, NEW, "")[-2:] == ("--use_cuda_bus_id=0000:8f:00.0", "--use_cuda_dmabuf")
    by_number = PerftestTool("n0", "6.0", ("use_cuda",))
    assert words(PerftestEnd("n0", "mlx5_3", 1, gpu="3"), by_number, "")[-1] == "--use_cuda=3"


def test_ib_write_lat_goes_the_same_way_in_host_memory():
    side = PerftestEnd("n0", "mlx5_3", 2, gpu="3", gpu_address="0000:8f:00.0")
    found = latency_words(side, NEW, "10.0.0.2", "10.0.0.1", {"NCCL_IB_GID_INDEX": "3", "NCCL_IB_SL": "1"})
    assert " ".join(found) == (
        "ib_write_lat -d mlx5_3 -i 2 -F -s 8 -n 10000 -u 18 -x 3 -S 1 --bind_source_ip 10.0.0.2 10.0.0.1"
    )
    assert lawful(found)
    assert not lawful(("ib_send_lat", *found[1:]))


def test_no_name_reaches_a_shell_or_becomes_an_option():
    odd = words(PerftestEnd("n0", "mlx5_3; reboot", 1), OLD, "$(id)", "-x")
    assert "mlx5_3; reboot" in odd  # one word, as a whole


def test_it_goes_the_way_that_nccl_is_told_to_go():
    told = {"NCCL_IB_GID_INDEX": "3", "NCCL_IB_TC": " 106", "NCCL_IB_SL": "1", "NCCL_IB_HCA": "^=mlx5_0"}
    found = words(PerftestEnd("n0", "mlx5_3", 1), OLD, "", "10.0.0.1", told)
    assert " ".join(found).endswith("-x 3 -S 1 --tclass=106 10.0.0.1")
    plain = words(PerftestEnd("n0", "mlx5_3", 1), OLD, "", "10.0.0.1")
    assert (
        words(
            PerftestEnd("n0", "mlx5_3", 1),
            OLD,
            "",
            "10.0.0.1",
            {"NCCL_IB_GID_INDEX": "-1", "NCCL_IB_TC": "x"},
        )
        == plain
    )
    assert "--tclass" not in " ".join(words(PerftestEnd("n0", "mlx5_3", 1), PerftestTool("n0"), "", "", told))
