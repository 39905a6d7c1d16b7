import math
from dataclasses import replace

import pytest

import runs
from bench.cli import judging
from bench.judge import registry
from bench.judge.checks import CHECKS
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding
from bench.judge.verdicts import SPOKEN, judge, spoken, status
from bench.model import typed_json
from bench.model.measurement import Mismatch
from bench.model.profile import parse
from bench.model.verdict import EXIT, Status, Verdict, overall
from bench.store import IMPORTED, Loss, Plan, TooLarge, load
from made_nodes import nodes

BOUND = """
[[bounds]]
collective = "all_reduce"
size = ["64K", "1M"]
at_least = "{rate}"
source = "a test"
"""


def verdict_of(path, profile=runs.LOCAL):
    run = judge(load(path), profile).run
    return status(run), [v for v in run.verdicts if v.status in (Status.FAIL, Status.INCONCLUSIVE)]


def test_a_healthy_run_passes(tmp_path):
    assert verdict_of(runs.folder(tmp_path / "r")) == (Status.PASS, [])


def test_a_judged_run_is_the_same_evidence_and_the_folder_read_again_is_not(tmp_path):
    folder = runs.folder(tmp_path / "r")
    run = load(folder)
    judged = judge(run, runs.LOCAL)
    assert judged.verdicts and not run.verdicts
    assert judged.run.measurements is run.measurements
    assert judged.judged(()).rows is judged.rows
    again = Evidence(load(folder), runs.LOCAL)
    assert again.rows is not judged.rows
    assert again.rows == judged.rows


def test_a_check_that_breaks_is_no_pass_and_takes_no_other_verdict_with_it(tmp_path, monkeypatch):
    def broken(evidence):
        raise ValueError("of all things")

    monkeypatch.setitem(CHECKS, "clock", replace(CHECKS["clock"], find=broken))
    code, (bad,) = verdict_of(runs.folder(tmp_path / "r"))
    assert (code, bad.check, bad.status) == (Status.INCONCLUSIVE, "clock", Status.INCONCLUSIVE)
    assert "the check broke: ValueError: of all things" in bad.measured


def test_nothing_to_judge_is_not_a_pass(tmp_path):
    assert overall([]) is Status.INCONCLUSIVE
    assert overall([Status.NOT_APPLICABLE]) is Status.INCONCLUSIVE
    code, bad = verdict_of(runs.folder(tmp_path / "r", rows=[], planned=[]))
    assert code is Status.INCONCLUSIVE
    assert any("nothing was planned" in v.message for v in bad)


def test_fail_beats_error_beats_pass():
    assert overall([Status.PASS, Status.INCONCLUSIVE, Status.FAIL, Status.NOT_APPLICABLE]) is Status.FAIL
    assert overall([Status.PASS, Status.INCONCLUSIVE]) is Status.INCONCLUSIVE
    assert overall([Status.PASS, Status.NOT_APPLICABLE]) is Status.PASS


def changed(index, **changes):
    planned = runs.cases()
    rows = [row for case in planned for row in runs.measured(case)]
    rows[index] = replace(rows[index], **changes)
    return planned, rows


def test_one_wrong_element_fails_its_case_and_names_rank_and_index(tmp_path):
    planned, rows = changed(1, wrong=(0, 1), mismatches=(Mismatch(1, 4711, 0, 5.0, 7.0),))
    code, bad = verdict_of(runs.folder(tmp_path / "r", rows, planned))
    assert code is Status.FAIL
    assert "rank 1 index 4711: got 5, wanted 7" in bad[0].message
    assert bad[0].subject == planned[1].id


def test_unchecked_is_not_right(tmp_path):
    planned, rows = changed(0, wrong=(None, None), checked=0)
    code, bad = verdict_of(runs.folder(tmp_path / "r", rows, planned))
    assert code is Status.INCONCLUSIVE
    assert "not compared on every rank that receives" in bad[0].message


@pytest.mark.parametrize("seconds", [math.nan, 0.0, -1.0, math.inf])
def test_a_time_that_is_none_is_an_error(tmp_path, seconds):
    planned, rows = changed(0, pipelined=((seconds, seconds),))
    code, bad = verdict_of(runs.folder(tmp_path / "r", rows, planned))
    assert code is Status.INCONCLUSIVE
    assert "no possible measurement: pipelined" in " ".join(verdict.message for verdict in bad)


def test_a_missing_case_is_never_a_pass(tmp_path):
    planned = runs.cases()
    rows = [row for case in planned for row in runs.measured(case)][:-1]
    code, bad = verdict_of(runs.folder(tmp_path / "r", rows, planned))
    assert code is Status.INCONCLUSIVE
    assert bad[0].evidence == (planned[-1].id,)


def test_a_group_that_was_not_measured_is_never_a_pass(tmp_path):
    where = runs.ranks(2, 2)
    planned = [replace(case, groups=((0, 1), (2, 3))) for case in runs.cases()]
    rows = [runs.measured(case)[0] for case in planned]
    code, bad = verdict_of(runs.folder(tmp_path / "r", rows, planned, where))
    assert code is Status.INCONCLUSIVE
    assert any("rank 2 (n1), rank 3 (n1)" in v.message for v in bad)


def test_a_run_without_its_completion_record_is_not_a_pass(tmp_path):
    code, bad = verdict_of(runs.folder(tmp_path / "r", end=False))
    assert code is Status.INCONCLUSIVE
    assert "interrupted" in bad[0].message


def test_a_loss_is_named(tmp_path):
    path = tmp_path / "r"
    planned = runs.cases()
    rows = [row for case in planned[1:] for row in runs.measured(case)]
    runs.folder(path, rows, planned)
    line = Loss(planned[0].id, "the worker of rank 1 (n0) was killed by SIGKILL", "rank 1 (n0)")
    with (path / "journal.jsonl").open("a") as file:
        import json

        file.write(json.dumps({"kind": "loss", "time": 1.0, **line.__dict__}) + "\n")
    _, bad = verdict_of(path)
    assert any("SIGKILL" in v.message and "rank 1 (n0)" in v.next_step for v in bad)


def test_a_refused_case_is_named_with_both_figures(tmp_path):
    planned = runs.cases()
    plan = Plan(
        tuple(load(runs.folder(tmp_path / "x", planned=planned)).plan.phases),
        (TooLarge("big", 1 << 40, 1 << 30, "n0, 2 ranks"),),
    )
    code, bad = verdict_of(runs.folder(tmp_path / "r", planned=planned, plan=plan))
    assert code is Status.INCONCLUSIVE
    assert "1 TiB" in bad[0].message
    assert "1 GiB" in bad[0].message


def test_a_bound_is_held_against_the_rows_of_its_sizes_only(tmp_path):
    path = runs.folder(tmp_path / "r")  # 64 KiB in 1 ms: 0.065 GB/s
    low = parse(runs.LOCAL.text + BOUND.format(rate="0.05 GB/s"), "low")
    high = parse(runs.LOCAL.text + BOUND.format(rate="0.08 GB/s"), "high")
    assert verdict_of(path, low)[0] is Status.PASS
    code, bad = verdict_of(path, high)
    assert code is Status.FAIL
    assert len(bad) == 1
    assert "wanted at least 0.08 GB/s (a test)" in bad[0].message


def test_a_bound_without_a_row_is_could_not_tell(tmp_path):
    planned = runs.cases(names=("all_gather",))
    path = runs.folder(tmp_path / "r", planned=planned)
    code, bad = verdict_of(path, parse(runs.LOCAL.text + BOUND.format(rate="0.01 GB/s"), "x"))
    assert code is Status.INCONCLUSIVE
    assert "no row from 64 KiB to 1 MiB was measured" in bad[0].message


def test_nan_does_not_reach_a_bound(tmp_path):
    planned, rows = changed(0, pipelined=((math.nan,) * 2,))
    wide = BOUND.replace('["64K", "1M"]', '["8", "1M"]')
    profile = parse(runs.LOCAL.text + wide.format(rate="0.0001 GB/s"), "x")
    whole = load(runs.folder(tmp_path / "r", planned=planned))
    bad = judge(replace(whole, measurements=tuple(rows)), profile).verdicts
    assert Status.INCONCLUSIVE in {v.status for v in bad if v.check == "limits.busbw"}


def test_judging_is_a_pure_function_of_the_folder(tmp_path):
    path = runs.folder(tmp_path / "r")
    assert judge(load(path), runs.LOCAL).verdicts == judge(load(path), runs.LOCAL).verdicts


def test_every_verdict_survives_the_file(tmp_path):
    for verdict in judge(load(runs.folder(tmp_path / "r")), runs.LOCAL).verdicts:
        assert typed_json.load(Verdict, typed_json.to_json(verdict)) == verdict


def test_a_report_is_drawn_by_the_profile_that_judged_last(tmp_path, capsys):
    folder = runs.folder(tmp_path / "r")
    assert judging.judge.callback(folder, "lambda-1cc-h100", False) != EXIT[Status.PASS]
    said = load(folder)
    assert (said.by, said.profile_name) == ("lambda-1cc-h100", "lambda-1cc-h100")
    code = judging.report.callback(folder)
    assert code == EXIT[status(said)] != EXIT[Status.PASS]
    assert "judged by lambda-1cc-h100" in capsys.readouterr().out
    assert [verdict.status for verdict in load(folder).verdicts] == [
        verdict.status for verdict in said.verdicts
    ]
    assert "lambda-1cc-h100" in (folder / "report.html").read_text()
    assert judging.judge.callback(folder, None, False) == judging.report.callback(folder) == EXIT[Status.PASS]
    assert load(folder).by == runs.LOCAL.name


def test_a_status_that_older_versions_wrote_is_still_read():
    assert Status("error") is Status.INCONCLUSIVE
    with pytest.raises(ValueError, match="nonsense"):
        Status("nonsense")


def test_people_read_four_words_for_the_four_outcomes():
    assert [status.shown for status in Status] == ["PASS", "FAIL", "INCONCLUSIVE", "NOT APPLICABLE"]


def of_nodes(name, **more):
    def find(evidence):
        yield Finding(name, True, ",".join(evidence.manifest.nodes))

    return registry.check(name, **more)(find)


@pytest.fixture
def three(monkeypatch):
    """Three checks in the table: one of facts, one of facts that is for no watch, and one of measurements."""
    table = {}
    monkeypatch.setattr(registry, "CHECKS", table)
    monkeypatch.setattr("bench.judge.verdicts.CHECKS", table)
    of_nodes("facts", facts_only=True)
    of_nodes("alone", facts_only=True, beside=False)
    of_nodes("rows")
    return table


@pytest.mark.parametrize(
    ("changes", "facts_only", "asked"),
    [
        ({}, False, ["facts", "alone", "rows"]),
        ({}, True, ["facts", "alone"]),
        ({"command": ("railgauge", "watch")}, False, ["facts"]),
        ({"command": ("railgauge", "watch")}, True, ["facts"]),
        ({"launcher": IMPORTED}, False, ["rows"]),
        ({"launcher": IMPORTED}, True, []),
    ],
)
def test_which_checks_are_asked_of_which_run(three, changes, facts_only, asked):
    run = runs.read_only(nodes(2))
    run = replace(run, manifest=replace(run.manifest, **changes))
    found = judge(run, runs.LOCAL, facts_only).verdicts
    if "launcher" in changes:
        first, *found = found
        assert (first.check, first.subject, first.status) == ("facts", "all nodes", Status.NOT_APPLICABLE)
        assert first.measured == "an import holds no facts of the machines: 2 checks on them left out"
        assert first.evidence == ("facts", "alone")
    assert [each.check for each in found] == asked
    assert {each.measured for each in found} <= {"n0,n1"}


def test_facts_are_judged_of_the_nodes_too_that_were_set_aside_and_measurements_are_not(three):
    whole = runs.read_only(nodes(3))
    left = tuple(rank for rank in whole.manifest.ranks if rank.node != "n1")
    run = replace(whole, manifest=replace(whole.manifest, ranks=left), everyone=whole)
    assert {each.check: each.measured for each in judge(run, runs.LOCAL).verdicts} == {
        "facts": "n0,n1,n2",
        "alone": "n0,n1,n2",
        "rows": "n0,n2",
    }


def test_what_a_person_is_told_beside_the_verdict_is_what_three_checks_say():
    said = [Verdict(name, "run", Status.NOT_APPLICABLE, name) for name in (*SPOKEN, "clock")]
    assert spoken(replace(runs.read_only(nodes(1)), verdicts=tuple(said))) == SPOKEN
