"""Joins the output of the three tools into one subnet: every port with its two ends, and the errors at both."""

from __future__ import annotations

from collections import defaultdict

from bench.model.late_dataclass import dataclass, replace
from bench.probe.fabric.link import End, LinkRow
from bench.probe.fabric.linkinfo import Linkinfo
from bench.probe.fabric.netdiscover import Discovery, path
from bench.probe.fabric.queryerrors import QueryErrors


@dataclass(frozen=True)
class Subnet:
    """``rows``: every port seen, its ends' kinds filled in; ``origin``: the GUID of the port that asked, if known."""

    rows: tuple[LinkRow, ...]
    errors: QueryErrors | None
    origin: str | None
    unanswered: tuple[str, ...]


@dataclass(frozen=True)
class Attachment:
    """An HCA port and the switch port that it is cabled to; ``switch`` is None where the far end is none.

    ``at_hca`` and ``at_far_end`` are the same cable as each end reports it.
    """

    hca: End
    switch: End | None
    at_hca: LinkRow | None
    at_far_end: LinkRow | None


def join(discovery: Discovery | None, links: Linkinfo | None, errors: QueryErrors | None) -> Subnet:
    """Rows are iblinkinfo's, which shows ports that are down too, else ibnetdiscover's."""
    rows = links.rows if links and links.rows else discovery.rows if discovery else ()
    kinds = _kinds(rows)
    if discovery:
        for row in discovery.rows:
            kinds |= {end.guid: end.kind for end in (row.near, row.far) if end and end.kind}
    silent = [line for seen in (discovery, links, errors) if seen for line in seen.unanswered]
    return Subnet(
        rows=tuple(_with_kinds(row, kinds) for row in rows),
        errors=errors,
        origin=discovery.origin if discovery else None,
        unanswered=tuple(dict.fromkeys(silent)),
    )


def _kinds(rows: tuple[LinkRow, ...]) -> dict[str | None, str]:
    """Fill in kinds that the text does not state: a switch has one GUID for all its ports, an adapter one for each."""
    ports: dict[str | None, set[int]] = defaultdict(set)
    for row in rows:
        for end in (row.near, row.far):
            if end:
                ports[end.guid].add(end.port)
    return {guid: "SW" if len(numbers) > 1 else "CA" for guid, numbers in ports.items() if guid}


def _with_kinds(row: LinkRow, kinds: dict[str | None, str]) -> LinkRow:
    near = replace(row.near, kind=row.near.kind or kinds.get(row.near.guid, ""))
    far = replace(row.far, kind=row.far.kind or kinds.get(row.far.guid, "")) if row.far else None
    return replace(row, near=near, far=far)


def by_port(fabric: Subnet) -> dict[tuple[str | None, int], LinkRow]:
    """The row of a port, by GUID and number."""
    return {(row.near.guid, row.near.port): row for row in fabric.rows}


def attachments(fabric: Subnet) -> tuple[Attachment, ...]:
    """Every HCA port that either end reports, in the order seen. A port on no switch has ``switch`` None."""
    rows = by_port(fabric)
    hcas: dict[str | None, End] = {}
    for row in fabric.rows:
        for end in (row.near, row.far):
            if end and end.kind == "CA" and end.guid:
                hcas.setdefault(end.guid, end)
    found = {}
    for row in fabric.rows:
        if row.far and row.far.guid in hcas:
            found[row.far.guid] = row
    return tuple(_attachment(hca, rows.get((guid, hca.port)), found.get(guid)) for guid, hca in hcas.items())


def _attachment(hca: End, at_hca: LinkRow | None, at_far_end: LinkRow | None) -> Attachment:
    far = at_far_end.near if at_far_end else at_hca.far if at_hca else None
    return Attachment(hca, far if far and far.kind != "CA" else None, at_hca, at_far_end)


def trunks(fabric: Subnet) -> tuple[tuple[LinkRow, LinkRow | None], ...]:
    """Every cable between two switches once, as both ends report it."""
    rows, seen = by_port(fabric), set()
    pairs = []
    for row in fabric.rows:
        if row.far is None or row.near.kind != "SW" or row.far.kind != "SW":
            continue
        ends = frozenset(((row.near.guid, row.near.port), (row.far.guid, row.far.port)))
        if ends not in seen:
            seen.add(ends)
            pairs.append((row, rows.get((row.far.guid, row.far.port))))
    return tuple(pairs)


def end_behind(fabric: Subnet, line: str) -> End | None:
    """The last known port on the way to a device that did not answer: that device is plugged in there.

    ``line`` is an unanswered line with a directed route; None where it has none or the route starts
    elsewhere.
    """
    rows, guid, last = by_port(fabric), fabric.origin, None
    for hop in path(line)[1:]:
        row = rows.get((guid, hop))
        if row is None:
            return _port_of(fabric, guid, hop) or last
        last, guid = row.near, row.far.guid if row.far else None
    return last


def _port_of(fabric: Subnet, guid: str | None, port: int) -> End | None:
    """A port of a known node that has no row of its own: ibnetdiscover lists no port with a silent peer."""
    near = next((row.near for row in fabric.rows if guid and row.near.guid == guid), None)
    return replace(near, port=port) if near else None


def where(end: End) -> str:
    """``leaf3 port 2`` of a switch, ``node1 mlx5_3/1`` of an adapter."""
    name = end.name or end.guid or "unnamed"
    return f"{name}/{end.port}" if end.kind == "CA" else f"{name} port {end.port}"
