"""Decides which devices of a node are its rails, which are excluded, and which are neither, with the reason.

A profile that names its rails is believed by name, whatever their state: judging that is for the checks. One
that names none gets every port that NCCL would take, with the profile's kind, link layer and rate, and that
it does not exclude.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import cast

from bench.model.facts import INWARD, LEVELS, Interface, Node, Port
from bench.model.profile import Rails
from bench.model.units import show_rate

from .late_dataclass import dataclass

LINK_LAYER = {"infiniband": "InfiniBand", "roce": "Ethernet"}  # kind of rail → link layer in sysfs
# what is no way to another machine, or only to containers and virtual machines of this one
_INNER = ("ifb", "dummy", "tunl", "vxlan", *INWARD)


class DeviceUse(str, Enum):
    """The use of a device in the job. WEAK would be a rail if its link were up and fast; UNKNOWN may be one: a fact is
    missing.
    """

    RAIL = "rail"
    EXCLUDED = "excluded"
    WEAK = "weak"
    OTHER = "other"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Role:
    """A port (``mlx5_3/1``) or interface (``eth3``) and its use; ``reason`` says by what."""

    name: str
    use: DeviceUse
    reason: str
    port: Port | None = None
    interface: Interface | None = None


def by_port(rails: Rails) -> bool:
    """Whether the rails are ports of HCAs (InfiniBand, RoCE) and not interfaces."""
    return rails.kind in LINK_LAYER


def inward(name: str) -> bool:
    """Whether an interface of this name is no way to another machine."""
    return name == "lo" or name.startswith(_INNER)


def can_cross(rails: Rails) -> bool:
    """Whether a transfer from rail i to rail j uses both. Between interfaces it does not: the kernel chooses the
    way by the address of the far side, so that it leaves by rail j, whatever the socket was bound to.
    """
    return by_port(rails)


def named(port: Port, name: str) -> bool:
    """Whether ``name`` (``mlx5_3``, ``mlx5_3/1`` or ``mlx5_3:1``) means this port."""
    return name in (port.hca, port.name, f"{port.hca}:{port.number}")


def roles(node: Node, rails: Rails) -> tuple[Role, ...]:
    """Every port of the node, or every interface where the rails are sockets, in the order of the facts."""
    return _devices(node, rails)[0]


def _devices(node: Node, rails: Rails) -> tuple[tuple[Role, ...], tuple[Role, ...]]:
    """(roles, rails) of a node; nearly every check asks for them, for every node."""
    found = node.derived.get(rails)
    if found is None:
        every = _roles(node, rails)
        own = [role for role in every if role.use is DeviceUse.RAIL]
        if rails.devices:
            own.sort(key=lambda role: _place(role, rails))
        found = node.derived[rails] = (every, tuple(own))
    return cast(tuple[tuple[Role, ...], tuple[Role, ...]], found)


def _roles(node: Node, rails: Rails) -> tuple[Role, ...]:
    if rails.kind == "socket":
        return tuple(_interface_role(interface, rails) for interface in node.interfaces)
    return tuple(_port_role(port, node, rails) for port in node.ports)


def rails_of(node: Node, rails: Rails) -> tuple[Role, ...]:
    """The node's rails in order: rail k is the k-th. What is named but not there is in ``missing``."""
    return _devices(node, rails)[1]


def nearest_rails(node: Node, rails: Rails) -> tuple[tuple[str, ...], ...]:
    """List for GPU 0, 1 … the rails with the shortest PCI path to it; () where none of its paths is known."""
    return nearest(node, [role.name for role in rails_of(node, rails)])


def nearest(node: Node, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """List for GPU 0, 1 … the HCAs, ports or interfaces in ``names`` with the shortest PCI path to it."""
    key = tuple(names)
    found = node.derived.get(key)
    if found is None:
        found = node.derived[key] = tuple(_nearest(node, key))
    return cast(tuple[tuple[str, ...], ...], found)


def _nearest(node: Node, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    level = {(near.gpu, near.device): near.level for near in node.affinity}
    for gpu in node.gpus:
        levels = {name: level.get((gpu.index, _device(name))) for name in names}
        known = {name: LEVELS.index(step) for name, step in levels.items() if step in LEVELS}
        least = min(known.values(), default=0)
        yield tuple(name for name, step in known.items() if step == least)


def _device(name: str) -> str:
    """``mlx5_3`` of ``mlx5_3/1`` or ``mlx5_3:1``."""
    return name.split("/")[0].split(":")[0]


def in_order(names: Sequence[str], count: int) -> tuple[tuple[str, ...], ...]:
    """``count`` equal shares of ``names``: ((a, b), (c, d)) of four for two, ((a,), (a,), (b,), (b,)) of two for four;
    () each where they do not divide.
    """
    if names and count and len(names) % count == 0:
        each = len(names) // count
        return tuple(tuple(names[at * each : at * each + each]) for at in range(count))
    if names and count % len(names) == 0:
        return tuple((names[at * len(names) // count],) for at in range(count))
    return ((),) * count


def own_rails(node: Node, rails: Rails) -> tuple[tuple[str, ...], ...]:
    """The rails of GPU 0, 1 …; see ``shared_out``. Of a node without GPUs rail k stands alone in place k."""
    key = rails, "own"
    found = node.derived.get(key)
    if found is None:
        names = tuple(role.name for role in rails_of(node, rails))
        found = shared_out(node, names) if node.gpus else tuple((name,) for name in names)
        node.derived[key] = found
    return cast(tuple[tuple[str, ...], ...], found)


def shared_out(node: Node, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The ``names`` that GPU 0, 1 … uses, several where there are more names than GPUs.

    As NCCL chooses (ncclTopoGetLocalNet): the one nearest by PCI, whoever else is near to it. GPUs that are equally
    near to the same rails share these out, in order: NCCL's order is that of the mirrored bits of their numbers. ()
    where that does not tell: the ways are not known and the order is none, or two GPUs share some of their rails.
    """
    order, near = in_order(names, len(node.gpus)), nearest(node, names)
    if all(own and set(own) <= set(tied or own) for own, tied in zip(order, near, strict=True)):
        return order
    sharers: dict[tuple[str, ...], list[int]] = {}
    for gpu, tied in enumerate(near):
        sharers.setdefault(tied, []).append(gpu)
    uses = Counter(name for tied in sharers for name in tied)
    found: list[tuple[str, ...]] = [()] * len(near)
    for tied, gpus in sharers.items():
        if len(tied) == 1:
            shares: Sequence[tuple[str, ...]] = [tied] * len(gpus)
        else:
            alone = all(uses[name] == 1 for name in tied)
            shares = in_order(tied if alone else (), len(gpus))
        for gpu, own in zip(gpus, shares, strict=True):
            found[gpu] = own
    return tuple(found)


def joined(own: Sequence[str]) -> str:
    """The joint name of a GPU's rails: ``mlx5_0/1+mlx5_1/1``."""
    return "+".join(own)


def members(name: str) -> tuple[str, ...]:
    """The rails of a name, of one GPU's rails or of one rail; see ``unique_rail_names``."""
    return tuple(name.partition(" (")[0].split("+"))


def unique_rail_names(own: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """A name for the rails of each local rank: ``mlx5_3/1``; ``rail 2`` where they are not known, and those that share
    a rail are told apart: ``mlx5_3/1 (local rank 2)``.
    """
    names = [joined(rails) or f"rail {at}" for at, rails in enumerate(own)]
    times = Counter(names)
    return tuple(f"{name} (local rank {at})" if times[name] > 1 else name for at, name in enumerate(names))


def used_as(node: Node, rails: Rails, wanted: DeviceUse) -> tuple[Role, ...]:
    """The node's devices of this use."""
    return tuple(role for role in roles(node, rails) if role.use is wanted)


def missing(node: Node, rails: Rails) -> tuple[str, ...]:
    """Rails that the profile names and the node does not have."""
    if rails.kind == "socket":
        present = {interface.name for interface in node.interfaces}
        return tuple(name for name in rails.devices if name not in present)
    return tuple(name for name in rails.devices if not any(named(port, name) for port in node.ports))


def _place(role: Role, rails: Rails) -> tuple[int, str]:
    for place, name in enumerate(rails.devices):
        if name == role.name or (role.port is not None and named(role.port, name)):
            return place, role.name
    return len(rails.devices), role.name


def _port_role(port: Port, node: Node, rails: Rails) -> Role:
    found, reason = _port_use(port, node, rails)
    return Role(port.name, found, reason, port=port)


def _port_use(port: Port, node: Node, rails: Rails) -> tuple[DeviceUse, str]:
    if any(named(port, name) for name in rails.excluded):
        return DeviceUse.EXCLUDED, "excluded by the profile"
    if rails.kind not in LINK_LAYER:
        return (
            DeviceUse.OTHER,
            "the profile has no rails" if rails.kind == "none" else "the rails are interfaces",
        )
    if rails.devices:
        return _by_name(port, node, rails)
    reasons = list(_lacks(port, rails))
    for status in (DeviceUse.OTHER, DeviceUse.UNKNOWN, DeviceUse.WEAK):
        matching = [reason for reached, reason in reasons if reached is status]
        if matching:
            return status, ", ".join(matching)
    return DeviceUse.RAIL, f"{port.link_layer}, ACTIVE, {_rate(port.rate)}"


def _by_name(port: Port, node: Node, rails: Rails) -> tuple[DeviceUse, str]:
    """A bare HCA name means its one port, or those of its ports that are up."""
    if any(name in (port.name, f"{port.hca}:{port.number}") for name in rails.devices):
        return DeviceUse.RAIL, "named by the profile"
    if port.hca not in rails.devices:
        return DeviceUse.OTHER, "not named by the profile"
    up = [other.number for other in node.ports if other.hca == port.hca and other.active]
    if up and port.number not in up and port.active is False:
        return DeviceUse.OTHER, f"another port of {port.hca} is up"
    return DeviceUse.RAIL, "named by the profile"


def _lacks(port: Port, rails: Rails) -> Iterator[tuple[DeviceUse, str]]:
    """What keeps a port from being a rail, and how surely."""
    wanted = LINK_LAYER[rails.kind]
    if port.link_layer is None:
        yield DeviceUse.UNKNOWN, "its link layer is not known"
    elif port.link_layer != wanted:
        yield DeviceUse.OTHER, f"its link layer is {port.link_layer}"
    if port.active is None:
        yield DeviceUse.UNKNOWN, "its state is not known"
    elif not port.active:
        yield DeviceUse.WEAK, f"its state is {port.state}"
    yield from _slow(port.rate, rails)


def _slow(rate: float | None, rails: Rails) -> Iterator[tuple[DeviceUse, str]]:
    if rails.rate is None:
        return
    if rate is None:
        yield DeviceUse.UNKNOWN, "its rate is not known"
    elif not rails.rate.reached(rate):
        yield DeviceUse.WEAK, f"its rate is {_rate(rate)}, not {rails.rate.text}"


def _interface_role(interface: Interface, rails: Rails) -> Role:
    found, reason = _interface_use(interface, rails)
    return Role(interface.name, found, reason, interface=interface)


def _interface_use(interface: Interface, rails: Rails) -> tuple[DeviceUse, str]:
    if interface.name in rails.excluded:
        return DeviceUse.EXCLUDED, "excluded by the profile"
    if interface.name == rails.management:
        return DeviceUse.EXCLUDED, "the profile's management interface"
    if rails.devices:
        listed = interface.name in rails.devices
        return (
            (DeviceUse.RAIL, "named by the profile")
            if listed
            else (DeviceUse.OTHER, "not named by the profile")
        )
    if inward(interface.name):
        return DeviceUse.OTHER, "no way to another machine"
    if interface.operstate is None:
        return DeviceUse.UNKNOWN, "its state is not known"
    reasons = list(_slow(interface.speed, rails))
    if interface.operstate != "up":
        reasons.insert(0, (DeviceUse.WEAK, f"its state is {interface.operstate}"))
    return reasons[0] if reasons else (DeviceUse.RAIL, f"up, {_rate(interface.speed)}")


def _rate(rate: float | None) -> str:
    return "rate unknown" if rate is None else show_rate(rate, "Gb/s")
