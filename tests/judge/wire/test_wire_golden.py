"""All that measured figures mean on the wire, held to a golden file: each row, each phase, the target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.judge.evidence import Evidence
from bench.judge.wire.counters import Undetermined, carried, least_sent
from bench.judge.wire.readings import conclude, is_possible, readings
from bench.judge.wire.row_reading import is_possible as row_is_possible
from bench.judge.wire.row_reading import of_row, why_not
from bench.judge.wire.target import of_target
from bench.model.bounds import ClusterShape
from bench.model.profile import Profile
from bench.store import Run
from bench.store.rows import rows
from golden import Golden, opened, shown
from made_acceptance import LAMBDA, acceptance_run
from test_readings import B200, at, case, folder, nodes_with_ports, ring_bytes, snapshots, socket_profile
from tests import runs

RAIL = 50e9
SHAPES = {
    "one node": ClusterShape(1, 8, 1, RAIL, 450e9),
    "two nodes": ClusterShape(2, 8, 8, RAIL, 450e9),
    "eight nodes": ClusterShape(8, 8, 8, RAIL, 450e9),
    "two nodes without NVLink": ClusterShape(2, 1, 1, RAIL, float("inf")),
}
COLLECTIVES = ("all_reduce", "all_gather", "broadcast", "all_to_all", "gather", "p2p_bidirectional")
RATES = (0.0, 42.4e9, 43e9, 48.9e9, 50.04e9, 350e9)
RUNS = ("acceptance", "acceptance of three nodes")
TARGETS: dict[str, dict[str, float]] = {
    "as published": {},
    "half of the bytes": {"counted": 0.5},
    "a slow ring": {"ring": 300.0},
    "slow rails": {"rail": 30.0},
    "all is slow": {"ring": 228.0, "rail": 29.0},
    "a tenth apart": {"ring": 352.0, "rail": 48.4},
    "just too little": {"ring": 339.0, "rail": 42.4},
    "just enough": {"ring": 341.0, "rail": 42.6},
}
PAIRS = tuple((at_, at_ + 8) for at_ in range(8))
CASES = {
    "auto": case(),
    "ring": case(algorithm="ring", phase="ring"),
    "gather": case("all_gather"),
    "broadcast": case("broadcast"),
    "pairs": case("p2p_bidirectional", "rails", 1 << 28, groups=PAIRS, rail="own"),
    "one way": case("p2p", "rails", 1 << 28, groups=PAIRS, rail="own"),
    "pinned": case("p2p_bidirectional", "pinned", 1 << 28, groups=((0, 8),), rail="mlx5_1/1"),
    "half of each node": case(groups=((0, 1, 2, 3, 8, 9, 10, 11),)),
    "one node": case(groups=(tuple(range(8)),)),
    "uneven": case(groups=(tuple(range(9)),)),
    "verbs": case("p2p", "rails", 1 << 28, groups=((0, 8),), algorithm="ib_write_bw"),
}
PARTS = [
    *(f"{name} on {shape}" for shape in SHAPES for name in COLLECTIVES),
    *(f"case: {name}" for name in CASES),
    *(f"target: {name}" for name in TARGETS),
    *(f"run: {name}" for name in RUNS),
    "sockets",
]


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, Path(__file__).with_name("wire.txt"), PARTS)


@pytest.mark.parametrize("name", COLLECTIVES)
@pytest.mark.parametrize("place", SHAPES)
def test_what_a_rate_means(golden: Golden, place: str, name: str) -> None:
    """Whichever algorithm it was, and by a ring; beside what one node does alone; where switches may reduce."""
    shape, lines = SHAPES[place], []
    for rate in RATES:
        for algorithm, sharp in (("unknown", False), ("unknown", True), ("ring", False)):
            if algorithm == "ring" and name in ("all_to_all", "gather", "p2p_bidirectional"):
                continue
            seen = readings(name, rate, shape, algorithm=algorithm, in_network=sharp)
            fits = is_possible(name, rate, shape, algorithm=algorithm, in_network=sharp)
            short = [replace(each, text=each.text[-20:]) for each in seen]
            lines.append(f"{rate:.5g} {algorithm} {sharp}: {fits} {shown(short)}")
            for inside in (None, rate * 1.1, rate * 2):
                said = conclude(name, rate, shape, seen, inside=inside, in_network=sharp)
                lines.append(f"    {said.kind}: {said.text[-60:]}; {said.next_step}")
    golden.hold(f"{name} on {place}", [*dict.fromkeys(lines)])


def of_rows(run: Run, profile: Profile, most: int = 40) -> Iterator[str]:
    seen = Evidence(run, profile)
    for row in rows(run)[:most]:
        found = of_row(row, seen)
        said = f"{row.case.id} of {row.ranks}: {row_is_possible(row, seen)} "
        if found is None:
            yield said + why_not(row, seen)
            continue
        words = (
            found.network_text,
            found.protocol_text,
            found.ceiling_text,
            found.conclusion.kind,
            why_not(row, seen),
        )
        yield said + shown((found.shape, found.used, found.wire, found.share, found.target, words))


def of_phases(run: Run, profile: Profile) -> Iterator[str]:
    for phase in run.plan.phases:
        try:
            found = shown(carried(phase.name, Evidence(run, profile)))
        except Undetermined as reason:
            found = str(reason)
        yield f"{phase.name}: {found}"
        yield f"    at least {shown(least_sent(phase.name, Evidence(run, profile)))}"


@pytest.mark.parametrize("name", CASES)
def test_what_a_row_means(golden: Golden, tmp_path: Path, name: str) -> None:
    one, lines = CASES[name], []
    for number, (profile, busbw) in enumerate(
        ((LAMBDA, 48.0), (LAMBDA, 380.0), (B200, 696.1), (LAMBDA, 900.0))
    ):
        counters = {one.phase: (snapshots(1000), snapshots(1 << 36, seconds=9.0))}
        nodes = nodes_with_ports()
        run = folder(tmp_path / str(number), [(one, at(one, busbw))], profile, counters=counters, nodes=nodes)
        lines += [f"at {busbw}", *of_rows(run, profile, 2), *of_phases(run, profile)]
    golden.hold(f"case: {name}", lines)


@pytest.mark.parametrize("name", TARGETS)
def test_what_three_readings_say_together(golden: Golden, tmp_path: Path, name: str) -> None:
    given = {"ring": 365.0, "rail": 48.5, "counted": 1.0, **TARGETS[name]}
    forced, pair = CASES["ring"], CASES["pairs"]
    gather = case("all_gather", algorithm="ring", phase="ring", size=1 << 30)
    small = case("p2p_bidirectional", "rails", 1 << 20, groups=PAIRS, rail="own")
    measured = at(forced, given["ring"])
    each = int(given["counted"] * ring_bytes(forced, measured[0]) / 8) // 4 * 4
    planned = [(pair, at(pair, given["rail"])), (forced, measured)]
    shots = {"ring": (snapshots(1000), snapshots(1000 + each, seconds=9.0))}
    lines = []
    for number, (cases, counters) in enumerate(
        (
            (planned, shots),
            (planned, {}),
            (planned[:1], {}),
            ([*planned, (gather, at(gather, 361)), (small, at(small, 30.0))], shots),
        )
    ):
        run = folder(tmp_path / str(number), cases, counters=counters, nodes=nodes_with_ports())
        lines += [shown(of_target(Evidence(run, LAMBDA))), *of_phases(run, LAMBDA)]
    golden.hold(f"target: {name}", lines)


@pytest.mark.parametrize("name", RUNS)
def test_what_a_run_means(golden: Golden, tmp_path: Path, name: str) -> None:
    run = acceptance_run(tmp_path, 3 if "three" in name else 2)
    lines = [*of_rows(run, LAMBDA), *of_phases(run, LAMBDA), shown(of_target(Evidence(run, LAMBDA)))]
    golden.hold(f"run: {name}", lines)


def test_what_sockets_carry(golden: Golden, tmp_path: Path) -> None:
    profile, where, lines = socket_profile(), runs.ranks(2, 2), []
    pair = case("p2p_bidirectional", "rails", 1 << 22, groups=((0, 2), (1, 3)), rail="own")
    there = case("p2p", "rails", 1 << 22, groups=((0, 2), (1, 3)), rail="own")
    reduce, cast = (
        case(name, size=1 << 24, groups=(tuple(range(4)),)) for name in ("all_reduce", "broadcast")
    )
    for number, cases in enumerate(((pair, reduce), (there, reduce), (cast,))):
        planned = [(one, at(one, 0.11)) for one in cases]
        faces = (
            {f"eth{at_}": {"statistics": {"tx_bytes": sent, "rx_bytes": sent}} for at_ in (1, 2)}
            for sent in (5, 10**9)
        )
        shots = [[{"time": 0.0, "monotonic": 1.0, "readings": each}] * 2 for each in faces]
        run = folder(
            tmp_path / str(number),
            planned,
            profile,
            where=where,
            backend="gloo",
            counters={"rails": tuple(shots)},
        )
        lines += [*of_rows(run, profile), *of_phases(run, profile), shown(of_target(Evidence(run, profile)))]
    golden.hold("sockets", lines)
