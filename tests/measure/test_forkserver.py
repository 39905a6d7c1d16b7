"""The process that imports once and forks a worker a phase: real processes, without torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mpi_jobs
from bench.supervise.worker_process import ForkServer, Worker

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc")
ROOT = Path(__file__).parents[2]
PATHS = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": os.environ["PATH"]}
LIMIT = 90


@pytest.fixture
def begin():
    opened = []

    def started(**more: str) -> ForkServer:
        server = ForkServer({**PATHS, **more}, "paper_worker")
        opened.append(server)
        return server

    yield started
    for server in opened:
        server.close()


def worker(server: ForkServer, folder: Path, environment: dict[str, str] | None = None, **order) -> Worker:
    return Worker(order, PATHS if environment is None else environment, folder / "phase.log", server)


def first(one: Worker) -> dict:
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        status = one.ended()
        for message in one.receive():
            one.ended()  # which also hears of its birth
            return message
        assert status is None, one.tail()
        time.sleep(0.01)
    raise AssertionError("the worker said nothing")


def ended(one: Worker) -> int:
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        if (status := one.ended()) is not None:
            return status
        time.sleep(0.01)
    raise AssertionError("the worker did not end")


def test_two_phases_are_two_processes_of_one_import(begin, tmp_path):
    server = begin()
    seen = []
    for _ in range(2):
        one = worker(server, tmp_path)
        seen.append((first(one), one.pid))
        assert ended(one) == 0
        one.close()
    (told, pid), (again, other) = seen
    assert pid != other and told["session"] == pid and again["session"] == other
    assert told["warmed"] == again["warmed"] != [pid], "imported before the fork, once"
    assert told["collects"] and again["collects"], "a phase may last for days"
    assert "printed by the worker" in (tmp_path / "phase.log").read_text()


def test_a_phase_has_its_own_environment_for_python_and_for_c(begin, tmp_path):
    server = begin(NCCL_IB_HCA="mlx5_0", GLOO_SOCKET_IFNAME="eth0")
    wanted = {**PATHS, "NCCL_IB_HCA": "=mlx5_3:1", "NCCL_DEBUG": "INFO"}
    assert server.fits(wanted)
    one = worker(server, tmp_path, wanted, ask=["NCCL_IB_HCA", "NCCL_DEBUG", "GLOO_SOCKET_IFNAME"])
    told = first(one)
    assert told["python"] == wanted
    assert told["libc"] == {"NCCL_IB_HCA": "=mlx5_3:1", "NCCL_DEBUG": "INFO", "GLOO_SOCKET_IFNAME": ""}
    assert ended(one) == 0
    one.close()


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({"NCCL_IB_HCA": "mlx5_1"}, True),
        ({"OMP_NUM_THREADS": "1", "TORCH_NCCL_BLOCKING_WAIT": "1"}, True),
        ({"CUDA_VISIBLE_DEVICES": "0"}, False),
        ({"LD_PRELOAD": ""}, False),
        ({"TORCH_DISTRIBUTED_DEBUG": "DETAIL"}, False),
    ],
)
def test_what_is_read_when_libraries_are_loaded_wants_another_fork_server(begin, change, fits):
    assert begin().fits({**PATHS, **change}) is fits


def test_an_order_larger_than_a_pipe_is_sent_when_the_worker_reads(begin, tmp_path):
    one = worker(begin(), tmp_path, long="x" * 3_000_000)
    assert first(one)["length"] == 3_000_000
    assert ended(one) == 0
    one.close()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGSEGV, -11)])
def test_a_killed_worker_is_told_by_its_signal_and_the_next_is_born(begin, tmp_path, number, status):
    server = begin()
    one = worker(server, tmp_path, stay=True)
    first(one)
    assert one.ended() is None
    os.kill(one.pid, number)
    assert ended(one) == status
    one.close()
    two = worker(server, tmp_path)
    assert first(two)["kind"] == "seen" and ended(two) == 0
    two.close()


def test_an_exception_is_status_1_and_its_traceback_is_kept(begin, tmp_path):
    one = worker(begin(), tmp_path, fail=True)
    first(one)
    assert ended(one) == 1
    assert "ValueError: planted" in one.tail()
    one.close()


def test_a_worker_that_is_stopped_by_signal_is_seen_so_and_is_ended(begin, tmp_path):
    one = worker(begin(), tmp_path, stay=True)
    first(one)
    os.kill(one.pid, signal.SIGSTOP)
    mpi_jobs.wait_until(lambda: one.state() == "T", "the worker's stop")
    one.stop()
    assert ended(one) in (-9, -15)
    one.close()


def test_a_fork_server_that_crashes_while_importing_is_a_worker_that_ended(begin, tmp_path):
    server = begin(CRASH_WHEN_WARM="1")
    one = worker(server, tmp_path)
    assert ended(one) == -11
    assert "planted: the library is broken" in one.tail()
    assert not server.fits({**PATHS, "CRASH_WHEN_WARM": "1"})
    one.close()


def test_a_worker_can_be_ended_before_it_is_born(begin, tmp_path):
    one = worker(begin(HANG_WHEN_WARM="1"), tmp_path)
    assert one.ended() is None and one.pid == 0 and one.stage == "importing torch"
    one.stop()
    assert ended(one) == -9
    one.close()


def test_killing_the_fork_server_ends_its_worker(begin, tmp_path):
    server = begin()
    one = worker(server, tmp_path, stay=True)
    first(one)
    assert one.ended() is None
    server.kill()
    assert ended(one) == -9
    mpi_jobs.wait_until(lambda: not mpi_jobs.alive([one.pid]), "the worker's end")
    one.close()


SUPERVISOR = """
import sys, time
from pathlib import Path
from bench.supervise.worker_process import ForkServer, Worker
import os
server = ForkServer(os.environ, "paper_worker")
worker = Worker({"stay": True}, dict(os.environ), Path(sys.argv[1]) / "w.log", server)
while not list(worker.receive()):
    time.sleep(0.01)
worker.ended()
print(server._process.pid, worker.pid, flush=True)
time.sleep(600)
"""


def test_both_die_with_the_supervisor(tmp_path):
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path)],
        env={**os.environ, **PATHS},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert supervisor.stdout
    pids = [int(word) for word in supervisor.stdout.readline().split()]
    assert len(pids) == 2 and [mpi_jobs.called(pid) for pid in pids] == ["rg-forkserver", "rg-worker"]
    supervisor.kill()
    supervisor.wait()
    mpi_jobs.wait_until(lambda: not mpi_jobs.alive(pids), "the end of both")
    supervisor.stdout.close()
