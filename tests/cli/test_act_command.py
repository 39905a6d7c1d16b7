"""railgauge act on a run of one's own, with a Slurm whose programs keep what they were told."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli import cli
from bench.store import RunError

SCONTROL = """#!/bin/sh
echo "$@" >> {log}
"""
SINFO = """#!/bin/sh
printf 'n0|none\\nn1|none\\n'
"""


class Slurm:
    def __init__(self, folder: Path) -> None:
        self.run, self._log = folder / "run", folder / "log"
        for name, text in (("scontrol", SCONTROL.format(log=self._log)), ("sinfo", SINFO)):
            program = folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(text)
            program.chmod(0o755)

    def drained(self, name: str) -> None:
        """From now on this node, of two, is one that RailGauge drained."""
        text = SINFO.replace("n1|none", f"{name}|railgauge: it is bad")
        (self.run.parent / "bin" / "sinfo").write_text(text)

    def act(self, *words: str) -> Result:
        return CliRunner().invoke(cli, ["act", str(self.run), *words])

    @property
    def told(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """A run that finds this machine to have no rail of those that the profile names."""
    found = Slurm(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    words = ("probe", "--profile", "lambda-1cc-h100", "--out", str(found.run))
    made = subprocess.run(
        [sys.executable, "-m", "bench", *words], capture_output=True, timeout=120, check=False
    )
    assert made.returncode == 1, made.stderr
    return found


def test_without_yes_the_commands_are_printed_and_none_is_run(slurm: Slurm) -> None:
    shown = slurm.act("--slurm")
    assert shown.exit_code == 0 and "scontrol update NodeName=" in shown.output
    assert "nothing was done; --yes does it" in shown.output
    assert slurm.told == []


def test_what_was_done_is_shown_and_taken_back_without_naming_the_scheduler(slurm: Slurm) -> None:
    assert slurm.act("--slurm", "--yes").exit_code == 0
    (drained,) = slurm.told
    assert "State=DRAIN Reason=railgauge: " in drained
    shown = slurm.act("--undo")
    assert "State=RESUME" in shown.output and len(slurm.told) == 1
    assert "taken back: drain " in slurm.act("--undo", "--yes").output
    assert slurm.told[1].endswith("State=RESUME")
    assert slurm.act("--undo", "--yes").output == "there is nothing to take back\n"
    assert len(slurm.told) == 2


def test_nothing_is_taken_back_where_nothing_was_done(slurm: Slurm) -> None:
    nothing = slurm.act("--undo")
    assert isinstance(nothing.exception, RunError)
    assert "nothing was done about this run" in str(nothing.exception)


def test_a_scheduler_is_no_word_for_an_undo(slurm: Slurm) -> None:
    wrong = slurm.act("--undo", "--kubernetes")
    assert wrong.exit_code == 2 and "drop --kubernetes" in wrong.output


def test_only_the_named_node_is_drained(slurm: Slurm) -> None:
    assert "there is nothing to do" in slurm.act("--slurm", "--yes", "--node", "another").output
    assert slurm.told == []


def test_a_node_that_is_drained_already_is_not_drained_again(slurm: Slurm) -> None:
    slurm.drained(socket.gethostname())
    done = slurm.act("--slurm", "--yes")
    assert done.exit_code == 0 and "is out of work already" in done.output
    assert slurm.told == []


def test_more_nodes_than_allowed_are_left_in_work_and_named(slurm: Slurm) -> None:
    slurm.drained("another")
    done = slurm.act("--slurm", "--yes")
    assert done.exit_code == 1
    assert "is left in work: --at-most 5 % allows 0 more of 2 nodes" in done.output
    assert slurm.told == []


def test_nothing_is_taken_back_by_a_folder_that_is_not_one_s_own(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.act("--slurm", "--yes")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    done = slurm.act("--undo", "--yes")
    assert done.exit_code == 2 and "may not be your own" in done.output
    assert len(slurm.told) == 1
