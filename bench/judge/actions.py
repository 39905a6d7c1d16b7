"""What a verdict calls for, as a word that programs act on: the one table from checks to actions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from bench.model.printable import on_one_line
from bench.model.verdict import Status, Verdict
from bench.store import Run

from .problems import Problem, places_in, problems_of


class Action(str, Enum):
    """What somebody, or a program, has to do about a verdict."""

    RESEAT_CABLE = "reseat-cable"
    REPLACE_HCA = "replace-hca"
    RESET_GPU = "reset-gpu"
    FIX_CONFIGURATION = "fix-configuration"
    RE_MEASURE = "re-measure"
    NONE = "none"


# by the check, or by all that begin so; the first that fits
OF_CHECK: tuple[tuple[Action, str], ...] = (
    (
        Action.RESEAT_CABLE,
        "rails.state rails.physical rails.rate rails.width rails.wiring growth.errors gate.counters soak.errors fabric "
        "blame.rails blame.intermittent rails.alone",
    ),
    (Action.REPLACE_HCA, "rails.count rails.guids pcie."),
    (Action.FIX_CONFIGURATION, "gpus.name gpus.mig gpus.persistence gpus.compute_mode gpus.idle gpus.uuids"),
    (Action.RESET_GPU, "gpus. nvlink. correctness limits.alone limits.host_copies limits.device_copies"),
    (
        Action.FIX_CONFIGURATION,
        "host. rails. exclusion. environment. versions. nccl. growth.throttling",
    ),
    (Action.RE_MEASURE, "coverage. limits. wire. soak. drift. gate. blame. growth. clock import. kernel."),
)


def action_of(verdict: Verdict) -> Action:
    """What a verdict calls for: of one that is INCONCLUSIVE another measurement, of one that passed nothing."""
    if verdict.status is Status.INCONCLUSIVE:
        return Action.RE_MEASURE
    if verdict.status is not Status.FAIL:
        return Action.NONE
    found = (action for action, names in OF_CHECK for name in names.split() if _fits(verdict.check, name))
    return next(found, Action.NONE)


def _fits(check: str, name: str) -> bool:
    return check.startswith(name) if name.endswith(".") else check == name


@dataclass(frozen=True)
class NodeAction:
    """What one node needs.

    drain   whether it is known to be faulty; else it is only suspected: what failed lies between it and another
    reason  the sentence of its first problem
    """

    node: str
    drain: bool
    action: Action
    check: str
    reason: str


# done to the node that is at fault, by hand or by a program; the others concern the whole cluster or nobody yet
_OF_A_NODE = (Action.RESEAT_CABLE, Action.REPLACE_HCA, Action.RESET_GPU, Action.FIX_CONFIGURATION)


def node_actions(run: Run) -> tuple[NodeAction, ...]:
    """One for each node that a FAIL of a judged run names, worst first. INCONCLUSIVE accuses nobody."""
    found: dict[str, NodeAction] = {}
    for each in (each for problem in problems_of(run).first for each in _of_problem(run, problem)):
        known = found.get(each.node)
        if known is None or (each.drain and not known.drain):
            found[each.node] = each
    return tuple(sorted(found.values(), key=lambda each: not each.drain))


def _of_problem(run: Run, problem: Problem) -> Iterator[NodeAction]:
    verdict, action = problem.verdict, action_of(problem.verdict)
    if verdict.status is not Status.FAIL or action not in _OF_A_NODE:
        return
    nodes = sorted({node for node, _ in places_in(run)(verdict.subject)})
    for node in nodes:
        # a pair of nodes is named where it is not known which of them is at fault
        yield NodeAction(node, len(nodes) != 2, action, verdict.check, on_one_line(problem.sentence))
