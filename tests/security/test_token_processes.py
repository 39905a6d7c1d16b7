"""Whatever starts a job, no process that RailGauge starts for measuring has the token; real processes are looked at."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import mpi_jobs
from bench import launch
from bench.measure import forkserver
from bench.supervise.control.token import FILE, VARIABLE

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc"),
]
TOKEN = "a-secret-for-these-tests-alone"
WORDS = ("run", "all_reduce", "-b", "8", "-e", "8M", "-f", "8", "-n", "9", "--out")


def by_variable(_):
    return {VARIABLE: TOKEN}


def by_file(folder):
    path = folder / "token"
    path.write_text(TOKEN)
    path.chmod(0o600)
    return {FILE: str(path)}


def plain(given, out):
    """Two nodes of one rank, without MPI."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    meet = {"RAILGAUGE_RANKS_HERE": "1", "RAILGAUGE_SIZE": "2", "RAILGAUGE_MEET": f"127.0.0.1:{port}"}
    command = [sys.executable, "-m", "bench", *WORDS, str(out)]
    return [(command, {**meet, **given, "RAILGAUGE_FIRST_RANK": str(rank)}) for rank in (1, 0)]


def mpi(given, out):
    mpirun = launch.find_mpirun()
    kind = launch.flavour(launch.mpirun_version(mpirun))
    return [(launch.local_command(mpirun, kind, 2, [*WORDS, str(out)]), launch.mpi_environment(given))]


def ours(given, out):
    """Started bare: it starts mpirun itself."""
    return [([sys.executable, "-m", "bench", *WORDS, str(out), "--ranks", "2"], given)]


def alone(given, out):
    return [([sys.executable, "-m", "bench", *WORDS, str(out), "--ranks", "1"], given)]


class Looker:
    """Every process that imports torch, or was forked from one, that was ever seen below some jobs."""

    def __init__(self) -> None:
        self.environments: dict[int, bytes] = {}
        self.nurseries: set[int] = set()
        self.workers: set[int] = set()

    def look(self, jobs) -> bool:
        """Whether the jobs are over."""
        over = all(job.poll() is not None for job in jobs)
        for pid, words in {
            each: text for job in jobs for each, text in mpi_jobs.descendants(job.pid).items()
        }.items():
            if "-m bench.measure.worker" not in words:
                continue
            try:
                environment = Path(f"/proc/{pid}/environ").read_bytes()
                above = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if not environment:  # it is about to be gone
                continue
            self.environments[pid] = environment
            forked = "-m bench.measure.worker" in mpi_jobs.command(above)
            (self.workers if forked else self.nurseries).add(pid)
        return over


@pytest.mark.parametrize(
    ("start", "give", "imports"),
    [
        (plain, by_variable, 2),
        (plain, by_file, 2),
        (alone, by_variable, 1),
        pytest.param(mpi, by_variable, 2, marks=pytest.mark.mpi),
        pytest.param(ours, by_variable, 1, marks=pytest.mark.mpi),
    ],
)
def test_neither_fork_server_nor_worker_has_the_token_and_torch_is_imported_once(
    tmp_path, start, give, imports
):
    given = give(tmp_path)
    jobs = [
        subprocess.Popen(
            command,
            env=mpi_jobs.environment(more),
            cwd=mpi_jobs.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        for command, more in start(given, tmp_path / "run")
    ]
    seen = Looker()
    try:
        mpi_jobs.wait_until(lambda: seen.look(jobs), "the end of the job", mpi_jobs.LIMIT)
    finally:
        for job in jobs:
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)
    said = "".join(job.communicate()[0] for job in jobs)
    assert all(job.returncode == 0 for job in jobs), said
    assert len(seen.nurseries) == imports, said
    assert seen.workers, f"no {forkserver.CHILD} was seen: {said}"
    for environment in seen.environments.values():
        names = {each.partition(b"=")[0].decode() for each in environment.split(b"\0")}
        assert "PATH" in names and not names & {VARIABLE, FILE}
        assert TOKEN.encode() not in environment
