"""Groups by rules are the lists that they stand for, on every layout of ranks; templates are their rounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

import runs
from bench.model.case_templates import digest, packed, unpacked
from bench.model.groups import (
    Group,
    GroupRule,
    grid,
    group_of,
    group_sizes,
    runs_of,
    spans_of,
    turned,
    without,
)
from bench.model.measurement import Case
from bench.model.rounds import partner, round_count, rounds
from bench.model.typed_json import load, to_json
from bench.plan import AcceptOptions, Job, acceptance

LAYOUTS = {
    "node by node": lambda n, w: [tuple(range(at * w, at * w + w)) for at in range(n)],
    "in turn": lambda n, w: [tuple(range(at, n * w, n)) for at in range(n)],
    "with gaps": lambda n, w: [tuple(range(at * w, at * w + w)) for at in range(n + 2) if at not in (1, 3)],
    "in turn, with gaps": lambda n, w: [
        tuple(range(at, (n + 2) * w, n + 2)) for at in range(n + 2) if at not in (1, 3)
    ],
}
SHAPES = [(2, 1), (3, 2), (5, 8), (4, 3)]


def lists(rule: GroupRule, nodes: list[Group]) -> list[Group]:
    """What a rule says, in plain loops over the ranks of the ``nodes``."""
    width = rule.width
    if rule.kind == "round":
        locals_ = range(width) if rule.local < 0 else [rule.local]
        met = [
            (nodes[a][at], nodes[b][(at + rule.shift) % width])
            for a, b in rounds(range(len(nodes)))[rule.turn]
            for at in locals_
        ]
        return [(b, a) if rule.back else (a, b) for a, b in met]
    if rule.kind == "inside":
        return [(own[a], own[b]) for own in nodes for a, b in rounds(range(width))[rule.turn]]
    if rule.kind == "rings":
        orders = [
            [first + at * by for first, count, by in ring for at in range(count)] for ring in rule.rings
        ]
        return [tuple(nodes[at][local] for at in order) for order in orders for local in range(width)]
    ranks = [rank for own in nodes for rank in own]
    return {"all": [tuple(ranks)], "each": [(rank,) for rank in ranks], "nodes": nodes}[rule.kind]


def _two_rings(count: int) -> tuple[range, range]:
    """The last node is on none of them, unless it is alone."""
    return range(max(1, count - 1))[::-2], range(max(1, count - 1))[-2::-2]


def rules(nodes: list[Group]) -> list[GroupRule]:
    plain = grid(nodes)
    assert plain is not None
    count, width = len(nodes), plain.width
    return [
        *(replace(plain, kind=kind) for kind in ("all", "each", "nodes")),
        *(replace(plain, kind="inside", turn=turn) for turn in range(round_count(width))),
        replace(plain, kind="rings", rings=(runs_of((*range(count)[::2], *range(count)[1::2])),)),
        replace(plain, kind="rings", rings=tuple(runs_of(each) for each in _two_rings(count) if each)),
        *(
            replace(plain, kind="round", turn=turn, shift=shift, back=back, local=local)
            for turn in range(round_count(count))
            for shift in range(width)
            for back in (False, True)
            for local in (-1, 0, width - 1)
        ),
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_a_rule_is_the_lists_that_it_stands_for(layout, count, width):
    nodes = LAYOUTS[layout](count, width)
    for rule in rules(nodes):
        found = lists(rule, nodes)
        assert list(rule) == found and len(rule) == len(found) and rule == tuple(found)
        assert rule != (*found, (10_000,))
        assert group_sizes(rule) == {len(group) for group in found}
        assert rule.sound


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_the_group_of_a_rank_is_found_without_making_the_others(layout, count, width):
    nodes = LAYOUTS[layout](count, width)
    for rule in (made for plain in rules(nodes) for made in (plain, without(plain, nodes[0][:1]))):
        found = tuple(rule)
        for rank in range(-1, (count + 3) * width):
            assert group_of(rule, rank) == group_of(found, rank)
        assert all(group in rule for group in found) and (0, 10_000) not in rule


def test_who_meets_whom_is_known_without_the_round():
    for count in range(14):
        for turn, meets in enumerate(rounds(range(count))):
            known = dict(meets) | {b: a for a, b in meets}
            assert [partner(node, count, turn) for node in range(count)] == [
                known.get(node, -1) for node in range(count)
            ]


def test_nodes_that_are_not_alike_have_no_rule():
    assert grid([(0, 1), (2, 3, 4)]) is None
    assert grid([(0, 1, 3), (4, 5, 7)]) is None
    assert grid([(0, 2, 4), (3, 5, 7)]) is None
    assert grid([]) is None


def test_groups_without_ranks_and_turned():
    rule = GroupRule("round", ((0, 4),), 2, (2, 1))
    assert tuple(turned(rule)) == tuple((b, a) for a, b in rule) == turned(tuple(rule))
    assert tuple(without(rule, {1})) == without(tuple(rule), {1}) and len(without(rule, {1})) == 3


def test_stretches():
    assert spans_of([0, 1, 2, 5, 6, 9]) == ((0, 3), (5, 2), (9, 1))
    assert runs_of([0, 2, 4, 1, 3]) == ((0, 3, 2), (1, 2, 2))


UNSOUND = {
    "rounds that do not exist": {"kind": "round", "turn": 3},
    "more rounds than there are": {"kind": "round", "turns": 1 << 40},
    "a local rank that no node has": {"kind": "round", "local": 2},
    "a ring of a node that is not there": {"kind": "rings", "rings": (((0, 2, 4),),)},
    "a node twice on a ring": {"kind": "rings", "rings": (((0, 2, 0),),)},
    "a ring longer than the nodes": {"kind": "rings", "rings": (((0, 1 << 40, 1),),)},
    "an empty ring": {"kind": "rings", "rings": ((),)},
    "no rings": {"kind": "rings"},
    "ranks of two nodes": {"steps": (1, 1)},
}


@pytest.mark.parametrize("changes", UNSOUND.values(), ids=UNSOUND)
def test_a_rule_that_nobody_plans_is_not_sound(changes):
    plain = GroupRule("nodes", ((0, 4),), 2, (2, 1))
    assert plain.sound and not replace(plain, **changes).sound


def plan_of(nodes: int, **asked: object):
    names = tuple(f"mlx5_{at}/1" for at in range(1, 9))
    job = Job(runs.LOCAL, runs.ranks(nodes, 8), "nccl", AcceptOptions(**asked), names)
    return [phase.cases for phase in acceptance(job, 1.0)[0]]


@pytest.mark.parametrize("asked", [{}, {"cross": True}, {"ways": "one-way"}])
@pytest.mark.parametrize("nodes", [2, 3, 6, 9])
def test_templates_are_the_cases_that_they_stand_for_in_their_order(nodes, asked):
    for cases in plan_of(nodes, **asked):
        short = packed(cases)
        assert unpacked(short) == cases and digest(unpacked(short)) == digest(cases)
        assert unpacked(load(tuple[Case, ...], to_json(short))) == cases
        part = cases[1:]  # what is left of a phase that broke
        assert unpacked(packed(part)) == part


def test_all_rounds_of_all_pairs_are_three_templates():
    assert [len(packed(cases)) for cases in plan_of(20) if cases[0].phase == "rails"] == [3]


def test_neighbours_that_would_be_taken_for_one_round_stay_cases():
    """Slow rounds repeated: each of two rounds, twice."""
    (rails,) = [cases for cases in plan_of(6, ways="both") if cases[0].phase == "rails"]
    twice = tuple(
        replace(case, id=f"rails-again/{time}/{case.id.partition('/')[2]}")
        for time in (1, 2)
        for case in rails[1:3]
    )
    assert unpacked(packed(twice)) == twice
