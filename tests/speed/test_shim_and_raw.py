"""What ci/speed compares with: a raw loop of its own, and peers that expect CUDA."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "ci" / "speed"))

import fidelity
import peers
import shim


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_two_ranks_are_compared_case_by_case():
    found = fidelity.measure("gloo", 2, [("all_reduce", 1024)], 0.1, realtime=False)
    assert [(row["collective"], row["size"], row["ranks"]) for row in found] == [("all_reduce", 1024, 2)]
    assert found[0]["low"] <= found[0]["ratio"] <= found[0]["high"]
    assert found[0]["turns"] >= 30


def test_the_shims_event_is_the_hosts_clock():
    start, end = shim.Event(enable_timing=True), shim.Event(enable_timing=True)
    start.record()
    end.record()
    assert start.elapsed_time(end) >= 0


def test_peers_that_are_not_there_are_left_out(tmp_path):
    assert all(peer.words(tmp_path) is None for peer in peers.PEERS if "osu" not in peer.name)


def test_what_each_tool_was_asked_for_is_said_and_sizes_that_missed_it_are_counted():
    peer = peers.PEERS[0]
    runs = [peers.Ours(1.0, 2.0, (0.05, 0.10)), peers.Ours(1.0, 2.0, (0.08, float("nan")))]
    said = peers._work(peer, runs)
    assert said.startswith("all_reduce of float32, 2 ranks, 8 sizes from 1 KiB: ours to 10%, ")
    assert "reached 3 of 4 times; theirs 100 calls" in said
    assert "always reached" in peers._work(peer, runs[:1])


def test_peers_that_choose_a_type_are_asked_for_that_of_ours(tmp_path):
    for path in ("param_bench/train/comms/pt/comms.py", "cookbook/benchmarks/communication/all_reduce.py"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    (tmp_path / "osu_allreduce").touch(0o755)
    found = {peer.name.split()[0]: peer.words(tmp_path) for peer in peers.PEERS}
    assert found["PARAM"][found["PARAM"].index("--data-type") + 1] == "float32"
    assert found["EleutherAI"][found["EleutherAI"].index("--dtype") + 1] == "float32"
    assert found["OSU"][found["OSU"].index("-T") + 1] == "mpi_float"
