from dataclasses import replace

import pytest

import runs
from bench.drift import fingerprint
from bench.judge import judge
from bench.model import Status
from bench.nightly import series
from bench.nightly.past import Past
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


TURNS = (50, 50, 50, 50)
PARTS = {"profile": "local"}


def tonight(tmp_path, slower, nights=5, last=TURNS, profile=runs.LOCAL, now=PARTS):
    """The verdict of a night whose calls take ``slower`` times those of the nights before it."""
    where, planned, _ = rows(last)
    usual = [row for case in planned for row in runs.measured(case, isolated=(1e-3,) * 12)]
    made = [
        row
        for case in planned
        for row in runs.measured(case, 1e-3 * slower, last=last, isolated=(1e-3 * slower,) * sum(last))
    ]
    like = load(runs.folder(tmp_path / "usual", usual, planned, where))
    found = series.nights(series.record(like, runs.LOCAL, "c1", PARTS))
    before = {
        each: tuple(replace(night, run=f"night{at}", time=float(at)) for at in range(nights))
        for each, night in found.items()
    }
    run = load(runs.folder(tmp_path / "tonight", made, planned, where))
    run = replace(run, history=Past("c1", fingerprint(now), before).to_json())
    return next(v for v in judge(run, profile).verdicts if v.check == "blame.stragglers")


def test_all_ranks_slower_alike_than_the_nights_before_is_the_system(tmp_path):
    found = tonight(tmp_path, 1.4)
    assert found.status is Status.FAIL
    assert found.subject == "ranks"
    assert "all ranks are slow alike: 1.40 times the usual time" in found.measured
    assert "the nights before" in found.source
    assert "all nodes" in found.next_step


def test_nights_of_another_fingerprint_say_nothing_of_what_is_usual(tmp_path):
    found = tonight(tmp_path, 1.4, now={**PARTS, "driver": "580.1"})
    assert found.status is Status.SKIP and "usual" not in found.source


def test_a_night_like_those_before_passes_with_the_figure(tmp_path):
    found = tonight(tmp_path, 1.01)
    assert found.status is Status.PASS
    assert "all together take 1.01 times the usual time" in found.measured


def test_too_few_nights_vouch_for_nothing(tmp_path):
    assert tonight(tmp_path, 1.4, nights=2).status is Status.SKIP


def test_one_slow_rank_in_a_slow_night_is_that_rank(tmp_path):
    found = tonight(tmp_path, 1.4, last=(0, 0, 200, 0), profile=GATED)
    assert found.status is Status.FAIL
    assert "rank 2" in found.subject


@pytest.mark.parametrize(("most", "wanted"), [("500 us", Status.FAIL), ("2 ms", Status.PASS)])
def test_a_bound_on_latency_tells_a_slowdown_of_all(tmp_path, most, wanted):
    where, planned, made = rows(TURNS)
    bound = (
        f'[[bounds]]\ncollective = "all_reduce"\nquantity = "p50"\nat_most = "{most}"\nsource = "a test"\n'
    )
    found = verdict(runs.folder(tmp_path / "r", made, planned, where), parse(runs.LOCAL.text + bound, "p50"))
    assert found.status is wanted
    assert "times the usual time" in found.measured
    assert "the bounds of" in found.source


def test_where_no_case_has_a_bound_or_a_night_the_verdict_says_what_it_cannot_see(tmp_path):
    where, planned, made = rows(TURNS)
    other = parse(GATED.text.replace('all_reduce"\nat_least', 'broadcast"\nat_least'), "other")
    found = verdict(runs.folder(tmp_path / "r", made, planned, where), other)
    assert "cannot be seen without a night before or a bound" in found.measured
