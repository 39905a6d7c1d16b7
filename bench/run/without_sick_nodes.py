"""One sick node costs itself: it is set aside, and the run goes on with the others, planned again for them.

Sick is a node that fails a check which needs no measurement, that reaches no address at which all meet, that breaks
the same phase twice in a row, or that dies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from bench.judge.verdicts import judge
from bench.model.facts import Node
from bench.model.profile import Profile
from bench.model.units import show_some
from bench.model.verdict import Status, Verdict
from bench.store import SetAside, load
from bench.supervise.hangs.culprits import Culprits, nodes_in
from bench.supervise.limits import TRIES, Lost

from .live_run import LiveRun
from .meeting_address import NoAddress
from .phases import ask_wiring, run_phases
from .planning import plan_again, put_logs_away
from .reachability_trial import sick_nodes
from .resume import RemainingPhase, remaining
from .work_orders import prepare

LEAST = 2  # nodes that must be left of several


def measure(live: LiveRun, backend: str, steps: Sequence[RemainingPhase], resumed: bool) -> None:
    """Run the phases with all nodes, or with those that are left when sick ones were set aside."""
    chief = live.coordinator
    chief.examine = lambda why, joined, times: _sick(live, why, joined, times)
    aside = _by_facts(live, live.nodes if resumed else ())
    if aside is None:
        return
    cross = live.options.accept.cross
    while True:
        try:
            if cross:  # once, of all nodes: of a node that none reaches it may show why
                ask_wiring(live)
                cross = False
            if aside:
                steps, aside = set_aside(live, aside), []
            prepare(live, backend)
            # where the rails are no interfaces, TCP tells nothing of them: then pairs are tried when a join fails
            if live.profile.rails.interfaces and (sick := _by_trial(live)):
                raise sick
            run_phases(live, steps)
            return
        except NoAddress as error:
            aside += [SetAside(node, node, reason, True) for node, reason in error.reasons.items()]
            if not spared(live, list(error.reasons)):
                raise
        except Lost as lost:
            found = [SetAside(node, node, str(lost), phase=chief.phase) for node in lost.nodes]
            aside += lost.aside if isinstance(lost, SickNodes) else found
            if not spared(live, lost.nodes):
                raise


class SickNodes(Lost):
    """What trying the pairs of nodes showed."""

    def __init__(self, aside: list[SetAside]) -> None:
        names = [each.node for each in aside]
        super().__init__("; ".join(each.reason for each in aside), ", ".join(names), names)
        self.aside = aside


def spared(live: LiveRun, nodes: Sequence[str]) -> bool:
    """Whether the run can go on without ``nodes``."""
    left = [name for name in live.leads if name not in nodes]
    return bool(nodes) and not live.options.strict and len(left) >= LEAST


def set_aside(live: LiveRun, found: Sequence[SetAside]) -> tuple[RemainingPhase, ...]:
    """Go on without these nodes; what the others still have to measure."""
    chief, recorder = live.coordinator, live.coordinator.recorder
    # first: a launcher may end the job meanwhile, and what is recorded then must fit the plan
    chief.go_on_without([each.node for each in found])
    manifest = load(recorder.path).whole.manifest
    recorder.manifest(replace(manifest, set_aside=(*manifest.set_aside, *found)))
    for each in found:
        live.say(f"{each.node} is set aside: {each.reason}")
    live.say(f"the run goes on with {len(live.leads)} of {len(manifest.nodes)} nodes")
    return planned_again(live)


def planned_again(live: LiveRun) -> tuple[RemainingPhase, ...]:
    """Plan for the nodes that are left; what they still have to measure."""
    recorder = live.coordinator.recorder
    live.plan = plan_again(live.options, load(recorder.path))
    recorder.plan(live.plan)
    run = load(recorder.path)
    steps = remaining(run, live.plan)
    put_logs_away(run)
    live.display.planned(replace(live.plan, phases=tuple(step.phase for step in steps)), run.manifest)
    return steps


def preflight(folder: Path, profile: Profile, nodes: Sequence[Node] = ()) -> list[Verdict]:
    """FAIL verdicts of the checks that need no measurement; of ``nodes``, what they are now, where a run goes on."""
    run = load(folder)
    if nodes:
        run = replace(run, facts=tuple(nodes), everyone=None)
    return [
        verdict for verdict in judge(run, profile, facts_only=True).verdicts if verdict.status is Status.FAIL
    ]


def _by_facts(live: LiveRun, nodes: Sequence[Node]) -> list[SetAside] | None:
    """The nodes that fail a check before measuring; None where that stops the run, since it concerns all or most."""
    failed = preflight(live.coordinator.recorder.path, live.profile, nodes)
    if not failed or live.options.go_on:
        return []
    names = list(live.leads)
    of_node: dict[str, list[Verdict]] = {}
    for verdict in failed:
        for name in _named_nodes(verdict, live) or [""]:
            of_node.setdefault(name, []).append(verdict)
    if {*of_node} <= {*names} and 2 * len(of_node) <= len(names) and spared(live, list(of_node)):
        return [
            SetAside(
                node,
                node,
                f"{found[0].subject}: {found[0].measured}",
                evidence=tuple(each.message for each in found),
            )
            for node, found in of_node.items()
        ]
    which = f"{show_some([*filter(None, of_node)], 8)}: " if len(of_node) > 1 else ""
    live.refuse(f"stopped before measuring: {which}{failed[0].message}; --go-on measures all the same")
    return None


def _by_trial(live: LiveRun) -> SickNodes | None:
    """The nodes that others cannot reach, or that cannot reach them."""
    if len(live.leads) <= LEAST or live.options.strict:
        return None
    found = sick_nodes(live)
    return SickNodes(found) if spared(live, [each.node for each in found]) else None


def _named_nodes(verdict: Verdict, live: LiveRun) -> list[str]:
    """The nodes that a verdict names; of two with one address, the one whose address ends unlike its others."""
    words = re.findall(r"[^\s,]+", verdict.subject)
    named = [word for word in dict.fromkeys(words) if word in live.leads]
    if len(named) < 2:
        return named if words[:1] == named else []
    after = dict(pairwise(words))
    strange = [node.name for node in live.nodes if node.name in named and _strange(node, after[node.name])]
    return strange if len(strange) == 1 else named


def _strange(node: Node, device: str) -> bool:
    """Whether no other interface of the node has an address with the same last part as this one's."""
    ends = {
        each.name: {text.partition("/")[0].rpartition(".")[2] for text in each.addresses or ()}
        for each in node.interfaces
    }
    others = set[str]().union(*(own for name, own in ends.items() if name != device))
    return not ends.get(device, set()) & others


def _sick(live: LiveRun, why: Culprits, joined: bool, times: int) -> Lost | None:
    """The nodes that keep others from joining, or that broke a phase twice in a row, while nothing was measured."""
    if not joined and (found := _by_trial(live)):
        return found
    nodes = nodes_in(why.names)
    if times < TRIES or not spared(live, nodes) or 2 * len(nodes) > len(live.leads):
        return None
    return Lost(why.reason, why.names, nodes)
