"""The text of ``railgauge explain 'SPEC'``: which devices NCCL takes by a selector, which not, and why.

For the devices of a node, or given by name. Two parsers are asked, up to 2.30.4 and from 2.30.5, and told apart
where they do not agree. The exit status is PASS where nothing is odd, FAIL where a trap was found, and INCONCLUSIVE
where there is no device to explain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.model.facts import Node
from bench.model.late_dataclass import dataclass
from bench.model.profile import Rails
from bench.model.rails import by_port, rails_of
from bench.model.typed_json import JsonAnswer
from bench.model.verdict import Status
from bench.nccl.devices import nccl_devices, nccl_name
from bench.nccl.selector import Choice, Device, interfaces, parse, select
from bench.nccl.selector_traps import traps
from bench.nccl.version import NEWEST, RAIL_AND_PLANE, Version

BEFORE: Version = (2, 30, 4)  # the last with the old grammar


@dataclass(frozen=True)
class ExplainedDevice:
    """One port of an HCA (``mlx5_3:1``), or one interface.

    taken      whether NCCL takes it; ``taken_since_2_30_5``: whether NCCL from 2.30.5 on does, which reads lists anew
    reason     which part of the list decided it
    rail       whether it is a rail by the profile; null without a profile
    state      what is known of its link: state, rate and link layer
    """

    name: str
    taken: bool
    taken_since_2_30_5: bool
    reason: str
    rail: bool | None = None
    state: str = ""


class ExplainAnswer(JsonAnswer, frozen=True, kw_only=True, tag="railgauge explain"):
    """Which HCAs or interfaces NCCL takes.

    status    pass: nothing is odd; fail: a trap was found; inconclusive: there is no device to explain
    variable  NCCL_IB_HCA or NCCL_SOCKET_IFNAME; ``spec``: its value
    where     whose devices they are; ``meaning``: the value in words
    traps     what is odd, a sentence each
    """

    status: Status
    variable: str
    spec: str
    where: str
    meaning: str
    devices: tuple[ExplainedDevice, ...]
    traps: tuple[str, ...]


@dataclass(frozen=True)
class Explained:
    """The answer, as ``text`` for the terminal and in parts."""

    text: str
    answer: ExplainAnswer

    @property
    def status(self) -> Status:
        return self.answer.status


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
    """The devices, known by name alone, that the profile names as rails, else those that it does not exclude."""
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
        text = f"{head}\n  there is no device: NCCL uses sockets"
        return _explained("NCCL_IB_HCA", spec, where, text)
    old, new = select(spec, devices, BEFORE), select(spec, devices, NEWEST)
    seen = _devices(old, new, rails, about or {})
    found = {
        trap.text: None
        for version in (BEFORE, NEWEST)
        for trap in traps(spec, devices, rails, version, netdevs)
    }
    lines = [head, *_lines(seen), *_otherwise(seen), *(f"  warning: {text}" for text in found)]
    if not found:
        lines.append("  exactly the rails are taken" if rails else "  no trap was found")
    return _explained("NCCL_IB_HCA", spec, where, "\n".join(lines), seen, found)


def explain_interfaces(
    spec: str | None, names: Sequence[str], rails: Sequence[str] = (), where: str = "the given interfaces"
) -> Explained:
    """NCCL_SOCKET_IFNAME=``spec`` on interfaces, in the order of getifaddrs; each with an address and running."""
    head = f"NCCL_SOCKET_IFNAME {'is unset' if spec is None else f'= {spec!r}'}: {meaning(spec)}"
    if not names:
        text = f"{head}\n  there is no interface: NCCL cannot start"
        return _explained("NCCL_SOCKET_IFNAME", spec, where, text)
    choices = interfaces(spec, names, NEWEST)
    seen = _devices(choices, choices, rails, {})
    lines = [head, *_lines(seen)]
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
    return _explained("NCCL_SOCKET_IFNAME", spec, where, "\n".join(lines), seen, odd)


def meaning(spec: str | None) -> str:
    """The list in words: ``take every one but those called exactly mlx5_0``."""
    selector = parse(spec)
    names = ", ".join(item.text for item in selector.items)
    if not selector.items:
        return "take none" if selector.negated else "take every one"
    how = "called exactly" if selector.exact else "whose name starts with"
    return f"take every one but those {how} {names}" if selector.negated else f"take those {how} {names}"


def _explained(
    variable: str,
    spec: str | None,
    where: str,
    text: str,
    devices: tuple[ExplainedDevice, ...] = (),
    odd: Iterable[str] = (),
) -> Explained:
    traps_found = tuple(odd)
    status = Status.FAIL if traps_found else Status.PASS if devices else Status.INCONCLUSIVE
    answer = ExplainAnswer(
        status=status,
        variable=variable,
        spec=spec or "",
        where=where,
        meaning=meaning(spec),
        devices=devices,
        traps=traps_found,
    )
    return Explained(text, answer)


def _devices(
    old: Sequence[Choice], new: Sequence[Choice], rails: Sequence[str], about: dict[str, str]
) -> tuple[ExplainedDevice, ...]:
    return tuple(
        ExplainedDevice(
            name=_name(choice),
            taken=choice.taken,
            taken_since_2_30_5=later.taken,
            reason=choice.reason.removeprefix("taken: ").removeprefix("not taken: "),  # ``taken`` says it
            rail=_name(choice) in rails if rails else None,
            state=about.get(_name(choice), ""),
        )
        for choice, later in zip(old, new, strict=True)
    )


def _lines(devices: Sequence[ExplainedDevice]) -> list[str]:
    width = max(len(each.name) for each in devices)
    mark = {True: "rail", False: "no rail", None: ""}
    lines = []
    for each in devices:
        what = ", ".join(part for part in (mark[each.rail], each.state) if part)
        reason = f"{each.reason}{f' ({what})' if what else ''}"
        lines.append(f"  {'taken    ' if each.taken else 'not taken'}  {each.name:{width}}  {reason}")
    return lines


def _otherwise(devices: Sequence[ExplainedDevice]) -> list[str]:
    """A note where the parser of NCCL 2.30.5 reads the selector differently."""
    more = [each.name for each in devices if each.taken_since_2_30_5 and not each.taken]
    less = [each.name for each in devices if each.taken and not each.taken_since_2_30_5]
    since = ".".join(map(str, RAIL_AND_PLANE))
    lines = [f"  from NCCL {since} it takes {', '.join(more)} too"] if more else []
    return lines + ([f"  from NCCL {since} it does not take {', '.join(less)}"] if less else [])


def _name(choice: Choice) -> str:
    return choice.name if choice.port < 0 else f"{choice.name}:{choice.port}"
