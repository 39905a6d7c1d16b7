"""A short plan with the cases that matter, cut to the budget before anything starts.

What a night wants to know: the largest size of each collective (what the rails carry), the smallest (latency), one
between them (where both count), the forced Ring at the largest, and every rail and node beside its peers. The rest
of the sweep is for acceptance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil

from bench.model.collectives import collective
from bench.model.measurement import Case
from bench.model.units import show_count, show_seconds, show_size
from bench.plan import CUTS, Job, PlanError, acceptance
from bench.plan.budget import AROUND, COUNTERS, later
from bench.plan.phases import seconds
from bench.store import Phase, Plan

RESERVE = 0.2  # of the budget, for measuring suspects again in the same night
EVERY_RAIL = "every rail and node"
NIGHT = "given up for the budget"  # how the plan names what a night leaves out for want of time
Left = tuple[str, str]


@dataclass(frozen=True)
class Wish:
    """What a night measures. ``sizes`` of each collective: 3, 2 (without the middle one) or 1 (the largest)."""

    job: Job
    sizes: int = 3


@dataclass(frozen=True)
class Cut:
    """``text``: what is given up; ``make``: the wish without it."""

    text: str
    make: Callable[[Wish], Wish]


def short(job: Job, budget: float, case_seconds: float) -> tuple[list[Phase], list[Left]]:
    """The phases of a night of ``budget`` seconds, and what is left out and why; ``case_seconds`` for one case.

    A share of the budget, RESERVE, stays free for re-runs. Raises PlanError with the least that is needed when not
    even the smallest plan fits.
    """
    asked = replace(job.accept, ways="one-way", pinned=False, without=("inside", "cross"), budget=None)
    wish = Wish(replace(job, accept=asked))
    given_up: list[Left] = []
    phases, skipped = _phases(wish, case_seconds)
    cost, room = _cost(wish.job, phases, case_seconds), budget * (1 - RESERVE)
    for cut in NIGHTLY_CUTS:
        if cost <= room:
            break
        fewer = cut.make(wish)
        kept, left = _phases(fewer, case_seconds)
        needed = _cost(fewer.job, kept, case_seconds)
        # a cut that saves nothing here is not made, nor one that leaves nothing to measure
        if kept and needed < cost:
            wish, phases, skipped, cost = fewer, kept, left, needed
            given_up.append((NIGHT, cut.text))
    if phases and cost <= room:
        return phases, [*skipped, *given_up]
    least = cost / (1 - RESERVE)
    raise PlanError(
        f"{show_seconds(budget)} buy no night here: the least is {show_seconds(least)}; "
        f"give --budget {ceil(least)}s or more"
    )


def told(plan: Plan, budget: float) -> str:
    """Said beforehand: what is measured, how long it takes, what was given up for the budget."""
    most = show_seconds(sum(phase.seconds + COUNTERS for phase in plan.phases) + AROUND)
    cases = show_count(len(plan.cases), "case")
    said = f"tonight {cases} in at most {most} of {show_seconds(budget)}: {_measured(plan.phases)}"
    given_up = [text for name, text in plan.skipped if name == NIGHT]
    return said + (f"; given up for the budget: {'; '.join(given_up)}" if given_up else "")


def _asked(**changes: object) -> Callable[[Wish], Wish]:
    def cut(wish: Wish) -> Wish:
        return replace(wish, job=replace(wish.job, accept=replace(wish.job.accept, **changes)))  # type: ignore[arg-type]

    return cut


def _without(name: str) -> Callable[[Wish], Wish]:
    return lambda wish: _asked(without=(*wish.job.accept.without, name))(wish)


def _as_accepted(text: str) -> Callable[[Wish], Wish]:
    """A cut that acceptance knows too."""
    make = next(cut.make for cut in CUTS if cut.text.startswith(text))
    return lambda wish: replace(wish, job=make(wish.job))


# first what a trend misses least
NIGHTLY_CUTS = (
    Cut("point-to-point between neighbours", _without("pairs")),
    Cut("the middle size of each collective", lambda wish: replace(wish, sizes=2)),
    Cut("pairs of nodes: rings are screened instead", _asked(screened="screening")),
    Cut("inside the nodes", _without("nodes")),
    Cut("the smallest size of each collective", lambda wish: replace(wish, sizes=1)),
    Cut("collectives without a bound in the profile", _as_accepted("collectives without a bound")),
    Cut("the forced Ring", _without("ring")),
    Cut("tracing: of a slow ring of nodes it is not known who slows it", _asked(screened="groups")),
    Cut("all collectives but all_reduce", _as_accepted("all collectives but")),
    Cut("NCCL's log", _without("evidence")),
    Cut(EVERY_RAIL, lambda wish: _without("screen")(_without("rails")(wish))),
)


def _phases(wish: Wish, case_seconds: float) -> tuple[list[Phase], list[Left]]:
    job = wish.job
    found, skipped = acceptance(job, case_seconds)
    kept = [replace(phase, cases=tuple(_kept(phase, wish))) for phase in found]
    return [
        replace(phase, seconds=seconds(phase, case_seconds, job)) for phase in kept if phase.cases
    ], skipped


def _kept(phase: Phase, wish: Wish) -> Sequence[Case]:
    """The cases of a phase that a night wants."""
    if phase.name == "collectives":
        return _of_sizes(phase.cases, wish.sizes)
    if phase.name == "ring":
        return _of_sizes(phase.cases, 1)
    if phase.name == "pairs":
        return [case for case in _of_sizes(phase.cases, 1) if case.collective != "p2p"]
    return phase.cases


def _of_sizes(cases: Sequence[Case], count: int) -> list[Case]:
    """Of each collective so many sizes, in its first placement: by their place, as rounding moves the bytes."""
    found = []
    for name in dict.fromkeys(case.collective for case in cases):
        placement = collective(name).placements[0]
        mine = sorted(
            (case for case in cases if (case.collective, case.placement) == (name, placement)), key=_size
        )
        places = {1: (-1,), 2: (0, -1)}.get(count, (0, len(mine) // 2, -1))
        found += list(dict.fromkeys(mine[place] for place in places if mine))
    return found


def _size(case: Case) -> int:
    return case.size


def _cost(job: Job, phases: Sequence[Phase], case_seconds: float) -> float:
    return AROUND + sum(phase.seconds + COUNTERS for phase in phases) + later(job, phases, case_seconds)


def _measured(phases: Sequence[Phase]) -> str:
    """``all_reduce, all_gather at 8 B, 32 KiB, 8 GiB; rails; nodes``."""
    told = []
    for phase in phases:
        if phase.name == "collectives":
            names = ", ".join(dict.fromkeys(case.collective for case in phase.cases))
            every = ", ".join(
                dict.fromkeys(show_size(size) for size in sorted({case.size for case in phase.cases}))
            )
            told.append(f"{names} at {every}")
        else:
            told.append(phase.title)
    return "; ".join(told)
