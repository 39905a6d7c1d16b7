"""Folders for what does not last: gone at the end, and after a kill at the next start; one in use is left alone."""

import os
import signal
import subprocess
import sys

import pytest

import mpi_jobs
from bench.launch import scratch
from bench.store import load

HOLD = "import pathlib, sys, time; from bench.launch import scratch\nwith scratch.folder(pathlib.Path(sys.argv[1])): "
HOLD += "print('here', flush=True); time.sleep(60)"


def holder(place):
    """A process that has a folder in ``place``."""
    words = [sys.executable, "-c", HOLD, str(place)]
    process = subprocess.Popen(words, env=mpi_jobs.environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "here\n"
    return process


def test_a_folder_is_gone_at_its_end(tmp_path):
    with scratch.folder(tmp_path) as made:
        (made / "deep").mkdir()
        (made / "deep" / "file").touch()
        assert made.stat().st_mode & 0o777 == 0o700
    assert not list(tmp_path.iterdir())


def test_the_folder_of_a_killed_process_is_removed_by_the_next_start_and_no_other_is(tmp_path):
    lives, dies = holder(tmp_path), holder(tmp_path)
    try:
        os.kill(dies.pid, signal.SIGKILL)
        dies.communicate()
        (tmp_path / "railgauge-0").mkdir()  # of another kind: it holds no lock
        assert len(list(tmp_path.iterdir())) == 3
        with scratch.folder(tmp_path) as made:
            left = set(tmp_path.iterdir()) - {made, tmp_path / "railgauge-0"}
            assert len(left) == 1 and lives.poll() is None
    finally:
        lives.kill()
        lives.communicate()


def test_a_folder_of_another_user_is_left_alone(tmp_path, monkeypatch):
    strange = tmp_path / "railgauge-x"
    strange.mkdir()
    (strange / scratch.LOCK).touch()
    monkeypatch.setattr(scratch.os, "geteuid", lambda: os.getuid() + 1)
    scratch.sweep(tmp_path)
    assert strange.exists()


def test_a_job_keeps_open_mpi_s_files_in_folders_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "SHARED_MEMORY", tmp_path / "shm")
    with scratch.of_job() as places:  # without shared memory all of it is in one place
        assert {os.path.dirname(path) for path in places.values()} == {str(tmp_path)}  # noqa: PTH120
        assert "OMPI_MCA_btl_sm_backing_directory" in places
    assert not list(tmp_path.iterdir())


@pytest.mark.mpi
@pytest.mark.torch
def test_a_command_that_is_killed_leaves_no_process_and_what_was_measured(tmp_path):
    (tmp_path / "tmp").mkdir()
    # of itself it would last longer than the wait below
    words = ("run", "all_reduce", "-b", "1K", "-e", "64M", "-f", "2", "--precision", "0.01%", "--ranks", "2")
    job = mpi_jobs.start(*words, "--out", tmp_path / "run", more={"TMPDIR": str(tmp_path / "tmp")})
    journal = tmp_path / "run" / "journal.jsonl"
    try:
        mpi_jobs.wait_until(lambda: journal.exists() and b"measurement" in journal.read_bytes(), "a row")
        below = list(mpi_jobs.descendants(job.pid))
        job.kill()
        mpi_jobs.wait_until(lambda: not mpi_jobs.alive(below), "the end of every process", 30)
    finally:
        job.kill()
        job.communicate()
        for pid in mpi_jobs.alive(below):
            os.kill(pid, signal.SIGKILL)
    # mpirun tells its ranks to end and soon kills them: whether rank 0 still writes down why is chance
    assert load(tmp_path / "run").measurements
    # that of the job, and that of the one import of torch where it had no time to remove its own
    assert len(list((tmp_path / "tmp").iterdir())) in (1, 2)
    scratch.sweep(tmp_path / "tmp")
    assert not list((tmp_path / "tmp").iterdir())
