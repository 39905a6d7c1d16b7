"""``iblinkinfo -l``, one line a port: state, width and speed of links at both ends.

Its remark "Could be 12X" stands beside healthy 4X links and not beside a 1X link: it is not read.
"""

from __future__ import annotations

import re

from bench.model.late_dataclass import dataclass
from bench.probe.fabric import pasted_text as noise
from bench.probe.fabric.link import UNKNOWN, End, Link, LinkRow, speed, width
from bench.probe.fabric.netdiscover import unanswered

_ROW = re.compile(
    r'^\s*(?P<guid>0x[0-9a-fA-F]{1,16})\s+"(?P<name>[^"]*)"\s+'
    r"(?P<lid>[0-9]+)\s+(?P<port>[0-9]{1,4})\[[ 0-9]*\]\s*"
    r"==\((?P<link>[^()]*(?:\([^()]*\)[^()]*)?)\)(?:\s*\(HOQ[^)]*\))?==>\s*(?P<far>.*)$"
)
_STATE = re.compile(r"^(?P<link>.*?)\s*(?P<state>[A-Z]\w*)\s*/\s*(?P<physical>[A-Z][\w ]*?)\s*$")
_FAR = re.compile(
    r"^(?:(?P<guid>0x[0-9a-fA-F]{1,16})\s+)?(?P<lid>[0-9]+)\s+(?P<port>[0-9]{1,4})\[[ 0-9]*\]\s*"
    r'"(?P<name>[^"]*)"\s*\([^)]*\)'
)
_NOBODY = re.compile(r'^(?:\[[ 0-9]*\]\s*""\s*\(\s*\)|"Port not available")')


@dataclass(frozen=True)
class Linkinfo:
    """One row a port. The text does not say what kind a node is: ``near.kind`` and ``far.kind`` are ""."""

    rows: tuple[LinkRow, ...]
    unanswered: tuple[str, ...]
    unparsed: tuple[str, ...]


def parse(text: str) -> Linkinfo:
    """Rows in the text's order; raises ``UnknownToolOutput``."""
    rows: list[LinkRow] = []
    unparsed = []
    silent = unanswered(text)
    for line in noise.lines(text):
        if row := _row(line):
            rows.append(row)
        elif line.strip() and not noise.is_warning(line) and line.strip() not in silent:
            unparsed.append(line.strip())
    noise.refuse_unless(rows or silent, text, "iblinkinfo", "6 2[  ] ==( 4X 53.125 Gbps Active/  LinkUp)==>")
    return Linkinfo(tuple(rows), silent, tuple(unparsed))


def _row(line: str) -> LinkRow | None:
    match = _ROW.match(line)
    seen = _STATE.match(match["link"].strip()) if match else None
    if match is None or seen is None:
        return None
    far = _FAR.match(match["far"])
    if far is None and not _NOBODY.match(match["far"]):
        return None
    shown = seen["link"].strip()
    return LinkRow(
        near=_end(match),
        link=Link(width(shown), speed(re.sub(r"^\w+\s+", "", shown))) if shown else UNKNOWN,
        far=_end(far) if far else None,
        state=seen["state"],
        physical=seen["physical"],
    )


def _end(match: re.Match[str]) -> End:
    return End(
        "", noise.guid(match["guid"]), match["name"].strip(), noise.number(match["lid"]), int(match["port"])
    )
