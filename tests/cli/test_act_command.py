"""railgauge act on a run of one's own, with a Slurm whose programs keep what they were told."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli import cli
from bench.exchange.acting.drain_commands import CannotAct
from bench.run import remote_gate
from bench.store import RunError

SCONTROL = """#!/bin/sh
case "$*" in *show*) exit 0 ;; esac
echo "$@" >> {log}
for last in "$@"; do :; done
case "$last" in Reason=*) printf '%s' "$last" | sed 's/Reason=//' > {reason} ;; State=RESUME) : > {reason} ;; esac
"""
# two nodes, of which this one is drained with the reason that it was given
SINFO = """#!/bin/sh
state=idle
[ ! -s {reason} ] || state=drained
printf '%s|%s|%s\\n{other}|idle|none\\n' {here} "$state" "$(cat {reason})"
"""
# asked for a gate on another node, it says what the file holds
SSH = """#!/bin/sh
echo "$@" >> {log}.ssh
cat {log}.gate
"""
HERE = socket.gethostname()


class Slurm:
    def __init__(self, folder: Path) -> None:
        self.run, self._log, self.reason = folder / "run", folder / "log", folder / "reason"
        self.bin, self.gate, self.ssh = folder / "bin", folder / "log.gate", folder / "log.ssh"
        self.reason.write_text("")
        self._program("scontrol", SCONTROL)
        self._program("ssh", SSH)
        self._sinfo(HERE, "n1")

    def _sinfo(self, here: str, other: str) -> None:
        self._program("sinfo", SINFO.replace("{here}", here).replace("{other}", other))

    def _program(self, name: str, text: str) -> None:
        self.bin.mkdir(exist_ok=True)
        program = self.bin / name
        program.write_text(text.replace("{log}", str(self._log)).replace("{reason}", str(self.reason)))
        program.chmod(0o755)

    def drained(self, name: str, reason: str = "railgauge: it is bad") -> None:
        """From now on this node, of two, is drained."""
        self.reason.write_text(reason)
        self._sinfo(name, "n1" if name == HERE else HERE)

    def act(self, *words: str) -> Result:
        return CliRunner().invoke(cli, ["act", str(self.run), *words])

    @property
    def told(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """A run that finds this machine to have no rail of those that the profile names."""
    found = Slurm(tmp_path)
    monkeypatch.setenv("PATH", f"{found.bin}:/usr/bin:/bin")
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


def test_a_folder_that_is_not_there_is_said_to_be_missing(slurm: Slurm) -> None:
    slurm.run = slurm.run / "gone"
    missing = slurm.act("--slurm")
    assert isinstance(missing.exception, RunError) and "may not be your own" not in str(missing.exception)


def test_a_scheduler_is_no_word_for_an_undo(slurm: Slurm) -> None:
    wrong = slurm.act("--undo", "--kubernetes")
    assert wrong.exit_code == 2 and "drop --kubernetes" in wrong.output


def test_only_the_named_node_is_drained(slurm: Slurm) -> None:
    assert "there is nothing to do" in slurm.act("--slurm", "--yes", "--node", "another").output
    assert slurm.told == []


def test_a_node_that_is_drained_already_is_not_drained_again(slurm: Slurm) -> None:
    for reason, said in (
        ("railgauge: bad", "is drained already"),
        ("new fan", "was drained by another (new fan)"),
    ):
        slurm.drained(HERE, reason)
        done = slurm.act("--slurm", "--yes")
        assert done.exit_code == 0 and f"# {HERE} {said}" in done.output
        assert slurm.told == []


def test_a_node_that_the_gate_has_drained_is_drained_for_what_the_run_found(slurm: Slurm) -> None:
    slurm.drained(HERE, "railgauge gate: FAIL: it is down")
    assert slurm.act("--slurm", "--yes").exit_code == 0
    (again,) = slurm.told
    assert "State=DRAIN Reason=railgauge: " in again


def test_a_drain_that_somebody_else_took_over_is_not_taken_back(slurm: Slurm) -> None:
    slurm.act("--slurm", "--yes")
    slurm.reason.write_text("new fan")
    done = slurm.act("--undo", "--yes")
    assert done.exit_code == 0 and "# no longer ours, so it is left as it is: drain" in done.output
    assert len(slurm.told) == 1
    assert slurm.act("--undo").output == "there is nothing to take back\n"


def test_a_node_that_slurm_does_not_know_is_an_error_before_anything_is_done(slurm: Slurm) -> None:
    slurm.drained("another", "")
    slurm._sinfo("n0", "n1")
    done = slurm.act("--slurm", "--yes")
    assert isinstance(done.exception, CannotAct) and "Slurm knows no node" in str(done.exception)
    assert slurm.told == []


GATE = {
    "schema": "railgauge gate", "version": 1, "node": HERE, "level": 3, "sentence": "8 GPUs", "profile": "p",
    "seconds": 1.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({**GATE, "status": "fail", "sentence": "eth1 is down"}, "eth1 is down"),
        ({**GATE, "status": "inconclusive"}, "8 GPUs"),
        ({**GATE, "status": "pass", "level": 1}, "its gate could not be asked"),
        ({**GATE, "status": "pass", "node": "n7"}, "the gate of n7 answered"),
        ({}, "its gate could not be asked"),
    ],
)
def test_a_node_stays_out_of_work_unless_its_gate_passes(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch, answer: dict[str, object], why: str
) -> None:
    monkeypatch.setattr(remote_gate, "here", lambda _: False)
    slurm.act("--slurm", "--yes")
    slurm.gate.write_text(json.dumps(answer))
    done = slurm.act("--undo", "--neighbour", "n1", "--yes")
    assert (
        done.exit_code == 1 and f"railgauge: {HERE} stays out of work: " in done.output and why in done.output
    )
    assert len(slurm.told) == 1
    slurm.gate.write_text(json.dumps({**GATE, "status": "pass"}))
    done = slurm.act("--undo", "--neighbour", "n1", "--yes")
    assert done.exit_code == 0 and f"# gate of {HERE}: PASS: 8 GPUs\ntaken back: drain" in done.output
    assert slurm.told[1].endswith("State=RESUME")
    assert "gate --profile lambda-1cc-h100 --level 3 --neighbour n1 --json" in slurm.ssh.read_text()


def test_a_neighbour_is_healthy_and_only_for_an_undo(slurm: Slurm) -> None:
    assert "--neighbour is for --undo" in slurm.act("--slurm", "--neighbour", "n1").output
    slurm.act("--slurm", "--yes")
    wrong = slurm.act("--undo", "--neighbour", HERE, "--yes")
    assert wrong.exit_code == 2 and "is itself out of work" in wrong.output and len(slurm.told) == 1


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


def test_a_simulated_run_is_nothing_to_act_on(slurm: Slurm) -> None:
    path = slurm.run / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "simulated": True}))
    wrong = slurm.act("--slurm", "--trust", "--yes")
    assert wrong.exit_code == 2 and "is simulated: no node was measured" in wrong.output and slurm.told == []
