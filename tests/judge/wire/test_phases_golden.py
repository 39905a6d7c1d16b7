"""What a phase's bytes say, held to a golden file: shapes, algorithms, counters, readings around each limit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.judge.evidence import Evidence
from bench.judge.wire.algorithm import algorithm_used
from bench.judge.wire.counters import (
    Carried,
    Undetermined,
    _long_enough,
    carried,
    least_sent,
    most_moved,
    rail_subjects,
    total_sent,
)
from bench.judge.wire.group_shape import Unplaced, rail_rate, shape_of
from bench.judge.wire.row_reading import _single_node_algbw, is_possible, of_row, why_not
from bench.judge.wire.target import TargetReading, _sums, _together, largest_rate, of_target
from bench.model.collectives import COLLECTIVES, COPIES
from bench.model.counters import Snapshot
from bench.model.facts import Node
from bench.model.measurement import Case, Extra, Measurement, Rank
from bench.model.profile import load
from bench.model.run_folder_lines import CounterLine, Loss
from bench.model.verdict import Bound
from bench.nccl.log import read
from bench.store import Phase, Plan, Run
from bench.store.rows import rows
from golden import Golden, opened, shown
from made_nodes import interface, node, nodes
from test_nvlink_domain import NVL72, RACK, tray
from test_readings import LAMBDA, at, case, ring_bytes, socket_profile
from tests import runs

SIZE = 1 << 30
THREE = nodes(3)
PAIRS = tuple((at_, at_ + 8) for at_ in range(8))
EVERYONE, HALF, ONE = (tuple(range(16)),), (tuple(range(8)), tuple(range(8, 16))), ((0,), (8,))
PARTS = (
    "shapes",
    "rates of a rail",
    "algorithms",
    "bytes of a call",
    "rails of a node",
    "clocks",
    "phases",
    "targets",
    "targets of sockets",
    "readings together",
    "one node alone",
    "rows",
)


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, Path(__file__).with_name("phases.txt"), PARTS)


def made(
    measured: Sequence[tuple[Case, Sequence[Measurement]]],
    machines: Sequence[Node] = THREE[:2],
    where: Sequence[Rank] = runs.ranks(2, 8),
    backend: str = "nccl",
    counters: Sequence[CounterLine] = (),
    **more: Any,
) -> Run:
    """A run of these cases and measurements; nothing is written."""
    run = runs.read_only(machines, counters)
    phases = {one.phase: [each for each, _ in measured if each.phase == one.phase] for one, _ in measured}
    settings = replace(run.manifest.settings, repetitions=2)
    manifest = replace(run.manifest, ranks=tuple(where), backend=backend, settings=settings)
    return replace(
        run,
        manifest=manifest,
        plan=Plan(tuple(Phase(name, name, tuple(cases)) for name, cases in phases.items())),
        measurements=tuple(row for _, listed in measured for row in listed),
        **more,
    )


# --- shapes


def test_shapes(golden: Golden) -> None:
    lines: list[str] = []
    plain = case()
    turns = tuple(Rank(at_, f"n{at_ % 2}", at_ // 2) for at_ in range(16))
    uneven = tuple(Rank(at_, "n0" if at_ < 9 else "n1", at_ % 9) for at_ in range(16))
    four = tuple(Rank(at_, f"n{at_ // 4}", at_ % 4) for at_ in range(16))
    bare = replace(LAMBDA, rails=replace(LAMBDA.rails, count=0, target=None))
    groups = {
        "all": EVERYONE[0],
        "a node": HALF[0],
        "half": (0, 1, 8, 9),
        "turned": (0, 8, 1, 9),
        "a pair": (0, 8),
        "two": (0, 1),
        "four": (0, 1, 0, 8),
        "back": (0, 8, 1),
        "one": (0,),
        "none": (),
        "unknown": (0, 99),
    }
    for layout, where in (
        ("two", runs.ranks(2, 8)),
        ("in turns", turns),
        ("uneven", uneven),
        ("of four", four),
    ):
        for profile in (LAMBDA, load("oci-h100"), replace(LAMBDA, nvlink=None), bare):
            for backend in ("nccl", "gloo") if profile is LAMBDA else ("nccl",) if layout == "two" else ():
                evidence = Evidence(made((), where=where, backend=backend), profile)
                for name, group in groups.items():
                    for collective, changes in (
                        ("all_reduce", {}),
                        ("all_reduce", {"rail": "own"}),
                        ("all_reduce", {"rail": "mlx5_1/1"}),
                        ("p2p", {}),
                        ("p2p", {"algorithm": "ib_write_bw"}),
                        ("p2p_bidirectional", {}),
                        ("p2p_ring", {}),
                    ):
                        one = replace(plain, collective=collective, **changes)
                        what = f"{layout} {profile.name} {backend} {name} {collective} {changes}"
                        lines.append(f"{what} → {placed(one, group, evidence)}")
    tests: Sequence[tuple[str, Sequence[Node]]] = (
        ("one domain", (tray(0), tray(1))),
        ("two domains", (tray(0), tray(1, "ff"))),
        ("one unknown", (tray(0), node(1))),
        ("both unknown", THREE[:2]),
        ("a domain each", (tray(0, RACK, (7,) * 4), tray(1, RACK, (8,) * 4))),
    )
    for name, machines in tests:
        for nvlink_nodes in (1, 2, 18):
            evidence = Evidence(
                made((), machines, runs.ranks(2, 4)), replace(NVL72, nvlink_nodes=nvlink_nodes)
            )
            for group in (tuple(range(8)), (0, 1), (0, 4), (0, 1, 4), (0, 4, 1, 5)):
                for collective, rail in (
                    ("all_reduce", ""),
                    ("all_reduce", "own"),
                    ("p2p", ""),
                    ("p2p_ring", ""),
                    ("p2p_ring", "own"),
                ):
                    one = replace(plain, collective=collective, rail=rail)
                    lines.append(
                        f"{name} {nvlink_nodes} {group} {collective} {rail} → {placed(one, group, evidence)}"
                    )
    unknown = made(())
    manifest = replace(unknown.manifest, settings=replace(unknown.manifest.settings, layout="unknown"))
    lines.append(placed(case(), EVERYONE[0], Evidence(replace(unknown, manifest=manifest), LAMBDA)))
    lines += [placed(replace(case(), collective=name), (0,), Evidence(unknown, LAMBDA)) for name in COPIES]
    golden.hold("shapes", told_once(lines))


def placed(one: Case, group: Sequence[int], evidence: Evidence) -> str:
    try:
        return shown(shape_of(one, group, evidence)).removeprefix("ClusterShape")
    except Unplaced as reason:
        return str(reason)


def told_once(lines: Sequence[str]) -> list[str]:
    """Those that say the same together."""
    found: dict[str, list[str]] = {}
    for line in lines:
        what, _, said = line.partition(" → ")
        found.setdefault(said, []).append(what)
    return [line for said, each in found.items() for line in (said, f"    {'; '.join(each)}")]


def test_rates_of_a_rail(golden: Golden) -> None:
    lines = []
    for kind in ("none", "infiniband"):
        for rate in (None, LAMBDA.rails.rate):
            for target in (None, LAMBDA.rails.target):
                for count in (0, 4):
                    for opened_ in ("", "what it is"):
                        rails = replace(
                            LAMBDA.rails, kind=kind, rate=rate, target=target, count=count, open=opened_
                        )
                        try:
                            said = f"{rail_rate(replace(LAMBDA, rails=rails)):.4g}"
                        except Unplaced as reason:
                            said = str(reason)
                        lines.append(f"{kind} {rate is None} {target is None} {count} {opened_}: {said}")
    golden.hold("rates of a rail", lines)


# --- algorithms


def test_algorithms(golden: Golden, tmp_path: Path) -> None:
    lines: list[str] = []
    texts = {
        "nothing": {},
        "ring in its log": {"ring.0.log": (("AllReduce", SIZE, "RING", "SIMPLE"),)},
        "evidence": {
            "evidence.0.log": (("AllReduce", SIZE, "TREE", "LL128"), ("AllGather", SIZE, "NVLS", "LL"))
        },
        "both": {
            "evidence.0.log": (("AllReduce", SIZE, "TREE", "LL128"),),
            "ring.1.log": (("AllReduce", SIZE, "RING", "SIMPLE"), ("AllReduce", 8, "PAT", "LL")),
        },
        "alike": {
            "evidence.0.log": (("AllReduce", SIZE, "TREE", "LL"),),
            "ring.1.log": (("AllReduce", SIZE, "NVLS_TREE", "SIMPLE"),),
        },
        "direct": {
            "ring.0.log": (
                ("AllReduce", SIZE, "COLLNET_DIRECT", "SIMPLE"),
                ("AllGather", SIZE, "PAT", "SIMPLE"),
            )
        },
        "odd": {"ring.0.log": (("AllReduce", SIZE, "NEW", "WAY"), ("Odd", SIZE, "RING", "LL"))},
        "not of it": {"ring.0.log": (("Broadcast", SIZE, "TREE", "LL"), ("AllReduce", SIZE, "PAT", "LL"))},
    }
    cases = [
        case(name, "ring", SIZE, algorithm, groups)
        for name in ("all_reduce", "all_gather", "broadcast", "all_to_all", "p2p")
        for algorithm in ("auto", "ring", "graph", "registered", "tree")
        for groups in ((EVERYONE, HALF, ((0, 1),)) if name == "all_reduce" else (EVERYONE,))
    ]
    for name, files in texts.items():
        for file, said in files.items():
            (tmp_path / name / "logs").mkdir(parents=True, exist_ok=True)
            text = "".join(
                f"n0:1:1 [0] NCCL INFO {what}: {size} Bytes -> Algo {how} proto {proto} x\n"
                for what, size, how, proto in said
            )
            (tmp_path / name / "logs" / file).write_text(text + "n0:1:1 [0] NCCL INFO a line beside\n")
        for backend in ("nccl", "gloo"):
            run = replace(made([(one, ()) for one in cases], backend=backend), path=tmp_path / name)
            evidence = Evidence(run, LAMBDA)
            for one in cases:
                used = algorithm_used(one, evidence)
                what = f"{name} {backend} {one.collective} {one.algorithm} {len(one.groups)} of {len(one.groups[0])}"
                lines.append(f"{what} → {used.algorithm} {used.known} {used.protocol} | {used.how}")
    golden.hold("algorithms", told_once(lines))


# --- bytes of a call


def test_bytes_of_a_call(golden: Golden) -> None:
    lines: list[str] = []
    three = (tuple(range(8)), tuple(range(8, 24)))
    for name in COLLECTIVES:
        for groups, count in ((EVERYONE, 2), (HALF, 2), (PAIRS, 2), ((tuple(range(24)),), 3), (three, 3)):
            one = case(name, "ring", SIZE, "auto", groups)
            for network in ("IB", "Socket", "") if name == "all_reduce" else ("IB",):
                run = made([(one, runs.measured(one))], THREE[:count], runs.ranks(count, 8))
                evidence = Evidence(run, LAMBDA)
                text = f"n0:1:1 [0] NCCL INFO Using network {network}\n" if network else ""
                vars(evidence)["log"] = read(text + "n0:1:2 [0] NCCL INFO comm\n")
                figures = bytes_of("ring", evidence)
                what = f"{name} {len(groups)} of {len(groups[0])} {network}"
                lines.append(f"{what}: {shown(figures)} {what_carried('ring', evidence)}")
    one, small = case("all_reduce", "ring", SIZE), case("all_reduce", "ring", 8)
    other = case("all_reduce", "rails", SIZE)
    row = runs.measured(one)[0]
    turns = case("p2p", "ring", SIZE, groups=((0, 8, 1, 9, 2, 10),))
    seen: dict[str, tuple[Sequence[tuple[Case, Sequence[Measurement]]], Mapping[str, Any]]] = {
        "as it is": ([(one, [row])], {}),
        "and of another phase": ([(one, [row]), (other, runs.measured(other))], {}),
        "measured before": ([(one, [row]), (small, runs.measured(small))], {"earlier": frozenset({one.id})}),
        "lost": ([(one, [row]), (small, [])], {"losses": (Loss(small.id, "died"),)}),
        "another lost": ([(one, [row])], {"losses": (Loss(other.id, "died"),)}),
        "no figure": ([(one, [replace(row, pipelined=())])], {}),
        "failed": ([(one, [replace(row, extra=Extra(failed="x"))])], {}),
        "made": ([(one, [replace(row, made=1)])], {}),
        "none": ([(one, [])], {}),
        "twice": ([(one, [row, row])], {}),
        "uneven": ([(replace(one, groups=((0, 1, 8),)), [replace(row, ranks=(0, 1, 8))])], {}),
        "pairs in turns": ([(turns, runs.measured(turns))], {}),
    }
    for size in (8, (1 << 20) - 64, 1 << 20, (1 << 20) + 64):
        sized = case("all_reduce", "ring", size)
        seen[f"of {size}"] = ([(sized, runs.measured(sized))], {})
    for name, (measured, more) in seen.items():
        evidence = Evidence(made(measured, **more), LAMBDA)
        vars(evidence)["log"] = read("n0:1:1 [0] NCCL INFO Using network IB\n")
        for phase in ("ring", "rails"):
            figures = bytes_of(phase, evidence)
            lines.append(f"{name}, {phase}: {shown(figures)} {what_carried(phase, evidence)}")
    golden.hold("bytes of a call", lines)


def bytes_of(phase: str, evidence: Evidence) -> tuple[object, ...]:
    """At the least, of all nodes, and at the most; in the order of the names, since the nodes are a set."""
    most = most_moved(phase, evidence)
    return least_sent(phase, evidence), total_sent(phase, evidence), {key: most[key] for key in sorted(most)}


def what_carried(phase: str, evidence: Evidence) -> str:
    try:
        return shown(carried(phase, evidence))
    except Undetermined as reason:
        return str(reason)


# --- counters


def test_rails_of_a_node(golden: Golden) -> None:
    lines = []
    snapshot = Snapshot(
        0.0, 0.0, {f"mlx5_{at_}/{number}": {} for at_ in range(9) for number in (1, 2)} | {"eth1": {}}
    )
    machine = node()
    rate = LAMBDA.rails.rate
    assert rate is not None
    changes: dict[str, dict[str, Any]] = {
        "as it is": {},
        "by name": {"devices": ("mlx5_3", "mlx5_4:1", "mlx5_5/2")},
        "not there": {"devices": ("mlx5_3", "mlx5_77", "mlx5_78:1")},
        "interfaces": {"devices": ("eth1",), "kind": "socket"},
        "no kind": {"devices": (), "kind": "none"},
        "sockets without names": {"devices": (), "kind": "socket"},
        "by kind": {"devices": (), "excluded": ()},
        "no rate": {"devices": (), "rate": None},
        "too fast": {"devices": (), "rate": replace(rate, value=rate.value / 0.98)},
        "nearly": {"devices": (), "rate": replace(rate, value=rate.value / 0.991)},
        "seven": {"devices": (), "count": 7, "excluded": ("mlx5_3",)},
        "seven by port": {"devices": (), "count": 7, "excluded": ("mlx5_3/1", "mlx5_99")},
        "roce": {"devices": (), "kind": "roce", "count": 1, "rate": None},
    }
    for name, each in changes.items():
        window: Any = SimpleNamespace(node=machine, before=snapshot)
        try:
            said = str(rail_subjects(window, replace(LAMBDA.rails, **each)))
        except Undetermined as reason:
            said = str(reason)
        lines.append(f"{name}: {said}")
    golden.hold("rails of a node", lines)


def test_clocks(golden: Golden) -> None:
    """The seconds of calls by one clock against those of measuring by the other."""
    lines = []
    for busy in (0.499, 0.5, 1.0, math.nan, math.inf):
        for wall in (0.0, 0.952, 0.953, 1.0, 3.99, 4.0, 4.01, math.inf, math.nan):
            nodes_ = [Carried("n0", {}, 1.0, 1.0, busy, wall)]
            try:
                _long_enough("ring", nodes_)
                lines.append(f"{busy} {wall}: fits")
            except Undetermined as reason:
                lines.append(f"{busy} {wall}: {reason}")
    golden.hold("clocks", lines)


def counted(
    names: Sequence[str], sent: Mapping[str, int], phase: str = "ring", seconds: float = 9.0
) -> list[CounterLine]:
    """Two readings of every node: ``sent`` bytes by each port or interface."""

    def shot(at_: float, bytes_: Mapping[str, int]) -> Snapshot:
        groups = {
            port: {"counters": {"port_xmit_data": value // 4, "port_rcv_data": value // 4}}
            if "/" in port
            else {"statistics": {"tx_bytes": value, "rx_bytes": value}}
            for port, value in bytes_.items()
        }
        return Snapshot(at_, at_, groups)

    nothing = dict.fromkeys(sent, 0)
    return [
        CounterLine(phase, when, (shot(at_, bytes_),) * len(names))
        for when, at_, bytes_ in (("before", 0.0, nothing), ("after", seconds, sent))
    ]


def test_phases(golden: Golden) -> None:
    """Bytes and headers on each kind of rail, and what keeps them from being known."""
    lines: list[str] = []
    ring = case(algorithm="ring", phase="ring")
    row = at(ring, 365.0)[0]
    words = {f"mlx5_{rail}/1": int(ring_bytes(ring, row) / 8) // 4 * 4 for rail in range(1, 9)}
    other = case("all_gather", algorithm="ring", phase="ring")
    inside = case(phase="ring", groups=HALF)
    pair = case("p2p", "ring", 1 << 28, groups=PAIRS, rail="own")
    both = replace(pair, collective="p2p_bidirectional", id="both")
    half = case(algorithm="ring", phase="ring", groups=((0, 1, 8, 9),), size=SIZE)
    measured: dict[str, Sequence[tuple[Case, Sequence[Measurement]]]] = {
        "a ring": [(ring, [row])],
        "two rings": [(ring, [row]), (other, at(other, 361.0))],
        "and inside": [(ring, [row]), (inside, at(inside, 478.0))],
        "inside alone": [(inside, at(inside, 478.0))],
        "pairs one way": [(pair, at(pair, 48.5))],
        "pairs both ways": [(both, at(both, 48.5))],
        "some ranks": [(ring, [row]), (half, at(half, 365.0))],
        "lost": [(ring, [row]), (other, [])],
        "a group lost": [(pair, at(pair, 48.5)[:5])],
        "without times": [(ring, [replace(row, pipelined=())])],
        "short": [(ring, [replace(row, pipelined=row.pipelined[:1], isolated=(0.01,), calls=1, warmup=0)])],
        "unplaced": [(replace(ring, groups=((0, 1, 8),)), [replace(row, ranks=(0, 1, 8))])],
        "nothing": [],
    }
    names = ("n0", "n1")
    for name, each in measured.items():
        for of in ("mlx5_1/1", ""):
            sent = {port: value for port, value in words.items() if port != of}
            run = made(each, counters=counted(names, sent))
            without = f", without the counters of {of}" if of else ""
            lines.append(f"{name}{without}: {what_carried('ring', Evidence(run, LAMBDA))}")
        seen = Evidence(made(each, counters=counted(names, words)), LAMBDA)
        lines.append(f"    at its largest: {rate_of('ring', seen)} {shown(_sums(seen))}")
    again = made(
        [(ring, [row]), (other, at(other, 361.0))],
        counters=counted(names, words),
        earlier=frozenset({other.id}),
    )
    lines.append(f"resumed: {what_carried('ring', Evidence(again, LAMBDA))}")
    for kind, mtu in (("infiniband", 0), ("roce", 0), ("socket", 0), ("socket", 9000)):
        machines = [
            replace(one, interfaces=(interface("eth1", mtu=mtu or None), interface("eth2")))
            for one in THREE[:2]
        ]
        devices = ("eth1", "eth2") if kind == "socket" else tuple(words)
        rails = replace(LAMBDA.rails, kind=kind, devices=devices, count=len(devices))
        sent = dict.fromkeys(devices, 10**12) if kind == "socket" else words
        run = made([(ring, [row])], machines, counters=counted(names, sent))
        lines.append(f"{kind} {mtu}: {what_carried('ring', Evidence(run, replace(LAMBDA, rails=rails)))}")
    golden.hold("phases", lines)


def rate_of(phase: str, evidence: Evidence) -> str:
    try:
        return f"{largest_rate(phase, evidence):.5g}"
    except Undetermined as reason:
        return str(reason)


# --- the target


def test_targets(golden: Golden) -> None:
    """Which readings there are, by which phases, ranks and rails."""
    lines: list[str] = []
    ring = case(algorithm="ring", phase="ring")
    gather = case("all_gather", algorithm="ring", phase="ring")
    pair = case("p2p_bidirectional", "rails", 1 << 28, groups=PAIRS, rail="own")
    small = case("p2p_bidirectional", "rails", 1 << 20, groups=PAIRS, rail="own")
    auto, wide = case(), case(size=1 << 20)
    row = at(ring, 365.0)
    words = {f"mlx5_{rail}/1": int(ring_bytes(ring, row[0]) / 8) // 4 * 4 for rail in range(1, 9)}
    blank = [replace(each, pipelined=()) for each in at(pair, 48.0)]
    forced, rails = (ring, row), (pair, at(pair, 48.0))
    shots = counted(("n0", "n1"), words)
    pinned = replace(pair, phase="pinned-0", id="pinned")
    four = replace(pair, id="four", groups=((0, 1, 8, 9),))
    beside = replace(pair, id="beside", groups=((0, 1),))
    seen: dict[str, Run] = {
        "all three": made([forced, rails], counters=shots),
        "two rings": made([forced, (gather, at(gather, 300.0)), rails], counters=shots),
        "a smaller ring too": made(
            [forced, (case(algorithm="ring", phase="ring", size=1 << 20), at(case(size=1 << 20), 9.0)), rails]
        ),
        "a ring without a figure": made([(ring, [replace(row[0], pipelined=())]), rails]),
        "two rows of a ring": made([(ring, [*row, *at(ring, 361.0)]), rails]),
        "two rows, one without a figure": made([(ring, [*row, replace(row[0], pipelined=())]), rails]),
        "small pairs too": made([forced, (small, at(small, 20.0)), rails]),
        "a pair without a figure": made([forced, (pair, [*at(pair, 48.0)[:7], blank[7]])]),
        "pairs of another phase": made([forced, (pinned, at(pinned, 48.0))]),
        "four side by side": made([forced, rails, (four, at(four, 40.0))]),
        "pairs inside a node": made([forced, rails, (beside, at(beside, 300.0))]),
        "counters of the rails alone": made([forced, rails], counters=counted(("n0", "n1"), words, "rails")),
        "counters of collectives": made(
            [(auto, at(auto, 365.0)), rails], counters=counted(("n0", "n1"), words, "collectives")
        ),
        "counters of a pinned phase": made(
            [(pinned, at(pinned, 48.0)), rails], counters=counted(("n0", "n1"), words, "pinned-0")
        ),
        "a ring of some": made(
            [(case(algorithm="ring", phase="ring", groups=HALF), [*at(case(groups=HALF), 365.0)]), rails]
        ),
        "sizes apart": made([(auto, at(auto, 365.0)), (wide, at(wide, 365.0))]),
        "a node without pairs": made([forced, rails], THREE, runs.ranks(3, 8)),
        **{
            f"{count} nodes without pairs": made([forced, rails], nodes(count + 2), runs.ranks(count + 2, 8))
            for count in (7, 8, 9)
        },
        "three nodes": made(
            [
                forced,
                (pair, at(pair, 48.0)),
                *(
                    (replace(pair, id=name, groups=groups), at(replace(pair, id=name, groups=groups), rate))
                    for name, groups, rate in (
                        ("b", tuple((a, a + 16) for a in range(8)), 40.0),
                        ("c", tuple((a + 8, a + 16) for a in range(8)), 44.0),
                    )
                ),
            ],
            THREE,
            runs.ranks(3, 8),
        ),
        "few ranks": made(
            [
                (
                    case(algorithm="ring", phase="ring", groups=((0, 1, 2, 3),)),
                    at(case(groups=((0, 1, 2, 3),)), 90.0),
                )
            ],
            where=runs.ranks(2, 2),
        ),
        "one node": made([forced], THREE[:1], runs.ranks(1, 8)),
        "nothing": made(()),
    }
    seen["counters of three nodes' rails"] = replace(
        seen["three nodes"], counters=counted(("n0", "n1", "n2"), words, "rails")
    )
    skipped = replace(seen["all three"].plan, skipped=(("ring", "no time"), ("rails", "no time either")))
    seen["a ring left out"] = replace(
        made([rails]), plan=replace(made([rails]).plan, skipped=skipped.skipped)
    )
    profiles = {
        "": LAMBDA,
        ", few GPUs": replace(LAMBDA, gpus=2),
        ", no GPUs": replace(LAMBDA, gpus=0),
        ", no floor": replace(LAMBDA, limits=()),
    }
    for name, run in seen.items():
        for how, profile in profiles.items():
            found = of_target(Evidence(run, profile))
            readings = [
                (each.name, each.rate, each.share, each.text, len(each.evidence)) for each in found.readings
            ]
            said = (
                found.status,
                found.odd,
                found.text,
                found.wanted,
                found.source,
                found.next_step,
                readings,
            )
            lines.append(f"{name}{how} → {shown(said)}")
    golden.hold("targets", told_once(lines))


def test_targets_of_sockets(golden: Golden) -> None:
    """A call of gloo is a reading of all rails only where there is one."""
    lines = []
    pair = case("p2p_bidirectional", "rails", 1 << 22, groups=((0, 1),), rail="own")
    cases = [
        (one, at(one, 0.11))
        for one in (
            pair,
            case(size=1 << 24, groups=((0, 1),)),
            case("all_gather", size=1 << 24, groups=((0, 1),)),
        )
    ]
    for count in (1, 2):
        for phase in ("rails", "collectives"):
            faces = dict.fromkeys([f"eth{at_}" for at_ in range(1, count + 1)], 5 * 10**8)
            run = made(
                cases, where=runs.ranks(2, 1), backend="gloo", counters=counted(("n0", "n1"), faces, phase)
            )
            found = of_target(Evidence(run, socket_profile(count)))
            readings = [(each.name, each.rate, each.share, each.text) for each in found.readings]
            lines.append(
                f"{count} {phase}: {shown((found.status, found.odd, found.text, found.source, readings))}"
            )
    golden.hold("targets of sockets", lines)


def test_readings_together(golden: Golden) -> None:
    lines = []
    target, floor = Bound(100.0, "100 B/s", "sold"), Bound(0.85, "85 %", "somebody")

    def reading(kind: str, rate: float) -> TargetReading:
        return TargetReading(kind, f"by {kind}", rate, rate / 100, "said")

    none = math.nan
    for rates in (
        (90, 90, 90),
        (90, 99, 99),
        (90, 99.01, 99),
        (90, 99.01, 90),
        (85, 85, 85),
        (84.9, 90, 90),
        (50, 50, 50),
        (60, 80, 100),
        (90, 90, none),
        (84, 84, none),
        (90, 60, none),
        (none, none, none),
        (90, none, none),
        (none, 90, none),
        (70, 90, 90),
        (90, 70, 90),
        (90, 90, 70),
        (80, 88, 96),
    ):
        found = tuple(
            reading(kind, rate) for kind, rate in zip(("counters", "ring", "rails"), rates, strict=True)
        )
        for needed in (
            {"counters": "", "ring": "", "rails": ""},
            {"counters": "why", "ring": "why", "rails": "why"},
        ):
            said = _together(found, target, floor, needed)
            lines.append(
                f"{rates} {needed['ring']}: {shown((said.status, said.odd, said.text, said.wanted, said.next_step))}"
            )
    two = (reading("ring", 90.0), replace(reading("ring", 60.0), name="another ring"))
    lines.append(shown(_together(two, target, floor, {"ring": "", "counters": "", "rails": ""})))
    golden.hold("readings together", lines)


# --- one node alone


def test_one_node_alone(golden: Golden) -> None:
    lines = []
    large, small = (case(phase="nodes", size=size, groups=HALF) for size in (SIZE, 8))
    gather = case("all_gather", phase="nodes", size=SIZE, groups=HALF)
    across = case(phase="nodes", size=SIZE)
    other = case(phase="ring", size=2 * SIZE, groups=HALF)
    quick = [*at(large, 480.0)[:1], *at(large, 400.0)[1:]]
    for name, measured in {
        "none": [],
        "two nodes": [(large, quick)],
        "small too": [(large, quick), (small, at(small, 1.0))],
        "small first": [(small, at(small, 1.0)), (large, quick)],
        "another collective": [(gather, at(gather, 300.0))],
        "another phase": [(large, quick), (other, at(other, 1.0))],
        "across": [(across, at(across, 100.0))],
        "one without a figure": [(large, [quick[0], replace(quick[1], pipelined=())])],
    }.items():
        for profile in (
            LAMBDA,
            replace(LAMBDA, alone=None),
            replace(LAMBDA, gpus=0),
            replace(LAMBDA, gpus=1),
        ):
            for where in (
                runs.ranks(2, 8),
                (*runs.ranks(1, 8), *(Rank(at_, "n1", at_ - 8) for at_ in range(8, 12))),
            )[: 1 if measured else 2]:
                evidence = Evidence(made(measured, where=where), profile)
                try:
                    said = shown(_single_node_algbw(evidence))
                except Unplaced as reason:
                    said = str(reason)
                lines.append(f"{name}, {profile.gpus} {profile.alone is None} {len(where)}: {said}")
    golden.hold("one node alone", [*dict.fromkeys(lines)])


def test_rows(golden: Golden) -> None:
    """What was sold is another rate than what the rails can carry, and one that no rate of the rails is known of."""
    lines = []
    large = case(phase="nodes", size=SIZE, groups=HALF)
    pair = case("p2p_bidirectional", "rails", 1 << 28, groups=((0, 8),), rail="own")
    some = case(groups=((0, 1, 8, 9),))
    target = LAMBDA.rails.target
    assert target is not None
    sold = {
        "3200": LAMBDA,
        "3200, one node unknown": replace(LAMBDA, alone=None),
        "nothing": replace(LAMBDA, rails=replace(LAMBDA.rails, target=None)),
        "2400": replace(LAMBDA, rails=replace(LAMBDA.rails, target=replace(target, value=300e9))),
        "of no rails": replace(LAMBDA, rails=replace(LAMBDA.rails, count=0)),
        "SHARP": replace(LAMBDA, rails=replace(LAMBDA.rails, in_network=True)),
    }
    for one, busbw in (
        (case(), 250.0), (case(), 365.0), (case(), 500.0), (case(), 760.0), (large, 450.0), (pair, 48.0), (some, 90.0)
    ):  # fmt: skip
        for name, profile in sold.items():
            for slow in (1.0, 1.3):
                row = at(one, busbw)[0]
                first, *others = row.pipelined
                row = replace(row, pipelined=(tuple(seconds * slow for seconds in first), *others))
                evidence = Evidence(made([(one, [row]), (large, at(large, 400.0))]), profile)
                seen = rows(evidence.run)[0]
                for healthy in (0.85, 0.95):
                    found = of_row(seen, evidence, healthy)
                    said: object = (why_not(seen, evidence), is_possible(seen, evidence))
                    if found:
                        figures = (found.wire, found.share, found.target)
                        said = (found.network_text, found.ceiling_text, figures, found.conclusion, said)
                    lines.append(f"{name} → {one.phase} {busbw} {shown(said)}")
    golden.hold("rows", told_once(lines))
