"""Workers of the real server: torch is imported before the fork, the device is opened after it."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.measure.loop import TimingRules
from bench.measure.work_order import WorkOrder
from bench.model import typed_json
from bench.plan import Request, sweep_cases
from bench.supervise.worker_process import ForkServer, Worker

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
ROOT = Path(__file__).parents[3]
LIMIT = 240  # seconds: importing torch takes many on a busy machine


def environment(**more: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("NCCL_", "RAILGAUGE_"))}
    return {**kept, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}", **more}


@pytest.fixture
def begin() -> Iterator[Any]:
    opened: list[ForkServer] = []

    def started(module: str = "bench.measure.worker", **more: str) -> ForkServer:
        opened.append(ForkServer(environment(**more), module))
        return opened[-1]

    yield started
    for server in opened:
        server.close()


def said(one: Worker) -> list[dict[str, Any]]:
    """All that a worker says, to its end."""
    heard: list[dict[str, Any]] = []
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        status = one.ended()
        heard += one.receive()
        if status is not None:
            heard += one.receive()
            assert status == 0, one.tail()
            one.close()
            return heard
        time.sleep(0.02)
    one.kill()
    raise AssertionError(f"it did not end: {one.tail()}")


def phase(
    server: ForkServer, folder: Path, backend: str, **settings: str
) -> tuple[int, list[dict[str, Any]]]:
    """A phase of one rank with one case, as a supervisor orders it: the worker's pid and what it said."""
    case = sweep_cases("p", Request("all_gather", 1 << 16, 1 << 16), ((0,),))[0]
    order = WorkOrder(
        "p", (case,), 0, 1, 0, backend, "127.0.0.1", 120.0, TimingRules(iterations=3, warmup=1), 2
    )
    wanted = environment(**settings)
    assert server.fits(wanted)
    one = Worker(typed_json.to_json(order), wanted, folder / "phase.log", server)
    heard = said(one)
    return one.pid, heard


def twice(begin: Any, folder: Path, backend: str, *settings: dict[str, str]) -> None:
    """Two phases of one server, each a process of its own that measures."""
    server = begin()
    pids = set()
    for each in settings:
        pid, heard = phase(server, folder, backend, **each)
        pids.add(pid)
        (row,) = [message for message in heard if message["kind"] == "measurement"]
        measured = json.loads(row["row"])
        assert (measured["wrong"], measured["extra"].get("failed")) == ([0], None)
        assert heard[-1]["kind"] == "done"
    assert len(pids) == len(settings)


@pytest.mark.torch
def test_two_phases_of_one_fork_server_measure(begin, tmp_path):
    twice(begin, tmp_path, "gloo", {"NCCL_ALGO": "Ring"}, {"NCCL_ALGO": "Tree"})


@pytest.mark.gpu
def test_cuda_and_nccl_work_in_both_children_each_with_its_own_settings(begin, tmp_path):
    """CUDA in a process whose parent opened it before the fork is an error; NCCL reads its settings once."""
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    asked = [
        {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_FILE": str(log), "NCCL_SOCKET_IFNAME": name}
        for log, name in zip(logs, ("lo", "=lo"), strict=True)
    ]
    twice(begin, tmp_path, "nccl", *asked)
    for log, own in zip(logs, asked, strict=True):
        text = log.read_text(errors="replace")
        assert re.search(
            rf"NCCL_SOCKET_IFNAME set (by environment )?to {own['NCCL_SOCKET_IFNAME']}\s", text
        ), text


@pytest.mark.torch
def test_the_fork_server_opens_neither_cuda_nor_nvml(begin, tmp_path):
    one = Worker({}, environment(), tmp_path / "phase.log", begin("forkserver_spy"))
    (told,) = said(one)
    assert told["warmed"] == ["torch.distributed", "bench.measure.backend.group"]
    assert told["called"] == []
    assert (told["initialised"], told["nvml"]) == (False, False)


@pytest.mark.torch
def test_a_fork_server_that_looks_for_gpus_would_be_seen(begin, tmp_path):
    server = begin("forkserver_spy", TOUCHES_CUDA="1")
    (told,) = said(Worker({}, environment(TOUCHES_CUDA="1"), tmp_path / "phase.log", server))
    assert "torch.cuda.is_available" in told["called"]
