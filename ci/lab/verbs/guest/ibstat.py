"""``ibstat``: adapters and their ports, as the management library reads them from sysfs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bench.model.units import BITS, GIGA
from bench.probe.fabric import pasted_text as noise

_ADAPTER = re.compile(r"^\s*(?:CA|Switch|Router|iWARP RNIC|usNIC\w*)(?: |: )'([^']+)'\s*$")
_PORT = re.compile(r"^\s*Port ([0-9]{1,3}):\s*$")


@dataclass(frozen=True)
class Port:
    """One port.

    ``rate`` (bytes/s) is what the driver says even of a port that is down: ``rate_now`` is not.
    """

    number: int
    state: str | None = None
    physical: str | None = None
    rate: float | None = None
    base_lid: int | None = None
    lmc: int | None = None
    sm_lid: int | None = None
    capability: int | None = None
    guid: str | None = None
    link_layer: str | None = None

    @property
    def rate_now(self) -> float | None:
        """The rate of a port that is Active, else None: a port that is down still prints one."""
        return self.rate if self.state == "Active" else None


@dataclass(frozen=True)
class Adapter:
    """One channel adapter. ``port_count`` is what it says; ``ports`` are those that the text showed."""

    name: str
    type: str | None = None
    port_count: int | None = None
    firmware: str | None = None
    hardware: str | None = None
    node_guid: str | None = None
    system_guid: str | None = None
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True)
class Ibstat:
    adapters: tuple[Adapter, ...]
    warnings: tuple[str, ...]
    unparsed: tuple[str, ...]


def _text(value: str) -> str | None:
    return value or None


def _rate(value: str) -> float | None:
    """Bytes/s of ``400``, ``2.5`` or ``10 (FDR10)``, which are Gb/s."""
    match = re.match(r"[0-9]{1,6}(?:\.[0-9]{1,3})?(?=\s|$)", value)
    return float(match[0]) * GIGA / BITS if match else None


_Read = Callable[[str], Any]
_ADAPTER_FIELDS: dict[str, tuple[str, _Read]] = {
    "CA type": ("type", _text),
    "Number of ports": ("port_count", noise.number),
    "Firmware version": ("firmware", _text),
    "Hardware version": ("hardware", _text),
    "Node GUID": ("node_guid", noise.guid),
    "System image GUID": ("system_guid", noise.guid),
}
_PORT_FIELDS: dict[str, tuple[str, _Read]] = {
    "State": ("state", _text),
    "Physical state": ("physical", _text),
    "Rate": ("rate", _rate),
    "Base lid": ("base_lid", noise.number),
    "LMC": ("lmc", noise.number),
    "SM lid": ("sm_lid", noise.number),
    "Capability mask": ("capability", noise.number),
    "Port GUID": ("guid", noise.guid),
    "Link layer": ("link_layer", _text),
}


def active_infiniband(seen: Ibstat) -> tuple[str, ...]:
    """Names of the adapters with a port that is Active on an InfiniBand link layer, in the text's order."""
    return tuple(
        adapter.name
        for adapter in seen.adapters
        if any(port.state == "Active" and port.link_layer == "InfiniBand" for port in adapter.ports)
    )


def parse(text: str) -> Ibstat:
    """Adapters in the text's order (lexical: mlx5_1, mlx5_10, mlx5_2).

    A cut text leaves None; raises ``UnknownToolOutput``.
    """
    adapters: list[Adapter] = []
    warnings, unparsed = [], []
    for line in noise.lines(text):
        if noise.is_warning(line):
            warnings.append(line.strip())
        elif head := _ADAPTER.match(line):
            adapters.append(Adapter(head[1]))
        elif not adapters or not _put(adapters, line):
            unparsed.append(line.strip())
    noise.refuse_unless(adapters or warnings, text, "ibstat", "CA 'mlx5_0'")
    return Ibstat(tuple(adapters), tuple(warnings), tuple(line for line in unparsed if line))


def _put(adapters: list[Adapter], line: str) -> bool:
    """Adds one line to the last adapter; False where the line or its value says nothing known."""
    last = adapters[-1]
    if port := _PORT.match(line):
        adapters[-1] = replace(last, ports=(*last.ports, Port(int(port[1]))))
        return True
    key, value = noise.pair(line) or ("", "")
    if key in _ADAPTER_FIELDS:
        name, read = _ADAPTER_FIELDS[key]
        adapters[-1] = replace(last, **{name: read(value)})
    elif key in _PORT_FIELDS and last.ports:
        name, read = _PORT_FIELDS[key]
        ports = (*last.ports[:-1], replace(last.ports[-1], **{name: read(value)}))
        adapters[-1] = replace(last, ports=ports)
    else:
        return False
    return read(value) is not None
