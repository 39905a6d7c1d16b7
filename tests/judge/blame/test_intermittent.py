"""Rails that are slow now and then: rings of paper, and what a run folder with them is judged to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

import runs
from bench.judge.blame import transfers
from bench.judge.blame.intermittent import Intermittent, Ring, intermittent, rings, steady_load
from bench.judge.blame.suspects import Subject
from bench.judge.checks import CHECKS
from bench.judge.checks.intermittent_rails import _too_fast
from bench.judge.evidence import Evidence
from bench.model.measurement import Case, Measurement, Window
from bench.model.profile import Profile, parse
from bench.model.verdict import Status, Verdict
from bench.plan import Job, acceptance, pair_cases
from bench.plan.phase_names import AGAIN, FIRST, STEADY
from bench.plan.steady_load import WINDOW, steady, steady_again
from bench.run.resume import planned_anew
from bench.store import Phase, Plan, Recorder, load

SLOTS, FAST = 80, 1e9
Slow = Callable[[str, str, int], bool]  # whether the port of (node, rail) is slow in a slot


def flapping(slot: int) -> bool:
    """A quarter of its rate for one second of every three."""
    return slot % 12 < 4


def nodes(n: int) -> tuple[str, ...]:
    return tuple(f"n{at}" for at in range(n))


def loaded(names: Sequence[str], slow: Slow, rails: int, buffered: bool) -> list[Ring]:
    """As the wires would have it: a link is slow where one of its ports is; ``buffered``: its receiver alone waits."""
    found = []
    for rail in (f"eth{at}" for at in range(1, rails + 1)):
        rates: dict[str, list[float]] = {name: [] for name in names}
        for slot in range(SLOTS):
            bad = [slow(name, rail, slot) for name in names]
            links = [bad[at - 1] or bad[at] for at in range(len(names))]  # from the one before to this one
            for at, name in enumerate(names):
                late = links[at] or (not buffered and links[(at + 1) % len(names)])
                rates[name].append(FAST / 4 if late else FAST)
        found.append(Ring(rail, tuple(names), rates))
    return found


def settled(n: int, slow: Slow, rails: int = 2, buffered: bool = True, loads: int = 2) -> list[Intermittent]:
    first = nodes(n)
    orders = (first, (*first[::2], *first[1::2]))[:loads]
    return intermittent([steady_load(loaded(order, slow, rails, buffered), buffered) for order in orders])


@pytest.mark.parametrize("n", [3, 4, 5, 8, 13])
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_port_that_is_slow_now_and_then_is_named_and_nobody_else(n, bad):
    (found,) = settled(n, lambda node, rail, slot: (node, rail) == (f"n{bad}", "eth2") and flapping(slot))
    assert (found.rail, found.nodes) == ("eth2", (f"n{bad}",))
    assert found.shares == pytest.approx((28 / 80,) * 2)
    assert not found.throughout


@pytest.mark.parametrize("n", [4, 5, 8])
def test_a_port_is_named_too_where_sender_and_receiver_wait_for_each_other(n):
    slow: Slow = lambda node, rail, slot: (node, rail) == ("n2", "eth1") and flapping(slot)  # noqa: E731
    (found,) = settled(n, slow, buffered=False)
    assert (found.rail, found.nodes) == ("eth1", ("n2",))


def test_three_nodes_that_all_wait_for_each_other_are_not_told_apart():
    """With one rail of three slow there are enough others to see that it is this rail's."""
    slow: Slow = lambda node, rail, slot: (node, rail) == ("n2", "eth1") and flapping(slot)  # noqa: E731
    (found,) = settled(3, slow, rails=3, buffered=False)
    assert (found.rail, set(found.nodes)) == ("eth1", set(nodes(3)))


def test_two_nodes_are_the_two_ends_of_one_link():
    slow: Slow = lambda node, rail, slot: (node, rail) == ("n1", "eth1") and flapping(slot)  # noqa: E731
    (found,) = settled(2, slow)
    assert (found.rail, set(found.nodes)) == ("eth1", {"n0", "n1"})


def test_what_is_slow_in_one_load_and_not_in_the_other_is_not_named():
    slow: Slow = lambda node, rail, slot: (node, rail) == ("n1", "eth1") and flapping(slot)  # noqa: E731
    first = steady_load(loaded(nodes(4), slow, 2, True), True)
    second = steady_load(loaded(nodes(4), lambda *_: False, 2, True), True)
    assert first.suspicious and not second.suspicious
    assert intermittent([first, second]) == []
    assert len(intermittent([first])) == 1


def test_windows_in_which_most_rails_are_slow_speak_against_nobody():
    load = steady_load(loaded(nodes(4), lambda node, rail, slot: flapping(slot), 2, True), True)
    assert (load.slow, load.slots, load.of) == ((), 52, 80)
    assert load.together


def test_a_load_in_which_most_rails_were_slow_at_once_is_tried_again():
    everything = steady_load(loaded(nodes(4), lambda node, rail, slot: flapping(slot), 2, True), True)
    assert not everything.slow and not everything.low and everything.suspicious
    assert not steady_load(loaded(nodes(4), lambda node, rail, slot: False, 2, True), True).suspicious


def test_a_rail_that_is_slow_throughout_is_low_beside_the_others_and_a_healthy_one_is_not():
    slow: Slow = lambda node, rail, slot: rail == "eth3"  # noqa: E731
    assert steady_load(loaded(nodes(4), slow, 3, False), False).low == {"eth3": 0.25}
    assert steady_load(loaded(nodes(4), slow, 3, True), True).low == {}, "a buffer hides how fast it was"
    assert not steady_load(loaded(nodes(4), lambda *_: False, 3, False), False).suspicious


def test_a_load_is_as_long_as_the_rank_that_told_least_of_it():
    first, second = loaded(nodes(4), lambda *_: False, 2, True)
    short = replace(second, rates={**second.rates, "n2": second.rates["n2"][:-3]})
    load = steady_load([first, short], True)
    assert (load.of, load.slots, load.suspicious) == (SLOTS - 3, SLOTS - 3, False)


def test_what_happens_to_most_rails_now_and_then_names_none():
    """A machine that others use: each rail is slow in every tenth window, at times of its own."""
    noisy = {(f"n{at}", f"eth{rail}"): 7 * at + 3 * rail for at in range(4) for rail in (1, 2)}
    slow: Slow = lambda node, rail, slot: (slot + noisy[node, rail]) % 10 == 0  # noqa: E731
    load = steady_load(loaded(nodes(4), slow, 2, True), True)
    assert load.slow == () and not load.together


def test_a_rail_that_is_slow_throughout_is_told_from_one_that_is_now_and_then():
    (found,) = settled(4, lambda node, rail, slot: (node, rail) == ("n1", "eth1"))
    assert found.throughout


def test_rails_whose_rate_nobody_knows_are_not_too_fast():
    """Nothing else of the run is asked then."""
    blind = SimpleNamespace(rails=SimpleNamespace(rate=None), backend="nccl")
    assert [*_too_fast(blind)] == []


# ── as a run folder ─────────────────────────────────────────────────────────────────────────────────────


SLOW_RAILS = runs.TWO_RAILS.replace("10 Gb/s", "100 Mb/s")
LAB = f'{SLOW_RAILS}collectives = ["all_reduce"]\npairs = ["p2p"]\n'


def profile() -> Profile:
    return parse(LAB, "lab.toml")


def job(n: int = 4, each: int = 2) -> Job:
    return Job(profile(), runs.ranks(n, each), "gloo")


def planned(made: object) -> Phase:
    assert isinstance(made, Phase)
    return made


def windows(phase: Phase, where: Sequence[str], slow: Slow) -> list[Window]:
    """What the ranks of a load told; a window with slow calls lasts as long as they do."""
    (case,) = phase.cases
    rows = []
    for at, group in enumerate(case.groups):
        ring = loaded([where[rank] for rank in group], slow, len(case.groups), True)[at]
        for slot, ended in zip(range(SLOTS), count(1)):
            seconds = tuple(case.size / ring.rates[node][slot] for node in ring.nodes)
            wrong = (0,) * len(group)
            rows.append(
                Window(
                    ended * WINDOW,
                    seconds,
                    max(seconds),
                    max(seconds),
                    9,
                    wrong,
                    case.count * len(group),
                    case.id,
                    group,
                )
            )
    return rows


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda file: None)  # what is judged here need not survive a power cut


def verdicts(path: Path, slow: Slow, second: Slow | None = None, lost: int = 0) -> list[Verdict]:
    """Of a run with the steady load, and the second where ``second`` says how the rails were then."""
    here = job()
    phases = [planned(steady(here))] + ([steady_again(here)] if second else [])
    where = {rank.rank: rank.node for rank in here.ranks}
    cases = [case for phase in phases for case in phase.cases]
    runs.folder(
        path, rows=[], planned=cases, where=here.ranks, profile=profile(), end=False, plan=Plan(tuple(phases))
    )
    names = [where[rank] for rank in sorted(where)]
    with Recorder(path, True) as recorder:
        for phase, how in zip(phases, (slow, second or slow), strict=False):
            for row in windows(phase, names, how):
                if row.ranks[0] >= lost:
                    recorder.add(row)
        recorder.end()
    return list(CHECKS["blame.intermittent"](Evidence(load(path), profile())))


def bad(node: str, rail: str, slot: int) -> bool:
    return (node, rail) == ("n2", "eth2") and flapping(slot)


def good(node: str, rail: str, slot: int) -> bool:
    return False


def test_an_intermittent_rail_that_a_second_load_confirms_fails_with_its_share(tmp_path):
    (found,) = verdicts(tmp_path / "run", bad, bad)
    assert (found.status, found.subject) == (Status.FAIL, "n2 rail eth2")
    assert found.measured.startswith(
        "intermittent: below 80.0 % of its equals' rate in 35.0 % and, loaded again, in 35.0 %"
    )


def test_without_a_second_load_it_is_a_suspicion(tmp_path):
    (found,) = verdicts(tmp_path / "run", bad)
    assert found.status is Status.INCONCLUSIVE
    assert found.measured.startswith("suspected: below 80.0 %")


def test_one_that_is_not_slow_again_is_excused_once_and_said(tmp_path):
    (found,) = verdicts(tmp_path / "run", bad, good)
    assert found.status is Status.PASS
    assert "n2 rail eth2 was slow in 35.0 % of the windows and, loaded again, is not" in found.evidence


def test_a_node_that_is_slow_on_all_of_its_rails_is_named_as_a_node(tmp_path):
    slow: Slow = lambda node, rail, slot: node == "n1" and flapping(slot)  # noqa: E731
    (found,) = verdicts(tmp_path / "run", slow, slow)
    assert (found.status, found.subject) == (Status.FAIL, "node n1")


def test_most_rails_slow_at_once_are_inconclusive(tmp_path):
    slow: Slow = lambda node, rail, slot: flapping(slot)  # noqa: E731
    (found,) = verdicts(tmp_path / "run", slow, slow)
    assert found.status is Status.INCONCLUSIVE
    assert found.measured == "most rails were slow at once in 28 of 80 windows"


def test_a_healthy_load_passes_and_a_rail_that_was_not_loaded_does_not(tmp_path):
    (found,) = verdicts(tmp_path / "healthy", good)
    assert (found.status, found.measured) == (
        Status.PASS,
        "2 rails kept 80.0 % of their median rate in 80 windows",
    )
    (found,) = verdicts(tmp_path / "half", good, lost=1)
    assert (found.status, found.measured) == (Status.INCONCLUSIVE, "1 of 2 rails were loaded")
    (found,) = verdicts(tmp_path / "none", good, lost=2)
    assert (found.status, found.measured) == (Status.INCONCLUSIVE, "0 of 2 rails were loaded")


def test_a_window_that_lasts_longer_counts_as_long():
    """A call of a second takes the place of four windows."""
    case = Case("steady/x", STEADY, "p2p_ring", 1000, 250, ((0, 1),))
    ends = (WINDOW, 5 * WINDOW, 6 * WINDOW)
    told = [
        Window(end, (each, 1.0), 1.0, 1.0, 1, (0, 0), 8, case.id, (0, 1))
        for end, each in zip(ends, (1.0, 4.0, 1.0), strict=True)
    ]
    (ring,) = rings([case], told, runs.ranks(2, 1), ("eth1",))
    assert ring.rates == {"n0": [1000.0, 250.0, 250.0, 250.0, 250.0, 1000.0], "n1": [1000.0] * 6}


# ── as a plan ───────────────────────────────────────────────────────────────────────────────────────────


def test_every_rail_of_every_node_is_loaded_at_once_in_rings_of_nodes():
    phase = planned(steady(job(n=5)))
    (case,) = phase.cases
    assert (case.collective, case.rail, case.size) == ("p2p_ring", "own", 1 << 18)
    assert case.groups == ((0, 2, 4, 6, 8), (1, 3, 5, 7, 9))
    assert phase.rules["window"] <= 0.25
    (again,) = steady_again(job(n=5)).cases
    assert again.groups == ((0, 4, 8, 2, 6), (1, 5, 9, 3, 7))
    assert again.id != case.id


@pytest.mark.parametrize(
    ("budget", "share", "seconds"), [("4 s", 1.0, 20.0), ("600 ms", 1.0, 6.0), ("4 s", 0.25, 5.0)]
)
def test_the_load_is_as_long_as_the_profile_and_the_budget_allow(budget, share, seconds):
    want = parse(f'{LAB}budget = "{budget}"\n', "lab.toml")
    here = replace(job(), profile=want).with_options(steady=share)
    assert planned(steady(here)).rules["budget"] == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("here", "why"),
    [
        (job(n=1), "one node has no rails to another"),
        (replace(job(), profile=runs.LOCAL), "the profile names no rails"),
        (
            replace(
                job(), profile=parse(LAB.replace('"socket"', '"infiniband"').replace("eth", "mlx5_"), "x")
            ),
            "RDMA",
        ),
    ],
)
def test_where_there_is_no_rail_to_load_it_is_left_out_with_the_reason(here, why):
    name, reason = steady(here)
    assert name == STEADY
    assert why in reason


def test_a_run_that_goes_on_loads_the_rails_again_as_it_would_have(tmp_path):
    first, second = planned(steady(job())), steady_again(job())
    forged = replace(second, rules={"budget": 1e9}, environment={"LD_PRELOAD": "x"})
    path = runs.folder(
        tmp_path / "run", rows=[], planned=[], where=job().ranks, plan=Plan((first, forged)), end=False
    )
    assert planned_anew(load(path), [first]).phases == (first, replace(second, seconds=forged.seconds))


@pytest.mark.parametrize(
    ("when", "named"),
    [
        (range(20, 28), False),  # one burst of two seconds: the machine did something else
        ((20, 21, 23, 24, 26, 27), False),  # one burst with holes
        ((20, 21, 22, 23, 50), False),  # a burst and a window
        ((10, 30, 50, 70), True),  # as many bursts of one window as make two of two
        ((20, 21, 50, 51), True),
        (range(20, 31), False),
        (range(20, 32), True),  # three seconds at a stretch
    ],
)
def test_a_rail_is_intermittent_where_it_is_slow_again_and_again(when, named):
    slow: Slow = lambda node, rail, slot: (node, rail) == ("n1", "eth1") and slot in when  # noqa: E731
    load = steady_load(loaded(nodes(4), slow, 2, True), True)
    assert load.suspicious is named


# which windows of a lab were slow in the two loads of a run in which n1 and n2 had one address and nothing else was
# wrong: 24 November 2026, four nodes on two cores at a load of 16
BUSY = (
    {
        "eth1": {"n0": "........####............", "n2": "...#....#...............", "n3": "." * 24},
        "eth2": {"n0": ".....##.................", "n2": "." * 24, "n3": "." * 24},
    },
    {
        "eth1": {"n0": "................###.##..", "n3": "..#.....................", "n2": "." * 24},
        "eth2": {
            "n0": ".......#..........#.....",
            "n3": "...#..##..........#.....",
            "n2": "..#...#...........#.....",
        },
    },
)


def test_a_busy_machine_is_no_intermittent_rail_in_a_load_of_six_seconds():
    rates = {"#": FAST / 4, ".": FAST}
    made = [
        [
            Ring(rail, tuple(found), {at: [rates[s] for s in found[at]] for at in found})
            for rail, found in load.items()
        ]
        for load in BUSY
    ]
    assert intermittent([steady_load(load, True) for load in made]) == []


def test_a_hole_in_a_burst_that_most_rails_share_makes_no_second_burst():
    def slow(node: str, rail: str, slot: int) -> bool:
        return slot == 22 or ((node, rail) == ("n1", "eth1") and slot in (19, 20, 21, 24, 25))

    assert not steady_load(loaded(nodes(4), slow, 2, True), True).suspicious


def on_the_path(path: Path, slow: Slow) -> dict[str, tuple[Status, str]]:
    """Check → what is judged where the one path from n3 to n2 on eth2 was slow, again too, and the load was so."""
    here = job()
    where = [rank.node for rank in here.ranks]

    def transferred(case: Case) -> list[Measurement]:
        late = [(where[a], where[b], a % 2) == ("n3", "n2", 1) for a, b in case.groups]
        return [
            runs.measured(case, case.size / (FAST / 4 if each else FAST))[at] for at, each in enumerate(late)
        ]

    phase = next(each for each in acceptance(here, 1.0)[0] if each.name == FIRST)
    pairs = [*phase.cases]
    rows = [row for case in pairs for row in transferred(case)]
    first = runs.folder(path / "first", rows, pairs, here.ranks, profile())
    for at, test in enumerate(transfers.retests(Evidence(load(first), profile()))):
        more = pair_cases(AGAIN, f"test-{at}", test.pairs, profile(), "gloo", test.ways)
        pairs += more
        rows += [row for case in more for row in transferred(case)]
    phases = [planned(steady(here)), steady_again(here)]
    cases = [*pairs, *(case for phase in phases for case in phase.cases)]
    plan = Plan((replace(phase, cases=tuple(pairs)), *phases))
    runs.folder(path / "run", rows, cases, here.ranks, profile(), end=False, plan=plan)
    with Recorder(path / "run", True) as recorder:
        for phase in phases:
            for row in windows(phase, where, slow):
                recorder.add(row)
        recorder.end()
    evidence = Evidence(load(path / "run"), profile())
    return {
        check: [(each.status, each.subject) for each in CHECKS[check](evidence)]
        for check in ("blame.rails", "blame.intermittent")
    }


def test_a_path_is_slow_because_the_port_at_its_end_is_now_and_then(tmp_path):
    name = "path n2 - n3 on rail eth2, from n3 to n2 only"
    assert on_the_path(tmp_path / "port", bad) == {
        "blame.rails": [(Status.NOT_APPLICABLE, name)],
        "blame.intermittent": [(Status.FAIL, "n2 rail eth2")],
    }
    assert on_the_path(tmp_path / "path", good)["blame.rails"] == [(Status.FAIL, name)]


@pytest.mark.parametrize(
    ("blamed", "status"),
    [
        (Subject("path", "n2", "n3", "eth2"), Status.NOT_APPLICABLE),
        (Subject("path", "n1", "n2", "eth2"), Status.NOT_APPLICABLE),
        (Subject("path", "n0", "n1", "eth2"), Status.NOT_APPLICABLE),
        (Subject("path", "n2", "n3", "eth1"), Status.FAIL),
        (Subject("port", "n2", rail="eth2"), Status.FAIL),
    ],
)
def test_a_path_that_blame_names_stands_for_both_of_its_ends(tmp_path, monkeypatch, blamed, status):
    named = SimpleNamespace(named=(SimpleNamespace(subject=blamed, text=blamed.text),))
    monkeypatch.setattr("bench.judge.checks.intermittent_rails.transfers.answer", lambda _: named)
    (found, *_) = verdicts(tmp_path / "run", bad, bad)
    assert found.status is status
