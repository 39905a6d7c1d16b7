"""The stamp: reports are drawn again unless they would come out the same."""

import gc
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

import reports
import runs
from bench.cli import judging
from bench.cli.page import write_report
from bench.judge.evidence import Evidence
from bench.model.profile import parse
from bench.model.verdict import Status
from bench.run import finish
from bench.store import load, sums
from reports import export, up_to_date
from tests.told import Told

OTHER = runs.LOCAL.text + "\n# another\n"


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """How often a report was drawn; drawing itself is the subject of other tests."""
    drawn = []

    def write(judged, renderer):
        run = judged.run
        drawn.append(run.path)
        files = {"report.html": f"<p>{[each.message for each in run.verdicts]}", "charts/a.svg": "<svg>"}
        (run.path / "charts").mkdir(exist_ok=True)
        for name, text in files.items():
            (run.path / name).write_text(text)
        return [run.path / name for name in files]

    monkeypatch.setattr(export, "write", write)
    return drawn


@pytest.fixture
def folder(tmp_path):
    path = runs.folder(tmp_path / "r")
    (path / "logs" / "rank0.log").write_text("NCCL INFO\n")
    draw(path)
    return path


def draw(path, profile=runs.LOCAL):
    seen = reports.evidence(path)
    return reports.refresh(finish.judge_and_save(path, profile), seen)


def test_what_would_come_out_the_same_is_not_drawn_again(folder, counted):
    page = (folder / "report.html").stat().st_mtime_ns
    assert draw(folder) == []
    assert len(counted) == 1 and (folder / "report.html").stat().st_mtime_ns == page


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "facts.jsonl",
        "plan.json",
        "journal.jsonl",
        "counters.jsonl",
        "logs/rank0.log",
        "new.txt",
    ],
)
def test_every_byte_of_the_evidence_counts(folder, name, counted):
    before = (folder / name).read_text() if (folder / name).exists() else ""
    (folder / name).write_text(before + "\n")
    assert draw(folder) != [] and len(counted) == 2
    assert draw(folder) == []


def test_evidence_that_is_gone_counts(folder, counted):
    (folder / "logs" / "rank0.log").unlink()
    draw(folder)
    assert len(counted) == 2


def test_a_file_too_large_for_any_run_is_not_read_and_its_changes_count(folder, counted, monkeypatch):
    file = folder / "huge"
    file.write_bytes(b"x" * 2000)
    seen = sums.digest_of(file, 1000)
    file.write_bytes(b"y" * 2000)
    assert "2000 bytes" in seen and sums.digest_of(file, 1000) != seen


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_pipe_and_a_link_are_not_read(folder, make):
    make(folder / "odd")
    assert sums.digest_of(folder / "odd") == "none"


@pytest.mark.parametrize("name", ["report.html", "charts/a.svg", up_to_date.DRAWN])
@pytest.mark.parametrize("how", ["gone", "changed"])
def test_a_report_that_is_not_as_it_was_written_is_drawn_again(folder, name, how, counted):
    if how == "gone":
        (folder / name).unlink()
    else:
        (folder / name).write_text((folder / name).read_text().replace("s", "t"))
    draw(folder)
    assert len(counted) == 2
    assert draw(folder) == []


def test_another_profile_another_page(folder, counted):
    other = parse(OTHER, "other.toml")
    assert draw(folder, other) != []
    assert draw(folder, other) == []
    assert draw(folder) != []
    assert len(counted) == 3


def test_other_verdicts_another_page(folder):
    run, seen = load(folder), reports.evidence(folder)
    assert up_to_date.is_current(Evidence(run, runs.LOCAL), seen)
    assert not up_to_date.is_current(Evidence(replace(run, verdicts=run.verdicts[1:]), runs.LOCAL), seen)
    first = replace(run.verdicts[0], status=Status.FAIL)
    assert not up_to_date.is_current(
        Evidence(replace(run, verdicts=(first, *run.verdicts[1:])), runs.LOCAL), seen
    )


def test_other_code_another_page(folder, counted, monkeypatch, tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "page.py").write_text("LOOKS = 1\n")
    monkeypatch.setattr(up_to_date, "PACKAGES", (package,))
    draw(folder)
    draw(folder)
    assert len(counted) == 2
    (package / "page.py").write_text("LOOKS = 2\n")
    draw(folder)
    assert len(counted) == 3


def test_all_code_and_assets_are_covered_and_compiled_code_is_not():
    names = {
        str(file.relative_to(package))
        for package in up_to_date.PACKAGES
        for file in sums.files_below(package)
    }
    assert {"page.py", "assets/page.css", "assets/draw.js", "charts/rails.py"} <= names  # reports
    assert {
        "judge/verdicts.py",
        "judge/checks/blame.py",
        "profiles/local.toml",
        "model/units.py",
    } <= names  # bench
    assert not [name for name in names if name.endswith(".pyc")]


def test_another_version_of_what_draws_another_page(folder, counted, monkeypatch):
    monkeypatch.setattr(up_to_date, "version", lambda name: f"{name} 0")
    draw(folder)
    draw(folder)
    assert len(counted) == 2


def test_a_stamp_of_somebody_else_is_not_believed(folder, counted, monkeypatch, tmp_path):
    (folder / "report.html").write_text("<p>all is well")
    told = json.loads((folder / up_to_date.DRAWN).read_text())
    told["files"]["report.html"] = sums.digest_of(folder / "report.html")
    (folder / up_to_date.DRAWN).write_text(json.dumps(told))
    draw(folder)
    assert len(counted) == 2
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another user"))
    draw(folder)
    assert len(counted) == 3


def test_no_page_is_never_current(folder):
    run, seen = load(folder), reports.evidence(folder)
    up_to_date.mark(Evidence(run, runs.LOCAL), seen, ["charts/a.svg"])
    assert not up_to_date.is_current(Evidence(run, runs.LOCAL), seen)


def test_what_is_written_while_a_folder_is_read_makes_the_stamp_an_old_one(folder, counted):
    seen = reports.evidence(folder)
    run = finish.judge_and_save(folder, runs.LOCAL)
    with (folder / "journal.jsonl").open("a") as file:
        file.write('{"kind": "note", "time": 1.0, "text": "late"}\n')
    reports.write(run, seen)
    assert draw(folder) != []


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"files": [], "seal": ""}', '{"files": {}, "seal": 1}', "\0"]
)
def test_a_damaged_stamp_costs_a_drawing_and_nothing_else(folder, text, counted):
    (folder / up_to_date.DRAWN).write_text(text)
    draw(folder)
    assert len(counted) == 2


def test_without_a_place_for_the_key_every_report_is_drawn(folder, counted, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    draw(folder)
    draw(folder)
    assert len(counted) == 3


def test_the_verdicts_and_the_stamp_are_no_evidence(folder):
    seen = reports.evidence(folder)
    for name in ("verdicts.json", up_to_date.DRAWN, "report.html", "charts/a.svg"):
        (folder / name).write_text("other")
    assert reports.evidence(folder) == seen
    assert Path(folder / "verdicts.json").exists()


def known(path, profile=runs.LOCAL):
    return reports.sealed_verdicts(path, profile, reports.evidence(path))


def test_verdicts_of_a_folder_in_which_nothing_changed_are_known_without_judging(folder, monkeypatch):
    found = known(folder)
    assert found == load(folder).verdicts and found
    monkeypatch.setattr(finish, "judge", None)
    assert finish.judge_and_save(folder, runs.LOCAL, known=found).verdicts == found


def test_judging_alone_seals_the_verdicts(tmp_path, monkeypatch):
    path = runs.folder(tmp_path / "alone")
    seen = reports.evidence(path)
    reports.seal_verdicts(finish.judge_and_save(path, runs.LOCAL), seen)
    assert known(path) == load(path).verdicts != ()


@pytest.mark.parametrize(
    "name", ["manifest.json", "facts.jsonl", "journal.jsonl", "logs/rank0.log", "new.txt"]
)
def test_verdicts_of_other_evidence_are_judged_again(folder, name):
    before = (folder / name).read_text() if (folder / name).exists() else ""
    (folder / name).write_text(before + "\n")
    assert known(folder) == ()


def test_an_edited_verdict_is_judged_again(folder):
    file = folder / "verdicts.json"
    told = json.loads(file.read_text())
    told["verdicts"][0]["status"] = "fail" if told["verdicts"][0]["status"] == "pass" else "pass"
    file.write_text(json.dumps(told))
    assert known(folder) == ()
    file.unlink()
    assert known(folder) == ()


def test_an_edited_sentence_does_not_outlive_the_next_report(folder):
    file = folder / "verdicts.json"
    text = file.read_text()
    told = json.loads(text)
    told["verdicts"][0]["message"] = "all is well"  # nobody reads it: it follows from the other fields
    file.write_text(json.dumps(told))
    finish.judge_and_save(folder, runs.LOCAL, known=known(folder))
    assert file.read_text() == text


def test_verdicts_by_another_profile_code_or_user_are_judged_again(folder, monkeypatch, tmp_path):
    assert known(folder, parse(OTHER, "other.toml")) == ()
    with monkeypatch.context() as changed:
        changed.setattr(up_to_date, "PACKAGES", (tmp_path,))
        assert known(folder) == ()
    with monkeypatch.context() as changed:
        changed.setattr(up_to_date, "version", lambda name: f"{name} 0")
        assert known(folder) == ()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another user"))
    assert known(folder) == ()


def test_drawing_verdicts_that_were_only_read_does_not_vouch_for_them(folder):
    reports.write(Evidence(load(folder), runs.LOCAL))
    assert known(folder) == ()


def test_a_report_after_judging_does_not_judge_again(tmp_path, monkeypatch):
    path = runs.folder(tmp_path / "judged")
    monkeypatch.setattr(gc, "disable", lambda: None)
    said = judging.judge.callback(path, None, False)
    monkeypatch.setattr(finish, "judge", None)
    assert judging.report.callback(path) == said


def test_a_report_after_a_run_ended_does_not_judge_again(tmp_path):
    path = runs.folder(tmp_path / "ended")
    finish.finish(path, runs.LOCAL, Told(), write_report)
    assert known(path) == load(path).verdicts != ()


def test_a_run_whose_end_no_file_holds_is_judged_again(tmp_path):
    path, why = runs.folder(tmp_path / "cut"), "cannot write journal.jsonl: No space left on device"
    finish.finish(path, runs.LOCAL, Told(), write_report, why)
    assert load(path).verdicts and known(path) == ()


def test_a_file_that_is_written_while_an_ended_run_is_judged_outdates_its_verdicts(tmp_path, monkeypatch):
    path, now = runs.folder(tmp_path / "late"), finish.judge

    def judge(*of):
        (path / "logs" / "rank0.log").write_text("NCCL WARN late\n")
        return now(*of)

    monkeypatch.setattr(finish, "judge", judge)
    finish.finish(path, runs.LOCAL, Told(), write_report)
    assert load(path).verdicts and known(path) == ()
