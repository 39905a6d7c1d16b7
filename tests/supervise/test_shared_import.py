"""One import for all ranks of a command: real processes, without torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mpi_jobs
from bench.supervise import shared_import
from bench.supervise.shared_import import VARIABLE, SharedForkServer
from bench.supervise.worker_process import ForkServer, Worker

ROOT = Path(__file__).parents[2]
# with a locale: without one Python adds a variable to its own environment
PATHS = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
LIMIT = 90
TOKEN = "RAILGAUGE_TOKEN"
pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="an older kernel or Python")


@pytest.fixture
def shared():
    begun = shared_import.begin({**PATHS, TOKEN: "a secret of the job"}, "paper_worker")
    assert begun
    yield begun
    begun.close()


@pytest.fixture
def join():
    joined = []

    def started(address: str, **more: str) -> ForkServer:
        joined.append(ForkServer({**PATHS, VARIABLE: address, **more}, "paper_worker"))
        return joined[-1]

    yield started
    for server in joined:
        server.close()


def is_shared(server: ForkServer) -> bool:
    return isinstance(server._process, SharedForkServer)


def run(server: ForkServer, folder: Path, environment: dict[str, str] | None = None, **order) -> Worker:
    return Worker(order, environment or PATHS, folder / "phase.log", server)


def first(one: Worker) -> dict:
    found: list[dict] = []
    mpi_jobs.wait_until(lambda: found.extend(one.receive()) or found, "the worker's word", LIMIT)
    one.ended()  # which also hears of its birth
    return found[0]


def ended(one: Worker) -> int:
    mpi_jobs.wait_until(lambda: one.ended() is not None, "the worker's end", LIMIT)
    status = one.ended()
    one.close()
    assert status is not None
    return status


def test_two_ranks_have_workers_of_one_import_each_with_its_own_environment(shared, join, tmp_path):
    servers = [join(shared.address, OMPI_COMM_WORLD_RANK=str(rank)) for rank in range(2)]
    assert all(map(is_shared, servers))
    wanted = [{**PATHS, "NCCL_IB_HCA": f"mlx5_{rank}"} for rank in range(2)]
    workers = [run(server, tmp_path, given) for server, given in zip(servers, wanted, strict=True)]
    seen = [first(one) for one in workers]
    assert seen[0]["warmed"] == seen[1]["warmed"] == [shared._process.pid]
    assert [each["python"] for each in seen] == wanted
    assert [each["session"] for each in seen] == [one.pid for one in workers]
    assert [ended(one) for one in workers] == [0, 0]
    again = run(servers[0], tmp_path)
    assert first(again)["warmed"] == seen[0]["warmed"] and ended(again) == 0


@pytest.mark.parametrize(
    "change",
    [{"LD_PRELOAD": ""}, {"CUDA_VISIBLE_DEVICES": "1"}, {"HOME": "/"}, {VARIABLE: "0 /nowhere/import"}],
)
def test_a_rank_in_another_environment_imports_by_itself(shared, join, change):
    assert not is_shared(join(shared.address, **change))


def test_folders_of_libraries_count_unless_they_hold_only_those_of_mpi(shared, join, tmp_path):
    of_mpi, other, missing = tmp_path / "mpi", tmp_path / "other", tmp_path / "missing"
    for folder, name in ((of_mpi, "libmpi.so.40"), (other, "libnccl.so.2")):
        folder.mkdir()
        (folder / name).touch()
    (of_mpi / "python3.11").mkdir()
    assert is_shared(join(shared.address, LD_LIBRARY_PATH=f"{of_mpi}:{missing}:{of_mpi}", OPAL_PREFIX="/mpi"))
    for path in (f"{of_mpi}:{other}", ".", ":", f"{of_mpi}:"):
        assert not is_shared(join(shared.address, LD_LIBRARY_PATH=path)), path
    (of_mpi / "libnccl-net.so").touch()
    assert not is_shared(join(shared.address, LD_LIBRARY_PATH=str(of_mpi)))


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor")
@pytest.mark.parametrize(
    ("change", "joins"),
    [
        ("pass", True),
        ("os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})", False),
        ("os.nice(1)", False),
        ("os.chdir('/')", False),
        ("resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))", False),
    ],
)
def test_a_rank_in_another_place_imports_by_itself(shared, change, joins):
    code = (
        f"import os, resource; {change}; "
        "from bench.supervise.shared_import import join; "
        "print(join(dict(os.environ), os.open(os.devnull, os.O_WRONLY)) is not None)"
    )
    environment = {**PATHS, VARIABLE: shared.address}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{joins}\n"


def test_where_the_import_is_gone_a_rank_imports_by_itself(shared, join, tmp_path):
    shared.close()
    server = join(shared.address)
    assert not is_shared(server)
    one = run(server, tmp_path)
    assert first(one)["warmed"] and ended(one) == 0


def test_where_the_import_is_killed_the_rank_of_a_waiting_worker_imports_by_itself(join, tmp_path):
    begun = shared_import.begin({**PATHS, "HANG_UNTIL": str(tmp_path / "go")}, "paper_worker")
    assert begun
    server = join(begun.address, HANG_UNTIL=str(tmp_path / "go"))
    one = run(server, tmp_path)
    assert is_shared(server) and one.ended() is None and one.stage == "importing torch"
    os.kill(begun._process.pid, signal.SIGKILL)
    mpi_jobs.wait_until(lambda: one.ended() is None and not is_shared(server), "an import of its own", LIMIT)
    (tmp_path / "go").touch()
    assert first(one)["session"] == one.pid and ended(one) == 0
    begun.close()


def test_an_import_that_fails_is_told_by_the_rank_that_repeats_it(join, tmp_path):
    begun = shared_import.begin({**PATHS, "CRASH_WHEN_WARM": "1"}, "paper_worker")
    assert begun
    server = join(begun.address, CRASH_WHEN_WARM="1")
    one = run(server, tmp_path)
    mpi_jobs.wait_until(lambda: one.ended() is not None, "the worker's end", LIMIT)
    assert one.ended() == -signal.SIGSEGV and "planted: the library is broken" in one.tail()
    one.close()
    begun.close()


def test_a_worker_can_be_ended_before_it_is_born(join, tmp_path):
    begun = shared_import.begin({**PATHS, "HANG_WHEN_WARM": "1"}, "paper_worker")
    assert begun
    one = run(join(begun.address, HANG_WHEN_WARM="1"), tmp_path)
    one.stop()
    assert ended(one) == -signal.SIGKILL
    begun.close()


def test_a_fork_server_that_somebody_killed_is_told_as_killed(shared, join, tmp_path):
    server = join(shared.address)
    one = run(server, tmp_path, stay=True)
    first(one)
    stat = Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()
    os.kill(int(stat[1]), signal.SIGKILL)  # its parent
    assert ended(one) == -signal.SIGKILL


def test_what_an_import_printed_is_in_the_output_of_each_rank(join, tmp_path):
    begun = shared_import.begin({**PATHS, "SAY_WHEN_WARM": "1"}, "paper_worker")
    assert begun
    servers = [join(begun.address, SAY_WHEN_WARM="1") for _ in range(2)]
    for server in servers:
        mpi_jobs.wait_until(lambda server=server: list(server.receive()) or server.warm, "torch", LIMIT)
        assert server.output() == "planted: a warning\n"
    begun.close()


def test_neither_the_import_nor_a_worker_has_the_token(shared, join, tmp_path):
    one = run(join(shared.address), tmp_path, stay=True)
    first(one)
    for pid in (shared._process.pid, one.pid):
        assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()
    one.kill()
    one.close()


RANK = """
import os, sys, time
from pathlib import Path
from bench.supervise.worker_process import ForkServer, Worker
server = ForkServer(os.environ, "paper_worker")
worker = Worker({"stay": True}, dict(os.environ), Path(sys.argv[1]) / "w.log", server)
while not list(worker.receive()):
    time.sleep(0.01)
worker.ended()
if os.fork() == 0:  # a copy of rank 0 may hold the connection for longer
    time.sleep(600)
sys.stdout.write(f"{worker.pid}\\n")
sys.stdout.flush()
time.sleep(600)
"""


def test_fork_server_and_worker_die_with_their_rank_whoever_else_holds_its_connection(shared, tmp_path):
    environment = {**PATHS, VARIABLE: shared.address}
    rank = subprocess.Popen(
        [sys.executable, "-c", RANK, str(tmp_path)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert rank.stdout
    worker = int(rank.stdout.readline())
    below = mpi_jobs.descendants(shared._process.pid)
    assert sorted(mpi_jobs.called(pid) for pid in below) == ["rg-forkserver", "rg-worker"] and worker in below
    rank.kill()
    rank.wait()
    try:
        mpi_jobs.wait_until(lambda: not mpi_jobs.alive(list(below)), "the end of both")
        assert mpi_jobs.called(shared._process.pid) == "rg-import"
    finally:
        os.killpg(rank.pid, signal.SIGKILL)
        rank.stdout.close()


def test_the_import_dies_with_its_command(tmp_path):
    code = (
        "import os, sys, time; from bench.supervise import shared_import; "
        "begun = shared_import.begin(os.environ, 'paper_worker'); print(begun._process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], env=PATHS, stdout=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout
        pid = int(command.stdout.readline())
        command.kill()
    mpi_jobs.wait_until(lambda: not mpi_jobs.alive([pid]), "the end of the import")
