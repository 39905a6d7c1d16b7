"""Who reaches this machine by another address than that on which a job meets finds nobody who listens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

import mpi_jobs

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="no /proc/net/tcp"),
]
LOOPBACK = "0100007F"  # as the kernel writes 127.0.0.1
LIMIT = timedelta(seconds=60)


def listeners() -> dict[str, str]:
    """Inode -> local address in the kernel's hexadecimal, of every TCP socket that listens."""
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else ():
            fields = line.split()
            if fields[3] == "0A":
                found[fields[9]] = fields[1].partition(":")[0]
    return found


def sockets(pid: int) -> set[str]:
    """Inodes of a process's sockets."""
    found = set()
    try:
        for each in Path(f"/proc/{pid}/fd").iterdir():
            link = str(each.readlink())
            if link.startswith("socket:["):
                found.add(link[8:-1])
    except OSError:
        return found
    return found


def addresses(pids) -> set[str]:
    known = listeners()
    return {known[inode] for pid in pids for inode in sockets(pid) if inode in known}


def test_a_store_listens_at_the_address_that_the_ranks_were_told_and_at_no_other():
    import torch.distributed as dist

    from bench.measure.backend.tcp_store import opened

    before = sockets(os.getpid())
    store = opened(dist, "127.0.0.1", 2, LIMIT)
    known = listeners()
    assert {known[inode] for inode in sockets(os.getpid()) - before if inode in known} == {LOOPBACK}
    other = dist.TCPStore("127.0.0.1", store.port, 2, False, LIMIT)
    other.set("key", "value")
    assert store.get("key") == b"value"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", store.port), timeout=10)


def test_a_torch_whose_newer_server_takes_no_socket_gets_the_one_before_it():
    from bench.measure.backend.tcp_store import opened

    asked = []

    class Paper:
        def TCPStore(self, *words, use_libuv=True, **more):  # torch's name
            asked.append((words, more, use_libuv))
            if use_libuv:
                raise NotImplementedError("does not support initialization with an listen fd")

    opened(Paper(), "127.0.0.1", 2, LIMIT)
    first, second = asked
    assert first[:2] == second[:2] and (first[2], second[2]) == (True, False)
    with socket.socket(fileno=second[1]["master_listen_fd"]) as left_open:
        assert left_open.getsockname() == second[0][:2]


def test_a_store_that_cannot_be_made_leaves_no_socket_open():
    from bench.measure.backend.tcp_store import opened

    class Paper:
        def TCPStore(self, *words, **more):
            raise RuntimeError("planted")

    before = sockets(os.getpid())
    with pytest.raises(RuntimeError, match="planted"):
        opened(Paper(), "127.0.0.1", 2, LIMIT)
    assert sockets(os.getpid()) == before


def test_nothing_of_a_job_that_meets_on_one_address_listens_on_another(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    meet = {"RAILGAUGE_RANKS_HERE": "2", "RAILGAUGE_SIZE": "2", "RAILGAUGE_MEET": f"127.0.0.1:{port}"}
    words = ("run", "all_reduce", "-b", "8", "-e", "8M", "-f", "8", "-n", "9", "--out", str(tmp_path / "run"))
    job = subprocess.Popen(
        [sys.executable, "-m", "bench", *words],
        env=mpi_jobs.environment({**meet, "RAILGAUGE_FIRST_RANK": "0"}),
        cwd=mpi_jobs.ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    of_workers, of_all = set(), set()

    def over():
        below = mpi_jobs.descendants(job.pid)
        of_all.update(addresses([job.pid, *below]))
        of_workers.update(addresses(pid for pid in below if "-m bench.measure.worker" in below[pid]))
        return job.poll() is not None

    try:
        mpi_jobs.wait_until(over, "the end of the job", mpi_jobs.LIMIT)
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
    said = job.communicate()[0]
    assert job.returncode == 0, said
    assert of_workers == {LOOPBACK}, "gloo's and the store's"
    assert of_all == {LOOPBACK}, "and the supervisors' door"
