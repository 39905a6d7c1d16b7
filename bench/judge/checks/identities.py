"""What must not occur twice: an address, the GUID of a port or an HCA, the UUID or serial number of a GPU."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding
from bench.judge.registry import check
from bench.model.facts import Interface
from bench.model.profile import Rails
from bench.model.rails import rails_of

from .gpus import no_gpus
from .host import one_node

# the way into a node's own management controller or DPU: it has the same address on every node and leads to none
INTO_THE_NODE = ("cdc_ether", "cdc_ncm", "cdc_eem", "cdc_subset", "rndis_host")
BONDS = ("bond", "team")


def _no_addresses(evidence: Evidence) -> str:
    known = evidence.rails.kind != "none" or any(
        _leads_out(each, evidence.rails) for node in evidence.nodes for each in node.interfaces
    )
    return "" if known else "no interface that leads to other nodes is known"


@check(
    "host.addresses",
    wanted="each on one node",
    source="RailGauge: who answers to an address that two nodes have is chance",
    on_fail="give one of them another address, then run again",
    on_inconclusive="compare by hand: ip -brief address on every node",
    unit="addresses",
    unless=(one_node, _no_addresses),
    facts_only=True,
)
def addresses(evidence: Evidence) -> Iterator[Finding]:
    """Every address of a network interface is on one node."""
    outward = [
        (node.name, each)
        for node in evidence.nodes
        for each in node.interfaces
        if _leads_out(each, evidence.rails)
    ]
    for node, each in outward:
        if each.addresses is None:
            yield Finding(f"{node} {each.name}", None, "its addresses could not be read")
    yield from _once((address, node, each.name) for node, each in outward for address in _addresses(each))


def _no_infiniband(evidence: Evidence) -> str:
    return "" if evidence.rails.kind == "infiniband" else "the profile's rails are not InfiniBand ports"


@check(
    "rails.guids",
    wanted="each once",
    source="InfiniBand: a GUID is one port's alone",
    on_fail="find the two adapters (ibstat) and have the wrong one flashed with a GUID of its own",
    on_inconclusive="see ibstat, and /sys/class/infiniband on every node",
    unit="port GUIDs",
    unless=(_no_infiniband, one_node),
    facts_only=True,
)
def guids(evidence: Evidence) -> Iterator[Finding]:
    """Every port GUID of a rail is one rail's, and every HCA's GUID is on one node."""
    ports = [
        (node.name, role.name, role.port)
        for node in evidence.nodes
        for role in rails_of(node, evidence.rails)
        if role.port
    ]
    yield from _once(((port.guid, node, name) for node, name, port in ports), "rails")
    hcas = ((port.node_guid, node, port.hca) for node, _, port in ports if _is_set(port.node_guid))
    yield from (each for each in _once(hcas) if not each.ok)


@check(
    "gpus.uuids",
    wanted="each once",
    source="NVIDIA: a UUID is one GPU's alone",
    on_fail="see nvidia-smi -L on both nodes: two names for one machine are one node",
    unit="GPU UUIDs",
    unless=(
        no_gpus,
        one_node,
        lambda evidence: "" if evidence.backend == "nccl" else "the GPUs are not in use",
    ),
    facts_only=True,
)
def uuids(evidence: Evidence) -> Iterator[Finding]:
    """Every UUID is one GPU's, and every GPU's serial number is on one node."""
    gpus = [(node.name, f"GPU {gpu.index}", gpu) for node in evidence.nodes for gpu in node.gpus]
    yield from _once(((gpu.uuid, node, name) for node, name, gpu in gpus), "GPUs")
    # GPUs of one board may bear its number
    serials = ((f"serial number {gpu.serial}", node, name) for node, name, gpu in gpus if _is_set(gpu.serial))
    yield from (each for each in _once(serials) if not each.ok)


def _is_set(text: str | None) -> bool:
    """Of a virtual function a GUID is 0, and so is the serial number of a board that has none."""
    return bool((text or "").strip("0:x"))


def _once(found: Iterable[tuple[str | None, str, str]], of: str = "nodes") -> Iterator[Finding]:
    """``found``: what must be unique (None: not known), its node, its device there. ``of``: each is one node's, else
    one such device's.
    """
    where: dict[str, dict[str, str]] = {}
    for what, node, device in found:
        if what is None:
            yield Finding(f"{node} {device}", None, "it is not known")
        else:
            subject = f"{node} {device}"
            where.setdefault(what, {}).setdefault(node if of == "nodes" else subject, subject)
    for what, subjects in where.items():
        yield Finding(
            " and ".join(subjects.values()), len(subjects) == 1, f"{what} is on {len(subjects)} {of}"
        )


def _leads_out(interface: Interface, rails: Rails) -> bool:
    """Whether other nodes are behind an interface: the profile names it, or it is an adapter or a bond."""
    if interface.name in (*rails.devices, *rails.excluded, rails.management):
        return True
    if interface.driver in INTO_THE_NODE:
        return False
    return interface.pci is not None or interface.name.startswith(BONDS)


def _addresses(interface: Interface) -> Iterator[str]:
    for text in interface.addresses or ():
        address = ipaddress.ip_interface(text).ip
        if not (address.is_loopback or address.is_link_local):
            yield str(address)
