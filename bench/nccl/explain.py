"""The text of ``railgauge explain 'SPEC'``: which devices NCCL takes by a selector, which not, and why.

For the devices of a node, or given by name. Two parsers are asked, up to 2.30.4 and from 2.30.5, and told apart
where they do not agree. The exit status is PASS where nothing is odd, FAIL where a trap was found, and INCONCLUSIVE
where there is no device to explain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.model.facts import Node
from bench.model.profile import Rails
from bench.model.rails import by_port, rails_of
from bench.model.verdict import Status
from bench.nccl.devices import nccl_devices, nccl_name
from bench.nccl.selector import Choice, Device, interfaces, parse, select
from bench.nccl.traps import traps
from bench.nccl.version import NEWEST, RAIL_AND_PLANE, Version

BEFORE: Version = (2, 30, 4)  # the last with the old grammar


@dataclass(frozen=True)
class Explained:
    """Text for the terminal, and how it ends."""

    text: str
    status: Status


def explain_node(spec: str | None, node: Node, rails: Rails | None = None) -> Explained:
    """NCCL_IB_HCA=``spec`` on the node's ports; ``rails``: what the profile wants, where there is one."""
    wanted = [nccl_name(role) for role in rails_of(node, rails)] if rails and by_port(rails) else []
    names = [interface.name for interface in node.interfaces]
    states = {
        f"{port.hca}:{port.number}": f"{port.state or 'state not known'}, {port.rate_text or 'rate not known'}, "
        f"{port.link_layer or 'link layer not known'}"
        for port in node.ports
    }
    return explain(spec, nccl_devices(node), wanted, node.name, names, states)


def wanted_of(devices: Sequence[Device], rails: Rails) -> tuple[str, ...]:
    """Those of devices known by name alone that the profile names as rails; it names none: does not exclude."""
    written = {
        f"{device.hca}:{device.port}": (
            device.hca,
            f"{device.hca}/{device.port}",
            f"{device.hca}:{device.port}",
        )
        for device in devices
    }
    if not by_port(rails):
        return ()
    if rails.devices:
        return tuple(name for name, ways in written.items() if set(ways) & set(rails.devices))
    return tuple(name for name, ways in written.items() if not set(ways) & set(rails.excluded))


def explain(
    spec: str | None,
    devices: Sequence[Device],
    rails: Sequence[str] = (),
    where: str = "the given devices",
    netdevs: Sequence[str] = (),
    about: dict[str, str] | None = None,
) -> Explained:
    """NCCL_IB_HCA=``spec`` on ``devices``; None is an unset variable. ``rails`` and ``about``: by ``mlx5_3:1``."""
    head = f"NCCL_IB_HCA {'is unset' if spec is None else f'= {spec!r}'} on {where}: {meaning(spec)}"
    if not devices:
        return Explained(f"{head}\n  there is no device: NCCL uses sockets", Status.INCONCLUSIVE)
    old, new = select(spec, devices, BEFORE), select(spec, devices, NEWEST)
    lines = [head, *_choices(old, rails, about or {})]
    lines += _otherwise(old, new)
    found = {
        trap.text: None
        for version in (BEFORE, NEWEST)
        for trap in traps(spec, devices, rails, version, netdevs)
    }
    lines += [f"  warning: {text}" for text in found]
    if not found:
        lines.append("  exactly the rails are taken" if rails else "  no trap was found")
    return Explained("\n".join(lines), Status.FAIL if found else Status.PASS)


def explain_interfaces(spec: str | None, names: Sequence[str], rails: Sequence[str] = ()) -> Explained:
    """NCCL_SOCKET_IFNAME=``spec`` on interfaces, in the order of getifaddrs; each with an address and running."""
    head = f"NCCL_SOCKET_IFNAME {'is unset' if spec is None else f'= {spec!r}'}: {meaning(spec)}"
    if not names:
        return Explained(f"{head}\n  there is no interface: NCCL cannot start", Status.INCONCLUSIVE)
    choices = interfaces(spec, names, NEWEST)
    lines = [head, *_choices(choices, rails, {})]
    taken = [choice.name for choice in choices if choice.taken]
    odd = []
    if not taken:
        odd.append("no interface is taken: NCCL cannot start (Bootstrap : no socket interface found)")
    else:
        lines.append(f"  bootstrap goes by {taken[0]}, the first of them")
    if rails:
        odd += [f"{name} is taken but is not a rail" for name in taken if name not in rails]
        odd += [f"rail {name} is not taken" for name in rails if name not in taken]
    lines += [f"  warning: {text}" for text in odd]
    return Explained("\n".join(lines), Status.FAIL if odd else Status.PASS)


def meaning(spec: str | None) -> str:
    """The list in words: ``take every one but those called exactly mlx5_0``."""
    selector = parse(spec)
    names = ", ".join(item.text for item in selector.items)
    if not selector.items:
        return "take none" if selector.negated else "take every one"
    how = "called exactly" if selector.exact else "whose name starts with"
    return f"take every one but those {how} {names}" if selector.negated else f"take those {how} {names}"


def _choices(choices: Sequence[Choice], rails: Sequence[str], about: dict[str, str]) -> list[str]:
    names = [_name(choice) for choice in choices]
    width = max(len(name) for name in names)
    lines = []
    for name, choice in zip(names, choices, strict=True):
        mark = ("rail" if name in rails else "no rail") if rails else ""
        what = ", ".join(part for part in (mark, about.get(name, "")) if part)
        # the column says it already
        reason = choice.reason.removeprefix("taken: ").removeprefix("not taken: ")
        told = f"{reason}{f' ({what})' if what else ''}"
        lines.append(f"  {'taken    ' if choice.taken else 'not taken'}  {name:{width}}  {told}")
    return lines


def _otherwise(old: Sequence[Choice], new: Sequence[Choice]) -> list[str]:
    """A note where the parser of NCCL 2.30.5 reads the selector differently."""
    more = [_name(b) for a, b in zip(old, new, strict=True) if b.taken and not a.taken]
    less = [_name(b) for a, b in zip(old, new, strict=True) if a.taken and not b.taken]
    since = ".".join(map(str, RAIL_AND_PLANE))
    lines = [f"  from NCCL {since} it takes {', '.join(more)} too"] if more else []
    return lines + ([f"  from NCCL {since} it does not take {', '.join(less)}"] if less else [])


def _name(choice: Choice) -> str:
    return choice.name if choice.port < 0 else f"{choice.name}:{choice.port}"
