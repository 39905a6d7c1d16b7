"""PCI Express on the way of every rail and GPU: at full speed and width, and enough for the rail."""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, Question
from bench.judge.registry import check
from bench.model.facts import Node, PciLink, PciPath
from bench.model.profile import Profile
from bench.model.rails import rails_of
from bench.model.units import BITS, GIGA, show_rate
from bench.model.verdict import Verdict

SLOT = "reseat the card, then read it: sudo lspci -vvv -s ADDRESS | grep LnkSta"
READ = "read it by hand: sudo lspci -vvv | grep -E 'LnkCap|LnkSta'"


@check("pcie.link", early=True)
def link(evidence: Evidence) -> Iterator[Verdict]:
    """Every PCI Express link from a rail or GPU to the root runs at the most that its two ends can."""
    ask = Question(
        "pcie.link",
        "current speed and width at the maximum of both ends",
        "PCI Express, LnkCap and LnkSta",
        SLOT,
        READ,
    )
    paths = [(node, name, path) for node in evidence.nodes for name, path in _paths(node, evidence.profile)]
    if evidence.rails.kind == "none" and not evidence.profile.gpus:
        yield ask.skip("all nodes", "the profile speaks of no rails and no GPUs")
        return
    found = []
    for node, name, path in paths:
        finding = _link(node, name, path)
        if finding is None:
            yield ask.skip(
                f"{node.name} {name}",
                "in a virtual machine, whose PCI shows no link; what is measured speaks",
            )
        else:
            found.append(finding)
    if evidence.nodes and not paths and evidence.rails.kind == "socket":
        yield ask.skip("all nodes", "the rails are virtual interfaces, which have no way over PCI")
    elif found or not paths:
        yield from ask.verdicts(found, "devices have every link to the root at full speed and width")


def _paths(node: Node, want: Profile) -> Iterator[tuple[str, PciPath | None]]:
    """Rails, then GPUs. A virtual interface has no way over PCI, and needs none."""
    for role in rails_of(node, want.rails):
        if role.port is not None:
            yield role.name, role.port.pci
        elif role.interface is not None and role.interface.pci is not None:
            yield role.name, role.interface.pci
    for gpu in node.gpus if want.gpus else ():
        yield f"GPU {gpu.index}", gpu.pci


def _link(node: Node, name: str, path: PciPath | None) -> Finding | None:
    """None where a hypervisor shows nothing of the link."""
    subject = f"{node.name} {name}"
    if path is None or not path.hops:
        return None if node.host.virtual else Finding(subject, None, "its way over PCI is not known")
    # above the device itself a virtual machine shows the hypervisor's bridges, not the machine's
    hops = path.hops[:1] if node.host.virtual else path.hops
    worst: list[str] = []
    for at, hop in enumerate(hops):
        ends = [path.hops[near] for near in (at - 1, at + 1) if 0 <= near < len(hops)]
        worst += [f"{hop.address} {text}" for text in _degraded(hop, ends)]
    if worst:
        return Finding(subject, False, "; ".join(worst))
    blind = [hop.address for hop in hops if not _known(hop)]
    if blind and node.host.virtual:
        return None
    if blind:
        return Finding(subject, None, f"speed and width of {', '.join(blind)} are not known")
    return Finding(subject, True, f"{_text(hops[0])} at {len(hops)} places")


def _degraded(hop: PciLink, ends: list[PciLink]) -> Iterator[str]:
    """A link below its own maximum is at fault, unless the other end is at the most that it can do."""
    slow = hop.speed is not None and hop.max_speed is not None and hop.speed < hop.max_speed
    if slow and not any(end.max_speed == hop.speed == end.speed for end in ends):
        yield f"runs at {hop.speed:g} GT/s of {hop.max_speed:g}"
    narrow = hop.width is not None and hop.max_width is not None and hop.width < hop.max_width
    if narrow and not any(end.max_width == hop.width == end.width for end in ends):
        yield f"runs at x{hop.width} of x{hop.max_width}"


def _known(hop: PciLink) -> bool:
    return None not in (hop.speed, hop.max_speed, hop.width, hop.max_width)


def _text(hop: PciLink) -> str:
    return f"{hop.speed:g} GT/s x{hop.width}"


@check("pcie.rate", early=True)
def rate(evidence: Evidence) -> Iterator[Verdict]:
    """The narrowest PCI Express link of every rail carries at least the rail's rate."""
    bound = evidence.rails.rate
    if bound is None or evidence.rails.kind == "none":
        yield Question("pcie.rate", "", evidence.profile.name, "").skip(
            "all nodes", "the profile names no rate of a rail"
        )
        return
    ask = Question("pcie.rate", f"at least {bound.text}", bound.source, SLOT, READ, bound.value)
    found, blind = [], []
    for node in evidence.nodes:
        for role in rails_of(node, evidence.rails):
            device = role.port or role.interface
            carried = _carried(device.pci if device else None, bool(node.host.virtual))
            subject = f"{node.name} {role.name}"
            if carried is None and (node.host.virtual or role.port is None):
                blind.append(subject)
            elif carried is None:
                found.append(Finding(subject, None, "what its PCI Express links carry is not known"))
            else:
                told = f"PCI Express carries {show_rate(carried, 'Gb/s')}"
                found.append(Finding(subject, bound.reached(carried), told, carried))
    if blind:
        yield ask.skip(
            "all nodes", f"{len(blind)} rails show no PCI Express link; what is measured speaks", *blind[:16]
        )
    if found or not blind:
        yield from ask.verdicts(found, "rails have PCI Express links that carry their rate")


def _carried(path: PciPath | None, virtual: bool) -> float | None:
    """Bytes/s of the narrowest link, one direction; None where one of them is not known."""
    if path is None or not path.hops:
        return None
    rates = [_rate(hop) for hop in (path.hops[:1] if virtual else path.hops)]
    known = [each for each in rates if each is not None]
    return min(known) if len(known) == len(rates) else None


def _rate(hop: PciLink) -> float | None:
    """8b/10b to 5 GT/s, 128b/130b to 32 GT/s, and flits of 242 in 256 bytes from 64 GT/s (PCIe 6.0)."""
    if hop.speed is None or hop.width is None:
        return None
    share = 0.8 if hop.speed <= 5 else 128 / 130 if hop.speed <= 32 else 242 / 256
    return hop.speed * GIGA * hop.width * share / BITS
