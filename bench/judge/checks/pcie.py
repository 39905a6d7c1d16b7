"""PCI Express on the way of every rail and GPU: at full speed and width, and enough for the rail."""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check, no_rails
from bench.model.facts import Node, PciLink, PciPath
from bench.model.profile import Profile
from bench.model.rails import rails_of
from bench.model.units import BITS, GIGA, show_count, show_rate

from .ports import at_least, no_rate, rate_bound, rate_source

SLOT = "reseat the card, then read it: sudo lspci -vvv -s ADDRESS | grep LnkSta"
READ = "read it by hand: sudo lspci -vvv | grep -E 'LnkCap|LnkSta'"


def _nothing_wanted(evidence: Evidence) -> str:
    return "" if evidence.profile.gpus or not no_rails(evidence) else "the profile has no rails and no GPUs"


def _only_virtual(evidence: Evidence) -> str:
    if evidence.rails.kind != "socket" or not evidence.nodes:
        return ""
    paths = [path for node in evidence.nodes for path in _paths(node, evidence.profile)]
    return "" if paths else "the rails are virtual interfaces, which are not on PCI"


@check(
    "pcie.link",
    wanted="current speed and width at the maximum of both ends",
    source="PCI Express, LnkCap and LnkSta",
    on_fail=SLOT,
    on_inconclusive=READ,
    unit="devices",
    unless=(_nothing_wanted, _only_virtual),
    facts_only=True,
)
def link(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """Every PCI Express link from a rail or GPU to the root runs at the most that its two ends can."""
    for node in evidence.nodes:
        for name, path in _paths(node, evidence.profile):
            yield _link(node, f"{node.name} {name}", path)


def _paths(node: Node, want: Profile) -> Iterator[tuple[str, PciPath | None]]:
    """Rails, then GPUs. A virtual interface has no way over PCI, and needs none."""
    for role in rails_of(node, want.rails):
        if role.port is not None:
            yield role.name, role.port.pci
        elif role.interface is not None and role.interface.pci is not None:
            yield role.name, role.interface.pci
    for gpu in node.gpus if want.gpus else ():
        yield f"GPU {gpu.index}", gpu.pci


def _link(node: Node, subject: str, path: PciPath | None) -> Finding | NotApplicable:
    hidden = NotApplicable(
        "PCIe link state is not visible in a virtual machine; judged by measured bandwidth", subject
    )
    if path is None or not path.hops:
        return hidden if node.host.virtual else Finding(subject, None, "its way over PCI is not known")
    # above the device itself a virtual machine shows the hypervisor's bridges, not the machine's
    hops = path.hops[:1] if node.host.virtual else path.hops
    worst: list[str] = []
    for at, hop in enumerate(hops):
        ends = [path.hops[near] for near in (at - 1, at + 1) if 0 <= near < len(hops)]
        worst += [f"{hop.address} {text}" for text in _degraded(hop, ends)]
    if worst:
        return Finding(subject, False, "; ".join(worst))
    unread = [hop.address for hop in hops if None in (hop.speed, hop.max_speed, hop.width, hop.max_width)]
    if unread and node.host.virtual:
        return hidden
    if unread:
        return Finding(subject, None, f"speed and width of {', '.join(unread)} are not known")
    return Finding(
        subject, True, f"{hops[0].speed:g} GT/s x{hops[0].width} at {show_count(len(hops), 'place')}"
    )


def _degraded(hop: PciLink, ends: list[PciLink]) -> Iterator[str]:
    """A link below its own maximum is at fault, unless the other end is at the most that it can do."""
    slow = hop.speed is not None and hop.max_speed is not None and hop.speed < hop.max_speed
    if slow and not any(end.max_speed == hop.speed == end.speed for end in ends):
        yield f"runs at {hop.speed:g} GT/s of {hop.max_speed:g}"
    narrow = hop.width is not None and hop.max_width is not None and hop.width < hop.max_width
    if narrow and not any(end.max_width == hop.width == end.width for end in ends):
        yield f"runs at x{hop.width} of x{hop.max_width}"


@check(
    "pcie.rate",
    wanted=at_least,
    source=rate_source,
    on_fail=SLOT,
    on_inconclusive=READ,
    unit="rails",
    bound=rate_bound,
    unless=(no_rate, no_rails),
    facts_only=True,
)
def rate(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """The narrowest PCI Express link of every rail carries at least the rail's rate."""
    bound, hidden = evidence.rails.rate, []
    assert bound is not None
    for node in evidence.nodes:
        for role in rails_of(node, evidence.rails):
            device = role.port or role.interface
            carried = carried_by_pci(device.pci if device else None, virtual=bool(node.host.virtual))
            subject = f"{node.name} {role.name}"
            if carried is not None:
                text = f"PCI Express carries {show_rate(carried, 'Gb/s')}"
                yield Finding(subject, bound.reached(carried), text, carried)
            elif node.host.virtual or role.port is None:
                hidden.append(subject)
            else:
                yield Finding(subject, None, "what its PCI Express links carry is not known")
    if hidden:
        text = f"the PCI Express link of {show_count(len(hidden), 'rail')} is hidden; the measured bandwidth is judged"
        yield NotApplicable(text, evidence=tuple(hidden[:16]))


def carried_by_pci(path: PciPath | None, *, virtual: bool) -> float | None:
    """Bytes/s of the narrowest link, one direction; None where one of them is not known."""
    if path is None or not path.hops:
        return None
    rates = [_rate(hop) for hop in (path.hops[:1] if virtual else path.hops)]
    known = [each for each in rates if each is not None]
    return min(known) if len(known) == len(rates) else None


def _rate(hop: PciLink) -> float | None:
    """Bytes per second after coding: 8b/10b to 5 GT/s, 128b/130b to 32 GT/s, then flits of 242 in 256 bytes."""
    if hop.speed is None or hop.width is None:
        return None
    share = 0.8 if hop.speed <= 5 else 128 / 130 if hop.speed <= 32 else 242 / 256
    return hop.speed * GIGA * hop.width * share / BITS
