"""railgauge gate: one line, one object, exit statuses, and the limit that nothing exceeds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.run.gate import GateOptions
from bench.store.files import RunError
from bench.store.gate_state import read_state


def gate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", "gate", "--state", str(folder / "gate.json"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_gate_is_one_line_and_keeps_its_counters(tmp_path: Path) -> None:
    done = gate(tmp_path, "--limit", "60s")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PASS: ") and done.stdout.count("\n") == 1
    assert (tmp_path / "gate.json").stat().st_mode & 0o077 == 0


def test_a_node_that_lacks_what_the_profile_wants_fails(tmp_path: Path) -> None:
    done = gate(tmp_path, "--limit", "60s", "--profile", "lambda-1cc-h100", "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert (
        (answer["schema"], answer["version"]) == ("railgauge gate", 1)
        and answer["status"] == "fail"
        and answer["problems"]
    )


@pytest.mark.parametrize(("words", "status"), [((), 3), (("pass",), 0), (("fail",), 1)])
def test_a_gate_whose_time_is_up_is_inconclusive_or_what_was_asked_for(
    tmp_path: Path, words: tuple[str, ...], status: int
) -> None:
    more = ("--inconclusive", *words) if words else ()
    done = gate(tmp_path, "--limit", "1ms", *more)
    assert done.returncode == status
    assert "no answer within 0.001 s, while " in done.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--level", "3"), "--level 3 needs --neighbour HOST"),
        (("--neighbour", "n2"), "only level 3 uses it"),
        (("--level", "4"), "4 is not in the range 1<=x<=3"),
        (("--profile", "nope"), "no profile 'nope'"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, words: tuple[str, ...], line: str) -> None:
    done = gate(tmp_path, *words)
    assert done.returncode == 2, done.stderr
    assert line in done.stderr and "Traceback" not in done.stderr and done.stdout == ""


@pytest.mark.parametrize(("words", "status"), [((), 3), (("--inconclusive", "fail"), 1)])
def test_a_gate_that_ends_without_an_answer_is_inconclusive_or_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], status: int
) -> None:
    monkeypatch.setattr("bench.run.gate.gate", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    done = CliRunner().invoke(cli, ["gate", "--state", str(tmp_path / "gate.json"), "--json", *words])
    answer = json.loads(done.stdout)
    assert (answer["schema"], answer["status"]) == ("railgauge gate", "inconclusive")
    assert done.exit_code == status and "ended without an answer" in answer["sentence"]
    assert answer["seconds"] != 5.0  # those that it took, not its limit


def test_an_installation_that_cannot_start_is_no_fail(tmp_path: Path) -> None:
    (tmp_path / "msgspec.py").write_text("raise ImportError('libc.so: cannot open')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "bench", "gate"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 3 and "cannot start (ImportError: libc.so: cannot open)" in done.stderr


def test_what_a_gate_made_is_gone_when_its_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(options: GateOptions, _: object) -> None:
        (options.scratch / "run").mkdir()
        (tmp_path / "made").symlink_to(options.scratch)
        time.sleep(60)

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr("bench.run.gate.gate", hang)
    words = ["gate", "--level", "2", "--limit", "500ms", "--state", str(tmp_path / "gate.json")]
    assert CliRunner().invoke(cli, words).exit_code == 3
    assert (tmp_path / "made").is_symlink() and not list((tmp_path / "temporary").iterdir())


def test_a_state_that_another_user_wrote_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gate.json"
    path.write_text("{}")
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    if path.stat().st_uid == 0:
        os.chown(path, 12345, 12345)
    with pytest.raises(RunError, match="belongs to another user"):
        read_state(path)


def test_no_other_user_may_add_to_a_folder_made_without_a_umask(tmp_path: Path) -> None:
    state = tmp_path / "new" / "inner" / "gate.json"
    command = [sys.executable, "-m", "bench", "gate", "--limit", "60s", "--state", str(state)]
    subprocess.run(command, umask=0, check=False, capture_output=True)
    assert (tmp_path / "new").stat().st_mode & 0o002 == 0
