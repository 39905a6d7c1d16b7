"""The history: many writers lose nothing, a bad file is named and left out, names are data."""

from __future__ import annotations

import csv
import io
import json
import math
import multiprocessing
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("fsspec")

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.judge.drift import Acceptance, Series, fingerprint
from bench.model.verdict import Status
from bench.store.history import (
    HistoryError,
    MissingLibrary,
    RecordedRun,
    Sample,
    accept,
    acceptances,
    append,
    check,
    create,
    export,
    location,
    nights,
    nights_of_node,
    read,
    runs,
)
from bench.store.history.parquet_file import Broken, decode, encode

ROOT = Path(__file__).parents[3]
DAY = 86400.0
PARTS = fingerprint({"driver": "550.90", "nccl": "2.20"})
HOSTILE = [
    "../../etc",
    "..",
    "/absolute",
    "a/b",
    "'; drop table x; --",
    "$cluster",
    "cluster=x/date=2026-01-01",
    "*",
    "[a-z]?",
    "a%2Fb",
    "white space\n\ttab",
    "nul\0byte",
    "名前",
    "con.parquet",
    "~root",
    "x" * 4000,
]


def record(
    run: str = "run0", cluster: str = "c1", night: int = 0, value: float = 390e9, rows: int = 3
) -> RecordedRun:
    samples = tuple(
        Sample(Series(cluster, "all_reduce", f"{1 << i} MiB", "busbw"), value + i, 5) for i in range(rows)
    )
    return RecordedRun(run, (20000 + night) * DAY, cluster, PARTS, samples)


def series_nights(history, of, since=0.0):
    found, problems = nights(history, of.cluster, since, of.subject)
    return found.get(of, ()), problems


def series(cluster: str = "c1", index: int = 0) -> Series:
    return Series(cluster, "all_reduce", f"{1 << index} MiB", "busbw")


@pytest.fixture
def home(tmp_path):
    create(str(tmp_path / "history"))
    return str(tmp_path / "history")


def run_file(home: str) -> Path:
    return next(Path(home).rglob("*.parquet"))


# --- appending and asking -----------------------------------------------------------------------------


def test_what_was_appended_is_read_back(home):
    whole = record()
    path = append(home, whole)
    assert path.endswith("cluster=c1/date=2024-10-04/run0.parquet")
    assert read(home, "run0") == whole
    (entry,), problems = runs(home)
    assert (entry.run, entry.cluster, entry.time, entry.fingerprint, entry.rows) == (
        *("run0", "c1", 20000 * DAY, PARTS),
        3,
    )
    assert problems == ()


def test_a_series_comes_back_oldest_first_with_fingerprint_and_rerun(home):
    for night in (2, 0, 1):
        whole = record(f"run{night}", night=night, value=390e9 + 10 * night)
        append(home, replace(whole, samples=tuple(replace(s, rerun=1e9) for s in whole.samples)))
    found, problems = series_nights(home, series())
    assert [night.run for night in found] == ["run0", "run1", "run2"]
    assert [night.value for night in found] == [390e9, 390e9 + 10, 390e9 + 20]
    assert {(night.fingerprint, night.rerun, night.status) for night in found} == {(PARTS, 1e9, Status.PASS)}
    assert problems == ()


def test_nights_of_one_name_have_each_their_own_fingerprint(home):
    other = fingerprint({"driver": "560.28", "nccl": "2.20"})
    append(home, record("night", night=0))
    append(home, replace(record("night", night=1), fingerprint=other))
    found, _ = series_nights(home, series())
    assert [night.fingerprint for night in found] == [PARTS, other]


def test_since_leaves_earlier_nights_out(home):
    for night in range(4):
        append(home, record(f"run{night}", night=night))
    assert [night.run for night in series_nights(home, series(), since=20002 * DAY)[0]] == ["run2", "run3"]
    assert [entry.run for entry in runs(home, since=20002 * DAY)[0]] == ["run2", "run3"]


def test_a_cluster_is_asked_without_the_others_and_without_its_parts(home):
    append(home, record(cluster="c1"))
    append(home, record(cluster="c2", value=1e9))
    part = Sample(Series("c1", "all_reduce", "1 MiB", "busbw", "node7 rail3"), 48e9)
    append(home, RecordedRun("parts", 20001 * DAY, "c1", PARTS, (part,)))
    whole, _ = nights(home, "c1")
    assert set(whole) == {series(index=i) for i in range(3)}
    assert len(whole[series()]) == 1
    assert set(nights(home, "c1", subject="node7 rail3")[0]) == {part.series}
    assert set(nights(home, "c1", only={"size_class": "2 MiB", "quantity": "busbw"})[0]) == {series(index=1)}
    assert not nights(home, "c1", only={"size_class": "2 MiB", "quantity": "latency"})[0]


def test_a_failed_measurement_stays_one(home):
    append(
        home,
        RecordedRun("run0", 20000 * DAY, "c1", PARTS, (Sample(series(), math.nan, 0, Status.INCONCLUSIVE),)),
    )
    (night,), _ = series_nights(home, series())
    assert math.isnan(night.value)
    assert not night.measured


def subjects(*names: str) -> list[Sample]:
    return [Sample(Series("c1", "p2p", "1 GiB", "busbw", name), 1.0) for name in names]


def test_a_node_is_asked_with_its_rails_and_without_the_nodes_whose_names_begin_as_its_own(home):
    names = ("node1", "node1 rail0", "node1\tx", "node10", "node10 rail0", "node", "", "node2")
    append(home, RecordedRun("run0", 20000 * DAY, "c1", PARTS, tuple(subjects(*names))))
    found, _ = nights_of_node(home, "c1", "node1")
    assert [each.subject for each in sorted(found)] == ["node1", "node1 rail0"]
    assert [each.subject for each in nights(home, "c1", subject="node10")[0]] == ["node10"]
    assert [each.subject for each in nights(home, "c1")[0]] == [""]


def test_a_series_that_nobody_measured_has_no_nights(home):
    append(home, record())
    assert series_nights(home, series("elsewhere")) == ((), ())
    assert series_nights(home, replace(series(), quantity="latency")) == ((), ())


def test_a_run_is_never_overwritten(home):
    append(home, record(value=1e9))
    with pytest.raises(HistoryError, match="already there"):
        append(home, record(value=2e9))
    assert read(home, "run0").samples[0].value == 1e9


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ((), "measured nothing"),
        ((Sample(series(), 1e9), Sample(series(), 2e9)), "two samples"),
        ((Sample(series("c2"), 1e9),), "c2"),
        ((Sample(replace(series(), collective="\ud800"), 1e9),), "cannot be stored"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(home, samples, said):
    with pytest.raises(HistoryError, match=said):
        append(home, RecordedRun("run0", 20000 * DAY, "c1", PARTS, samples))
    assert not list(Path(home).rglob("*"))


@pytest.mark.parametrize("seconds", [math.nan, math.inf, 1e300])
def test_a_run_without_a_time_is_refused(home, seconds):
    with pytest.raises(HistoryError, match="not a time"):
        append(home, replace(record(), time=seconds))


def test_no_folder_is_not_an_empty_history(tmp_path):
    with pytest.raises(HistoryError, match="no such folder"):
        runs(str(tmp_path / "typo"))


def test_an_empty_history_has_no_runs(home):
    assert runs(home) == ((), ())
    assert nights(home, "c1") == ({}, ())


def test_an_unknown_kind_of_address_is_refused():
    with pytest.raises(HistoryError, match="nosuch"):
        runs("nosuch://bucket/history")


def test_a_run_in_two_clusters_has_to_be_named_with_its_cluster(home):
    append(home, record(cluster="c1"))
    append(home, record(cluster="c2"))
    with pytest.raises(HistoryError, match="several clusters"):
        read(home, "run0")
    assert read(home, "run0", "c2").cluster == "c2"
    with pytest.raises(HistoryError, match="not in it"):
        read(home, "nosuch")


# --- many writers -------------------------------------------------------------------------------------


def write_many(home: str, writer: int, count: int) -> None:
    for night in range(count):
        append(home, record(f"w{writer}-{night}", f"c{writer % 2}", night, 1e9 * (writer + 1)))


def test_writers_at_the_same_time_lose_nothing(home):
    fork = multiprocessing.get_context("spawn")
    writers = [fork.Process(target=write_many, args=(home, writer, 25)) for writer in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        # Whatever is seen in the middle of it is whole
        assert check(home)[1] == ()
        writers[0].join(timeout=0.05)
    for writer in writers:
        writer.join(timeout=60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    entries, problems = check(home)
    assert (len(entries), problems) == (100, ())
    assert [len(series_nights(home, series(name))[0]) for name in ("c0", "c1")] == [50, 50]


def test_of_two_writers_of_one_run_one_is_told(home):
    fork = multiprocessing.get_context("spawn")
    writers = [fork.Process(target=write_same, args=(home, value)) for value in (1e9, 2e9, 3e9)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=60)
    assert sorted(writer.exitcode for writer in writers) == [0, 1, 1]
    assert len(check(home)[0]) == 1


def write_same(home: str, value: float) -> None:
    try:
        append(home, record(value=value))
    except HistoryError:
        raise SystemExit(1) from None


# --- bad files ----------------------------------------------------------------------------------------


def test_a_file_cut_anywhere_is_named_and_left_out(home):
    append(home, record("good", night=1))
    append(home, record())
    path = Path(home, "cluster=c1/date=2024-10-04/run0.parquet")
    whole = path.read_bytes()
    cuts = {0, 1, 3, 4, 5, 8, len(whole) // 3, len(whole) // 2, *range(len(whole) - 12, len(whole))}
    for cut in sorted(cuts):
        path.write_bytes(whole[:cut])
        for entries, problems in (runs(home), check(home)):
            assert [entry.run for entry in entries] == ["good"], cut
            assert [problem.path for problem in problems] == ["cluster=c1/date=2024-10-04/run0.parquet"], cut
        found, problems = series_nights(home, series())
        assert [night.run for night in found] == ["good"]
        assert len(problems) == 1


@settings(max_examples=80)
@given(st.integers(0), st.integers(1, 255))
def test_one_altered_byte_is_never_believed(place, mask):
    content = bytearray(CONTENT)
    content[place % len(content)] ^= mask
    with pytest.raises(Broken):
        decode(bytes(content))


@settings(max_examples=60)
@given(st.binary(max_size=400))
def test_no_bytes_crash_the_reader(content):
    with pytest.raises(Broken):
        decode(content)
    with pytest.raises(Broken):
        decode(b"PAR1" + content + b"PAR1")


CONTENT = encode(record())


def test_an_altered_row_is_named_before_it_is_answered_with(home):
    append(home, record("good", night=1))
    append(home, record())
    path = Path(home, "cluster=c1/date=2024-10-04/run0.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(bytes(content))
    found, problems = series_nights(home, series())
    assert [night.run for night in found] == ["good"]
    assert "altered" in problems[0].reason
    out = io.StringIO()
    assert len(export(home, out)) == 1
    assert "good" in out.getvalue()


def foreign_parquet(path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2]}), path)


def foreign_text(path: Path) -> None:
    path.write_text("run,value\n")


def foreign_directory(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_text("x")


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("other.parquet", foreign_parquet, "foreign"),
        ("README.txt", foreign_text, "foreign"),
        ("fake.parquet", foreign_text, ""),
        ("folder.parquet", foreign_directory, "foreign"),
        ("cluster=c1/date=2024-10-04/other.parquet", foreign_parquet, "foreign"),
    ],
)
def test_a_foreign_file_is_named_and_left_out(home, name, make, said):
    append(home, record())
    make(Path(home, name))
    for entries, problems in (runs(home), check(home)):
        assert [entry.run for entry in entries] == ["run0"]
        assert len(problems) == 1
        assert problems[0].path.startswith(name)
        assert said in problems[0].reason
    assert len(series_nights(home, series())[0]) == 1


def test_a_copied_file_does_not_count_a_night_twice(home):
    path = Path(append(home, record()))
    for copy in ("copy.parquet", "../date=2024-10-05/run0.parquet"):
        target = path.parent / copy
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    found, problems = series_nights(home, series())
    assert len(found) == 1
    assert all("misplaced" in problem.reason for problem in problems)
    assert len(problems) == 2


def test_a_newer_format_is_named(home):
    from bench.store.history import parquet_file as module

    path = Path(append(home, record()))
    path.unlink()
    newer = CONTENT.replace(b'{"format": 1', b'{"format": 3')
    assert newer != CONTENT
    with pytest.raises(Broken, match="altered"):
        decode(newer)
    path.write_bytes(newer)
    assert "newer" in runs(home)[1][0].reason
    assert (module.FORMAT, module.FORMAT_SEVERAL) == (1, 2)


def test_the_temporary_file_of_a_writer_is_no_problem_until_it_is_stale(home):
    append(home, record())
    left = run_file(home).with_name(".run1.parquet.abc.tmp")
    left.write_bytes(b"half")
    assert runs(home)[1] == ()
    yesterday = time.time() - 2 * DAY
    os.utime(left, (yesterday, yesterday))
    assert [problem.path.endswith(".tmp") for problem in runs(home)[1]] == [True]


def test_a_disk_without_hard_links_still_overwrites_nothing(home, monkeypatch):
    def refuse(*_):
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    append(home, record())
    with pytest.raises(HistoryError, match="already there"):
        append(home, record())
    assert len(runs(home)[0]) == 1
    assert not list(Path(home).rglob("*.tmp"))


# --- hostile names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_data(home, name):
    append(home, record("plain", "c1"))
    path = Path(append(home, record(name, name)))
    assert Path(home) in path.resolve().parents
    assert len(path.relative_to(home).parts) == 3
    found, problems = series_nights(home, series(name))
    assert [night.run for night in found] == [name]
    assert problems == ()
    assert [night.run for night in series_nights(home, series("c1"))[0]] == ["plain"]
    assert read(home, name, name).cluster == name
    accept(home, Acceptance(name, DAY, name, DAY, name))
    assert len(acceptances(home, name)[0]) == 1


@settings(max_examples=100)
@given(st.text(min_size=1), st.text(min_size=1))
def test_names_become_one_harmless_component_each_and_stay_different(one, other):
    try:
        first, second = location.safe(one), location.safe(other)
    except HistoryError:
        assert any("\ud800" <= letter <= "\udfff" for letter in one + other)
        return
    assert (first == second) == (one == other)
    for name in (first, second):
        assert set(name).isdisjoint("/\\.*?[]~'\"\0\n ")
        assert 0 < len(name.encode()) <= 150


def test_an_empty_name_is_refused(home):
    with pytest.raises(HistoryError, match="empty name"):
        append(home, record(cluster=""))


def test_a_folder_with_wildcards_in_its_name_is_that_folder(tmp_path):
    home = str(tmp_path / "hist[a]*?")
    for where, each in ((home, record()), (str(tmp_path / "hista"), record(value=1.0))):
        create(where)
        append(where, each)
    assert [night.value for night in series_nights(home, series())[0]] == [390e9]


# --- a bucket -----------------------------------------------------------------------------------------


def test_a_bucket_is_a_history_too():
    home = f"memory://bucket-{os.getpid()}/history"
    append(home, record())
    append(home, record("run1", night=1))
    with pytest.raises(HistoryError, match="already there"):
        append(home, record())
    accept(home, Acceptance("c1", DAY, "ada", DAY, "why"))
    assert [night.run for night in series_nights(home, series())[0]] == ["run0", "run1"]
    assert [len(part) for part in check(home)] == [2, 0]
    assert len(acceptances(home)[0]) == 1


@pytest.mark.parametrize("end", [1 << 16, 64])
def test_a_bucket_is_asked_once_a_file_and_twice_where_the_footer_is_long(monkeypatch, end):
    import fsspec

    home = f"memory://asked-{os.getpid()}-{end}/history"
    for night in range(3):
        append(home, record(f"run{night}", night=night))
    files, asked = type(fsspec.filesystem("memory")), []
    cat_file = files.cat_file

    def counted(self, path, start=None, end=None, **more):
        asked.append(path)
        return cat_file(self, path, start, end, **more)

    monkeypatch.setattr(files, "cat_file", counted)
    monkeypatch.setattr(sys.modules[append.__module__], "_END", end)
    assert [entry.run for entry in runs(home)[0]] == ["run0", "run1", "run2"]
    assert (len(asked), len(set(asked))) == ((3, 3) if end > 64 else (6, 3))
    asked.clear()
    assert len(series_nights(home, series())[0]) == 3
    assert (len(asked), len(set(asked))) == (3, 3)


class Bucket:
    """The library of a bucket: its calls as fsspec has them, its exceptions of its own."""

    protocol = "s3"

    def __init__(self, error: Exception | None = None, between: bytes | None = None) -> None:
        self.error, self.between, self.objects = error, between, dict[str, bytes]()

    def exists(self, path):
        if self.error:
            raise self.error
        found = path in self.objects
        if self.between is not None:  # another writer comes now
            self.objects[path], self.between = self.between, None
        return found

    def pipe_file(self, path, content, mode="overwrite"):
        if mode == "create" and path in self.objects:
            raise OSError("PreconditionFailed")
        self.objects[path] = content

    def cat_file(self, path):
        return self.objects[path]

    def find(self, path, detail):
        raise self.error or FileNotFoundError(path)

    def ls(self, path, detail):
        raise self.error or FileNotFoundError(path)


class OlderBucket(Bucket):
    """One that replaces objects whatever it is asked."""

    def pipe_file(self, path, content):
        self.objects[path] = content

    def cat_file(self, path):
        return b"what another writer put there afterwards"


class NoCredentials(Exception):
    pass


@pytest.fixture
def bucket(monkeypatch):
    def use(files):
        opened = location.Folder(files, "bucket/nights", False, "s3://bucket/nights", ("hunter2",))
        monkeypatch.setattr(sys.modules[append.__module__], "open_folder", lambda _: opened)
        return files

    return use


@pytest.mark.parametrize("kind", [Bucket, OlderBucket])
def test_of_two_writers_of_one_name_in_a_bucket_one_is_told(bucket, kind):
    files = bucket(kind(between=b"the other writer's night"))
    with pytest.raises(HistoryError, match="is already there"):
        append("s3://bucket/nights", record())
    assert kind is OlderBucket or list(files.objects.values()) == [b"the other writer's night"]


def test_a_bucket_that_is_not_there_is_one_line(bucket):
    bucket(Bucket(FileNotFoundError("The specified bucket does not exist")))
    with pytest.raises(
        HistoryError, match=r"cannot be written: The specified bucket does not exist; see that"
    ):
        append("s3://bucket/nights", record())


def test_whatever_the_library_of_a_bucket_raises_is_one_line(bucket):
    bucket(Bucket(NoCredentials("Unable to locate credentials\nfor hunter2")))
    for ask in (lambda: append("s3://bucket/nights", record()), lambda: runs("s3://bucket/nights")):
        with pytest.raises(HistoryError, match="endpoint and keys") as raised:
            ask()
        assert "\n" not in str(raised.value) and "hunter2" not in str(raised.value)


# --- export -------------------------------------------------------------------------------------------


def test_csv_comes_back_as_it_went_in(home):
    append(home, record(cluster="c,\"1'\n"))
    append(home, record("run1", night=1, value=math.nan, rows=1))
    out = io.StringIO()
    assert export(home, out) == ()
    rows = list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))
    assert [row["run"] for row in rows] == ["run0"] * 3 + ["run1"]
    assert rows[0]["cluster"] == "c,\"1'\n"
    assert float(rows[0]["value"]) == 390e9
    assert rows[3]["value"] == rows[3]["rerun"] == ""


def test_no_cell_of_an_exported_history_is_a_formula(home):
    append(home, record(cluster="=1+1"))
    out = io.StringIO()
    export(home, out)
    assert {row["cluster"] for row in csv.DictReader(io.StringIO(out.getvalue()))} == {"'=1+1"}


def test_json_lines_come_back_as_they_went_in(home):
    append(home, record(value=math.nan, rows=1))
    append(home, record("run1", night=1, rows=1))
    out = io.StringIO()
    export(home, out, "jsonl", cluster="c1")
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert first["value"] is None
    assert second["value"] == 390e9
    assert second["fingerprint"] == {"driver": "550.90", "nccl": "2.20"}


def test_an_unknown_form_lists_the_known(home):
    with pytest.raises(HistoryError, match="csv, jsonl"):
        export(home, io.StringIO(), "xml")


# --- accepted levels ----------------------------------------------------------------------------------

WORD = Acceptance("c1", 20000 * DAY, "ada", 20005 * DAY, "new switch firmware", collective="all_reduce")


def test_an_acceptance_keeps_who_when_and_why(home):
    accept(home, replace(WORD, when=20009 * DAY, why="second thoughts"))
    accept(home, WORD)
    accept(home, replace(WORD, cluster="c2"))
    found, problems = acceptances(home, "c1")
    assert found == (WORD, replace(WORD, when=20009 * DAY, why="second thoughts"))
    assert problems == ()
    assert len(acceptances(home)[0]) == 3
    assert runs(home) == ((), ())


@pytest.mark.parametrize("missing", [{"who": ""}, {"why": " "}])
def test_an_acceptance_without_who_or_why_is_refused(home, missing):
    with pytest.raises(HistoryError, match="needs a wh"):
        accept(home, replace(WORD, **missing))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 2}',
        '{"format": 1, "cluster": "c1"}',
        json.dumps({"format": 1, **WORD.__dict__, "since": "yesterday"}),
        json.dumps({"format": 1, **WORD.__dict__, "since": math.nan}),
        json.dumps({"format": 1, **WORD.__dict__, "who": None}),
        "\xff",
        "[" * 100_000,
    ],
)
def test_a_broken_acceptance_is_named_and_accepts_nothing(home, text):
    accept(home, WORD)
    Path(home, "accepted/cluster=c1/broken.json").write_bytes(text.encode("latin-1"))
    found, problems = acceptances(home, "c1")
    assert found == (WORD,)
    assert [problem.path for problem in problems] == ["accepted/cluster=c1/broken.json"]


def test_a_question_imports_neither_pandas_nor_scipy(home):
    """Each takes longer to import than a question takes."""
    append(
        home,
        RecordedRun("run0", 20000 * DAY, "c1", PARTS, (Sample(series(), 1.0), *subjects("node1", "node2"))),
    )
    code = (
        "import sys\nfrom bench.store.history import nights, nights_of_node, runs\n"
        f"print(len(nights({home!r}, 'c1')[0]), len(nights_of_node({home!r}, 'c1', 'node1')[0]), "
        f"len(runs({home!r})[0]), {{'pandas', 'scipy', 'duckdb', 'fsspec'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "1 1 1 set()", done.stderr


# --- without the extra --------------------------------------------------------------------------------


def test_a_missing_library_is_one_line_that_names_the_extra(home, monkeypatch):
    append(home, record())
    for library, needed_by in (("pyarrow", home), ("fsspec.core", f"file://{home}")):
        monkeypatch.setitem(sys.modules, library, None)
        name = library.partition(".")[0]
        with pytest.raises(MissingLibrary, match=rf"^[^\n]*{name}[^\n]*railgauge\[nightly\][^\n]*$"):
            series_nights(needed_by, series())
