"""What of an interrupted run still has to be measured, and whether its cluster is still the same.

A run goes on at its missing cases: those that were neither measured nor lost. A case that hung or failed stays
lost: that is evidence, and only a new run can speak against it. A case whose processes were killed is missing, and
so are the cases that a broken phase never came to.

Pure: a run that was read, and what the machines say now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from bench.model.errors import EXIT_USAGE, RailGaugeError
from bench.model.facts import Node
from bench.model.late_dataclass import dataclass, replace
from bench.model.measurement import Case, Rank
from bench.model.units import show_some
from bench.plan.phase_names import AGAIN, FIRST, RERUN, SCREEN, STEADY, STEADY_AGAIN
from bench.plan.rails import FOLLOW_UPS, own_rails
from bench.store import Phase, Plan, Run
from bench.store.case_progress import case_progress, goes_on
from bench.store.owner_seal import not_own

from .cluster_changes import listed
from .cluster_changes import unlike as unlike_nodes

# settings that change what is measured; those of a launcher and of MPI differ from start to start
SETTINGS = (
    "NCCL_",
    "TORCH_NCCL_",
    "TORCH_DISTRIBUTED_",
    "GLOO_",
    "SHARP_",
    "FI_",
    "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUDA_DEVICE_ORDER",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "CUDA_VISIBLE_DEVICES",
    "LD_PRELOAD",
)
# torchrun's own, whatever the user wants; and MPI's way, which only a rank that reads the run's profile sets
SET_BY_LAUNCHERS = ("TORCH_NCCL_ASYNC_ERROR_HANDLING", "FI_TCP_IFACE")
SHOWN = 8


class ResumeRefused(RailGaugeError):
    """This run cannot go on here; the message names what is in the way."""


class OtherRun(ResumeRefused):
    """A run that cannot be resumed anywhere, or the folder of another user: another argument would do."""

    exit_status = EXIT_USAGE


def check_own(run: Run, trust: bool) -> None:
    """Raise ResumeRefused for a folder that this user did not make: going on obeys its command, profile and plan."""
    if not trust and (why := not_own(run.path)):
        raise OtherRun(
            f"{run.path} may not be your own: {why}. A resumed run does what its folder says; if you trust "
            f"who made it: railgauge resume --trust {run.path}"
        )


def planned_anew(run: Run, phases: Sequence[Phase]) -> Plan:
    """The plan of a folder whose phases are those planned now: the folder says which of their cases it has, no more.

    Raises ResumeRefused where it has others. What environment a worker gets is never read from a folder.
    """
    fresh = {phase.name: phase for phase in phases}
    messages = {_message(case) for phase in phases for case in phase.cases}
    kept, suspects = [], own_rails(run.manifest.backend)
    for phase in run.plan.phases:
        now = fresh.get(phase.name)
        like = fresh.get(STEADY if phase.name == STEADY_AGAIN else phase.name.removeprefix(f"{RERUN}-"))
        rules = next((rules for name, rules in FOLLOW_UPS.items() if _follows(phase.name, name)), None)
        if now:
            known = {case.id: case for case in now.cases}
            strange = [case.id for case in phase.cases if known.get(case.id) != case]
            share = len(phase.cases) / max(1, len(now.cases))
            now = replace(now, cases=phase.cases, seconds=now.seconds * share)
        else:
            known_kind = rules is not None or like is not None
            strange = [case.id for case in phase.cases if not known_kind or _message(case) not in messages]
            now = replace(
                phase,
                environment=like.environment if like else suspects if _follows(phase.name, AGAIN) else {},
                rules=like.rules if like else dict(rules or {}),
            )
        if strange:
            raise ResumeRefused(
                f"{run.path}: plan.json has {strange[0]} in phase {phase.name}, which nobody would plan from this "
                "command and profile now; start anew"
            )
        kept.append(now)
    return replace(run.plan, phases=tuple(kept))


def _follows(name: str, first: str) -> bool:
    """Whether a phase is ``first`` or one of its numbered successors: ``suspects``, ``suspects-2``."""
    return name == first or (name.startswith(f"{first}-") and name[len(first) + 1 :].isdigit())


def _message(case: Case) -> tuple[object, ...]:
    return case.collective, case.size, case.count, case.dtype, case.op, case.placement, case.algorithm


@dataclass(frozen=True)
class RemainingPhase:
    """A phase with the cases that are still to be measured.

    unclosed  its counters were read before it and not after: the run broke off between the last case and them
    followed  what is measured because of it was already planned or begun
    """

    phase: Phase
    unclosed: bool = False
    followed: bool = False


def remaining(run: Run, plan: Plan) -> tuple[RemainingPhase, ...]:
    """What of ``plan``, phase by phase, ``run`` has not measured."""
    missing = case_progress(run).missing
    last = {line.phase: line.when for line in run.counters}
    return tuple(
        RemainingPhase(_lacking(phase, missing), last.get(phase.name) == "before", _followed(phase, run))
        for phase in plan.phases
    )


def _lacking(phase: Phase, missing: Collection[str]) -> Phase:
    cases = tuple(case for case in phase.cases if case.id in missing)
    return replace(phase, cases=cases, seconds=phase.seconds * len(cases) / max(1, len(phase.cases)))


def _followed(phase: Phase, run: Run) -> bool:
    begun = [mark.name for mark in run.phases if mark.state == "begin"]
    if phase.name in begun and begun[-1] != phase.name:
        return True
    because = {FIRST: AGAIN, STEADY: STEADY_AGAIN}.get(phase.name, SCREEN)
    return phase.name.startswith((FIRST, SCREEN, STEADY)) and any(
        other.name.startswith(because) and other.name != phase.name for other in run.plan.phases
    )


def resumable(run: Run) -> None:
    """Raise ResumeRefused for a run that cannot go on."""
    if not goes_on(run.manifest.command):
        command = run.manifest.command[1:2]
        name = command[0] if command else run.manifest.launcher
        raise OtherRun(
            f"{run.path} is of railgauge {name}: only runs of railgauge accept and railgauge run can be resumed"
        )
    if not run.plan.cases and run.measurements:
        raise ResumeRefused(f"{run.path} has measurements and no plan.json: copy the folder again")
    if not run.plan.cases:
        raise ResumeRefused(
            f"{run.path} ended before anything was planned: nothing of it can be reused; start anew"
        )


def unlike(
    run: Run,
    ranks: Sequence[Rank],
    nodes: Sequence[Node],
    versions: Mapping[str, str],
    environment: Mapping[str, Mapping[str, str]],
) -> None:
    """Raise ResumeRefused with what differs between the run's cluster and the one that is here now."""
    found = list(_differences(run, ranks, nodes, versions, environment))
    if found:
        raise ResumeRefused(
            f"{run.path} was measured on another cluster: {show_some(found, SHOWN, separator='; ')}; results "
            "of two different clusters must not be mixed: start anew, or undo what changed"
        )


def _differences(
    run: Run,
    ranks: Sequence[Rank],
    nodes: Sequence[Node],
    versions: Mapping[str, str],
    environment: Mapping[str, Mapping[str, str]],
) -> Iterator[str]:
    was = run.manifest
    names = tuple(dict.fromkeys(rank.node for rank in ranks))
    if names != was.nodes:
        yield f"nodes were {listed(was.nodes)}, are {listed(names)}"
        return
    if len(ranks) != len(was.ranks):
        yield f"ranks were {len(was.ranks)}, are {len(ranks)}"
        return
    for old, new in zip(was.ranks, ranks, strict=True):
        if old != new:
            yield f"rank {old.rank} was {old.device} of {old.node}, is {new.device} of {new.node}"
    for name, version in versions.items():
        if was.versions.get(name) != version:
            yield f"{name} was {was.versions.get(name)}, is {version}"
    yield from _settings(was.environment, environment)
    before = {node.name: node for node in run.nodes}
    without = [node.name for node in nodes if node.name not in before]
    if without:
        yield f"the run has no facts of {listed(without)}"
    yield from unlike_nodes(before, nodes)


def _settings(was: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Settings that changed, each change once, with the ranks that have it."""
    changed: dict[str, list[str]] = {}
    for rank, settings in now.items():
        before = was.get(rank, {})
        for name in sorted({*before, *settings}):
            if (
                name.startswith(SETTINGS)
                and name not in SET_BY_LAUNCHERS
                and before.get(name) != settings.get(name)
            ):
                text = f"{name} was {before.get(name, 'not set')}, is {settings.get(name, 'not set')}"
                changed.setdefault(text, []).append(rank)
    for text, ranks in changed.items():
        yield f"{text} (rank {show_some(map(str, ranks), 1)})"
