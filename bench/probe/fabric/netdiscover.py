"""``ibnetdiscover``: the whole subnet as one port of it sees it, as a topology file.

A node that does not answer is a warning on standard error and an exit status of 0: ``unanswered`` holds it.
"""

from __future__ import annotations

import re

from bench.model.late_dataclass import dataclass
from bench.probe.fabric import pasted_text as noise
from bench.probe.fabric.link import End, LinkRow, link

_KINDS = {"Switch": "SW", "Ca": "CA", "Rt": "RT"}
_ORIGIN = re.compile(r"^# Initiated from node (?P<node>[0-9a-f]{1,16}) port (?P<port>[0-9a-f]{1,16})")
_NODE = re.compile(
    r'^(?P<kind>Switch|Ca|Rt)\s+[0-9]{1,4}\s+"(?P<guid>[SHR?]-[0-9a-f]{1,16})"\s*#\s*"(?P<name>[^"]*)"'
    r"(?:.*?\blid (?P<lid>[0-9]+))?"
)
_PORT = re.compile(
    r"^\[(?P<near>[0-9]{1,4})\](?:\[ext [0-9]+\])?(?:\((?P<near_guid>[0-9a-f]{1,16})\))?\s*"
    r'"(?P<far_node>[SHR?]-[0-9a-f]{1,16})"\[(?P<far>[0-9]{1,4})\](?:\[ext [0-9]+\])?'
    r"(?:\s*\((?P<far_guid>[0-9a-f]{1,16})\))?\s*#\s*"
    r'(?:lid (?P<near_lid>[0-9]+) lmc [0-9]+ )?"(?P<far_name>[^"]*)" lid (?P<far_lid>[0-9]+) '
    r"(?P<link>[0-9]{1,2}x\S+|\?\?\S*)"
)
_SILENT = re.compile(r"bad status|Query SA failed|Failed to query|query failed|timed? ?out", re.IGNORECASE)
_PATH = re.compile(r"\(DR path slid [0-9]+; dlid [0-9]+; (?P<path>[0-9]{1,3}(?:,[0-9]{1,3})*) ")
_QUIET = re.compile(
    r"^\s*(?:#|$|(?:vendid|devid|sysimgguid|switchguid|caguid|rtguid)=|Chassis |Non-Chassis|DR path slid)"
)


@dataclass(frozen=True)
class Discovery:
    """What ibnetdiscover printed; ``origin`` is the GUID of the port that it asked from."""

    origin: str | None
    rows: tuple[LinkRow, ...]
    unanswered: tuple[str, ...]
    unparsed: tuple[str, ...]


def unanswered(text: str) -> tuple[str, ...]:
    """The lines, of any of the three fabric tools, that say that something did not answer."""
    return tuple(line.strip() for line in noise.lines(text) if _SILENT.search(line))


def path(line: str) -> tuple[int, ...]:
    """The directed route in an unanswered line: exit ports from the local adapter on, a 0 first; else ()."""
    match = _PATH.search(line)
    return tuple(int(port) for port in match["path"].split(",")) if match else ()


def parse(text: str) -> Discovery:
    """The rows, and the warnings if standard error was joined to the text; raises ``UnknownToolOutput``."""
    node: End | None = None
    rows: list[LinkRow] = []
    origin, unparsed = None, []
    for line in noise.lines(text):
        if found := _ORIGIN.match(line):
            origin = noise.guid(found["port"])
        elif head := _NODE.match(line):
            node = _node(head)
        elif (port := _PORT.match(line)) and node:
            rows.append(_row(node, port))
        elif not (_QUIET.match(line) or _SILENT.search(line) or noise.is_warning(line)):
            unparsed.append(line.strip())
    silent = unanswered(text)
    noise.refuse_unless(
        node or origin or silent, text, "ibnetdiscover", "# Initiated from node 0010000000000100"
    )
    return Discovery(origin, tuple(rows), silent, tuple(unparsed))


def _node(match: re.Match[str]) -> End:
    """A switch, channel adapter or router with its node GUID, and a switch's LID; it has no port of its own."""
    kind = _KINDS[match["kind"]]
    lid = noise.number(match["lid"]) if kind == "SW" else None
    return End(kind, noise.guid(match["guid"]), match["name"].strip(), lid, 0)


def _row(node: End, match: re.Match[str]) -> LinkRow:
    """A port line under its node. A switch has one GUID; an adapter's port has its own, in parentheses."""
    near_guid = noise.guid(match["near_guid"]) or node.guid
    near_lid = noise.number(match["near_lid"]) if match["near_lid"] else node.lid
    far_kind = {"S": "SW", "H": "CA", "R": "RT"}.get(match["far_node"][0], "")
    far_guid = noise.guid(match["far_guid"]) or noise.guid(match["far_node"])
    return LinkRow(
        near=End(node.kind, near_guid, node.name, near_lid, int(match["near"])),
        link=link(match["link"]),
        far=End(
            far_kind, far_guid, match["far_name"].strip(), noise.number(match["far_lid"]), int(match["far"])
        ),
    )
