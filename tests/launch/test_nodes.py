"""Real supervisors without MPI: one process a node starts those of its ranks; they meet over TCP."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from mpi_jobs import LIMIT, ROOT, alive, descendants, environment, wait_until

TOKEN = "a-secret-for-these-tests-alone"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def node(first, here, size, port, out, token=TOKEN, words=(), **more):
    """``railgauge probe`` as a person types it on one node."""
    variables = {
        "RAILGAUGE_FIRST_RANK": str(first),
        "RAILGAUGE_RANKS_HERE": str(here),
        "RAILGAUGE_SIZE": str(size),
        "RAILGAUGE_MEET": f"127.0.0.1:{port}",
        **({"RAILGAUGE_TOKEN": token} if token else {}),
        **more,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *map(str, words or ("probe", "--out", out))],
        env=environment(variables),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(*jobs):
    return [(job.communicate(timeout=LIMIT), job.returncode) for job in jobs]


def test_two_nodes_of_two_ranks_meet_and_leave_no_secret_and_no_process(tmp_path):
    port = free_port()
    jobs = [node(first, 2, 4, port, tmp_path / "run") for first in (2, 0)]
    (_, _), ((text, errors), _) = finished(*jobs)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert len(manifest["ranks"]) == 4 and manifest["launcher"] == "shell", errors
    assert all(job.returncode in (0, 1, 3) for job in jobs)
    for path in (tmp_path / "run").rglob("*"):
        assert path.is_dir() or TOKEN not in path.read_text(errors="replace")
    assert TOKEN not in text + errors
    assert not descendants(os.getpid()).keys() & {job.pid for job in jobs if job.poll() is None}


def test_a_node_alone_needs_no_token(tmp_path):
    (((_, errors), _),) = finished(
        node(0, 2, 2, free_port(), tmp_path / "run", token="", TMPDIR=str(tmp_path))
    )
    assert len(json.loads((tmp_path / "run" / "manifest.json").read_text())["ranks"]) == 2, errors
    assert list(tmp_path.glob("railgauge-*/*")) == []  # the token it made is gone


def test_one_of_several_nodes_without_a_token_is_refused_in_one_line(tmp_path):
    (((_, errors), code),) = finished(node(2, 2, 4, free_port(), tmp_path / "run", token=""))
    assert code == 3 and len(errors.strip().splitlines()) == 1
    assert "run this command on every node, with RAILGAUGE_TOKEN" in errors
    assert not (tmp_path / "run").exists()


def test_a_signal_ends_the_supervisors_of_a_node(tmp_path):
    # the other node never comes: they wait at the door
    job = node(0, 2, 4, free_port(), tmp_path / "run")
    wait_until(lambda: len(descendants(job.pid)) >= 2, "the supervisors' start")
    below = list(descendants(job.pid))
    job.terminate()
    ((_, code),) = finished(job)
    assert code != 0

    wait_until(lambda: not alive(below), "the supervisors' end", 20)


def test_supervisors_end_with_their_node_whatever_ended_it(tmp_path):

    job = node(0, 2, 4, free_port(), tmp_path / "run")
    below = wait_until(lambda: len(descendants(job.pid)) >= 2 and list(descendants(job.pid)), "their start")
    # each asks the kernel to be told once it has read its place
    wait_until(lambda: any(_listens(pid) for pid in below), "rank 0 at its door")
    os.kill(job.pid, signal.SIGKILL)
    job.communicate(timeout=LIMIT)

    wait_until(lambda: not alive(below), "the supervisors' end", 20)


def _listens(pid):
    """Whether a process has a listening socket."""
    try:
        inodes = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}  # noqa: PTH115, PTH208
    except OSError:
        return False
    with open("/proc/net/tcp") as table:  # noqa: PTH123
        return any(f"socket:[{line.split()[9]}]" in inodes for line in table if line.split()[3] == "0A")


def test_what_the_first_node_refuses_is_said_on_every_node_once_with_its_status(tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "something").write_text("")
    port = free_port()
    jobs = [node(first, 2, 4, port, out) for first in (2, 0)]
    for (_, errors), code in finished(*jobs):
        assert code == 2 and errors.count("already holds something") == 1, errors
        assert "Traceback" not in errors


def test_a_resume_that_is_refused_before_anything_begins_is_refused_on_every_node(tmp_path):
    port = free_port()
    jobs = [node(first, 2, 4, port, tmp_path, words=("resume", tmp_path / "none")) for first in (2, 0)]
    (there, here) = finished(*jobs)
    assert "no run folder" in here[0][1] and "no run folder" in there[0][1]
    assert here[1] == there[1] == 2


@pytest.mark.torch
def test_torchrun_shows_the_reason_on_the_node_that_did_not_refuse(tmp_path):
    (tmp_path / "something").write_text("")
    port = free_port()
    jobs = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={number}"),
                *("--nproc-per-node=2", "--master-addr=127.0.0.1", f"--master-port={port}"),
                *("-m", "bench", "probe", "--out", str(tmp_path)),
            ],
            env=environment({"RAILGAUGE_TOKEN": TOKEN}),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (1, 0)
    ]
    for (_, errors), code in finished(*jobs):
        assert code == 1  # torchrun's own, whatever its children end with
        assert "exitcode  : 2" in errors and "traceback : railgauge: " in errors, errors
        assert "already holds something" in errors and "To enable traceback" not in errors
