"""The ports that carry the traffic between nodes: how many, up, fast, wide, and in a subnet.

A rail is what ``bench.model.rails`` says. Ports that would be rails if they were up and fast are judged as long as
a node has fewer rails than the profile wants: a port that is down must not drop out of the count unseen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial, wraps

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import by_profile, check, no_rails
from bench.model.counter_table import CounterRole
from bench.model.counters import counter, saturated, snapshot
from bench.model.facts import Node, Port
from bench.model.majority import odd_ones
from bench.model.profile import Rails
from bench.model.rails import LINK_LAYER, DeviceUse, by_port, missing, rails_of, roles, used_as
from bench.model.rails import Role as Device
from bench.model.units import show_count, show_rate

CABLE = "reseat or change the cable, then: railgauge probe"
SUBNET = "start the subnet manager, or see why it left this port out: sminfo, ibstat"
TWO_LIDS = "see which port answers (smpquery portinfo LID), and have the subnet manager assign LIDs anew"
BY_HAND = "read it by hand: ibstat, or cat /sys/class/infiniband/*/ports/*/rate"
NO_RAIL = (
    "has no rail that could be judged",
    "see rails.count and exclusion.census: no device of this node is a rail",
)
_WIDTH = re.compile(r"\(([0-9]{1,2})X\b")

_of_rails = partial(check, unit="rails", unless=(no_rails,), facts_only=True)

Answer = tuple[bool | None, str]  # whether a rail is well, None where that is not known, and what it shows


def only_interfaces(evidence: Evidence) -> str:
    return "" if by_port(evidence.rails) else "the rails are interfaces, which have no such thing"


def no_rate(evidence: Evidence) -> str:
    return "" if evidence.rails.rate else "the profile gives no rate of a rail"


_of_ports = partial(check, unit="rail ports", unless=(no_rails, only_interfaces), facts_only=True)


def at_least(evidence: Evidence) -> str:
    return f"at least {evidence.rails.rate.text}" if evidence.rails.rate else ""


def rate_source(evidence: Evidence) -> str:
    return evidence.rails.rate.source if evidence.rails.rate else evidence.profile.name


def rate_bound(evidence: Evidence) -> float | None:
    return evidence.rails.rate.value if evidence.rails.rate else None


def _count_text(evidence: Evidence) -> str:
    rails = evidence.rails
    return f"{show_count(rails.count, 'rail')}" + (f": {', '.join(rails.devices)}" if rails.devices else "")


@check(
    "rails.count",
    wanted=_count_text,
    source=by_profile,
    on_fail="see which port is down, slow or gone: railgauge probe",
    on_inconclusive="read its state as the probe's user: /sys/class/infiniband, /sys/class/net",
    every=lambda evidence: f"every node has {_count_text(evidence)}",
    unit="nodes",
    bound=lambda evidence: float(evidence.rails.count),
    unless=(
        no_rails,
        lambda evidence: "" if evidence.rails.count else "the profile gives no number of rails",
    ),
    facts_only=True,
)
def count(evidence: Evidence) -> Iterator[Finding]:
    """Every node has as many rails as the profile says, and those it names."""
    return (_count(node, evidence.rails) for node in evidence.nodes)


def _count(node: Node, rails: Rails) -> Finding:
    """A port that may be a rail counts as both: the answer is known only where it is the same."""
    found, unknown = rails_of(node, rails), used_as(node, rails, DeviceUse.UNKNOWN)
    number = float(len(found))
    gone = missing(node, rails)
    near = [f"{role.name}: {role.reason}" for role in used_as(node, rails, DeviceUse.WEAK)]
    text = f"{show_count(len(found), 'rail')}" + (
        f": {', '.join(role.name for role in found)}" if found else ""
    )
    if gone:
        return Finding(node.name, False, f"{', '.join(gone)} not there; {text}", number)
    if len(found) > rails.count or len(found) + len(unknown) < rails.count:
        more = f"; not {'; '.join(near)}" if near else ""
        return Finding(node.name, False, text + more, number)
    if unknown:
        doubts = "; ".join(f"{role.name}: {role.reason}" for role in unknown)
        return Finding(node.name, None, f"{text}; not known of {doubts}", number)
    return Finding(node.name, True, text, number, note=text)


def candidates(node: Node, rails: Rails) -> tuple[Device, ...]:
    """The rails, what may be one, and, while rails are missing, what should have been one."""
    short = len(rails_of(node, rails)) < rails.count
    uses = (DeviceUse.RAIL, DeviceUse.UNKNOWN, *((DeviceUse.WEAK,) if short else ()))
    return tuple(role for role in roles(node, rails) if role.use in uses)


def _each_rail(look: Callable[[Device, Evidence], Answer]) -> Callable[[Evidence], Iterator[Finding]]:
    """One finding for each rail, as ``look`` answers, and one for a node without rails: it needs another next step."""

    @wraps(look)
    def find(evidence: Evidence) -> Iterator[Finding]:
        for node in evidence.nodes:
            devices = candidates(node, evidence.rails)
            if not devices:
                yield Finding(node.name, None, NO_RAIL[0], step=NO_RAIL[1])
            for device in devices:
                yield Finding(f"{node.name} {device.name}", *look(device, evidence))

    return find


def _port(device: Device) -> Port:
    assert device.port is not None
    return device.port


@_of_rails(
    "rails.state",
    wanted="up",
    source="NCCL leaves out a port that is not ACTIVE, without a word",
    on_fail=CABLE,
)
@_each_rail
def state(device: Device, _: Evidence) -> Answer:
    """Every rail is up: ACTIVE for a port, up with a carrier for an interface."""
    if device.port is not None:
        return device.port.active, f"state is {device.port.state or 'not known'}"
    assert device.interface is not None
    up, carrier = device.interface.operstate, device.interface.carrier
    if up is None:
        return None, "state is not known"
    return up == "up" and carrier is not False, f"state is {up}, carrier {carrier}"


@_of_ports(
    "rails.physical",
    wanted="LinkUp",
    source="Linux, sysfs-class-infiniband: phys_state",
    on_fail=CABLE,
)
@_each_rail
def physical(device: Device, _: Evidence) -> Answer:
    """Every rail port's physical link is up, neither polling nor disabled."""
    state = _port(device).phys_state
    return None if state is None else state == "LinkUp", f"physical state is {state or 'not known'}"


@check(
    "rails.rate",
    wanted=at_least,
    source=rate_source,
    on_fail=CABLE,
    on_inconclusive=BY_HAND,
    unit="rails",
    bound=rate_bound,
    unless=(no_rate, no_rails),
    facts_only=True,
)
def rate(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """Every rail runs at the rate that its cable and HCA are sold for."""
    if by_port(evidence.rails):
        yield from _rate(evidence)
        return
    # virtual interfaces show no speed, and no cable has one for them: those are judged by their measured rate
    faces = [(node, device) for node in evidence.nodes for device in candidates(node, evidence.rails)]
    silent = []
    for node, device in faces:
        speed = device.interface.speed if device.interface else None
        if speed is None:
            silent.append(f"{node.name} {device.name}")
        else:
            text = f"speed is {show_rate(speed, 'Gb/s')}"
            yield Finding(f"{node.name} {device.name}", _reached(evidence.rails, speed), text, speed)
    if silent:
        text = (
            f"the speed of {show_count(len(silent), 'interface')} is not shown; the measured rate is judged"
        )
        yield NotApplicable(text, evidence=tuple(silent[:16]))


@_each_rail
def _rate(device: Device, evidence: Evidence) -> Answer:
    rate, text = _port(device).rate, _port(device).rate_text
    if rate is None:
        return None, f"the rate is not known{f': {text!r}' if text else ''}"
    return _reached(evidence.rails, rate), f"link runs at {show_rate(rate, 'Gb/s')}" + (
        f" ({text})" if text else ""
    )


def _reached(rails: Rails, rate: float) -> bool:
    assert rails.rate is not None
    return rails.rate.reached(rate)


@_of_ports(
    "rails.width",
    wanted="the width of most rails",
    source="its peers",
    on_fail=CABLE,
    on_inconclusive="read it by hand: ibstat",
)
def width(evidence: Evidence) -> Iterator[Finding]:
    """Every rail port has as many lanes as most rail ports have."""
    found = list(_width(evidence))
    odd = {each.name: each for each in odd_ones({f.subject: f.measured for f in found if f.ok})}
    for each in found:
        differs = odd.get(each.subject)
        if differs is None:
            yield each
        else:
            peers = f"{differs.usual} as {differs.peers} others have"
            usual = peers if differs.usual else "one width; there is no majority"
            yield Finding(each.subject, False, f"{each.measured}, not {usual}")


@_each_rail
def _width(device: Device, _: Evidence) -> Answer:
    lanes = _WIDTH.search(_port(device).rate_text or "")
    return (None, "the width is not known") if lanes is None else (True, f"{lanes[1]}X")


def _layer(evidence: Evidence) -> str:
    return LINK_LAYER.get(evidence.rails.kind, "")


@_of_ports(
    "rails.link_layer",
    wanted=_layer,
    source=by_profile,
    on_fail="set the port's protocol (mlxconfig LINK_TYPE_P1), or name the right devices in the profile",
    every=lambda evidence: f"every rail port is {_layer(evidence)}",
)
@_each_rail
def link_layer(device: Device, evidence: Evidence) -> Answer:
    """Every rail port is InfiniBand, or Ethernet where the profile's rails are RoCE."""
    layer = _port(device).link_layer
    return None if layer is None else layer == _layer(evidence), f"link layer is {layer or 'not known'}"


@check(
    "rails.subnet",
    wanted="a LID and a subnet manager's LID",
    source="InfiniBand Architecture Specification",
    on_fail=SUBNET,
    unit="rail ports",
    unless=(
        no_rails,
        lambda evidence: (
            "" if evidence.rails.kind == "infiniband" else "only InfiniBand has a subnet manager"
        ),
    ),
    facts_only=True,
)
def subnet(evidence: Evidence) -> Iterator[Finding]:
    """Every InfiniBand rail knows its subnet manager and has a LID of its own, in the subnets of the other nodes."""
    yield from _subnet(evidence)
    yield from _lids(evidence)
    most = max((len(rails_of(node, evidence.rails)) for node in evidence.nodes), default=0)
    whole = [node for node in evidence.nodes if len(rails_of(node, evidence.rails)) == most]
    nodes = {node.name: _subnets(node, evidence.rails) for node in whole}
    for each in odd_ones({name: text for name, text in nodes.items() if text}):
        others = f"those of {each.peers} others: {each.usual}" if each.usual else "there is no majority"
        yield Finding(each.name, False, f"its rails are in the subnets {each.value}; {others}")


def _lids(evidence: Evidence) -> Iterator[Finding]:
    """The LIDs that two rails have in one subnet.

    Rails of their own fabrics often have the same prefix and the same LID of their subnet managers: between two rails
    a LID counts as one subnet's only where most LIDs are on one port.
    """
    ports = [
        (f"{node.name} {role.name}", role.name, (port.gid[:19], port.sm_lid, port.lid))
        for node in evidence.nodes
        for role in rails_of(node, evidence.rails)
        if (port := role.port) and port.lid and port.sm_lid and port.gid
    ]
    where: dict[tuple[str, int, int], list[tuple[str, str]]] = {}
    for subject, rail, address in ports:
        where.setdefault(address, []).append((subject, rail))
    one_fabric = sum(len(found) == 1 for found in where.values()) > len(where) / 2
    for (prefix, manager, lid), found in where.items():
        same_rail = len({rail for _, rail in found}) < len(found)
        if len(found) > 1 and (same_rail or one_fabric):
            text = f"LID {lid} is on {len(found)} ports in the subnet {prefix} of the subnet manager with LID {manager}"
            subject = " and ".join(subject for subject, _ in found)
            yield Finding(subject, False, text, wanted="each LID on one port", step=TWO_LIDS)


def _subnets(node: Node, rails: Rails) -> str:
    """``fe80:0000:0000:0000 of the subnet manager with LID 1``, of each rail; "" where one is not known."""
    found = {
        f"{port.gid[:19]} of the subnet manager with LID {port.sm_lid}"
        if port.gid and port.lid and port.sm_lid
        else ""
        for role in rails_of(node, rails)
        if (port := role.port)
    }
    return "" if "" in found else ", ".join(sorted(found))


@_each_rail
def _subnet(device: Device, _: Evidence) -> Answer:
    lid, manager = _port(device).lid, _port(device).sm_lid
    shown = ["not known" if value is None else str(value) for value in (lid, manager)]
    ok = False if 0 in (lid, manager) else None if None in (lid, manager) else True
    return ok, f"LID {shown[0]}, subnet manager {shown[1]}"


@_of_rails(
    "rails.counters",
    wanted="below its maximum",
    source="InfiniBand Architecture Specification 1.4, 16.1.3.5",
    on_fail="reset it: perfquery -R, then railgauge probe",
    on_inconclusive="reset one that is full (perfquery -R); where none can be read, see "
    "/sys/class/infiniband/*/ports/*/counters",
)
@_each_rail
def counters(device: Device, _: Evidence) -> Answer:
    """No error counter of a rail stands at its maximum, where it would hide what comes."""
    port = device.port
    if port is None:
        return True, "counters of an interface do not fill up"
    rows = saturated(snapshot(0.0, 0.0, [port], [], {}))
    full = [f"{name} {value}" for _, group, name, value in rows if _is_error(group, name)]
    if full:
        return None, f"{', '.join(full)} at the maximum: its growth is not known"
    names = [("counters", name) for name in port.counters] + [
        ("hw_counters", name) for name in port.hw_counters
    ]
    if not any(_is_error(group, name) for group, name in names):
        return None, "no error counter could be read"
    return True, "no error counter is full"


def _is_error(group: str, name: str) -> bool:
    row = counter(group, name)
    return row is not None and row.role is CounterRole.ERROR


@check("rails.others", source=by_profile, facts_only=True)
def others(evidence: Evidence) -> Iterator[NotApplicable]:
    """Ports that are no rails are listed with the reason; one that is down is no failure."""
    listed = []
    for node in evidence.nodes:
        for port in node.ports:
            role = next((role for role in roles(node, evidence.rails) if role.port is port), None)
            if role is None or role.use is not DeviceUse.RAIL:
                reason = role.reason if role else "the rails are interfaces"
                listed.append(f"{node.name} {port.name}: {reason} ({port.state or 'state not known'})")
    text = (
        f"not judged, being no rail: {show_count(len(listed), 'port')}" if listed else "every port is a rail"
    )
    yield NotApplicable(text, evidence=tuple(listed[:64]))
