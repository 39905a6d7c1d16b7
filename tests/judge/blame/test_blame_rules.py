"""The rules behind a name, each by what it promises: what healthy is, how often to look again, when many are one."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judge.blame import Background, NvlinkRate, PairRate, Subject, blame, confirmations
from bench.judge.blame import transfers as paths
from bench.judge.blame.confirm import CHANCE, LEAST, MOST, repeats_needed
from bench.judge.blame.matrix import matrix
from bench.judge.blame.scale import Scale, centre
from bench.judge.blame.solve import _depths
from bench.judge.blame.wording import NEXT
from test_blame import (
    LINE,
    RULES,
    first_pass,
    lossless,
    names,
    node_of,
    path,
    port,
    retake,
    settle,
    tracks,
    worst,
)
from test_transfers import BOUNDED, MADE

# ── what healthy is ─────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(1, 40), st.floats(0.05, 0.95), st.integers(0, 9))
def test_the_fast_half_says_what_healthy_is_however_slow_the_others_are(half, slow, dead):
    rates = np.array([LINE] * (half + 1) + [LINE * (1 - slow)] * half + [0.0] * dead + [math.nan] * dead)
    assert centre(rates, 0.01) == LINE


@given(st.lists(st.floats(0.996, 1.004), min_size=1, max_size=30))
def test_of_healthy_rates_the_middle_is_what_healthy_is(shares):
    """Within the noise nobody is left out."""
    assert centre(LINE * np.array(shares), 0.01) == pytest.approx(LINE * float(np.median(shares)))


def test_nobody_who_passed_leaves_healthy_unknown():
    assert math.isnan(centre(np.array([0.0, math.nan]), 0.01)) and math.isnan(centre(np.array([]), 0.01))


@pytest.mark.parametrize("seed", range(5))
def test_one_lucky_transfer_is_not_what_healthy_is(seed):
    rng = np.random.default_rng(seed)
    rates = np.append(rng.normal(LINE, 0.01 * LINE, 200), 1.5 * LINE)
    assert centre(rates, 0.01) == pytest.approx(LINE, rel=0.005)


def test_a_rail_that_is_just_enough_loses_what_is_just_not_blamed():
    rules, (bound,) = paths.rules(BOUNDED), BOUNDED.limits
    assert rules.nominal is not None and 1 - bound.bound.value / rules.nominal == pytest.approx(
        rules.smallest
    )
    assert paths.rules(MADE).nominal is None


TURNED = {"ab": "ba", "ba": "ab", "tx": "rx", "rx": "tx", "both": "both", "": ""}


@pytest.mark.parametrize("way", ["tx", "rx"])
@pytest.mark.parametrize("lost", [0.04, 0.3])
@pytest.mark.parametrize("n", [3, 4, 6])
def test_who_sends_slowly_and_who_receives_slowly_are_judged_alike(n, lost, way):
    """Turn every transfer round: the same ports and paths are blamed as much, the other way."""
    rng, loss = (
        random.Random(n),
        worst(port("n1", "mlx5_2", lost, way), path("n0", "n2", "mlx5_1", lost, "one")),
    )
    rows = first_pass(n, 2, loss, rng, 0.02)
    for _ in range(2):
        rows += retake(confirmations(rows, RULES), loss, rng, 0.02)
    turned = [replace(row, direction=TURNED[row.direction]) for row in rows]
    there, back = (
        {(each.subject, each.lost, each.confirmed, each.alternatives) for each in blame(found, RULES).blames}
        for found in (rows, turned)
    )
    assert there == {
        (
            replace(who, direction=TURNED[who.direction]),
            lost,
            sure,
            tuple(replace(other, direction=TURNED[other.direction]) for other in others),
        )
        for who, lost, sure, others in back
    }


@pytest.mark.parametrize(("partners", "proves"), [(1, 7), (2, 14), (3, 3), (7, 7)])
def test_one_or_two_partners_prove_as_much_as_they_were_measured_and_more_by_their_number(partners, proves):
    """Each transfer is the middle of seven: on two or three nodes a small loss is seen only by measuring again."""
    n = partners + 1
    loss = np.where(np.eye(n, dtype=bool), np.nan, 0.0)
    _, floor = _depths(loss, np.full((n, n), 7.0), Scale(LINE, 0.02, 0.001, 4.0))
    assert floor == pytest.approx(np.full(2 * n, 4.0 * 0.02 / math.sqrt(proves)))


# ── how often to look again ─────────────────────────────────────────────────────────────────────────────


def chance(times: int, often: float) -> float:
    """That more than half of ``times`` looks are slow, by counting all that can come of them."""
    looks = itertools.product((True, False), repeat=times)
    return sum(
        math.prod(often if slow else 1 - often for slow in each) for each in looks if 2 * sum(each) > times
    )


@pytest.mark.parametrize(("often", "few"), [(0.002, True), (0.02, False), (0.12, False), (0.3, False)])
def test_as_many_looks_are_needed_as_leave_chance_no_name(often, few):
    rng = random.Random(4)
    first = [
        PairRate(
            row.round, row.a, row.b, row.rail, row.direction, LINE * (0.9 if rng.random() < often else 1)
        )
        for row in first_pass(12, 4, lossless, rng)
    ]
    slow = [row for row in first if row.rate < LINE]
    again = [
        PairRate(99 + n, row.a, row.b, row.rail, row.direction, LINE, again=True)
        for n in range(LEAST)
        for row in slow
    ]
    m = matrix([*first, *again])
    looks = repeats_needed(m, LINE, 0.05, np.zeros(m.rate.shape, bool))
    seen = len(slow) / len(first)
    assert (looks == LEAST) is few and looks % 2 == 1 and LEAST <= looks <= MOST
    assert looks == MOST or len(slow) * chance(looks, seen) <= CHANCE
    assert looks == LEAST or len(slow) * chance(looks - 2, seen) > CHANCE
    # what stays slow was no chance: then nobody has recovered, and the fewest looks will do
    stays = [PairRate(r.round, r.a, r.b, r.rail, r.direction, 0.9 * LINE, again=True) for r in again]
    m = matrix([*first, *stays])
    assert repeats_needed(m, LINE, 0.05, np.zeros(m.rate.shape, bool)) == LEAST
    m = matrix(first)
    assert repeats_needed(m, LINE, 0.05, np.zeros(m.rate.shape, bool)) == LEAST


# ── GPUs inside their nodes ─────────────────────────────────────────────────────────────────────────────


def test_a_gpu_that_was_slow_in_one_run_inside_its_node_is_suspected_and_in_two_named():
    runs = tuple(
        NvlinkRate(node, rail, str(at), 300e9 if (node, rail) == ("n1", "mlx5_2") else 400e9)
        for node in names(4)
        for at, rail in enumerate(tracks(4))
    )
    once = settle(4, 4, lossless, known=Background(inside=runs))
    twice = settle(4, 4, lossless, known=Background(inside=runs + runs))
    gpu = Subject("gpu", "n1", rail="mlx5_2", name="1")
    assert (once.named, [each.subject for each in once.suspects]) == ((), [gpu])
    assert ([each.subject for each in twice.named], twice.suspects) == ([gpu], ())
    (first,), (second,) = once.suspects, twice.named
    assert first.confidence < second.confidence and (first.confirmed, second.confirmed) == (False, True)


def test_a_gpu_whose_name_is_not_known_is_not_hidden_by_a_slow_port_of_its_node():
    runs = tuple(
        NvlinkRate(node, rail, "", 300e9 if (node, rail) == ("n1", "mlx5_2") else 400e9)
        for node in names(4)
        for rail in tracks(4)
    )
    said = settle(4, 4, port("n1", "mlx5_3", 0.2), known=Background(inside=runs + runs))
    assert {each.subject.kind for each in said.named} == {"port", "gpu"}


# ── when many are one ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("slow", "whole"), [(2, False), (3, False), (4, True)])
def test_a_node_is_slow_when_all_of_its_rails_are(slow, whole):
    loss = worst(*(port("n1", rail, 0.2) for rail in tracks(4)[:slow]))
    found = {each.subject for each in settle(5, 4, loss).named}
    ports = {Subject("port", "n1", rail=rail) for rail in tracks(4)[:slow]}
    assert found == ({Subject("node", "n1")} if whole else ports)


def test_a_node_of_one_rail_has_a_slow_port():
    assert [each.subject.kind for each in settle(5, 1, node_of("n1", 0.2)).named] == ["port"]


@pytest.mark.parametrize(("count", "scattered"), [(3, False), (4, True)])
def test_several_slow_paths_with_no_end_in_common_are_the_switches_links(count, scattered):
    loss = worst(*(path(f"n{2 * at}", f"n{2 * at + 1}", "mlx5_1", 0.3) for at in range(count)))
    found = settle(12, 2, loss).named
    assert [each.subject.kind for each in found] == ["path"] * count
    words = f"{count} paths of rail mlx5_1 are slow with no end in common: look at its switch links"
    assert {each.next_step for each in found} == {words if scattered else NEXT["path"]}


@pytest.mark.parametrize(
    ("losses", "twins"),
    [
        ([("n1", "mlx5_1", 1.0), ("n1", "mlx5_2", 1.0)], True),
        ([("n1", "mlx5_1", 1.0)], False),
        ([("n1", "mlx5_1", 1.0), ("n1", "mlx5_2", 1.0), ("n1", "mlx5_3", 1.0)], False),
        # the other is slow here, and dead on another node alone
        ([("n1", "mlx5_1", 1.0), ("n1", "mlx5_2", 0.3), ("n3", "mlx5_2", 1.0)], False),
    ],
)
def test_two_dead_rails_of_one_node_alone_may_be_swapped(losses, twins):
    answer = settle(6, 5, worst(*(port(*each) for each in losses)))
    steps = [each.next_step for each in answer.named if each.subject.node == "n1"]
    assert any("are their cables swapped" in step for step in steps) is twins, answer.named


def test_a_path_measured_again_is_not_named_for_what_its_slow_node_explains():
    rng, loss = random.Random(1), node_of("n1", 0.2)
    rows = first_pass(4, 4, loss, rng)
    rows += retake(confirmations(rows, RULES), loss, rng)
    assert [each.subject for each in blame(rows, RULES).named] == [Subject("node", "n1")]
