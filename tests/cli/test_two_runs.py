"""Two runs that begin in one folder: one measures it, the other is refused and touches nothing."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import mpi_jobs
import runs
from bench.cli import judging, resuming
from bench.cli.local_job import OURS, leader_of
from bench.cli.start import new_folder
from bench.cli.terminal import Terminal
from bench.launch import LaunchContext
from bench.model.verdict import Status
from bench.run import lead
from bench.run.options import Options
from bench.store import MANIFEST, Recorder, RunError, held, load


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


def test_a_folder_is_held_as_long_as_its_recorder_lives(tmp_path):
    with held(tmp_path / "run"):
        pass
    with Recorder(tmp_path / "run"), pytest.raises(RunError, match="is still being written"):  # noqa: SIM117
        with held(tmp_path / "run"):
            pass
    with held(tmp_path / "run"):
        pass


@pytest.mark.parametrize(("limit", "status"), [(0.0, 2), (0.1, 3)])
def test_who_waited_for_a_folder_in_vain_has_no_better_argument_to_give(tmp_path, limit, status):
    with Recorder(tmp_path / "run"), pytest.raises(RunError) as error:  # noqa: SIM117
        with held(tmp_path / "run", limit):
            pass
    assert error.value.exit_status == status


def test_a_resume_that_waited_for_another_goes_on_with_what_that_one_left(tmp_path, monkeypatch):
    run = load(runs.folder(tmp_path / "run", end=False))
    with Recorder(run.path, again=True) as other:
        other.end()
    seen = []
    monkeypatch.setattr(lead, "Coordinator", lambda control, supervisor, recorder, *_: recorder)
    monkeypatch.setattr(lead, "_measure_all", lambda _, options, *__: (seen.append(options.resumed), ""))
    monkeypatch.setattr(lead, "finish", lambda *_: 0)
    options = Options(runs.LOCAL, run.path, (), resumed=run)
    lead._coordinate(options, LaunchContext(), None, None, Terminal(quiet=True), None)
    assert run.ended is None and seen[0].ended


@pytest.fixture
def live(tmp_path) -> Iterator[Path]:
    """A run that another process writes, as far as its lock tells."""
    run = runs.folder(tmp_path / "run")
    with held(run):
        yield run


def test_a_run_that_is_being_written_is_judged_and_nothing_is_saved(live, capsys):
    before = {path.name: path.read_bytes() for path in live.iterdir() if path.is_file()}
    assert judging.judge.callback(live, None, False) == 0
    assert (
        "still being written by its run; the verdict is shown here and not saved" in capsys.readouterr().err
    )
    with pytest.raises(RunError, match="still being written"):
        judging.report.callback(live)
    assert before == {path.name: path.read_bytes() for path in live.iterdir() if path.is_file()}


def test_a_complete_run_that_another_process_writes_is_not_judged_by_resume(live, monkeypatch):
    monkeypatch.setattr(resuming, "_options", lambda run: Options(runs.LOCAL, live, ()))
    with pytest.raises(RunError, match="still being written"):
        resuming._resume_here(load(live), Options(runs.LOCAL, live, ()), Terminal(quiet=True))


def test_the_lock_of_a_run_lasts_until_its_verdict_is_written(tmp_path, monkeypatch):
    told = []

    def finish(folder: Path, *_: object) -> int:
        with pytest.raises(RunError), held(folder):
            told.append("taken")
        told.append("held")
        return 0

    monkeypatch.setattr(lead, "finish", finish)
    monkeypatch.setattr(lead, "Coordinator", lambda control, supervisor, recorder, *_: recorder)
    options, display = Options(runs.LOCAL, tmp_path / "run", ()), Terminal(quiet=True)
    monkeypatch.setattr(
        lead, "_measure_all", lambda recorder, *_: ((tmp_path / "run" / MANIFEST).touch(), "")
    )
    assert lead._coordinate(options, LaunchContext(), None, None, display, None) == 0
    assert told == ["held"]


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
