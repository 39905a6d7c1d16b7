"""Blame: planted faults are demanded back by name, and silence from noise."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.judge.blame import (
    Answer,
    Background,
    BlameRules,
    NvlinkRate,
    PairRate,
    Subject,
    Symptom,
    Test,
    blame,
    confirmations,
)
from bench.judge.blame.find_culprits import suspected
from bench.judge.blame.matrix import matrix
from bench.model.rounds import rounds
from bench.model.verdict import Status

LINE = 46e9
RULES = BlameRules(nominal=LINE)
Loss = Callable[[str, str, str], float]
"""Share lost from a sender to a receiver on a rail."""


def names(n: int) -> tuple[str, ...]:
    return tuple(f"n{i}" for i in range(n))


def tracks(count: int) -> tuple[str, ...]:
    return tuple(f"mlx5_{i + 1}" for i in range(count))


def lossless(sender: str, receiver: str, rail: str) -> float:
    return 0.0


def port(node: str, rail: str, lost: float, way: str = "both") -> Loss:
    def loss(sender: str, receiver: str, on: str) -> float:
        hit = (way != "rx" and sender == node) or (way != "tx" and receiver == node)
        return lost if hit and on == rail else 0.0

    return loss


def node_of(node: str, lost: float) -> Loss:
    return lambda sender, receiver, rail: lost if node in (sender, receiver) else 0.0


def path(sender: str, receiver: str, rail: str, lost: float, way: str = "both") -> Loss:
    both = {(sender, receiver), (receiver, sender)} if way == "both" else {(sender, receiver)}
    return lambda a, b, on: lost if (a, b) in both and on == rail else 0.0


def worst(*losses: Loss) -> Loss:
    return lambda a, b, rail: max(loss(a, b, rail) for loss in losses)


def transfer(rng: random.Random, noise: float, lost: float) -> float:
    return LINE * (1 - lost) * max(rng.gauss(1, noise), 0.01)


def first_pass(n: int, rails: int, loss: Loss, rng: random.Random, noise: float = 0.01) -> list[PairRate]:
    """All pairs on all rails, both directions timed each."""
    return [
        PairRate(turn, a, b, rail, way, transfer(rng, noise, loss(*ends, rail)))
        for turn, meets in enumerate(rounds(names(n)))
        for a, b in meets
        for rail in tracks(rails)
        for way, ends in (("ab", (a, b)), ("ba", (b, a)))
    ]


def retake(tests: Iterable[Test], loss: Loss, rng: random.Random, noise: float = 0.01) -> list[PairRate]:
    """The tests, seven times each; those across rails are as slow as ``loss`` says of their first rail."""
    return [
        PairRate(1000 + turn, t.a, t.b, t.rail, way, transfer(rng, noise, loss(*ends, t.rail)), again=True)
        for turn in range(7)
        for t in tests
        if not t.rail_b
        for way, ends in (("ab", (t.a, t.b)), ("ba", (t.b, t.a)))
    ]


def settle(
    n: int, rails: int, loss: Loss, seed: int = 1, rules: BlameRules = RULES, known: Background | None = None
) -> Answer:
    """As on a cluster: all pairs, suspects again, judged."""
    rng = random.Random(seed)
    rows = first_pass(n, rails, loss, rng)
    for _ in range(2):
        rows += retake(confirmations(rows, rules, known), loss, rng)
    return blame(rows, rules, known)


def named(answer: Answer) -> set[Subject]:
    assert all(row.alternatives == () for row in answer.named), [row.text for row in answer.named]
    return {row.subject for row in answer.named}


PORT = Subject("port", "n1", rail="mlx5_2")
FAULTS: dict[str, tuple[Loss, Subject]] = {
    "port": (port("n1", "mlx5_2", 0.08), PORT),
    "dead port": (port("n1", "mlx5_2", 1.0), PORT),
    "port sends slowly": (port("n1", "mlx5_2", 0.08, "tx"), replace(PORT, direction="tx")),
    "port receives slowly": (port("n1", "mlx5_2", 0.08, "rx"), replace(PORT, direction="rx")),
    "node": (node_of("n1", 0.08), Subject("node", "n1")),
    "path": (path("n0", "n2", "mlx5_3", 0.08), Subject("path", "n0", "n2", "mlx5_3")),
    "path one way": (path("n2", "n0", "mlx5_3", 0.08, "one"), Subject("path", "n0", "n2", "mlx5_3", "ba")),
    "rail": (lambda a, b, rail: 0.08 if rail == "mlx5_1" else 0.0, Subject("rail", rail="mlx5_1")),
}


@pytest.mark.parametrize("n", [4, 5, 9])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named_and_nothing_else(n: int, fault: str) -> None:
    loss, subject = FAULTS[fault]
    answer = settle(n, 4, loss, seed=n)
    assert named(answer) == {subject}
    assert answer.status is Status.FAIL
    lost = 1.0 if fault == "dead port" else 0.08
    assert answer.named[0].lost == pytest.approx(lost, abs=0.02)
    assert answer.named[0].confidence > 0.95


@pytest.mark.parametrize("n", [4, 9])
@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_blames_nobody(n: int, seed: int) -> None:
    answer = settle(n, 4, lossless, seed)
    assert answer.blames == ()
    assert answer.status is Status.PASS


@pytest.mark.parametrize("seed", range(5))
def test_three_times_the_noise_blames_nobody_either(seed: int) -> None:
    rng = random.Random(seed)
    rows = first_pass(6, 4, lossless, rng, 0.03)
    for _ in range(3):
        rows += retake(confirmations(rows, RULES), lossless, rng, 0.03)
    answer = blame(rows, RULES)
    assert answer.blames == ()
    assert answer.noise == pytest.approx(0.03, rel=0.3)


def test_three_nodes_name_a_port_although_two_of_three_pairs_are_bad() -> None:
    assert named(settle(3, 4, port("n1", "mlx5_2", 0.2))) == {PORT}
    assert named(settle(3, 4, node_of("n1", 0.2))) == {Subject("node", "n1")}


def test_several_faults_at_once_are_all_named() -> None:
    loss = worst(
        port("n1", "mlx5_2", 0.3),
        port("n3", "mlx5_2", 0.1),
        path("n0", "n2", "mlx5_2", 0.2),
        node_of("n5", 0.1),
    )
    assert named(settle(9, 4, loss)) == {
        PORT,
        Subject("port", "n3", rail="mlx5_2"),
        Subject("path", "n0", "n2", "mlx5_2"),
        Subject("node", "n5"),
    }


def test_half_of_the_ports_of_a_rail_bad_are_ports_and_not_the_rail() -> None:
    loss = worst(*(port(f"n{i}", "mlx5_2", 0.1 + 0.05 * i) for i in range(4)))
    assert named(settle(8, 2, loss)) == {Subject("port", f"n{i}", rail="mlx5_2") for i in range(4)}


def test_all_ports_of_a_leaf_are_the_leaf() -> None:
    known = Background(
        leaves={(f"n{i}", rail): f"{rail}-leaf{i // 4}" for i in range(8) for rail in tracks(2)}
    )
    loss = worst(*(port(f"n{i}", "mlx5_2", 0.1) for i in range(4)))
    assert named(settle(8, 2, loss, known=known)) == {Subject("leaf", rail="mlx5_2", name="mlx5_2-leaf0")}


def test_a_port_much_slower_than_its_slow_node_is_named_beside_it() -> None:
    loss = worst(node_of("n1", 0.1), port("n1", "mlx5_2", 0.5, "rx"))
    assert named(settle(9, 4, loss)) == {Subject("node", "n1"), replace(PORT, direction="rx")}


def test_a_path_much_slower_than_the_slow_port_at_its_end_is_named_beside_it() -> None:
    loss = worst(port("n1", "mlx5_2", 0.2), path("n1", "n4", "mlx5_2", 0.6))
    assert named(settle(9, 4, loss)) == {PORT, Subject("path", "n1", "n4", "mlx5_2")}


def test_all_pairs_slower_than_nominal_are_the_fabric() -> None:
    answer = settle(4, 4, lambda a, b, rail: 0.3)
    assert named(answer) == {Subject("fabric")}
    assert answer.named[0].lost == pytest.approx(0.3, abs=0.01)


# two nodes: the pair is all there is


def two_nodes(loss: Loss, known: Background | None = None, across: Sequence[PairRate] = ()) -> Answer:
    rng = random.Random(3)
    rows = first_pass(2, 4, loss, rng)
    rows += retake(confirmations(rows, RULES, known), loss, rng)
    return blame([*rows, *across], RULES, known)


def test_two_nodes_cannot_tell_one_end_from_the_other_and_say_what_to_measure() -> None:
    (row,) = two_nodes(port("n1", "mlx5_2", 0.3)).named
    assert {row.subject, *row.alternatives} == {
        PORT,
        replace(PORT, node="n0"),
        Subject("rail", rail="mlx5_2"),
        Subject("path", "n0", "n1", "mlx5_2"),
    }
    assert "cannot tell" in row.text
    assert "measure n0 rail mlx5_2 against n1 rail mlx5_1" in row.next_step


def test_two_nodes_slow_on_all_rails_may_be_either_node_or_the_fabric() -> None:
    (row,) = two_nodes(node_of("n1", 0.3)).named
    assert {row.subject, *row.alternatives} == {
        Subject("fabric"),
        Subject("node", "n0"),
        Subject("node", "n1"),
    }


def test_a_sign_at_one_end_decides_between_two() -> None:
    sign = Symptom("n1", "mlx5_2", "symbol_error rose by 4711 in this phase")
    answer = two_nodes(port("n1", "mlx5_2", 0.3), Background(symptoms=(sign,)))
    assert named(answer) == {PORT}
    assert any("4711" in line for line in answer.named[0].evidence)


def test_signs_at_both_ends_decide_nothing() -> None:
    signs = tuple(Symptom(node, "mlx5_2", "link_downed rose by 1") for node in names(2))
    assert two_nodes(port("n1", "mlx5_2", 0.3), Background(symptoms=signs)).named[0].alternatives


@pytest.mark.parametrize(
    ("n0_lost", "n1_lost", "subject"),
    [
        (0.0, 0.3, PORT),
        (0.3, 0.0, replace(PORT, node="n0")),
        (0.0, 0.0, Subject("path", "n0", "n1", "mlx5_2")),
        (0.3, 0.3, Subject("rail", rail="mlx5_2")),
    ],
)
def test_cross_rail_transfers_decide_between_two(n0_lost: float, n1_lost: float, subject: Subject) -> None:
    across = [
        PairRate(9, a, b, "mlx5_2", way, LINE * (1 - lost), again=True, rail_b="mlx5_1")
        for a, b, lost in (("n0", "n1", n0_lost), ("n1", "n0", n1_lost))
        for way in ("ab", "ba")
    ]
    assert named(two_nodes(port("n1", "mlx5_2", 0.3), across=across)) == {subject}


def test_two_nodes_ask_for_the_cross_rail_transfers_that_decide() -> None:
    rows = first_pass(2, 4, port("n1", "mlx5_2", 0.3), random.Random(3))
    assert {(t.a, t.b, t.rail) for t in confirmations(rows, RULES) if t.rail_b} == {
        ("n0", "n1", "mlx5_2"),
        ("n1", "n0", "mlx5_2"),
    }


def test_two_nodes_without_a_nominal_rate_cannot_pass() -> None:
    answer = settle(2, 4, node_of("n1", 0.3), rules=BlameRules())
    assert answer.status is Status.INCONCLUSIVE
    assert "give the nominal rate" in answer.unknown[0]


# packets lost


def with_retransmits(rows: Iterable[PairRate], count: Callable[[str, str, str], float]) -> list[PairRate]:
    ends = {"ab": lambda row: (row.a, row.b), "ba": lambda row: (row.b, row.a)}
    return [replace(row, retransmits=count(*ends[row.direction](row), row.rail)) for row in rows]


def test_retransmissions_name_a_port_whose_rate_shows_nothing() -> None:
    def lossy(a: str, b: str, rail: str) -> float:
        return 180.0 if "n1" in (a, b) and rail == "mlx5_2" else 0.0

    rng = random.Random(5)
    rows = first_pass(4, 4, lossless, rng)
    rows += retake([Test("n0", "n1", "mlx5_2"), Test("n1", "n2", "mlx5_2")], lossless, rng)
    answer = blame(with_retransmits(rows, lossy), RULES)
    assert named(answer) == {PORT}
    assert answer.named[0].metric == "retransmits"
    assert any("retransmissions" in line for line in answer.named[0].evidence)


def test_a_few_retransmissions_are_nobodys_fault() -> None:
    rng = random.Random(6)
    rows = with_retransmits(first_pass(4, 4, lossless, rng), lambda a, b, rail: float(rng.randrange(12)))
    assert [row for row in blame(rows, RULES).blames if row.metric == "retransmits"] == []


def test_a_lossy_port_is_named_and_not_the_peer_that_it_slows_down() -> None:
    # 1 % loss in the lab: 69-73 % of the rate on some pairs; rates alone named the peer once
    def loss(a: str, b: str, rail: str) -> float:
        return (
            {"n0": 0.3, "n2": 0.28, "n3": 0.0}.get(a if b == "n1" else b, 0.0)
            if "n1" in (a, b) and rail == "mlx5_2"
            else 0.0
        )

    rng = random.Random(7)
    rows = first_pass(4, 4, loss, rng) + retake(
        [Test("n0", "n1", "mlx5_2"), Test("n1", "n2", "mlx5_2")], loss, rng
    )
    answer = blame(with_retransmits(rows, lambda a, b, r: 90.0 * ("n1" in (a, b) and r == "mlx5_2")), RULES)
    assert named(answer) == {PORT}


# GPUs


def test_a_port_whose_gpu_is_slow_inside_its_node_is_the_gpu() -> None:
    runs = tuple(
        NvlinkRate(node, rail, str(i), 300e9 if (node, rail) == ("n1", "mlx5_2") else 400e9)
        for node in names(4)
        for i, rail in enumerate(tracks(4))
    )
    gpu = Subject("gpu", "n1", rail="mlx5_2", name="1")
    assert named(settle(4, 4, port("n1", "mlx5_2", 0.2), known=Background(inside=runs))) == {gpu}
    alone = settle(4, 4, lossless, known=Background(inside=runs + runs))
    assert named(alone) == {gpu}
    assert alone.named[0].metric == "inside"


# re-measurement


def test_a_suspect_is_not_named_before_it_is_measured_again() -> None:
    rows = first_pass(4, 4, port("n1", "mlx5_2", 0.2), random.Random(1))
    answer = blame(rows, RULES)
    assert answer.named == ()
    assert [row.subject for row in answer.suspects] == [PORT]
    assert answer.status is Status.INCONCLUSIVE
    assert "confirmations()" in answer.unknown[0]


def test_what_was_slow_once_is_withdrawn() -> None:
    rng = random.Random(1)
    rows = first_pass(4, 4, path("n0", "n2", "mlx5_3", 0.3), rng)
    rows += retake(confirmations(rows, RULES), lossless, rng)
    answer = blame(rows, RULES)
    assert answer.named == ()
    assert answer.withdrawn == (Subject("path", "n0", "n2", "mlx5_3"),)
    assert answer.status is Status.PASS


def restless(often: float) -> Callable[[Loss, random.Random], Loss]:
    """A share ``often`` of all transfers is a tenth slower for once, wherever it is."""
    return lambda loss, rng: lambda a, b, rail: max(loss(a, b, rail), 0.1 if rng.random() < often else 0.0)


@pytest.mark.parametrize("seed", range(6))
def test_where_transfers_are_slow_now_and_then_chance_names_no_path(seed: int) -> None:
    rng = random.Random(seed)
    loss = restless(0.12)(lossless, rng)
    rows = first_pass(12, 8, loss, rng)
    for _ in range(3):
        rows += retake(confirmations(rows, RULES, limit=400), loss, rng)
    assert blame(rows, RULES).named == ()


def test_where_transfers_are_slow_now_and_then_a_slow_path_needs_more_looks() -> None:
    rng = random.Random(2)
    loss = restless(0.12)(path("n0", "n2", "mlx5_3", 0.3), rng)
    rows = first_pass(12, 8, loss, rng)
    rows += retake(confirmations(rows, RULES, limit=400), loss, rng)
    once = blame(rows, RULES)
    assert once.named == ()
    slow = Subject("path", "n0", "n2", "mlx5_3")
    assert slow in [row.subject for row in once.suspects]
    for _ in range(2):
        assert Test("n0", "n2", "mlx5_3") in confirmations(rows, RULES, limit=400)
        rows += retake(confirmations(rows, RULES, limit=400), loss, rng)
    assert named(blame(rows, RULES)) == {slow}


def test_a_slow_port_that_recovered_is_withdrawn() -> None:
    rng = random.Random(1)
    rows = first_pass(9, 4, port("n1", "mlx5_2", 0.3), rng)
    rows += retake(confirmations(rows, RULES), lossless, rng)
    answer = blame(rows, RULES)
    assert answer.named == ()
    assert PORT in answer.withdrawn


def test_suspects_meet_different_good_nodes() -> None:
    loss = worst(port("n1", "mlx5_2", 0.3), port("n3", "mlx5_2", 0.3))
    rows = first_pass(9, 2, loss, random.Random(1))
    tests = [t for t in confirmations(rows, RULES) if t.rail == "mlx5_2" and "n1" in (t.a, t.b)]
    partners = {t.a if t.b == "n1" else t.b for t in tests}
    assert len(partners - {"n3"}) >= 3


def test_the_limit_keeps_the_deepest_suspects() -> None:
    rows = first_pass(
        9, 4, worst(path("n0", "n2", "mlx5_3", 0.5), path("n4", "n5", "mlx5_1", 0.2)), random.Random(1)
    )
    assert confirmations(rows, RULES, limit=1) == (Test("n0", "n2", "mlx5_3"),)
    assert suspected(matrix(rows), RULES, Background())[0].subject == Subject("path", "n0", "n2", "mlx5_3")


# what cannot be determined


def test_no_rows_are_could_not_tell() -> None:
    answer = blame([])
    assert answer.status is Status.INCONCLUSIVE
    assert answer.unknown == ("no pair of nodes was measured; measure all pairs",)


def test_nothing_but_nan_is_could_not_tell() -> None:
    rows = [replace(row, rate=math.nan) for row in first_pass(4, 2, lossless, random.Random(1))]
    assert blame(rows).status is Status.INCONCLUSIVE
    assert "no transfer has a usable rate" in blame(rows).unknown[0]


def test_nothing_getting_through_is_the_fabric() -> None:
    rows = [replace(row, rate=0.0) for row in first_pass(4, 2, lossless, random.Random(1))]
    answer = blame(rows)
    assert named(answer) == {Subject("fabric")}
    assert answer.named[0].lost == 1.0


def test_a_pair_that_was_not_measured_is_not_healthy() -> None:
    rows = [
        row for row in first_pass(4, 2, lossless, random.Random(1), 0.001) if {row.a, row.b} != {"n0", "n3"}
    ]
    answer = blame(rows, RULES)
    assert answer.status is Status.INCONCLUSIVE
    assert (answer.measured, answer.expected) == (20, 24)
    assert "4 of 24 transfers have no measurement" in answer.unknown[0]


def test_a_node_that_no_row_mentions_is_missing() -> None:
    rows = first_pass(3, 2, lossless, random.Random(1), 0.001)
    assert blame(rows, RULES).status is Status.PASS
    answer = blame(rows, RULES, Background(nodes=names(4)))
    assert answer.status is Status.INCONCLUSIVE
    assert "n3 rail" in answer.unknown[0]


@pytest.mark.parametrize("rate", [math.nan, math.inf, -1.0, 1.5e15, 0.75])
def test_one_row_without_a_rate_does_not_pass(rate: float) -> None:
    rows = first_pass(4, 2, lossless, random.Random(1), 0.001)
    rows[5] = replace(rows[5], rate=rate)
    answer = blame(rows, RULES)
    assert answer.status is Status.INCONCLUSIVE
    assert "1 row without a possible rate" in answer.unknown[0]


def test_a_path_measured_one_way_only_is_blamed_that_way() -> None:
    loss, rng = path("n0", "n2", "mlx5_3", 0.3), random.Random(1)
    rows = first_pass(4, 4, loss, rng)
    rows += retake([Test("n0", "n2", "mlx5_3")], loss, rng)
    rows = [row for row in rows if (row.a, row.b, row.rail, row.direction) != ("n0", "n2", "mlx5_3", "ab")]
    assert named(blame(rows, RULES)) == {Subject("path", "n0", "n2", "mlx5_3", "ba")}


def test_a_time_for_both_directions_names_no_direction() -> None:
    rng = random.Random(1)
    loss = port("n1", "mlx5_2", 0.2)
    rows = [replace(r, direction="both") for r in first_pass(4, 4, loss, rng) if r.direction == "ab"]
    rows += [
        replace(r, direction="both")
        for r in retake(confirmations(rows, RULES), loss, rng)
        if r.direction == "ab"
    ]
    assert named(blame(rows, RULES)) == {PORT}


def test_two_dead_rails_of_one_node_suggest_swapped_cables() -> None:
    answer = settle(4, 4, worst(port("n2", "mlx5_1", 1.0), port("n2", "mlx5_2", 1.0)))
    assert named(answer) == {Subject("port", "n2", rail="mlx5_1"), Subject("port", "n2", rail="mlx5_2")}
    assert all("cables swapped" in row.next_step for row in answer.named)


@pytest.mark.parametrize(("a", "b", "way"), [("n0", "n0", "ab"), ("n0", "n1", "up")])
def test_a_row_that_is_no_pair_is_refused(a: str, b: str, way: str) -> None:
    with pytest.raises(ValueError, match="pair is two nodes|direction"):
        PairRate(0, a, b, "r", way, 1.0)


cells = st.tuples(
    st.sampled_from(["n0", "n1", "n2", "n3"]),
    st.sampled_from(["n0", "n1", "n2", "n3"]),
    st.sampled_from(["r1", "r2"]),
    st.sampled_from(["ab", "ba", "both"]),
    st.one_of(st.floats(), st.sampled_from([0.0, LINE, LINE / 2])),
    st.one_of(st.none(), st.floats(0, 1e6)),
    st.booleans(),
    st.sampled_from(["", "", "r2"]),
).filter(lambda row: row[0] != row[1])


@settings(max_examples=80)
@given(st.lists(cells, max_size=60))
def test_no_rows_crash_and_only_a_whole_measurement_passes(
    values: list[tuple[str, str, str, str, float, float, bool, str]],
) -> None:
    rows = [
        PairRate(0, a, b, rail, way, rate, sent, again, to)
        for a, b, rail, way, rate, sent, again, to in values
    ]
    known = Background(names(4), ("r1", "r2"))
    answer = blame(rows, RULES, known)
    tests = confirmations(rows, RULES, known)
    assert len(tests) <= 24
    assert answer.status is not Status.PASS or answer.measured == answer.expected == 24
    assert all(0 <= row.confidence <= 1 and row.evidence and row.next_step for row in answer.blames)
