"""The plan that a run should have: made again from its manifest, its facts and its own profile.

What a plan says that it left out for its budget is left out again, and nothing else: a phase that is missing from
``plan.json`` without that is missing from the run.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from bench.model.discovered_rails import at_hand
from bench.model.groups import group_sizes
from bench.model.groups import without as without_groups
from bench.model.profile import parse
from bench.plan import AcceptOptions, Job, acceptance
from bench.plan.budget import without
from bench.plan.nightly import short
from bench.plan.phase_names import CROSS, FIRST, GIVEN_UP, PINNED
from bench.plan.screening import MOST_IN_PAIRS
from bench.store import Manifest, Phase, Run

from .gpu_of_rank import foreseen
from .leaves import nodes_of_leaves
from .rails_of_rank import pins

PLANNED = ("accept", "nightly")  # commands whose plan follows from the profile


def expected_phases(run: Run) -> list[Phase]:
    """The phases of an acceptance run or of a night. Raises ProfileError and PlanError.

    Where nodes were set aside, messages between two ranks stay as they were planned before, without those to them:
    what of them was measured by then need not be measured again. All else is planned for the nodes that are left.
    """
    phases = _phases(run)
    if run.whole is run:
        return phases
    gone = {rank.rank for rank in run.whole.manifest.ranks} - {rank.rank for rank in run.manifest.ranks}
    before = {phase.name: without_ranks(phase, gone) for phase in _phases(run.whole)}
    return [before.get(phase.name, phase) if _in_pairs(phase) else phase for phase in phases]


def without_ranks(phase: Phase, gone: Collection[int]) -> Phase:
    """The phase without the groups that any of these ranks is in."""
    cases = (replace(case, groups=without_groups(case.groups, gone)) for case in phase.cases)
    return replace(phase, cases=tuple(case for case in cases if case.groups))


def _in_pairs(phase: Phase) -> bool:
    return all(group_sizes(case.groups) == {2} for case in phase.cases)


def _phases(run: Run) -> list[Phase]:
    manifest = run.manifest
    profile = at_hand(parse(manifest.profile_text, "the run's own profile"), run.whole.nodes)
    gpus = foreseen(manifest.ranks, run.nodes, manifest.environment)
    rails = pins(profile, manifest.ranks, run.nodes, gpus)
    accept = accept_options(manifest)
    job = Job(profile, manifest.ranks, manifest.backend, accept, tuple(rails), tuple(rails.values()))
    job = replace(job, by_leaf=nodes_of_leaves(run, profile))
    case_seconds = manifest.settings.budget or profile.sweep.budget
    if manifest.settings.night is not None:
        return short(job, manifest.settings.night, case_seconds)[0]
    if any(phase.name == FIRST for phase in run.plan.phases):  # more than is wanted of many nodes
        job = job.with_options(all_pairs=True)
    elif len(run.whole.manifest.nodes) > MOST_IN_PAIRS and not accept.all_pairs:
        job = job.with_options(screened="screening")  # also where few are left of them
    given_up = [text for name, text in run.plan.skipped if name == GIVEN_UP]
    return acceptance(without(job, given_up), case_seconds)[0]


def accept_options(manifest: Manifest) -> AcceptOptions:
    """What a person chose for an acceptance run, as its manifest says."""
    named, ways = manifest.settings.asked, "all"
    if named.get(FIRST) == "--one-way":
        ways = "one-way"
    pinned = True if PINNED in named else False if "--no-pinned" in manifest.command else None
    return AcceptOptions(ways, CROSS in named, pinned, all_pairs=FIRST in named)


def not_planned(run: Run, phases: list[Phase]) -> dict[str, list[str]]:
    """Phase → its cases that are not in the plan as they should be, and were not refused for want of memory."""
    planned = {case.id: case for case in run.plan.cases}
    refused = {row.case for row in run.plan.refused}
    missing = {
        phase.name: [c.id for c in phase.cases if c.id not in refused and planned.get(c.id) != c]
        for phase in phases
    }
    return {name: ids for name, ids in missing.items() if ids}
