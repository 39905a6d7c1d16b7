"""The environment of a phase reaches its worker, a fresh process for each phase, as the kernel shows it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import runs
from bench.control import Alone
from bench.measure import Rules
from bench.order import Order
from bench.plan import Asked, acceptance
from bench.profile import load
from bench.supervise import Supervisor

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc")
H100 = load("lambda-1cc-h100")


def environment_of(pid: int) -> dict[str, str]:
    path, until = Path(f"/proc/{pid}/environ"), time.monotonic() + 10
    while not (raw := path.read_bytes()) and time.monotonic() < until:
        continue  # empty while the new program is being loaded
    words = raw.decode(errors="replace").split("\0")
    return dict(word.partition("=")[::2] for word in words if word)


def test_a_pinned_worker_sees_its_rail_alone_and_the_next_one_is_another_process():
    devices = tuple(f"mlx5_{at}/1" for at in range(1, 9))
    made, _ = acceptance(H100, runs.ranks(2, 8), "nccl", 1.0, Asked(), devices)
    pinned = [phase for phase in made if phase.name.startswith("pinned")]
    # what a user exports, or the profile sets for all workers, must not reach a pinned one
    supervisor = Supervisor(Alone(), lambda _: {}, {"PATH": "/usr/bin:/bin", "NCCL_IB_HCA": "mlx5_0"})
    seen = []
    for phase in pinned[:3]:
        order = Order(phase.name, (), 0, 1, 0, "nccl", "127.0.0.1", 5.0, Rules(), 1, {})
        supervisor.handle(
            {
                "do": "start",
                "order": order.to_json(),
                "environment": {**H100.environment, **phase.environment},
            }
        )
        assert supervisor.worker is not None
        seen.append((supervisor.worker.pid, environment_of(supervisor.worker.pid)))
        supervisor.worker.kill()
        supervisor.worker.close()
        supervisor.worker = None
    supervisor.stop_now()
    assert len({pid for pid, _ in seen}) == 3
    assert [told["NCCL_IB_HCA"] for _, told in seen] == ["=mlx5_1:1", "=mlx5_2:1", "=mlx5_3:1"]
    assert all(told["NCCL_NET"] == "IB" and told["NCCL_DEBUG"] == "INFO" for _, told in seen)
    assert all("nccl.%p.log" in told["NCCL_DEBUG_FILE"] for _, told in seen)
