"""The address at which the workers of a job meet."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.model.errors import RailGaugeError
from bench.model.facts import Interface, Node
from bench.model.profile import Rails


class NoAddress(RailGaugeError):
    """No address of the first node is in a network that all nodes share."""


@dataclass(frozen=True)
class Meeting:
    """Where the first rank's store listens, and the interface of that address on the first node."""

    address: str
    interface: str


def meeting_place(nodes: Sequence[Node], rails: Rails) -> Meeting:
    """An IPv4 address of the first node that every node can reach: the loopback for a single node.

    The profile's management interface comes first, then interfaces whose network every node has a
    part in, the rails last: what meets must not load what is measured.

    Raises NoAddress with the networks of the first node.
    """
    if len(nodes) == 1:
        return Meeting("127.0.0.1", "lo")
    found = sorted(_networks(nodes[0]), key=lambda row: _preference(row[0].name, rails))
    for interface, address, network in found:
        if all(any(network == other for _, _, other in _networks(node)) for node in nodes[1:]):
            return Meeting(str(address), interface.name)
    # nodes of a routed network share no subnet; the management address is the one to be routed to
    for interface, address, _ in found:
        if interface.name == rails.management:
            return Meeting(str(address), interface.name)
    known = ", ".join(f"{interface.name} {network}" for interface, _, network in found) or "none"
    raise NoAddress(
        f"no network of {nodes[0].name} ({known}) is shared by all nodes: name the interface that reaches them "
        "as management in the profile's [rails]"
    )


def _preference(name: str, rails: Rails) -> tuple[bool, bool]:
    return name != rails.management, name in rails.devices


def _networks(
    node: Node,
) -> Iterator[tuple[Interface, ipaddress.IPv4Address, ipaddress.IPv4Network]]:
    for interface in node.interfaces:
        for text in interface.addresses or ():
            try:
                whole = ipaddress.IPv4Interface(text)
            except ValueError:
                continue
            # docker0 has the same network on every node and reaches none of them
            if not whole.is_loopback and not interface.name.startswith(("docker", "virbr", "br-")):
                yield interface, whole.ip, whole.network
