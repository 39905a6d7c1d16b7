"""RoCE pauses (PFC) and marks (ECN): planted into counters and demanded back; silence where all rails are alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.judge.checks import CHECKS
from bench.judge.evidence import Evidence
from bench.model.counters import Snapshot
from bench.model.profile import load
from bench.model.run_folder_lines import CounterLine
from bench.model.verdict import Status
from made_nodes import counted, judged, nodes, seen, status

SECOND = 1_000_000  # µs, in which drivers count
SECONDS = 10.0
PHASES = ("collectives", "ring", "pairs")
RX, TX, STORM = "rx_prio3_pause_duration", "tx_prio3_pause_duration", "tx_pause_storm_error_events"
RAILS = tuple(f"mlx5_{number}/1" for number in range(1, 9))
EVERYWHERE = {RX: 0, TX: 0, "tx_pause_storm_warning_events": 0, STORM: 0}


def run(*planted, count=3, without=(), counters=EVERYWHERE):
    """Three phases on nodes whose rails count pauses. ``planted``: (node, rail, phase, counter, growth), the rails of
    None; ``without``: (node, rail) that do not count.
    """
    machines = nodes(count)
    shots = [counted(each) for each in machines]
    own = [{rail: {} if (at, rail) in without else dict(counters) for rail in RAILS} for at in range(count)]
    lines = []
    for number, phase in enumerate(PHASES):
        for when in ("before", "after"):
            if when == "after":
                for node, rail, named, name, growth in planted:
                    for each in RAILS if rail is None else (rail,):
                        own[node][each][name] += growth if named == phase else 0
            at = 2 * SECONDS * number + (SECONDS if when == "after" else 0.0)
            found = [_with(shot, at, own[node]) for node, shot in enumerate(shots)]
            lines.append(CounterLine(phase, when, tuple(found)))
    return seen(machines, counters=lines, phases=PHASES)


def _with(shot: Snapshot, at: float, own) -> Snapshot:
    groups = {
        name: {**each, "ethtool": dict(own[name])} if own.get(name) else each
        for name, each in shot.readings.items()
    }
    return Snapshot(shot.time + at, at, groups)


def paused(rail, *phases, node=0, name=TX, seconds=2.0):
    return [(node, rail, phase, name, int(seconds * SECOND)) for phase in phases]


def bad(evidence: Evidence):
    return [
        each
        for each in judged("growth.pauses", evidence)
        if each.status in (Status.FAIL, Status.INCONCLUSIVE)
    ]


def test_rails_that_are_not_paused_pass():
    (verdict,) = judged("growth.pauses", run())
    assert verdict.status is Status.PASS
    assert verdict.measured == "no rail was paused for longer than the others (24 of 24 rails)"


@pytest.mark.parametrize(
    ("name", "words", "step"),
    [
        (TX, "paused its switch for 20.0 % of phase", "PCIe"),
        (RX, "was paused by its switch for 20.0 % of phase", "the rails that it sends to"),
        ("tx_global_pause_duration", "paused its switch", "PCIe"),
        ("pfc_pri5_rx_duration_us", "was paused by its switch", "the rails that it sends to"),
    ],
)
def test_a_rail_that_is_paused_in_two_phases_is_named(name, words, step):
    counters = {**EVERYWHERE, name: 0}
    (verdict,) = bad(run(*paused(RAILS[3], "ring", "pairs", node=1, name=name), counters=counters))
    assert (verdict.status, verdict.subject) == (Status.FAIL, "n1 mlx5_4/1")
    assert words in verdict.measured
    assert step in verdict.next_step
    assert "so in 2 phases" in verdict.measured


@pytest.mark.parametrize(
    "planted",
    [
        paused(RAILS[3], "ring"),  # one phase
        paused(RAILS[3], "ring", "pairs", seconds=0.09),  # less than 1 %
        [*paused(RAILS[3], "ring"), *paused(RAILS[3], "pairs", name=RX)],  # one phase in each direction
        [row for node in range(3) for row in paused(None, "ring", "pairs", node=node)],  # all alike
        [row for node in range(3) for row in paused(None, "ring", "pairs", node=node, seconds=0.21)]
        + paused(RAILS[3], "ring", "pairs", seconds=1.8),  # 9.6 times the others
        # all of the other nodes send to a root over one rail
        [row for node in (1, 2) for row in paused(RAILS[0], "ring", "pairs", node=node, name=RX)],
    ],
    ids=["one phase", "little", "either direction", "all", "nine times", "root"],
)
def test_what_all_have_or_was_short_is_no_fault(planted):
    assert bad(run(*planted)) == []


def test_one_rail_of_two_nodes_stands_out_among_all():
    (verdict,) = bad(run(*paused(RAILS[3], "ring", "pairs"), count=2))
    assert verdict.subject == "n0 mlx5_4/1"


def test_a_storm_fails_at_once():
    (verdict,) = bad(run((2, RAILS[0], "pairs", STORM, 1)))
    assert (verdict.status, verdict.subject, verdict.value) == (Status.FAIL, "n2 mlx5_1/1", 1.0)
    assert "tx_pause_storm_error_events grew by 1 in phase" in verdict.measured


def test_a_storm_that_was_before_the_run_is_no_fault():
    assert bad(run(counters={**EVERYWHERE, STORM: 5})) == []


def test_more_pause_than_time_is_not_known():
    (verdict,) = bad(run(*paused(RAILS[0], "ring", "pairs", seconds=11.0)))
    assert verdict.status is Status.INCONCLUSIVE
    assert "110.0 % of phase “collectives as a ring” as paused, which cannot be" in verdict.measured


def test_a_rail_that_does_not_count_as_the_others_do_is_not_known():
    (verdict,) = bad(run(without=[(1, RAILS[2])]))
    assert (verdict.status, verdict.subject) == (Status.INCONCLUSIVE, "n1 mlx5_3/1")
    assert "PFC may be off" in verdict.measured


def test_a_counter_that_was_reset_is_not_known():
    (verdict,) = bad(run((0, RAILS[0], "ring", RX, -5), counters={**EVERYWHERE, RX: 9}))
    assert (verdict.status, verdict.subject) == (Status.INCONCLUSIVE, "n0 mlx5_1/1")
    assert f"{RX} was reset or not read in phase “collectives as a ring”" in verdict.measured


@pytest.mark.parametrize(
    "evidence",
    [run(counters={}), replace(run(), profile=load("local"))],
    ids=["no rail counts", "no rails"],
)
def test_without_counters_it_is_not_applicable(evidence):
    (verdict,) = CHECKS["growth.pauses"](evidence)
    assert verdict.status is Status.NOT_APPLICABLE


def test_marks_are_compared_and_not_judged():
    evidence = run((1, RAILS[4], "ring", "rx_ecn_mark", 500), counters={**EVERYWHERE, "rx_ecn_mark": 0})
    (verdict,) = judged("growth.marks", evidence)
    assert verdict.status is Status.NOT_APPLICABLE
    assert verdict.measured == "rx_ecn_mark grew most on n1 mlx5_5/1, by 500; the median of 24 rails is 0"
    assert status("growth.pauses", evidence) is Status.PASS


@pytest.mark.parametrize(
    ("counters", "words"),
    [({}, "no rail counts marks"), ({"rx_ecn_mark": 3}, "no congestion was marked on a rail")],
)
def test_no_mark_is_told_apart_from_no_counter(counters, words):
    (verdict,) = judged("growth.marks", run(counters=counters))
    assert words in verdict.measured
