"""What fits into a time limit: phases are cut in a fixed order, and the cuts are listed before the run starts.

Nothing that is cut is shown as healthy: the verdicts list it, and such a run cannot pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, comb, inf

from bench.model.late_dataclass import dataclass, replace
from bench.model.units import show_seconds
from bench.plan.phase_names import BUDGET, GIVEN_UP
from bench.plan.screening import Coverage, across, groups, links, most_steps
from bench.store import Phase

from .job import Job
from .phases import acceptance, seconds
from .rails import Left
from .screening_phases import node_names, step_phase
from .sweep import PlanError

AROUND = 20.0  # seconds before the first phase and after the last: probing, judging, drawing (estimate)
AFTER = 10.0  # of these after the last: judging, drawing (estimate)
COUNTERS = 1.0  # seconds around each phase in which every node's counters are read (estimate)
LEAST_SCREENED = 6  # nodes: two rings of three
RETEST_CASES = 28  # of a retest of suspects: two tests, seven times, each direction (blame.confirm)
RETEST_SECONDS = 0.5  # of each


@dataclass(frozen=True)
class Cut:
    """``text``: what is given up; ``make``: the job without it."""

    text: str
    make: Callable[[Job], Job]


def _sweep(**changes: object) -> Callable[[Job], Job]:
    def cut(job: Job) -> Job:
        return replace(job, profile=replace(job.profile, sweep=replace(job.profile.sweep, **changes)))  # type: ignore[arg-type]

    return cut


def with_options(**changes: object) -> Callable[[Job], Job]:
    return lambda job: job.with_options(**changes)


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


def leaving_out(*names: str) -> Callable[[Job], Job]:
    return lambda job: job.with_options(without=(*job.accept.without, *names))


def _screened(job: Job) -> Job:
    """Rings instead of pairs, where there are enough nodes for two rings and for good nodes beside a bad one."""
    return (
        job.with_options(screened="screening")
        if len(job.nodes) >= LEAST_SCREENED and not job.screened
        else job
    )


GATED_ALONE = Cut("collectives without a bound in the profile", _gated)
ALL_REDUCE_ALONE = Cut("all collectives but all_reduce", _sweep(collectives=("all_reduce",)))
# what says least about the network is cut first, the rails themselves last
CUTS = (
    Cut("point-to-point between neighbours", leaving_out("pairs")),
    Cut("all but the two largest sizes of each collective", _large),
    GATED_ALONE,
    Cut("copies of each GPU, CUDA graphs, registered buffers", leaving_out("copies", "graphs", "registered")),
    Cut("three quarters of the steady load of every rail", with_options(steady=0.25)),
    Cut("every rail alone, pinned", leaving_out("pinned")),
    Cut("each direction of a node pair separately (both at once remain)", with_options(ways="both")),
    Cut("the steady load of every rail", leaving_out("steady")),
    Cut("inside the nodes: all_reduce of each, and GPU by GPU", leaving_out("nodes", "inside", "links")),
    Cut(
        "all pairs of nodes (rings of nodes are screened instead, and slow rings traced while time is left)",
        _screened,
    ),
    Cut("the forced Ring", leaving_out("ring")),
    ALL_REDUCE_ALONE,
    Cut("NCCL's log", leaving_out("evidence")),
    Cut("the collectives (transfers between the nodes remain)", leaving_out("collectives", "cross")),
)


@dataclass(frozen=True)
class BudgetPlan:
    """What fits into a budget: the job to plan, what was ``given_up`` in order, and the seconds of the whole run.

    ``spent``: of these, before the plan was made; ``verbs``: whether time is reserved for perftest.
    """

    job: Job
    given_up: tuple[str, ...]
    seconds: float
    spent: float = 0.0
    verbs: bool = True

    @property
    def text(self) -> str:
        """How long the run takes and what it covers, as it is printed before the run."""
        budget = self.job.accept.budget or 0.0
        parts = [f"the run takes up to {show_seconds(self.seconds)} of {show_seconds(budget)}"]
        if self.spent > AROUND - AFTER:
            parts[0] += f", of which start-up and probing took {show_seconds(self.spent)}"
        if covered := coverage_of(self.job):
            parts.append(f"it covers {covered.text}")
        if self.job.screened:
            parts.append(tracing(self.job, budget - self.seconds, 0.0))
        if not self.verbs:
            parts.append("perftest runs only if time is left")
        return "; ".join(parts)

    @property
    def left_out(self) -> list[Left]:
        """The rows of a plan's omissions: one on the whole budget, then one for each cut."""
        return [(BUDGET, self.text), *((GIVEN_UP, text) for text in self.given_up)]


def planned(
    job: Job, case_seconds: float, spent: float = 0.0
) -> tuple[BudgetPlan | None, list[Phase], list[Left]]:
    """The phases of an acceptance run and what is left out, fitted to the time limit of the job where it has one.

    ``spent``: seconds of the limit that are over. Raises PlanError where nothing fits into it.
    """
    limit = job.accept.budget
    fitted = None if limit is None else fit_to_budget(job, limit, case_seconds, spent)
    phases, left_out = acceptance(fitted.job if fitted else job, case_seconds)
    return fitted, phases, [*(fitted.left_out if fitted else ()), *left_out]


def fit_to_budget(job: Job, budget: float, case_seconds: float, spent: float = 0.0) -> BudgetPlan:
    """The job after the first of the CUTS with which everything fits into ``budget`` seconds; some are ``spent``.

    The time reserved for perftest goes first, for nobody knows yet whether it is installed. A cut that saves nothing
    here is not made, nor one that leaves nothing to measure. Raises PlanError with the least that is needed when
    nothing fits.
    """
    job = job.with_options(budget=budget)
    verbs = not job.verbs or total(job, case_seconds, spent) <= budget
    job = job if verbs else replace(job, verbs=0.0)
    job, given_up, needed = cut_to(job, CUTS, budget, lambda smaller: total(smaller, case_seconds, spent))
    if needed > budget:
        pairs = "node pairs" if len(job.nodes) > 1 else "one collective"
        what = "rings of nodes" if job.screened else pairs
        began = f", {show_seconds(spent)} of start-up and probing included" if spent > AROUND - AFTER else ""
        raise PlanError(
            f"--budget {show_seconds(budget)} is too short: the smallest run ({what} only) needs "
            f"{show_seconds(needed)}{began}; give --budget {ceil(needed)}s or more"
        )
    return BudgetPlan(job, tuple(given_up), needed, spent, verbs)


def cut_to(
    job: Job, cuts: Sequence[Cut], room: float, cost: Callable[[Job], float]
) -> tuple[Job, list[str], float]:
    """The job after as many ``cuts``, in order, as bring its ``cost`` to ``room`` seconds or less; their texts; its
    cost. A cut that saves nothing is not made.
    """
    given_up, needed = list[str](), cost(job)
    for cut in cuts:
        if needed <= room:
            break
        smaller = cut.make(job)
        if (less := cost(smaller)) < needed:
            job, needed = smaller, less
            given_up.append(cut.text)
    return job, given_up, needed


def without(job: Job, given_up: Sequence[str]) -> Job:
    """The job after the cuts whose texts are ``given_up``."""
    for cut in CUTS:
        job = cut.make(job) if cut.text in given_up else job
    return job


def total(job: Job, case_seconds: float, spent: float = 0.0) -> float:
    """Seconds of the whole run, at most, retests of suspects included; inf where nothing is left to measure.

    ``spent``: seconds that have passed by now, where they are known.
    """
    phases, _ = acceptance(job, case_seconds)
    if not phases:
        return inf
    # how long judging and drawing take grows with the nodes; what has passed is known once the plan is made
    around = (spent or AROUND - AFTER) + min(AFTER, 3 + len(job.nodes))
    return (
        around
        + sum(phase.seconds + COUNTERS for phase in phases)
        + follow_up_seconds(job, phases, case_seconds)
    )


def follow_up_seconds(job: Job, phases: Sequence[Phase], case_seconds: float) -> float:
    """Seconds of one retest of suspects, which the phase of all pairs may call for, and of perftest after it.

    Further retests and the tracing of slow rings get what time is left.
    """
    if all(phase.name != "rails" for phase in phases):
        return 0.0
    retest = RETEST_CASES * RETEST_SECONDS + seconds(Phase("suspects", "", ()), case_seconds, job) + COUNTERS
    return retest + (job.verbs + 2 * COUNTERS if job.verbs else 0.0)


def tracing(job: Job, left: float, case_seconds: float) -> str:
    """How many of the steps that trace a slow ring of nodes fit into ``left`` seconds."""
    names = node_names(job)
    one = seconds(step_phase(job, 2, (names[:2],)), case_seconds, job) + COUNTERS
    wanted = most_steps(names, job.by_leaf) - 1
    return f"{min(int(left / one), wanted)} of the {wanted} steps that trace a slow ring fit"


def coverage_of(job: Job) -> Coverage | None:
    """What the rails phases cover when all of them are measured; None on one node."""
    n, rails = len(job.nodes), len(job.nodes[0]) if job.nodes else 0
    if n < 2:
        return None
    if job.screened:
        nodes = node_names(job), job.by_leaf
        met = len(links((*groups(*nodes), *across(*nodes))))
    else:
        met = comb(n, 2)
    return Coverage(n * rails, n * rails, met * rails, comb(n, 2) * rails)
