"""The short plan of a night: the cases that show a trend, cut to the night's budget before anything starts.

A night needs the largest size of each collective (what the rails carry), the smallest (latency), one between them
(where both count), the forced Ring at the largest, and every rail and node beside its peers. The rest of the sweep is
for acceptance.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from bench.model.units import show_count, show_seconds, show_size
from bench.plan import Job, PlanError, acceptance
from bench.plan.budget import (
    ALL_REDUCE_ALONE,
    AROUND,
    COUNTERS,
    GATED_ALONE,
    Cut,
    cut_to,
    leaving_out,
    total,
    with_options,
)
from bench.store import Phase, Plan

from .rails import Left

RESERVE = 0.2  # share of the budget that is kept for retests in the same night
EVERY_RAIL = "every rail and node"
NIGHT = "given up for the budget"  # the name of the rows on what a night leaves out for its budget


def short(job: Job, budget: float, case_seconds: float) -> tuple[list[Phase], list[Left]]:
    """The phases of a night of ``budget`` seconds, and what is left out and why; ``case_seconds`` for one case.

    Raises PlanError with the least that is needed when not even the smallest plan fits.
    """
    job = job.with_options(
        ways="one-way", pinned=False, without=("inside", "cross", "steady"), budget=None, sizes=3
    )
    room = budget * (1 - RESERVE)
    job, given_up, needed = cut_to(job, NIGHTLY_CUTS, room, lambda smaller: total(smaller, case_seconds))
    if needed > room:
        least = needed / (1 - RESERVE)
        raise PlanError(
            f"--budget {show_seconds(budget)} is too short for a night: the shortest needs {show_seconds(least)}; "
            f"give --budget {ceil(least)}s or more"
        )
    phases, skipped = acceptance(job, case_seconds)
    return phases, [*skipped, *((NIGHT, text) for text in given_up)]


def summary(plan: Plan, budget: float) -> str:
    """Printed before the night: what is measured, how long it takes, what was given up for the budget."""
    most = show_seconds(sum(phase.seconds + COUNTERS for phase in plan.phases) + AROUND)
    cases = show_count(len(plan.cases), "case")
    text = f"tonight {cases} in at most {most} of {show_seconds(budget)}: {_measured(plan.phases)}"
    given_up = [cut for name, cut in plan.skipped if name == NIGHT]
    return text + (f"; given up for the budget: {'; '.join(given_up)}" if given_up else "")


# what a trend misses least is cut first
NIGHTLY_CUTS = (
    Cut("point-to-point between neighbours", leaving_out("pairs")),
    Cut("the middle size of each collective", with_options(sizes=2)),
    Cut("all pairs of nodes (rings of nodes are screened instead)", with_options(screened="screening")),
    Cut("inside the nodes", leaving_out("nodes")),
    Cut("the smallest size of each collective", with_options(sizes=1)),
    GATED_ALONE,
    Cut("the forced Ring", leaving_out("ring")),
    Cut("tracing: it is not found out which node slows a slow ring", with_options(screened="groups")),
    ALL_REDUCE_ALONE,
    Cut("NCCL's log", leaving_out("evidence")),
    Cut(EVERY_RAIL, leaving_out("rails", "screen")),
)


def _measured(phases: Sequence[Phase]) -> str:
    """``all_reduce, all_gather at 8 B, 32 KiB, 8 GiB; rails; nodes``."""
    parts = []
    for phase in phases:
        if phase.name == "collectives":
            names = ", ".join(dict.fromkeys(case.collective for case in phase.cases))
            sizes = dict.fromkeys(show_size(size) for size in sorted({case.size for case in phase.cases}))
            parts.append(f"{names} at {', '.join(sizes)}")
        else:
            parts.append(phase.title)
    return "; ".join(parts)
