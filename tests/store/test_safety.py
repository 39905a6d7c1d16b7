"""Run folders of strangers: what is no regular file, too large, too long or too deep is refused in one line.

And what is written stays beneath the folder, and is on the disk before anything is said of it.
"""

import contextlib
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import runs
from bench.model.run_folder_lines import HealthLine, PerftestSkipped, PhaseMark
from bench.run.finish import finish
from bench.store import (
    COUNTERS,
    FACTS,
    HEALTH,
    HISTORY,
    JOURNAL,
    LOGS,
    MANIFEST,
    PLAN,
    VERBS,
    VERDICTS,
    Recorder,
    RunError,
    files,
    load,
    write_file,
)
from bench.store.owner_seal import SEAL, not_own
from tests.told import Told

READ = (MANIFEST, PLAN, FACTS, JOURNAL, COUNTERS, HEALTH, VERBS, HISTORY, f"{LOGS}/evidence.0.log")
KINDS = {
    "pipe": os.mkfifo,
    "link": lambda path: path.symlink_to("/dev/zero"),
    "link inside": lambda path: path.symlink_to("manifest.json"),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "folder": Path.mkdir,
}


@pytest.fixture
def folder(tmp_path):
    return runs.folder(tmp_path / "r")


def refused(folder, words):
    with pytest.raises(RunError, match=words) as caught:
        load(folder)
    assert caught.value.exit_status == 3
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_refused_by_its_name(folder, name, kind):
    (folder / name).unlink(missing_ok=True)
    KINDS[kind](folder / name)
    refused(folder, rf"r/{name}(: a link is not followed| is not a regular file)")


@pytest.mark.parametrize("name", [*READ, SEAL, VERDICTS])
def test_no_command_waits_for_a_pipe(folder, name):
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    done = subprocess.run(
        [sys.executable, "-m", "bench", "judge", str(folder)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode in ((0,) if name in (SEAL, VERDICTS) else (3,)), done.stderr
    assert "Traceback" not in done.stderr


def test_a_link_in_place_of_the_logs_is_refused(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (folder / LOGS).rmdir()
    (folder / LOGS).symlink_to(tmp_path / "elsewhere")
    refused(folder, "r/logs: a link is not followed")


@pytest.mark.parametrize("name", READ)
def test_a_file_larger_than_any_run_makes_it_is_refused_unread(folder, name):
    with (folder / name).open("ab") as file:
        file.truncate(20 << 30)
    refused(folder, rf"r/{name} has 21474836480 bytes: no run writes more than \d+")


def test_a_line_longer_than_any_run_writes_is_refused_with_its_number(folder, monkeypatch):
    monkeypatch.setattr(files, "LONGEST_LINE", 1 << 20)
    with (folder / COUNTERS).open("ab") as file:
        file.write(b"{}\n" * 0 + b" " * (2 << 20))
    refused(folder, "r/counters.jsonl line 1 is longer than 1 MiB: no run writes such a line")


@pytest.mark.parametrize("name", [MANIFEST, PLAN, HISTORY, FACTS, JOURNAL, COUNTERS, HEALTH, VERBS])
@pytest.mark.parametrize("bracket", ["[]", "{}"])
def test_json_that_is_nested_too_deeply_is_told_in_one_line(folder, name, bracket):
    inside = '"x":' if bracket == "{}" else ""
    deep = (bracket[0] + inside) * 400_000 + "1" + bracket[1] * 400_000
    (folder / name).write_text('{"format": 1, "kind": "note", "later": ' + deep + "}\n")
    refused(folder, f"{name}( line 1: is nested too deeply|: is nested too deeply|.* names no format)")


def test_numbers_of_thousands_of_digits_are_no_numbers(folder):
    (folder / JOURNAL).write_text('{"kind": "torn", "file": "x", "number": ' + "9" * 100_000 + "}\n")
    assert "journal.jsonl line 1 is cut short or damaged and was left out" in load(folder).notes


# writing


@pytest.mark.parametrize(
    ("name", "append"),
    [
        (COUNTERS, lambda recorder: recorder.counters("p", "before", ())),
        (HEALTH, lambda recorder: recorder.health(HealthLine("p", 0))),
        (f"{LOGS}/collectives.0.log", lambda recorder: recorder.log("collectives.0.log", "text")),
    ],
)
def test_nothing_is_appended_through_a_link(tmp_path, name, append):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    with Recorder(tmp_path / "r") as recorder:
        (recorder.path / name).symlink_to(victim)
        with pytest.raises(RunError, match="cannot write .*: a link is not followed in a run folder"):
            append(recorder)
    assert victim.read_text() == "mine"


def test_a_link_is_replaced_and_a_folder_of_links_refused(folder, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (folder / VERDICTS).symlink_to(victim)
    (folder / "charts").symlink_to(tmp_path / "elsewhere")
    write_file(folder, VERDICTS, "{}")
    with pytest.raises(RunError, match="r/charts/x.svg: a link is not followed in a run folder"):
        write_file(folder, "charts/x.svg", "<svg/>")
    assert victim.read_text() == "mine" and not (folder / VERDICTS).is_symlink()
    assert not list((tmp_path / "elsewhere").iterdir())


# on the disk


def name_of(file):
    return Path(f"/proc/self/fd/{file}").readlink().name


@pytest.fixture
def synced(monkeypatch):
    """File (by its inode) → its name and size when it was synced last; in order."""
    seen: dict[int, tuple[str, int]] = {}
    fsync = os.fsync

    def spy(file):
        fsync(file)
        now = os.fstat(file)
        seen.pop(now.st_ino, None)
        seen[now.st_ino] = (name_of(file), now.st_size)

    monkeypatch.setattr(os, "fsync", spy)
    return seen


def write_evidence(recorder):
    recorder.counters("collectives", "before", ())
    recorder.health(HealthLine("collectives", 0))
    recorder.perftest(PerftestSkipped("one node"))


def test_what_was_appended_is_on_the_disk_before_the_journal_goes_on(tmp_path, synced):
    with Recorder(tmp_path / "r") as recorder:
        write_evidence(recorder)
        synced.clear()
        recorder.add(PhaseMark("collectives", "end"))
        names = [name for name, _ in synced.values()]
        assert sorted(names[:-1]) == [COUNTERS, HEALTH, VERBS] and names[-1] == JOURNAL
        assert all(size == (recorder.path / name).stat().st_size > 0 for name, size in synced.values())


@pytest.fixture
def begun(folder):
    """What a run begins with: its manifest, the facts of its nodes, its plan."""
    run = load(folder)
    return run.manifest, run.facts, run.plan


def test_what_a_run_begins_with_is_on_the_disk_and_waited_for_once_a_file(tmp_path, begun, monkeypatch):
    synced, fsync = [], os.fsync

    def spy(file):
        fsync(file)
        synced.append((name_of(file), {path.name for path in (tmp_path / "new").iterdir()}))

    with Recorder(tmp_path / "new") as recorder:
        monkeypatch.setattr(os, "fsync", spy)
        recorder.begin(*begun)
    names = [re.sub(r"^\.|\.\w{16}$", "", name) for name, _ in synced]
    assert names == [SEAL, MANIFEST, FACTS, PLAN, "new"]  # the folder last, when it holds all names
    assert {SEAL, MANIFEST, FACTS, PLAN} <= synced[-1][1]


@pytest.mark.parametrize("renamed", [1, 2, 3, 4])
def test_a_run_whose_beginning_was_cut_off_is_still_its_users_own(tmp_path, begun, monkeypatch, renamed):
    replace, done = os.replace, []

    def cut_off(*names, **folders):
        if len(done) == renamed:
            raise OSError(errno.EIO, "power cut")
        done.append(names[1])
        replace(*names, **folders)

    with Recorder(tmp_path / "new") as recorder:
        monkeypatch.setattr(os, "replace", cut_off)
        with contextlib.suppress(RunError):
            recorder.begin(*begun)
        assert len(done) == renamed and not_own(recorder.path) == ""


class ProgressDisplay(Told):
    """Looks at the disk when it is told the verdict."""

    def __init__(self, synced):
        super().__init__()
        self.synced, self.unsynced = synced, set()

    def finished(self, judged):
        for path in (judged.run.path, *judged.run.path.rglob("*")):
            now = path.stat()
            _, size = self.synced.get(now.st_ino, ("", -1))
            if size < 0 or (path.is_file() and size != now.st_size):
                self.unsynced.add(path.name)


def test_all_evidence_is_on_the_disk_before_a_verdict_is_said(tmp_path, synced):
    path = runs.folder(tmp_path / "r")
    with Recorder(path, again=True) as recorder:
        write_evidence(recorder)
        recorder.log("collectives.0.log", "NCCL INFO")
    display = ProgressDisplay(synced)
    assert finish(path, runs.LOCAL, display, None) == 0
    assert display.unsynced == set()


def test_a_disk_that_keeps_no_evidence_keeps_the_verdict_from_passing(folder, monkeypatch):
    assert finish(folder, runs.LOCAL, ProgressDisplay({}), None) == 0
    fsync = os.fsync

    def broken(file):
        if name_of(file) == FACTS:
            raise OSError(errno.EIO, "Input/output error")
        fsync(file)

    monkeypatch.setattr(os, "fsync", broken)
    display = ProgressDisplay({})
    assert finish(folder, runs.LOCAL, display, None) == 3
