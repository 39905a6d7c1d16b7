"""What a watch shows of somebody else's job: what each device carried, how fast while data waited, what happened."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_interface
from statistics import median_high

from bench.judge.evidence import Evidence, derived
from bench.model.activity import ActivityLine, DeviceActivity, InspectedCalls, NodeActivity, joined
from bench.model.facts import Node
from bench.model.late_dataclass import dataclass, field
from bench.model.profile import Rails
from bench.model.rails import DeviceUse, rails_of, used_as
from bench.model.units import MEGA, show_rate

BUSY = 0.2  # share of the time in which data waits: with less the rail is not what limits the job
SLOW = 0.7  # of the rate of the other rails, while data waits for this one
UNREAD = 0.5  # of the share in which data waits: so often the far side's process had not read it
LOAD = MEGA  # bytes/s that count as traffic
LITTLE = LOAD / 10  # bytes/s: a rail with less is not used


def is_watch(evidence: Evidence) -> bool:
    return evidence.manifest.command[1:2] == ("watch",)


@dataclass(frozen=True)
class DeviceLoad:
    """A device of a node over the whole watch. ``line``: bytes per second that it cannot exceed, where it is known."""

    node: str
    name: str
    seconds: float
    looks: int
    found: DeviceActivity
    line: float = math.inf

    @property
    def known(self) -> bool:
        """Whether its bytes are known: of a device without counters nothing follows from what it seems to carry."""
        return self.found.sent is not None and self.found.received is not None

    @property
    def sent(self) -> float:
        return (self.found.sent or 0) / self.seconds if self.seconds else 0.0

    @property
    def received(self) -> float:
        return (self.found.received or 0) / self.seconds if self.seconds else 0.0

    @property
    def rate_waiting(self) -> float:
        """Bytes per second that it sends while data waits for it; a lower limit where hardly any data waits.

        What it sends while nothing waits is counted too, so that only its line rate bounds it.
        """
        return min(self.sent / max(self.found.waiting, BUSY / 10), self.line)


@derived
def loads(evidence: Evidence) -> tuple[DeviceLoad, ...]:
    """Every device that was watched, in the order of the nodes."""
    spans: dict[str, list[NodeActivity]] = {}
    for line in evidence.run.activity:
        spans.setdefault(line.node, []).append(line.activity)
    speeds = {
        (node.name, each.name): each.speed
        for node in evidence.nodes
        for each in node.interfaces
        if each.speed
    }
    bound = evidence.rails.rate
    rated = dict.fromkeys(watched_rails(evidence), bound.value) if bound else {}
    return tuple(
        DeviceLoad(
            node,
            name,
            whole.span,
            whole.looks,
            found,
            min(lines.get((node, name), math.inf) for lines in (speeds, rated)),
        )
        for node in evidence.manifest.nodes
        if (whole := joined(spans.get(node, ()))).span
        for name, found in whole.devices.items()
    )


@derived
def watched_rails(evidence: Evidence) -> frozenset[tuple[str, str]]:
    """Node and name of each rail."""
    return frozenset(
        (node.name, role.name) for node in evidence.nodes for role in rails_of(node, evidence.rails)
    )


@derived
def rail_loads(evidence: Evidence) -> tuple[DeviceLoad, ...]:
    """The rails alone."""
    return tuple(each for each in loads(evidence) if (each.node, each.name) in watched_rails(evidence))


@derived
def device_at(evidence: Evidence) -> Mapping[str, tuple[str, str]]:
    """Address → node and interface; without the loopback's, which every node has."""
    return {
        str(ip_interface(address).ip): (node.name, interface.name)
        for node in evidence.nodes
        for interface in node.interfaces
        if interface.name != "lo"
        for address in interface.addresses or ()
    }


@derived
def inspected_calls(evidence: Evidence) -> tuple[tuple[float, InspectedCalls], ...]:
    """What NCCL's Inspector wrote: seconds since the start, and the calls."""
    return tuple((line.seconds, calls) for line in evidence.run.activity for calls in line.activity.calls)


@dataclass(frozen=True)
class WatchEvent:
    """Something that a person should see. ``device``: "" where it is none's; ``error``: of a counter that grew."""

    seconds: float
    node: str
    device: str
    text: str
    error: bool = True


@dataclass
class EventFinder:
    """Finds events in the spans of all nodes as they come, live or from a run folder."""

    rails: Rails
    nodes: Mapping[str, Node]
    _up: dict[tuple[str, str], bool | None] = field(default_factory=dict)
    _errors: dict[tuple[str, str], int] = field(default_factory=dict)
    _said: set[tuple[str, str]] = field(default_factory=set)

    def look(self, seconds: float, node: str, activity: NodeActivity) -> Iterator[WatchEvent]:
        for name, found in activity.devices.items():
            before = self._up.get((node, name), found.up)
            if found.up is not None and before is not None and found.up != before:
                word = "came up" if found.up else "went down"
                yield WatchEvent(seconds, node, name, f"its link {word}", not found.up)
            self._up[node, name] = before if found.up is None else found.up
        for counter, growth in activity.errors.items():
            more = growth - self._errors.get((node, counter), 0)
            self._errors[node, counter] = growth
            if more > 0:
                device, _, name = counter.partition(" ")
                yield WatchEvent(seconds, node, device, f"{name} grew by {more}")
        if activity.ras and (node, activity.ras) not in self._said:
            self._said.add((node, activity.ras))
            yield WatchEvent(seconds, node, "", f"NCCL's RAS: {activity.ras}", error=False)
        yield from self._excluded(seconds, node, activity)

    def _excluded(self, seconds: float, node: str, activity: NodeActivity) -> Iterator[WatchEvent]:
        """A device that the profile excludes and that carries traffic, once a watch."""
        facts = self.nodes.get(node)
        for role in used_as(facts, self.rails, DeviceUse.EXCLUDED) if facts else ():
            rate = traffic(activity.devices.get(role.name), activity.span)
            if rate > LOAD and (node, role.name) not in self._said:
                self._said.add((node, role.name))
                text = f"is excluded and carries {show_rate(rate)}"
                yield WatchEvent(seconds, node, role.name, text, error=False)


def traffic(found: DeviceActivity | None, seconds: float) -> float:
    """Bytes per second in both directions together; 0 where they are not known."""
    return ((found.sent or 0) + (found.received or 0)) / seconds if found and seconds else 0.0


@derived
def events(evidence: Evidence) -> tuple[WatchEvent, ...]:
    """The events of the run folder in the order of time."""
    return tuple(_events(evidence.run.activity, EventFinder(evidence.rails, evidence.facts)))


def _events(lines: Iterable[ActivityLine], finder: EventFinder) -> Iterator[WatchEvent]:
    for line in lines:
        yield from finder.look(line.seconds, line.node, line.activity)


@dataclass(frozen=True)
class SlowPath:
    """A rail that is slow while data waits for it. ``to``: node and rail at the far side, None where that is not known;
    ``unread``: whether the process there did not read what had come, so that no rail is to blame.
    """

    load: DeviceLoad
    usual: float
    to: tuple[str, str] | None
    unread: bool

    @property
    def ends(self) -> set[tuple[str, str]]:
        return {(self.load.node, self.load.name)} | ({self.to} if self.to else set())


@derived
def slow_paths(evidence: Evidence) -> tuple[SlowPath, ...]:
    """The rails that are what limits the job: data waits for them, and they are slower than the others meanwhile."""
    found, known = rail_loads(evidence), {(each.node, each.name): each for each in rail_loads(evidence)}
    slow = []
    for each in found:
        rates = [other.rate_waiting for other in found if other is not each and other.sent >= LITTLE]
        if not (rates and each.known) or each.found.waiting < BUSY:
            continue
        usual = median_high(rates)
        if each.rate_waiting < SLOW * usual:
            to = device_at(evidence).get(each.found.toward)
            far = known.get(to) if to else None
            unread = far is not None and far.found.unread >= UNREAD * each.found.waiting
            slow.append(SlowPath(each, usual, to, unread))
    return tuple(slow)
