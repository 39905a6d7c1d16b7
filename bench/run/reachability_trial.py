"""Every node tries every other on every rail by TCP: who cannot be reached from where, and whose fault that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import uuid4

from bench.model.facts import Node
from bench.model.units import show_some
from bench.probe.reachability import Target, answered
from bench.store import SetAside
from bench.supervise.questions import LISTEN, REACH, ListenAt, Reach

from .live_run import LiveRun

LIMIT = 60.0  # seconds for every node to try all the others, at most 200 at a time


class UnreachedAddress(NamedTuple):
    """``source`` does not reach ``address`` of ``node``, on ``device``."""

    source: str
    node: str
    device: str
    address: str
    reason: str


def sick_nodes(live: LiveRun) -> list[SetAside]:
    """The nodes without which every other pair reaches each other, with who could not reach what."""
    broken = _try_all_pairs(live)
    twice = [each for each in _of_two_nodes(live.nodes, broken) if each.node in live.leads]
    names = [each.node for each in twice]
    left = [row for row in broken if not {row.source, row.node} & {*names}]
    return twice + culprits(left, [name for name in live.leads if name not in names])


def _of_two_nodes(nodes: Sequence[Node], broken: Sequence[UnreachedAddress]) -> list[SetAside]:
    """The nodes whose address another node has too, one that was set aside perhaps: its kernel still answers for it.

    Who reaches such an address is chance, so one pair that does not is enough.
    """
    owners: dict[str, list[str]] = {}
    for node in nodes:
        for interface in node.interfaces:
            for text in interface.addresses or ():
                owners.setdefault(text.partition("/")[0], []).append(node.name)
    found: dict[str, SetAside] = {}
    for row in broken:
        if others := [name for name in owners.get(row.address, ()) if name != row.node]:
            reason = f"{row.device}: {row.address} is on {others[0]} too, and not reached from {row.source}"
            found.setdefault(
                row.node, SetAside(row.node, f"{row.node} {row.device}", f"{reason} ({row.reason})")
            )
    return list(found.values())


def _try_all_pairs(live: LiveRun) -> list[UnreachedAddress]:
    """The pairs of nodes that do not reach each other, on a rail or at the address where the workers meet."""
    chief, leads, job = live.coordinator, live.leads, uuid4().hex
    where = {node.name: _addresses(live, node.name) for node in live.nodes if node.name in leads}
    each = {
        leads[name]: ListenAt(tuple(own.values()), f"{job} {name}", live.options.ports)
        for name, own in where.items()
    }
    opened = chief.ask(LISTEN, list(each), LIMIT, each)
    targets = [
        (name, device, Target(address, opened[leads[name]].ports[address], f"{job} {name}"))
        for name, own in where.items()
        for device, address in own.items()
        if address in opened[leads[name]].ports
    ]
    others = {name: [row for row in targets if row[0] != name] for name in where}
    wanted = {leads[name]: Reach(tuple(row[2] for row in rows)) for name, rows in others.items()}
    answers = chief.ask(REACH, list(wanted), LIMIT, wanted)
    return [
        UnreachedAddress(name, node, device, target.address, tried.reason)
        for name, rows in others.items()
        for (node, device, target), tried in zip(
            rows, answered(answers[leads[name]].tries, len(rows)), strict=True
        )
        if not tried.source
    ]


def _addresses(live: LiveRun, name: str) -> dict[str, str]:
    """Rail -> its first address on this node; where rails are no interfaces, where the workers meet."""
    (node,) = [each for each in live.nodes if each.name == name]
    rails = live.profile.rails.interfaces
    found = {
        each.name: each.addresses[0].partition("/")[0]
        for each in node.interfaces
        if each.name in rails and each.addresses
    }
    if not rails and name in live.meeting.addresses:
        found[live.meeting.interfaces[name]] = live.meeting.addresses[name]
    return found


def culprits(broken: Sequence[UnreachedAddress], names: Sequence[str]) -> list[SetAside]:
    """The nodes that most of the failed pairs have in common, worst first; empty when no node stands out."""
    found, left = list[SetAside](), list(broken)
    while left:
        peers = {
            name: {row.source if row.node == name else row.node for row in left if name in row[:2]}
            for name in names
        }
        order = Counter({name: len(each) for name, each in peers.items()}).most_common(2)
        (worst, count), (_, next_count) = order
        if count == next_count or 2 * count < len(names) - 1 - len(found):
            return found
        own = [row for row in left if worst in row[:2]]
        found.append(_set_aside(worst, own))
        left = [row for row in left if row not in own]
    return found


def _set_aside(node: str, broken: Sequence[UnreachedAddress]) -> SetAside:
    devices = sorted({row.device for row in broken})
    evidence = tuple(_sentences(node, broken))
    return SetAside(node, f"{node} {', '.join(devices)}", "; ".join(evidence[:2]), True, evidence=evidence)


def _sentences(node: str, broken: Sequence[UnreachedAddress]) -> Iterator[str]:
    """``eth1: n0, n1 and n3 do not reach 198.18.1.12 (no answer within 1 s)``."""
    to: dict[tuple[str, str, str], list[str]] = {}
    by: dict[tuple[str, str], list[str]] = {}
    for row in broken:
        if row.node == node:
            to.setdefault((row.device, row.address, row.reason), []).append(row.source)
        else:
            by.setdefault((row.device, row.reason), []).append(f"{row.address} of {row.node}")
    for (device, address, reason), names in to.items():
        yield f"{device}: {address} is not reached from {show_some(names, 8)} ({reason})"
    for (device, reason), places in by.items():
        yield f"{device}: it does not reach {show_some(places, 4)} ({reason})"
