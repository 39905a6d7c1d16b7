"""The phases of a run, one after the other, and what follows from each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import uuid4

from bench.judge.counter_windows import QUIET
from bench.model.typed_json import encode
from bench.plan import AFTER, COUNTERS
from bench.plan.phase_names import FIRST
from bench.store import LOGS, WIRING, write_file
from bench.supervise import questions

from . import perftest_phase
from .bootstrap import PROBE_SECONDS
from .followups import follow_up
from .live_run import LiveRun
from .resume import RemainingPhase

QUIET_SECONDS = 2.0  # long enough for storage that is in use to show


def run_phases(live: LiveRun, steps: Sequence[RemainingPhase]) -> None:
    """Measure what is left of each phase, and what follows from it."""
    options = live.options
    until = options.start_time + options.accept.budget if options.accept.budget else None
    if any(step.phase.cases for step in steps):
        _listen(live)
    for number, step in enumerate(steps, 1):
        if not _measure(live, step, until) or step.followed:
            continue
        spare = _spare(live, until, steps[number:])
        follow_up(live, step.phase, spare)
        if step.phase.name == FIRST:
            perftest_phase.measure(live, spare)


def _measure(live: LiveRun, step: RemainingPhase, until: float | None) -> bool:
    """Measure what a phase lacks; False when the budget has no time for it."""
    name = step.phase.name
    if step.phase.cases:
        if not live.in_time(step.phase, until):
            return False
        live.measure(step.phase)
    elif step.unclosed:  # counters do not forget
        live.read_counters(name, "after")
        live.coordinator.recorder.note(f"the counters after phase {name} were read when the run went on")
    return True


def _spare(live: LiveRun, until: float | None, after: Sequence[RemainingPhase]) -> float | None:
    """When the follow-ups of a phase must end, so that the steps ``after`` it and the verdict still fit."""
    if until is None:
        return None
    return until - AFTER - sum(live.seconds(step.phase) + COUNTERS for step in after if step.phase.cases)


def _listen(live: LiveRun) -> None:
    """Two readings of the counters before anything is measured: what they show is not the measured traffic.

    Only where a device beside the rails must carry nothing, and once of a run that is resumed.
    """
    rails = live.profile.rails
    if rails.kind != "none" and not live.options.resumed and len(live.leads) > 1:
        live.read_counters(QUIET, "before")
        time.sleep(QUIET_SECONDS)
        live.read_counters(QUIET, "after")


def ask_wiring(live: LiveRun) -> None:
    """Ask, where the rails are interfaces, on which rail of the others each broadcast arrives."""
    rails, chief = live.profile.rails.interfaces, live.coordinator
    if not rails or len(live.leads) < 2:
        return
    hear, leads = questions.HearBroadcasts(tuple(rails), uuid4().hex), live.leads.values()
    answers = chief.ask(questions.WIRING, [*leads], PROBE_SECONDS, dict.fromkeys(leads, hear))
    heard = {node: answers[lead] for node, lead in live.leads.items()}
    write_file(chief.recorder.path, f"{LOGS}/{WIRING}", encode(heard))
