"""What fits in the time that a person gives: cut in a stated order, and said before anything starts.

Nothing that is cut is shown as healthy: the verdicts say what was left out, and such a run cannot pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, comb, inf

from bench.model.units import show_seconds
from bench.plan.names import BUDGET, GIVEN_UP
from bench.plan.screening import Coverage, groups, most_steps
from bench.store import Phase

from .job import Job
from .phases import acceptance, seconds
from .rails import Left
from .screen import node_names, step_phase
from .sweep import PlanError

AROUND = 20.0  # seconds before the first phase and after the last: probing, judging, drawing (estimate)
AFTER = 10.0  # of these after the last: judging, drawing (estimate)
COUNTERS = 1.0  # seconds around each phase in which every node's counters are read (estimate)
LEAST_SCREENED = 6  # nodes: two rings of three
LOOK_CASES = 28  # of a second look at suspects: two tests, seven times, each direction (blame.confirm)
LOOK_SECONDS = 0.5  # of each


@dataclass(frozen=True)
class Cut:
    """``text``: what is given up; ``make``: the job without it."""

    text: str
    make: Callable[[Job], Job]


def _sweep(**changes: object) -> Callable[[Job], Job]:
    def cut(job: Job) -> Job:
        return replace(job, profile=replace(job.profile, sweep=replace(job.profile.sweep, **changes)))  # type: ignore[arg-type]

    return cut


def _asked(**changes: object) -> Callable[[Job], Job]:
    return lambda job: replace(job, accept=replace(job.accept, **changes))  # type: ignore[arg-type]


def _large(job: Job) -> Job:
    """The two largest sizes of the sweep, as it steps them."""
    sweep, size = job.profile.sweep, job.profile.sweep.begin
    while size * sweep.factor**2 <= sweep.end:
        size *= sweep.factor
    return _sweep(begin=size)(job)


def _gated(job: Job) -> Job:
    """The collectives that the profile has a bound on; all_reduce where it has none."""
    named = {limit.collective for limit in job.profile.limits}
    kept = tuple(name for name in job.profile.sweep.collectives if name in named)
    return _sweep(collectives=kept or ("all_reduce",))(job)


def _without(*names: str) -> Callable[[Job], Job]:
    return lambda job: replace(job, accept=replace(job.accept, without=(*job.accept.without, *names)))


def _screened(job: Job) -> Job:
    """Rings in the place of pairs, where there are enough nodes for two rings and good ones beside a bad one."""
    return _asked(screened="screening")(job) if len(job.nodes) >= LEAST_SCREENED else job


# first what says least about the network; the rails themselves come last
CUTS = (
    Cut("point-to-point between neighbours", _sweep(pairs=())),
    Cut("all but the two largest sizes of each collective", _large),
    Cut("collectives without a bound in the profile", _gated),
    Cut("copies of each GPU, CUDA graphs, registered buffers", _without("copies", "graphs", "registered")),
    Cut("every rail alone, pinned", _asked(pinned=False)),
    Cut("each direction of a pair of nodes by itself: both at once remain", _asked(ways="both")),
    Cut("inside the nodes: all_reduce of each, and GPU by GPU", _without("nodes", "inside", "links")),
    Cut(
        "pairs of nodes: rings are screened instead; slow ones are traced as long as time is left",
        _screened,
    ),
    Cut("the forced Ring", _without("ring")),
    Cut("all collectives but all_reduce", _sweep(collectives=("all_reduce",))),
    Cut("NCCL's log", _without("evidence")),
    Cut("the collectives: what is between the nodes remains", _without("collectives", "cross")),
)


@dataclass(frozen=True)
class BudgetPlan:
    """What a budget buys: the job to plan, what was ``given_up`` in order, and the seconds of it all.

    ``spent``: of these, before the plan was made; ``verbs``: whether there is time for perftest for sure.
    """

    job: Job
    given_up: tuple[str, ...]
    seconds: float
    spent: float = 0.0
    verbs: bool = True

    @property
    def text(self) -> str:
        """Said beforehand: how long, what it covers, what was given up."""
        allowed = show_seconds(self.job.accept.budget or 0.0)
        told = f"{show_seconds(self.seconds)} of {allowed}"
        if self.spent > AROUND - AFTER:
            told += f", {show_seconds(self.spent)} of it spent before the plan, on meeting and probing"
        if covered := promise(self.job):
            told += f"; covers {covered.text}"
        if self.job.accept.screened:
            told += f"; {tracing(self.job, (self.job.accept.budget or 0.0) - self.seconds, 0.0)}"
        if not self.verbs:
            told += "; perftest, where it is installed, in what time is left"
        return told + (f"; given up, in this order: {'; '.join(self.given_up)}" if self.given_up else "")

    @property
    def said(self) -> list[Left]:
        """As rows of what a plan leaves out: the whole, then what was given up, each by itself."""
        return [(BUDGET, self.text), *((GIVEN_UP, text) for text in self.given_up)]


def within(job: Job, budget: float, case_seconds: float, spent: float = 0.0) -> BudgetPlan:
    """The first of the CUTS after which everything fits into ``budget`` seconds, of which some are ``spent``.

    Perftest has no time of its own before anything is given up: whether it is installed is not known yet. A cut that
    saves nothing here is not made, nor one that leaves nothing to measure. Raises PlanError with the least that is
    needed when nothing fits.
    """
    job = replace(job, accept=replace(job.accept, budget=budget))
    given_up: list[str] = []
    needed = total(job, case_seconds, spent)
    verbs = needed <= budget or not job.verbs
    if not verbs:
        job = replace(job, verbs=0.0)
        needed = total(job, case_seconds, spent)
    for cut in CUTS:
        if needed <= budget:
            break
        fewer = cut.make(job)
        left = total(fewer, case_seconds, spent)
        if left < needed:
            job, needed = fewer, left
            given_up.append(cut.text)
    if needed > budget:
        what = (
            "rings of nodes"
            if job.accept.screened
            else "pairs of nodes"
            if len(job.nodes) > 1
            else "one collective"
        )
        raise PlanError(
            f"{show_seconds(budget)} buy nothing here: the least is {show_seconds(needed)}, for {what} alone"
            f"{f' and {show_seconds(spent)} that are spent' if spent > AROUND - AFTER else ''}; "
            f"give --budget {ceil(needed)}s or more"
        )
    return BudgetPlan(job, tuple(given_up), needed, spent, verbs)


def without(job: Job, given_up: Sequence[str]) -> Job:
    """The job that a plan was made of which gave up ``given_up``, as its plan says."""
    for cut in CUTS:
        job = cut.make(job) if cut.text in given_up else job
    return job


def total(job: Job, case_seconds: float, spent: float = 0.0) -> float:
    """Seconds of the whole run, at most, with what is measured because of what was seen; inf of nothing.

    ``spent``: what has passed by now, where that is more than was reckoned with.
    """
    phases, _ = acceptance(job, case_seconds)
    if not phases:
        return inf
    # how long judging and drawing take grows with the nodes; what has passed is known once the plan is made
    around = (spent or AROUND - AFTER) + min(AFTER, 3 + len(job.nodes))
    return around + sum(phase.seconds + COUNTERS for phase in phases) + later(job, phases, case_seconds)


def later(job: Job, phases: Sequence[Phase], case_seconds: float) -> float:
    """Seconds of a look at suspects, which all pairs may call for, and of perftest, which follows it.

    What is looked at more often, and a slow ring, which is traced, have what time is left.
    """
    if all(phase.name != "rails" for phase in phases):
        return 0.0
    look = LOOK_CASES * LOOK_SECONDS + seconds(Phase("suspects", "", ()), case_seconds, job) + COUNTERS
    return look + (job.verbs + 2 * COUNTERS if job.verbs else 0.0)


def tracing(job: Job, left: float, case_seconds: float) -> str:
    """How far ``left`` seconds go in tracing a slow ring of nodes."""
    names = node_names(job)
    one = seconds(step_phase(job, 2, (names[:2],)), case_seconds, job) + COUNTERS
    wanted = most_steps(names) - 1
    return f"of the {wanted} steps that trace one slow ring {min(int(left / one), wanted)} fit for sure"


def promise(job: Job) -> Coverage | None:
    """What the rails phases will cover when all of them are measured; None on one node."""
    n, rails = len(job.nodes), len(job.nodes[0]) if job.nodes else 0
    if n < 2:
        return None
    if job.accept.screened:
        rings = groups(node_names(job))
        links = sum(len(ring) if len(ring) > 2 else 1 for ring in rings)
    else:
        links = comb(n, 2)
    return Coverage(n * rails, n * rails, links * rails, comb(n, 2) * rails)
