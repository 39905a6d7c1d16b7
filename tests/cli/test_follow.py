"""Progress of a job in another process: whole lines only, and the job's own words come through."""

import subprocess
import sys

import runs
from bench.cli import follow
from bench.cli.follow import Tail
from bench.model.profile import Rails
from bench.store import JOURNAL


def test_a_line_that_is_still_being_written_waits(tmp_path):
    path = tmp_path / JOURNAL
    tail = Tail(path)
    assert tail.new() == []
    path.write_text('{"kind": "phase", "name": "a"}\n{"kind": "me')
    assert tail.new() == [{"kind": "phase", "name": "a"}]
    assert tail.new() == []
    with path.open("a") as file:
        file.write('asurement"}\n')
    assert tail.new() == [{"kind": "measurement"}]


def test_a_job_is_followed_to_its_end_and_its_words_pass(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(follow, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(follow, "LOOK_SECONDS", 0.01)
    told = []
    monkeypatch.setattr(follow.ProgressBar, "update", lambda bar, *words: told.append(words))
    folder = runs.folder(tmp_path / "run")
    code = "print('a word of the job', flush=True); input()"
    job = subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True)
    monkeypatch.setattr(
        follow.ProgressBar, "start", lambda bar: job.stdin.close()
    )  # it ends once it was looked at
    follow.follow(job, folder, Rails())
    assert job.wait() == 1  # no input: EOFError
    job.stdout.close()
    assert "a word of the job" in capsys.readouterr().out
    what, done, planned, left = told[-1]
    assert what
    assert 0 < done == planned
    assert left >= 0


def test_a_folder_without_a_plan_has_nothing_planned(tmp_path):
    assert follow._planned(tmp_path) == (0, 0.0)
