"""What a rail's port is known by: its partition key, its GID on RoCE; and how often its link went down before."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from ipaddress import IPv6Address

from bench.judge.evidence import Evidence
from bench.judge.findings import MOST, Finding, NotApplicable
from bench.judge.nccl_settings import for_workers, rank_environments, versions
from bench.judge.registry import check, no_rails
from bench.model.facts import Gid, Node, Port
from bench.model.majority import odd_ones
from bench.model.rails import Role as Device
from bench.nccl.version import Version

from .ports import candidates, only_interfaces

MEMBER, BASE = 0x8000, 0x7FFF  # of a partition key: full membership, and the partition
CHOOSES = (2, 21)  # from this version on NCCL looks for a RoCE v2 GID by itself; before, it took index 0
V2 = "RoCE v2"
GIDS = "NCCL user guide: NCCL_IB_GID_INDEX"


def _read(evidence: Evidence) -> bool:
    """Whether the tables of any port were read: folders of earlier versions have none."""
    return any(
        port.pkeys is not None or port.gids is not None for node in evidence.nodes for port in node.ports
    )


_of_ports = partial(check, unit="rail ports", only=_read, facts_only=True)


@_of_ports(
    "rails.pkey",
    wanted="one partition, at most one port of it a limited member",
    source="InfiniBand Architecture Specification 1.4, 10.9: partitioning; NCCL user guide: NCCL_IB_PKEY",
    on_fail="see the subnet manager's partitions (opensm partitions.conf, UFM), or set NCCL_IB_PKEY to the right index",
    on_inconclusive="read it by hand: cat /sys/class/infiniband/*/ports/*/pkeys/0",
    unless=(
        no_rails,
        lambda evidence: "" if evidence.rails.kind == "infiniband" else "only InfiniBand has partitions",
    ),
)
def partition(evidence: Evidence) -> Iterator[Finding]:
    """Every rail port has the same partition key where NCCL looks for one, and may talk to all others in it."""
    found = {subject: key for node in evidence.nodes for subject, key in _keys(node, evidence)}
    set_keys = {subject: key for subject, key in found.items() if key and key & BASE}
    odd = {
        each.name: each for each in odd_ones({name: f"{key & BASE:#06x}" for name, key in set_keys.items()})
    }
    limited = [subject for subject, key in set_keys.items() if not key & MEMBER]
    for subject, key in found.items():
        text = "" if key is None else f"its partition key is {key:#06x}"
        if key is None:
            yield Finding(subject, None, "its partition key is not known")
        elif not key & BASE:
            yield Finding(subject, False, "it has no partition key where NCCL looks for one")
        elif subject in odd:
            usual = odd[subject].usual
            others = (
                f"not of partition {usual} as {odd[subject].peers} others"
                if usual
                else "there is no majority"
            )
            yield Finding(subject, False, f"{text}, {others}")
        elif subject in limited and len(limited) > 1:
            yield Finding(subject, False, f"{text}: a limited member, which reaches no other limited member")
        else:
            yield Finding(subject, True, text)


def _keys(node: Node, evidence: Evidence) -> Iterator[tuple[str, int | None]]:
    """Each rail port of a node and its partition key: 0 where the table has none, None where it was not read."""
    index = _setting(node, evidence, "NCCL_IB_PKEY") or 0
    for device in candidates(node, evidence.rails):
        keys = device.port.pkeys if device.port else None
        yield f"{node.name} {device.name}", None if keys is None else keys[index] if index < len(keys) else 0


@_of_ports(
    "rails.gid",
    wanted="a RoCE v2 GID with an address of the network",
    source=GIDS,
    on_fail="give the interface an address, or set NCCL_IB_GID_INDEX to an index that show_gids calls v2 on every rail",
    on_inconclusive="read it by hand: show_gids, or cat /sys/class/infiniband/*/ports/*/gid_attrs/types/*",
    unless=(
        no_rails,
        only_interfaces,
        lambda evidence: "" if evidence.rails.kind == "roce" else "the rails are not RoCE",
    ),
)
def gid(evidence: Evidence) -> Iterator[Finding]:
    """Every RoCE rail has a RoCE v2 GID where NCCL looks for one."""
    for node in evidence.nodes:
        index, version = _setting(node, evidence, "NCCL_IB_GID_INDEX"), max(versions(node))
        for device in candidates(node, evidence.rails):
            yield _gid(f"{node.name} {device.name}", device, index, version)


def _gid(subject: str, device: Device, index: int | None, version: Version) -> Finding:
    gids = device.port.gids if device.port else None
    if gids is None or any(each.kind is None for each in gids):
        return Finding(subject, None, "its GIDs are not known")
    if index is None and version >= CHOOSES:
        usable = [each for each in gids if each.kind == V2 and not _is_local(each)]
        text = (
            _shown(usable[0]) if usable else f"none of its {len(gids)} GIDs is RoCE v2 with such an address"
        )
        return Finding(subject, bool(usable), text)
    at = index or 0
    entry = next((each for each in gids if each.index == at), None)
    who = "NCCL_IB_GID_INDEX" if index is not None else f"NCCL {'.'.join(map(str, version))}"
    if entry is None:
        return Finding(subject, False, f"{who} takes index {at}, which is empty")
    return Finding(subject, entry.kind == V2, f"{who} takes {_shown(entry)}")


def _shown(each: Gid) -> str:
    address = _address(each)
    mapped = address.ipv4_mapped if address else None
    return f"index {each.index}, {each.kind}, {mapped or address or each.gid}"


def _is_local(each: Gid) -> bool:
    address = _address(each)
    return address is None or address.is_link_local


def _address(each: Gid) -> IPv6Address | None:
    try:
        return IPv6Address(each.gid)
    except ValueError:
        return None


def _setting(node: Node, evidence: Evidence, name: str) -> int | None:
    """The number that NCCL reads on this node; None where it is unset or below 0, which means that NCCL chooses."""
    for each in rank_environments(evidence):
        if each.node.name == node.name:
            value = for_workers(each, evidence.profile, max(versions(node))).value(name) or ""
            return int(value) if value.strip().isdecimal() else None
    return None


def _any_down(evidence: Evidence) -> bool:
    return any(_downs(device, node) for node in evidence.nodes for device in candidates(node, evidence.rails))


@check(
    "rails.flaps",
    source="link_downed of the port, carrier_down_count of its interface",
    only=_any_down,
    facts_only=True,
)
def flaps(evidence: Evidence) -> Iterator[NotApplicable]:
    """Lists how often a rail's link went down before the run; during the run that fails growth.errors."""
    found = [
        (count, f"{node.name} {device.name}")
        for node in evidence.nodes
        for device in candidates(node, evidence.rails)
        if (count := _downs(device, node))
    ]
    listed = tuple(f"{name}: {count}" for count, name in sorted(found, key=lambda each: (-each[0], each[1])))
    text = (
        "rails lost their link before this run (since boot, or since a reset of their counters); most often"
    )
    yield NotApplicable(f"{len(listed)} {text} {listed[0]}", evidence=listed[:MOST])


def _downs(device: Device, node: Node) -> int:
    port: Port | None = device.port
    name = port.netdev if port else device.name
    beside = (each.statistics.get("carrier_down_count", 0) for each in node.interfaces if each.name == name)
    return max((port.counters.get("link_downed", 0) if port else 0), *beside, 0)
