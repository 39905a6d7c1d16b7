"""Two runs that begin in one folder: one measures it, the other is refused and touches nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mpi_jobs
import runs
from bench.cli.local_job import OURS, leader_of
from bench.cli.start import new_folder
from bench.model.verdict import Status
from bench.store import MANIFEST, Recorder, in_use, load


@pytest.mark.mpi
@pytest.mark.torch
def test_of_two_runs_that_begin_in_one_folder_one_is_refused(tmp_path):
    out = tmp_path / "run"
    words = ("run", "all_reduce", "-b", "1K", "-e", "64K", "-f", "64", "--ranks", "2", "--out", out)
    both = [mpi_jobs.start(*words) for _ in range(2)]
    said = [job.communicate(timeout=mpi_jobs.LIMIT) for job in both]
    assert sorted(job.returncode for job in both) == [0, 2], said
    ((_, errors),) = [text for text, job in zip(said, both, strict=True) if job.returncode == 2]
    assert "in use by another run" in errors or "already holds something" in errors
    assert "report:" not in errors
    run = load(out)
    assert run.ended and Status.FAIL not in {verdict.status for verdict in run.verdicts}
    ends = [
        line for line in (out / "journal.jsonl").read_text().splitlines() if json.loads(line)["kind"] == "end"
    ]
    assert len(ends) == 1


def test_a_folder_is_in_use_as_long_as_its_recorder_lives(tmp_path):
    assert not in_use(tmp_path / "run")
    with Recorder(tmp_path / "run"):
        code = "import sys, pathlib; from bench.store import in_use; sys.exit(not in_use(pathlib.Path(sys.argv[1])))"
        words = [sys.executable, "-c", code, str(tmp_path / "run")]
        assert subprocess.run(words, env=mpi_jobs.environment(), check=False).returncode == 0
    assert not in_use(tmp_path / "run")


def test_runs_of_one_second_have_folders_of_their_own():
    assert len({new_folder("local") for _ in range(20)}) > 15


def test_the_leader_of_another_job_is_not_interrupted(tmp_path):
    run = runs.folder(tmp_path / "run")
    with subprocess.Popen(["sleep", "60"], env={**os.environ, OURS: "a1"}) as leader:
        row = json.loads((run / MANIFEST).read_text())
        row["settings"] = {**row["settings"], "pid": leader.pid}
        (run / MANIFEST).write_text(json.dumps(row))
        mpi_jobs.wait_until(lambda: b"sleep" in Path(f"/proc/{leader.pid}/cmdline").read_bytes(), "sleep", 20)
        assert leader_of(run, "a1") == leader.pid
        with pytest.raises(ProcessLookupError):
            leader_of(run, "b2")
        leader.kill()
    with pytest.raises(ProcessLookupError):
        leader_of(run, "a1")
