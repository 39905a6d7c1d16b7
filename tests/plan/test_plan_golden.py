"""Whole plans held to a golden file: which phases, cases, seconds, bytes and memory each profile and layout gives."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

import pytest

import runs
from bench.model.collectives import COLLECTIVES
from bench.model.measurement import Case
from bench.model.profile import load
from bench.plan import AcceptOptions, Job, PlanError, acceptance
from bench.plan.budget import fit_to_budget
from bench.plan.estimate import estimate
from bench.plan.nightly import short, summary
from bench.plan.screening import most_steps, step
from bench.plan.screening.rings import coverage
from bench.plan.single_node_phases import by_algorithm
from bench.plan.steady_load import steady_again
from bench.store import Phase, Plan
from golden import Golden, opened, shown
from test_screening import Loss, healthy, path, port, problem, ring_rates

DEVICES = tuple(f"mlx5_{at}/1" for at in range(1, 9))
FEW = 3  # cases of a phase that stand there in full; the digest is of all
OPTIONS = {
    "": AcceptOptions(),
    "both ways, cross": AcceptOptions(ways="both", cross=True),
    "one way, not pinned": AcceptOptions(ways="one-way", pinned=False),
    "within 10 minutes": AcceptOptions(budget=600.0),
    "within 5 minutes": AcceptOptions(budget=300.0),
    "within 10 seconds": AcceptOptions(budget=10.0),
}
PLANS = {
    f"{name}, {nodes} × {gpus}{', ' if words else ''}{words}": (name, nodes, gpus, options)
    for words, options in OPTIONS.items()
    for name, nodes, gpus in (
        ("lambda-1cc-h100", 2, 8), ("lambda-1cc-h100", 5, 8), ("lambda-1cc-h100", 48, 8), ("azure-nd-h100-v5", 1, 8),
        ("local", 1, 2), ("local", 2, 1), ("runpod-instant-cluster", 4, 8), ("lambda-on-demand", 1, 4),
    )
    if not words or name == "lambda-1cc-h100"
}  # fmt: skip
RUNPOD, ETH = load("runpod-instant-cluster"), tuple(f"eth{at}" for at in range(1, 9))
ALL_RAILS = (DEVICES, tuple(range(8)))
JOBS = {
    "gloo on two nodes": Job(load("local"), runs.ranks(2, 3), "gloo"),
    "one rank": Job(load("local"), runs.ranks(1, 1), "gloo"),
    "uneven nodes": Job(load("lambda-1cc-h100"), runs.ranks(3, 8)[:20], "nccl"),
    "two rails": Job(load("lambda-1cc-h100"), runs.ranks(3, 8), "nccl", AcceptOptions(), DEVICES[:2], (0, 5)),
    "gloo beside RDMA rails": Job(load("lambda-1cc-h100"), runs.ranks(2, 8), "gloo", AcceptOptions(), *ALL_RAILS),
    "gloo on interfaces": Job(
        replace(RUNPOD, rails=replace(RUNPOD.rails, found=False, devices=ETH)),
        runs.ranks(2, 8),
        "gloo",
        AcceptOptions(),
        ETH,
        tuple(range(8)),
    ),
    "no rails": Job(load("lambda-1cc-h100"), runs.ranks(2, 8), "nccl"),
}  # fmt: skip
LOSSES: dict[str, tuple[int, Loss]] = {
    "screening a healthy cluster": (20, healthy),
    "screening finds a port": (20, port("n007", "r2")),
    "screening finds a node": (20, port("n007", "r1", "r2", "r3")),
    "screening finds a path": (20, path("n003", "n004", "r1")),
    "screening of three nodes": (3, port("n001", "r3")),
}
NIGHTS = tuple(f"a night of {seconds:g} s" for seconds in (20, 60, 600))


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    names = [*PLANS, *JOBS, *LOSSES, *NIGHTS]
    yield from opened(request, Path(__file__).with_name("plans.txt"), names)


def cases_of(phase: Phase) -> list[str]:
    every = [f"{shown(replace(case, groups=()))} on {groups(case)}" for case in phase.cases]
    digest = hashlib.sha256(
        "\n".join([*every, *(str(tuple(case.groups)) for case in phase.cases)]).encode()
    ).hexdigest()
    return [*(f"    {line}" for line in every[:FEW]), f"    {len(every)} cases, {digest[:16]}"]


def groups(case: Case) -> str:
    text = " ".join(",".join(map(str, group)) for group in case.groups)
    return text if len(text) < 80 else f"{text[:80]}… ({len(case.groups)} groups)"


def phases_of(phases: Sequence[Phase]) -> list[str]:
    found = []
    for phase in phases:
        found += [shown(replace(phase, cases=())), *cases_of(phase)]
    return found


@pytest.mark.parametrize("name", PLANS)
def test_the_plan_of_a_profile(golden: Golden, name: str) -> None:
    profile, nodes, gpus, options = PLANS[name]
    try:
        found = estimate(load(profile), nodes, gpus, options)
    except PlanError as error:
        golden.hold(name, [str(error)])
        return
    lines = [shown(each) for each in found.phases]
    golden.hold(name, [shown(replace(found, phases=())), *lines])


@pytest.mark.parametrize("name", JOBS)
def test_the_cases_of_a_job(golden: Golden, name: str) -> None:
    job = JOBS[name]
    phases, left = acceptance(job, 1.5)
    lines = [*phases_of(phases), *map(shown, left)]
    if len(job.devices) > 1:
        lines += phases_of([steady_again(job)])
    golden.hold(name, lines)


@pytest.mark.parametrize("name", LOSSES)
def test_the_steps_of_a_screening(golden: Golden, name: str) -> None:
    n, loss = LOSSES[name]
    asked, results, dice = problem(n), {}, random.Random(3)
    lines = [f"at most {most_steps(asked.nodes)} steps"]
    for _ in range(40):
        now = step(asked, results)
        lines += [shown(now), shown(coverage(asked, results))]
        if now.done:
            break
        results |= {ring: ring_rates(ring, loss, dice, 0.005) for ring in now.probes}
    golden.hold(name, lines)


@pytest.mark.parametrize("name", NIGHTS)
def test_the_plan_of_a_night(golden: Golden, name: str) -> None:
    budget = float(name.split()[3])
    job = Job(load("lambda-1cc-h100"), runs.ranks(4, 8), "nccl", AcceptOptions(), *ALL_RAILS)
    lines = []
    try:
        phases, left = short(job, budget, 1.0)
        lines += [
            *phases_of(phases),
            *map(shown, left),
            summary(Plan(tuple(phases), (), tuple(left)), budget),
        ]
        plan = fit_to_budget(job, budget, 1.0)
        lines += [
            f"{each.name}: {shown(getattr(plan, each.name))}" for each in fields(plan) if each.name != "job"
        ]
    except PlanError as error:
        lines.append(str(error))
    golden.hold(name, [line[:2000] for line in lines])


def test_nccl_chooses_an_algorithm_where_all_ranks_do_the_same() -> None:
    chosen = [name for name in COLLECTIVES if by_algorithm(name)]
    assert chosen == ["all_reduce", "all_gather", "reduce_scatter"]
