"""Which nodes a run's FAILs call to act on."""

from __future__ import annotations

from collections.abc import Iterator

from bench.model.late_dataclass import dataclass
from bench.model.printable import on_one_line
from bench.model.verdict import Action, Status
from bench.store import Run

from .problems import Problem, places_in, problems_of


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
    problems, found = problems_of(run), dict[str, NodeAction]()
    # failures of several nodes that are alike are one problem for people, but each node is at fault by itself
    for problem in (*problems.causes, *map(Problem, problems.apart)):
        for each in _of_problem(run, problem):
            known = found.get(each.node)
            if known is None or (each.drain and not known.drain):
                found[each.node] = each
    return tuple(sorted(found.values(), key=lambda each: not each.drain))


def _of_problem(run: Run, problem: Problem) -> Iterator[NodeAction]:
    verdict, action = problem.verdict, problem.verdict.action
    if verdict.status is not Status.FAIL or action is None or action not in _OF_A_NODE:
        return
    nodes = sorted({node for node, _ in places_in(run)(verdict.subject)})
    for node in nodes:
        # where a verdict names several nodes, it is not known which of them is at fault
        yield NodeAction(node, len(nodes) == 1, action, verdict.check, on_one_line(problem.sentence))
