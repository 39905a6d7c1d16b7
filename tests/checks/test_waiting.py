from dataclasses import replace

import runs
from bench.judge import judge
from bench.model import Status
from bench.profile import parse
from bench.store import load

GATED = parse(
    runs.LOCAL.text + '[[bounds]]\ncollective = "all_reduce"\nat_least = "0.0001 GB/s"\nsource = "a test"\n',
    "gated",
)


def verdict(folder, profile):
    return next(v for v in judge(load(folder), profile).verdicts if v.check == "blame.stragglers")


def rows(last):
    where = runs.ranks(1, 4)
    planned = runs.cases(n=4)
    made = [row for case in planned for row in runs.measured(case, last=last, isolated=(1e-3,) * sum(last))]
    return where, planned, made


def test_a_rank_that_is_always_last_is_named(tmp_path):
    where, planned, made = rows((0, 0, 200, 0))
    found = verdict(runs.folder(tmp_path / "r", made, planned, where), GATED)
    assert found.status is Status.FAIL
    assert "2" in found.subject


def test_ranks_that_take_turns_are_nobodys_fault(tmp_path):
    where, planned, made = rows((50, 50, 50, 50))
    assert verdict(runs.folder(tmp_path / "r", made, planned, where), GATED).status is Status.PASS


def test_where_speed_is_not_gated_nobody_is_blamed(tmp_path):
    where, planned, made = rows((0, 0, 200, 0))
    assert verdict(runs.folder(tmp_path / "r", made, planned, where), runs.LOCAL).status is Status.SKIP


def test_nothing_counted_is_no_pass(tmp_path):
    where, planned, made = rows((0, 0, 0, 0))
    made = [replace(row, isolated=()) for row in made]
    assert verdict(runs.folder(tmp_path / "r", made, planned, where), GATED).status is Status.SKIP
