"""The largest packet that a rail carries: one size on all rails, or large messages vanish between two of them."""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding
from bench.judge.registry import check, no_rails
from bench.model.facts import Node
from bench.model.majority import odd_ones
from bench.model.rails import Role, rails_of

TOOL = "ibv_devinfo"  # sysfs does not show the MTU of an InfiniBand port
PORT = "see the other end, and what the subnet manager gives this port: ibv_devinfo, smpquery portinfo"
FACE = "set it as on the others (ip link set DEVICE mtu SIZE, and where it is configured), on the switch port too"


def _of_packets(evidence: Evidence) -> bool:
    return evidence.rails.kind == "infiniband"


def no_tool(evidence: Evidence) -> str:
    """InfiniBand's packets show their size to one tool alone."""
    absent = f"{TOOL}: {TOOL} is not installed"
    if _of_packets(evidence) and evidence.nodes and all(absent in node.notes for node in evidence.nodes):
        return f"{TOOL} (ibverbs-utils), which shows the MTU, is installed on no node"
    return ""


@check(
    "rails.mtu",
    wanted=lambda evidence: f"MTU {evidence.rails.mtu}" if evidence.rails.mtu else "the MTU of most rails",
    source=lambda evidence: evidence.profile.name if evidence.rails.mtu else "its peers",
    on_fail=lambda evidence: PORT if _of_packets(evidence) else FACE,
    on_inconclusive=lambda evidence: f"read it by hand: {TOOL if _of_packets(evidence) else 'ip link'}",
    unit="rails",
    unless=(no_rails, no_tool),
    facts_only=True,
)
def mtu(evidence: Evidence) -> Iterator[Finding]:
    """Every rail has the profile's MTU, or that of most of them: its interface's, on InfiniBand its packets'."""
    size_of = _packet if _of_packets(evidence) else _interface
    rails = {
        f"{node.name} {role.name}": (size_of(node, role), role)
        for node in evidence.nodes
        for role in rails_of(node, evidence.rails)
    }
    odd = {
        each.name: each for each in odd_ones({name: str(size) for name, (size, _) in rails.items() if size})
    }
    for node in evidence.nodes:
        if not rails_of(node, evidence.rails):
            yield Finding(node.name, None, "none of its devices is known to be a rail")
    for name, (size, role) in rails.items():
        most = role.port.max_mtu or 0 if role.port and _of_packets(evidence) else 0
        text = f"MTU {size}" + (f" of {most} that it could" if most > (size or 0) else "")
        wanted = evidence.rails.mtu
        if size is None:
            yield Finding(name, None, "its MTU is not known")
        elif wanted and size != wanted:
            yield Finding(name, False, text, size)
        elif not wanted and name in odd:
            usual, peers = odd[name].usual, odd[name].peers
            others = f"not {usual} as {peers} others have" if usual else "and there is no majority"
            yield Finding(name, False, f"{text}, {others}", size)
        else:
            yield Finding(name, True, text, size, note=text if most > size else "")


def _packet(_: Node, role: Role) -> int | None:
    return role.port.mtu if role.port else None


def _interface(node: Node, role: Role) -> int | None:
    if role.interface is not None:
        return role.interface.mtu
    name = role.port.netdev if role.port else None
    return next((each.mtu for each in node.interfaces if each.name == name), None)
