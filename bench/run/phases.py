"""The phases of a plan, one after the other, and what is measured again because of them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

from bench.judge.blame import transfers
from bench.judge.blame.background import known
from bench.judge.drift import tonight
from bench.measure.perftest.record import left_out
from bench.measure.perftest.schedule import seconds as verbs_seconds
from bench.model.facts import Node
from bench.model.profile import Profile
from bench.model.units import show_seconds
from bench.plan import AFTER, COUNTERS, PAIR_RULES, Job, by_node, pair_cases, rotation, seconds, step_phase
from bench.plan.screening import most_steps
from bench.store import LOGS, WIRING, Phase, Plan, load, write_text
from bench.store.rows import rows
from bench.supervise.coordinator import Coordinator
from bench.supervise.limits import COUNTERS as COUNTERS_SECONDS

from . import perftest_phase, preflight
from .bootstrap import PROBE_SECONDS
from .options import Options, Watcher
from .resume import SUSPECT_RULES, followed, todo, unclosed


def run_phases(
    chief: Coordinator, plan: Plan, options: Options, watcher: Watcher, nodes: Sequence[Node] = ()
) -> None:
    """``nodes``: what the machines are now, where a run goes on whose facts are of before."""
    leads = [members[0] for members in by_node(chief.ranks)]
    stops = preflight.stops(chief.recorder.path, options.profile, nodes)
    if stops and not options.go_on:
        text = f"stopped before measuring: {stops[0].message}; --go-on measures all the same"
        chief.recorder.line("note", text=text)
        watcher.notice("refused", {"text": text})
        return
    until = options.begun + options.asked.budget if options.asked.budget else None
    if options.asked.cross:
        _wiring(chief, leads, options.profile)
    for number, phase in enumerate(planned := plan.phases):
        if not _done(chief, leads, phase, options, until, watcher) or followed(phase, options.resumed):
            continue
        spare = _spare(until, planned[number + 1 :], options)
        if options.nightly:
            plan = _out_of_line(chief, leads, plan, phase.name, options.profile, spare, watcher)
        if phase.name == transfers.FIRST:
            plan = _suspects(chief, leads, plan, options.profile, spare, watcher)
            plan = _repeated(chief, leads, plan, options.profile, spare, watcher)
            verbs(chief, options.profile, watcher, spare)
        if phase.name.startswith(transfers.SCREEN):
            plan = _trace(chief, leads, plan, options, spare, watcher)


def _done(
    chief: Coordinator,
    leads: list[int],
    phase: Phase,
    options: Options,
    until: float | None,
    watcher: Watcher,
) -> bool:
    """Measure what a phase still lacks; False when the budget has no time for it."""
    left = todo(phase, options.resumed)
    if left.cases or not options.resumed:
        if not _in_time(chief, left, until, watcher):
            return False
        _phase(chief, leads, left, watcher)
    elif phase.name in unclosed(options.resumed):
        _close(chief, leads, phase)
    return True


def _wiring(chief: Coordinator, leads: list[int], profile: Profile) -> None:
    """Where the rails are interfaces: on which rail of the others a broadcast on each arrives."""
    rails = list(profile.rails.devices)
    if profile.rails.kind != "socket" or not rails or len(leads) < 2:
        return
    answers = chief.ask("wiring", leads, PROBE_SECONDS, rails=rails, job=uuid4().hex)
    told = {chief.ranks[lead].node: answers[lead] for lead in leads}
    write_text(chief.recorder.path / LOGS / WIRING, json.dumps(told))


def _spare(until: float | None, after: Sequence[Phase], options: Options) -> float | None:
    """When what a phase calls for must end, so that the phases planned ``after`` it still fit, and the verdict."""
    if until is None:
        return None
    left = [todo(phase, options.resumed) for phase in after]
    return until - AFTER - sum(phase.seconds + COUNTERS for phase in left if phase.cases)


def _in_time(chief: Coordinator, phase: Phase, until: float | None, watcher: Watcher) -> bool:
    """Whether the phase fits into what is left of the budget; if not, that is said and kept."""
    left = until - time.monotonic() if until is not None else phase.seconds
    if phase.seconds <= left:
        return True
    text = (
        f"{phase.name} was not begun: it takes up to {show_seconds(phase.seconds)}, "
        f"{show_seconds(max(left, 0))} of the budget are left"
    )
    chief.recorder.line("note", text=text)
    watcher.notice("refused", {"text": text})
    return False


def _more(chief: Coordinator, plan: Plan, phase: Phase, watcher: Watcher) -> Plan:
    """The plan with a phase that what was seen calls for; written before it is measured."""
    plan = replace(plan, phases=(*plan.phases, phase))
    chief.recorder.plan(plan)
    watcher.planned_more(phase)
    return plan


def _trace(
    chief: Coordinator, leads: list[int], plan: Plan, options: Options, until: float | None, watcher: Watcher
) -> Plan:
    """Halve slow rings of nodes, then confirm suspects with other good ones, as long as there is time."""
    assert chief.order is not None
    job = Job(options.profile, chief.ranks, chief.order.backend, asked=options.asked)
    nodes = tuple(dict.fromkeys(rank.node for rank in chief.ranks))
    for number in range(2, 2 + 4 * most_steps(nodes)):
        run = load(chief.recorder.path)
        measured = rows(run)
        besides = known(run, measured, options.profile)
        now = transfers.screened(measured, chief.ranks, options.profile, besides)
        if now.done:
            break
        phase = step_phase(job, number, now.probes)
        phase = replace(phase, seconds=seconds(phase, options.rules.budget, job))
        if not _in_time(chief, phase, until, watcher):
            break
        plan = _more(chief, plan, phase, watcher)
        _phase(chief, leads, phase, watcher)
    return plan


def verbs(chief: Coordinator, profile: Profile, watcher: Watcher, until: float | None = None) -> None:
    """The same rails by perftest, so that a loss is placed in a layer."""
    nodes = [Node.from_json(row) for row in load(chief.recorder.path).facts]
    table = perftest_phase.asked(chief, nodes, profile)
    if table is None:
        return
    phase = Phase(perftest_phase.NAME, perftest_phase.TITLE, (), seconds=verbs_seconds(len(table.able)))
    if not _in_time(chief, phase, until, watcher):
        chief.recorder.verbs(left_out("no time was left in the budget"))
        return
    watcher.phase(phase)
    perftest_phase.rounds(table, until)


def _out_of_line(
    chief: Coordinator,
    leads: list[int],
    plan: Plan,
    name: str,
    profile: Profile,
    until: float | None,
    watcher: Watcher,
) -> Plan:
    """Of a nightly run: whatever a phase shows out of its baseline is measured again at once; the plan with that."""
    more = tonight.again(load(chief.recorder.path), profile, name)
    if more is None or not _in_time(chief, more, until, watcher):
        return plan
    more = replace(more, environment=next(each.environment for each in plan.phases if each.name == name))
    plan = replace(plan, phases=(*plan.phases, more))
    chief.recorder.plan(plan)
    watcher.planned_more(more)
    _phase(chief, leads, more, watcher)
    return plan


def _phase(chief: Coordinator, leads: list[int], phase: Phase, watcher: Watcher) -> None:
    """One phase between two snapshots of every node's counters."""
    watcher.phase(phase)
    for when in ("before", "after"):
        _counters(chief, leads, phase, when)
        if when == "before":
            chief.run(phase, {case.id: rotation(case) for case in phase.cases})


def _counters(chief: Coordinator, leads: list[int], phase: Phase, when: str) -> None:
    """Every node's counters, ``before`` or ``after`` a phase, into the run folder."""
    snapshots = chief.ask("counters", leads, COUNTERS_SECONDS)
    chief.recorder.counters(phase.name, when, [snapshots[lead] for lead in leads])


def _close(chief: Coordinator, leads: list[int], phase: Phase) -> None:
    """The counters after a phase whose cases are all measured, when the run goes on; counters do not forget."""
    _counters(chief, leads, phase, "after")
    chief.recorder.line("note", text=f"the counters after phase {phase.name} were read when the run went on")


def _suspects(
    chief: Coordinator, leads: list[int], plan: Plan, profile: Profile, until: float | None, watcher: Watcher
) -> Plan:
    """Measure again, alone, whoever the first pass made suspect; the plan with what was added."""
    assert chief.order is not None
    for time_ in range(1, transfers.TIMES + 1):
        name = transfers.AGAIN if time_ == 1 else f"{transfers.AGAIN}-{time_}"
        run = load(chief.recorder.path)
        measured = rows(run)
        tests = transfers.to_confirm(measured, chief.ranks, profile, known(run, measured, profile))
        cases = [
            case
            for number, look in enumerate(tests)
            for case in pair_cases(
                name, f"test-{number}", look.pairs, profile, chief.order.backend, look.ways
            )
        ]
        if not cases:
            break
        phase = Phase(name, "suspects again, alone", tuple(cases), rules=SUSPECT_RULES)
        phase = replace(phase, seconds=0.5 * len(cases) + 4)
        if not _in_time(chief, phase, until, watcher):
            break
        plan = _more(chief, plan, phase, watcher)
        _phase(chief, leads, phase, watcher)
    return plan


def _repeated(
    chief: Coordinator, leads: list[int], plan: Plan, profile: Profile, until: float | None, watcher: Watcher
) -> Plan:
    """Slow transfers that nobody is blamed for, again as they were, the others beside them; the plan with that."""
    run = load(chief.recorder.path)
    measured = rows(run)
    slow = transfers.unexplained(measured, chief.ranks, profile, known(run, measured, profile))
    cases = tuple(
        replace(
            case, phase=transfers.REPEATED, id=f"{transfers.REPEATED}/{time_}/{case.id.partition('/')[2]}"
        )
        for time_ in range(1, transfers.REPEATS + 1)
        for case in slow[: transfers.MOST_REPEATED]
    )
    phase = Phase(
        transfers.REPEATED, "slow transfers of nobody's fault again, as they were", cases, rules=PAIR_RULES
    )
    phase = replace(phase, seconds=PAIR_RULES["budget"] * 1.3 * len(cases) + 4)
    if not cases or not _in_time(chief, phase, until, watcher):
        return plan
    plan = _more(chief, plan, phase, watcher)
    _phase(chief, leads, phase, watcher)
    return plan
