"""Pairs of GPUs of one node."""

from dataclasses import replace

import pytest

import runs
from bench.judge.verdicts import judge
from bench.model.verdict import Status
from bench.plan import Job
from bench.plan.single_node_phases import links
from bench.store import load

H100 = runs.ranks(1, 4)
PHASE = links(Job(runs.LOCAL, H100, "nccl"))


def judged(tmp_path, slow):
    """Verdicts when ``slow(a, b)`` times the usual seconds are measured."""
    rows = [
        row
        for case in PHASE.cases
        for group in case.groups
        for row in runs.measured(case, 1e-3 * slow(*group))
        if row.ranks == group
    ]
    run = load(runs.folder(tmp_path / "run", rows, PHASE.cases, where=H100, backend="nccl"))
    return [verdict for verdict in judge(run, runs.LOCAL).verdicts if verdict.check == "nvlink.pairs"]


def test_every_pair_of_gpus_meets_once():
    pairs = [group for case in PHASE.cases for group in case.groups]
    assert sorted(tuple(sorted(pair)) for pair in pairs) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


def test_pairs_that_are_alike_pass(tmp_path):
    assert [verdict.status for verdict in judged(tmp_path, lambda a, b: 1 + 0.01 * a)] == [Status.PASS]


def test_a_slow_pair_is_named(tmp_path):
    found = judged(tmp_path, lambda a, b: 2 if {a, b} == {1, 2} else 1)
    assert [verdict.status for verdict in found] == [Status.FAIL]
    assert {"GPU 1", "GPU 2"} == set(found[0].subject.split(" – "))
    assert found[0].value == pytest.approx(0.5)


def test_a_gpu_slow_with_all_others_is_named_by_itself(tmp_path):
    found = judged(tmp_path, lambda a, b: 3 if 3 in (a, b) else 1)
    assert "GPU 3" in {verdict.subject for verdict in found}
    assert {verdict.status for verdict in found} == {Status.FAIL}


@pytest.mark.parametrize("kept", [1, 2, 5])
def test_a_pair_that_is_missing_is_named_and_is_no_pass(tmp_path, kept):
    rows = [row for case in PHASE.cases for row in runs.measured(case)][:kept]
    run = load(runs.folder(tmp_path / "run", rows, PHASE.cases, where=H100, backend="nccl"))
    found = [verdict for verdict in judge(run, runs.LOCAL).verdicts if verdict.check == "nvlink.pairs"]
    assert [verdict.status for verdict in found] == [Status.INCONCLUSIVE]
    assert "was planned and not measured" in found[0].measured


def test_a_pair_without_a_time_is_no_pass(tmp_path):
    first, *rest = [row for case in PHASE.cases for row in runs.measured(case)]
    rows = [replace(first, pipelined=()), *rest]
    run = load(runs.folder(tmp_path / "run", rows, PHASE.cases, where=H100, backend="nccl"))
    found = [verdict for verdict in judge(run, runs.LOCAL).verdicts if verdict.check == "nvlink.pairs"]
    pair = " – ".join(f"GPU {rank}" for rank in first.ranks)
    assert [(verdict.status, verdict.subject) for verdict in found] == [(Status.INCONCLUSIVE, pair)]


def test_pairs_that_were_planned_and_not_measured_are_no_pass(tmp_path):
    run = load(runs.folder(tmp_path / "run", [], PHASE.cases, where=H100, backend="nccl"))
    found = [verdict for verdict in judge(run, runs.LOCAL).verdicts if verdict.check == "nvlink.pairs"]
    assert [verdict.status for verdict in found] == [Status.INCONCLUSIVE]
