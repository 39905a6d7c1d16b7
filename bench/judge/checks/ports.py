"""The ports that carry the traffic between nodes: how many, up, fast, wide, and in a subnet.

A rail is what ``bench.model.rails`` says. Ports that would be rails if they were up and fast are judged as long as
a node has fewer rails than the profile wants: a down port must not drop out of the count unseen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, Question
from bench.judge.registry import check
from bench.model.counter_table import CounterRole
from bench.model.counters import counter, saturated, snapshot
from bench.model.facts import Node
from bench.model.majority import odd_ones
from bench.model.profile import Profile
from bench.model.rails import LINK_LAYER, Part, by_port, missing, part, rails_of, roles
from bench.model.rails import Role as Device
from bench.model.units import show_rate
from bench.model.verdict import Verdict

NO_RAILS = "the profile speaks of no rails"
ONLY_PORTS = "the rails are interfaces, which have no such thing"
BARE = "has no rail that could be asked"
BARE_STEP = "see rails.count and exclusion.census: no device of this node is a rail"
CABLE = "reseat or change the cable, then: railgauge probe"
SUBNET = "start the subnet manager, or see why it left this port out: sminfo, ibstat"
_WIDTH = re.compile(r"\(([0-9]{1,2})X\b")


@check("rails.count", early=True)
def count(evidence: Evidence) -> Iterator[Verdict]:
    """Every node has as many rails as the profile says, and those it names."""
    rails = evidence.rails
    text = f"{rails.count} rails" + (f": {', '.join(rails.devices)}" if rails.devices else "")
    ask = Question(
        "rails.count",
        text,
        evidence.profile.name,
        "see which port is down, slow or gone: railgauge probe",
        "read its state as the probe's user: /sys/class/infiniband, /sys/class/net",
        float(rails.count),
    )
    if rails.kind == "none" or not rails.count:
        yield ask.skip("all nodes", NO_RAILS)
        return
    yield from ask.verdicts((_count(node, evidence.profile) for node in evidence.nodes), f"nodes have {text}")


def _count(node: Node, want: Profile) -> Finding:
    """Ports of which it cannot be determined count as both: decided only if the answer is the same."""
    sure, unknown = rails_of(node, want.rails), part(node, want.rails, Part.UNKNOWN)
    gone = missing(node, want.rails)
    near = [f"{role.name}: {role.reason}" for role in part(node, want.rails, Part.WEAK)]
    told = f"{len(sure)} rails" + (f": {', '.join(role.name for role in sure)}" if sure else "")
    if gone:
        return Finding(node.name, False, f"{', '.join(gone)} not there; {told}", float(len(sure)))
    if len(sure) > want.rails.count or len(sure) + len(unknown) < want.rails.count:
        more = f"; not {'; '.join(near)}" if near else ""
        return Finding(node.name, False, told + more, float(len(sure)))
    if unknown:
        doubts = "; ".join(f"{role.name}: {role.reason}" for role in unknown)
        return Finding(node.name, None, f"{told}; not known of {doubts}", float(len(sure)))
    return Finding(node.name, True, told, float(len(sure)), note=told)


def judged(node: Node, want: Profile) -> tuple[Device, ...]:
    """The rails, what may be one, and, while rails are wanting, what should have been one."""
    short = len(rails_of(node, want.rails)) < want.rails.count
    parts = (Part.RAIL, Part.UNKNOWN, *((Part.WEAK,) if short else ()))
    return tuple(role for role in roles(node, want.rails) if role.part in parts)


Look = Callable[[Device], tuple[bool | None, str]]


def _each(ask: Question, evidence: Evidence, look: Look, well: str, ports: bool = True) -> Iterator[Verdict]:
    """One finding a rail; ``ports``: the question makes no sense for interfaces."""
    if evidence.rails.kind == "none":
        yield ask.skip("all nodes", NO_RAILS)
        return
    if ports and not by_port(evidence.rails):
        yield ask.skip("all nodes", ONLY_PORTS)
        return
    found = []
    for node in evidence.nodes:
        devices = judged(node, evidence.profile)
        if not devices:
            found.append(Finding(node.name, None, BARE))
        for device in devices:
            found.append(Finding(f"{node.name} {device.name}", *look(device)))
    for verdict in ask.verdicts(found, well):
        # what would mend a rail helps nobody where there is none
        yield replace(verdict, next_step=BARE_STEP) if verdict.measured == BARE else verdict


@check("rails.state", early=True)
def state(evidence: Evidence) -> Iterator[Verdict]:
    """Every rail is up: ACTIVE for a port, up with a carrier for an interface."""
    ask = Question("rails.state", "up", "NCCL leaves out a port that is not ACTIVE, without a word", CABLE)
    yield from _each(ask, evidence, _state, "rails are up", ports=False)


def _state(device: Device) -> tuple[bool | None, str]:
    if device.port is not None:
        return device.port.active, f"state is {device.port.state or 'not known'}"
    assert device.interface is not None
    up, carrier = device.interface.operstate, device.interface.carrier
    if up is None:
        return None, "state is not known"
    return up == "up" and carrier is not False, f"state is {up}, carrier {carrier}"


@check("rails.physical", early=True)
def physical(evidence: Evidence) -> Iterator[Verdict]:
    """Every rail port's physical link is up, neither polling nor disabled."""
    ask = Question("rails.physical", "LinkUp", "Linux, sysfs-class-infiniband: phys_state", CABLE)
    yield from _each(ask, evidence, _physical, "rail ports are LinkUp")


def _physical(device: Device) -> tuple[bool | None, str]:
    assert device.port is not None
    seen = device.port.phys_state
    return None if seen is None else seen == "LinkUp", f"physical state is {seen or 'not known'}"


@check("rails.rate", early=True)
def rate(evidence: Evidence) -> Iterator[Verdict]:
    """Every rail runs at the rate that its cable and HCA are sold for."""
    bound = evidence.rails.rate
    if bound is None:
        yield Question("rails.rate", "", evidence.profile.name, "").skip(
            "all nodes", "the profile names no rate of a rail"
        )
        return
    ask = Question(
        "rails.rate",
        f"at least {bound.text}",
        bound.source,
        CABLE,
        "read it by hand: ibstat, or cat /sys/class/infiniband/*/ports/*/rate",
        bound.value,
    )
    if evidence.rails.kind == "socket":
        yield from _speeds(ask, evidence)
        return
    yield from _each(
        ask, evidence, lambda device: _rate(device, evidence.profile), f"rails run at {bound.text} or more"
    )


def _rate(device: Device, want: Profile) -> tuple[bool | None, str]:
    assert device.port is not None
    assert want.rails.rate is not None
    seen, text = device.port.rate, device.port.rate_text
    if seen is None:
        return None, f"the rate is not known{f': {text!r}' if text else ''}"
    told = f"link runs at {show_rate(seen, 'Gb/s')}" + (f" ({text})" if text else "")
    return want.rails.rate.reached(seen), told


def _speeds(ask: Question, evidence: Evidence) -> Iterator[Verdict]:
    """Virtual interfaces tell no speed, and no cable has one for them: those are left to what is measured."""
    silent, found = [], []
    for node in evidence.nodes:
        for device in judged(node, evidence.profile):
            assert device.interface is not None
            speed = device.interface.speed
            name = f"{node.name} {device.name}"
            if speed is None:
                silent.append(name)
            else:
                assert evidence.rails.rate is not None
                told = f"speed is {show_rate(speed, 'Gb/s')}"
                found.append(Finding(name, evidence.rails.rate.reached(speed), told, speed))
    if silent:
        yield ask.skip(
            "all nodes", f"{len(silent)} interfaces tell no speed; the measured rate speaks", *silent[:16]
        )
    if found or not silent:
        yield from ask.verdicts(found, "rails tell a speed that is enough")


@check("rails.width", early=True)
def width(evidence: Evidence) -> Iterator[Verdict]:
    """Every rail port has as many lanes as most rail ports have."""
    ask = Question("rails.width", "the width of most rails", "its peers", CABLE, "read it by hand: ibstat")
    widths = {
        f"{node.name} {device.name}": match[1]
        for node in evidence.nodes
        for device in (judged(node, evidence.profile) if by_port(evidence.rails) else ())
        if device.port and (match := _WIDTH.search(device.port.rate_text or ""))
    }
    odd = {each.name: each for each in odd_ones(widths)}

    def look(device: Device) -> tuple[bool | None, str]:
        lanes = _WIDTH.search(device.port.rate_text or "") if device.port else None
        return (None, "the width is not known") if lanes is None else (True, f"{lanes[1]}X")

    for verdict in _each(ask, evidence, look, "rail ports have the same width"):
        if verdict.subject == "all nodes" and odd:
            continue
        yield verdict
    for name, each in odd.items():
        usual = (
            f"{each.usual}X as {each.peers} others have" if each.usual else "one width; there is no majority"
        )
        yield ask.verdict(Finding(name, False, f"{each.value}X, not {usual}"))


@check("rails.link_layer", early=True)
def link_layer(evidence: Evidence) -> Iterator[Verdict]:
    """Every rail port is InfiniBand, or Ethernet where the profile's rails are RoCE."""
    wanted = LINK_LAYER.get(evidence.rails.kind, "")
    repair = "set the port's protocol (mlxconfig LINK_TYPE_P1), or name the right devices in the profile"
    ask = Question("rails.link_layer", wanted, evidence.profile.name, repair)

    def look(device: Device) -> tuple[bool | None, str]:
        layer = device.port.link_layer if device.port else None
        return None if layer is None else layer == wanted, f"link layer is {layer or 'not known'}"

    yield from _each(ask, evidence, look, f"rail ports are {wanted}")


@check("rails.subnet", early=True)
def subnet(evidence: Evidence) -> Iterator[Verdict]:
    """Every InfiniBand rail has a LID and knows its subnet manager."""
    ask = Question(
        "rails.subnet", "a LID and a subnet manager's LID", "InfiniBand Architecture Specification", SUBNET
    )
    if evidence.rails.kind not in ("infiniband", "none"):
        yield ask.skip("all nodes", "only InfiniBand has a subnet manager")
        return
    yield from _each(ask, evidence, _subnet, "rail ports have a LID and a subnet manager")


def _subnet(device: Device) -> tuple[bool | None, str]:
    assert device.port is not None
    lid, manager = device.port.lid, device.port.sm_lid
    known = [value for value in (lid, manager) if value is not None]
    told = f"LID {_or_unknown(lid)}, subnet manager {_or_unknown(manager)}"
    if 0 in known:
        return False, told
    return (True if len(known) == 2 else None), told


def _or_unknown(number: int | None) -> str:
    return "not known" if number is None else str(number)


@check("rails.counters", early=True)
def counters(evidence: Evidence) -> Iterator[Verdict]:
    """No error counter of a rail stands at its maximum, where it would hide what comes."""
    ask = Question(
        "rails.counters",
        "below its maximum",
        "InfiniBand Architecture Specification 1.4, 16.1.3.5",
        "reset it: perfquery -R, then railgauge probe",
        "reset one that is full (perfquery -R); where none can be read, see /sys/class/infiniband/*/ports/*/counters",
    )

    def look(device: Device) -> tuple[bool | None, str]:
        if device.port is None:
            return True, "counters of an interface do not fill up"
        full = _full(device)
        if full:
            return None, f"{', '.join(full)} at the maximum: growth cannot be determined"
        if not any(_is_error(group, name) for group, name in _names(device)):
            return None, "no error counter could be read"
        return True, "no error counter is full"

    yield from _each(ask, evidence, look, "rails have room in every error counter", ports=False)


def _full(device: Device) -> list[str]:
    assert device.port is not None
    rows = saturated(snapshot(0.0, 0.0, [device.port], [], {}))
    return [f"{name} {value}" for _, group, name, value in rows if _is_error(group, name)]


def _names(device: Device) -> Iterator[tuple[str, str]]:
    assert device.port is not None
    yield from (("counters", name) for name in device.port.counters)
    yield from (("hw_counters", name) for name in device.port.hw_counters)


def _is_error(group: str, name: str) -> bool:
    row = counter(group, name)
    return row is not None and row.role is CounterRole.ERROR


@check("rails.others", early=True)
def others(evidence: Evidence) -> Iterator[Verdict]:
    """Ports that are no rails are listed with the reason; one that is down is no failure."""
    ask = Question("rails.others", "", evidence.profile.name, "")
    told = []
    for node in evidence.nodes:
        for port in node.ports:
            role = next((role for role in roles(node, evidence.rails) if role.port == port), None)
            if role is None or role.part is not Part.RAIL:
                reason = role.reason if role else "the rails are interfaces"
                told.append(f"{node.name} {port.name}: {reason} ({port.state or 'state not known'})")
    measured = f"{len(told)} ports are no rails and were not judged" if told else "no port beside the rails"
    yield ask.skip("all nodes", measured, *told[:64])
