"""Soaks made in code, and what the checks on them say."""

import math
import random
from dataclasses import replace

import pytest

import made_nodes
import runs
from bench.judge.verdicts import judge
from bench.model.measurement import Window
from bench.model.profile import load
from bench.model.run_folder_lines import HealthLine
from bench.model.stats import median
from bench.model.verdict import Status
from bench.plan import Request, sweep_cases
from bench.store import load as load_run

GATED = replace(runs.LOCAL, limits=load("lambda-1cc-h100").limits)
CASE = sweep_cases("soak", Request("all_reduce", 1 << 20, 1 << 20), ((0, 1),))[0]
BUDGET = 120.0
FLAT = [[float(second), 300 << 20, 60 << 20] for second in range(120)]


def windows(count=30, seconds=lambda i: 1e-3, **changes):
    made = [
        Window(
            ended=BUDGET * (i + 1) / count,
            seconds=(seconds(i), seconds(i) * 0.9),
            slowest=2 * seconds(i),
            isolated=seconds(i),
            calls=100,
            wrong=(0, 0),
            checked=2 * CASE.count,
            case=CASE.id,
            ranks=(0, 1),
        )
        for i in range(count)
    ]
    return [replace(each, **changes) for each in made]


def soak(tmp_path, made, memory=FLAT, errors=(), profile=None):
    """Verdicts of a soak, by check."""
    profile = profile or runs.LOCAL
    run = load_run(runs.folder(tmp_path / "run", planned=[CASE], profile=profile))
    health = [
        HealthLine("soak", rank, memory=memory, errors=list(errors) if rank == 0 else None) for rank in (0, 1)
    ]
    manifest = replace(run.manifest, settings=replace(run.manifest.settings, budget=BUDGET))
    run = replace(run, manifest=manifest, windows=tuple(made), health=tuple(health))
    found = {}
    for verdict in judge(run, profile).verdicts:
        found.setdefault(verdict.check, []).append(verdict)
    return {
        name: found.get(f"soak.{name}", []) for name in ("duration", "steady", "right", "memory", "errors")
    }


def outcome(verdicts):
    return [verdict.status for verdict in verdicts]


def test_a_steady_soak_passes(tmp_path):
    found = soak(tmp_path, windows())
    assert {name: outcome(each) for name, each in found.items()} == {
        "duration": [Status.PASS],
        "steady": [Status.PASS],
        "right": [Status.PASS],
        "memory": [Status.PASS],
        "errors": [Status.NOT_APPLICABLE],
    }


def test_a_run_without_a_soak_has_no_verdicts_on_one(tmp_path):
    run = judge(load_run(runs.folder(tmp_path / "run")), runs.LOCAL).run
    assert not [verdict for verdict in run.verdicts if verdict.check.startswith("soak.")]


def test_a_soak_that_was_ended_early_cannot_pass(tmp_path):
    duration = soak(tmp_path, windows()[:10])["duration"]
    assert outcome(duration) == [Status.INCONCLUSIVE]
    assert "40 s in 10 windows" in duration[0].measured


def test_a_soak_without_any_window_is_no_pass(tmp_path):
    found = soak(tmp_path, [], memory=[])
    assert {outcome(each)[0] for name, each in found.items() if name != "errors"} == {Status.INCONCLUSIVE}


def test_a_load_that_grows_slower_fails(tmp_path):
    steady = soak(tmp_path, windows(seconds=lambda i: 1e-3 * (1 + 0.01 * i)), profile=GATED)["steady"]
    assert outcome(steady) == [Status.FAIL]
    assert steady[0].value == pytest.approx(-0.157, abs=0.01)


def speed(tmp_path, rates, profile=GATED):
    """The verdict on a soak whose windows ran at ``rates``, as shares of the usual rate."""
    rates = list(rates)
    made = windows(len(rates), lambda i: 1e-3 / rates[i])
    (steady,) = soak(tmp_path, made, profile=profile)["steady"]
    return steady


def test_a_drop_within_the_noise_is_could_not_tell(tmp_path):
    dice = random.Random(3)
    steady = speed(tmp_path, [1.0] * 20 + [dice.uniform(0.2, 0.8) for _ in range(10)])
    assert steady.status is Status.INCONCLUSIVE
    assert "too noisy to decide on a drop" in steady.measured


@pytest.mark.parametrize("slow", [1, 2])
def test_a_third_at_half_the_rate_of_one_before_it_fails(tmp_path, slow):
    steady = speed(tmp_path, [0.5 if i // 10 == slow else 1.0 for i in range(30)])
    assert steady.status is Status.FAIL
    assert steady.value == pytest.approx(-0.5)
    assert f"the {('first', 'middle', 'last')[slow]} is -50.0 %" in steady.measured
    assert "10 of 30 windows (33.3 %)" in steady.measured


def test_a_load_that_grows_faster_has_not_dropped(tmp_path):
    # 0.906, 0.927 and 1.22 GB/s in the thirds of a soak on a machine that others used
    dice = random.Random(1)
    rates = [dice.gauss(level, 0.01) for level in (0.906, 0.927, 1.22) for _ in range(10)]
    for profile in (GATED, runs.LOCAL):
        steady = speed(tmp_path / profile.title[:4] / str(len(profile.limits)), rates, profile)
        assert steady.status is not Status.FAIL
        assert steady.value > 0
    slow_start = speed(tmp_path / "slow", [0.5 if i < 10 else 1.0 for i in range(30)])
    assert slow_start.status is Status.INCONCLUSIVE and "10 of them stand out" in slow_start.measured


@pytest.mark.parametrize("seed", range(12))
def test_a_machine_that_wanders_for_minutes_does_not_fail(tmp_path, seed):
    dice, level, rates = random.Random(seed), 0.0, []
    for _ in range(60):
        level = 0.9 * level + dice.gauss(0, 0.06)
        rates.append(math.exp(level + dice.gauss(0, 0.01)))
    assert speed(tmp_path, rates).status is not Status.FAIL
    local = speed(tmp_path / "local", rates, runs.LOCAL)
    assert local.status in (
        Status.PASS,
        Status.NOT_APPLICABLE,
        *([Status.INCONCLUSIVE] if (local.value or 0.0) <= -0.3 else []),
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1, 0.3])
def test_a_drop_of_40_percent_passes_nowhere(tmp_path, seed, noise):
    dice = random.Random(seed)
    rates = [(1.0 if i < 20 else 0.6) * math.exp(dice.gauss(0, noise)) for i in range(60)]
    gated = speed(tmp_path / "gated", rates)
    assert gated.status in ((Status.FAIL,) if noise < 0.05 else (Status.FAIL, Status.INCONCLUSIVE))
    if median(rates[40:]) / median(rates[:20]) <= 0.7:
        assert speed(tmp_path / "local", rates, runs.LOCAL).status is Status.INCONCLUSIVE


def test_a_profile_that_gates_no_speed_is_told_of_a_drop(tmp_path):
    rates = [1.0] * 20 + [0.85] * 10
    assert speed(tmp_path / "gated", rates).status is Status.FAIL
    told = speed(tmp_path / "local", rates, runs.LOCAL)
    assert told.status is Status.NOT_APPLICABLE
    assert (
        "the profile sets no floor for speed; " in told.measured
        and "the last is -15.0 % from the first" in told.measured
    )


def test_a_dip_of_one_window_is_told_and_does_not_fail(tmp_path):
    steady = speed(tmp_path, [0.5 if i == 14 else 1.0 for i in range(30)])
    assert steady.status is Status.PASS
    assert "1 of 30 windows (3.3 %)" in steady.measured


def test_dips_all_along_are_no_pass_though_every_third_is_alike(tmp_path):
    steady = speed(tmp_path, [0.5 if i % 3 == 0 else 1.0 for i in range(30)])
    assert steady.status is Status.INCONCLUSIVE
    assert "10 of them stand out" in steady.measured


def test_small_noise_all_along_passes(tmp_path):
    dice = random.Random(4)
    assert speed(tmp_path, [dice.gauss(1, 0.01) for _ in range(60)]).status is Status.PASS


def test_a_few_windows_do_not_decide(tmp_path):
    assert outcome(soak(tmp_path, windows(5))["steady"]) == [Status.INCONCLUSIVE]


def test_one_wrong_element_in_one_window_fails(tmp_path):
    made = windows()
    made[17] = replace(made[17], wrong=(0, 1))
    right = soak(tmp_path, made)["right"]
    assert outcome(right) == [Status.FAIL]
    assert "1 wrong element in 1 window, the first at 72 s" in right[0].measured


def test_windows_that_nobody_checked_are_no_pass(tmp_path):
    assert outcome(soak(tmp_path, windows(wrong=(None, None), checked=0))["right"]) == [Status.INCONCLUSIVE]


def test_memory_that_grows_fails_and_names_the_process(tmp_path):
    leak = [[at, worker + int(at) * (3 << 20), own] for at, worker, own in FLAT]
    memory = soak(tmp_path, windows(), memory=leak)["memory"]
    assert outcome(memory) == [Status.FAIL, Status.FAIL]
    assert memory[0].subject == "n0 rank 0 worker"


def test_a_large_process_may_grow_by_more_than_a_small_one(tmp_path):
    large = [[at, (4 << 30) + int(at) * (3 << 20), own] for at, _, own in FLAT]
    assert outcome(soak(tmp_path, windows(), memory=large)["memory"]) == [Status.PASS]


def test_growth_at_the_start_alone_is_no_leak(tmp_path):
    start = [[at, worker - (250 << 20) * (at < 30), own] for at, worker, own in FLAT]
    assert outcome(soak(tmp_path, windows(), memory=start)["memory"]) == [Status.PASS]


def test_memory_that_nobody_saw_is_no_pass(tmp_path):
    assert Status.PASS not in outcome(soak(tmp_path, windows(), memory=[])["memory"])


RAILS = [f"mlx5_{number}/1" for number in range(1, 9)]


def errors_of(tmp_path, machine=None, **line):
    """The verdicts on the counters of a node with eight InfiniBand rails, or of another machine."""
    profile, machine = load("lambda-1cc-h100"), machine or made_nodes.node(0)
    run = load_run(runs.folder(tmp_path / "run", planned=[CASE], profile=profile, nodes=[machine]))
    name = machine.name
    ranks = tuple(replace(rank, node=name) for rank in run.manifest.ranks)
    row = HealthLine("soak", 0, memory=FLAT, **line)
    run = replace(run, manifest=replace(run.manifest, ranks=ranks), health=(row,), windows=tuple(windows()))
    return [verdict for verdict in judge(run, profile).verdicts if verdict.check == "soak.errors"]


def test_errors_on_a_rail_fail_with_their_time(tmp_path):
    found = errors_of(tmp_path, errors=[[90.0, "mlx5_3/1 symbol_error", 12]], looks=4, followed={})
    assert outcome(found) == [Status.FAIL]
    assert "mlx5_3/1 symbol_error grew by 12 until 1 min 30 s" in found[0].measured


def test_rails_whose_counters_were_followed_and_did_not_grow_pass(tmp_path):
    followed = {rail: [] for rail in RAILS}
    assert outcome(errors_of(tmp_path, errors=[], looks=2, followed=followed)) == [Status.PASS]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({}, "were not followed"),
        ({"errors": []}, "read 0 times"),
        ({"errors": [], "looks": 1, "followed": {}}, "read 1 time"),
        (
            {"errors": [], "looks": 9, "followed": {}},
            "growth of mlx5_1/1 error counters, mlx5_2/1 error counters, mlx5_3/1 error counters, mlx5_4/1 error "
            "counters and 4 more counters is not known",
        ),
        (
            {
                "errors": [],
                "looks": 9,
                "followed": {**{rail: [] for rail in RAILS}, "mlx5_8/1": ["symbol_error"]},
            },
            "growth of mlx5_8/1 symbol_error",
        ),
    ],
)
def test_counters_that_nobody_followed_are_no_pass(tmp_path, line, why):
    found = errors_of(tmp_path, **line)
    assert outcome(found) == [Status.INCONCLUSIVE] and why in found[0].measured


# ── what soaks could hide ───────────────────────────────────────────────────────────────────────────────

CUT = windows()[:6] + windows()[-6:]
HALVES = [[float(second), (300 << 20) * (second < 12), 60 << 20] for second in range(120)]


@pytest.mark.parametrize(
    ("check", "made", "memory", "said"),
    [
        ("duration", CUT, FLAT, "no window from 24 s to 1 min 40 s"),
        ("duration", windows() + windows(), FLAT, "stands after that of 2 min 0 s"),
        ("duration", windows(ended=BUDGET), FLAT, "no window from 0 ns to 2 min 0 s"),
        ("right", windows(wrong=(None, None)), FLAT, "30 of 30 windows were not verified"),
        ("right", windows(wrong=(0, None)), FLAT, "30 of 30 windows were not verified"),
        ("right", windows(wrong=(0,)), FLAT, "30 of 30 windows were not verified"),
        ("right", windows(checked=1), FLAT, "30 of 30 windows were not verified"),
        ("right", windows(checked=2 * CASE.count - 1), FLAT, "30 of 30 windows were not verified"),
        ("memory", windows(), FLAT[:12], "was read until 11 s and no longer"),
        ("memory", windows(), HALVES, "was read 12 times, 60 are wanted"),
    ],
)
def test_what_a_soak_could_hide_is_inconclusive(tmp_path, check, made, memory, said):
    found = soak(tmp_path, made, memory)
    texts = [each.measured for each in found[check] if each.status is Status.INCONCLUSIVE]
    assert any(said in text for text in texts)


def test_a_soak_that_is_slow_from_its_beginning_fails_by_the_bound_of_the_profile(tmp_path):
    bound = replace(GATED.limits[0].bound, value=1e9, text="1 GB/s")
    limit = replace(GATED.limits[0], bound=bound, nodes=(1, 2), size=(1 << 20, 1 << 20))
    profile = replace(GATED, limits=(limit,))
    slow, _ = soak(tmp_path / "slow", windows(seconds=lambda i: 2e-3), profile=profile)["steady"]
    assert (slow.status, slow.value) == (Status.FAIL, pytest.approx((1 << 20) / 2e-3))
    assert outcome(soak(tmp_path / "well", windows(), profile=profile)["steady"]) == [Status.PASS]


def test_a_node_without_rails_says_so(tmp_path):
    found = errors_of(tmp_path, machine=replace(made_nodes.node(0), ports=()), errors=[], looks=2)
    assert outcome(found) == [Status.INCONCLUSIVE] and "no rail of the profile" in found[0].measured
