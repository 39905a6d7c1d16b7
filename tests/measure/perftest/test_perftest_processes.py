"""The processes of one node: started, watched, always ended. The program is one of paper, the rest is real."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bench.measure.perftest import processes
from bench.measure.perftest.processes import (
    CONNECT,
    END,
    SERVE,
    TOOL,
    PerftestJob,
    PerftestJobs,
    PerftestRunner,
    ProcessSaid,
    cpus,
    free_ports,
)
from bench.probe.sysfs import LIVE
from bench.probe.tcp_sockets import listeners

LIMIT = 30.0
NOTHING = PerftestJobs()


def ask(one: PerftestRunner, what: str, told: PerftestJobs = NOTHING) -> Any:
    """The answer of a node that does nothing else meanwhile."""
    one.begin(what, told)
    turn, deadline = threading.Event(), time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        for said, answer in one.look():
            assert said == what
            return answer
        turn.wait(0.01)
    raise AssertionError(f"no answer to {what}")


def words(hca: str, *more: str) -> list[str]:
    return ["ib_write_bw", "-d", hca, "-i", "1", *more]


def serve(one: PerftestRunner, *hcas: str) -> dict[str, ProcessSaid]:
    return ask(one, SERVE, PerftestJobs({hca: PerftestJob(words(hca)) for hca in hcas}, "127.0.0.1"))


def connect(one: PerftestRunner, up: dict[str, Any]) -> dict[str, ProcessSaid]:
    jobs = {hca: PerftestJob(words(hca, "127.0.0.1"), port=told.port) for hca, told in up.items()}
    return ask(one, CONNECT, PerftestJobs(jobs))


@pytest.fixture
def pair(perftest: Path) -> Any:
    ends = PerftestRunner(), PerftestRunner()
    yield ends
    for each in ends:
        each.stop()


def test_two_rails_are_measured_at_once(pair):
    server, client = pair
    up = serve(server, "mlx5_1", "mlx5_2")
    assert len({told.port for told in up.values()}) == 2
    done = connect(client, up)
    assert {told.code for told in done.values()} == {0}
    assert all("47000.00" in told.text for told in done.values())
    assert {told.code for told in ask(server, END).values()} == {0}


def test_a_server_that_cannot_start_is_told_and_the_others_serve(pair):
    up = serve(pair[0], "down", "mlx5_1")
    assert up["down"].code == 1
    assert "Port number 1 state is Down" in up["down"].text
    assert up["mlx5_1"].port


def test_a_server_that_never_listens_is_ended(pair, monkeypatch):
    monkeypatch.setattr(processes, "LISTEN_SECONDS", 0.5)
    up = serve(pair[0], "deaf")
    assert up["deaf"].code is None


def test_a_dead_data_path_ends_at_the_deadline_on_both_sides(pair, monkeypatch):
    monkeypatch.setattr(processes, "RUN_SECONDS", 1.0)
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.5)
    up = serve(pair[0], "dead")
    assert connect(pair[1], up)["dead"].code is None
    assert ask(pair[0], END)["dead"].code in (1, None)


def test_nothing_is_left_after_stop(pair):
    port = serve(pair[0], "mlx5_1")["mlx5_1"].port
    assert port in {each.port for each in listeners(LIVE)}
    pair[0].stop()
    turn, deadline = threading.Event(), time.monotonic() + LIMIT
    while port in {each.port for each in listeners(LIVE)}:
        assert time.monotonic() < deadline, "the server still listens"
        turn.wait(0.01)


def test_a_program_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert processes.ask_tool().missing == "ib_write_bw is not installed"
    one = PerftestRunner()
    assert serve(one, "mlx5_1")["mlx5_1"].code == processes.NOT_STARTED


def test_the_tool_is_asked_what_it_can(pair):
    told = ask(pair[0], TOOL)
    assert told.missing == ""
    assert "--ib-dev" in told.help
    assert told.version.strip() == "Version: 6.06"


def test_ports_are_free_and_different():
    ports = free_ports(16, "127.0.0.1")
    assert len(set(ports)) == 16
    with pytest.raises(OSError, match="assign"):
        free_ports(1, "192.0.2.1")


@pytest.mark.parametrize(
    ("text", "found"),
    [("0-3,8\n", {0, 1, 2, 3, 8}), ("5", {5}), ("", set()), ("a-b,,7", {7}), ("3-1", set())],
)
def test_cpus_of_the_kernels_list(text, found):
    assert cpus(text) == found


def test_the_supervisors_own_cpus_come_back(perftest):
    before = os.sched_getaffinity(0)
    with processes.on_cpus_of(0):
        pass
    assert os.sched_getaffinity(0) == before


def test_gpus_of_one_rank_do_not_hide_those_of_the_node(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert "CUDA_VISIBLE_DEVICES" not in processes.environment()
    assert processes.environment()["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
