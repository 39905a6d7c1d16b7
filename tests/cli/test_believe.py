"""A launcher's exit status is never taken for the run's: Open MPI 5 ends with 0 when its daemon on a node dies."""

import json
from pathlib import Path

import pytest

import runs
from bench.cli.local_job import _began, _believe, _never_began
from bench.model.verdict import EXIT, Status
from bench.run.finish import judge_and_save
from bench.run.options import CannotRun, Options
from bench.store import MANIFEST, load


def options(out: Path) -> Options:
    return Options(profile=runs.LOCAL, out=out, command=())


def test_a_run_without_its_completion_record_could_not_tell_whatever_mpirun_says(tmp_path):
    runs.folder(tmp_path / "run", end=False)
    assert _believe(options(tmp_path / "run"), True, False) == EXIT[Status.INCONCLUSIVE]
    judged = load(tmp_path / "run")
    assert [v.status for v in judged.verdicts if v.check == "coverage.end"] == [Status.INCONCLUSIVE]
    assert (tmp_path / "run" / "report.md").exists()


def test_a_run_that_completed_says_its_own_word_whatever_mpirun_says(tmp_path):
    runs.folder(tmp_path / "run")
    said = judge_and_save(tmp_path / "run", runs.LOCAL).run
    worst = {verdict.status for verdict in said.verdicts}
    expected = next(s for s in (Status.FAIL, Status.INCONCLUSIVE, Status.PASS) if s in worst)
    assert _believe(options(tmp_path / "run"), True, False) == EXIT[expected]


@pytest.mark.parametrize("returned", [0, 1, 137])
def test_a_launcher_that_ended_well_before_anything_began_is_an_error(tmp_path, returned):
    with pytest.raises(CannotRun, match=f"mpirun ended with status {returned} before the run started"):
        _never_began(returned, 2, options(tmp_path / "nothing"))
    assert not _began(tmp_path / "nothing", "a1")


@pytest.mark.parametrize("returned", [2, 3])
def test_what_rank_0_refused_keeps_its_status(tmp_path, returned):
    assert _never_began(returned, 2, options(tmp_path / "run")) == returned


def test_a_limit_of_open_files_that_may_have_ended_mpirun_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.cli.local_job.raise_limit", lambda: 128.0)
    with pytest.raises(CannotRun, match="the limit of 128 open files may be too low for 200 ranks: "):
        _never_began(186, 200, options(tmp_path / "nothing"))
    with pytest.raises(CannotRun, match="messages above$"):
        _never_began(186, 8, options(tmp_path / "nothing"))


def test_a_run_of_another_job_is_not_ours(tmp_path):
    run = runs.folder(tmp_path / "run")
    row = json.loads((run / MANIFEST).read_text())
    row["settings"] = {**row["settings"], "started_by": "a1"}
    (run / MANIFEST).write_text(json.dumps(row))
    assert _began(run, "a1") and not _began(run, "b2")
