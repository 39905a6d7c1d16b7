"""A run folder outlives what happens to it: cut anywhere, full disk, read-only, two writers, a clock set back."""

from __future__ import annotations

import gc
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import runs
from bench.cli.judging import judge as judge_command
from bench.judge.verdicts import judge, status
from bench.model.profile import parse
from bench.model.verdict import Status
from bench.run.finish import finish
from bench.store import (
    COUNTERS,
    FACTS,
    JOURNAL,
    MANIFEST,
    PLAN,
    VERDICTS,
    Loss,
    Recorder,
    RunError,
    free,
    load,
    write_text,
)
from tests.told import Told

RECORDED = Path(__file__).with_name("data") / "two-nodes"
NOBODY = 65534
MEASURED = (RECORDED / JOURNAL).read_text().count('"kind": "measurement"')


@pytest.fixture
def recorded(tmp_path) -> Path:
    """A copy of a real run of two nodes."""
    return Path(shutil.copytree(RECORDED, tmp_path / "run"))


def own(run):
    return judge(run, parse(run.manifest.profile_text, "the run's own profile")).run


@contextmanager
def somebody() -> Iterator[None]:
    """An ordinary user's rights, also where the tests run as root."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small file system of its own; taken off whatever happens."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, timeout=30)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=30)


# cut anywhere


def test_the_recorded_run_is_whole(recorded):
    run = load(recorded)
    assert (len(run.manifest.ranks), len(run.measurements), run.notes) == (4, MEASURED, ())
    assert status(own(run)) is Status.PASS


def test_a_recorded_journal_cut_at_any_byte_loses_the_line_in_flight_and_nothing_else(recorded):
    for name in (COUNTERS, FACTS):
        (recorded / name).unlink()  # so that reading it some thousand times stays quick
    lines = (recorded / JOURNAL).read_bytes().splitlines(keepends=True)
    # the shortest of each kind, in their order: the others are longer, not other
    shortest = {json.loads(line)["kind"]: line for line in sorted(lines, key=len, reverse=True)}
    data = b"".join(line for line in lines if line in shortest.values())
    kinds = [json.loads(line)["kind"] for line in data.splitlines()]
    assert {"phase", "measurement", "end"} <= set(kinds)
    for cut in range(len(data) + 1):
        (recorded / JOURNAL).write_bytes(data[:cut])
        run = load(recorded)
        whole = data[:cut].count(b"\n") + (data[cut : cut + 1] == b"\n")
        assert len(run.measurements) == kinds[:whole].count("measurement"), cut
        assert (run.ended is not None) == ("end" in kinds[:whole]), cut
        in_flight = cut > 0 and data[cut - 1 : cut] != b"\n" and data[cut : cut + 1] != b"\n"
        assert len(run.notes) == in_flight, cut


def test_no_cut_of_a_recorded_journal_passes(recorded):
    data = (recorded / JOURNAL).read_bytes()
    ends = [place for place, byte in enumerate(data) if byte == 10]
    for cut in sorted({0, *ends, *(end + 1 for end in ends[:-1]), *range(0, len(data) - 2, 997)}):
        if cut >= len(data) - 1:
            continue
        (recorded / JOURNAL).write_bytes(data[:cut])
        assert status(own(load(recorded))) is Status.INCONCLUSIVE, f"cut at byte {cut} passed"


@pytest.mark.parametrize("name", [MANIFEST, FACTS, PLAN, COUNTERS])
def test_no_other_file_that_is_cut_lets_a_run_pass(recorded, name):
    data = (recorded / name).read_bytes()
    for cut in {0, 1, len(data) // 3, len(data) // 2, len(data) - 2}:
        (recorded / name).write_bytes(data[:cut])
        try:
            run = load(recorded)
        except RunError as error:
            assert str(recorded) in str(error)
            continue
        if name == COUNTERS and cut == 0:
            continue  # a machine may have no counters at all; what then cannot be determined has checks of its own
        assert status(own(run)) is Status.INCONCLUSIVE, f"{name} cut at byte {cut} passed"


@pytest.mark.parametrize(
    "tail", [b"\x00" * 512, b"\xff\xfe", b"{}\n" * 0 + b'{"kind": "measure', b"[1, 2]\n"]
)
def test_what_a_power_cut_leaves_at_the_end_costs_nothing_else(recorded, tail):
    with (recorded / JOURNAL).open("ab") as file:
        file.write(tail)
    run = load(recorded)
    assert len(run.measurements) == MEASURED and run.ended is not None
    assert "damaged" in run.notes[0]
    assert status(own(run)) is Status.INCONCLUSIVE


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"verdicts": [{}]}', '{"verdicts": 7}', "\x00"])
def test_damaged_verdicts_are_made_again(recorded, text, capsys):
    (recorded / VERDICTS).write_text(text)
    assert load(recorded).verdicts == ()
    assert judge_command.callback(recorded, None, False) == 0
    assert capsys.readouterr().out.startswith("PASS")
    assert load(recorded).verdicts


# full disk


def fill(file) -> None:
    while True:
        file.write(b"x" * 512)


def test_a_line_that_does_not_fit_is_taken_back(tmp_path):
    code = (
        "import resource, sys; from pathlib import Path; from bench.store import Recorder, RunError, Loss\n"
        "recorder = Recorder(Path(sys.argv[1]))\n"
        "recorder.loss(Loss('first', 'fits'))\n"
        "recorder.counters('p', 'before', [{'n': 1}])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.RLIM_INFINITY))\n"
        "for write in (lambda: recorder.loss(Loss('second', 'x' * 500)),\n"
        "              lambda: recorder.counters('p', 'after', [{'n': 'x' * 500}])):\n"
        "    try: write()\n"
        "    except RunError as error: print(error)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "recorder.loss(Loss('third', 'fits again'))\n"
    )
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.skip("file sizes are limited here")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "r")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.count("cannot write") == 2
    rows = [json.loads(line) for line in (tmp_path / "r" / JOURNAL).read_text().splitlines()]
    assert [row["case"] for row in rows] == ["first", "third"]
    assert len((tmp_path / "r" / COUNTERS).read_text().splitlines()) == 1


@pytest.mark.root
def test_on_a_full_disk_every_line_that_was_said_to_be_written_is_there(tmp_path):
    with mounted(tmp_path / "disk", "size=64k") as disk:
        recorder, kept = Recorder(disk / "run"), []

        def fill() -> None:
            for number in range(10_000):
                recorder.loss(Loss(f"case {number}", "x" * 100))
                kept.append(f"case {number}")

        with pytest.raises(RunError, match="cannot write .*journal.jsonl: No space left on device"):
            fill()
        rows = [json.loads(line) for line in (disk / "run" / JOURNAL).read_text().splitlines()]
        assert [row["case"] for row in rows] == kept
        assert len(kept) > 100


@pytest.mark.root
def test_a_disk_that_is_full_at_the_end_keeps_the_verdict_from_passing_but_not_from_being_told(tmp_path):
    with mounted(tmp_path / "disk", "size=256k") as disk:
        folder = Path(shutil.copytree(RECORDED, disk / "run"))
        with (disk / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            fill(file)
        before = {path.name for path in folder.iterdir()}
        run = load(folder)
        told = Told()
        code = finish(folder, parse(run.manifest.profile_text, "own"), told, None)
        assert code == 3
        assert len(told.runs) == 1
        assert "No space left on device; the verdict is shown here and not saved" in told.said[0]
        assert {path.name for path in folder.iterdir()} == before  # nothing half-written is left


def test_judging_does_not_look_for_cycles_and_whoever_asked_for_it_still_does(tmp_path):
    folder = Path(shutil.copytree(RECORDED, tmp_path / "run"))
    profile = parse(load(folder).manifest.profile_text, "own")
    seen = []
    gc.enable()
    finish(folder, profile, Told(), lambda *_: seen.append(gc.isenabled()))
    assert seen == [False] and gc.isenabled()


# read-only, unreadable


@pytest.mark.root
def test_a_run_on_a_read_only_disk_is_judged_and_that_it_is_not_saved_is_said(tmp_path, capsys):
    with mounted(tmp_path / "disk", "size=1m") as disk:
        folder = Path(shutil.copytree(RECORDED, disk / "run"))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, timeout=30)
        assert judge_command.callback(folder, None, False) == 0
        said = capsys.readouterr()
        assert "\nPASS: " in said.out
        assert "Read-only file system; the verdict is shown here and not saved" in said.err
        with pytest.raises(RunError, match="Read-only file system"):
            Recorder(disk / "new")


def test_a_run_that_one_may_only_read_is_judged(recorded, capsys):
    recorded.chmod(0o555)
    recorded.parent.chmod(0o755)
    for above in list(recorded.parents)[1:]:
        if above.stat().st_uid == os.geteuid() and above != Path("/"):
            above.chmod(above.stat().st_mode | 0o011)
    with somebody():
        assert judge_command.callback(recorded, None, False) == 0
    said = capsys.readouterr()
    assert "\nPASS: " in said.out
    assert "Permission denied; the verdict is shown here and not saved" in said.err
    recorded.chmod(0o755)


def test_a_folder_that_one_may_not_enter_is_wrong_usage(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o700)
    shutil.copytree(RECORDED, closed / "run")
    (closed / "run").chmod(0o755)
    closed.chmod(0 if os.geteuid() else 0o700)
    with somebody():
        for use in (load, free):
            with pytest.raises(RunError, match="Permission denied") as caught:
                use(closed / "run")
            assert caught.value.exit_status == 2
    closed.chmod(0o700)


# two writers


def test_two_who_judge_at_once_leave_one_whole_file(tmp_path):
    path, texts = tmp_path / VERDICTS, [letter * 50_000 for letter in "abcd"]

    def write(text: str) -> None:
        for _ in range(10):
            write_text(path, text)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert path.read_text() in texts
    assert [found.name for found in tmp_path.iterdir()] == [VERDICTS]


def test_a_second_run_in_the_same_folder_changes_nothing_of_the_first(recorded):
    before = {path.name: path.read_bytes() for path in recorded.iterdir() if path.is_file()}
    with pytest.raises(RunError, match="already holds something") as caught:
        Recorder(recorded)
    assert caught.value.exit_status == 2
    assert {path.name: path.read_bytes() for path in recorded.iterdir() if path.is_file()} == before


# a clock set back


def test_a_clock_set_back_in_mid_run_changes_no_verdict_and_makes_no_negative_time(recorded):
    lines = (recorded / JOURNAL).read_text().splitlines()
    moved = []
    for number, line in enumerate(lines):
        row = json.loads(line)
        if number > 5:
            row = {**row, **{key: row[key] - 7200.0 for key in ("time", "started", "ended") if key in row}}
        moved.append(json.dumps(row))
    (recorded / JOURNAL).write_text("\n".join(moved) + "\n")
    run = load(recorded)
    assert run.ended < run.manifest.started
    assert run.lasted is None
    before = {(v.check, v.subject, v.status) for v in own(load(RECORDED)).verdicts}
    assert {(v.check, v.subject, v.status) for v in own(run).verdicts} == before


def test_how_long_a_run_lasted_is_told_where_it_ended_and_the_clock_went_on(tmp_path):
    assert load(RECORDED).lasted == pytest.approx(32.5, abs=20)
    assert load(runs.folder(tmp_path / "r", end=False)).lasted is None
