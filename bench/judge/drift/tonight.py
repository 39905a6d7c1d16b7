"""Tonight against its nights, rails and nodes against their peers, and what is measured again before an alarm."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from bench.judge.drift import Label, NightValue, NoRuptures, Series, SeriesFinding, attribute, judge
from bench.judge.drift.baseline import STANDARD
from bench.judge.drift.peers import PeerFinding, compare_with_peers
from bench.judge.drift.peers import suspects as slow_peers
from bench.judge.evidence import Evidence, derived
from bench.model.late_dataclass import dataclass, replace
from bench.model.measurement import Case
from bench.plan import by_node, pair_cases
from bench.plan.phases import START
from bench.store import Phase, Plan
from bench.store.history import RecordedRun

from .past import Past, past_of
from .series import (
    NODES,
    RAILS,
    RERUN,
    TRENDS,
    Fleet,
    fleets,
    followed,
    nights,
    rail_subjects,
    recorded_run,
    series_of,
)

COMPARED = "drift.compared"  # the verdict that every night tells a person
PARTNERS = 2  # healthy rails that a suspect rail meets again
RAIL_RULES = {"precision": 0.0, "budget": 0.25}


@dataclass(frozen=True)
class Tonight:
    """A nightly run among its nights.

    findings  one for each series of tonight, whose steps are not yet sought
    cut       series of earlier nights that tonight's plan does not have
    fleets    with the standing of each of their members
    """

    past: Past
    record: RecordedRun
    findings: tuple[SeriesFinding, ...]
    cut: tuple[Series, ...]
    fleets: tuple[tuple[Fleet, tuple[PeerFinding, ...]], ...]


@derived
def tonight(evidence: Evidence) -> Tonight | None:
    """A nightly run among the nights before it; None of any other run. RunError where its history is damaged."""
    past = past_of(evidence.run)
    if past is None:
        return None
    made = recorded_run(evidence, past.cluster, past.parts)
    now = nights(made)
    found = tuple(
        judge(series, past.nights.get(series, ()), now[series], past.accepted) for series in sorted(now)
    )
    lately = {series for series, before in past.nights.items() if _recent(before, past.nights)}
    standings = tuple(
        (fleet, compare_with_peers(fleet.values, +1, fleet.reruns)) for fleet in fleets(evidence)
    )
    return Tonight(past, made, found, tuple(sorted(lately - set(now))), standings)


def compared(found: Tonight) -> tuple[int, str]:
    """How many of tonight's series were held against a baseline, and that in one line with its nights."""
    done = sum(each.first is not None for each in found.findings)
    past, least = found.past, STANDARD.least
    if not any(past.nights.values()):
        where = f" in {past.where}" if past.where else ""
        return (
            done,
            f"first night of {past.cluster}{where}: nothing to compare with yet (night 1 of {least}, learning)",
        )
    most = max((each.nights for each in found.findings), default=0)
    nights = f"night {most + 1} of {least}, learning" if most < least else f"with {most} nights"
    return done, f"{past.cluster}: {done} of {len(found.findings)} series compared ({nights})"


def _recent(before: tuple[NightValue, ...], everything: Mapping[Series, tuple[NightValue, ...]]) -> bool:
    """Whether a series was measured in the last night that there was."""
    last = max((found[-1].time for found in everything.values() if found), default=0.0)
    return bool(before) and before[-1].time == last


def explained(finding: SeriesFinding, past: Past) -> SeriesFinding:
    """A finding with the steps of its history, where it says anything but "ok" or "too few nights"."""
    if finding.label in (Label.OK, Label.INSUFFICIENT):
        return finding
    try:
        return attribute(finding, past.nights.get(finding.series, ()))
    except NoRuptures as error:
        return replace(finding, unattributed=str(error))


def rerun(evidence: Evidence, phase: str) -> Phase | None:
    """The phase that measures once more whatever ``phase`` made suspect; None when nothing is.

    The worst come first: what the reserve of the night has no time for stays suspicious, and is no PASS.
    """
    if phase not in (*TRENDS, NODES, RAILS):
        return None
    found = tonight(evidence)
    if found is None:
        return None
    plan, reserve = evidence.run.plan, found.past.reserve
    if phase in TRENDS:
        return _phase(plan, phase, _series_cases(evidence, phase, found), reserve)
    slow = next((slow_peers(standings) for fleet, standings in found.fleets if fleet.name == phase), ())
    cases = _node_cases(evidence, slow) if phase == NODES else _rail_cases(evidence, slow)
    return _phase(plan, phase, cases, reserve)


def _phase(plan: Plan, name: str, cases: list[Case], reserve: float) -> Phase | None:
    """A phase like the one called ``name``, in workers of its own, with ``cases`` under new names."""
    like = next(phase for phase in plan.phases if phase.name == name)
    used = sum(phase.seconds for phase in plan.phases if phase.name.startswith(RERUN))
    rules = RAIL_RULES if name == RAILS else like.rules
    each = 2 * RAIL_RULES["budget"] if name == RAILS else (like.seconds - START) / max(1, len(like.cases))
    fitting = max(0, int((reserve - used - START) / each)) if each > 0 else len(cases)
    if not cases[:fitting]:
        return None
    anew = f"{RERUN}-{name}"
    renamed = (
        replace(case, phase=anew, id=f"{anew}/{case.id.partition('/')[2]}") for case in cases[:fitting]
    )
    return replace(
        like,
        name=anew,
        title=f"out of line in {name}: measured again",
        cases=tuple(renamed),
        rules=rules,
        seconds=each * len(cases[:fitting]) + START,
    )


def _series_cases(evidence: Evidence, phase: str, found: Tonight) -> list[Case]:
    """The cases behind the suspect series of a phase, the furthest out of line first."""
    out = {each.series: -abs(each.first.change) for each in found.findings if each.first and each.wants_rerun}
    mine = {series_of(case, found.past.cluster): case for case in followed(evidence) if case.phase == phase}
    return [mine[series] for series in sorted(out, key=lambda series: out[series]) if series in mine]


def _node_cases(evidence: Evidence, slow: tuple[str, ...]) -> list[Case]:
    """Each slow node by itself, while the others stand by."""
    members = {evidence.ranks[group[0]].node: group for group in by_node(evidence.ranks)}
    like = next((case for case in evidence.run.plan.cases if case.phase == NODES), None)
    if like is None:
        return []
    return [replace(like, id=f"{like.id}/{node}", groups=(members[node],)) for node in slow]


def _rail_cases(evidence: Evidence, slow: tuple[str, ...]) -> list[Case]:
    """Each slow rail with healthy ones of other nodes, one direction at a time and nobody beside it."""
    nodes, name = by_node(evidence.ranks), rail_subjects(evidence)
    cases: list[Case] = []
    for subject in slow:
        me = next(rank for rank, known in name.items() if known == subject)
        place = evidence.ranks[me].local_rank
        healthy = (here[place] for here in nodes if me not in here and name[here[place]] not in slow)
        for partner in islice(healthy, PARTNERS):
            number = len(cases)
            made = pair_cases(RAILS, f"test-{number}", ((me, partner),), evidence.profile, evidence.backend)
            cases += [case for case in made if case.collective == "p2p"]
    return cases
