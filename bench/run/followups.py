"""What is measured because of what a phase showed: suspects alone, slow transfers again, slow rings in halves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

from bench.judge import row_peers
from bench.judge.blame import transfers
from bench.judge.blame.intermittent import loads
from bench.judge.checks.row_peers import no_speed
from bench.judge.drift import tonight
from bench.plan import PAIR_RULES, pair_cases, seconds, step_phase
from bench.plan.phase_names import AGAIN, FIRST, REPEATED, RERUN, SCREEN, STEADY
from bench.plan.rails import SUSPECT_RULES, off_nvlink, own_rails
from bench.plan.screening import most_steps
from bench.plan.steady_load import steady_again
from bench.store import Phase

from .live_run import LiveRun

Maker = Callable[[LiveRun, Phase, int], "Phase | None"]


def follow_up(live: LiveRun, phase: Phase, until: float | None) -> None:
    """Measure what follows from ``phase``, of each kind until nothing more follows or the time is over."""
    for make in _kinds(live, phase.name):
        for number in count(1):
            more = make(live, phase, number)
            if more is None or not live.in_time(more, until):
                break
            live.add(more)
            live.measure(more)


def _kinds(live: LiveRun, name: str) -> tuple[Maker, ...]:
    found: tuple[Maker, ...] = (_out_of_line,) if live.options.nightly else (_slower_than_equals,)
    if name == FIRST:
        found += (_suspects, _repeated)
    if name == STEADY:
        found += (_loaded_again,)
    return (*found, _traced) if name.startswith(SCREEN) else found


def _out_of_line(live: LiveRun, phase: Phase, number: int) -> Phase | None:
    """The cases of a nightly run that left their baseline, once more."""
    more = tonight.rerun(live.evidence(), phase.name) if number == 1 else None
    return more and replace(more, environment=phase.environment)


def _slower_than_equals(live: LiveRun, phase: Phase, number: int) -> Phase | None:
    """Measure the cases again that were slower than their equals, or than a larger message."""
    if number > 1 or live.options.sweeps or no_speed(evidence := live.evidence()):
        return None
    cases = row_peers.again(phase.name, evidence.comparisons)
    name, title = f"{RERUN}-{phase.name}", f"slower than its equals in {phase.name}: measured again"
    return _planned(live, replace(phase, name=name, title=title, cases=cases))


def _suspects(live: LiveRun, phase: Phase, number: int) -> Phase | None:
    """The suspects of the transfers, each measured alone."""
    if number > transfers.TIMES:
        return None
    name = AGAIN if number == 1 else f"{AGAIN}-{number}"
    job = live.job
    cases = [
        case
        for at, test in enumerate(transfers.retests(live.evidence()))
        for case in pair_cases(name, f"test-{at}", test.pairs, live.profile, job.backend, test.ways)
    ]
    environment = own_rails(job.backend)  # some of the tests are across rails
    return _planned(
        live, Phase(name, "suspects again, alone", tuple(cases), environment, rules=SUSPECT_RULES)
    )


def _repeated(live: LiveRun, phase: Phase, number: int) -> Phase | None:
    """The slow transfers that nobody is blamed for, repeated under the same load."""
    if number > 1:
        return None
    slow, name = transfers.unexplained(live.evidence()), REPEATED
    cases = tuple(
        replace(case, phase=name, id=f"{name}/{time}/{case.id.partition('/')[2]}")
        for time in range(1, transfers.REPEATS + 1)
        for case in slow[: transfers.MOST_REPEATED]
    )
    title = "slow transfers that nobody is blamed for, again as they were"
    return _planned(live, Phase(name, title, cases, rules=PAIR_RULES))


def _loaded_again(live: LiveRun, phase: Phase, number: int) -> Phase | None:
    """The steady load again, with other neighbours, where a rail was slow in some of its windows."""
    seen = live.evidence()
    slow = any(load.suspicious for load in loads(seen.run, seen.rail_names))
    return (
        _planned(live, replace(steady_again(live.job), rules=phase.rules)) if slow and number == 1 else None
    )


def _traced(live: LiveRun, phase: Phase, number: int) -> Phase | None:
    """Slow rings of nodes halved, then suspects with other good nodes."""
    seen = live.evidence()
    now = transfers.screened(seen)
    if now.done or number > 4 * most_steps(seen.manifest.nodes):
        return None
    return _planned(live, step_phase(live.job, number + 1, now.probes))


def _planned(live: LiveRun, phase: Phase) -> Phase | None:
    """The phase with the time that it may take; None where it has nothing to measure."""
    if not phase.cases:
        return None
    lasting = seconds(phase, live.options.rules.budget, live.job)
    return replace(off_nvlink(phase, live.profile), seconds=lasting)
