"""The environment of a phase reaches its worker, a fresh process for each phase, as the process itself sees it."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

import runs
from bench.measure.loop import TimingRules
from bench.measure.work_order import WorkOrder
from bench.model import typed_json
from bench.model.profile import load
from bench.plan import AcceptOptions, Job, acceptance
from bench.supervise import supervisor as rank
from bench.supervise.control.tcp import Control
from bench.supervise.supervisor import Supervisor
from bench.supervise.worker_process import ForkServer
from test_forkserver import PATHS

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc")
H100 = load("lambda-1cc-h100")


def told(supervisor: Supervisor) -> dict:
    """What the worker of paper sees."""
    assert supervisor.worker is not None
    until = time.monotonic() + 90
    while time.monotonic() < until:
        status = supervisor.worker.ended()
        for message in supervisor.worker.receive():
            return message
        assert status is None, supervisor.worker.tail()
        time.sleep(0.01)
    raise AssertionError("the worker said nothing")


def test_a_pinned_worker_sees_its_rail_alone_and_the_next_one_is_another_process(monkeypatch):
    monkeypatch.setattr(rank, "ForkServer", partial(ForkServer, module="paper_worker"))
    devices = tuple(f"mlx5_{at}/1" for at in range(1, 9))
    made, _ = acceptance(Job(H100, runs.ranks(2, 8), "nccl", AcceptOptions(), devices), 1.0)
    pinned = [phase for phase in made if phase.name.startswith("pinned")]
    # what a user exports, or the profile sets for all workers, must not reach a pinned one
    supervisor = Supervisor(Control(), lambda _: {}, {**PATHS, "NCCL_IB_HCA": "mlx5_0"})
    seen = []
    for phase in pinned[:3]:
        order = WorkOrder(phase.name, (), 0, 1, 0, "nccl", "127.0.0.1", 5.0, TimingRules(), 1)
        supervisor.handle(
            {
                "do": "start",
                "order": typed_json.to_json(order),
                "environment": {**H100.environment, **phase.environment},
            }
        )
        seen.append(told(supervisor))
        assert supervisor.worker is not None
        supervisor.worker.kill()
        supervisor.worker.close()
        supervisor.worker = None
    supervisor.stop_now()
    assert len({each["session"] for each in seen}) == 3, "each is a process in a session of its own"
    environments = [each["python"] for each in seen]
    assert [each["NCCL_IB_HCA"] for each in environments] == ["=mlx5_1:1", "=mlx5_2:1", "=mlx5_3:1"]
    assert all(each["NCCL_NET"] == "IB" and each["NCCL_DEBUG"] == "INFO" for each in environments)
    assert all("nccl.%p.log" in each["NCCL_DEBUG_FILE"] for each in environments)
