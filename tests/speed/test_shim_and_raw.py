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
