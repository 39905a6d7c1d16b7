"""railgauge history: what a person sees of the nights, what is wrong with them, and a new level on their word."""

from __future__ import annotations

import csv
import io
import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("pyarrow")

import mpi_jobs
from bench.cli import cli
from bench.cli import history as history_command
from bench.judge.drift import Series, fingerprint
from bench.store import load, save_history
from bench.store.history import (
    HistoryError,
    RecordedRun,
    Sample,
    acceptances,
    append,
    arrow_bucket,
    create,
    runs,
)
from tests import made_nights as made

OLD, NEW = fingerprint({"driver": "550.90"}), fingerprint({"driver": "560.28"})
STEP = 20
NIGHTS = 26


def railgauge(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """26 nights of two series; after 20 of them a new driver takes 6 % off one."""
    history = tmp_path_factory.mktemp("written") / "history"
    create(str(history))
    dice = random.Random(3)
    for night in range(NIGHTS):
        samples = [
            Sample(Series("c1", "all_reduce", "8 GiB", "busbw"), 380e9 * (1 + 0.003 * dice.gauss(0, 1))),
            Sample(Series("c1", "all_reduce", "8 B", "latency"), 2e-5 * (1 + 0.003 * dice.gauss(0, 1))),
        ]
        if night >= STEP:
            samples[0] = replace(samples[0], value=samples[0].value * 0.94)
        parts = NEW if night >= STEP else OLD
        append(
            str(history),
            RecordedRun(f"run{night:02d}", made.FIRST + night * made.DAY, "c1", parts, tuple(samples)),
        )
    return history


@pytest.fixture
def history(tmp_path, written):
    return Path(shutil.copytree(written, tmp_path / "history"))


def test_list_names_every_run_and_what_changed_with_it(history):
    done = railgauge("history", "list", history)
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert len(lines) == NIGHTS
    assert [line for line in lines if "changed" in line] == [lines[STEP]]
    assert lines[STEP].endswith("changed: driver 550.90 → 560.28")


@pytest.mark.parametrize(
    "command",
    [
        ["history", "list", "DIR"],
        ["history", "show", "DIR"],
        ["history", "check", "DIR"],
        ["history", "export", "DIR"],
        ["history", "accept", "DIR", "--why", "x"],
        ["charts", "DIR", "--out", "out"],
    ],
)
def test_a_folder_that_is_no_history_is_wrong_usage_in_one_line(tmp_path, command):
    (tmp_path / "notes").mkdir()
    for number in range(5):
        (tmp_path / "notes" / f"{number}.txt").write_text("x")
        (tmp_path / f"{number}.txt").write_text("x")
    for folder, words in (
        (tmp_path, "not a history: it holds 0.txt and 5 more"),
        (tmp_path / "nonexistent", "nor a history" if command[0] == "charts" else "no such folder"),
        (tmp_path / "0.txt", "nor a history" if command[0] == "charts" else "is a file"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "bench", *(str(folder) if word == "DIR" else word for word in command)],
            capture_output=True,
            text=True,
            timeout=mpi_jobs.LIMIT,
            env=mpi_jobs.environment(),
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert words in done.stderr and len(done.stderr.splitlines()) == 1


def test_what_lies_in_the_root_of_any_disk_makes_no_folder_foreign(tmp_path):
    for name in ("lost+found", ".snapshot"):
        (tmp_path / name).mkdir()
    assert runs(str(tmp_path)) == ((), ())
    assert railgauge("history", "list", tmp_path).exit_code == 3


def test_the_commands_of_histories_may_read_a_bucket_by_arrow(history, monkeypatch):
    monkeypatch.setattr(arrow_bucket, "_may_fork", True)
    assert railgauge("history", "list", history).exit_code == 0
    assert not arrow_bucket._may_fork


def test_no_process_is_forked_where_a_bucket_was_read(history, monkeypatch):
    processes = []
    monkeypatch.setattr(
        history_command, "forked_map", lambda kind, *of: processes.append(kind) or [*map(*of)]
    )
    shown = [railgauge("history", "show", where).output for where in (history, f"file://{history}")]
    assert shown[0] == shown[1] and len(shown[0].splitlines()) > 2
    assert len(processes) == 1, "of the folder alone"


def test_list_since_a_day_and_of_a_cluster(history):
    assert len(railgauge("history", "list", history, "--since", "2024-10-28").stdout.splitlines()) == 2
    done = railgauge("history", "list", history, "--cluster", "c2")
    assert done.exit_code == 3
    assert "no such runs" in done.stderr


def test_show_tells_the_level_the_step_and_its_cause(history):
    done = railgauge("history", "show", history)
    assert done.exit_code == 0
    assert "c1 all_reduce 8 GiB busbw: suspicious, 35" in done.stdout  # until somebody accepts the new level
    assert "26 nights" in done.stdout
    (step,) = [line for line in done.stdout.splitlines() if "step of" in line]
    assert "step of -6." in step
    assert "likely cause: driver 550.90 → 560.28" in step


def test_show_one_series_night_by_night(history):
    done = railgauge("history", "show", history, "--quantity", "latency", "--nights")
    assert "busbw" not in done.stdout
    nights = [line for line in done.stdout.splitlines() if line.startswith("    2024-")]
    assert len(nights) == NIGHTS
    assert nights[15].endswith("ok  run15")
    assert railgauge("history", "show", history, "--collective", "nosuch").exit_code == 3


@pytest.mark.parametrize(("option", "value"), [("--size", "8 B"), ("--quantity", "busbw")])
def test_show_prints_what_was_asked_for_alone(history, option, value):
    whole = railgauge("history", "show", history, "--nights").stdout
    heads = [line.partition(":")[0] for line in whole.splitlines() if line.startswith("c1 ")]
    shown = railgauge("history", "show", history, option, value).stdout
    assert [line.partition(":")[0] for line in shown.splitlines() if line.startswith("c1 ")] == [
        head for head in heads if value in head
    ]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_export_is_whole_in_base_units(history, tmp_path, form):
    out = tmp_path / "rows"
    done = railgauge("history", "export", history, "--format", form, "--out", out)
    printed = railgauge("history", "export", history, "--format", form)
    assert (done.exit_code, printed.exit_code) == (0, 0)
    assert out.read_text() == printed.stdout
    rows = (
        list(csv.DictReader(io.StringIO(printed.stdout)))
        if form == "csv"
        else [json.loads(line) for line in printed.stdout.splitlines()]
    )
    assert len(rows) == 2 * NIGHTS
    assert 3e11 < float(rows[1]["value"]) < 4e11 or 1e-5 < float(rows[1]["value"]) < 3e-5


def test_check_is_zero_for_whole_files_and_one_for_a_broken_one(history):
    assert railgauge("history", "check", history).exit_code == 0
    victim = next(iter(sorted(history.rglob("*.parquet"))))
    victim.write_bytes(victim.read_bytes()[:-20])
    (history / "accepted").mkdir()
    (history / "accepted" / "odd.json").write_text("{")
    done = railgauge("history", "check", history)
    assert done.exit_code == 1
    assert "truncated" in done.stdout
    assert "not an accepted level" in done.stdout
    assert "25 runs and 0 accepted levels are whole, 2 files are not" in done.stdout
    # the others go on without it, and say so
    listed = railgauge("history", "list", history)
    assert listed.exit_code == 0
    assert len(listed.stdout.splitlines()) == NIGHTS - 1
    assert listed.stderr.count("left out:") == 2


def test_an_empty_history_and_none_at_all_are_no_success(tmp_path):
    (tmp_path / "empty").mkdir()
    for command in ("list", "show", "check"):
        assert railgauge("history", command, tmp_path / "empty").exit_code == 3
        done = railgauge("history", command, tmp_path / "typo")
        assert isinstance(done.exception, HistoryError)
        assert "no such folder" in str(done.exception)


def test_accept_keeps_who_when_and_why(history):
    done = railgauge(
        "history",
        "accept",
        history,
        "--why",
        "new driver",
        "--who",
        "ann",
        "--since",
        "run20",
        "--collective",
        "all_reduce",
    )
    assert done.exit_code == 0
    ((word,), problems) = acceptances(str(history))
    assert (word.who, word.why, word.collective, word.size_class) == ("ann", "new driver", "all_reduce", "")
    assert word.since == made.FIRST + 20 * made.DAY
    assert word.when > word.since
    assert problems == ()
    assert "by ann: new driver" in railgauge("history", "list", history).stdout
    # six nights of the new level: still too young, and counted from the accepted one on
    assert "insufficient data" in railgauge("history", "show", history, "--quantity", "busbw").stdout


def test_accept_begins_with_the_last_run_or_a_day(history):
    railgauge("history", "accept", history, "--why", "w")
    railgauge("history", "accept", history, "--why", "w", "--since", "2024-10-10")
    since = sorted(word.since for word in acceptances(str(history))[0])
    assert since == [1728518400.0, made.FIRST + 25 * made.DAY]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--collective", "all_redcue", "--why", "w"], "known: all_reduce"),
        (["--size", "1 GiB", "--why", "w"], "known: 8 B, 8 GiB"),
        (["--since", "run99", "--why", "w"], "'run99' is no day; write e.g. 2026-03-04 or the name of a run"),
        (["--cluster", "c9", "--why", "w"], "known: c1"),
        ([], "--why"),
    ],
)
def test_a_slip_in_accept_is_wrong_usage_and_nothing_is_kept(history, words, said):
    done = railgauge("history", "accept", history, *words)
    assert done.exit_code == 2
    assert said in done.output
    assert acceptances(str(history)) == ((), ())


@pytest.mark.parametrize("command", ["list", "show", "export"])
def test_where_only_a_day_is_taken_no_run_is_proposed(history, command):
    done = railgauge("history", command, history, "--since", "run1")
    assert done.exit_code == 2
    assert done.output.endswith("'run1' is no day; write e.g. 2026-03-04\n")


def test_accept_without_a_reason_keeps_nothing(history):
    done = railgauge("history", "accept", history, "--why", "  ")
    assert isinstance(done.exception, HistoryError)
    assert acceptances(str(history))[0] == ()


def test_add_takes_run_folders_once(tmp_path, history):
    folder = made.folder(tmp_path / "late", 30)
    done = railgauge("history", "add", history, folder, "--cluster", "c1")
    assert done.exit_code == 0
    assert "late" in [entry.run for entry in runs(str(history), "c1")[0]]
    again = railgauge("history", "add", history, folder, "--cluster", "c1")
    assert again.exit_code == 1
    assert "already there" in again.stderr


def test_a_night_that_was_not_recorded_is_added_as_it_would_have_been(tmp_path):
    whole = made.nightly(tmp_path / "run", tmp_path / "one")
    done = railgauge("history", "add", tmp_path / "two", whole.path)
    assert done.exit_code == 0
    files = [next(iter(sorted((tmp_path / name).rglob("*.parquet")))) for name in ("one", "two")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_night_that_is_added_later_is_judged_recorded(tmp_path):
    run = made.nightly(tmp_path / "run", tmp_path / "one")
    lost = replace(run.history, recorded="", trouble="the disk was full")
    save_history(run.path, lost)
    assert railgauge("history", "add", tmp_path / "two", run.path).exit_code == 0
    kept = load(run.path).history
    assert kept.recorded.startswith(str(tmp_path / "two")) and kept.trouble == ""


def test_compact_makes_one_file_a_month_and_the_list_stays_the_same(history):
    before = railgauge("history", "list", history)
    done = railgauge("history", "compact", history)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == f"{NIGHTS} runs were put together"
    assert len(list(history.rglob("*.parquet"))) == len(done.output.splitlines()) - 1 <= 2
    assert railgauge("history", "list", history).output == before.output
    again = railgauge("history", "compact", history)
    assert (again.exit_code, again.output) == (
        0,
        "no month that is over has two runs in files of their own\n",
    )


def test_compact_names_what_it_leaves_as_it_is(history):
    bad = next(history.rglob("run03.parquet"))
    bad.write_bytes(bad.read_bytes()[:-1])
    done = railgauge("history", "compact", history)
    assert done.exit_code == 1
    assert "left out" in done.output and "run03.parquet" in done.output
    assert bad.exists()


def test_a_long_list_of_files_says_what_makes_it_shorter(history, monkeypatch):
    monkeypatch.setattr("bench.cli.history.MANY", NIGHTS - 1)
    assert "history compact DIR" in railgauge("history", "list", history).stderr
    railgauge("history", "compact", history)
    monkeypatch.setattr("bench.cli.history.MANY", 0)  # nothing is left to be put together
    assert "compact" not in railgauge("history", "list", history).stderr
