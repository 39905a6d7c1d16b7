"""Tonight among its nights: who is measured again, what fails, what is only said."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bench.judge.evidence import Evidence

pytest.importorskip("pyarrow")

from bench.cli.page import write_report
from bench.cli.terminal import summarise
from bench.exchange.exporting.digest import digest
from bench.judge.drift import Acceptance, NightValue
from bench.judge.drift.past import from_saved
from bench.judge.drift.series import samples
from bench.judge.drift.tonight import _phase, _recent, rerun, tonight
from bench.judge.verdicts import judge, status
from bench.model.verdict import Status
from bench.plan import Request, sweep_cases
from bench.plan.nightly import EVERY_RAIL, NIGHT
from bench.plan.phases import START
from bench.store import HISTORY, Phase, Plan, RunError, load
from bench.store.history import accept, read
from tests import made_nights as made
from tests import runs

NIGHTS = 14


def slow_all_reduce(case, group):
    return 1.2 if case.collective == "all_reduce" and case.size > 1 << 20 else 1.0


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    made.before(folder / "history", folder / "like", NIGHTS)
    return folder / "history"


@pytest.fixture
def history(tmp_path, written):
    return shutil.copytree(written, tmp_path / "history")


def drift(run, check="drift.level"):
    return {verdict.subject: verdict for verdict in run.verdicts if verdict.check == check}


def test_a_night_like_the_others_passes_and_nothing_is_measured_again(tmp_path, history):
    run = made.nightly(tmp_path / "run", history, NIGHTS)
    assert status(run) is Status.PASS
    assert {verdict.status for verdict in drift(run).values()} == {Status.PASS}
    assert not [phase for phase in run.plan.phases if phase.name.startswith("rerun")]
    assert read(str(history), "run").cluster == "c1"


def test_a_slow_series_is_measured_again_and_fails_only_when_it_is_slow_again(tmp_path, history):
    run = made.nightly(tmp_path / "run", history, NIGHTS, slow_all_reduce)
    rerun = [phase for phase in run.plan.phases if phase.name == "rerun-collectives"]
    assert [case.collective for phase in rerun for case in phase.cases] == ["all_reduce"]
    failed = [verdict for verdict in run.verdicts if verdict.status is Status.FAIL]
    assert [verdict.subject for verdict in failed] == ["c1 all_reduce 4 MiB busbw"]
    assert failed[0].measured.startswith("regression")
    assert any("re-run" in line for line in failed[0].evidence)
    assert status(run) is Status.FAIL


def test_a_dip_that_the_rerun_does_not_show_is_suspicious_and_passes(tmp_path, history):
    run = made.nightly(tmp_path / "run", history, NIGHTS, slow_all_reduce, made.healthy)
    said = drift(run)["c1 all_reduce 4 MiB busbw"]
    assert (said.status, said.measured.split(",")[0]) == (Status.PASS, "suspicious")
    assert status(run) is Status.PASS
    (sample,) = [each for each in read(str(history), "run").samples if each.series.name in said.subject]
    assert sample.rerun is not None and sample.rerun > 1.1 * sample.value


def test_both_measurements_are_kept_in_the_history_and_the_next_night_reads_them(tmp_path, history):
    made.nightly(tmp_path / "run", history, NIGHTS, slow_all_reduce)
    run = made.nightly(tmp_path / "next", history, NIGHTS + 1)
    past = from_saved(run.history)
    last = next(
        found[-1] for series, found in past.nights.items() if series.name == "c1 all_reduce 4 MiB busbw"
    )
    assert (last.run, last.rerun is None) == ("run", False)


def test_a_first_night_is_skipped_with_the_nights_that_are_missing(tmp_path):
    run = made.nightly(tmp_path / "run", tmp_path / "history")
    said = drift(run)
    assert {verdict.status for verdict in said.values()} == {Status.NOT_APPLICABLE}
    assert all("0 of 10 nights" in verdict.measured for verdict in said.values())
    assert status(run) is Status.PASS


def test_a_changed_fingerprint_begins_a_new_baseline_and_is_named(tmp_path, history):
    profile = replace(runs.LOCAL, environment={"NCCL_NET": "Socket"})
    run = made.nightly(tmp_path / "run", history, NIGHTS, slow_all_reduce, profile=profile)
    said = drift(run)["c1 all_reduce 4 MiB busbw"]
    # worse than the old baseline, with a new one that is too young to tell
    assert said.status is Status.INCONCLUSIVE
    assert "0 of 10 nights that a baseline needs since profile local/" in said.measured
    assert "likely cause: profile local/" in said.next_step
    assert drift(run)["c1 all_gather 4 MiB busbw"].status is Status.NOT_APPLICABLE


def test_an_accepted_level_ends_the_alarm(tmp_path, history):
    first = made.nightly(tmp_path / "run", history, NIGHTS, slow_all_reduce)
    assert status(first) is Status.FAIL
    start = made.FIRST + NIGHTS * made.DAY
    accept(str(history), Acceptance("c1", start, "me", start + 60, "a new switch", "all_reduce"))
    second = made.nightly(tmp_path / "next", history, NIGHTS + 1, slow_all_reduce)
    assert drift(second)["c1 all_reduce 4 MiB busbw"].status is Status.NOT_APPLICABLE
    assert "1 of 10 nights" in drift(second)["c1 all_reduce 4 MiB busbw"].measured
    assert drift(second)["c1 all_gather 4 MiB busbw"].status is Status.PASS


def test_a_series_that_was_planned_and_lost_is_an_error(tmp_path, history):
    path = made.folder(tmp_path / "run", NIGHTS)
    from bench.run import nightly as night
    from bench.run.finish import judge_and_save

    asked = night.Nightly(str(history), "c1")
    journal = path / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if "collectives/all_gather/4194304" not in line))
    night.begin(path, asked, runs.LOCAL)
    night.end(path, asked, runs.LOCAL)
    run = judge_and_save(path, runs.LOCAL).run
    assert drift(run)["c1 all_gather 4 MiB busbw"].status is Status.INCONCLUSIVE
    (lost,) = [each for each in samples(Evidence(run, runs.LOCAL), "c1") if not math.isfinite(each.value)]
    assert (lost.series.collective, lost.status) == ("all_gather", Status.INCONCLUSIVE)
    assert status(run) is Status.INCONCLUSIVE


def test_a_run_is_judged_the_same_without_the_history(tmp_path, history):
    run = made.nightly(tmp_path / "run", history, NIGHTS, slow_all_reduce)
    for path in sorted(Path(history).rglob("*.parquet")):
        path.unlink()
    again_ = judge(load(tmp_path / "run"), runs.LOCAL).run
    assert again_.verdicts == run.verdicts


def test_every_night_says_how_much_it_was_compared_with(tmp_path, capsys):
    history, told = tmp_path / "history", []
    for number in range(12):
        run = made.nightly(tmp_path / f"run{number}", history, number)
        summarise(Evidence(run, runs.LOCAL), verbose=False, short=True)
        (said,) = drift(run, "drift.compared").values()
        assert said.measured in " ".join(capsys.readouterr().out.split())
        assert (said.status is Status.PASS) == (number >= 10)
        told.append(said.measured)
    series = len(drift(run))
    assert told[0] == f"first night of c1 in {history}: nothing to compare with yet (night 1 of 10, learning)"
    assert told[3] == f"c1: 0 of {series} series compared (night 4 of 10, learning)"
    assert told[11] == f"c1: {series} of {series} series compared (with 11 nights)"
    assert told[11] in digest(run)
    write_report(Evidence(run, runs.LOCAL))
    assert told[11] in (tmp_path / "run11" / "report.md").read_text()
    assert told[11] in (tmp_path / "run11" / "report.html").read_text()


def test_a_night_that_cannot_be_recorded_is_no_pass(tmp_path, history):
    made.nightly(tmp_path / "run", history, NIGHTS)
    run = made.nightly(tmp_path / "other" / "run", history, NIGHTS)
    said = drift(run, "drift.history")["c1"]
    assert said.status is Status.INCONCLUSIVE
    assert "already there" in said.measured
    assert "railgauge history add" in said.next_step
    assert status(run) is Status.INCONCLUSIVE


def test_a_broken_and_a_foreign_file_are_named_and_left_out(tmp_path, history):
    victim = sorted(Path(history).rglob("*.parquet"))[3]
    content = bytearray(victim.read_bytes())
    content[200] ^= 1
    victim.write_bytes(content)
    (history / "cluster=c1" / "notes.txt").write_text("mine")
    (history / "elsewhere.parquet").write_bytes(b"PAR1")
    run = made.nightly(tmp_path / "run", history, NIGHTS)
    said = drift(run, "drift.history")["3 files of the history"]
    assert said.status is Status.NOT_APPLICABLE
    assert any("notes.txt: foreign" in line for line in said.evidence)
    assert any("altered" in line for line in said.evidence)
    assert sum("elsewhere.parquet: foreign" in line for line in said.evidence) == 1
    assert status(run) is Status.PASS
    assert f"{NIGHTS - 1} nights before" in drift(run, "drift.history")["c1"].measured


def test_what_tonight_has_no_time_for_is_named(tmp_path, history):
    run = made.nightly(tmp_path / "run", history, NIGHTS, budget=40.0)
    cut = [verdict for verdict in run.verdicts if "series of the last night" in verdict.subject]
    assert cut and cut[0].status is Status.NOT_APPLICABLE
    assert cut[0].evidence


def test_a_run_that_is_no_nightly_one_says_nothing_of_drift(tmp_path):
    run = judge(load(runs.folder(tmp_path / "run")), runs.LOCAL).run
    assert not [verdict for verdict in run.verdicts if verdict.check.startswith("drift")]
    assert tonight(Evidence(run, runs.LOCAL)) is None


@pytest.mark.parametrize("text", ["{}", '{"format": 99}', '{"format": 1, "cluster": 3}', '{"format": "x"}'])
def test_a_damaged_history_file_is_an_error_and_never_a_pass(tmp_path, text):
    path = runs.folder(tmp_path / "run")
    (path / "history.json").write_text(text)
    with pytest.raises(RunError, match=HISTORY):
        load(path)


# --- rails and nodes of one night ---------------------------------------------------------------------

EIGHT = runs.ranks(8, 2)


def slow_rail(case, group):
    return 1.3 if case.collective == "p2p" and 5 in group else 1.0


def test_a_slow_rail_is_measured_again_with_healthy_ones_and_named(tmp_path):
    run = made.nightly(tmp_path / "run", tmp_path / "history", 0, slow_rail, where=EIGHT)
    again_ = [phase for phase in run.plan.phases if phase.name == "rerun-rails"]
    assert len(again_) == 1
    assert again_[0].seconds == pytest.approx(START + 0.5 * len(again_[0].cases))
    assert all(5 in group for case in again_[0].cases for group in case.groups)
    failed = {
        verdict.subject
        for verdict in run.verdicts
        if (verdict.check, verdict.status) == ("drift.fleet", Status.FAIL)
    }
    assert "c1 rails, p2p, 4 MiB n2 rail 1" in failed
    (slow,) = [each.measured for each in run.verdicts if each.subject == "c1 rails, p2p, 4 MiB n2 rail 1"]
    assert "23.0 % worse than the median of its peers" in slow
    assert not any("n3" in subject or "n2 rail 0" in subject for subject in failed)


def test_a_phase_that_was_planned_to_take_no_longer_than_its_start_is_measured_again_whole(tmp_path, history):
    path = made.folder(tmp_path / "run", NIGHTS, slow_all_reduce)
    from bench.run import nightly as night

    night.begin(path, night.Nightly(str(history), "c1"), runs.LOCAL)
    run = load(path)
    phases = tuple(replace(phase, seconds=START) for phase in run.plan.phases)
    quick = replace(run, plan=replace(run.plan, phases=phases))
    again = rerun(Evidence(quick, runs.LOCAL), "collectives")
    assert [case.collective for case in again.cases] == ["all_reduce"]


def test_a_slow_node_is_measured_again_by_itself(tmp_path):
    def slow_node(case, group):
        return 1.2 if case.phase.endswith("nodes") and group == (6, 7) else 1.0

    run = made.nightly(tmp_path / "run", tmp_path / "history", 0, slow_node, where=EIGHT)
    (phase,) = [phase for phase in run.plan.phases if phase.name == "rerun-nodes"]
    assert [case.groups for case in phase.cases] == [((6, 7),)]
    (first,) = {each.id for each in run.plan.cases if each.phase == "nodes"}
    assert [case.id for case in phase.cases] == [f"rerun-{first}/n3"]
    failed = [verdict.subject for verdict in run.verdicts if verdict.status is Status.FAIL]
    assert "c1 nodes, all_reduce inside a node, 4 MiB n3" in failed


def test_too_few_rails_to_compare_are_skipped_with_the_count(tmp_path):
    run = made.nightly(tmp_path / "run", tmp_path / "history", where=runs.ranks(2, 2))
    said = [verdict for verdict in run.verdicts if verdict.check == "drift.fleet"]
    assert {(verdict.status, verdict.measured) for verdict in said} == {
        (Status.NOT_APPLICABLE, "4 of 8 subjects that a comparison needs"),
        (Status.NOT_APPLICABLE, "2 of 8 subjects that a comparison needs"),
    }


def test_rails_and_nodes_stand_in_the_history_too(tmp_path):
    made.nightly(tmp_path / "run", tmp_path / "history", where=EIGHT)
    subjects = {sample.series.subject for sample in read(str(tmp_path / "history"), "run").samples}
    assert {"", "n0 rail 0", "n7 rail 1", "n0", "n7"} <= subjects


def test_rails_and_nodes_are_held_against_their_peers_and_not_against_their_nights(tmp_path):
    run = made.nightly(tmp_path / "run", tmp_path / "history", where=EIGHT)
    found = tonight(Evidence(run, runs.LOCAL))
    assert {each.series.subject for each in found.findings} == {""}
    assert {fleet.name: len(standings) for fleet, standings in found.fleets} == {"rails": 16, "nodes": 8}


def test_a_rail_that_was_planned_and_lost_is_no_figure_and_no_pass(tmp_path):
    run = load(made.folder(tmp_path / "run", where=EIGHT))
    gone = {rank.rank for rank in run.manifest.ranks if (rank.node, rank.local_rank) == ("n3", 1)}
    kept = tuple(each for each in run.measurements if not gone & set(each.ranks))
    found = samples(Evidence(replace(run, measurements=kept), runs.LOCAL), "c1")
    assert {each.series.subject for each in found if each.status is Status.INCONCLUSIVE} >= {"n3 rail 1"}
    assert all(each.status is Status.PASS for each in found if each.series.subject.startswith("n4"))


def test_a_night_of_which_no_series_was_planned_is_no_pass(tmp_path):
    run = made.nightly(tmp_path / "run", tmp_path / "history")
    empty = judge(replace(run, plan=replace(run.plan, phases=())), runs.LOCAL).run
    assert {verdict.status for verdict in drift(empty).values()} == {Status.INCONCLUSIVE}


def test_what_the_reserve_has_no_time_for_stays_open(tmp_path, history):
    path = made.folder(tmp_path / "run", NIGHTS, slow_all_reduce)
    from bench.run import nightly as night

    night.begin(path, night.Nightly(str(history), "c1"), runs.LOCAL)
    row = json.loads((path / "history.json").read_text())
    phase = next(each for each in load(path).plan.phases if each.name == "collectives")
    one = (phase.seconds - START) / len(phase.cases)
    for cases, fits in ((1.2, True), (0.8, False)):
        (path / "history.json").write_text(json.dumps({**row, "reserve": START + cases * one}))
        assert (rerun(Evidence(load(path), runs.LOCAL), "collectives") is not None) is fits
    run = judge(load(path), runs.LOCAL).run
    said = drift(run)["c1 all_reduce 4 MiB busbw"]
    assert (said.status, "not measured again yet" in said.measured) == (Status.INCONCLUSIVE, True)


@pytest.mark.parametrize(("times", "recent"), [((), False), ((1.0,), False), ((1.0, 2.0), True)])
def test_a_series_is_recent_if_it_was_measured_in_the_last_night_that_there_was(times, recent):
    def measured(*times):
        return tuple(NightValue("r", time, 1.0) for time in times)

    assert _recent(measured(*times), {1: measured(2.0), 2: measured(*times), 3: ()}) is recent


def test_what_has_no_peers_says_why_it_was_not_compared(tmp_path):
    run = made.nightly(tmp_path / "run", tmp_path / "history")
    said = drift(run, "drift.fleet")
    assert set(said) == {"c1 rails", "c1 nodes"}
    assert {verdict.status for verdict in said.values()} == {Status.NOT_APPLICABLE}
    assert "one node has no rails to another" in said["c1 rails"].measured


def test_a_night_that_gave_up_every_rail_for_its_budget_is_no_pass(tmp_path):
    run = made.nightly(tmp_path / "run", tmp_path / "history")
    cut = replace(run.plan, skipped=(*run.plan.skipped, (NIGHT, EVERY_RAIL)))
    again = judge(replace(run, plan=cut), runs.LOCAL).run
    said = drift(again, "drift.fleet")["c1 rails"]
    assert said.status is Status.INCONCLUSIVE and "no rail was compared" in said.measured
    assert (status(run), status(again)) == (Status.PASS, Status.INCONCLUSIVE)


def test_a_nightly_run_whose_history_is_gone_is_no_silent_pass(tmp_path):
    run = load(made.folder(tmp_path / "run"))
    manifest = replace(run.manifest, command=("railgauge", "nightly"))
    found = [
        v for v in judge(replace(run, manifest=manifest), runs.LOCAL).verdicts if v.check == "drift.history"
    ]
    assert [v.status for v in found] == [Status.INCONCLUSIVE]


# ── what a night could hide ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("times", [math.nan, math.inf, 0.0, -1.0])
def test_nights_without_figures_are_no_beginning(tmp_path, times):
    made.before(tmp_path / "history", tmp_path / "like", NIGHTS, times=times)
    run = made.nightly(tmp_path / "run", tmp_path / "history", NIGHTS, slow_all_reduce)
    (found,) = [each for each in run.verdicts if "no figure that can be compared" in each.measured]
    assert (status(run), found.status, found.check) == (
        Status.INCONCLUSIVE,
        Status.INCONCLUSIVE,
        "drift.history",
    )


def test_a_night_that_is_called_another_command_is_a_night(tmp_path):
    made.before(tmp_path / "history", tmp_path / "like", NIGHTS)
    made.nightly(tmp_path / "run", tmp_path / "history", NIGHTS, slow_all_reduce)
    (tmp_path / "run" / "history.json").unlink()
    run = load(tmp_path / "run")
    run = replace(run, manifest=replace(run.manifest, command=("railgauge", "accept")))
    found = judge(run, runs.LOCAL).run
    said = [each.measured for each in found.verdicts if each.status is Status.INCONCLUSIVE]
    assert any("its folder holds no nights before it" in each for each in said)


@pytest.mark.parametrize(
    ("reserve", "used", "fits"),
    [
        (29.9, 0, 2),
        (30.0, 0, 3),
        (9.9, 0, 0),
        (0.0, 0, 0),
        (-25.0, 0, 0),
        (30.0 + START + 10, START + 10, 3),
        (99, 0, 4),
    ],
)
def test_a_reserve_holds_whole_cases_after_the_start_and_what_was_measured_again_before(reserve, used, fits):
    """Four cases of ten seconds each are suspect; ``reserve`` is counted from the end of their worker's start."""
    like = sweep_cases("collectives", Request("all_reduce", 1 << 20, 1 << 23), ((0, 1),))
    before = (Phase("rerun-ring", "", (), seconds=used),) if used else ()
    plan = Plan((Phase("collectives", "", tuple(like), seconds=START + 10 * len(like)), *before))
    found = _phase(plan, "collectives", list(like), START + reserve)
    assert len(like) == 4
    assert (len(found.cases) if found else 0) == fits
    if found:
        assert found.seconds == START + 10 * fits
