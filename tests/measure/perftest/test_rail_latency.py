"""A rail that is slow to answer is named, with the end that is at fault where that is known; nothing missing passes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

import made_nodes
from bench.judge.checks import Evidence
from bench.measure.perftest.outcome import outcome
from bench.model.profile import Verbs, load, parse
from bench.model.run_folder_lines import PerftestSkipped, PerftestTool
from bench.model.verdict import Bound, Status
from layered import LAMBDA, RAILS
from said import COLUMNS, LATENCIES, RETRY, ended, latency, table

LAB = replace(LAMBDA, verbs=Verbs())  # without a bound: the other rails alone


def made(nodes, of, **more):
    """Latencies between neighbours in a ring of ``nodes``; ``of``: sender, receiver, rail → µs; None: left out."""
    pairs = list(pairwise(nodes)) + ([(nodes[-1], nodes[0])] if len(nodes) > 2 else [])
    every = ((a, b, rail) for a, b in pairs for rail in RAILS)
    return [latency(of(*each), *each, **more) for each in every if of(*each) is not None]


def verdicts(lines, count=2, profile=LAB, able=("n0", "n1", "n2")):
    nodes = made_nodes.nodes(count)
    tools = [PerftestTool(node.name, "6.24", latency=node.name in able) for node in nodes]
    run = replace(made_nodes.seen(nodes).run, perftest=(*tools, *lines))
    return made_nodes.judged("rails.latency", Evidence(run, profile), profile)


def bad(found):
    return [(each.subject, each.status) for each in found if each.status is not Status.PASS]


def even(a, b, rail):
    return 1.2 + 0.02 * rail


def slow(node, rail, micros):
    return lambda a, b, at: micros if at == rail and node in (a, b) else 1.3


def test_the_median_of_the_round_trips_is_read_of_perftests_own_table():
    assert outcome(latency(1.96)).latency == pytest.approx(1.96e-6)
    assert outcome(latency(0.0)).latency != outcome(latency(0.0)).latency  # a broken clock: no figure
    assert outcome(latency(1, client=ended(table(49.5e9)))).cause is not None  # the table of another tool


def test_rails_that_are_alike_pass_each_with_its_figure():
    (verdict,) = verdicts(made(["n0", "n1"], even))
    assert verdict.status is Status.PASS
    assert verdict.evidence[0] == "n0 mlx5_1/1: 1.22 µs one way"
    assert len(verdict.evidence) == 16


def test_of_two_nodes_nobody_knows_which_end_it_is():
    ((subject, status),) = bad(verdicts(made(["n0", "n1"], slow("n1", 3, 3.31))))
    assert (subject, status) == ("n0 mlx5_3/1 and n1 mlx5_3/1", Status.FAIL)


def test_a_rail_that_is_slow_with_each_partner_is_named_alone():
    found = verdicts(made(["n0", "n1", "n2"], slow("n1", 3, 5.0)), 3)
    assert bad(found) == [("n1 mlx5_3/1", Status.FAIL)]
    (named,) = (each for each in found if each.status is Status.FAIL)
    assert named.measured.startswith("a message takes 5 µs one way to n")
    assert named.wanted == "at most 3.3 µs"
    assert named.source == "the other rails between the same two nodes: 1.3 µs"


def test_a_rail_is_told_by_its_quickest_partner():
    lines = made(["n0", "n1", "n2"], lambda a, b, at: 2.9 if (a, b) == ("n0", "n1") else 1.3)
    (verdict,) = verdicts(lines, 3)
    assert {each.split(": ")[1] for each in verdict.evidence} == {"1.3 µs one way"}


def test_between_two_rails_that_are_well_with_others_it_is_the_path():
    found = verdicts(
        made(["n0", "n1", "n2"], lambda a, b, at: 5.0 if (a, b, at) == ("n0", "n1", 3) else 1.3), 3
    )
    assert bad(found) == [("n0 mlx5_3/1 and n1 mlx5_3/1", Status.FAIL)]


def test_switches_between_and_two_microseconds_are_no_fault():
    far = verdicts(made(["n0", "n1", "n2"], lambda a, b, at: 3.6 if (a, b) == ("n0", "n1") else 1.2), 3)
    assert bad(far) == []
    assert bad(verdicts(made(["n0", "n1"], slow("n1", 3, 3.29)))) == []
    # soft devices: 60 of 31 µs is twice as much, 63 is more
    assert bad(verdicts(made(["n0", "n1"], lambda a, b, at: 60.0 if at == 3 else 31.0))) == []
    assert bad(verdicts(made(["n0", "n1"], lambda a, b, at: 63.0 if at == 3 else 31.0)))


def test_a_second_look_that_is_quick_clears_a_rail():
    lines = made(["n0", "n1"], slow("n1", 3, 9.0)) + made(["n0", "n1"], even, again=True)
    assert bad(verdicts(lines)) == []


def test_all_alike_and_above_the_profiles_bound_fail():
    wanted = replace(LAB, verbs=Verbs(latency=Bound(5e-6, "5 us", "the vendor")))
    found = verdicts(made(["n0", "n1"], lambda a, b, at: 5.2), profile=wanted)
    assert {each.status for each in found} == {Status.FAIL}
    assert {(each.wanted, each.source) for each in found} == {("at most 5 µs", "the vendor")}
    assert bad(verdicts(made(["n0", "n1"], lambda a, b, at: 5.0), profile=wanted)) == []


def test_what_was_not_measured_does_not_pass():
    lost = verdicts(made(["n0", "n1"], lambda a, b, at: None if at == 3 else 1.3))
    assert bad(lost) == [("n0 mlx5_3/1, n1 mlx5_3/1", Status.INCONCLUSIVE)]
    assert bad(verdicts([]))[0][1] is Status.INCONCLUSIVE
    dead = [
        latency(
            1,
            rail=rail,
            client=ended(LATENCIES.format(hca="mlx5_3", columns=COLUMNS) + RETRY, 1) if rail == 3 else None,
        )
        for rail in RAILS
    ]
    (text,) = (each.measured for each in verdicts(dead) if each.status is not Status.PASS)
    assert "no acknowledgement came back" in text


def test_two_rails_and_no_bound_have_nothing_to_be_held_against():
    two = replace(LAB, rails=replace(LAB.rails, count=2, devices=("mlx5_1", "mlx5_2")))
    found = verdicts([latency(1.3, rail=1), latency(9.0, rail=2)], profile=two)
    assert {each.status for each in found} == {Status.NOT_APPLICABLE}
    assert "too few rails to compare" in " ".join(each.measured for each in found)


def test_without_the_tool_it_is_not_applicable_and_where_it_must_be_there_inconclusive():
    assert [each.status for each in verdicts([], able=("n0",))] == [Status.NOT_APPLICABLE]
    must = replace(LAB, verbs=Verbs("on"))
    assert [each.status for each in verdicts([], able=("n0",), profile=must)] == [Status.INCONCLUSIVE]
    assert [each.status for each in verdicts([PerftestSkipped("no time was left")])] == [
        Status.NOT_APPLICABLE
    ]


def test_the_bound_stands_in_a_profile_file():
    text = load("local").text + '\n[verbs]\nlatency_at_most = { value = "5 us", source = "me" }\n'
    assert parse(text, "x").verbs.latency.value == pytest.approx(5e-6)
