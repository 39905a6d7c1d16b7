"""What the checks say of evidence that is changed by chance, held to a golden file: facts, clocks, counters, soaks.

Each part draws a few changes and keeps all that does not pass, so that a limit moved by a little is seen somewhere.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import runs
from bench.judge.checks import CHECKS
from bench.judge.evidence import Evidence
from bench.model.facts import Node
from bench.model.measurement import Window
from bench.model.profile import Profile
from bench.model.run_folder_lines import GpuDuringCase, HealthLine, WorkerGpu
from bench.model.verdict import Status, Verdict
from bench.plan import Request, sweep_cases
from bench.store import Run, load
from golden import Golden, opened, shown
from made_acceptance import acceptance_run, slower, with_rows
from made_nodes import LAMBDA, around, counted, grow, nodes, seen

DRAWS = {"facts": 90, "clocks": 40, "counters": 50, "soak": 40, "rows": 40}
OF_FACTS = (
    "host.",
    "gpus.",
    "rails.",
    "pcie.",
    "exclusion.",
    "versions.",
    "environment.",
    "kernel.boot",
)
OF_COUNTERS = ("growth.", "exclusion.bytes", "wire.share", "rails.counters", "watch.")
OF_ROWS = ("limits.", "wire.", "correctness", "coverage.", "nvlink.", "rails.share", "blame.")
SOAK = sweep_cases("soak", Request("all_reduce", 1 << 20, 1 << 20), ((0, 1),))[0]


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    parts = [f"{name} {seed}" for name, times in DRAWS.items() for seed in range(times)]
    yield from opened(request, Path(__file__).with_name("chance.txt"), parts)


def draws(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("seed", range(DRAWS[name]))


def said(
    evidence: Evidence,
    begin: Iterable[str],
    profile: Profile = LAMBDA,
    most: int = 8,
    known: Iterable[str] = (),
) -> Iterator[str]:
    """All verdicts of the checks whose names begin so, but those that pass or do not apply, which are counted.

    ``known``: lines that are left out.
    """
    seen_ = replace(evidence, profile=profile) if evidence.profile is not profile else evidence
    found = [each for name, one in CHECKS.items() if name.startswith(tuple(begin)) for each in one(seen_)]
    bad = [each for each in found if each.status in (Status.FAIL, Status.INCONCLUSIVE)]
    good = [each for each in found if each not in bad]
    yield f"{len(bad)} of {len(found)}; {sum(each.status is Status.PASS for each in good)} pass"
    lines = [_line(each) for each in bad]
    yield from [each for each in lines if each not in known][:most]


def _line(each: Verdict) -> str:
    figures = shown((each.value, each.bound and getattr(each.bound, "value", each.bound)))
    text = f"{each.status.value} {each.check}: {each.subject[:80]}: {each.measured[:130]}"
    return f"    {text} | {each.wanted[:40]} {figures}"


def other(dice: random.Random, value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return dice.choice((value + 1, max(value - 1, 0), value * 2, 0))
    if isinstance(value, float):
        return dice.choice((value * 2, value / 2, value * 0.99, 0.0))
    if isinstance(value, str):
        return dice.choice(("", f"{value}x", value.upper(), "unknown"))
    if isinstance(value, (tuple, frozenset)):
        return type(value)([*value][1:])
    if isinstance(value, dict):
        return dict([*value.items()][1:])
    return None


def drawn(dice: random.Random, names: Iterable[str]) -> str:
    """One of the names; where one is added later, the others are still drawn as they were."""
    salt = dice.random()
    return min(names, key=lambda name: random.Random(f"{salt} {name}").random())


def changed(dice: random.Random, thing: Any) -> Any:
    """The dataclass with one field changed, wherever it lies in it."""
    named = {each.name: each for each in fields(thing)}
    field = named[drawn(dice, named)]
    value = getattr(thing, field.name)
    if is_dataclass(value) and dice.random() < 0.95:
        return replace(thing, **{field.name: changed(dice, value)})
    if isinstance(value, tuple) and value and is_dataclass(value[0]) and dice.random() < 0.95:
        at = dice.randrange(len(value))
        return replace(thing, **{field.name: (*value[:at], changed(dice, value[at]), *value[at + 1 :])})
    made = None if dice.random() < 0.25 else other(dice, value)
    return replace(thing, **{field.name: value if made is None and "None" not in str(field.type) else made})


def one_of(dice: random.Random, machine: Node) -> Node:
    """Ports, GPUs, host and software are changed alike often."""
    name = dice.choice(("ports", "gpus", "host", "software", ""))
    if not name:
        return changed(dice, machine)
    value = getattr(machine, name)
    if not isinstance(value, tuple):
        return replace(machine, **{name: changed(dice, value)})
    at = dice.randrange(len(value))
    return replace(machine, **{name: (*value[:at], changed(dice, value[at]), *value[at + 1 :])})


@draws("facts")
def test_what_is_said_of_other_facts(golden: Golden, seed: int) -> None:
    dice, machines = random.Random(seed), [*nodes(3)]
    for _ in range(dice.choice((2, 4, 8))):
        at = dice.randrange(3)
        machines[at] = one_of(dice, machines[at])
    name = machines[0].name
    if name != "n0":
        machines[0] = replace(machines[0], name="n0")
    environment = dice.choice(
        ({}, {0: {"NCCL_IB_HCA": "^=mlx5_0"}}, {3: {"NCCL_IB_DISABLE": "1"}}, {5: {"NCCL_ALGO": "Ring"}})
    )
    evidence = seen(machines, environment=environment, names=("n0", "n1", "n2"))
    golden.hold(
        f"facts {seed}",
        [*said(evidence, OF_FACTS, most=12, known=[*said(seen(nodes(3)), OF_FACTS, most=99)])],
    )


@draws("clocks")
def test_what_is_said_of_other_clocks(golden: Golden, seed: int) -> None:
    """Clocks of 2000 MHz at most, at the limits to the bit and beside them."""
    dice, lines = random.Random(seed), []
    for phase in dice.sample(("collectives", "nodes", "ring", "inside"), dice.choice((1, 2, 3))):
        for rank in range(16):
            usual = dice.random() < 0.85
            clock = 2e9 if usual else dice.choice((1.7e9, 1.699e9, 1.5e9, 1.499e9, 1e9))
            memory = 2.6e9 if usual else dice.choice((2.6e9, 2.34e9, 2.339e9, 2.21e9, 2.2e9))
            samples = 8 if usual else dice.choice((0, 1, 8))
            spell = GpuDuringCase(
                case=f"{phase}/all_reduce/1024",
                begun=5.0,
                samples=samples,
                silent=0 if usual else dice.choice((0, 4, 3, 5)),
                clock_sm=[clock / 2, clock] if samples else [],
                clock_memory=[memory, memory] if samples else [],
                temperature=[
                    31.0,
                    64.0 if usual else dice.choice((86.0, 87.0, 88.0, 89.0, 90.0, 95.0, 100.0)),
                ],
                power=[120.0, 691.0],
                reasons={}
                if usual
                else dice.choice(
                    ({}, {"hw_thermal": 2, "gpu_idle": 3}, {"sw_power_cap": 8}, {"hw_slowdown": 1})
                ),
            )
            gpu = WorkerGpu(rank % 8, "H100", clock_sm_max=dice.choice((2e9, 2e9, None, 2.7e9)))
            if usual or dice.random() < 0.8:
                spells = [spell, spell] if dice.random() < 0.2 else [spell]
                lines.append(
                    HealthLine(phase, rank, gpu, spells, "" if usual else dice.choice(("", "no pynvml")))
                )
    evidence = seen(nodes(2), phases=("collectives",))
    evidence = replace(evidence, run=replace(evidence.run, health=tuple(lines)))
    golden.hold(f"clocks {seed}", [*said(evidence, ("gpus.throttled", "gpus.clock"), most=12)])


@draws("counters")
def test_what_is_said_of_other_counters(golden: Golden, seed: int) -> None:
    """Errors, bytes by a management port, waits and marks that grew in one of three phases, by little and by much."""
    dice, machines = random.Random(seed), nodes(3)
    shots, lines, at = [counted(each) for each in machines], [], 0.0
    for phase in ("collectives", "ring", "rails"):
        after = [grow(shot, "mlx5_1/1", "counters", seconds=10.0) for shot in shots]
        for node in range(3):
            for rail in range(1, 9):
                sent = 10**10 if phase != "rails" else 10**9
                after[node] = grow(
                    after[node],
                    f"mlx5_{rail}/1",
                    "counters",
                    port_xmit_data=sent // 4,
                    port_rcv_data=sent // 4,
                )
        for _ in range(dice.choice((0, 1, 2, 4))):
            node, rail = dice.randrange(3), dice.randrange(9)
            groups = after[node].readings[f"mlx5_{rail}/1"]
            group = drawn(dice, groups)
            name = drawn(dice, groups[group])
            after[node] = grow(
                after[node],
                f"mlx5_{rail}/1",
                group,
                **{name: dice.choice((-5, 1, 7, 10**3, 10**6, 10**9, 10**11))},
            )
        lines += around(phase, shots, after)
        shots, at = after, at + 10.0
    evidence = seen(machines, counters=lines, phases=("collectives", "ring", "rails"))
    golden.hold(f"counters {seed}", [*said(evidence, OF_COUNTERS, most=12)])


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load(runs.folder(tmp_path_factory.mktemp("soak"), planned=[SOAK], profile=runs.LOCAL))


@draws("soak")
def test_what_is_said_of_other_soaks(golden: Golden, soaked: Run, seed: int) -> None:
    dice = random.Random(seed)
    count, budget = dice.choice((0, 1, 11, 12, 13, 24, 30, 40)), 120.0
    step, noise = dice.choice((0.0, 0.04, 0.05, 0.06, 0.29, 0.31, -0.1)), dice.choice((0.0, 0.0, 0.01, 0.1))
    at, back = dice.randrange(count + 1), dice.random() < 0.3
    windows = []
    for number in range(count):
        slow = 1 / (1 - step) if number >= at and not (back and number >= at + 3) else 1.0
        if dice.random() < dice.choice((0.0, 0.1, 0.2)):
            slow *= dice.choice((1.04, 1.1, 2.0))
        seconds = 1e-3 * slow * (1 + noise * dice.gauss(0, 1))
        ended = budget * (number + 1) / count
        if dice.random() < 0.05:
            ended += dice.choice((0.1, 1.0, 10.0, -20.0))
        windows.append(
            Window(
                ended=ended,
                seconds=(seconds, seconds * 0.9),
                slowest=2 * seconds,
                isolated=seconds,
                calls=100,
                wrong=(0, 0) if dice.random() < 0.98 else (0, 3),
                checked=2 * SOAK.count if dice.random() < 0.98 else dice.choice((0, SOAK.count)),
                case=SOAK.id,
                ranks=(0, 1),
            )
        )
    if windows and dice.random() < 0.3:
        del windows[dice.randrange(len(windows)) :][:4]
    grown = dice.choice((0, 0, 63 << 20, 64 << 20, 65 << 20, 200 << 20))
    start = dice.choice((300 << 20, 2000 << 20))
    memory = [
        [float(second), start + grown * second // 119, 60 << 20]
        for second in range(0, 120, dice.choice((1, 10, 60)))
    ]
    errors = [] if dice.random() < 0.7 else [(dice.choice((0.0, 30.0)), "mlx5_1/1 symbol_error", 5)]
    health = [
        HealthLine("soak", rank, memory=memory, errors=errors if rank == 0 else None) for rank in (0, 1)
    ]
    manifest = replace(soaked.manifest, settings=replace(soaked.manifest.settings, budget=budget))
    run = replace(soaked, manifest=manifest, windows=tuple(windows), health=tuple(health))
    gated = replace(runs.LOCAL, limits=LAMBDA.limits) if seed % 2 else runs.LOCAL
    golden.hold(f"soak {seed}", [*said(Evidence(run, gated), ("soak.",), gated)])


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return acceptance_run(tmp_path_factory.mktemp("accepted"), 3)


@draws("rows")
def test_what_is_said_of_other_rows(golden: Golden, accepted: Run, seed: int) -> None:
    """Some rows of some phases are slower, wrong, fewer or not there."""
    dice = random.Random(seed)
    phases = [phase.name for phase in accepted.plan.phases]
    chosen = dice.sample(phases, 3)
    times = {phase: dice.choice((1.02, 1.06, 1.12, 1.2, 1.5, 3.0)) for phase in chosen}
    share = dice.choice((0.05, 0.3, 1.0))

    def change(case, row):
        if case.phase not in times or dice.random() > share:
            return row
        if dice.random() < 0.05:
            return dice.choice(
                (
                    None,
                    replace(row, wrong=tuple(1 for _ in row.wrong)),
                    replace(row, checked=row.checked // 2),
                )
            )
        return slower(row, times[case.phase])

    run = with_rows(accepted, change)
    golden.hold(f"rows {seed}", [f"{times} {share}", *said(Evidence(run, LAMBDA), OF_ROWS, most=14)])
