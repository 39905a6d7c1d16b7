"""The largest packet that a rail carries: one size on all rails, or large messages vanish between two of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, Question
from bench.judge.registry import check
from bench.model.facts import Node
from bench.model.majority import odd_ones
from bench.model.rails import Role, rails_of
from bench.model.verdict import Verdict

TOOL = "ibv_devinfo"  # sysfs does not tell the MTU of an InfiniBand port


@check("rails.mtu", early=True)
def mtu(evidence: Evidence) -> Iterator[Verdict]:
    """Every rail has the profile's MTU, or that of most of them: its interface's, on InfiniBand its packets'."""
    wanted = evidence.rails.mtu
    ask = Question(
        "rails.mtu",
        f"MTU {wanted}" if wanted else "the MTU of most rails",
        evidence.profile.name if wanted else "its peers",
        "set it as on the others (ip link set DEVICE mtu SIZE, and where it is configured), on the switch port too",
        "read it by hand: ip link",
    )
    if evidence.rails.kind == "none":
        yield ask.skip("all nodes", "the profile speaks of no rails")
        return
    packets = evidence.rails.kind == "infiniband"
    if packets:
        ask = replace(
            ask,
            repair="see the other end, and what the subnet manager gives this port: ibv_devinfo, smpquery portinfo",
            ask="read it by hand: ibv_devinfo",
        )
        if evidence.nodes and all(
            f"{TOOL}: {TOOL} is not installed" in node.notes for node in evidence.nodes
        ):
            yield ask.skip("all nodes", f"{TOOL} (ibverbs-utils), which would tell, is installed on no node")
            return
    look = _packet if packets else _size
    sizes = {
        f"{node.name} {role.name}": look(node, role)
        for node in evidence.nodes
        for role in rails_of(node, evidence.rails)
    }
    most = {
        f"{node.name} {role.name}": f" of {role.port.max_mtu} that it could"
        for node in evidence.nodes
        for role in rails_of(node, evidence.rails)
        if packets and role.port and (role.port.max_mtu or 0) > (role.port.mtu or 0)
    }
    silent = [node.name for node in evidence.nodes if not rails_of(node, evidence.rails)]
    odd = {each.name: each for each in odd_ones({name: str(size) for name, size in sizes.items() if size})}
    found = [Finding(name, None, "none of its devices is known to be a rail") for name in silent]
    for name, size in sizes.items():
        told = f"MTU {size}{most.get(name, '')}"
        if size is None:
            found.append(Finding(name, None, "its MTU is not known"))
        elif wanted and size != wanted:
            found.append(Finding(name, False, told, size))
        elif not wanted and name in odd:
            others = _others(odd[name].usual, odd[name].peers)
            found.append(Finding(name, False, f"{told}, {others}", size))
        else:
            found.append(Finding(name, True, told, size, told if name in most else ""))
    yield from ask.verdicts(found, f"rails have MTU {next(filter(None, sizes.values()), 0)}")


def _others(usual: str | None, peers: int) -> str:
    return f"not {usual} as {peers} others have" if usual else "and there is no majority"


def _packet(_: Node, role: Role) -> int | None:
    return role.port.mtu if role.port else None


def _size(node: Node, role: Role) -> int | None:
    if role.interface is not None:
        return role.interface.mtu
    name = role.port.netdev if role.port else None
    return next((each.mtu for each in node.interfaces if each.name == name), None)
