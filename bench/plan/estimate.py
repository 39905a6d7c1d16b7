"""The estimate of an acceptance run before it starts: seconds, bytes and memory of each phase."""

from __future__ import annotations

from collections.abc import Iterable

from bench.model.late_dataclass import dataclass
from bench.model.measurement import Rank
from bench.model.profile import Profile
from bench.model.units import show_count
from bench.store import Phase

from .budget import BudgetPlan, planned, total
from .job import AcceptOptions, Job
from .memory import NCCL_RESERVE, needed
from .phase_names import PINNED
from .sweep import PlanError


@dataclass(frozen=True)
class PhaseEstimate:
    """One phase. ``wire_bytes``: at most, that each node sends to others in it; None where the profile has no rate.

    ``memory``: bytes that its largest case takes on a GPU, or of a rank's main memory with gloo.
    """

    name: str
    title: str
    cases: int
    seconds: float
    wire_bytes: int | None
    memory: int


@dataclass(frozen=True)
class Estimate:
    """``seconds``: of the whole run at most, start, retests of suspects, judging and drawing included.

    left_out  phase, or what the time limit takes away, and the reason
    """

    backend: str
    seconds: float
    phases: tuple[PhaseEstimate, ...]
    left_out: tuple[tuple[str, str], ...]


def estimate(profile: Profile, nodes: int, gpus: int, accept: AcceptOptions) -> Estimate:
    """The acceptance run of so many nodes with so many GPUs each; without GPUs in the profile, over gloo.

    Raises PlanError for numbers that the profile does not allow, and for a time limit that nothing fits into.
    """
    least, most = profile.nodes
    if not least <= nodes <= most:
        allowed = f"{least} or more nodes" if most >= 1 << 30 else f"{least} to {most} nodes"
        allowed = show_count(least, "node") if least == most else allowed
        raise PlanError(f"profile {profile.name} is for {allowed}, not for {nodes}")
    backend = "nccl" if profile.gpu_counts else "gloo"
    ranks = tuple(Rank(at, f"n{at // gpus}", at % gpus) for at in range(nodes * gpus))
    # what the rails are called is known from the profile or, on the cluster, from the nodes' facts
    rails = (profile.rails.devices or tuple(f"#{at}" for at in range(profile.rails.count)))[:gpus]
    job = Job(profile, ranks, backend, accept, rails if nodes > 1 else (), tuple(range(len(rails))))
    return estimate_of(job, *planned(job, profile.sweep.budget))


def estimate_of(
    job: Job, fitted: BudgetPlan | None, phases: Iterable[Phase], left_out: Iterable[tuple[str, str]]
) -> Estimate:
    """The estimate of phases that were planned for a job; ``fitted``: to its time limit, where it has one."""
    job = fitted.job if fitted else job
    return Estimate(
        job.backend,
        fitted.seconds if fitted else total(job, job.profile.sweep.budget),
        tuple(_phase(phase, job) for phase in phases),
        tuple(left_out),
    )


def _phase(phase: Phase, job: Job) -> PhaseEstimate:
    rate = job.profile.rails.target
    budget = phase.rules.get("budget", job.profile.sweep.budget)
    node_of = {rank.rank: rank.node for rank in job.ranks}
    crossing = sum(
        any(len({node_of[rank] for rank in group}) > 1 for group in case.groups) for case in phase.cases
    )
    share = (
        1 / max(1, job.profile.rails.count) if phase.name.startswith(PINNED) else 1.0
    )  # of the node's rails
    seconds = crossing * budget * share
    wire = None if rate is None and crossing else round(seconds * (rate.value if rate else 0.0))
    reserve = NCCL_RESERVE if job.backend == "nccl" else 0
    memory = max(needed(case, job.backend) for case in phase.cases) + reserve
    return PhaseEstimate(phase.name, phase.title, len(phase.cases), phase.seconds, wire, memory)
