"""``ibdev2netdev`` with and without ``-v``: which network interface stands on which HCA port."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.fabric import lines as noise

_ARROW = re.compile(
    r"^\s*(?:(?P<pci>[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7])\s+)?"
    r"(?P<hca>[\w.-]+)\s+(?:(?P<about>\(.*?)\s+)?port\s+(?P<port>[0-9]{1,3})\s*"
    r"(?:\(\s*(?P<state>\w+)\s*\)\s*)?==>\s*(?P<netdev>[^\s()]*)\s*(?:\((?P<up>\w+)\s*\))?"
)
_ABOUT = re.compile(r"^\((?P<type>\w+) - (?P<board>[^)]*?)\s*\).*?(?:\bfw (?P<firmware>[0-9][\w.]*))?$")


@dataclass(frozen=True)
class Mapping:
    """One line.

    ``up`` is the interface's state, None where it is neither Up nor Down; the rest comes with ``-v``.
    """

    hca: str
    port: int
    netdev: str | None
    up: bool | None
    state: str | None = None
    pci: str | None = None
    type: str | None = None
    board: str | None = None
    firmware: str | None = None


@dataclass(frozen=True)
class Ibdev2netdev:
    rows: tuple[Mapping, ...]
    unparsed: tuple[str, ...]


def parse(text: str) -> Ibdev2netdev:
    """Rows in the text's order; raises ``Refused``."""
    rows, unparsed = [], []
    for line in noise.lines(text):
        match = _ARROW.match(line)
        if match:
            rows.append(_mapping(match))
        elif line.strip() and not noise.is_prompt(line):
            unparsed.append(line.strip())
    noise.refuse_unless(rows, text, "ibdev2netdev", "mlx5_0 port 1 ==> ib0 (Up)")
    return Ibdev2netdev(tuple(rows), tuple(unparsed))


def _mapping(match: re.Match[str]) -> Mapping:
    about = _ABOUT.match((match["about"] or "").strip())
    return Mapping(
        hca=match["hca"],
        port=int(match["port"]),
        netdev=match["netdev"] or None,
        up={"Up": True, "Down": False}.get(match["up"] or ""),
        state=match["state"],
        pci=match["pci"],
        type=about["type"] if about else None,
        board=about["board"] if about and about["board"] != "NA" else None,
        firmware=about["firmware"] if about else None,
    )
