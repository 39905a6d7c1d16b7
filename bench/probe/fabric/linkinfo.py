"""``iblinkinfo``, grouped or one line a port (``-l``): state, width and speed of links at both ends."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.probe.fabric import pasted_text as noise
from bench.probe.fabric.link import UNKNOWN, End, Link, LinkRow, speed, width
from bench.probe.fabric.netdiscover import unanswered

_HEAD = re.compile(r"^\s*(?P<kind>Switch|CA|Router): (?:(?P<guid>0x[0-9a-fA-F]{1,16}) )?(?P<name>.*):\s*$")
_ROW = re.compile(
    r'^\s*(?:(?P<guid>0x[0-9a-fA-F]{1,16})\s+)?(?:"(?P<name>[^"]*)"\s+)?'
    r"(?P<lid>[0-9]+)\s+(?P<port>[0-9]{1,4})\[[ 0-9]*\]\s*"
    r"==\((?P<link>[^()]*(?:\([^()]*\)[^()]*)?)\)(?:\s*\(HOQ[^)]*\))?==>\s*(?P<far>.*)$"
)
_STATE = re.compile(r"^(?P<link>.*?)\s*(?P<state>[A-Z]\w*)\s*/\s*(?P<physical>[A-Z][\w ]*?)\s*$")
_FAR = re.compile(
    r"^(?:(?P<guid>0x[0-9a-fA-F]{1,16})\s+)?(?P<lid>[0-9]+)\s+(?P<port>[0-9]{1,4})\[[ 0-9]*\]\s*"
    r'"(?P<name>[^"]*)"\s*\(\s*(?P<could>[^)]*)\)'
)
_NOBODY = re.compile(r'^(?:\[[ 0-9]*\]\s*""\s*\(\s*\)|"Port not available")')
_KINDS = {"Switch": "SW", "CA": "CA", "Router": "RT"}


@dataclass(frozen=True)
class Linkinfo:
    """One row a port.

    With ``-l`` the text does not say what kind a node is: ``near.kind`` and ``far.kind`` are "".
    """

    rows: tuple[LinkRow, ...]
    unanswered: tuple[str, ...]
    unparsed: tuple[str, ...]


def parse(text: str) -> Linkinfo:
    """Rows in the text's order; raises ``Refused``."""
    rows: list[LinkRow] = []
    head = End("", None, "", None, 0)
    unparsed = []
    silent = unanswered(text)
    for line in noise.lines(text):
        if group := _HEAD.match(line):
            head = End(_KINDS[group["kind"]], noise.guid(group["guid"]), group["name"].strip(), None, 0)
        elif row := _row(head, line):
            rows.append(row)
        elif (
            line.strip()
            and not noise.is_warning(line)
            and line.strip() not in silent
            and not noise.is_prompt(line)
        ):
            unparsed.append(line.strip())
    noise.refuse_unless(
        rows or head.kind or silent, text, "iblinkinfo", "6 2[  ] ==( 4X 53.125 Gbps Active/  LinkUp)==>"
    )
    return Linkinfo(tuple(rows), silent, tuple(unparsed))


def _row(head: End, line: str) -> LinkRow | None:
    match = _ROW.match(line)
    seen = _STATE.match(match["link"].strip()) if match else None
    if match is None or seen is None:
        return None
    far = _FAR.match(match["far"])
    if far is None and not _NOBODY.match(match["far"]):
        return None
    named = (match["name"] if match["name"] is not None else head.name).strip()
    near = End(
        head.kind,
        noise.guid(match["guid"]) or head.guid,
        named,
        noise.number(match["lid"]),
        int(match["port"]),
    )
    shown = seen["link"].strip()
    return LinkRow(
        near=near,
        link=Link(width(shown), speed(re.sub(r"^\w+\s+", "", shown))) if shown else UNKNOWN,
        far=_far(far) if far else None,
        state=seen["state"],
        physical=seen["physical"],
        could_be=" ".join(far["could"].split()) if far else "",
    )


def _far(match: re.Match[str]) -> End:
    return End(
        "", noise.guid(match["guid"]), match["name"].strip(), noise.number(match["lid"]), int(match["port"])
    )
