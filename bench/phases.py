"""The phases of a plan, one after the other, and what is measured again because of them."""

from __future__ import annotations

from dataclasses import replace

from . import paths, preflight
from .gather import PROBE_SECONDS
from .options import Options, Watcher
from .plan import by_node, pair_cases, rotation
from .profile import Profile
from .rows import rows
from .store import Phase, Plan, load
from .supervise import Coordinator

SUSPECT_RULES = {"precision": 0.0, "budget": 0.25}


def run_phases(chief: Coordinator, plan: Plan, options: Options, watcher: Watcher) -> None:
    leads = [members[0] for members in by_node(chief.ranks)]
    stops = preflight.stops(chief.recorder.path, options.profile)
    if stops and not options.go_on:
        text = f"stopped before measuring: {stops[0].message}; --go-on measures all the same"
        chief.recorder.line("note", text=text)
        watcher.notice("refused", {"text": text})
        return
    for phase in plan.phases:
        _phase(chief, leads, phase, watcher)
        if phase.name == paths.FIRST:
            plan = _suspects(chief, leads, plan, options.profile, watcher)


def _phase(chief: Coordinator, leads: list[int], phase: Phase, watcher: Watcher) -> None:
    """One phase between two snapshots of every node's counters."""
    watcher.phase(phase)
    for when in ("before", "after"):
        snapshots = chief.ask("counters", leads, PROBE_SECONDS)
        chief.recorder.counters(phase.name, when, [snapshots[lead] for lead in leads])
        if when == "before":
            chief.run(phase, {case.id: rotation(case) for case in phase.cases})


def _suspects(chief: Coordinator, leads: list[int], plan: Plan, profile: Profile, watcher: Watcher) -> Plan:
    """Measure again, alone, whoever the first pass made suspect; the plan with what was added."""
    assert chief.order is not None
    for time_ in range(1, paths.TIMES + 1):
        name = paths.AGAIN if time_ == 1 else f"{paths.AGAIN}-{time_}"
        cases = [
            case
            for number, pairs in enumerate(
                paths.to_confirm(rows(load(chief.recorder.path)), chief.ranks, profile)
            )
            for case in pair_cases(name, f"test-{number}", pairs, profile, chief.order.backend)
            if case.collective == "p2p"
        ]
        if not cases:
            break
        phase = Phase(name, "suspects again, alone", tuple(cases), rules=SUSPECT_RULES)
        phase = replace(phase, seconds=0.5 * len(cases) + 4)
        plan = replace(plan, phases=(*plan.phases, phase))
        chief.recorder.plan(plan)
        watcher.planned_more(phase)
        _phase(chief, leads, phase, watcher)
    return plan
