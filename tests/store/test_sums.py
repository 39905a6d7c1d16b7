"""SHA256SUMS: a changed, missing or added file of the evidence is named, and what is made from it is free to change."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import runs
from bench import __version__
from bench.model.profile import ProfileError, parse
from bench.model.titles import Titles
from bench.model.verdict import Status
from bench.run.finish import judge_and_save
from bench.store import Recorder, RunError
from bench.store.files import DRAWN
from bench.store.sums import SUMS, changed_reports, changes, digest_of, evidence_digest, record_sums
from bench.store.titles import save_titles, titles_of


@pytest.fixture
def folder(tmp_path):
    path = runs.folder(tmp_path / "r")
    judge_and_save(path, runs.LOCAL)
    return path


def test_a_folder_as_it_was_left_has_no_changes(folder):
    assert changes(folder) == []
    assert {"journal.jsonl", "manifest.json", "plan.json"} <= {
        line.split("  ")[1] for line in (folder / SUMS).read_text().splitlines()
    }


def test_each_changed_missing_and_added_file_is_named_and_makes_it_other_evidence(folder):
    before = evidence_digest(folder)
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b"\n")
    (folder / "facts.jsonl").unlink()
    (folder / "logs" / "evidence.9.log").write_text("NET/IB : Using [0]mlx5_1:1/IB\n")
    assert sorted(changes(folder)) == [
        "facts.jsonl is missing",
        "journal.jsonl was changed",
        "logs/evidence.9.log was added",
    ]
    assert evidence_digest(folder) != before


def test_what_is_made_from_the_evidence_is_no_part_of_it(folder):
    before = evidence_digest(folder)
    for name in ("report.html", "report.pdf", "verdicts.json", "rows.csv", "rows.parquet"):
        (folder / name).write_text("other")
    (folder / "charts").mkdir()
    (folder / "charts" / "a.svg").write_text("<svg>")
    save_titles(folder, "frankfurt-2", None)
    assert changes(folder) == [] and evidence_digest(folder) == before


def test_judging_again_does_not_accept_a_change(folder):
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b"\n")
    judge_and_save(folder, runs.LOCAL)
    assert changes(folder) == ["journal.jsonl was changed"]


def test_a_folder_without_sums_or_with_empty_ones_is_not_sound(folder):
    (folder / SUMS).write_text("")
    with pytest.raises(RunError, match="lists no file"):
        changes(folder)
    (folder / SUMS).unlink()
    with pytest.raises(RunError):
        changes(folder)


def test_sha256sum_reads_it_too(folder):
    command = ["sha256sum", "--check", "--quiet", SUMS]
    assert subprocess.run(command, cwd=folder, check=False).returncode == 0


def test_two_files_and_one_whose_name_holds_a_line_of_the_sums_are_other_evidence(folder):
    (folder / "y.txt").write_text("one")
    (folder / "z.txt").write_text("two")
    before = evidence_digest(folder)
    of_second = hashlib.sha256(b"two").hexdigest()
    (folder / f"y.txt\n{of_second}  z.txt").write_text("one")
    (folder / "y.txt").unlink()
    (folder / "z.txt").unlink()
    assert evidence_digest(folder) != before
    record_sums(folder)
    assert changes(folder) == []
    assert subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=folder, check=False).returncode == 0


def test_a_name_that_is_no_text_is_a_file_like_any_other(folder):
    (folder / os.fsdecode(b"\xff\xfe")).write_text("x")
    assert changes(folder) == ["\\udcff\\udcfe was added"]


def test_titles_are_kept_until_others_are_given(folder):
    save_titles(folder, "frankfurt-2", "order 4711")
    save_titles(folder, None, "order 4712")
    assert (titles_of(folder).title, titles_of(folder).site) == ("frankfurt-2", "order 4712")
    (folder / "titles.json").write_text("{")
    assert titles_of(folder).title == ""


def test_the_command_tells_a_good_folder_from_another(folder, tmp_path):
    def verify(path: Path, *words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "bench", "verify", str(path), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    status, said = verify(folder)
    assert (status, said) == (0, f"PASS: SHA-256 of the evidence: {evidence_digest(folder)}\n")
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "plan.json").write_text((copy / "plan.json").read_text() + " ")
    assert verify(copy)[0] == 1 and verify(copy)[1].startswith("plan.json was changed\nFAIL: ")
    assert verify(folder, "--sha256", evidence_digest(copy))[0] == 1
    assert verify(folder, "--sha256", evidence_digest(folder))[0] == 0
    (copy / SUMS).unlink()
    assert verify(copy)[0] == 3


def test_a_report_that_was_changed_by_hand_is_told(folder):
    reports = [folder / "report.html", folder / "report.md"]
    for report in reports:
        report.write_text("FAIL")
    digests = {report.name: digest_of(report) for report in reports}
    (folder / DRAWN).write_text(json.dumps({"files": digests, "seal": "made"}))
    assert changed_reports(folder) == []
    (folder / "report.html").write_text("PASS")
    (folder / "report.md").unlink()
    assert changed_reports(folder) == ["report.html was changed since it was drawn"]
    command = [sys.executable, "-m", "bench", "verify", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split("\n")[0]) == (1, "report.html was changed since it was drawn")


def verified(folder):
    command = [sys.executable, "-m", "bench", "verify", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.split("\n")


def made_by(folder, version):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "versions": {"railgauge": version}}))
    record_sums(folder)


def test_verdicts_that_were_edited_are_told(folder):
    made_by(folder, __version__)
    saved = json.loads((folder / "verdicts.json").read_text())
    edited = saved["verdicts"][0]
    was, edited["status"] = edited["status"], "pass" if edited["status"] != "pass" else "fail"
    (folder / "verdicts.json").write_text(json.dumps(saved))
    status, lines = verified(folder)
    says, means = Status(edited["status"]).shown, Status(was).shown
    name = f"{edited['check']}: {edited['subject']}: {edited['measured']}"
    assert status == 1
    assert lines[0] == f"verdicts.json says, and the evidence does not: {says} {name}"
    assert lines[1] == f"verdicts.json does not say, and the evidence does: {means} {name}"


def test_verdicts_of_another_version_are_not_called_edited(folder):
    made_by(folder, "0.0.1")
    saved = json.loads((folder / "verdicts.json").read_text())
    del saved["verdicts"][0]
    (folder / "verdicts.json").write_text(json.dumps(saved))
    status, lines = verified(folder)
    assert (status, lines[0]) == (3, f"the run is of RailGauge 0.0.1, this is {__version__}")


@pytest.mark.parametrize("command", ["judge", "report"])
def test_judging_again_does_not_close_a_folder_that_lost_its_sums(folder, command):
    (folder / SUMS).unlink()
    words = [sys.executable, "-m", "bench", command, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "has no SHA256SUMS: nothing shows that its files are as the run left them" in done.stderr
    assert not (folder / SUMS).exists()


def test_a_run_that_was_changed_after_its_end_does_not_go_on(folder):
    (folder / "logs" / "late.log").write_text("x")
    with Recorder(folder, again=True):
        assert not (folder / SUMS).exists()
    record_sums(folder)
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text() + " ")
    with pytest.raises(RunError, match=r"not as it was when its run ended: manifest\.json was changed"):
        Recorder(folder, again=True)
    assert changes(folder) == ["manifest.json was changed"]


def test_the_profile_names_the_cluster_where_the_command_line_does_not(tmp_path):
    profile = parse(runs.LOCAL.text + '\n[report]\ntitle = "frankfurt-2"\nsite = "order 4711"\n', "made")
    assert titles_of(tmp_path, profile.report) == profile.report == Titles("frankfurt-2", "order 4711")
    (tmp_path / "titles.json").write_text('{"title": "frankfurt-3", "site": ""}')
    assert titles_of(tmp_path, profile.report) == Titles("frankfurt-3", "order 4711")


def test_a_misspelt_key_of_the_report_is_refused():
    with pytest.raises(ProfileError, match=r"\[report\]: unknown key tilte; known: site, title"):
        parse(runs.LOCAL.text + '\n[report]\ntilte = "frankfurt-2"\n', "made")


def test_a_title_that_was_not_given_is_the_profile_s(folder):
    of_profile = Titles("tiger", "order 7")
    assert titles_of(folder, of_profile) == of_profile
    save_titles(folder, "frankfurt-2", None)
    assert titles_of(folder, of_profile) == Titles("frankfurt-2", "order 7")
    save_titles(folder, "", "hall 3")
    assert titles_of(folder, of_profile) == Titles("tiger", "hall 3")
