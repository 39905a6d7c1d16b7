"""``ibstatus``: a shell script over sysfs.

It says "Infiniband device" of Ethernet ports too: only link_layer tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bench.model.units import BITS, GIGA
from bench.probe.fabric import pasted_text as noise
from bench.probe.fabric.link import Link, link

_DEVICE = re.compile(r"^\s*Infiniband device '([^']+)' port ([0-9]{1,3}) status:\s*$")
_RATE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) Gb/sec\b")


@dataclass(frozen=True)
class Port:
    """One port.

    ``state`` and ``physical`` without the number (``ACTIVE``, ``LinkUp``); ``rate`` in bytes/s.
    """

    hca: str
    number: int
    gid: str | None = None
    base_lid: int | None = None
    sm_lid: int | None = None
    state: str | None = None
    physical: str | None = None
    rate: float | None = None
    link: Link | None = None
    link_layer: str | None = None


@dataclass(frozen=True)
class Ibstatus:
    ports: tuple[Port, ...]
    unparsed: tuple[str, ...]


def _known(value: str) -> str | None:
    return value if value not in ("", "unknown") else None


def _coded(value: str) -> str | None:
    """``ACTIVE`` of ``4: ACTIVE``."""
    match = re.fullmatch(r"[0-9]+: *(\S.*)", value)
    return match[1] if match else None


def _rate(value: str) -> float | None:
    match = _RATE.match(value)
    return float(match[1]) * GIGA / BITS if match else None


_FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "default gid": ("gid", _known),
    "base lid": ("base_lid", noise.number),
    "sm lid": ("sm_lid", noise.number),
    "state": ("state", _coded),
    "phys state": ("physical", _coded),
    "rate": ("rate", _rate),
    "link_layer": ("link_layer", _known),
}


def parse(text: str) -> Ibstatus:
    """Ports in the text's order; ``unknown`` and cut fields are None; raises ``UnknownToolOutput``."""
    ports: list[Port] = []
    unparsed = []
    for line in noise.lines(text):
        if head := _DEVICE.match(line):
            ports.append(Port(head[1], int(head[2])))
        elif not ports or not _put(ports, line):
            unparsed.append(line.strip())
    noise.refuse_unless(ports, text, "ibstatus", "Infiniband device 'mlx5_0' port 1 status:")
    return Ibstatus(tuple(ports), tuple(line for line in unparsed if line))


def _put(ports: list[Port], line: str) -> bool:
    key, value = noise.pair(line) or ("", "")
    if key not in _FIELDS:
        return False
    name, read = _FIELDS[key]
    ports[-1] = replace(ports[-1], **{name: read(value)})
    if name == "rate" and "(" in value:
        ports[-1] = replace(ports[-1], link=link(value.partition("(")[2].rstrip(") ")))
    return read(value) is not None
