"""``ibqueryerrors``: the error counters above a threshold, of every port that the performance manager could
ask.

A port that is not listed is below the thresholds of the tool, or was never asked: only ``summary`` tells
which.
"""

from __future__ import annotations

import re

from bench.model.late_dataclass import dataclass, replace
from bench.probe.fabric import pasted_text as noise
from bench.probe.fabric.netdiscover import unanswered

_HEAD = re.compile(r'^\s*Errors for (?:(?P<guid>0x[0-9a-fA-F]{1,16}) )?"(?P<name>[^"]*)"')
_PORT = re.compile(r"^\s*GUID (?P<guid>0x[0-9a-fA-F]{1,16}) port (?P<port>ALL|[0-9]{1,4}):(?P<counters>.*)$")
_COUNTER = re.compile(r"\[(?P<name>\w+) == (?P<value>[0-9]{1,20})(?: \([^)]*\))?\]")
_NODES = re.compile(r"^## Summary: [0-9]{1,9} nodes checked, [0-9]{1,9} bad nodes found")
_PORTS = re.compile(r"^##\s+([0-9]{1,9}) ports checked, [0-9]{1,9} ports have errors")
_FAILURES = re.compile(r"^##\s+([0-9]{1,9}) PMA query failures")
_QUIET = re.compile(r"^\s*(?:$|## (?:Thresholds|Suppressed|\(null\))|Link info:|Data Counters|Suppressing:)")


@dataclass(frozen=True)
class PortErrors:
    """Counters of one port in the text's order; ``port`` None is the sum over the node ("ALL")."""

    guid: str | None
    name: str
    port: int | None
    counters: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class ErrorSummary:
    """How many ports were checked; ``failures``: those whose counters could not be read, which are not listed."""

    ports: int | None = None
    failures: int = 0


@dataclass(frozen=True)
class QueryErrors:
    """Without ``summary`` (None: the text was cut) nothing is known of the ports that are not listed."""

    ports: tuple[PortErrors, ...]
    summary: ErrorSummary | None
    unanswered: tuple[str, ...]
    unparsed: tuple[str, ...]


def parse(text: str) -> QueryErrors:
    """Ports in the text's order; raises ``UnknownToolOutput``."""
    ports: list[PortErrors] = []
    name, summary, unparsed = "", None, []
    silent = unanswered(text)
    for line in noise.lines(text):
        row = _port(name, line)
        if head := _HEAD.match(line):
            name = head["name"].strip()
        elif row:
            ports.append(row)
        elif line.startswith("##"):
            summary = _summed(summary, line)
        elif not (_QUIET.match(line) or noise.is_warning(line) or line.strip() in silent):
            unparsed.append(line.strip())
    noise.refuse_unless(
        ports or summary or silent, text, "ibqueryerrors", "## Summary: 42 nodes checked, 0 bad nodes found"
    )
    return QueryErrors(tuple(ports), summary, silent, tuple(unparsed))


def _port(name: str, line: str) -> PortErrors | None:
    match = _PORT.match(line)
    if match is None:
        return None
    counters = tuple((found["name"], int(found["value"])) for found in _COUNTER.finditer(match["counters"]))
    port = None if match["port"] == "ALL" else int(match["port"])
    return PortErrors(noise.guid(match["guid"]), name, port, counters) if counters else None


def _summed(now: ErrorSummary | None, line: str) -> ErrorSummary | None:
    """Adds one ``##`` line to the summary; a line that comes before its first one is dropped."""
    if _NODES.match(line):
        return ErrorSummary()
    if now is None:
        return None
    if ports := _PORTS.match(line):
        return replace(now, ports=int(ports[1]))
    if failures := _FAILURES.match(line):
        return replace(now, failures=int(failures[1]))
    return now
