"""All that is said of each rail's layers and of its latency in made runs, held to a golden file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import made_nodes
from bench.judge.evidence import Evidence
from bench.judge.wire.rail_latency import culprits, of_latencies, why_unknown
from bench.judge.wire.rail_layers import RailRow, of_layers
from bench.model.profile import Verbs
from bench.model.run_folder_lines import PerftestTool
from bench.model.units import GIGA
from bench.model.verdict import Bound
from bench.store import Run
from golden import Golden, opened, shown
from layered import LAMBDA, even, run_of, transfers
from said import DOWN, ended, transfer
from test_rail_latency import made
from test_rail_layers import GONE, HERE, slow

PAIR = ["n0", "n1"]
SLOW_LINK = (made_nodes.with_port(made_nodes.node(), "mlx5_3", rate=25e9), made_nodes.node(1))
DOWN_LINK = (made_nodes.node(), made_nodes.with_port(made_nodes.node(1), "mlx5_4", state="DOWN"))


def refused(path: Path) -> Run:
    good = [each for each in transfers(PAIR, even(49.5e9)) if each.sender.hca != "mlx5_4"]
    bad = [
        transfer(sender=a, receiver=b, rail=4, server=ended(DOWN, 1), started=False)
        for a, b in (PAIR, PAIR[::-1])
    ]
    return run_of(path, DOWN_LINK, verbs=good + bad)


def without(run: Run, ranks: tuple[int, int]) -> Run:
    kept = tuple(each for each in run.measurements if {*each.ranks} != {*ranks})
    return replace(run, measurements=kept)


LAYERS: dict[str, Callable[[Path], Run]] = {
    "healthy": run_of,
    "a slow link": lambda path: run_of(path, SLOW_LINK, verbs=transfers(PAIR, slow("n0", 3, 24.8e9))),
    "a link that is down": refused,
    "one way": lambda path: run_of(path, verbs=transfers(PAIR, slow("n0", 5, 20e9, "out"))),
    "a direction that lacks": lambda path: run_of(path, verbs=transfers(PAIR, slow("n0", 5, 0, "out"))),
    "NCCL": lambda path: run_of(path, p2p=slow("n1", 2, 28e9, plain=48.5e9)),
    "just enough": lambda path: run_of(path, p2p=even(0.8801 * 49.5e9), ring=8 * 0.88 * 0.8811 * 49.5e9),
    "just too little": lambda path: run_of(path, p2p=even(0.8799 * 49.5e9), ring=8 * 0.88 * 0.8779 * 49.5e9),
    "verbs and NCCL": lambda path: run_of(
        path, verbs=transfers(PAIR, slow("n0", 1, 40e9)), p2p=slow("n0", 1, 10e9, plain=48.5e9)
    ),
    "a rail is left out": lambda path: run_of(path, shares=(0.0, *(1 / 7,) * 7)),
    "three nodes": lambda path: run_of(
        path, made_nodes.nodes(3), verbs=transfers(["n0", "n1", "n2"], slow("n2", 7, 30e9))
    ),
    "a pair that NCCL did not get through": lambda path: without(
        run_of(path, made_nodes.nodes(3), verbs=transfers(["n0", "n1", "n2"], even(49.5e9))), (2, 10)
    ),
    "a pair that NCCL is slow between": lambda path: run_of(
        path, made_nodes.nodes(3), verbs=transfers(["n0", "n1", "n2"], even(49.5e9)),
        p2p=lambda a, b, rail: 20e9 if {a, b} == {"n0", "n2"} and rail == 3 else 48.5e9,
    ),
    "a node lacks perftest": lambda path: run_of(
        path, made_nodes.nodes(3), verbs=transfers(PAIR, even(49.5e9)),
        tools=[HERE, PerftestTool("n1", "6.24"), replace(GONE, node="n2")],
    ),
    "nobody has perftest": lambda path: run_of(path, verbs=[], tools=[replace(GONE, node="n0"), GONE]),
    "no verbs": lambda path: run_of(path, verbs=[]),
    "no counters": lambda path: run_of(path, counters=False),
    "gloo": lambda path: run_of(path, backend="gloo"),
    "not asked for": lambda path: replace(run_of(path), perftest=()),
}  # fmt: skip
PROFILES = {
    "": LAMBDA,
    ", verbs wanted": replace(LAMBDA, verbs=Verbs("on")),
    ", a bound of verbs": replace(LAMBDA, verbs=Verbs("auto", Bound(45 * GIGA, "45 GB/s", "me"))),
    ", no rate": replace(LAMBDA, rails=replace(LAMBDA.rails, rate=None)),
}
NODES = ["n0", "n1", "n2"]
LATENCIES: dict[str, Callable[[str, str, int], float | None]] = {
    "alike": lambda a, b, rail: 1.2 + 0.02 * rail,
    "a slow rail": lambda a, b, rail: 5.0 if rail == 3 and "n1" in (a, b) else 1.3,
    "a slow path": lambda a, b, rail: 5.0 if rail == 3 and (a, b) == ("n0", "n1") else 1.3,
    "two slow paths": lambda a, b, rail: (
        {("n0", "n1"): 5.0, ("n1", "n2"): 7.0}.get((a, b), 1.3) if rail == 3 else 1.3
    ),
    "one that lacks": lambda a, b, rail: None if rail == 3 else 1.3,
    "none": lambda a, b, rail: None,
}
PARTS = [
    *(f"{name}{how}" for name in LAYERS for how in PROFILES),
    *(f"latency: {name}" for name in LATENCIES),
]


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, Path(__file__).with_name("layers.txt"), PARTS)


def words(row: RailRow) -> str:
    figures = "; ".join(f"{each.rate:.5g} {each.should} {each.text}" for each in row.figures.values())
    losses = [(each.layer, each.rate, each.below, each.bound.value, each.lost) for each in row.losses]
    loser = row.loser.layer if row.loser else ""
    return f"{row.status.value} {loser} {shown(losses)} | {row.text} | {row.missing} | {figures}"


@pytest.mark.parametrize("how", PROFILES)
@pytest.mark.parametrize("name", LAYERS)
def test_what_is_said_of_the_layers(golden: Golden, tmp_path: Path, name: str, how: str) -> None:
    run = LAYERS[name](tmp_path)
    facts = {"a slow link": SLOW_LINK, "a link that is down": DOWN_LINK}.get(
        name, made_nodes.nodes(len({each.node for each in run.manifest.ranks}))
    )
    found = of_layers(Evidence(replace(run, facts=facts), PROFILES[how]))
    alike: dict[str, list[str]] = {}
    for row in found.rows:
        alike.setdefault(words(row), []).append(f"{row.node} {row.rail}")
    lines = [f"{found.status.value}: {found.text}"]
    golden.hold(f"{name}{how}", [*lines, *(f"{', '.join(who)}: {text}" for text, who in alike.items())])


@pytest.mark.parametrize("name", LATENCIES)
def test_what_is_said_of_latencies(golden: Golden, name: str) -> None:
    lines = []
    for count, able in ((3, NODES), (2, NODES), (3, NODES[:2]), (3, NODES[:1])):
        nodes = made_nodes.nodes(count)
        tools = [PerftestTool(node.name, "6.24", latency=node.name in able) for node in nodes]
        measured = made(NODES[:count], LATENCIES[name])
        evidence = Evidence(replace(made_nodes.seen(nodes).run, perftest=(*tools, *measured)), LAMBDA)
        found = of_latencies(evidence)
        lines.append(f"{count} nodes, {len(able)} of them able: {found.left}")
        for place in [*found.at][2::8]:
            best = found.best(place)
            lines.append(
                f"    {place}: {why_unknown(evidence, place)} {len(found.at[place])} {best and best.seconds}"
            )
        lines += [
            f"    to blame: {who} {each.seconds:.3g} {each.ok}" for who, each in culprits(found).items()
        ]
    golden.hold(f"latency: {name}", lines)
