"""Every measured row is held against a bound or its equals: slow parts that other checks do not look at."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bench.judge.checks import CHECKS, Evidence
from bench.judge.problems import problems_of
from bench.judge.row_peers import again, comparisons
from bench.judge.verdicts import judge, spoken
from bench.model.profile import load
from bench.model.verdict import Status
from bench.store.rows import rows
from made_acceptance import acceptance_run, judged, slower, with_rows
from made_nodes import LAMBDA

GIGA = 1 << 30


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return acceptance_run(tmp_path_factory.mktemp("made"), 4)


def slow(run, times, wanted):
    """The run in which the rows that ``wanted`` names took so many times as long."""
    return with_rows(run, lambda case, row: slower(row, times) if wanted(case, row) else row)


def of(name, run, profile=LAMBDA):
    return list(CHECKS[name](Evidence(run, profile)))


def bad(name, run):
    return [each for each in of(name, run) if each.status in (Status.FAIL, Status.INCONCLUSIVE)]


@pytest.mark.parametrize("seed", range(6))
def test_a_healthy_run_passes_and_every_row_is_held_against_something(tmp_path, seed):
    healthy = acceptance_run(tmp_path, 2 + seed % 3, seed=seed, noise=0.01)
    status, found = judged(healthy)
    assert (status, found) == (Status.PASS, [])
    (verdict,) = of("limits.rows", healthy)
    assert verdict.status is Status.PASS
    assert verdict.measured.startswith("all ")


@pytest.mark.parametrize(
    ("phase", "name"),
    [
        *(("collectives", name) for name in ("all_to_all", "broadcast", "reduce", "gather", "scatter")),
        *(("pairs", name) for name in ("p2p", "p2p_bidirectional", "p2p_ring")),
    ],
)
def test_a_collective_at_a_tenth_fails_by_the_ceiling_though_no_bound_speaks_of_it(run, phase, name):
    found = bad(
        "limits.ceiling_share", slow(run, 10, lambda case, _: (case.phase, case.collective) == (phase, name))
    )
    assert [verdict.status for verdict in found] == [Status.FAIL] * len(found)
    assert {verdict.subject.split("/")[1] for verdict in found} == {name}
    assert "30 % of the ceiling" in found[0].wanted


def test_small_messages_that_take_longer_than_large_ones_do_not_pass(run):
    tampered = slow(run, 100, lambda case, _: case.phase == "collectives" and case.size < GIGA)
    found = bad("limits.equals", tampered)
    assert {verdict.subject.split("/")[1] for verdict in found} >= {"all_reduce", "all_to_all", "gather"}
    assert any("512 MiB take" in verdict.measured and "; 2 GiB take" in verdict.measured for verdict in found)


def test_a_node_slower_by_itself_than_the_others_is_named_by_both(run):
    tampered = slow(run, 10, lambda case, row: case.phase == "nodes" and row.ranks[0] == 16)
    (bound,) = bad("limits.alone", tampered)
    assert (bound.status, bound.subject) == (Status.FAIL, "n2")
    (equal,) = bad("limits.equals", tampered)
    assert equal.subject.startswith("n2, all_reduce")


def test_all_nodes_without_nvls_fail_by_what_a_healthy_one_reaches(run):
    found = bad("limits.alone", slow(run, 478 / 360, lambda case, _: case.phase == "nodes"))
    assert [(verdict.status, verdict.subject) for verdict in found] == [
        (Status.FAIL, f"n{at}") for at in range(4)
    ]
    assert "85.0 % of 480 GB/s" in found[0].wanted


def test_copies_of_one_gpu_and_of_all_are_judged(run):
    one = slow(run, 10, lambda case, row: case.phase == "copies" and row.ranks == (18,))
    assert {verdict.subject for verdict in bad("limits.equals", one)} >= {"n2 GPU 2, copy_to_device"}
    assert {verdict.status for verdict in bad("limits.host_copies", one)} == {Status.FAIL}
    beside = bad("limits.host_copies", one)[0].measured
    assert re.fullmatch(r"10\.\d % of its peers' rate \(5\.\d+ of 5\d\.\d+ GB/s\)", beside)
    (said,) = problems_of(judge(one, LAMBDA).run).first
    assert said.sentence == f"n2 GPU 2, copies from the host: {beside}"
    every = slow(run, 10, lambda case, _: case.phase == "copies")
    assert re.fullmatch(r"busbw 5\.\d+ GB/s \(.* Gb/s\)", bad("limits.host_copies", every)[0].measured)
    assert bad("limits.equals", every) == []
    assert len(bad("limits.host_copies", every)) == 64
    found = bad("limits.device_copies", every)
    assert len(found) == 32
    assert found[0].wanted == "at least 837.5 GB/s, 50.0 % of 3350 GB/s, read and written"


def test_host_memory_of_the_other_socket_is_no_finding(run):
    far = slow(run, 1.6, lambda case, row: case.collective.startswith("copy_to") and row.ranks[0] % 8 == 5)
    assert judged(far)[0] is Status.PASS


def test_a_gpu_that_is_slow_in_all_of_its_pairs_is_named_once(run):
    (found,) = bad(
        "limits.equals", slow(run, 2, lambda case, row: case.phase == "inside" and 14 in row.ranks)
    )
    assert found.subject == "n1 GPU 6"
    assert "slow in all 7 of its pairs" in found.measured


def test_one_slow_pair_is_named_with_both_gpus(run):
    (found,) = bad(
        "limits.equals", slow(run, 2, lambda case, row: case.phase == "inside" and row.ranks == (8, 9))
    )
    assert found.subject.startswith("n1 GPU 0 – GPU 1")


def measured_again(run, tampered, phase, times):
    """The tampered run in which the slow cases of a phase were measured again, so many times slower than healthy."""
    cases = again(phase, comparisons(rows(tampered)))
    assert {case.phase for case in cases} == {f"rerun-{phase}"}
    healthy = {(row.case, row.ranks): row for row in run.measurements}
    found = [
        slower(replace(healthy[f"{phase}/{case.id.partition('/')[2]}", group], case=case.id), times)
        for case in cases
        for group in case.groups
    ]
    like = next(each for each in run.plan.phases if each.name == phase)
    more = replace(like, name=f"rerun-{phase}", cases=cases)
    plan = replace(run.plan, phases=(*run.plan.phases, more))
    return replace(tampered, plan=plan, measurements=(*tampered.measurements, *found))


@pytest.mark.parametrize(("times", "status"), [(1, Status.PASS), (10, Status.FAIL)])
def test_what_is_slow_counts_when_it_is_slow_again(run, times, status):
    tampered = slow(run, 10, lambda case, row: case.phase == "copies" and row.ranks == (18,))
    (once,) = {verdict.status for verdict in bad("limits.equals", tampered)}
    assert once is Status.INCONCLUSIVE
    found = of("limits.equals", measured_again(run, tampered, "copies", times))
    assert {verdict.status for verdict in found} == {status}


def test_a_disturbance_of_one_size_that_does_not_come_back_passes(run):
    tampered = slow(run, 100, lambda case, _: case.phase == "collectives" and case.size == GIGA // 2)
    assert {verdict.status for verdict in bad("limits.equals", tampered)} == {Status.INCONCLUSIVE}
    assert bad("limits.equals", measured_again(run, tampered, "collectives", 1)) == []


@pytest.mark.parametrize(
    "check",
    ["limits.busbw", "limits.ceiling_share", "limits.alone", "limits.host_copies", "limits.device_copies"],
)
def test_a_row_whose_bound_lies_within_its_confidence_interval_is_inconclusive(run, check):
    wide = with_rows(run, lambda _, row: replace(row, width=3.0, stop="budget"))
    found = of(check, wide)
    assert {verdict.status for verdict in found} == {Status.INCONCLUSIVE}
    assert "150.0 % (95 % confidence)" in found[0].measured
    narrow = with_rows(run, lambda _, row: replace(row, width=0.02))
    assert {verdict.status for verdict in of(check, narrow)} == {Status.PASS}


def test_without_bounds_every_row_is_counted_aloud(run):
    (verdict,) = of("limits.rows", run, load("local"))
    assert verdict.status is Status.NOT_APPLICABLE
    assert verdict.measured.endswith(" have nothing to be compared with: the profile sets no floor for speed")
    count = sum(not row.case.startswith("evidence") for row in run.measurements)
    assert verdict.measured.startswith(f"{count} of {count} results ")
    bare = replace(LAMBDA, share_of_ceiling=None, alone=None)
    (verdict,) = of("limits.rows", run, bare)
    assert verdict.status is Status.NOT_APPLICABLE
    assert "nodes all_reduce" not in " ".join(verdict.evidence)
    assert any(line.startswith("pairs p2p_ring") for line in verdict.evidence)


def test_what_has_no_bound_is_told_with_the_verdict(run):
    from bench.judge.verdicts import judge

    assert any(" nothing to be compared with" in text for text in spoken(judge(run, load("local")).run))


def with_clocks(run, change):
    """The run with the SM clocks of each rank as ``change`` of its number, in Hz."""
    return replace(
        run,
        health=tuple(
            replace(line, cases=[replace(spell, clock_sm=[change(line.rank)] * 2) for spell in line.cases])
            for line in run.health
        ),
    )


@pytest.mark.parametrize(
    ("change", "status", "who"),
    [
        (lambda rank: 1.98e9, Status.PASS, "all GPUs"),
        (lambda rank: 1.755e9 if rank == 4 else 1.98e9, Status.PASS, "all GPUs"),
        (lambda rank: 345e6 if rank == 4 else 1.98e9, Status.FAIL, "n0 rank 4"),
        (lambda rank: 345e6, Status.INCONCLUSIVE, "n0 rank 0"),
    ],
)
def test_a_gpu_whose_clock_never_rises_is_named(run, change, status, who):
    found = of("gpus.clock", with_clocks(run, change))
    assert {verdict.status for verdict in found} == {status}
    assert found[0].subject.startswith(who)


def test_a_rank_whose_clock_nobody_saw_does_not_pass(run):
    blind = replace(run, health=tuple(line for line in run.health if line.rank != 3))
    assert [verdict.status for verdict in of("gpus.clock", blind)] == [Status.INCONCLUSIVE]
