"""The bytes on what is excluded, around every phase: the layer that no configuration can get round.

The noise floor. On a port of an HCA that nothing measured uses, subnet and performance managers, neighbour
discovery and keep-alives move some kB/s; NCCL on one rail moves GB/s. A window may hold 1 MB and 1 MB/s:
100 times that noise, and a 40 000th of an NDR rail. On a management interface heartbeats, logs, the store and a
network file system run too: 16 MB and 1 MB/s. What is above the floor is the measured traffic's (FAIL) if the
phase crossed nodes and it is at least a 100th of what a rail carried, as one of nine devices in use carries a
ninth; what is between is somebody else's load or a short use, which bytes alone do not tell apart (INCONCLUSIVE).
So is what a device carried already in the seconds before the first phase, as storage does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from bench.judge.counter_windows import CounterWindow
from bench.judge.evidence import Evidence, derived
from bench.judge.findings import MOST, Finding, NotApplicable
from bench.judge.registry import check
from bench.model.counters import HW, NET, bytes_moved
from bench.model.facts import Node, Port
from bench.model.groups import Group, group_sizes
from bench.model.profile import Rails
from bench.model.rails import DeviceUse, Role, by_port, rails_of, roles, used_as
from bench.model.units import MEGA, show_rate, show_seconds, show_share, show_size
from bench.plan.phase_names import phase_words

from .exclusion_settings import nothing_excluded

RATE = MEGA  # bytes/s, sent and received together
PORT_BYTES = MEGA
INTERFACE_BYTES = 16 * MEGA
SHARE = 0.01  # of the mean bytes of the node's rails
MUCH_MORE = (
    2.0  # times what was on a device before anything was measured: what is below goes on beside the run
)
# of what a rail carried, and bytes in one phase, from which on an IP interface was loaded beside the rails: start-up
# reads libraries over it, and the store and heartbeats run there
IP_SHARE, IP_BYTES = 0.1, 16 << 30
HEADERS = 80  # bytes of InfiniBand's headers (LRH, GRH, BTH, DETH, ICRC, VCRC) on one packet of IPoIB
RXE_PACKET = (
    60,
    4200,
)  # bytes of one soft-RoCE packet, least and most: headers, and an MTU of 4096 with them


class Moved(Struct, frozen=True, gc=False):
    """Bytes over a device in a window, at least and at most, and ``how`` they are known."""

    least: float
    most: float
    how: str


def _floor(evidence: Evidence) -> float:
    return PORT_BYTES if by_port(evidence.rails) else INTERFACE_BYTES


def nothing_begun(evidence: Evidence) -> str:
    return "" if evidence.begun else "no phase was begun"


def _none_excluded(evidence: Evidence) -> str:
    if any(_watched(node, evidence.rails) for node in evidence.nodes) or not evidence.nodes:
        return ""
    named = evidence.rails.excluded or evidence.rails.management
    return "no node has a device that is no rail" if named else "the profile excludes nothing"


def _watched(node: Node, rails: Rails) -> list[Role]:
    """The devices that must carry nothing measured: every RDMA port that is no rail, else the named interfaces."""
    if by_port(rails):
        return [role for role in roles(node, rails) if role.use is not DeviceUse.RAIL]
    return list(used_as(node, rails, DeviceUse.EXCLUDED))


def _renamed(evidence: Evidence) -> Iterator[Finding]:
    """Nodes on which no device bears an excluded name: which device was meant is not known."""
    rails = evidence.rails
    names = ", ".join(rails.excluded) or rails.management
    for node in evidence.nodes if names else ():
        others = _watched(node, rails)
        if others and not used_as(node, rails, DeviceUse.EXCLUDED):
            listed = ", ".join(role.name for role in roles(node, rails))
            text = f"has no device called {names}, which the profile excludes; it has {listed}"
            step = "name the device that is no rail under excluded of the profile, then: railgauge judge RUN"
            yield Finding(node.name, None, text, step=step)


def _unnamed(evidence: Evidence) -> str:
    unnamed = evidence.rails.kind == "socket" and evidence.backend == "gloo" and not evidence.rails.devices
    return (
        "the profile names no rails, so gloo takes the interface at which the nodes meet" if unnamed else ""
    )


@check(
    "exclusion.bytes",
    wanted=lambda evidence: (
        f"at most {_floor(evidence) / MEGA:g} MB, and {RATE / MEGA:g} MB more a second: the noise of management"
    ),
    source="RailGauge",
    on_fail="keep MPI off it (UCX_NET_DEVICES, btl_tcp_if_include), or NCCL where exclusion.log fails as well",
    on_inconclusive="stop what else uses it (storage, file copies) and run again",
    unit="node × device × phase intervals",
    beside=True,
    unless=(nothing_excluded, _none_excluded, nothing_begun, _unnamed),
)
def excluded_bytes(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """No device other than the rails carried the traffic of any phase: it carried no more than noise."""
    found: list[Finding | NotApplicable] = [Finding(gap.subject, None, gap.reason) for gap in evidence.gaps]
    found += _renamed(evidence)
    for phase in dict.fromkeys(window.phase for window in evidence.windows):
        here = [window for window in evidence.windows if window.phase == phase]
        found += _phase(phase, here, evidence)
    judged = [each for each in found if isinstance(each, Finding)]
    if found and by_port(evidence.rails) and evidence.backend != "nccl" and all(each.ok for each in judged):
        notes = tuple(f"{each.subject}: {each.note}" for each in judged)[:MOST]
        yield NotApplicable(
            f"{evidence.backend} uses no RDMA: that the excluded ports stayed quiet proves nothing about NCCL",
            evidence=notes,
        )
    else:
        yield from found


def _phase(
    phase: str, here: Sequence[CounterWindow], evidence: Evidence
) -> Iterator[Finding | NotApplicable]:
    crosses = _crosses(phase, evidence)
    needed = _needed(evidence).get(phase, 0.0) if _counts(evidence) else 0.0
    on_rails = [_rails(window, evidence.rails) for window in here]
    known = [moved for moved in on_rails if moved is not None]
    total = sum(total for total, _ in known)
    if len(known) == len(here) and total < needed:
        text = f"the rails' own counters show {show_size(round(total))} in phase “{phase_words(phase)}”"
        text += f", and {show_size(round(needed))} crossed at the least: they count nothing"
        yield Finding("all nodes", None, text)
    before = evidence.quiet
    for window, rails in zip(here, on_rails, strict=True):
        for role in _watched(window.node, evidence.rails):
            found = _judge(window, role, rails, _floor(evidence), crosses)
            yield _without_earlier_traffic(found, window, role, before.get(window.node.name))
        if by_port(evidence.rails) and crosses and rails is not None:
            yield from _by_ip(window, evidence.rails, rails[1], before.get(window.node.name))


def _by_ip(
    window: CounterWindow, rails: Rails, usual: float, before: CounterWindow | None
) -> Iterator[Finding]:
    """Interfaces that carried nearly as much as a rail: what goes over IP shows on no RDMA port, not on its own either.

    ``usual``: bytes on a rail of the node. IPoIB of the rails is their own.
    """
    own = {role.port.netdev for role in rails_of(window.node, rails) if role.port}
    for interface in window.node.interfaces:
        if interface.virtual or interface.name in own:
            continue
        moved, quiet = (_carried(each, interface.name) for each in (window, before))
        rate = (quiet or 0.0) / (before.seconds or 1.0) if before else 0.0
        if moved is None and interface.statistics:
            text = f"what it carried over IP in phase “{phase_words(window.phase)}” is not known"
            yield Finding(f"{window.node.name} {interface.name}", None, text)
        elif moved is not None and moved >= max(
            IP_BYTES, IP_SHARE * usual, MUCH_MORE * rate * window.seconds
        ):
            text = f"carried {show_size(round(moved))} over IP in phase “{phase_words(window.phase)}”"
            text += f", {show_share(moved / usual)} of what a rail carried" if usual else ""
            wanted = f"at most {show_share(IP_SHARE)} of what a rail carried"
            yield Finding(f"{window.node.name} {interface.name}", None, text, moved, wanted=wanted)


def _carried(window: CounterWindow | None, name: str) -> float | None:
    """Bytes over an interface in both directions; None where they are not known."""
    traffic = bytes_moved(window.moved, name) if window else None
    if traffic is None or traffic.sent is None or traffic.received is None:
        return None
    return float(traffic.sent + traffic.received)


def _counts(evidence: Evidence) -> bool:
    """Whether the measured traffic must show on the rails."""
    return evidence.backend == "nccl" or not by_port(evidence.rails)


def _crosses(phase: str, evidence: Evidence) -> bool:
    return any(
        _crosses_nodes(group, evidence)
        for each in evidence.run.plan.phases
        if each.name == phase
        for case in each.cases
        if group_sizes(case.groups) != {1}
        for group in case.groups
    )


def _crosses_nodes(group: Sequence[int], evidence: Evidence) -> bool:
    return len({*map(evidence.run.node_of.get, group)}) > 1


def _sends_far(collective: str, group: Group, evidence: Evidence) -> bool:
    """Whether a call's bytes leave a node; in a point-to-point call only neighbours in the group talk."""
    if collective.startswith("p2p"):
        names = [*map(evidence.run.node_of.get, group)]
        return any(one != other for one, other in zip(names[::2], names[1::2], strict=False))
    return _crosses_nodes(group, evidence)


@derived
def _needed(evidence: Evidence) -> dict[str, float]:
    """Phase → bytes that crossed between nodes at the least: half the size of the largest case that did. Every
    collective moves more than that (bench.judge.wire.readings has how much); it is only to see that the counters count.
    """
    largest: dict[str, float] = {}
    for row in evidence.rows:
        case, ranks = row.case, row.measurement.ranks
        if case.size / 2 > largest.get(case.phase, 0) and _sends_far(case.collective, ranks, evidence):
            largest[case.phase] = case.size / 2
    return largest


def _rails(window: CounterWindow, rails: Rails) -> tuple[float, float] | None:
    """(all bytes on the node's rails, their mean); None where one of them is not known."""
    found = [_moved(window, role) for role in rails_of(window.node, rails)]
    known = [each.least for each in found if isinstance(each, Moved)]
    if not found or len(known) < len(found):
        return None
    return sum(known), sum(known) / len(known)


def _judge(
    window: CounterWindow, role: Role, rails: tuple[float, float] | None, floor: float, crosses: bool
) -> Finding:
    subject = f"{window.node.name} {role.name}"
    moved = _moved(window, role)
    where = f"in phase “{phase_words(window.phase)}” ({show_seconds(window.seconds)})"
    if isinstance(moved, str):
        return Finding(subject, None, f"its bytes {where} are not known: {moved}")
    allowed = floor + RATE * window.seconds
    carried = f"carried {show_size(round(moved.least))} {where}"
    noise = f"{show_size(round(allowed))} would be noise{moved.how}"
    text = f"{carried}, {noise}"
    if moved.most <= allowed:
        return Finding(subject, True, text, moved.least, note=text)
    if moved.least <= allowed:
        least, most = (show_size(round(each)) for each in (moved.least, moved.most))
        return Finding(subject, None, f"carried between {least} and {most} {where}")
    if not crosses:
        return Finding(subject, None, f"{text}; nothing measured leaves a node in it", moved.least)
    if rails is None:
        return Finding(subject, None, f"{text}; what the rails carried is not known", moved.least)
    share = moved.least / rails[1] if rails[1] else float("inf")
    carried += (
        f", {show_share(share)} of what a rail carried" if rails[1] else ", and the rails carried nothing"
    )
    carried += ", although it must be left out" if role.use is DeviceUse.EXCLUDED else ""
    return Finding(subject, False if share >= SHARE else None, f"{carried}; {noise}", moved.least)


def _without_earlier_traffic(
    found: Finding, window: CounterWindow, role: Role, before: CounterWindow | None
) -> Finding | NotApplicable:
    """The finding, less the traffic that was on the device before anything was measured and goes on, as of storage.

    A port that is no rail and that the profile does not exclude may carry a little, and in a phase that stays inside
    the nodes anything.
    """
    if found.ok:
        return found
    earlier = _moved(before, role) if before and before.seconds else None
    now, rate = (found.value or 0.0) / (window.seconds or 1.0), 0.0
    if before and isinstance(earlier, Moved) and earlier.least:
        rate = earlier.least / before.seconds
        told = f"{found.measured}; before the first phase it carried {show_rate(rate)}, now {show_rate(now)}"
        found = replace(found, measured=told)
    goes_on = now <= MUCH_MORE * rate
    if role.use is DeviceUse.EXCLUDED:
        return replace(found, ok=None) if goes_on else found
    if found.value is None:
        return NotApplicable(f"{found.measured}; the profile does not exclude it", found.subject)
    if goes_on or found.ok is None:
        return replace(found, ok=True, note=found.measured)
    return replace(
        found, ok=None, measured=f"{found.measured}; it is no rail, and the profile does not exclude it"
    )


def _moved(window: CounterWindow, role: Role) -> Moved | str:
    """Bytes in both directions, on an InfiniBand port without those of its IP interface; else the reason why not."""
    traffic = bytes_moved(window.moved, role.name)
    if traffic.sent is None or traffic.received is None:
        return _by_packets(window, role, traffic.how)
    total = float(traffic.sent + traffic.received)
    ip = _ip(window, role.port)
    # mlx5 counts RDMA alone on an Ethernet port (query_vport_counter: transmitted_ib); there IP is apart
    if not ip:
        return Moved(total, total, "")
    return Moved(
        max(0.0, total - ip), max(0.0, total - ip), f", {show_size(round(min(ip, total)))} of IP left out"
    )


def _ip(window: CounterWindow, port: Port | None) -> float:
    """Bytes of IPoIB on an InfiniBand port, with the headers that the interface does not count."""
    if port is None or port.link_layer != "InfiniBand" or port.netdev is None:
        return 0.0
    if port.netdev not in window.before.readings:
        return 0.0
    bytes_ = bytes_moved(window.moved, port.netdev)
    rows = [window.moved.find(port.netdev, NET, name) for name in ("tx_packets", "rx_packets")]
    packets = sum(row.growth or 0 for row in rows if row)
    return float((bytes_.sent or 0) + (bytes_.received or 0) + HEADERS * packets)


def _by_packets(window: CounterWindow, role: Role, why: str) -> Moved | str:
    """Soft-RoCE counts packets and no bytes: at least and at most so much."""
    rows = [window.moved.find(role.name, HW, name) for name in ("sent_pkts", "rcvd_pkts")]
    counts = [row.growth for row in rows if row is not None and row.growth is not None]
    if len(counts) < 2:
        return why
    return Moved(RXE_PACKET[0] * float(sum(counts)), RXE_PACKET[1] * float(sum(counts)), ", by packets")
