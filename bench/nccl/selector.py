"""NCCL_IB_HCA and NCCL_SOCKET_IFNAME, read exactly as NCCL reads them.

Sources: NVIDIA/nccl ``parseStringList``, ``matchIfList`` (src/misc/utils.cc), ``ncclIbInitDevices``
(src/transport/net_ib*), ``ncclFindInterfaces`` (src/misc/socket.cc) at v2.28.9-1 and v2.30.7-1::

    spec = [^][=] item , item ...      item = name[:port]                     up to 2.30.4
                                       item = name[:port[:rail[:plane]]]      from 2.30.5, empty = any

``^`` and ``=`` belong to the whole list, in that order. Without ``=`` an item takes every name that starts
with it. Nothing is trimmed. An empty list matches everything, so a lone ``^`` selects nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bench.model.errors import EXIT_USAGE, RailGaugeError
from bench.model.late_dataclass import dataclass
from bench.nccl.c_strings import atoi, cut, length, until_nul
from bench.nccl.version import IB_DEVICES_32, NEWEST, RAIL_AND_PLANE, RUNNING_INTERFACES, Version

MAX_INTERFACES = 16
MAX_NAME = 63
ANY = -1


class DeviceError(RailGaugeError, ValueError):
    """A text that names no device."""

    exit_status = EXIT_USAGE


@dataclass(frozen=True)
class Device:
    """One port of one HCA, in the order ibv_get_device_list gives them."""

    hca: str
    port: int = 1
    active: bool = True
    link: str = "InfiniBand"


@dataclass(frozen=True)
class Item:
    """One entry of the list as NCCL keeps it; -1 is any. ``text`` is how it was written."""

    text: str
    name: str
    port: int = ANY
    rail: int = ANY
    plane: int = ANY


@dataclass(frozen=True)
class Selector:
    """A specification, parsed. ``ignored`` are the entries beyond NCCL's limit: it never sees them."""

    spec: str | None
    negated: bool
    exact: bool
    items: tuple[Item, ...]
    ignored: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Choice:
    """Whether NCCL takes a device (``port`` 1, 2 ...) or an interface (``port`` -1), and why."""

    name: str
    port: int
    taken: bool
    reason: str
    item: Item | None = None


def device_limit(version: Version) -> int:
    """How many list entries and how many ports NCCL keeps (MAX_IB_DEVS)."""
    return 32 if version >= IB_DEVICES_32 else 16


def parse_devices(text: str) -> tuple[Device, ...]:
    """Devices written as ``mlx5_0 mlx5_1:1+2``: a port list behind the colon, else port 1."""
    devices = []
    for word in re.split(r"[\s,]+", text.strip()):
        name, _, ports = word.partition(":")
        numbers = ports.split("+") if ports else ["1"]
        if not name or not all(number.isascii() and number.isdigit() for number in numbers):
            raise DeviceError(f"{word!r} is not a device; write mlx5_0, or mlx5_0:1+2 for its ports")
        devices += [Device(name, int(number)) for number in numbers]
    return tuple(devices)


def parse(spec: str | None, version: Version = NEWEST, limit: int | None = None) -> Selector:
    """The list NCCL makes of ``spec``; None is an unset variable."""
    rest = until_nul(spec or "")
    negated = rest.startswith("^")
    rest = rest[negated:]
    exact = rest.startswith("=")
    rest = rest[exact:]
    item = _item_with_rail if version >= RAIL_AND_PLANE else _item
    # an entry without a name is dropped, not matched
    items = tuple(item(entry) for entry in rest.split(",") if entry.split(":")[0])
    kept = device_limit(version) if limit is None else limit
    return Selector(spec, negated, exact, items[:kept], items[kept:])


def _item(entry: str) -> Item:
    """Read an entry as NCCL up to 2.30.4 does: by atoi after the first colon, so ``a:`` is port 0: none."""
    name, colon, port = entry.partition(":")
    return Item(entry, name, atoi(port) if colon else ANY)


def _item_with_rail(entry: str) -> Item:
    """Read an entry as NCCL from 2.30.5 on does: three numbers, an empty one is any; 63 bytes of a name."""
    name, *fields = entry.split(":")
    port, rail, plane = [atoi(field) if field else ANY for field in [*fields, "", "", ""][:3]]
    return Item(entry, cut(name, MAX_NAME), port, rail, plane)


def matching(selector: Selector, name: str, port: int = ANY) -> Item | None:
    """The first entry that matches, before ``^`` turns it round; None where none does."""
    for item in selector.items:
        same = name == item.name if selector.exact else name.startswith(item.name)
        if same and (ANY in (port, item.port) or port == item.port):
            return item
    return None


def _judge(selector: Selector, name: str, port: int = ANY) -> Choice:
    """Whether NCCL takes the device (``matchIfList`` XOR ``searchNot``), with the reason."""
    if not selector.items:
        taken = not selector.negated
        why = (
            "no name is listed: every one is taken"
            if taken
            else "'^' with no name behind it excludes every one"
        )
        return Choice(name, port, taken, why)
    item = matching(selector, name, port)
    how = "is" if selector.exact else "starts with"
    if item is None:
        fate = "taken" if selector.negated else "not taken"
        return Choice(name, port, selector.negated, f"{fate}: matches no entry of {selector.spec!r}")
    verb = "excluded" if selector.negated else "taken"
    on = f", port {item.port}" if item.port != ANY else ""
    return Choice(name, port, not selector.negated, f"{verb}: {how} {item.name!r}{on}", item)


def select(spec: str | None, devices: Sequence[Device], version: Version = NEWEST) -> tuple[Choice, ...]:
    """What NCCL_IB_HCA=``spec`` does to each port of ``devices``, in their order.

    A port that is not ACTIVE, or neither InfiniBand nor Ethernet, is never taken, whatever the list says.
    """
    selector = parse(spec, version)
    limit = device_limit(version)
    choices: list[Choice] = []
    taken, full, before = 0, False, ""
    for device in devices:
        # NCCL asks whether there is room once per device, not once per port
        if device.hca != before:
            full, before = taken >= limit, device.hca
        choice = _unusable(device, f"NCCL stops after {limit} ports" if full else "")
        choice = choice or _judge(selector, device.hca, device.port)
        taken += choice.taken
        choices.append(choice)
    return tuple(choices)


def _unusable(device: Device, full: str) -> Choice | None:
    reason = full
    if not device.active:
        reason = "port is not ACTIVE"
    elif device.link not in ("InfiniBand", "Ethernet"):
        reason = f"link layer is {device.link or 'unknown'}"
    return Choice(device.hca, device.port, False, reason) if reason else None


def interfaces(
    spec: str | None,
    names: Sequence[str],
    version: Version = NEWEST,
    limit: int = MAX_INTERFACES,
    near: Sequence[str] = (),
) -> tuple[Choice, ...]:
    """What NCCL_SOCKET_IFNAME=``spec`` does to each of ``names``, in getifaddrs order.

    ``names`` are those NCCL looks at: with an IPv4 or IPv6 address and, from 2.28.3, running. ``near`` are
    those in the subnet of NCCL_COMM_ID. ``limit`` is 16 for NET/Socket, 1 for bootstrap and out-of-band.
    A value of less than two bytes counts as unset; then NCCL tries its own order.
    """
    if spec is not None and length(spec) > 1:
        return _first(parse(spec, version, MAX_INTERFACES), names, limit, "")
    order = ["ib", None, "^docker,lo", "docker", "lo"]
    if version >= RUNNING_INTERFACES:
        order[2:] = ["^docker,lo,virbr", "docker", "lo", "virbr"]
    for default in order:
        if default is None:
            choices = tuple(
                Choice(name, ANY, name in near, "by the subnet of NCCL_COMM_ID") for name in names
            )
        else:
            why = f"unset, so NCCL tries {default!r}; "
            choices = _first(parse(default, version, MAX_INTERFACES), names, limit, why)
        if any(choice.taken for choice in choices):
            return choices
    return ()  # there is none: every name is in NCCL's own order


def _first(selector: Selector, names: Iterable[str], limit: int, why: str) -> tuple[Choice, ...]:
    """The first ``limit`` names that the selector takes."""
    choices: list[Choice] = []
    for name in names:
        choice = _judge(selector, name)
        if choice.taken and sum(earlier.taken for earlier in choices) >= limit:
            choice = Choice(name, ANY, False, f"NCCL stops after {limit}", choice.item)
        choices.append(Choice(name, ANY, choice.taken, why + choice.reason, choice.item))
    return tuple(choices)
