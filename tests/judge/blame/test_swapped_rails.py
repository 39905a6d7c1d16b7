"""Swapped and stray rails, by transfers across rails and by the leaves; and silence where nothing is swapped."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.judge.blame import Background, BlameRules, PairRate, blame
from bench.judge.blame.swapped_rails import by_leaves
from bench.model.verdict import Status

NODES, RAILS, LINE = ("n0", "n1", "n2", "n3"), ("r1", "r2", "r3"), 46e9


def measured(swapped=(), apart=0.0, slow=lambda node, rail: 1.0, seed=0, nodes=NODES):
    """All pairs straight, and every node across the rails with two others; planes pass ``apart`` of the rate."""
    noise = np.random.default_rng(seed)
    plane = {(node, rail): rail for node in nodes for rail in RAILS}
    for node, one, other in swapped:
        plane[node, one], plane[node, other] = other, one

    def rate(a, i, b, j):
        own = min(slow(a, i), slow(b, j)) * (1.0 if plane[a, i] == plane[b, j] else apart)
        return LINE * own * float(noise.normal(1, 0.005)) if own else 0.0

    rows = [
        PairRate(0, a, b, rail, "ab", rate(a, rail, b, rail))
        for a, b in permutations(nodes, 2)
        for rail in RAILS
    ]
    ring = {frozenset((nodes[at], nodes[(at + 1) % len(nodes)])) for at in range(len(nodes))}
    rows += [
        PairRate(1, a, b, i, "ab", rate(a, i, b, j), rail_b=j)
        for a, b in permutations(nodes, 2)
        if frozenset((a, b)) in ring
        for i, j in permutations(RAILS, 2)
    ]
    return rows


def said(rows, known=None):
    answer = blame(rows, BlameRules(nominal=LINE), known or Background(NODES, RAILS))
    return answer, [
        (row.subject.kind, row.subject.node, row.subject.rail, row.subject.name) for row in answer.blames
    ]


@pytest.mark.parametrize("apart", [0.0, 0.5, 0.8, 0.9])
def test_swapped_rails_are_one_finding_and_nothing_else_is_named(apart):
    answer, found = said(measured((("n2", "r1", "r3"),), apart))
    assert found == [("swap", "n2", "r1", "r3")]
    assert answer.status is Status.FAIL
    assert answer.named[0].text == "n2 rails r1 and r3, swapped"
    assert "reaches" in answer.named[0].evidence[0]


def test_a_swap_has_lost_what_the_slower_of_its_rails_lost():
    """Rail r3 of n2 does not reach a plane that is apart at all; its twin does at half the rate."""
    rows = [
        replace(row, rate=row.rate * 0.5)
        if "n2" in (row.a, row.b) and {row.rail, row.rail_b} == {"r3", ""}
        else row
        for row in measured((("n2", "r1", "r3"),), apart=0.5)
    ]
    (swap,) = said(rows)[0].named
    assert (swap.subject.kind, swap.lost) == ("swap", pytest.approx(0.75, abs=0.02))


def test_a_port_without_a_figure_on_its_own_rail_is_not_said_to_be_swapped():
    rows = [
        replace(row, rate=math.nan)
        if "n2" in (row.a, row.b) and (row.rail, row.rail_b) == ("r1", "")
        else row
        for row in measured((("n2", "r1", "r3"),), apart=0.5)
    ]
    assert ("stray", "n2", "r1", "r3") not in said(rows)[1]


def test_nothing_swapped_is_silence_whether_planes_are_joined_or_not():
    for apart in (0.0, 0.5, 1.0):
        answer, found = said(measured(apart=apart))
        assert found == []
        assert answer.status is Status.PASS


def test_a_slow_port_is_slow_across_the_rails_too_and_is_no_swap():
    _, found = said(measured(apart=1.0, slow=lambda node, rail: 0.5 if (node, rail) == ("n1", "r2") else 1.0))
    assert found == [("port", "n1", "r2", "")]


def test_a_dead_port_on_planes_apart_is_no_swap():
    _, found = said(measured(slow=lambda node, rail: 0.0 if (node, rail) == ("n1", "r2") else 1.0))
    assert found == [("port", "n1", "r2", "")]


def test_two_swaps_on_two_nodes_are_two_findings():
    _, found = said(measured((("n0", "r1", "r2"), ("n3", "r2", "r3"))))
    assert sorted(found) == [("swap", "n0", "r1", "r2"), ("swap", "n3", "r2", "r3")]


def test_two_nodes_alone_cannot_tell_whose_rails_are_swapped():
    nodes = ("n0", "n1")
    _, found = said(measured((("n0", "r1", "r2"),), nodes=nodes), Background(nodes, RAILS))
    assert not any(kind in ("swap", "stray") for kind, *_ in found)


def test_without_the_pass_nobody_is_said_to_be_swapped():
    rows = [row for row in measured((("n2", "r1", "r3"),)) if not row.rail_b]
    _, found = said(rows)
    assert {kind for kind, *_ in found} == {"port"}


def leaves(swapped=(), stray=(), nodes=8):
    hung = {(f"n{at}", rail): f"leaf {rail}" for at in range(nodes) for rail in RAILS}
    for node, one, other in swapped:
        hung[node, one], hung[node, other] = hung[node, other], hung[node, one]
    for node, rail, leaf in stray:
        hung[node, rail] = leaf
    return hung


def test_leaves_tell_of_swapped_cables_that_no_rate_shows():
    assert by_leaves(leaves()) == ()
    found = by_leaves(leaves((("n3", "r1", "r2"),)))
    assert {(each.node, each.rail, each.as_rail) for each in found} == {
        ("n3", "r1", "r2"),
        ("n3", "r2", "r1"),
    }
    known = Background(NODES, RAILS, leaves((("n3", "r1", "r2"),)))
    answer, rows = said(measured((), 1.0), known)
    assert rows == [("swap", "n3", "r1", "r2")]
    assert answer.named[0].metric == "wiring"


def test_one_cable_in_the_wrong_leaf_is_a_stray():
    _, rows = said(measured((), 1.0), Background(NODES, RAILS, leaves(stray=(("n1", "r1", "leaf r3"),))))
    assert rows == [("stray", "n1", "r1", "r3")]


def test_a_fabric_without_rail_leaves_names_nobody():
    one_leaf = {(f"n{at}", rail): "leaf" for at in range(8) for rail in RAILS}
    assert by_leaves(one_leaf) == ()
    assert by_leaves({}) == ()


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from([0.0, 1.0, LINE / 2, LINE, math.nan, math.inf, -1.0]), min_size=1, max_size=5)
)
def test_any_rates_give_an_answer_and_never_a_pass_on_nothing(values):
    rows = [
        PairRate(1, a, b, i, "ab", values[at % len(values)], rail_b=j)
        for at, ((a, b), (i, j)) in enumerate(
            (pair, rails) for pair in permutations(NODES, 2) for rails in permutations(RAILS, 2)
        )
    ]
    assert blame(rows, BlameRules(), Background(NODES, RAILS)).status is not Status.PASS
