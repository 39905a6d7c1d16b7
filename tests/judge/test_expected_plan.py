"""A plan is made again from manifest, facts and profile: what is missing from it without a reason is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

import runs
from bench import __version__
from bench.judge.checks import CHECKS
from bench.judge.evidence import Evidence
from bench.judge.expected_plan import accept_options, expected_phases, not_planned
from bench.judge.verdicts import judge
from bench.model.profile import load as load_profile
from bench.model.verdict import Status
from bench.plan import CUTS, AcceptOptions, Job, acceptance
from bench.plan.budget import without
from bench.plan.nightly import short
from bench.plan.phase_names import GIVEN_UP
from bench.store import Plan, TooLarge, load
from made_nodes import LAMBDA, nodes

DEVICES = tuple(f"mlx5_{at}/1" for at in range(1, 9))
SECONDS = 1.0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An acceptance run of two nodes as it is planned; nothing of it was measured."""
    return made(tmp_path_factory.mktemp("planned") / "run")


def job(count=2, **accept):
    where = runs.ranks(count, 8)
    return Job(LAMBDA, where, "nccl", AcceptOptions(**accept), DEVICES, tuple(range(8)))


def made(path, count=2, plan=None, command=("railgauge", "accept"), asked=None, night=None, **accept):
    if plan is None:
        phases, skipped = acceptance(job(count, **accept), SECONDS)
        plan = Plan(tuple(phases), (), tuple(skipped))
    where = runs.ranks(count, 8)
    folder = runs.folder(
        path, [], plan.cases, where, LAMBDA, backend="nccl", plan=plan, nodes=nodes(count), end=False
    )
    found = load(folder)
    settings = replace(found.manifest.settings, budget=SECONDS, asked=asked or {}, night=night)
    manifest = replace(
        found.manifest, settings=settings, command=command, versions={"railgauge": __version__}
    )
    return replace(found, manifest=manifest)


def without_phases(run, *names):
    kept = tuple(phase for phase in run.plan.phases if phase.name.split("-")[0] not in names)
    return replace(run, plan=replace(run.plan, phases=kept))


def with_cases(run, name, change):
    phases = tuple(
        replace(phase, cases=tuple(change(phase.cases))) if phase.name == name else phase
        for phase in run.plan.phases
    )
    return replace(run, plan=replace(run.plan, phases=phases))


def missing(run):
    return not_planned(run, expected_phases(run))


def test_a_plan_that_was_made_so_is_whole(run):
    assert missing(run) == {}
    assert {phase.name for phase in run.plan.phases} >= {"evidence", "copies", "nodes", "inside", "pinned-7"}


@pytest.mark.parametrize(
    "name", ["evidence", "nodes", "inside", "pairs", "copies", "rails", "ring", "pinned"]
)
def test_a_phase_that_is_not_in_the_plan_is_named_whatever_reason_stands_there(run, name):
    tampered = without_phases(run, name)
    assert {phase.split("-")[0] for phase in missing(tampered)} == {name}
    reasons = (*tampered.plan.skipped, (name, "left out for want of time"), (name, "not asked for"))
    tampered = replace(tampered, plan=replace(tampered.plan, skipped=reasons))
    assert {phase.split("-")[0] for phase in missing(tampered)} == {name}


def test_collectives_that_are_not_in_the_plan_are_named(run):
    three = ("all_reduce", "all_gather", "reduce_scatter")
    tampered = with_cases(run, "collectives", lambda cases: [c for c in cases if c.collective in three])
    found = missing(tampered)
    assert set(found) == {"collectives"}
    assert {name.split("/")[1] for name in found["collectives"]} == {
        "all_to_all",
        "broadcast",
        "reduce",
        "gather",
        "scatter",
    }


def test_pairs_of_nodes_and_rails_that_are_not_in_the_plan_are_named(tmp_path):
    four = made(tmp_path / "run", 4)
    tampered = with_cases(four, "rails", lambda cases: [c for c in cases if "round-0" in c.id])
    assert len(missing(tampered)["rails"]) == 2 * len(tampered.plan.phases[3].cases)
    fewer = with_cases(
        four,
        "rails",
        lambda cases: [replace(c, groups=tuple(g for g in c.groups if g[0] % 8 != 7)) for c in cases],
    )
    assert len(missing(fewer)["rails"]) == 9


def test_everybody_of_a_plan_is_everybody_of_the_job(run):
    tampered = with_cases(
        run, "collectives", lambda cases: [replace(c, groups=((0, 1, 8, 9),)) for c in cases]
    )
    assert set(missing(tampered)) == {"collectives"}


def test_what_a_budget_gave_up_is_not_missing_and_nothing_else(tmp_path):
    texts = [CUTS[0].text, CUTS[4].text, CUTS[7].text]
    phases, skipped = acceptance(without(job(8), texts), SECONDS)
    plan = Plan(tuple(phases), (), (*((GIVEN_UP, text) for text in texts), *skipped))
    run = made(tmp_path / "run", 8, plan)
    assert missing(run) == {}
    unsaid = replace(run, plan=replace(plan, skipped=plan.skipped[1:]))
    assert set(missing(unsaid)) == {"pairs"}


def test_what_was_refused_for_want_of_memory_is_not_missing(run):
    large = max(run.plan.cases, key=lambda case: case.size)
    tampered = with_cases(run, large.phase, lambda cases: [c for c in cases if c.id != large.id])
    assert missing(tampered) == {large.phase: [large.id]}
    refused = (TooLarge(large.id, 2, 1, "GPU 0 of n0"),)
    assert missing(replace(tampered, plan=replace(tampered.plan, refused=refused))) == {}


@pytest.mark.parametrize(
    ("accept", "asked", "command"),
    [
        ({"ways": "one-way"}, {"rails": "--one-way"}, ()),
        ({"cross": True}, {"cross": "--cross-rail"}, ()),
        ({"pinned": True}, {"pinned": "--pinned"}, ()),
        ({"pinned": False}, {}, ("--no-pinned",)),
    ],
)
def test_what_a_person_chose_is_planned_again_with_it(tmp_path, accept, asked, command):
    run = made(tmp_path / "run", asked=asked, command=("railgauge", "accept", *command), **accept)
    assert missing(run) == {}
    if "ways" in accept or accept == {"pinned": False}:
        other = made(tmp_path / "other", **accept)
        assert missing(other) != {}


def test_pinned_passes_that_a_person_chose_are_not_those_by_default(run):
    for named, command, pinned in (
        ({"pinned": "--pinned"}, (), True),
        ({}, ("--no-pinned",), False),
        ({}, (), None),
    ):
        settings = replace(run.manifest.settings, asked=named)
        assert accept_options(replace(run.manifest, settings=settings, command=command)).pinned is pinned


def test_a_night_is_planned_again_with_its_budget(tmp_path):
    phases, skipped = short(job(), 240.0, SECONDS)
    plan = Plan(tuple(phases), (), tuple(skipped))
    run = made(tmp_path / "run", plan=plan, command=("railgauge", "nightly"), night=240.0)
    assert missing(run) == {}
    assert set(missing(without_phases(run, "rails"))) == {"rails"}


def judged(run):
    return list(CHECKS["coverage.plan"](Evidence(run, LAMBDA)))


def test_a_plan_that_lacks_something_is_inconclusive_by_phase(run):
    (whole,) = judged(run)
    assert whole.status is Status.PASS and f"all {len(run.plan.cases)} cases" in whole.measured
    found = judged(without_phases(run, "nodes", "copies"))
    assert {row.subject: row.status for row in found} == {
        "nodes": Status.INCONCLUSIVE,
        "copies": Status.INCONCLUSIVE,
    }
    assert all("were not planned" in row.measured and row.evidence for row in found)
    verdicts = judge(without_phases(run, "nodes"), LAMBDA).verdicts
    assert any(row.check == "coverage.plan" and row.status is Status.INCONCLUSIVE for row in verdicts)


@pytest.mark.parametrize(
    ("versions", "step"),
    [
        ({"railgauge": "0.0.9"}, "judge the run by RailGauge 0.0.9, which planned it, or measure again"),
        ({}, "judge the run by the version that planned it, or measure again"),
    ],
)
def test_a_plan_of_another_version_is_held_against_the_profile_too(run, versions, step):
    other = replace(run, manifest=replace(run.manifest, versions=versions))
    (verdict,) = judged(without_phases(other, "nodes"))
    assert (verdict.status, verdict.subject) == (Status.INCONCLUSIVE, "nodes")
    assert verdict.next_step.startswith(step)
    assert [each.status for each in judged(other)] == [Status.PASS]


@pytest.mark.parametrize("name", ["run", "soak", "probe"])
def test_a_sweep_that_a_person_chose_is_not_of_the_profile(run, name):
    other = replace(run, manifest=replace(run.manifest, command=("railgauge", name)))
    assert judged(without_phases(other, "nodes")) == []


def test_a_run_whose_own_profile_cannot_be_read_is_inconclusive(run):
    broken = replace(run, manifest=replace(run.manifest, profile_text="x"))
    (verdict,) = judged(broken)
    assert verdict.status is Status.INCONCLUSIVE and "cannot be made again" in verdict.measured


def test_judging_by_another_profile_plans_by_the_runs_own(run):
    (verdict,) = CHECKS["coverage.plan"](Evidence(run, load_profile("hgx-h100-ndr")))
    assert verdict.status is Status.PASS


MANY = 66


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return made(tmp_path_factory.mktemp("many") / "run", MANY)


def test_many_nodes_are_screened_and_a_plan_of_all_their_pairs_is_whole_too(many, tmp_path):
    assert {"screen-1", "rails"} & {phase.name for phase in many.plan.phases} == {"screen-1"}
    assert missing(many) == {}
    assert "screen-1" in missing(without_phases(many, "screen"))
    pairs = made(tmp_path / "run", MANY, all_pairs=True)
    assert missing(pairs) == {}  # as earlier versions planned
    assert "rails" in missing(with_cases(pairs, "rails", lambda cases: cases[3:]))


def test_all_pairs_that_were_asked_for_are_wanted(many):
    asked = replace(many.manifest, settings=replace(many.manifest.settings, asked={"rails": "--all-pairs"}))
    assert "rails" in missing(replace(many, manifest=asked))


def test_nodes_that_are_left_of_many_stay_screened(many):
    gone = {f"n{at}" for at in range(3)}
    left = tuple(rank for rank in many.manifest.ranks if rank.node not in gone)
    fewer = replace(
        many,
        manifest=replace(many.manifest, ranks=left),
        facts=tuple(node for node in many.facts if node.name not in gone),
        everyone=many,
    )
    assert {phase.name for phase in expected_phases(fewer)} & {"rails", "screen-1"} == {"screen-1"}
