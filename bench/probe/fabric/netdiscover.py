"""``ibnetdiscover``: the whole subnet as one port of it sees it, as a topology file or (``-p``) as a list of
ports.

A node that does not answer is a warning on standard error and an exit status of 0: ``unanswered`` holds it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.probe.fabric import pasted_text as noise
from bench.probe.fabric.link import End, LinkRow, link

_KINDS = {"Switch": "SW", "Ca": "CA", "Rt": "RT"}
_ORIGIN = re.compile(r"^# Initiated from node (?P<node>[0-9a-f]{1,16}) port (?P<port>[0-9a-f]{1,16})")
_NODE = re.compile(
    r'^(?P<kind>Switch|Ca|Rt)\s+(?P<ports>[0-9]{1,4})\s+"(?P<guid>[SHR?]-[0-9a-f]{1,16})"\s*#\s*"(?P<name>[^"]*)"'
    r"(?:.*?\blid (?P<lid>[0-9]+))?"
)
_PORT = re.compile(
    r"^\[(?P<near>[0-9]{1,4})\](?:\[ext [0-9]+\])?(?:\((?P<near_guid>[0-9a-f]{1,16})\))?\s*"
    r'"(?P<far_node>[SHR?]-[0-9a-f]{1,16})"\[(?P<far>[0-9]{1,4})\](?:\[ext [0-9]+\])?'
    r"(?:\s*\((?P<far_guid>[0-9a-f]{1,16})\))?\s*#\s*"
    r'(?:lid (?P<near_lid>[0-9]+) lmc [0-9]+ )?"(?P<far_name>[^"]*)" lid (?P<far_lid>[0-9]+) '
    r"(?P<link>[0-9]{1,2}x\S+|\?\?\S*)"
)
_LISTED = re.compile(
    r"^\s*(?P<kind>CA|SW|RT)\s+(?P<lid>[0-9]+)\s+(?P<port>[0-9]{1,4})\s+(?P<guid>0x[0-9a-fA-F]{1,16})\s+"
    r"(?P<link>(?:[0-9]{1,2}x|\?\?)\s+\S+)\s*"
    r"(?:- (?P<far_kind>CA|SW|RT)\s+(?P<far_lid>[0-9]+)\s+(?P<far_port>[0-9]{1,4})\s+"
    r"(?P<far_guid>0x[0-9a-fA-F]{1,16}) \( '(?P<name>.*)' - '(?P<far_name>.*)' \)|(?P<alone>.*?))\s*$"
)
_SILENT = re.compile(r"bad status|Query SA failed|Failed to query|query failed|timed? ?out", re.IGNORECASE)
_PATH = re.compile(r"\(DR path slid [0-9]+; dlid [0-9]+; (?P<path>[0-9]{1,3}(?:,[0-9]{1,3})*) ")
_QUIET = re.compile(
    r"^\s*(?:#|$|(?:vendid|devid|sysimgguid|switchguid|caguid|rtguid)=|Chassis |Non-Chassis|DR path slid)"
)


@dataclass(frozen=True)
class SubnetNode:
    """A switch, channel adapter or router; ``guid`` is the node's, ``lid`` a switch's (else None)."""

    kind: str
    guid: str
    name: str
    port_count: int
    lid: int | None


@dataclass(frozen=True)
class Discovery:
    """``origin`` is the port GUID it was seen from. With ``-p`` there are rows and no nodes."""

    origin: str | None
    nodes: tuple[SubnetNode, ...]
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
    """Both formats, and the warnings if standard error was joined to the text; raises ``Refused``."""
    nodes: list[SubnetNode] = []
    rows: list[LinkRow] = []
    origin, unparsed = None, []
    for line in noise.lines(text):
        if found := _ORIGIN.match(line):
            origin = noise.guid(found["port"])
        elif node := _NODE.match(line):
            nodes.append(_node(node))
        elif listed := _LISTED.match(line):
            rows.append(_listed(listed))
        elif (port := _PORT.match(line)) and nodes:
            rows.append(_row(nodes[-1], port))
        elif not (_QUIET.match(line) or _SILENT.search(line) or noise.is_warning(line)):
            unparsed.append(line.strip())
    silent = unanswered(text)
    noise.refuse_unless(
        nodes or rows or origin or silent, text, "ibnetdiscover", "# Initiated from node 0010000000000100"
    )
    return Discovery(origin, tuple(nodes), tuple(rows), silent, tuple(unparsed))


def _node(match: re.Match[str]) -> SubnetNode:
    kind = _KINDS[match["kind"]]
    lid = noise.number(match["lid"]) if kind == "SW" else None
    return SubnetNode(kind, noise.guid(match["guid"]) or "", match["name"].strip(), int(match["ports"]), lid)


def _row(node: SubnetNode, match: re.Match[str]) -> LinkRow:
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


def _listed(match: re.Match[str]) -> LinkRow:
    far = None
    if match["far_kind"]:
        far = End(
            match["far_kind"],
            noise.guid(match["far_guid"]),
            match["far_name"].strip(),
            noise.number(match["far_lid"]),
            int(match["far_port"]),
        )
    name = match["name"] if far else (match["alone"] or "").strip().removeprefix("'").removesuffix("'")
    near = End(
        match["kind"], noise.guid(match["guid"]), name.strip(), noise.number(match["lid"]), int(match["port"])
    )
    return LinkRow(near, link(match["link"]), far)
