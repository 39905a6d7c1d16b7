import json
from dataclasses import replace

import pytest

import runs
from bench.judge.drift import fingerprint, series
from bench.judge.drift.past import Past
from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge
from bench.model.measurement import RankSkew
from bench.model.profile import parse
from bench.model.verdict import Status
from bench.store import load

GATED = parse(
    runs.LOCAL.text + '[[bounds]]\ncollective = "all_reduce"\nat_least = "0.0001 GB/s"\nsource = "a test"\n',
    "gated",
)


def verdict(folder, profile):
    return next(v for v in judge(load(folder), profile).verdicts if v.check == "blame.stragglers")


NOBODY = RankSkew(*[(0,) * 4, (0.0,) * 4, (0,) * 4] * 2)


def late(rank, by=0.5e-3, iterations=200):
    """Rank ``rank`` of four comes late into every call."""
    counts, seconds = [0] * 4, [0.0] * 4
    counts[rank], seconds[rank] = iterations, by
    return replace(NOBODY, short=tuple(counts), short_by=tuple(seconds), shortest=tuple(counts))


def rows(apart, seconds=1e-3):
    where = runs.ranks(1, 4)
    planned = runs.cases(n=4)
    made = [
        row
        for case in planned
        for row in runs.measured(case, seconds, apart=apart, isolated=(seconds,) * 200)
    ]
    return where, planned, made


def bounded(most):
    """A profile that wants one call of all_reduce to take at most this."""
    bound = (
        f'[[bounds]]\ncollective = "all_reduce"\nquantity = "p50"\nat_most = "{most}"\nsource = "a test"\n'
    )
    return parse(runs.LOCAL.text + bound, "p50")


def found_in(tmp_path, apart, profile, seconds=1e-3):
    where, planned, made = rows(apart, seconds)
    return verdict(runs.folder(tmp_path / "r", made, planned, where), profile)


def test_a_rank_that_makes_all_slower_than_the_bound_is_named(tmp_path):
    found = found_in(tmp_path, late(2), bounded("500 us"))
    assert found.status is Status.FAIL
    assert found.subject == "rank 2 on n0"
    assert "2.00 times the usual time, at best 1.00 without waiting for it" in found.measured
    assert "they wait 500" in found.measured and "50.0 % of a call" in found.measured
    assert "run again without" in found.next_step


def test_a_slow_link_is_not_blamed_on_the_rank_that_is_done_first(tmp_path):
    where, planned, made = rows(late(2))
    made = [row for row in made if "/65536/" in row.case]
    planned = [case for case in planned if case.size == 65536]
    found = verdict(runs.folder(tmp_path / "r", made, planned, where), bounded("500 us"))
    assert (found.status, found.subject) == (Status.FAIL, "ranks")
    assert "a slow link looks the same" in found.measured


@pytest.mark.parametrize("profile", [GATED, bounded("2 ms")], ids=["busbw", "p50"])
def test_a_rank_that_is_waited_for_within_the_bound_is_told_and_fails_nobody(tmp_path, profile):
    found = found_in(tmp_path, late(2), profile)
    assert (found.status, found.subject, found.next_step) == (Status.PASS, "ranks", "")
    assert "rank 2 on n0" in found.measured


def test_a_rank_late_by_less_than_all_lose_is_told_beside_the_system(tmp_path):
    found = found_in(tmp_path, late(2, by=0.1e-3), bounded("500 us"))
    assert (found.status, found.subject) == (Status.FAIL, "ranks")
    assert "all ranks are slow alike: 2.00 times the usual time, at best 1.80" in found.measured
    assert "rank 2 on n0" in found.measured
    assert "inside the call" in found.next_step


def test_a_constant_difference_that_costs_nothing_is_nobodys_fault(tmp_path):
    found = found_in(tmp_path, late(0, by=1e-7), GATED)
    assert found.status is Status.PASS
    assert "rank 0" not in found.measured


def test_where_speed_is_not_gated_nobody_is_blamed(tmp_path):
    assert found_in(tmp_path, late(2), runs.LOCAL).status is Status.NOT_APPLICABLE


def test_where_the_bounds_are_on_something_else_nobody_is_blamed(tmp_path):
    other = parse(GATED.text.replace('all_reduce"\nat_least', 'broadcast"\nat_least'), "other")
    found = found_in(tmp_path, late(2), other)
    assert found.status is Status.NOT_APPLICABLE
    assert "rank 2 on n0" in found.measured and "whether that costs anything cannot be seen" in found.measured


def test_nothing_counted_is_no_pass(tmp_path):
    where, planned, made = rows(NOBODY)
    made = [replace(row, isolated=()) for row in made]
    assert verdict(runs.folder(tmp_path / "r", made, planned, where), GATED).status is Status.NOT_APPLICABLE


def as_older_versions_wrote(folder, last):
    """The same journal with how often each rank's own time was the longest, and without who stood apart."""
    file = folder / "journal.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        if line["kind"] == "measurement":
            del line["apart"]
            line["last"] = last
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.mark.parametrize(("most", "wanted"), [("2 ms", Status.NOT_APPLICABLE), ("500 us", Status.FAIL)])
def test_an_older_journal_names_nobody_and_still_tells_a_slowdown(tmp_path, most, wanted):
    where, planned, made = rows(late(1))
    folder = as_older_versions_wrote(runs.folder(tmp_path / "r", made, planned, where), [200, 0, 0, 0])
    found = verdict(folder, bounded(most))
    assert (found.status, found.subject) == (wanted, "ranks")
    assert "rank" not in found.measured
    assert "was not recorded" in found.measured


PARTS = {"profile": "local"}


def tonight(tmp_path, slower, nights=5, apart=NOBODY, profile=runs.LOCAL, now=PARTS):
    """The verdict of a night whose calls take ``slower`` times those of the nights before it."""
    where, planned, made = rows(apart, 1e-3 * slower)
    usual = [row for case in planned for row in runs.measured(case, isolated=(1e-3,) * 12)]
    like = load(runs.folder(tmp_path / "usual", usual, planned, where))
    found = series.nights(series.recorded_run(Evidence(like, runs.LOCAL), "c1", fingerprint(PARTS)))
    before = {
        each: tuple(replace(night, run=f"night{at}", time=float(at)) for at in range(nights))
        for each, night in found.items()
    }
    run = load(runs.folder(tmp_path / "tonight", made, planned, where))
    run = replace(run, history=Past("c1", fingerprint(now), before).saved())
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
    assert found.status is Status.NOT_APPLICABLE and "usual" not in found.source


def test_a_night_like_those_before_passes_with_the_figure(tmp_path):
    found = tonight(tmp_path, 1.01)
    assert found.status is Status.PASS
    assert "all together take 1.01 times the usual time" in found.measured


def test_too_few_nights_vouch_for_nothing(tmp_path):
    assert tonight(tmp_path, 1.4, nights=2).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize("profile", [GATED, runs.LOCAL], ids=["gated", "local"])
def test_one_slow_rank_in_a_slow_night_is_that_rank(tmp_path, profile):
    found = tonight(tmp_path, 1.4, apart=late(2), profile=profile)
    assert found.status is Status.FAIL
    assert found.subject == "rank 2 on n0"


def test_a_late_rank_in_a_night_like_the_others_fails_nobody(tmp_path):
    found = tonight(tmp_path, 1.01, apart=late(2))
    assert found.status is Status.PASS
    assert "rank 2 on n0" in found.measured


@pytest.mark.parametrize(("most", "wanted"), [("500 us", Status.FAIL), ("2 ms", Status.PASS)])
def test_a_bound_on_latency_tells_a_slowdown_of_all(tmp_path, most, wanted):
    found = found_in(tmp_path, NOBODY, bounded(most))
    assert found.status is wanted
    assert "times the usual time" in found.measured
    assert "the bounds of" in found.source


def test_where_no_case_has_a_bound_or_a_night_the_verdict_says_what_it_cannot_see(tmp_path):
    other = parse(GATED.text.replace('all_reduce"\nat_least', 'broadcast"\nat_least'), "other")
    found = found_in(tmp_path, NOBODY, other)
    assert "cannot be seen without a night before or a bound" in found.measured
