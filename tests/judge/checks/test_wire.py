"""The checks of the wire: what fails, what is inconclusive, what is not applicable."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.judge.checks.wire_share import ceiling, share, target
from bench.judge.evidence import Evidence
from bench.judge.wire.row_reading import _single_node_algbw
from bench.model.collectives import collective
from bench.model.profile import load
from bench.model.units import GIGA
from bench.model.verdict import Status
from bench.plan import Request, sweep_cases
from bench.store import load as load_run
from tests import runs

H100, B200 = load("lambda-1cc-h100"), load("lambda-1cc-b200")
SIZE = 8 << 30


def seen(tmp_path, figures, where=None, profile=H100, nodes_busbw=None):
    """A run of (collective, algorithm, busbw in GB/s) at 8 GiB over the whole job."""
    where = where or runs.ranks(2, 8)
    everyone = (tuple(rank.rank for rank in where),)
    planned, measured = [], []
    for name, algorithm, busbw in figures:
        phase = "ring" if algorithm == "ring" else "collectives"
        planned += sweep_cases(phase, Request(name, SIZE, SIZE, algorithm=algorithm), everyone)
        measured += _at(planned[-1], busbw)
    if nodes_busbw:
        groups = (everyone[0][:8], everyone[0][8:])
        planned += sweep_cases("nodes", Request("all_reduce", SIZE, SIZE), groups)
        measured += _at(planned[-1], nodes_busbw)
    path = runs.folder(
        tmp_path / "run", rows=measured, planned=planned, where=where, profile=profile, backend="nccl"
    )
    run = load_run(path)
    return Evidence(run, profile)


def _at(case, busbw):
    seconds = case.size * collective(case.collective).factor(len(case.groups[0])) / (busbw * GIGA)
    return runs.measured(case, seconds)


def by_row(verdicts, collective_name="", algorithm=""):
    wanted = [v for v in verdicts if f"/{collective_name}/" in v.subject and v.subject.endswith(algorithm)]
    return wanted[0] if wanted else None


def test_57_percent_of_the_wire_fails_although_busbw_exceeds_400(tmp_path):
    """228 GB/s algbw on two nodes: busbw 427.5, hierarchical wire 57 % of 3200 Gb/s."""
    for number, profile in enumerate((H100, B200)):
        run = seen(tmp_path / str(number), [("all_reduce", "auto", 427.5)], profile=profile)
        assert run.rows[0].busbw > 400 * GIGA
        verdict = by_row(share(run), "all_reduce")
        assert verdict.status is Status.FAIL
        assert "57.0 %" in verdict.measured
        assert verdict.value == pytest.approx(0.57)


def test_a_healthy_b200_run_passes_by_what_its_wires_carry(tmp_path):
    verdict = by_row(share(seen(tmp_path, [("all_reduce", "auto", 696.1)], profile=B200)), "all_reduce")
    assert verdict.status is Status.PASS
    assert "2970.0 Gb/s" in verdict.measured
    assert "busbw 696.1 GB/s (5568.8 Gb/s)" in verdict.measured


def test_two_h100_nodes_are_skipped_where_the_forced_ring_tells(tmp_path):
    figures = [("all_reduce", "auto", 470), ("all_reduce", "ring", 365), ("all_gather", "ring", 361)]
    verdicts = list(share(seen(tmp_path, figures)))
    assert by_row(verdicts, "all_reduce", "in").status is Status.NOT_APPLICABLE
    assert "not a test of the rails" in by_row(verdicts, "all_reduce", "in").measured
    assert by_row(verdicts, "all_reduce", "ring").status is Status.PASS
    assert not [verdict for verdict in verdicts if verdict.status in (Status.FAIL, Status.INCONCLUSIVE)]


def test_two_h100_nodes_alone_cannot_tell(tmp_path):
    verdicts = list(share(seen(tmp_path, [("all_reduce", "auto", 470)])))
    assert [v.measured for v in verdicts if v.status is Status.INCONCLUSIVE and v.subject == "rails"]


def test_one_node_measured_slow_by_itself_is_what_limits_two(tmp_path):
    """The same row is below with a healthy node, and bound inside with nodes that are slow themselves."""
    fast = seen(tmp_path / "fast", [("all_reduce", "auto", 410)], nodes_busbw=480)
    slow = seen(tmp_path / "slow", [("all_reduce", "auto", 410)], nodes_busbw=390)
    assert by_row(share(fast), "all_reduce", "in").status is Status.FAIL
    assert by_row(share(slow), "all_reduce", "in").status is Status.NOT_APPLICABLE


@pytest.mark.parametrize("over", [range(8), range(4, 12)])
def test_a_row_over_two_nodes_is_no_single_node_whatever_its_phase(tmp_path, over):
    """A slow row of one node alone says that the node is the limit; one over both nodes says nothing of that."""
    fast = seen(tmp_path, [("all_reduce", "auto", 410)], nodes_busbw=480)
    node = next(row for row in fast.run.measurements if row.case.startswith("nodes/"))
    slow = replace(_at(fast.rows[-1].case, 390)[0], ranks=tuple(over))
    assert slow.case == node.case
    found = share(replace(fast, run=replace(fast.run, measurements=(*fast.run.measurements, slow))))
    alone = len({rank // 8 for rank in over}) == 1
    assert by_row(found, "all_reduce", "in").status is (Status.NOT_APPLICABLE if alone else Status.FAIL)


@pytest.mark.parametrize("each", [8, 4])
def test_what_one_node_reaches_follows_from_its_ranks_where_the_profile_leaves_them_open(tmp_path, each):
    several = replace(H100, gpus=0)
    found = _single_node_algbw(seen(tmp_path, [], runs.ranks(2, each), several))
    assert H100.alone is not None
    assert found == {"all_reduce": pytest.approx(H100.alone.value / (2 * (each - 1) / each))}
    ordered = _single_node_algbw(Evidence(seen(tmp_path / "8", [], runs.ranks(2, each)).run, H100))
    assert ordered == {"all_reduce": pytest.approx(H100.alone.value / 1.75)}


def test_a_slow_forced_ring_fails(tmp_path):
    verdict = by_row(share(seen(tmp_path, [("all_reduce", "ring", 331)])), "all_reduce", "ring")
    assert verdict.status is Status.FAIL
    assert "82.8 %" in verdict.measured


def test_a_bound_without_a_row_cannot_tell(tmp_path):
    verdicts = list(share(seen(tmp_path, [])))
    assert {verdict.status for verdict in verdicts} == {Status.INCONCLUSIVE}
    assert len(verdicts) == 3


def test_a_job_that_no_bound_describes_does_not_pass(tmp_path):
    """Eight ranks on one node and four on the other."""
    where = runs.ranks(2, 8)[:12]
    figures = [("all_reduce", "ring", 365), ("all_gather", "ring", 361)]
    found = [each for each in share(seen(tmp_path, figures, where)) if "/" in each.subject]
    assert found and {each.status for each in found} == {Status.INCONCLUSIVE}


def test_no_figure_cannot_pass_with_nan(tmp_path):
    case = sweep_cases("collectives", Request("all_reduce", SIZE, SIZE), (tuple(range(16)),))[0]
    path = runs.folder(
        tmp_path / "run", rows=(), planned=[case], where=runs.ranks(2, 8), profile=H100, backend="nccl"
    )
    run = replace(load_run(path), measurements=tuple(runs.measured(case, float("nan"), isolated=())))
    evidence = Evidence(run, H100)
    for check in (ceiling, share, target):
        assert Status.PASS not in {verdict.status for verdict in check(evidence)}


def test_a_figure_above_the_ceiling_is_a_measurement_error(tmp_path):
    (verdict,) = ceiling(seen(tmp_path, [("all_reduce", "auto", 800)]))
    assert verdict.status is Status.INCONCLUSIVE
    assert "750.0 GB/s" in verdict.wanted
    assert "the measurement is wrong" in verdict.message
    assert verdict.bound == pytest.approx(750 * GIGA)


@pytest.mark.parametrize("slow", [0.97, 1.0])
def test_a_figure_whose_blocks_reach_below_the_ceiling_is_not_called_wrong(tmp_path, slow):
    case = sweep_cases("collectives", Request("all_reduce", SIZE, SIZE), (tuple(range(16)),))[0]
    top = SIZE / (750 * GIGA / (2 * 15 / 16))
    blocks = tuple((top * share,) * 16 for share in (0.98, 0.99, 0.985, 0.99, slow))
    measured = runs.measured(case, top, pipelined=blocks)
    path = runs.folder(
        tmp_path / "run",
        rows=measured,
        planned=[case],
        where=runs.ranks(2, 8),
        profile=H100,
        backend="nccl",
    )
    run = load_run(path)
    (verdict,) = ceiling(Evidence(run, H100))
    assert verdict.status is (Status.INCONCLUSIVE if slow < 1 else Status.PASS)


def test_figures_below_their_ceilings_pass_and_are_counted(tmp_path):
    (verdict,) = ceiling(seen(tmp_path, [("all_reduce", "auto", 470), ("all_gather", "auto", 350)]))
    assert verdict.status is Status.PASS
    assert verdict.measured.startswith("2 rows")


def test_a_profile_without_rails_has_no_ceiling_and_says_so(tmp_path):
    evidence = seen(tmp_path, [("all_reduce", "auto", 470)], profile=runs.LOCAL)
    (verdict,) = ceiling(evidence)
    assert verdict.status is Status.NOT_APPLICABLE
    assert "names no rails" in verdict.measured
    unrated = replace(runs.LOCAL, rails=replace(H100.rails, rate=None, target=None))
    (verdict,) = ceiling(replace(evidence, profile=unrated))
    assert "gives no rate of its rails" in verdict.measured
    (verdict,) = target(evidence)
    assert verdict.status is Status.NOT_APPLICABLE
    assert list(share(evidence)) == []


def test_the_target_verdict_holds_all_readings_as_evidence(tmp_path):
    (verdict,) = target(seen(tmp_path, [("all_reduce", "ring", 365), ("all_gather", "ring", 361)]))
    assert verdict.status is Status.INCONCLUSIVE
    assert any(line.startswith("Ring all_reduce: 365.0 GB/s (2920.0 Gb/s)") for line in verdict.evidence)
    assert any("no counters were recorded" in line for line in verdict.evidence)
    assert verdict.next_step
