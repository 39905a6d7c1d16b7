"""When a table of the lab is well: one second try, alone and told; and which rows need not be possible."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "ci" / "lab"))
from netlab import acceptance, cli, ends
from netlab import lab as labs
from netlab.plan import LabError
from netlab.rules import Rules

LABS = Path(__file__).parents[2] / "ci" / "lab"


@dataclass(frozen=True)
class Row:
    name: str
    wrong: str = ""


@pytest.mark.parametrize(
    ("second_try", "wrong", "better", "tried", "left", "told"),
    [
        (True, [], True, [], [], "second tries: 0\n"),
        (True, ["b"], True, ["b"], [], "(it was slow), alone:\nsecond tries: 1\n"),
        (True, ["b"], False, ["b"], ["b"], "second tries: 1\n"),
        (True, ["a", "b"], True, [], ["a", "b"], "second tries: 0, since 2 rows are not ok"),
        (False, ["b"], True, [], ["b"], ""),
    ],
)
def test_one_row_gets_a_second_try_and_two_get_none(second_try, wrong, better, tried, left, told, capsys):
    asked = []

    def again(row: Row) -> Row:
        asked.append(row.name)
        return Row(row.name, "" if better else "it was slow again")

    rows = [Row(name, "it was slow" if name in wrong else "") for name in "abc"]
    found = Rules(second_try).tried_again(rows, again)
    assert asked == tried
    assert [row.name for row in found] == ["a", "b", "c"]
    assert [row.name for row in found if row.wrong] == left
    said = capsys.readouterr().out
    assert told in said and bool(said) == second_try


@pytest.mark.parametrize(
    ("wrong", "lacking", "may_lack", "status"),
    [
        ("", [], [], 0),
        ("x", [], [], 1),
        ("x", ["slow-cpu n0 0.3"], ["slow-cpu n0 0.3"], 1),
        ("", ["slow-cpu n0 0.3"], [], 3),
        ("", ["slow-cpu n0 0.3"], ["slow-cpu n0 0.3"], 0),
        ("", ["slow-cpu n0 0.3", "frozen n2"], ["slow-cpu n0 0.3"], 3),
    ],
)
def test_only_the_row_that_is_named_need_not_be_possible(wrong, lacking, may_lack, status):
    assert Rules(may_lack=tuple(may_lack)).exit_status([Row("a", wrong)], lacking) == status


def test_a_table_of_rows_that_need_not_be_possible_and_no_other_is_no_success():
    assert Rules(may_lack=("slow-cpu n0 0.3",)).exit_status([], ["slow-cpu n0 0.3"]) == 3
    gone = ends.NotRun("node frozen", "mpirun", "no freezer")
    assert ends.exit_status([gone], Rules(may_lack=("node frozen",))) == 3


@pytest.mark.parametrize("verb", ["check", "demo", "faults", "launchers"])
def test_a_table_that_could_not_begin_has_run_nothing_and_says_why(verb, monkeypatch, capsys):
    def up(*_: object) -> None:
        raise LabError("nft not found; next: apt-get install iproute2 nftables")

    monkeypatch.setattr(labs, "down", lambda _: None)
    monkeypatch.setattr(labs, "up", up)
    assert cli.main([verb]) == 3
    assert "nft not found; next: apt-get install" in capsys.readouterr().err


class Lab:
    """A lab of paper: what becomes of each fault, try by try."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **wrong: list[str]) -> None:
        self.wrong, self.tried = wrong, []
        monkeypatch.setattr(acceptance, "trial", self.trial)
        monkeypatch.setattr(labs, "down", lambda _: None)
        monkeypatch.setattr(labs, "settle_down", lambda _: None)
        monkeypatch.setattr(labs, "up", lambda _: self)
        self.powers = {"cpu": "no cgroup for it"}

    def trial(self, _lab: object, fault: str, out: Path, _short: bool) -> acceptance.Trial:
        self.tried.append((fault, out.name))
        wrong = self.wrong.get(fault.partition(" ")[0].replace("-", "_"), [])
        said = wrong.pop(0) if wrong else ""
        if said == "cannot":
            raise LabError("the fault could not be planted")
        return acceptance.Trial(fault, said, frozenset(), 1.0, 1.0)


WORDS = ["check", "--second-try", "healthy", "slow-tx n2 1", "slow-rx n2 1"]


@pytest.mark.parametrize(
    ("wrong", "status", "again"),
    [
        ({}, 0, []),
        ({"slow_tx": ["it blames n1"]}, 0, ["slow-tx n2 1"]),
        ({"slow_tx": ["cannot"]}, 0, ["slow-tx n2 1"]),
        ({"slow_tx": ["it blames n1", "it blames n1"]}, 1, ["slow-tx n2 1"]),
        ({"slow_tx": ["it blames n1"], "slow_rx": ["it passed"]}, 1, []),
    ],
)
def test_the_row_of_a_check_that_is_not_ok_is_tried_again_by_itself(
    wrong, status, again, monkeypatch, capsys
):
    lab = Lab(monkeypatch, **wrong)
    assert cli.main(WORDS) == status
    assert [fault for fault, _ in lab.tried] == ["", "slow-tx n2 1", "slow-rx n2 1", *again]
    assert len({name for _, name in lab.tried}) == len(lab.tried), "a second try has a folder of its own"
    assert f"second tries: {len(again)}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status"), [([], 3), (["--may-lack", "slow-cpu n0 0.3"], 0), (["--may-lack", "x"], 3)]
)
def test_a_check_that_lacks_a_row_passes_only_where_the_row_is_named(words, status, monkeypatch):
    Lab(monkeypatch)
    assert cli.main(["check", *words, "healthy", "slow-cpu n0 0.3"]) == status


@pytest.mark.parametrize(("ends_of", "status"), [([""], 0), (["late", ""], 0), (["late", "late"], 1)])
def test_the_row_of_the_faults_that_is_not_ok_is_tried_again_by_itself(ends_of, status, monkeypatch, capsys):
    Lab(monkeypatch)
    said, folders = list(ends_of), []

    def run(_here: object, death: ends.Death, column: ends.Column, folder: Path) -> ends.End:
        folders.append(folder)
        return ends.End(death.name, column.name, 1.0, 3, "", "", (), True, 1, said.pop(0))

    monkeypatch.setattr(ends, "run", run)
    assert cli.main(["faults", "--second-try", "worker killed"]) == status
    assert len(folders) == len(set(folders)) == len(ends_of)
    assert f"second tries: {len(ends_of) - 1}" in capsys.readouterr().out


def test_virtual_machines_that_cannot_be_made_are_no_success(tmp_path):
    for tool in ("bash", "dirname", "uname", "id", "xargs", "env"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    run = LABS / "verbs" / "run"
    place = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run([run], env=place, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout.startswith("SKIP: ") and done.stdout.endswith("0 passed, 0 failed, 1 skipped\n")


def test_a_fabric_that_cannot_be_simulated_is_no_success(monkeypatch, capsys):
    script = runpy.run_path(str(LABS / "ibsim"))
    monkeypatch.setitem(script["main"].__globals__, "missing", lambda: ["ibsim"])
    monkeypatch.setattr(sys, "argv", ["ibsim"])
    assert script["main"]() == 3
    assert "not installed: ibsim; run ci/lab/ibsim --install" in capsys.readouterr().out
