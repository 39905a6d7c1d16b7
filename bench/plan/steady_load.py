"""The steady load: every rail of every node at once, in windows so short that a rail slow now and then shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.model.groups import runs_of
from bench.plan.phase_names import STEADY, STEADY_AGAIN
from bench.store import Phase

from .job import Job
from .rails import Left, why_uneven
from .sweep import Request, sweep_cases

WINDOW = 0.25  # seconds, at most: a rail that is slow for a second at a time is slow in whole windows
MOST_SECONDS, PER_CASE = (
    20.0,
    10.0,
)  # of the load; a profile whose cases are shorter than 2 s has so many times one
PART = 4  # of the largest message between two nodes: several of them fit into a window


def steady(job: Job) -> Phase | Left:
    """The nodes in a ring on each rail, all rings at once."""
    if reason := why_uneven(job) or _no_rails(job):
        return STEADY, reason
    return _phase(job, STEADY, range(len(job.nodes)))


def steady_again(job: Job) -> Phase:
    """The steady load with other neighbours: a link has two ends, and each end gets another far end."""
    places = range(len(job.nodes))
    return _phase(job, STEADY_AGAIN, (*places[::2], *places[1::2]))


def _no_rails(job: Job) -> str:
    if job.profile.rails.kind == "none":
        return "the profile names no rails"
    return "gloo uses no RDMA" if job.backend == "gloo" and not job.profile.rails.interfaces else ""


def _phase(job: Job, name: str, nodes: Sequence[int]) -> Phase:
    """One case whose groups are the rings, one a rail; one call to a block, so that nobody waits for a slow far end."""
    sweep = job.profile.sweep
    size = max(max(sweep.pair_sizes, default=1 << 22) // PART, 1)
    rings = job.groups("rings", rings=(runs_of(nodes),))
    cases = sweep_cases(name, Request("p2p_ring", size, size, dtype=sweep.dtype), rings)
    seconds = job.accept.steady * min(MOST_SECONDS, PER_CASE * sweep.budget)
    rules = {"precision": 0.0, "budget": seconds, "window": WINDOW, "iterations": 1}
    title = "every rail of every node at once, window by window"
    return Phase(name, title, tuple(replace(case, rail="own") for case in cases), rules=rules)
