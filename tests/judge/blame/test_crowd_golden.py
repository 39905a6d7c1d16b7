"""What blame says of many small clusters with faults drawn by chance, held to a golden file."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

import runs
from bench.judge.blame import (
    Answer,
    Background,
    BlameRules,
    NvlinkRate,
    PairRate,
    Symptom,
    Test,
    blame,
    confirmations,
)
from bench.judge.blame.background import inside, symptoms
from bench.judge.blame.find_culprits import explained_by, suspected
from bench.judge.blame.intermittent import Ring, intermittent, steady_load
from bench.judge.blame.matrix import matrix
from bench.judge.counter_windows import over_the_run
from bench.model.measurement import Extra
from bench.model.profile import Rails
from bench.model.rounds import rounds
from bench.plan.phase_names import INSIDE
from bench.store.rows import row_of
from golden import Golden, opened, shown
from made_nodes import LAMBDA, around, counted, grow, interface, node, nodes, with_port
from test_background import NAMES
from test_blame import Loss, names, node_of, path, port, tracks, worst
from test_swapped_rails import NODES, RAILS, measured

CLUSTERS, LOADS = range(80), range(40)
LINE = float(1 << 35)
# a loss is a number of 256ths, so that a rate is exact, and so is its loss
RULES = BlameRules(nominal=LINE, noise=1 / 256, smallest=8 / 256, repeats=3)
LOSSES = (4, 5, 7, 8, 9, 12, 16, 24, 64, 128, 255, 256)
COUNTS = (None, *(0.0,) * 12, 20.0, 21.0, math.nan, 300.0)  # retransmissions
# one fault behind another: each is drawn with several losses, the wider one first
RAIL_1: Callable[[float], Loss] = lambda lost: lambda a, b, on: lost if on == "mlx5_1" else 0.0  # noqa: E731
NODE_1: Callable[[float], Loss] = lambda lost: node_of("n1", lost)  # noqa: E731
PORTS = {
    f"port {rail} {way}": lambda lost, rail=rail, way=way: port("n1", rail, lost, way)
    for rail in ("mlx5_1", "mlx5_2")
    for way in ("both", "tx", "rx")
}
PATHS = {
    f"path {way}": lambda lost, way=way: path("n1", "n3", "mlx5_1", lost, way) for way in ("both", "one")
}
MOST_RAILS: Callable[[float], Loss] = lambda lost: worst(  # noqa: E731
    *(port("n1", rail, lost) for rail in ("mlx5_2", "mlx5_3", "mlx5_4"))
)
BEHIND: dict[str, tuple[Callable[[float], Loss], Callable[[float], Loss]]] = {
    **{f"rail and {name}": (RAIL_1, of) for name, of in (PORTS | PATHS).items()},
    **{f"node and {name}": (NODE_1, of) for name, of in (PORTS | PATHS).items()},
    **{f"port and {name}": (PORTS["port mlx5_1 both"], of) for name, of in PATHS.items()},
    "rail and node": (RAIL_1, NODE_1),
    "rail and three ports of a node": (RAIL_1, MOST_RAILS),
    "port and three others of its node": (PORTS["port mlx5_1 both"], MOST_RAILS),
    "sender and three others of its node": (PORTS["port mlx5_1 tx"], MOST_RAILS),
}
DEEP = ((16, 24), (16, 48), (45, 64), (46, 64), (64, 46), (64, 128))
SWAPS = range(16)
SIGNS = ("nothing", "down links", "slow links", "sockets", "counters", "inside")


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    parts = [
        *(f"cluster {seed}" for seed in CLUSTERS),
        *BEHIND,
        *(f"swap {seed}" for seed in SWAPS),
        *(f"load {seed}" for seed in LOADS),
        *SIGNS,
    ]
    yield from opened(request, Path(__file__).with_name("crowd.txt"), parts)


def fault(dice: random.Random, n: int, rails: int) -> Loss:
    lost, rail = dice.choice(LOSSES) / 256, dice.choice(tracks(rails))
    one, other = dice.sample(names(n), 2)
    return dice.choice(
        (
            port(one, rail, lost),
            port(one, rail, lost, "tx"),
            port(one, rail, lost, "rx"),
            node_of(one, lost),
            path(one, other, rail, lost),
            path(one, other, rail, lost, "one"),
            lambda a, b, on: lost if on == rail else 0.0,
            lambda a, b, on: lost if on == rail and one not in (a, b) and other not in (a, b) else 0.0,
        )
    )


def cluster(seed: int) -> tuple[list[PairRate], Loss, BlameRules, Background, random.Random]:
    """The first pass of a cluster, what it loses, and what else is known of it."""
    dice = random.Random(seed)
    n, rails = dice.choice((2, 3, 3, 4, 5, 6, 8)), dice.choice((1, 2, 3, 4))
    loss = worst(*(fault(dice, n, rails) for _ in range(dice.choice((0, 1, 1, 2, 3)))), lambda a, b, on: 0.0)
    noise = dice.choice((0, 0, 1))
    rows = []
    for turn, meets in enumerate(rounds(names(n))):
        for a, b in meets:
            for rail in tracks(rails):
                both = dice.random() < 0.1
                for way, ends in (("both", (a, b)),) if both else (("ab", (a, b)), ("ba", (b, a))):
                    rate = (
                        LINE * (1 - loss(*ends, rail)) * (1 + noise * dice.choice((-2, -1, 0, 0, 1, 2)) / 256)
                    )
                    again = dice.choice(COUNTS) if seed % 4 == 0 else None
                    rows.append(PairRate(turn, a, b, rail, way, rate, again))
    for place in range(len(rows)):
        if seed % 3 == 0 and dice.random() < 0.06:
            rows[place] = replace(
                rows[place], rate=dice.choice((math.nan, -1.0, math.inf, 0.5, 1.0, 1e15, 2e15))
            )
    if seed % 5 == 0:
        rows += [
            PairRate(99, a, b, i, "ab", LINE * (1 - max(loss(a, b, i), loss(a, b, j))), rail_b=j)
            for a, b in permutations(names(n), 2)
            for i, j in permutations(tracks(rails), 2)
        ]
    places = [(each, rail) for each in names(n + seed % 2) for rail in tracks(rails)]
    hung = {each: f"leaf {each[1]} {int(each[0][1:]) // 4}" for each in places}
    if seed % 7 == 0 and rails > 1:
        hung["n0", "mlx5_1"], hung["n0", "mlx5_2"] = hung["n0", "mlx5_2"], hung["n0", "mlx5_1"]
    known = Background(
        nodes=names(n + seed % 2),
        rails=tracks(rails),
        leaves=hung if seed % 2 else {},
        symptoms=(Symptom("n1", "mlx5_1", "symbol_error rose by 7"),) if seed % 3 == 1 else (),
        inside=tuple(
            NvlinkRate(
                each, rail, rail[-1], dice.choice((400e9, 400e9, 400e9, 387e9, 388e9, 300e9, math.nan, -1.0))
            )
            for each, rail in places
            for _ in range(dice.choice((1, 2)))
        )
        if seed % 6 == 2
        else (),
    )
    return rows, loss, replace(RULES, nominal=None) if seed % 8 == 3 else RULES, known, dice


def retaken(
    tests: tuple[Test, ...], loss: Loss, dice: random.Random, recover: float = 0.125
) -> Iterator[PairRate]:
    """Each test some times over; a share is not seen again."""
    for test in tests:
        gone, times = dice.random() < recover, dice.choice((1, 3, 3, 7))
        for turn in range(times):
            for way, ends in (("ab", (test.a, test.b)), ("ba", (test.b, test.a))):
                rate = LINE * (1 - (0.0 if gone else loss(*ends, test.rail)))
                yield PairRate(
                    1000 + turn, test.a, test.b, test.rail, way, rate, again=True, rail_b=test.rail_b
                )


def lines_of(answer: Answer) -> Iterator[str]:
    figures = (answer.measured, answer.expected, answer.reference / LINE, answer.noise, answer.floor)
    unknown, gone = [each[:50] for each in answer.unknown], [each.text for each in answer.withdrawn]
    yield f"{answer.status.value} {shown(figures)} {unknown} cleared: {gone}"
    for each in answer.blames:
        others = [other.text for other in each.alternatives]
        yield (
            f"    {each.subject.text}: {each.metric} {shown((each.lost, each.confidence, each.confirmed))} {others} "
            f"{each.next_step[:40]} | {'; '.join(each.evidence[2:])[:80]}"
        )


@pytest.mark.parametrize("seed", CLUSTERS)
def test_what_is_said_of_a_cluster(golden: Golden, seed: int) -> None:
    rows, loss, rules, known, dice = cluster(seed)
    lines = [*lines_of(blame(rows, rules, known))]
    for fault_ in suspected(matrix(rows, known.nodes, known.rails), rules, known):
        lines.append(f"suspect: {fault_.subject.text} {shown((fault_.lost, fault_.ways))}")
    for _ in range(2):
        tests = confirmations(rows, rules, known, dice.choice((None, None, 5)))
        lines.append("; ".join(f"{each.a} {each.b} {each.rail[-1]} {each.rail_b[-1:]}" for each in tests))
        rows += retaken(tests, loss, dice)
        answer = blame(rows, rules, known)
        lines += lines_of(answer)
    goes = explained_by(answer.blames, rows, known)
    lines.append(f"explained: {sum(goes(each) for each in rows if not each.rail_b)} of {len(rows)}")
    golden.hold(f"cluster {seed}", lines)


@pytest.mark.parametrize("name", BEHIND)
def test_what_is_said_of_one_fault_behind_another(golden: Golden, name: str) -> None:
    wide, narrow = BEHIND[name]
    lines = []
    for lost, more in DEEP:
        for n, noise in ((4, 0), (6, 1)):
            dice, loss = random.Random(lost), worst(wide(lost / 256), narrow(more / 256))
            rows = [
                PairRate(
                    turn,
                    a,
                    b,
                    rail,
                    way,
                    LINE * (1 - loss(*ends, rail)) * (1 + noise * dice.choice((-1, 0, 1)) / 256),
                )
                for turn, meets in enumerate(rounds(names(n)))
                for a, b in meets
                for rail in tracks(4)
                for way, ends in (("ab", (a, b)), ("ba", (b, a)))
            ]
            lines.append(f"{lost} and {more} on {n} nodes, noise {noise}")
            rows += retaken(confirmations(rows, RULES), loss, random.Random(2), 0.0)
            for each in suspected(matrix(rows), RULES, Background()):
                lines.append(f"    suspect: {each.subject.text} {shown((each.lost, each.ways))}")
            lines += [line[:100] for line in lines_of(blame(rows, RULES))][1:]
    golden.hold(name, lines)


@pytest.mark.parametrize("seed", SWAPS)
def test_what_is_said_of_swapped_rails(golden: Golden, seed: int) -> None:
    """Some swapped, some slow, and of the transfers across the rails some that were not measured."""
    dice, lines = random.Random(seed), []
    swapped = [(dice.choice(NODES), *dice.sample(RAILS, 2)) for _ in range(dice.choice((0, 1, 1, 2)))]
    slow_port = (dice.choice(NODES), dice.choice(RAILS)) if seed % 3 == 0 else ("", "")
    rows = measured(
        swapped, dice.choice((0.0, 0.5, 0.95, 0.97, 1.0)), lambda *at: 0.5 if at == slow_port else 1.0, seed
    )
    for share in (0.0, 0.2, 0.6):
        kept = [row for row in rows if not row.rail_b or dice.random() >= share]
        lines += [
            f"{share} of the transfers across are missing",
            *lines_of(blame(kept, RULES, Background(NODES, RAILS))),
        ]
    golden.hold(f"swap {seed}", lines)


def test_what_is_said_where_nothing_was_measured(golden: Golden) -> None:
    empty, known = Background(), Background(names(2), tracks(2))
    none = [PairRate(0, "n0", "n1", "mlx5_1", "both", math.nan), PairRate(0, "n0", "n1", "mlx5_1", "ab", 0.0)]
    golden.hold(
        "nothing",
        [shown(blame(rows, RULES, each)) for rows in ([], none[:1], none) for each in (empty, known)],
    )


@pytest.mark.parametrize("seed", LOADS)
def test_what_is_said_of_a_steady_load(golden: Golden, seed: int) -> None:
    """Slow for some windows in a row, some times over, at some ports; at the floor to the bit."""
    dice = random.Random(seed)
    n, rails, slots = (
        dice.choice((2, 3, 4, 5)),
        dice.choice((1, 2, 3)),
        dice.choice((11, 12, 13, 40, 60, 61, 100)),
    )
    rates = {
        (rail, each): [1000.0 if rail != "eth3" else dice.choice((1000.0, 850.0, 849.0))] * slots
        for rail in (f"eth{at + 1}" for at in range(rails))
        for each in names(n)
    }
    for _ in range(dice.choice((0, 1, 1, 2, n * rails))):
        slow, first = rates[dice.choice([*rates])], dice.randrange(3)
        length, apart = dice.choice((1, 2, 3, 12)), dice.choice((2, 3, 4, 20))
        for start in range(first, slots, length + apart):
            if dice.random() < dice.choice((0.3, 1.0)):
                slow[start : start + length] = [dice.choice((800.0, 799.0, 100.0))] * length
        del slow[slots:]
    lines = []
    for buffered in (True, False):
        loads = []
        for order in (names(n), (*names(n)[::2], *names(n)[1::2])):
            found = [
                Ring(rail, order, {each: rates[rail, each] for each in order})
                for rail in dict.fromkeys(rail for rail, _ in rates)
            ]
            loads.append(steady_load(found, buffered))
        lines += [f"{shown(each)} {each.together} {each.suspicious}" for each in loads]
        lines += [f"{shown(each)} {each.throughout}" for each in intermittent(loads)]
    golden.hold(f"load {seed}", [*dict.fromkeys(lines)])


def signs(machines, counters=(), rails: Rails = LAMBDA.rails, rail_names=NAMES) -> list[str]:
    run = runs.read_only(machines, counters)
    return [shown(each) for each in symptoms(machines, rails, rail_names, over_the_run(run))]


def test_which_ports_show_signs(golden: Golden) -> None:
    four = nodes(4)
    down = [with_port(four[1], "mlx5_3", state="DOWN"), with_port(four[2], "mlx5_3", state="INIT", rate=None)]
    golden.hold(
        "down links", signs([four[0], *down]) + signs([four[0], replace(four[1], ports=four[1].ports[:4])])
    )
    lines = []
    for count in range(5):
        machines = [with_port(each, "mlx5_5", rate=25e9) for each in four[:count]] + [*four[count:]]
        lines += [f"{count} of 4 at half the rate", *signs(machines)]
    joint = ("mlx5_1/1+mlx5_2/1", *NAMES[2:])
    lines += signs([with_port(four[0], "mlx5_2", rate=25e9), *four[1:]], rail_names=joint)
    golden.hold("slow links", lines)


def test_which_interfaces_show_signs(golden: Golden) -> None:
    rails, lines = Rails(kind="socket", count=2, devices=("eth1", "eth2")), []
    for changes in (
        {},
        {"mtu": 1000},
        {"mtu": None},
        {"operstate": "down"},
        {"operstate": "unknown"},
        {"operstate": None},
    ):
        for count in (1, 2, 3):
            pods = [
                node(at, interfaces=(interface("eth1", **changes if at < count else {}), interface("eth2")))
                for at in range(3)
            ]
            lines += [f"{changes} of {count}", *signs(pods, rails=rails, rail_names=("eth1", "eth2"))]
    golden.hold("sockets", lines)


def test_which_counters_are_signs(golden: Golden) -> None:
    before, lines = [counted(each) for each in nodes(2)], []
    for counter in ("symbol_error", "link_downed", "port_rcv_errors", "port_xmit_discards", "port_xmit_wait"):
        for growth in (0, 1, 7):
            after = [before[0], grow(before[1], "mlx5_3/1", "counters", seconds=1.0, **{counter: growth})]
            lines += [f"{counter} {growth}", *signs(nodes(2), around("rails", before, after))]
    golden.hold("counters", lines)


def test_how_fast_a_gpu_is_inside_its_node(golden: Golden) -> None:
    """The better half of what it reached with its neighbours; what failed reached nothing."""
    where, rows = runs.ranks(2, 4), []
    made = runs.cases(INSIDE, ("p2p_bidirectional",), 4)[0]
    seconds = iter((0.001, 0.002, 0.004, math.nan, 0.003, 0.001, 0.001, 0.005, 0.002, math.inf, 0.001, 0.002))
    for group in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (4, 5), (4, 6), (5, 6), (6, 7), (2, 3)):
        one = replace(made, groups=(group,))
        row = runs.measured(one, next(seconds))[0]
        if group == (1, 3):
            row = replace(row, pipelined=(), isolated=(), stop="failed", extra=Extra(failed="it hangs"))
        rows.append(row_of(one, row))
    rows.append(
        row_of(
            replace(made, phase="rails", groups=((0, 1),)), runs.measured(replace(made, groups=((0, 1),)))[0]
        )
    )
    found = [*inside(rows, where, NAMES, {}), *inside(rows, where, NAMES, {0: 5, 1: None, 2: 0})]
    golden.hold("inside", [shown(each) for each in found])
