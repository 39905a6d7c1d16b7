"""``ibv_devinfo`` with and without ``-v``: what the verbs library asks the kernel.

The rate is width × lane speed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bench.probe.fabric import pasted_text as noise
from bench.probe.fabric.link import Link, speed, width

_KEY = re.compile(r"[A-Za-z][\w ]*(?:\[ *[0-9]+\])?")
_FLAG = re.compile(
    r"^\s*(?:[A-Z][A-Z0-9_]+|Unknown flags: .*|C-VLAN stripping offload|[\w ]+ offload|Delay drop)\s*$"
)


@dataclass(frozen=True)
class VerbsPort:
    """One port.

    ``state`` as printed without the code (``PORT_ACTIVE``); ``link`` only with ``-v``; MTU in bytes.
    """

    number: int | None
    state: str | None = None
    physical: str | None = None
    max_mtu: int | None = None
    active_mtu: int | None = None
    sm_lid: int | None = None
    lid: int | None = None
    link_layer: str | None = None
    link: Link | None = None
    gids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Adapter:
    """One device; ``name`` is None where the text starts inside one: whose it is cannot be determined."""

    name: str | None
    transport: str | None = None
    firmware: str | None = None
    node_guid: str | None = None
    system_guid: str | None = None
    vendor_id: int | None = None
    vendor_part_id: int | None = None
    board: str | None = None
    port_count: int | None = None
    ports: tuple[VerbsPort, ...] = ()


@dataclass(frozen=True)
class Devinfo:
    adapters: tuple[Adapter, ...]
    unparsed: tuple[str, ...]


def _text(value: str) -> str | None:
    return value or None


def _coded(value: str) -> str | None:
    """``PORT_ACTIVE`` of ``PORT_ACTIVE (4)``."""
    return re.sub(r"\s*\([0-9]+\)$", "", value) or None


def _state(value: str) -> str | None:
    """``PORT_ACTIVE`` of ``PORT_ACTIVE (4)``; the bare ``4: ACTIVE`` is ibstatus."""
    return _coded(value) if value.startswith("PORT_") else None


def _first(value: str) -> int | None:
    return noise.number(value.partition(" ")[0])


_Read = Callable[[str], Any]
_ADAPTER_FIELDS: dict[str, tuple[str, _Read]] = {
    "transport": ("transport", _coded),
    "fw_ver": ("firmware", _text),
    "node_guid": ("node_guid", noise.guid),
    "sys_image_guid": ("system_guid", noise.guid),
    "vendor_id": ("vendor_id", noise.number),
    "vendor_part_id": ("vendor_part_id", noise.number),
    "board_id": ("board", _text),
    "phys_port_cnt": ("port_count", noise.number),
}
_PORT_FIELDS: dict[str, tuple[str, _Read]] = {
    "state": ("state", _state),
    "phys_state": ("physical", _coded),
    "max_mtu": ("max_mtu", _first),
    "active_mtu": ("active_mtu", _first),
    "sm_lid": ("sm_lid", noise.number),
    "port_lid": ("lid", noise.number),
    "link_layer": ("link_layer", _text),
}


def parse(text: str) -> Devinfo:
    """Devices in the text's order.

    An excerpt without ``hca_id`` gives a device without a name; raises ``Refused``.
    """
    adapters: list[Adapter] = []
    unparsed = []
    for line in noise.lines(text):
        if line.strip() and not _FLAG.match(line) and not _put(adapters, line):
            unparsed.append(line.strip())
    noise.refuse_unless(adapters, text, "ibv_devinfo", "hca_id: mlx5_0")
    return Devinfo(tuple(adapters), tuple(unparsed))


def _put(adapters: list[Adapter], line: str) -> bool:
    """Read one line; False where it is no field, or a known field whose value says nothing."""
    key, colon, value = (part.strip() for part in line.partition(":"))
    if not colon or not _KEY.fullmatch(key):
        return False
    if key == "hca_id":
        adapters.append(Adapter(value))
        return bool(value)
    if key in _PORT_FIELDS or key in ("port", "active_width", "active_speed") or key.startswith("GID["):
        return _put_port(adapters, key, value)
    if key in _ADAPTER_FIELDS and adapters:
        name, read = _ADAPTER_FIELDS[key]
        adapters[-1] = replace(adapters[-1], **{name: read(value)})
        return read(value) is not None
    return bool(adapters)  # one of the many limits that -v prints: a field, and not one that is needed


def _put_port(adapters: list[Adapter], key: str, value: str) -> bool:
    if not adapters:
        if not (key in ("active_width", "active_speed") or (key == "state" and _state(value))):
            return False  # other tools have a link_layer too
        adapters.append(Adapter(None))
    last = adapters[-1]
    if key == "port" or not last.ports:
        number = noise.number(value) if key == "port" else None
        last = replace(last, ports=(*last.ports, VerbsPort(number)))
    port = last.ports[-1]
    if key in _PORT_FIELDS:
        name, read = _PORT_FIELDS[key]
        changed = replace(port, **{name: read(value)})
    elif key.startswith("GID["):
        changed = replace(port, gids=(*port.gids, value))
    else:
        changed = replace(port, link=_link(port.link, key, value))
    adapters[-1] = replace(last, ports=(*last.ports[:-1], changed))
    return _said(changed, key)


def _link(now: Link | None, key: str, value: str) -> Link | None:
    """Joins ``active_width: 4X (2)`` and ``active_speed: 100.0 Gbps (128)``, in either order."""
    now = now or Link(None, "")
    if key == "active_width":
        return replace(now, width=width(value))
    return replace(now, speed=speed(value)) if key == "active_speed" else now


def _said(port: VerbsPort, key: str) -> bool:
    """Whether the field that was just read said something."""
    if key == "active_width":
        return port.link is not None and port.link.width is not None
    if key == "active_speed":
        return port.link is not None and bool(port.link.speed)
    if key == "port":
        return port.number is not None
    return key.startswith("GID[") or getattr(port, _PORT_FIELDS[key][0]) is not None
