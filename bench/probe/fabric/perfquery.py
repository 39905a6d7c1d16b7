"""``perfquery`` (with ``-x``, ``-a``, ``-l``): a port's counters as a performance manager reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from bench.probe.fabric import pasted_text as noise

_HEAD = re.compile(
    r"^\s*# (?P<kind>Port[\w ]*?)(?: counters)?: (?:Lid (?P<lid>[0-9]{1,6})\b|DR path )?"
    r".*?\bport (?P<port>[0-9]{1,4})\b"
)
_COUNTER = re.compile(r"^\s*(?P<name>[A-Z]\w+):\.+(?P<value>\S+)\s*$")
_SELECTORS = frozenset(("PortSelect", "CounterSelect", "CounterSelect2"))
# counters of work, not of trouble; PortXmitWait (ticks with data and no credit) is congestion, so it is apart
WORK = frozenset(f"Port{way}{what}" for way in ("Xmit", "Rcv") for what in ("Data", "Pkts")) | frozenset(
    f"Port{cast}{way}Pkts" for cast in ("Unicast", "Multicast") for way in ("Xmit", "Rcv")
)
CONGESTION = "PortXmitWait"
ALL_PORTS = 255


@dataclass(frozen=True)
class Block:
    """The counters of one port (255: the sum over a switch), in the text's order.

    Data counters are words of 4 bytes.
    """

    kind: str
    lid: int | None
    port: int
    counters: tuple[tuple[str, int], ...] = ()

    def get(self, name: str) -> int | None:
        """The counter, or None where the text has none: absent is not 0."""
        return dict(self.counters).get(name)


@dataclass(frozen=True)
class Perfquery:
    blocks: tuple[Block, ...]
    warnings: tuple[str, ...]
    unparsed: tuple[str, ...]


def errors(block: Block) -> tuple[tuple[str, int], ...]:
    """The error counters that are not 0; work and congestion left out."""
    return tuple((name, value) for name, value in block.counters if value and name not in WORK | {CONGESTION})


def data_bytes(block: Block, name: str) -> int | None:
    """``PortXmitData`` or ``PortRcvData`` in bytes (the counter counts words of 4)."""
    words = block.get(name)
    return None if words is None else 4 * words


def parse(text: str) -> Perfquery:
    """Blocks in the text's order. An empty text has no blocks; raises ``Refused``."""
    blocks: list[Block] = []
    warnings, unparsed = [], []
    for line in noise.lines(text):
        if head := _HEAD.match(line):
            blocks.append(Block(head["kind"], noise.number(head["lid"]), int(head["port"])))
        elif noise.is_warning(line):
            warnings.append(line.strip())
        elif line.strip() and not _put(blocks, line):
            unparsed.append(line.strip())
    noise.refuse_unless(blocks or warnings, text, "perfquery", "# Port counters: Lid 6 port 2")
    return Perfquery(tuple(blocks), tuple(warnings), tuple(unparsed))


def _put(blocks: list[Block], line: str) -> bool:
    match = _COUNTER.match(line)
    value = noise.number(match["value"]) if match else None
    if not blocks or match is None or value is None:
        return False
    if match["name"] not in _SELECTORS:
        blocks[-1] = replace(blocks[-1], counters=(*blocks[-1].counters, (match["name"], value)))
    return True
