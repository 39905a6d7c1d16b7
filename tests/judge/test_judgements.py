"""Judgements that nothing else sees: each of these tests fails when one of them is turned into a PASS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench import __version__
from bench.judge.checks import screening
from bench.judge.drift.judge_series import Label
from bench.judge.drift.series import _status
from bench.judge.drift.wording import _next_step, _wanted
from bench.judge.evidence import Evidence
from bench.judge.fabric.links import ExpectedPort, hca_ports
from bench.judge.findings import Criterion, Finding
from bench.judge.wire.group_shape import NO_LAYOUT
from bench.model.verdict import Status, Verdict
from bench.plan.screening import Coverage, ScreenedFault, Step
from bench.probe.fabric.ask_all import look
from bench.probe.fabric.ask_all import seen as seen_fabric
from bench.probe.fabric.run_tools import ToolExit
from bench.store import IMPORTED, Run, Settings
from bench.store.run import SetAside
from made_nodes import LAMBDA, LOCAL, judged, nodes, seen, way, with_gpu, with_port

FABRIC = Path(__file__).parents[1] / "probe" / "fabric" / "data"
WHOLE = Coverage(16, 16, 8, 8)
DONE = Step((), (), (), (), WHOLE)


def only(name: str, evidence: Any, want: Any = LAMBDA) -> Verdict:
    (verdict,) = judged(name, evidence, want)
    return verdict


@pytest.mark.parametrize(("failed", "status"), [(True, Status.FAIL), (False, Status.INCONCLUSIVE)])
def test_a_node_that_was_set_aside_does_not_pass(failed, status):
    run = seen(nodes(2)).run
    gone = SetAside("n1", "n1 eth1", "198.18.1.11 is not reached", failed)
    verdict = only("coverage.nodes", replace_run(run, set_aside=(gone,)))
    assert (verdict.status, verdict.subject) == (status, "n1 eth1")


def replace_run(run: Run, **changes: Any) -> Evidence:
    """The evidence of a run whose manifest is another."""
    return Evidence(replace(run, manifest=replace(run.manifest, **changes)), LAMBDA)


def test_an_import_without_its_end_is_inconclusive():
    run = replace(seen(nodes(2)).run, ended=None)
    verdict = only("coverage.end", replace_run(run, launcher=IMPORTED))
    assert (verdict.status, verdict.source) == (Status.INCONCLUSIVE, "the tool that wrote it")


@pytest.mark.parametrize(
    ("changes", "phases", "whole"),
    [
        ({}, ["ring"], True),
        ({}, [], False),
        ({"launcher": IMPORTED}, ["ring"], False),
        ({"versions": {"railgauge": "0.0.1"}}, ["ring"], False),
    ],
)
def test_only_a_run_of_this_version_that_measured_by_itself_has_recorded_all(changes, phases, whole):
    """What an older version or another tool did not write was not lost."""
    made = {"versions": {"railgauge": __version__}, **changes}
    assert replace_run(seen(nodes(2), phases=phases).run, **made).records_all is whole


@pytest.mark.parametrize(
    ("settings", "status", "text"),
    [
        (Settings(faults=("Test failure",)), Status.FAIL, "Test failure"),
        (Settings(problems=("row 3 is cut",)), Status.INCONCLUSIVE, "row 3 is cut"),
        (Settings(layout=NO_LAYOUT), Status.INCONCLUSIVE, "do not say which ranks share a node"),
    ],
)
def test_an_import_that_failed_or_does_not_fit_together_does_not_pass(settings, status, text):
    found = judged("import.whole", replace_run(seen(nodes(2)).run, launcher=IMPORTED, settings=settings))
    assert any(each.status is status and text in each.measured for each in found)


def test_a_gpu_that_shares_a_rail_fails_and_one_whose_way_is_unknown_is_inconclusive():
    n0, n1 = nodes()
    shared = judged("gpus.rail", seen([n0, with_gpu(n1, 3, pci=way(2, 3))]))
    assert {each.subject for each in shared if each.status is Status.FAIL} >= {"n1 GPU 3"}
    unknown = judged("gpus.rail", seen([n0, with_gpu(n1, 3, pci=None)]))
    assert ("n1 GPU 3", Status.INCONCLUSIVE) in {(each.subject, each.status) for each in unknown}


def test_gpus_equally_near_to_fewer_rails_are_inconclusive():
    """Three GPUs at one switch with two adapters: which of them share one is not known."""
    n0, n1 = nodes()
    n1 = with_port(with_port(n1, "mlx5_3", pci=way(2, 1)), "mlx5_4", pci=way(2, 2))
    n1 = with_gpu(with_gpu(n1, 3, pci=way(2, 3)), 1, pci=way(2, 4))
    bad = [each for each in judged("gpus.rail", seen([n0, n1])) if each.status is not Status.PASS]
    assert {each.status for each in bad} == {Status.INCONCLUSIVE}
    assert all(
        text in " ".join(each.subject for each in bad) for text in ("n1 GPU 1", "n1 GPU 2", "n1 GPU 3")
    )


def test_a_guid_that_is_not_known_is_inconclusive():
    n0, n1 = nodes()
    unread = replace(n1, ports=tuple(replace(port, gid=None) for port in n1.ports))
    found = judged("rails.guids", seen([n0, unread]))
    assert [each.status for each in found] == [Status.INCONCLUSIVE]


def test_perftest_that_was_demanded_and_not_run_is_inconclusive():
    verbs = replace(LAMBDA, verbs=replace(LAMBDA.verbs, mode="on"))
    verdict = only("rails.layers", seen(nodes(2)), verbs)
    assert (verdict.status, verdict.measured) == (Status.INCONCLUSIVE, "perftest did not run")


# ── rings of nodes ──────────────────────────────────────────────────────────────────────────────────────


def screened(monkeypatch: pytest.MonkeyPatch, step: Step, name: str = "blame.screening") -> list[Verdict]:
    monkeypatch.setattr(screening, "screened", lambda evidence: step)
    evidence = seen(nodes(2), phases=["screen-1"])
    skipped = (("budget", "the run takes up to 5 min of 10 min"),)
    plan = replace(evidence.run.plan, skipped=skipped)
    return judged(name, replace(evidence, run=replace(evidence.run, plan=plan)))


def test_who_slows_a_ring_fails_and_a_ring_that_was_not_traced_is_inconclusive(monkeypatch):
    fault = ScreenedFault("port", "n1", "", "mlx5_3/1", 0.5, ("slow with n0",))
    (named,) = screened(monkeypatch, replace(DONE, findings=(fault,)))
    assert (named.status, named.subject) == (Status.FAIL, "n1 rail mlx5_3/1")
    for step in (
        replace(DONE, open=("ring n0 n1 is slow",)),
        replace(DONE, unknown=("no rate",)),
        replace(DONE, probes=(("n0", "n1"),)),
    ):
        assert [each.status for each in screened(monkeypatch, step)] == [Status.INCONCLUSIVE]
    assert [each.status for each in screened(monkeypatch, DONE)] == [Status.PASS]


def test_paths_that_no_ring_went_over_are_inconclusive(monkeypatch):
    def paths(coverage: Coverage) -> Status:
        found = screened(monkeypatch, replace(DONE, coverage=coverage), "coverage.budget")
        return next(each.status for each in found if each.subject == "paths")

    assert paths(WHOLE) is Status.PASS
    assert paths(replace(WHOLE, paths=7)) is Status.INCONCLUSIVE
    assert paths(replace(WHOLE, ports=15)) is Status.INCONCLUSIVE


# ── nights ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_night_with_wrong_results_or_below_its_bound_is_no_pass():
    night = Evidence(seen(nodes(2)).run, LOCAL)
    row = cast(Any, SimpleNamespace(wrong=0, case=SimpleNamespace(collective="none")))
    assert _status(row, 1.0, night) is Status.PASS
    assert _status(cast(Any, SimpleNamespace(**{**vars(row), "wrong": 1})), 1.0, night) is Status.FAIL
    assert _status(row, 0.0, night) is Status.INCONCLUSIVE


def test_a_night_that_was_not_measured_says_what_is_wanted_and_what_to_do():
    night = SimpleNamespace(
        status=Status.INCONCLUSIVE, label=Label.INSUFFICIENT, wants_rerun=False, cause=(), first=None
    )
    assert _wanted(cast(Any, night), None) == ("a figure every night", None)
    assert "see why it was not measured" in _next_step(cast(Any, night))
    moved = SimpleNamespace(**{**vars(night), "cause": ("driver",), "first": 1.0})
    assert "likely cause: driver" in _next_step(cast(Any, moved))


# ── the fabric, NCCL's log, words ───────────────────────────────────────────────────────────────────────


def test_a_port_that_hangs_on_no_switch_fails():
    def run(command: tuple[str, ...], limit: float) -> ToolExit:
        return ToolExit(0, (FABRIC / f"{command[0]}.healthy.txt").read_text(), "")

    fabric = seen_fabric(look(run=run))
    name = "node1 mlx5_2"
    alone = [row for row in fabric.rows if name not in (row.near.name, row.far.name if row.far else "")]
    own = next(row for row in fabric.rows if row.near.name == name)
    cut = replace(fabric, rows=(*alone, replace(own, far=None)))
    first, *_ = hca_ports(cut, [ExpectedPort(name, name)], 4, 25e9, "plan")
    assert (first.status, first.measured) == (Status.FAIL, "on no switch port")


def test_a_repair_stands_beside_each_failure():
    criterion = Criterion("x", on_fail="mend it", on_inconclusive="look again")
    steps = [criterion.verdict(Finding("n0", ok, "m")).next_step for ok in (True, False, None)]
    assert steps == ["", "mend it", "look again"]
