"""Which leaf switch each rail of each node hangs on, by what the fabric's tools said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.judge.fabric.links import wanted_of
from bench.model.facts import Node
from bench.model.profile import Profile
from bench.model.rails import joined, members, rails_of
from bench.plan.screening import MOST_IN_PAIRS, Ring, nodes_by_leaf
from bench.probe.fabric.ask_all import from_json, seen
from bench.probe.fabric.subnet import Subnet, attachments
from bench.store import FABRIC, LOGS, Run


def subnet_of(run: Run, reading: int = -1) -> Subnet | None:
    """The subnet as it was last seen, or in another reading; None where nobody was asked, or the line is damaged."""
    try:
        lines = (run.path / LOGS / FABRIC).read_text(encoding="utf-8").splitlines()
        return seen(from_json(lines[reading]))
    except (OSError, ValueError, LookupError):
        return None


def leaves(nodes: Iterable[Node], names: Sequence[str], fabric: Subnet | None) -> dict[tuple[str, str], str]:
    """(node, rail) -> the switch that its port hangs on; only what both facts and fabric know. Of a GPU with several
    rails those of all.
    """
    if fabric is None:
        return {}
    on = {each.hca.guid: each.switch for each in attachments(fabric) if each.switch}
    found = {}
    for node in nodes:
        for name in names:
            switches = [
                on.get(wanted.guid) if wanted.guid else None for wanted in wanted_of(node, members(name))
            ]
            of_all = [(switch.name or switch.guid or "") if switch else "" for switch in switches]
            if all(of_all):
                found[node.name, name] = joined(tuple(dict.fromkeys(of_all)))
    return found


def nodes_of_leaves(run: Run, profile: Profile) -> tuple[Ring, ...]:
    """The nodes of each leaf before anything was measured, those that were set aside later included.

    () of as few nodes as are measured in pairs: what the fabric's tools said need not be read for them.
    """
    nodes = run.whole.nodes
    if len(nodes) <= MOST_IN_PAIRS:
        return ()
    names = dict.fromkeys(role.name for node in nodes for role in rails_of(node, profile.rails))
    return nodes_by_leaf([node.name for node in nodes], leaves(nodes, tuple(names), subnet_of(run, 0)))
