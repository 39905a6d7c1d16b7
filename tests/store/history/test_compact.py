"""The runs of a month in one file: nothing is lost or counted twice, whoever reads, writes or is killed meanwhile."""

from __future__ import annotations

import io
import itertools
import math
import os
import shutil
import signal
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("fsspec")

from bench.judge.drift import Series, fingerprint
from bench.model.verdict import Status
from bench.store.history import (
    HistoryError,
    LeftOutFile,
    RecordedRun,
    Sample,
    append,
    check,
    compact,
    create,
    export,
    location,
    nights,
    read,
    run_files,
    runs,
)
from bench.store.history.parquet_file import Broken, decode, encode

MODULE = sys.modules["bench.store.history.compact"]
DAY = 86400.0
FIRST = 20000  # the day 2024-10-04
OLD, NEW = fingerprint({"driver": "550.90"}), fingerprint({"driver": "560.28"})


def record(night: int, cluster: str = "c1", run: str = "") -> RecordedRun:
    samples = tuple(
        Sample(Series(cluster, "all_reduce", size, "busbw", subject), 390e9 + night, 5, rerun=rerun)
        for size, subject, rerun in (
            ("1 MiB", "", None),
            ("1 GiB", "", 380e9),
            ("1 GiB", "node7 rail3", None),
        )
    )
    failed = Sample(Series(cluster, "all_gather", "1 MiB", "busbw"), math.nan, 0, Status.INCONCLUSIVE)
    parts = NEW if night > 2 else OLD
    return RecordedRun(run or f"run{night}", (FIRST + night) * DAY + 3600, cluster, parts, (*samples, failed))


def fill(home: str, count: int = 6) -> None:
    """Nights of two clusters in two months (``count`` nights from 2024-10-04, as many from 2024-11-03)."""
    for cluster, start, night in itertools.product(("c1", "c2"), (0, 30), range(count)):
        append(home, record(start + night, cluster))


def answers(home: str) -> tuple[str, ...]:
    """All that a history says, as text: NaN equals itself there."""
    entries, problems = runs(home)
    out = io.StringIO()
    left = export(home, out)
    said = [nights(home, cluster, subject=part) for cluster in ("c1", "c2") for part in ("", "node7 rail3")]
    listed = [replace(entry, path="") for entry in entries]
    rows = sorted(out.getvalue().splitlines())
    records = [read(home, entry.run, entry.cluster) for entry in entries]
    whole = [replace(entry, path="") for entry in check(home)[0]]
    series = [(found, {name: past[name] for name in sorted(past)}) for past, found in said]
    return tuple(map(repr, (listed, problems, left, rows, records, whole, series)))


@pytest.fixture(params=["folder", "bucket"])
def home(request, tmp_path):
    if request.param == "bucket":
        return f"memory://bucket-{uuid.uuid4().hex}/history"
    create(str(tmp_path / "history"))
    return str(tmp_path / "history")


@pytest.fixture
def on_disk(tmp_path):
    create(str(tmp_path / "history"))
    return str(tmp_path / "history")


def files(home: str) -> list[str]:
    return [path for path, _ in location.found(location.open_folder(home))]


def test_a_compacted_history_says_what_it_said_before(home):
    fill(home)
    before = answers(home)
    done = list(compact(home))
    assert [each.runs for each in done] == [6, 6, 6, 6]
    assert [path.rpartition("/")[0] for path in files(home)] == [
        f"cluster={cluster}/month={month}" for cluster in ("c1", "c2") for month in ("2024-10", "2024-11")
    ]
    assert answers(home) == before
    assert list(compact(home)) == []


def test_one_cluster_is_compacted_without_the_others(home):
    fill(home, 2)
    assert {each.where.partition("/")[0] for each in compact(home, "c2")} == {"cluster=c2"}


def test_since_leaves_out_earlier_nights_of_a_month(home):
    fill(home)
    since = (FIRST + 3) * DAY
    before = [repr(nights(home, "c1", since)), [entry.run for entry in runs(home, "c1", since)[0]]]
    list(compact(home))
    assert [repr(nights(home, "c1", since)), [entry.run for entry in runs(home, "c1", since)[0]]] == before
    assert before[1][0] == "run3"
    assert [entry.run for entry in runs(home, "c1", (FIRST + 33) * DAY)[0]] == ["run33", "run34", "run35"]


@pytest.mark.parametrize(("now", "left"), [("2024-11-02", 4), ("2024-11-04", 2), ("2024-12-31", 2)])
def test_a_month_stays_as_it_is_until_it_is_over_and_one_run_for_good(home, monkeypatch, now, left):
    for night in (0, 1, 30):  # two in October, one in November
        append(home, record(night))
    append(home, record(0, "c2"))
    at = datetime.fromisoformat(now).replace(tzinfo=timezone.utc).timestamp()
    monkeypatch.setattr(MODULE.time, "time", lambda: at)
    list(compact(home))
    assert sum("/date=" in path for path in files(home)) == left


# --- writers ------------------------------------------------------------------------------------------


def test_a_run_in_the_file_of_a_month_is_not_recorded_again(home):
    fill(home)
    list(compact(home))
    before = answers(home)
    with pytest.raises(HistoryError, match="already there"):
        append(home, record(1))
    assert answers(home) == before


def test_a_run_that_comes_late_is_one_more_and_joins_the_next_ones(home):
    fill(home)
    list(compact(home))
    for late in (10, 11):
        append(home, record(late))
    before = answers(home)
    assert len(runs(home, "c1")[0]) == 14
    assert [each.runs for each in compact(home)] == [2]
    assert answers(home) == before
    assert all("/month=" in path for path in files(home))


def test_a_run_is_written_though_the_folder_of_its_day_goes_away_in_that_moment(on_disk, monkeypatch):
    fill(on_disk, 2)
    publish, gone = location.publish, []

    def late(path, content, mode):
        if not gone:
            gone.append(path.parent.rmdir())
        publish(path, content, mode)

    monkeypatch.setattr(location, "publish", late)
    append(on_disk, record(9))
    assert "run9" in [entry.run for entry in runs(on_disk)[0]]


def test_a_run_that_is_recorded_while_its_month_is_put_together_is_kept(home, monkeypatch):
    fill(home, 2)
    put = MODULE.put

    def late(*words):
        if not [entry for entry in runs(home, "c1")[0] if entry.run == "run9"]:
            append(home, record(9))
        return put(*words)

    monkeypatch.setattr(MODULE, "put", late)
    list(compact(home))
    assert [entry.run for entry in runs(home, "c1")[0]] == ["run0", "run1", "run9", "run30", "run31"]


# --- readers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask", [runs, check, lambda home: nights(home, "c1"), lambda home: read(home, "run1", "c1")]
)
def test_who_reads_while_files_move_finds_every_run(home, monkeypatch, ask):
    """The history is compacted between the listing and the reading of files."""
    fill(home, 3)
    before = answers(home)
    candidates, moved = run_files.candidates, []

    def late(*words):
        listing = candidates(*words)
        if not moved:
            moved.append(1)
            moved.extend(compact(home))
        return listing

    wanted = repr(ask(home)) if ask not in (runs, check) else None
    monkeypatch.setattr(run_files, "candidates", late)
    found = ask(home)
    assert len(moved) == 5
    if wanted is None:
        assert (len(found[0]), found[1]) == (12, ())
    else:
        assert repr(found) == wanted
    assert answers(home) == before


@pytest.mark.parametrize("before", [0, 2])
def test_who_walks_while_files_move_finds_every_run(on_disk, tmp_path, monkeypatch, before):
    """The history is compacted before the first, second, third ... folder is looked into, ``before`` or not."""
    fill(on_disk, before)
    list(compact(on_disk))
    for cluster, night in itertools.product(("c1", "c2"), (5, 6, 36, 37)):
        append(on_disk, record(night, cluster))
    want, scandir = 8 + 4 * before, os.scandir
    for moment in range(1, 14):
        home = str(shutil.copytree(on_disk, tmp_path / f"copy{moment}"))
        count = itertools.count(1)

        def late(path, home=home, count=count, moment=moment):
            if next(count) == moment:
                with monkeypatch.context() as once:
                    once.setattr(location.os, "scandir", scandir)
                    assert len(list(compact(home))) == 4
            return scandir(path)

        with monkeypatch.context() as patch:
            patch.setattr(location.os, "scandir", late)
            entries, problems = runs(home)
        assert (len(entries), problems) == (want, ()), moment
        assert next(count) > moment


def test_an_export_finds_every_run_though_files_move_once_they_are_chosen(home, monkeypatch):
    fill(home, 3)
    want, out, moved = io.StringIO(), io.StringIO(), []
    export(home, want)
    query = sys.modules[export.__module__]
    each_once = query.each_once

    def late(entries):
        found = each_once(entries)
        if not moved:
            moved.extend(compact(home))
        return found

    monkeypatch.setattr(query, "each_once", late)
    assert export(home, out) == ()
    assert out.getvalue() == want.getvalue()
    assert len(moved) == 4


def test_a_run_is_read_though_its_file_moves_between_footer_and_rows(home, monkeypatch):
    fill(home, 3)
    wanted, each_once, moved = repr(read(home, "run1", "c1")), run_files.each_once, []

    def late(entries):
        found = each_once(entries)
        if not moved:
            moved.append(1)
            moved.extend(compact(home))
        return found

    monkeypatch.setattr(run_files, "each_once", late)
    assert repr(read(home, "run1", "c1")) == wanted
    assert len(moved) == 5


def test_an_export_goes_on_when_files_move_in_its_midst(home):
    fill(home, 3)
    want = io.StringIO()
    export(home, want)

    class Slow(io.StringIO):
        def write(self, text):
            if "run1," in text and not moved:
                moved.extend(compact(home))
            return super().write(text)

    moved, out = [], Slow()
    assert export(home, out) == ()
    assert sorted(out.getvalue().splitlines()) == sorted(want.getvalue().splitlines())
    assert len(moved) == 4


# --- kills, and two at once ---------------------------------------------------------------------------


KILLED = """
import os, signal, sys
from bench.store.history import compact
module = sys.modules["bench.store.history.compact"]
name, after = sys.argv[2], int(sys.argv[3])
call = getattr(module, name)
def late(*words):
    global after
    after -= 1
    if after < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return call(*words)
setattr(module, name, late)
list(compact(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("call", "after"), [("put", 0), ("put", 2), ("remove", 0), ("remove", 1), ("remove", 8)]
)
def test_a_kill_in_the_middle_loses_nothing_and_the_next_call_ends_it(on_disk, call, after):
    fill(on_disk, 3)
    before = answers(on_disk)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, on_disk, call, str(after)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert any("/date=" in path for path in files(on_disk))
    assert answers(on_disk) == before
    assert not [each for each in compact(on_disk) if isinstance(each, LeftOutFile)]
    assert answers(on_disk) == before
    assert len(files(on_disk)) == 4


@pytest.mark.parametrize("call", ["put", "remove"])
def test_of_two_at_once_none_loses_or_doubles_a_run(home, monkeypatch, call):
    fill(home, 3)
    before = answers(home)
    first, other = getattr(MODULE, call), []

    def late(*words):
        if not other:
            other.append(1)
            other.extend(compact(home))
        return first(*words)

    monkeypatch.setattr(MODULE, call, late)
    mine = list(compact(home))
    assert not [each for each in (*mine, *other) if isinstance(each, LeftOutFile)]
    assert answers(home) == before
    assert len(files(home)) == 4


def test_a_run_in_two_files_of_a_month_counts_once(home):
    """Two that began at once, between which a run was recorded, leave two files that share runs."""
    fill(home, 3)
    before = answers(home)
    inside = location.open_folder(home)
    for cluster, *shared in (("c1", 0, 1), ("c1", 0, 1, 2), ("c2", 0, 1), ("c2", 1, 2)):
        content = encode(*(record(night, cluster) for night in shared))
        location.put(inside, f"cluster={cluster}/month=2024-10/{'-'.join(map(str, shared))}.parquet", content)
    assert answers(home) == before
    list(compact(home))
    assert answers(home) == before


# --- bad files ----------------------------------------------------------------------------------------


def altered(home: str, path: str) -> None:
    file = Path(home, path)
    content = bytearray(file.read_bytes())
    content[len(content) // 4] ^= 1
    file.write_bytes(bytes(content))


def test_a_damaged_file_is_named_and_stays(on_disk):
    fill(on_disk, 3)
    bad = "cluster=c1/date=2024-10-05/run1.parquet"
    altered(on_disk, bad)
    named = [each for each in compact(on_disk) if isinstance(each, LeftOutFile)]
    assert [(each.path, "altered" in each.reason) for each in named] == [(bad, True)]
    assert Path(on_disk, bad).exists()
    assert len(check(on_disk)[0]) == 11


def test_a_run_survives_in_its_own_file_when_that_of_the_month_is_damaged(on_disk):
    fill(on_disk, 3)
    own = Path(on_disk, "cluster=c1/date=2024-10-05/run1.parquet")
    content = own.read_bytes()
    list(compact(on_disk))
    own.parent.mkdir(exist_ok=True)
    own.write_bytes(content)
    (month,) = [path for path in files(on_disk) if path.startswith("cluster=c1/month=2024-10")]
    altered(on_disk, month)
    past, problems = nights(on_disk, "c1")
    assert [problem.path for problem in problems] == [month]
    assert [night.run for night in past[Series("c1", "all_reduce", "1 MiB", "busbw")]] == [
        "run1", "run30", "run31", "run32",
    ]  # fmt: skip
    list(compact(on_disk))
    assert own.exists()


def test_a_file_that_differs_from_the_month_is_named_and_stays(on_disk):
    fill(on_disk, 3)
    list(compact(on_disk))
    other = replace(record(1), fingerprint=NEW)
    path = "cluster=c1/date=2024-10-05/run1.parquet"
    location.put(location.open_folder(on_disk), path, encode(other))
    (named,) = compact(on_disk)
    assert named.path == path and "differs" in named.reason
    assert read(on_disk, "run1", "c1").fingerprint == OLD


def test_what_is_written_wrongly_removes_nothing(home, monkeypatch):
    fill(home, 3)
    before, put = files(home), MODULE.put
    two = encode(record(0), record(1))
    monkeypatch.setattr(MODULE, "put", lambda inside, path, content: put(inside, path, two))
    with pytest.raises(HistoryError, match="stay"):
        list(compact(home))
    assert set(before) < set(files(home))


@pytest.mark.parametrize(
    ("path", "nights_of", "why"),
    [
        ("cluster=c1/month=2024-11/a.parquet", (0, 1), "misplaced"),
        ("cluster=c2/month=2024-10/a.parquet", (0, 1), "misplaced"),
        ("cluster=c1/date=2024-10-04/run0.parquet", (0, 1), "misplaced"),
        ("cluster=c1/month=2024-10/a.parquet", (0, 30), "misplaced"),
        ("cluster=c1/month=2024-10/a.parquet", (0,), "misplaced"),
    ],
)
def test_a_file_of_a_month_that_lies_elsewhere_is_not_believed(home, path, nights_of, why):
    append(home, record(5))
    content = encode(*(record(night) for night in nights_of))
    location.put(location.open_folder(home), path, content)
    entries, problems = runs(home)
    assert [entry.run for entry in entries] == ["run5"]
    assert [(each.path, why in each.reason) for each in problems] == [(path, True)]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b'["run0",1728003600.0,0,4]', b'["run0",1728003600.0,9,4]', "fingerprint"),
        (b'["run0",1728003600.0,0,4]', b'["run0",1728003600.0,0,5]', "as many"),
        (b'["run0",1728003600.0,0,4]', b'["run7",1728003600.0,0,4]', "different runs"),
        (b'["run0",1728003600.0,0,4]', b'["run0",1728003600.0,"",4]', "whole number"),
    ],
)
def test_a_footer_that_makes_no_sense_is_not_believed(monkeypatch, old, new, why):
    module = sys.modules["bench.store.history.parquet_file"]
    made = module._footer_of
    monkeypatch.setattr(module, "_footer_of", lambda records: made(records).replace(old, new))
    content = encode(record(0), record(1))
    assert new in content
    with pytest.raises(Broken, match=why):
        decode(content)
