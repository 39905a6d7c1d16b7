"""The address at which the workers of a job meet: every node tries every candidate, and the first that all reach is it.

Names and networks cannot tell: a container bridge has the same network on every node and leads nowhere, and a
management interface may be isolated.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Collection, Mapping, Sequence
from uuid import uuid4

from bench.launch.table import OWN_ADDRESSES
from bench.model.errors import RailGaugeError
from bench.model.facts import INWARD, Node
from bench.model.late_dataclass import dataclass, field
from bench.model.profile import Rails
from bench.model.units import show_some
from bench.probe.reachability import Target, Try, answered
from bench.probe.tcp_ports import MEND, PORTS
from bench.supervise.coordinator import Coordinator
from bench.supervise.questions import LISTEN, REACH, ListenAt, Reach

LIMIT = 30.0  # seconds for every node to try every candidate


class NoAddress(RailGaugeError):
    """No address of the first node is reached by all the others. ``reasons``: nodes without which one would be."""

    def __init__(self, text: str, reasons: Mapping[str, str]) -> None:
        super().__init__(text)
        self.reasons = reasons


@dataclass(frozen=True)
class Candidate:
    """An address of the first node and its interface."""

    address: str
    interface: str

    @property
    def text(self) -> str:
        return f"{self.address} ({self.interface})"


@dataclass(frozen=True)
class Meeting:
    """Where rank 0's TCPStore (torch's rendezvous) listens.

    interfaces  node -> its interface on the way there; ``addresses``: node -> its own address on that way
    refused     in words: the candidates before it, and who could not reach them
    """

    address: str
    interfaces: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""


def find_meeting(
    chief: Coordinator,
    leads: Mapping[str, int],
    nodes: Sequence[Node],
    rails: Rails,
    named: str = "",
    ports: Sequence[int] = PORTS,
) -> Meeting:
    """Let every node try the candidates of the first; the loopback for a single node.

    ``leads``: node -> its first rank; ``named``: the only interface of the first node that may be used, "" for any;
    ``ports``: the first and the last at which it may listen.

    Raises NoAddress with what was tried and who could not reach what.
    """
    first, *others = nodes
    stated = [os.environ.get(name, "") for name in OWN_ADDRESSES]
    tried = candidates(first, rails, chief.control.address, named, stated)
    if named and not tried:
        known = show_some([each.name for each in first.interfaces if each.addresses], 8)
        raise NoAddress(
            f"--meet-interface {named}: {first.name} has no address there; it has some on {known}", {}
        )
    if not others:
        return Meeting("127.0.0.1", {first.name: "lo"}, {first.name: "127.0.0.1"})
    lead, job = leads[first.name], uuid4().hex
    addresses, greeting = [each.address for each in tried], f"{job} {first.name}"
    answer = chief.ask(LISTEN, [lead], LIMIT, {lead: ListenAt(tuple(addresses), greeting, tuple(ports))})
    opened = answer[lead].ports
    if tried and not opened:
        shown = "-".join(str(each) for each in ports)
        raise NoAddress(
            f"{first.name} can listen at none of {show_some(addresses, 4)}, ports {shown}: {MEND}", {}
        )
    tried = [each for each in tried if each.address in opened]
    targets = tuple(Target(each.address, opened[each.address], greeting) for each in tried)
    wanted = {leads[node.name]: Reach(targets) for node in others}
    answers = chief.ask(REACH, list(wanted), LIMIT, wanted)
    found = {node.name: answered(answers[leads[node.name]].tries, len(targets)) for node in others}
    return choose(nodes, tried, found)


def candidates(
    first: Node, rails: Rails, control: str = "", named: str = "", stated: Collection[str] = ()
) -> list[Candidate]:
    """The addresses of the first node in the order in which they are preferred.

    What the supervisors already talk over (``control``) comes first, then what the platform calls the node's address in
    the cluster (``stated``), then the profile's management interface. What meets must not load what is measured, so
    rails come after what is none; container bridges and link-local addresses are last.
    """
    found = []
    for interface in first.interfaces:
        for text in interface.addresses or ():
            address = ipaddress.ip_interface(text).ip
            if address.is_loopback or (address.version == 6 and address.is_link_local):
                continue
            order = (
                address.is_link_local,
                interface.name.startswith(INWARD),
                str(address) != control,
                str(address) not in stated,
                interface.name != rails.management,
                interface.name in rails.unreached,
                interface.name in rails.devices,
                address.version,
            )
            if named in ("", interface.name):
                found.append((order, Candidate(str(address), interface.name)))
    return [each for _, each in sorted(found, key=lambda row: row[0])]


def choose(nodes: Sequence[Node], tried: Sequence[Candidate], found: Mapping[str, Sequence[Try]]) -> Meeting:
    """The first candidate that every node reached. ``found``: node -> what came of each candidate."""
    refused: list[str] = []
    least: Mapping[str, str] = dict.fromkeys(found, "")
    for at, candidate in enumerate(tried):
        failed = {name: tries[at].reason for name, tries in found.items() if not tries[at].source}
        if not failed:
            sources = {nodes[0].name: candidate.address} | {name: t[at].source for name, t in found.items()}
            interfaces = {node.name: _interface_of(node, sources[node.name]) for node in nodes}
            return Meeting(candidate.address, interfaces, sources, "; ".join(refused))
        if len(failed) < len(least):
            at_address = f"it does not reach {candidate.address} of {nodes[0].name}"
            least = {name: f"{at_address}: {reason}" for name, reason in failed.items()}
        refused.append(f"{candidate.text} is not reached by {_with_reasons(failed)}")
    reasons = "; ".join(refused) or "it has none"
    raise NoAddress(
        f"no address of {nodes[0].name} is reached by all nodes: {reasons}; open TCP between the nodes on one of its "
        "interfaces, or name another with --meet-interface",
        least if 2 * len(least) <= len(found) else {nodes[0].name: f"nobody reaches it: {reasons}"},
    )


def _with_reasons(failed: Mapping[str, str]) -> str:
    """``n1, n2 (connection refused) and n3 (no answer within 1 s)``."""
    reasons: dict[str, list[str]] = {}
    for name, reason in failed.items():
        reasons.setdefault(reason, []).append(name)
    return " and ".join(f"{show_some(names, 8)} ({reason})" for reason, names in reasons.items())


def _interface_of(node: Node, address: str) -> str:
    """The interface that has ``address``, "" where the facts hold none."""
    for interface in node.interfaces:
        if any(text.partition("/")[0] == address for text in interface.addresses or ()):
            return interface.name
    return ""
