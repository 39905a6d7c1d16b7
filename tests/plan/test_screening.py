"""Screening: planted faults are demanded back, and silence from healthy clusters."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.plan.screening import (
    LEAF_NODES,
    MOST_IN_PAIRS,
    Results,
    Ring,
    ScreeningTask,
    Step,
    across,
    groups,
    most_steps,
    nodes_by_leaf,
    step,
)
from bench.plan.screening.rings import links, rated, ring_text

RAILS = ("r1", "r2", "r3")
Loss = Callable[[str, str, str], float]


def problem(n: int, nominal: float | None = 100.0) -> ScreeningTask:
    return ScreeningTask(tuple(f"n{i:03d}" for i in range(n)), RAILS, nominal)


def healthy(sender: str, receiver: str, rail: str) -> float:
    return 0.0


def port(node: str, *rails: str, lost: float = 0.2) -> Loss:
    return lambda a, b, rail: lost if node in (a, b) and rail in rails else 0.0


def path(left: str, right: str, rail: str, lost: float = 0.2) -> Loss:
    return lambda a, b, on: lost if {a, b} == {left, right} and on == rail else 0.0


def ring_rates(ring: Ring, loss: Loss, rng: random.Random, noise: float, times: int = 1) -> dict[str, float]:
    """What a ring measures: on each rail its slowest link, both ways where two are a ring; the median of ``times``."""
    links = list(zip(ring, (*ring[1:], ring[0]), strict=True))
    return {
        r: median(
            min(100 * (1 - loss(a, b, r)) * rng.gauss(1, noise) for a, b in links) for _ in range(times)
        )
        for r in RAILS
    }


def screen(
    problem: ScreeningTask, loss: Loss, noise: float = 0.0, seed: int = 0, times: int = 1
) -> tuple[Step, list[Step], Results]:
    results: dict[Ring, dict[str, float]] = {}
    rng, steps = random.Random(seed), list[Step]()
    for _ in range(40):
        now = step(problem, results)
        if now.done:
            return now, steps, results
        steps.append(now)
        for ring in now.probes:
            assert ring not in results
            results[ring] = ring_rates(ring, loss, rng, noise, times)
    raise AssertionError("the screening does not end")


def found(last: Step) -> set[tuple[str, str, str, str]]:
    return {(each.kind, each.node, each.peer, each.rail) for each in last.findings}


@pytest.mark.parametrize("n", [2, 3, 4, 7, 9, 16, 33, 64, 128])
def test_a_healthy_cluster_takes_one_step_and_blames_nobody(n: int) -> None:
    last, steps, _ = screen(problem(n), healthy)
    assert found(last) == set()
    assert len(steps) == (2 if n > MOST_IN_PAIRS else 1)  # the rings across leaves share nodes with the first
    assert last.coverage.ports == last.coverage.ports_of == 3 * n


@pytest.mark.parametrize("n", [9, 16, 33, 64, 128])
@pytest.mark.parametrize("at", [0, 1, 5, -1])
def test_a_slow_port_is_named(n: int, at: int) -> None:
    asked = problem(n)
    node = asked.nodes[at]
    last, steps, _ = screen(asked, port(node, "r2", lost=0.05), noise=0.004, seed=n + at)
    assert found(last) == {("port", node, "", "r2")}
    assert not last.open
    assert len(steps) <= most_steps(asked.nodes)


@pytest.mark.parametrize("n", [9, 16, 64])
def test_a_node_slow_on_all_rails_is_the_node(n: int) -> None:
    assert found(screen(problem(n), port("n004", *RAILS))[0]) == {("node", "n004", "", "")}


@pytest.mark.parametrize("n", [9, 16, 33, 64])
def test_a_bad_link_between_two_good_nodes_of_a_ring_is_a_path(n: int) -> None:
    asked = problem(n)
    ring = groups(asked.nodes)[0]
    for a, b in zip(ring, (*ring[1:], ring[0]), strict=True):
        assert found(screen(asked, path(a, b, "r1"))[0]) == {("path", min(a, b), max(a, b), "r1")}


def test_a_bad_link_between_two_rings_is_not_found_and_that_is_said() -> None:
    asked = problem(64)
    last, _, results = screen(asked, path("n000", "n063", "r1"))
    assert found(last) == set()
    assert "a bad link between two good nodes is not found" in last.coverage.text
    seen = links([ring for ring, rates in results.items() if rated(rates, "r1")])
    assert frozenset(("n000", "n063")) not in seen
    assert len(seen) == 64


def test_a_rail_slow_in_all_rings_is_the_rail() -> None:
    last, steps, _ = screen(problem(16), lambda a, b, rail: 0.1 if rail == "r3" else 0.0)
    assert found(last) == {("rail", "", "", "r3")}
    assert len(steps) == 1


def test_all_slower_than_nominal_is_the_fabric() -> None:
    assert found(screen(problem(16), lambda a, b, rail: 0.3)[0]) == {("fabric", "", "", "")}


def test_without_a_nominal_rate_one_ring_alone_cannot_show_what_slows_all_rails() -> None:
    last, _, _ = screen(problem(3, nominal=None), lambda a, b, rail: 0.3)
    assert found(last) == set()
    assert "one ring and no nominal rate" in last.unknown[0]
    assert screen(problem(16, nominal=None), healthy)[0].unknown == ()


def test_two_faults_in_one_ring_and_one_in_another_are_all_named() -> None:
    faults = [port("n001", "r1"), port("n006", "r2"), port("n040", "r1")]
    last, _, _ = screen(problem(64), lambda a, b, rail: max(fault(a, b, rail) for fault in faults))
    assert found(last) == {("port", "n001", "", "r1"), ("port", "n006", "", "r2"), ("port", "n040", "", "r1")}


def test_a_suspect_meets_two_more_different_good_nodes_before_it_is_named() -> None:
    _, _, results = screen(problem(64), port("n001", "r1"))
    partners = {(set(ring) - {"n001"}).pop() for ring in results if len(ring) == 2 and "n001" in ring}
    assert len(partners & set(problem(64).nodes[8:])) >= 3


def test_what_is_slow_once_and_not_again_is_not_named() -> None:
    results: dict[Ring, dict[str, float]] = {}
    asked, first = problem(16), True
    while not (now := step(asked, results)).done:
        loss = port("n001", "r1") if first else healthy
        results |= {ring: ring_rates(ring, loss, random.Random(0), 0.0) for ring in now.probes}
        first = False
    assert now.findings == ()
    assert "once and not again" in now.unknown[0]


def test_when_time_ends_the_untraced_ring_is_said() -> None:
    asked = problem(16)
    results = {
        ring: ring_rates(ring, port("n001", "r1"), random.Random(0), 0.0) for ring in step(asked, {}).probes
    }
    assert "not traced" in step(asked, results).open[0]
    assert step(asked, results).findings == ()


@pytest.mark.parametrize("rate", [math.nan, math.inf, -1.0])
def test_a_ring_without_a_rate_is_unknown_and_not_good(rate: float) -> None:
    asked = problem(16)
    results = {ring: dict.fromkeys(RAILS, 100.0) for ring in groups(asked.nodes)}
    results[groups(asked.nodes)[0]]["r2"] = rate
    last = step(asked, results)
    assert "gave no rate on rail r2" in last.unknown[0]
    assert last.coverage.ports == 3 * 16 - 4


def test_a_dead_port_is_named_with_all_of_its_rate_lost() -> None:
    last, _, _ = screen(problem(16), port("n003", "r1", lost=1.0))
    assert [(each.kind, each.node, each.lost) for each in last.findings] == [("port", "n003", 1.0)]


def test_nothing_passing_at_all_is_could_not_tell() -> None:
    last, _, _ = screen(problem(16), lambda a, b, rail: 1.0)
    assert last.findings == ()
    assert "no ring gave a rate" in last.unknown[0]


def test_a_slow_leaf_is_the_leaf_and_not_all_of_its_ports() -> None:
    nodes = tuple(f"n{i:03d}" for i in range(64))
    leaves = {(node, rail): f"{rail}-{at // 32}" for at, node in enumerate(nodes) for rail in RAILS}
    asked = ScreeningTask(nodes, RAILS, 100.0, leaves=leaves)
    last, steps, _ = screen(
        asked, lambda a, b, rail: 0.2 if rail == "r2" and {a, b} & set(nodes[:32]) else 0.0
    )
    assert [(each.kind, each.name, each.rail) for each in last.findings] == [("leaf", "r2-0", "r2")]
    assert len(steps) == 1


def leaf_of(node: str) -> int:
    return int(node[1:]) // LEAF_NODES


def of_leaf(leaf: int, lost: float, inside: bool) -> Loss:
    """A leaf of rail r2 that is slow to other leaves and, where so said, ``inside``."""
    return lambda a, b, rail: (
        lost
        if rail == "r2" and leaf in (leaf_of(a), leaf_of(b)) and (inside or leaf_of(a) != leaf_of(b))
        else 0.0
    )


@pytest.mark.parametrize("n", [70, 96, 128, 200])
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_a_leaf_whose_uplinks_are_slow_is_named_on_many_nodes(n: int, inside: bool, known: bool) -> None:
    plain = problem(n)
    leaves = {(node, rail): f"{rail}-{leaf_of(node)}" for node in plain.nodes for rail in RAILS}
    asked = ScreeningTask(plain.nodes, RAILS, 100.0, leaves=leaves if known else {})
    last, _, _ = screen(asked, of_leaf(1, 0.2, inside), noise=0.004, seed=n)
    name = "r2-1" if known else "n032 to n063"
    assert [(each.kind, each.name, each.rail) for each in last.findings] == [("leaf", name, "r2")]
    assert not last.open and not last.unknown


@pytest.mark.parametrize(("a", "b"), [("n010", "n011"), ("n040", "n072")])
def test_a_link_of_a_long_ring_that_lost_a_twentieth_is_found_inside_a_leaf_and_between_two(
    a: str, b: str
) -> None:
    """Noise makes the slowest of 32 healthy links slow as well, by 2 %: that must not hide a part of what was lost."""
    for seed in range(20):
        last, _, _ = screen(problem(96), path(a, b, "r2", lost=0.05), 0.01, seed, times=5)
        assert found(last) == {("path", a, b, "r2")}, seed


def test_links_between_leaves_may_be_a_little_slower_than_inside() -> None:
    def between(lost: float) -> Loss:
        return lambda a, b, rail: lost if leaf_of(a) != leaf_of(b) else 0.0

    last, steps, _ = screen(problem(96), between(0.015), noise=0.004)
    assert (found(last), last.open, last.unknown, len(steps)) == (set(), (), (), 2)
    last, _, _ = screen(problem(96), between(0.1), noise=0.004)
    assert found(last) or last.unknown, "a tenth is no difference between near and far"


def test_of_two_leaves_that_are_slow_to_each_other_none_is_named() -> None:
    def between(a: str, b: str, rail: str) -> float:
        return 0.2 if rail == "r2" and (a < "n032") != (b < "n032") else 0.0

    last, _, _ = screen(problem(65), between, noise=0.004)
    assert found(last) == set() and "are slow to other leaves" in last.unknown[0]
    last, _, _ = screen(problem(65), lambda a, b, rail: 0.2 if rail == "r2" and max(a, b) >= "n032" else 0.0)
    assert [(each.kind, each.name) for each in last.findings] == [("leaf", "n032 to n064")]


def test_a_slow_uplink_hides_no_slow_port_elsewhere_nor_a_path_between_leaves() -> None:
    slow, far = of_leaf(2, 0.1, False), path("n001", "n033", "r3")
    port_ = port("n100", "r2", lost=0.4)

    def all_of(a: str, b: str, rail: str) -> float:
        return max(slow(a, b, rail), far(a, b, rail), port_(a, b, rail))

    last, _, _ = screen(problem(128), all_of, noise=0.004)
    assert found(last) == {("leaf", "", "", "r2"), ("path", "n001", "n033", "r3"), ("port", "n100", "", "r2")}


@pytest.mark.parametrize("nodes", [(), ("a",), ("a", "a")])
def test_fewer_than_two_nodes_are_refused(nodes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="two different nodes"):
        ScreeningTask(nodes, RAILS)


@settings(max_examples=60)
@given(st.integers(2, 200))
def test_rings_hold_every_node_once_and_none_is_alone(n: int) -> None:
    rings = groups([str(i) for i in range(n)])
    assert [node for ring in rings for node in ring] == [str(i) for i in range(n)]
    assert all(len(ring) >= 2 for ring in rings)
    assert max(map(len, rings)) <= (LEAF_NODES + 1 if n > MOST_IN_PAIRS else 2 * math.sqrt(n) + 1)
    crossing = across([str(i) for i in range(n)])
    assert sorted(node for ring in crossing for node in ring) == sorted(
        node for ring in rings for node in ring if crossing
    )
    assert all(len(ring) >= 2 for ring in crossing)


@settings(max_examples=60)
@given(st.integers(MOST_IN_PAIRS + 1, 200), st.data())
def test_the_ring_of_a_known_leaf_has_no_node_of_another(n: int, data: st.DataObject) -> None:
    nodes = [str(i) for i in range(n)]
    count = data.draw(st.integers(1, 9))
    of = {node: data.draw(st.integers(0, count)) for node in nodes}  # 0: nobody knows
    by_leaf = [tuple(node for node in nodes if of[node] == leaf) for leaf in range(1, count + 1)]
    rings = groups(nodes, by_leaf)
    assert sorted(node for ring in rings for node in ring) == sorted(nodes)
    assert all(2 <= len(ring) <= LEAF_NODES + 1 + count for ring in rings)
    if all(len(leaf) > 1 for leaf in by_leaf) and 0 not in of.values():
        alone = sum(len(leaf) % LEAF_NODES == 1 for leaf in by_leaf)
        assert sum(len({of[node] for node in ring}) > 1 for ring in rings) <= alone
    crossing = across(nodes, by_leaf)
    assert sorted(node for ring in crossing for node in ring) == sorted(nodes)


def test_rings_follow_the_leaves_and_not_the_order_of_the_nodes() -> None:
    nodes = tuple(f"n{i:03d}" for i in range(96))
    of = {node: at % 4 for at, node in enumerate(nodes)}  # as a scheduler deals them out
    leaves = {(node, rail): f"{rail}-{of[node]}" for node in nodes for rail in RAILS}
    leaves["n005", "r2"] = "r2-3"  # a cable on another leaf takes no node along
    by_leaf = nodes_by_leaf(nodes, leaves)
    assert [{of[node] for node in leaf} for leaf in by_leaf] == [{0}, {1}, {2}, {3}]
    assert groups(nodes, by_leaf) == by_leaf
    assert across(nodes, by_leaf)[0] == nodes[:4]

    def slow(a: str, b: str, rail: str) -> float:
        return 0.2 if rail == "r2" and (of[a] == 2) != (of[b] == 2) else 0.0

    last, _, _ = screen(ScreeningTask(nodes, RAILS, 100.0, leaves=leaves, by_leaf=by_leaf), slow, noise=0.004)
    assert [(each.kind, each.name, each.rail) for each in last.findings] == [("leaf", "r2-2", "r2")]


def test_no_leaves_are_made_up() -> None:
    nodes = ["a", "b", "c"]
    assert nodes_by_leaf(nodes, {}) == ()
    assert nodes_by_leaf(nodes, {("a", "r1"): "x", ("b", "r1"): "y", ("z", "r1"): "x"}) == ()
    assert nodes_by_leaf(nodes, {("a", "r1"): "x", ("b", "r1"): "x"}) == (("a", "b"),)


rates = st.one_of(st.floats(), st.sampled_from([0.0, 50.0, 99.0, 100.0, 101.0]))


@settings(max_examples=40)
@given(st.integers(2, 40), st.data())
def test_any_rates_end_and_no_node_is_in_two_probes_of_a_step(n: int, data: st.DataObject) -> None:
    asked, results = problem(n, nominal=None), dict[Ring, dict[str, float]]()
    rng = random.Random(data.draw(st.integers(0, 1000)))
    values = data.draw(st.lists(rates, min_size=1, max_size=6))
    for _ in range(10 * n):
        now = step(asked, results)
        busy = [node for ring in now.probes for node in ring]
        assert len(busy) == len(set(busy))
        assert "" not in busy
        if now.done:
            return
        results |= {ring: {rail: rng.choice(values) for rail in RAILS} for ring in now.probes}
    raise AssertionError("the screening does not end")


def test_a_long_ring_is_named_by_its_ends():
    assert ring_text(("n0", "n2", "n1")) == "ring n0 n2 n1"
    assert ring_text(tuple(f"n{at}" for at in range(32))) == "ring n0 n1 … n31 (32 nodes)"


@pytest.mark.parametrize(
    ("count", "text"), [(8, "ring n0 n1 n2 n3 n4 n5 n6 n7"), (9, "ring n0 n1 … n8 (9 nodes)")]
)
def test_a_ring_of_up_to_eight_nodes_is_said_whole(count: int, text: str) -> None:
    assert ring_text(tuple(f"n{at}" for at in range(count))) == text


def test_three_slow_rails_of_four_are_the_node_and_half_of_them_are_not() -> None:
    """With four rails, the node is named from three on, by what its middle rail loses."""
    four = ScreeningTask(tuple(f"n{i:03d}" for i in range(12)), ("r1", "r2", "r3", "r4"), 100.0)
    lost = {"r1": 0.2, "r2": 0.3, "r3": 0.4}
    last, _, _ = screen(four, lambda a, b, rail: lost.get(rail, 0.0) if "n003" in (a, b) else 0.0)
    assert found(last) == {("node", "n003", "", "")}
    assert last.findings[0].lost == pytest.approx(0.3, abs=0.01)
    last, _, _ = screen(four, port("n003", "r1", "r2"))
    assert found(last) == {("port", "n003", "", "r1"), ("port", "n003", "", "r2")}
