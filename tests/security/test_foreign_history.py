"""A history that somebody sent: what is no plain file is named and never opened, and no link leads out of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from bench.store.history import (
    RecordedRun,
    Sample,
    acceptances,
    append,
    check,
    create,
    parquet_file,
    runs,
    strangers,
)
from bench.store.history.location import run_path
from bench.store.history.nights import Series

TIME = 1.79e9
NIGHT = run_path("c", "planted", TIME)
LEVEL = "accepted/cluster=c/planted.json"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "nights"
    create(str(home))
    sample = Sample(Series("c", "all_reduce", "1 GiB", "busbw", ""), 4e11, 5)
    append(str(home), RecordedRun("good", TIME, "c", (), (sample,)))
    (home / LEVEL).parent.mkdir(parents=True)
    return home


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 20 << 30)


def inwards(path: Path) -> None:
    path.symlink_to(next(path.parents[2].rglob("good.parquet"), path.parent))


@pytest.mark.parametrize("plant", [pipe, device, sparse, inwards])
@pytest.mark.parametrize("where", [NIGHT, LEVEL])
def test_what_is_no_night_is_named_and_not_opened(home: Path, where: str, plant) -> None:
    plant(home / where)
    why = "larger than any night" if plant is sparse else "a link, a pipe or a device"
    found, read = runs(str(home)), acceptances(str(home))[1] if where == LEVEL else check(str(home))[1]
    assert [entry.run for entry in found[0]] == ["good"]
    assert [(each.path, why in each.reason) for each in read] == [(where, True)]


def test_a_small_file_of_more_rows_than_any_night_is_not_read(home: Path, monkeypatch) -> None:
    series = [Series("c", "all_reduce", f"{at} GiB", "busbw", "") for at in range(9)]
    append(str(home), RecordedRun("bomb", TIME, "c", (), tuple(Sample(each, 4e11, 5) for each in series)))
    monkeypatch.setattr(parquet_file, "_MOST_ROWS", 8)
    for found, left_out in (runs(str(home)), check(str(home))):
        assert len(found) == 1
        assert ["it has 9 rows" in each.reason for each in left_out] == [True]


def test_folders_that_are_links_to_folders_are_not_walked(home: Path) -> None:
    for name in ("cluster=a", "cluster=b", "cluster=d"):
        (home / name).symlink_to(home)
    assert [entry.run for entry in runs(str(home))[0]] == ["good"]
    assert len(strangers(str(home))) == 3


def test_a_thousand_folders_in_each_other_are_one_line(home: Path) -> None:
    deep = home / "cluster=x"
    deep.mkdir()
    at = os.open(deep, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("a", dir_fd=at)
        inner = os.open("a", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)
    try:
        assert [entry.run for entry in runs(str(home))[0]] == ["good"]
    finally:
        subprocess.run(["rm", "-r", str(deep)], check=True)  # Python's own cannot
