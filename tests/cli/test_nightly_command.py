"""railgauge nightly itself: on real ranks a planted slowdown is measured again and fails; a webhook leaves no trace."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

import mpi_jobs
from bench.cli.nightly import without
from bench.judge.drift.past import from_saved
from bench.model.verdict import Status
from bench.store import load
from bench.store.history import RecordedRun, append, check, create, read
from test_webhook import SECRET, chat

PROFILE = """
format = 1
name = "brief"
title = "a very short night"
source = "a test"

[sweep]
collectives = ["all_reduce"]
begin = "1K"
end = "64K"
factor = 64
budget = "50 ms"
"""


@pytest.fixture
def brief(tmp_path: Path) -> Path:
    return mpi_jobs.profile(tmp_path, PROFILE)


def nightly(history, out, profile, *more, **how):
    return mpi_jobs.railgauge(
        "nightly",
        "--history",
        history,
        "--out",
        out,
        "--profile",
        profile,
        "--ranks",
        "2",
        "--cluster",
        "c1",
        *more,
        **how,
    )


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["nightly", "--webhook", "https://x", "--quiet"], ["nightly", "--quiet"]),
        (["nightly", "--webhook=https://x", "--quiet"], ["nightly", "--quiet"]),
        (["nightly", "--webhooks", "a"], ["nightly", "--webhooks", "a"]),
        (["--webhook"], []),
    ],
)
def test_an_option_is_taken_out_with_its_value(words, kept):
    assert without(words, "--webhook") == kept


@pytest.mark.mpi
@pytest.mark.torch
def test_a_planted_slowdown_is_measured_again_and_fails(tmp_path, brief):
    history = tmp_path / "history"
    first = nightly(history, tmp_path / "first", brief)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "tonight 2 cases" in first.stderr
    # a history of nights when this machine was fifty times as fast, as the same software wrote it
    real = read(str(history), "first")
    fast = tmp_path / "fast"
    create(str(fast))
    for night in range(12):
        better = tuple(
            replace(each, value=each.value * (50 if each.series.quantity == "busbw" else 1 / 50))
            for each in real.samples
        )
        append(
            str(fast),
            RecordedRun(f"night{night}", real.time - (20 - night) * 86400, "c1", real.fingerprint, better),
        )
    second = nightly(fast, tmp_path / "second", brief)
    assert second.returncode == 1, second.stdout + second.stderr
    run = load(tmp_path / "second")
    assert [phase.name for phase in run.plan.phases][-1] == "rerun-collectives"
    failed = {verdict.subject for verdict in run.verdicts if verdict.status is Status.FAIL}
    assert failed == {"c1 all_reduce 1 KiB latency", "c1 all_reduce 64 KiB busbw"}
    kept = {sample.series.name: sample.rerun for sample in read(str(fast), "second").samples}
    assert all(kept[name] is not None for name in failed)
    page = (tmp_path / "second" / "report.html").read_text()
    assert "regression" in page and 'id="nightly"' in page
    assert check(str(fast))[1] == ()


@pytest.mark.mpi
@pytest.mark.torch
def test_a_webhook_is_told_once_and_leaves_no_trace(tmp_path, brief):
    with chat() as server:
        done = nightly(tmp_path / "history", tmp_path / "run", brief, "--webhook", server.address)
    assert done.returncode == 0, done.stdout + done.stderr
    ((_, _, body),) = server.got
    assert "PASS" in json.loads(body)["text"]
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.mpi
@pytest.mark.torch
def test_a_webhook_that_fails_changes_no_verdict(tmp_path, brief):
    with chat(answer=500) as server:
        address = {"RAILGAUGE_WEBHOOK": server.address}
        done = nightly(tmp_path / "history", tmp_path / "run", brief, more=address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "webhook: 127.0.0.1 answered 500; the verdict stands" in done.stderr
    assert len(server.got) == 1
    assert SECRET not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["--history", "nosuch://x/y"], "nosuch", 3),
        (["--history", "/proc/nosuch"], "cannot be made", 2),
        (["--history", "/nosuch/deeper/hist", "--quiet"], "no folder /nosuch/deeper", 2),
        (["--history", "/etc/hostname"], "is a file", 2),
        (["--history", "/etc"], "not a history", 2),
        (["--history", "memory://host/x"], "nothing is kept in memory", 2),
        (["--budget", "10m"], "--history", 2),
        (["--history", "h", "--webhook", "http://chat.example/x"], "in the clear", 2),
        (["--history", "h", "--budget", "ten"], "is not a time", 2),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_anything_starts(tmp_path, arguments, words, code):
    done = mpi_jobs.railgauge("nightly", *arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.mpi
@pytest.mark.torch
def test_a_foreign_file_is_named_before_the_night_and_does_not_stop_it(tmp_path, brief):
    history = tmp_path / "history"
    (history / "accepted").mkdir(parents=True)
    for number in range(7):
        (history / f"mine{number}.txt").write_text("x")
    done = nightly(history, tmp_path / "run", brief)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out: mine0.txt: foreign" in done.stderr
    assert "left out: 2 more; railgauge history check DIR" in done.stderr
    assert len(from_saved(load(tmp_path / "run").history).left_out) == 7
