"""A link: its width, its speed, its two ends.

Rates are bytes per second of the link's data, both directions apart.
"""

from __future__ import annotations

import re

from bench.model.late_dataclass import dataclass
from bench.model.units import BITS, GIGA, show_rate

# Gb/s of one lane as the kernel counts them (drivers/infiniband/core/sysfs.c, rate_show)
LANES = {
    "SDR": 2.5,
    "DDR": 5.0,
    "QDR": 10.0,
    "FDR10": 10.0,
    "FDR": 14.0,
    "EDR": 25.0,
    "HDR": 50.0,
    "NDR": 100.0,
    "XDR": 200.0,
}
# iblinkinfo prints the signalling rate of a lane from FDR on, with the line code's overhead in it
_SIGNALLING = {"14.0625": "FDR", "25.78125": "EDR", "53.125": "HDR", "106.25": "NDR", "212.5": "XDR"}
_BY_LANE = {f"{lane:g}": name for name, lane in LANES.items() if name != "FDR10"}


@dataclass(frozen=True)
class Link:
    """Width in lanes (1, 2, 4, 8, 12; None unknown) and speed by name ("NDR"; "" unknown)."""

    width: int | None
    speed: str

    @property
    def rate(self) -> float | None:
        """Bytes per second, or None where width or speed is not known."""
        if self.width is None or self.speed not in LANES:
            return None
        return self.width * LANES[self.speed] * GIGA / BITS

    @property
    def text(self) -> str:
        """``4X NDR (400.0 Gb/s)``."""
        shown = f"{self.width or '?'}X {self.speed or 'unknown speed'}"
        return f"{shown} ({show_rate(self.rate, 'Gb/s')})" if self.rate is not None else shown


UNKNOWN = Link(None, "")


@dataclass(frozen=True)
class End:
    """One end of a link: ``kind`` "CA", "SW", "RT" or "" (the text did not say), the port's GUID, the node's
    description.

    A switch has one port GUID for all its ports. ``port`` is the number on the node.
    """

    kind: str
    guid: str | None
    name: str
    lid: int | None
    port: int


@dataclass(frozen=True)
class LinkRow:
    """A port as one tool saw it: ``far`` None where nothing is connected; ``state`` "" where the text says none."""

    near: End
    link: Link
    far: End | None
    state: str = ""
    physical: str = ""


def width(text: str) -> int | None:
    """4 of ``4X``, ``4x`` or ``4X (2)``."""
    match = re.match(r"\s*(1|2|4|8|12)[xX]\b", text)
    return int(match[1]) if match else None


def speed(text: str) -> str:
    """``NDR`` of ``NDR``, ``106.25 Gbps`` or ``100.0 Gbps (128)``; "" where it is none of the known."""
    named = re.search(r"\b(FDR10|[SDQFEHNX]DR)\b", text)
    if named:
        return named[1]
    lane = re.match(r"\s*([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*Gbps", text)
    if not lane:
        return ""
    return _SIGNALLING.get(lane[1]) or _BY_LANE.get(f"{float(lane[1]):g}", "")


def link(text: str) -> Link:
    """The link of ``4xHDR``, ``4x EDR``, ``400 Gb/sec (4X NDR)`` or ``4X 53.125 Gbps``."""
    found = re.search(r"\b(1|2|4|8|12)[xX]\s*(\S.*)?", text)
    return Link(int(found[1]), speed(found[2] or "")) if found else Link(None, speed(text))
