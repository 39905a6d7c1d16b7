"""The rails of a platform whose profile cannot name them: found on the nodes by what they are.

RunPod calls them ``ens1`` to ``ens8`` on newer pods and ``eth1`` to ``eth8`` on older ones, and some pods have RDMA
devices.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from bench.model.facts import Interface, Node, Port
from bench.model.profile import Profile, Rails
from bench.model.rails import LINK_LAYER, inward, named

Device = TypeVar("Device", Interface, Port)
KIND = {layer: kind for kind, layer in LINK_LAYER.items()}


def at_hand(profile: Profile, nodes: Sequence[Node]) -> Profile:
    """The profile with the rails that most of ``nodes`` have, where it says that they are found there; else itself.

    Ports of RDMA devices where most nodes have some that a process can open, else interfaces. The environment follows:
    NCCL is held to sockets only where there is nothing better. What the profile itself sets stands.
    """
    rails = profile.rails
    if not rails.found:
        return profile
    ports = _usual(tuple(each.name for each in _ports(node, rails)) for node in nodes)
    if ports:
        kind = KIND[_layer(nodes, ports)]
        wanted = {"NCCL_IB_HCA": "=" + ",".join(name.replace("/", ":") for name in ports)}
        # an interface is no adapter whose bytes could be counted: what is excluded is left out by naming the rails
        rails = replace(rails, kind=kind, devices=ports, excluded=(), count=rails.count or len(ports))
    else:
        names = _usual(tuple(each.name for each in _interfaces(node, nodes, rails)) for node in nodes)
        wanted = {"NCCL_NET": "Socket", "NCCL_SOCKET_IFNAME": "=" + ",".join(names)} if names else {}
        rails = replace(rails, devices=names)
    rails = replace(rails, found=False)
    return replace(profile, rails=rails, environment={**wanted, **profile.environment})


def _usual(found: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The names that most nodes have; in a tie, those of the earliest node."""
    return Counter(found).most_common(1)[0][0] if (found := list(found)) else ()


def _layer(nodes: Sequence[Node], names: Sequence[str]) -> str:
    return Counter(
        str(port.link_layer) for node in nodes for port in node.ports if port.name in names
    ).most_common(1)[0][0]


def _ports(node: Node, rails: Rails) -> tuple[Port, ...]:
    """The ports that NCCL could take. A container may see all ports of its host and be able to open none."""
    return _likeliest(
        [
            port
            for port in node.ports
            if port.active and port.link_layer in KIND and port.openable is not False
            if not any(named(port, name) for name in rails.excluded)
        ],
        rails.count,
        lambda port: port.rate,
    )


def _interfaces(node: Node, nodes: Sequence[Node], rails: Rails) -> tuple[Interface, ...]:
    """The interfaces with an address that lead out of the machine: to other nodes, as far as networks tell.

    Whether they are up does not matter: a rail that is down is still one.
    """
    left_out = {*rails.excluded, rails.management}
    found = [
        each
        for each in node.interfaces
        if each.name not in left_out
        and not inward(each.name)
        and (each.addresses is None or _outward_addresses(each))
    ]
    others = [each for other in nodes if other is not node for each in other.interfaces]
    alike = {at for each in others for at in _outward_addresses(each)}
    alone = {at.network for each in others for at in _outward_addresses(each)}
    found = [each for each in found if not {*_outward_addresses(each)} & alike] or found
    shared = [each for each in found if any(at.network in alone for at in _outward_addresses(each))]
    return _likeliest(shared or found, rails.count, lambda each: each.speed)


def _outward_addresses(
    interface: Interface,
) -> tuple[ipaddress.IPv4Interface | ipaddress.IPv6Interface, ...]:
    """Its addresses, but for those that no other machine can be reached by."""
    found = map(ipaddress.ip_interface, interface.addresses or ())
    return tuple(at for at in found if not (at.is_loopback or at.is_link_local))


def _likeliest(
    found: list[Device], count: int, speed: Callable[[Device], float | None]
) -> tuple[Device, ...]:
    """All devices, or, where there are more than ``count``, that many of one driver, or of one driver and speed."""
    if count and len(found) > count:
        for trait in (lambda each: each.driver, lambda each: (each.driver, speed(each))):
            groups = [[each for each in found if trait(each) == of] for of in {trait(each) for each in found}]
            fitting = [group for group in groups if len(group) == count]
            if fitting:
                found = max(fitting, key=lambda group: sum(speed(each) or 0 for each in group))
                break
    return tuple(found)
