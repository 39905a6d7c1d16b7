"""All that blame says of planted faults, held to a golden file: who, how sure, by which evidence, what to do next."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.judge.blame import Background, BlameRules, NvlinkRate, Symptom, blame, confirmations
from bench.judge.blame.find_culprits import suspected
from bench.judge.blame.matrix import matrix
from golden import Golden, opened, shown
from test_blame import (
    FAULTS,
    RULES,
    Loss,
    first_pass,
    lossless,
    names,
    node_of,
    path,
    port,
    retake,
    tracks,
    with_retransmits,
    worst,
)  # fmt: skip

LEAVES = {(f"n{at}", rail): f"{rail}-leaf{at // 4}" for at in range(16) for rail in tracks(4)}
INSIDE = tuple(
    NvlinkRate(node, rail, str(at), 300e9 if (node, rail) == ("n1", "mlx5_2") else 400e9)
    for node in names(4)
    for at, rail in enumerate(tracks(4))
)
SIGNS = (Symptom("n1", "mlx5_2", "symbol_error rose by 4711"), Symptom("n0", "mlx5_1", "link is at 200 Gb/s"))


def scattered(count: int) -> Loss:
    """As many paths of n0 on one rail, each as slow as the others."""
    return worst(*(path("n0", f"n{at}", "mlx5_3", 0.2) for at in range(1, count + 1)))


Row = tuple[int, int, Loss, BlameRules, Background | None]
ROWS: dict[str, Row] = {
    **{
        f"{name}, {n} nodes": (n, 4, loss, RULES, None)
        for name, (loss, _) in FAULTS.items()
        for n in (2, 3, 6)
    },
    **{
        f"a port loses {lost:.1%}": (5, 4, port("n1", "mlx5_2", lost), RULES, None)
        for lost in (0.02, 0.03, 0.04, 0.3)
    },
    **{f"a node loses {lost:.0%}": (4, 4, node_of("n1", lost), RULES, None) for lost in (0.03, 0.5, 1.0)},
    **{f"{count} paths of a port": (6, 4, scattered(count), RULES, None) for count in (2, 3, 4)},
    "a node on three of four rails": (
        5, 4, worst(*(port("n1", rail, 0.2) for rail in tracks(3))), RULES, None
    ),
    "a node on two of four rails": (5, 4, worst(*(port("n1", rail, 0.2) for rail in tracks(2))), RULES, None),
    "a node of one rail": (5, 1, node_of("n1", 0.2), RULES, None),
    "ports that send and that receive": (
        5, 4, worst(port("n1", "mlx5_2", 0.2, "tx"), port("n3", "mlx5_2", 0.3, "rx")), RULES, None
    ),
    "a node and a worse port of it": (6, 4, worst(node_of("n1", 0.1), port("n1", "mlx5_2", 0.6)), RULES, None),
    "all is slow": (4, 4, lambda a, b, rail: 0.3, RULES, None),
    "all is slow, and nobody knows how fast it should be": (4, 4, lambda a, b, rail: 0.3, BlameRules(), None),
    "a port of a cluster without a nominal rate": (5, 4, port("n1", "mlx5_2", 0.2), BlameRules(), None),
    "a leaf": (
        8, 2, worst(*(port(f"n{at}", "mlx5_2", 0.1) for at in range(4))), RULES, Background(leaves=LEAVES)
    ),
    "most of a leaf": (
        8, 2, worst(*(port(f"n{at}", "mlx5_2", 0.1) for at in range(3))), RULES, Background(leaves=LEAVES)
    ),
    "a port with a sign": (4, 4, port("n1", "mlx5_2", 0.2), RULES, Background(symptoms=SIGNS)),
    "two nodes and a sign": (2, 4, port("n1", "mlx5_2", 0.2), RULES, Background(symptoms=SIGNS)),
    "two nodes, slow on all rails": (2, 4, node_of("n1", 0.2), RULES, None),
    "a GPU": (4, 4, port("n1", "mlx5_2", 0.2), RULES, Background(inside=INSIDE)),
    "a GPU whose port is as fast as all": (4, 4, lossless, RULES, Background(inside=INSIDE + INSIDE)),
    "a node that nobody measured": (4, 4, lossless, RULES, Background(nodes=names(5), rails=tracks(4))),
    "a rail that nobody measured": (4, 3, lossless, RULES, Background(nodes=names(4), rails=tracks(4))),
    "nobody": (6, 4, lossless, RULES, None),
}  # fmt: skip
STRANGE = ("lossy port", "part of it is missing", "nothing came back", "cleared by the second look")


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, Path(__file__).with_name("blame.txt"), [*ROWS, *STRANGE])


def said(rows, rules: BlameRules = RULES, known: Background | None = None) -> list[str]:
    answer = blame(rows, rules, known)
    lines = [shown(replace(answer, blames=()))]
    lines += [f"    {each.text}: {shown(replace(each, evidence=()))}" for each in answer.blames]
    return lines + [f"        {line}" for each in answer.blames for line in each.evidence]


@pytest.mark.parametrize("name", ROWS)
def test_what_is_said_of_a_planted_fault(golden: Golden, name: str) -> None:
    n, rails, loss, rules, known = ROWS[name]
    dice = random.Random(7)
    rows = first_pass(n, rails, loss, dice)
    lines = [f"first: {line}" for line in said(rows, rules, known)]
    lines += [f"suspect: {shown(each)}" for each in suspected(matrix(rows), rules, Background())]
    for _ in range(2):
        tests = confirmations(rows, rules, known)
        lines += [f"again: {shown(tests)}"]
        rows += retake(tests, loss, dice)
    golden.hold(name, [*lines, *said(rows, rules, known)])


def strange(name: str):
    dice = random.Random(9)
    bad = port("n1", "mlx5_2", 0.3)
    rows = first_pass(4, 4, bad, dice)
    if name == "lossy port":
        again = retake(confirmations(rows, RULES), bad, dice)
        return with_retransmits(
            rows + again, lambda a, b, rail: 180.0 * ("n1" in (a, b) and rail == "mlx5_2")
        )
    if name == "part of it is missing":
        return [
            replace(row, rate=math.nan) if row.b == "n3" and row.rail == "mlx5_4" else row for row in rows
        ]
    if name == "nothing came back":
        return [replace(row, rate=0.0 if "n2" in (row.a, row.b) else row.rate) for row in rows]
    return rows + retake(confirmations(rows, RULES), lossless, dice)


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_said_of_strange_figures(golden: Golden, name: str) -> None:
    golden.hold(name, said(strange(name)))
