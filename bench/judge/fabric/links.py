"""Fabric and wishes → verdicts: what answers, what is plugged where, and how wide and fast its link is.

Pure: what should be there comes as plain arguments, rates in bytes per second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from bench.model.facts import Node, Port
from bench.model.late_dataclass import dataclass
from bench.model.units import show_count, show_rate
from bench.model.verdict import Status, Verdict
from bench.probe.fabric.link import Link, LinkRow
from bench.probe.fabric.pasted_text import guid as spelled
from bench.probe.fabric.subnet import Attachment, Subnet, attachments, end_behind, trunks, where


@dataclass(frozen=True)
class ExpectedPort:
    """An HCA port that must be there: found by ``guid`` (sysfs), else by its node description ``name``."""

    subject: str
    name: str
    guid: str | None = None


def wanted_of(node: Node, rails: Collection[str]) -> tuple[ExpectedPort, ...]:
    """The ports of a node that must be on the fabric: ``rails`` (``mlx5_3``, ``mlx5_3/1``), by port GUID.

    A rail that the node does not have is wanted by name, so that it is missed. The GUID is the lower half of
    GID 0; without one the node description that rdma-ndd sets (``node7 mlx5_3``) must do.
    """
    ports = {key: port for port in reversed(node.ports) for key in (port.hca, port.name)}
    return tuple(_wanted(node.name, rail, ports.get(rail)) for rail in rails)


def _wanted(name: str, rail: str, port: Port | None) -> ExpectedPort:
    half = spelled(":".join((port.gid or "").split(":")[4:])) if port else None
    description = f"{name} {rail.partition('/')[0]}"
    return ExpectedPort(
        f"{name} {port.name if port else rail}", description, half if half != _NO_GUID else None
    )


_NO_GUID = "0x0000000000000000"


def complete(fabric: Subnet) -> Iterator[Verdict]:
    """Whether everything on the fabric answered; what is silent is named by the port that leads to it."""
    subject, wanted = "fabric", "every node answers"
    if not fabric.rows:
        yield Verdict(
            "fabric.complete",
            subject,
            Status.INCONCLUSIVE,
            "no port was seen at all",
            wanted,
            _ASKED,
            ASK_AGAIN,
        )
        return
    if not fabric.unanswered:
        seen = len({row.near.guid for row in fabric.rows if row.near.kind == "SW"})
        measured = f"{seen} switches and {len(attachments(fabric))} HCA ports answered"
        yield Verdict("fabric.complete", subject, Status.PASS, measured, wanted, _ASKED)
        return
    doors: dict[str, list[str]] = {}
    for line in fabric.unanswered:
        door = end_behind(fabric, line)
        doors.setdefault(where(door) if door else subject, []).append(line)
    for place, lines in doors.items():
        measured = (
            "what is plugged in here does not answer" if place != subject else "something does not answer"
        )
        step = "look at the switch at the other end of this cable: power, firmware, management"
        yield Verdict(
            "fabric.complete",
            place,
            Status.INCONCLUSIVE,
            measured,
            wanted,
            _ASKED,
            step,
            evidence=tuple(lines),
        )


_ASKED = "ibnetdiscover, iblinkinfo, ibqueryerrors"
ASK_AGAIN = "see why the tools gave no answer"


def hca_ports(
    fabric: Subnet, wanted: Sequence[ExpectedPort], width: int, rate: float, source: str
) -> Iterator[Verdict]:
    """The verdict on each wanted HCA port: its switch port, and its link's width and rate at both ends.

    ``width`` in lanes, ``rate`` in bytes/s, ``source`` says who wants that. Nothing wanted is INCONCLUSIVE.
    """
    if not wanted:
        yield Verdict(
            "fabric.port",
            "fabric",
            Status.INCONCLUSIVE,
            "no HCA port to look for was named",
            "at least one",
            source,
        )
    known = attachments(fabric)
    by_guid = {attachment.hca.guid: attachment for attachment in known}
    by_name = {attachment.hca.name: attachment for attachment in known}
    for port in wanted:
        attachment = by_guid.get(port.guid) if port.guid else by_name.get(port.name)
        yield _present(port, attachment, fabric, source)
        if attachment is not None:
            yield _link(port.subject, _both(attachment), width, rate, source)


def _present(port: ExpectedPort, attachment: Attachment | None, fabric: Subnet, source: str) -> Verdict:
    def verdict(status: Status, measured: str, step: str = "") -> Verdict:
        return Verdict("fabric.port", port.subject, status, measured, "an HCA port on a switch", source, step)

    if not fabric.rows:
        return verdict(Status.INCONCLUSIVE, "no port of the fabric was seen", ASK_AGAIN)
    if attachment is None and fabric.unanswered:
        return verdict(
            Status.INCONCLUSIVE, "not seen on the fabric, and a part of the fabric did not answer", ASK_AGAIN
        )
    if attachment is None:
        return verdict(Status.FAIL, "not on the fabric", "check its cable, transceiver and switch port")
    if attachment.switch is None and not _has_switch(fabric):
        return verdict(Status.NOT_APPLICABLE, "this fabric has no switch: the nodes are cabled to each other")
    if attachment.switch is None:
        return verdict(Status.FAIL, "on no switch port", "check its cable, transceiver and switch port")
    return verdict(Status.PASS, f"on {where(attachment.switch)}")


def _has_switch(fabric: Subnet) -> bool:
    return any(end.kind == "SW" for row in fabric.rows for end in (row.near, row.far) if end)


_Ends = tuple[tuple[str, LinkRow | None], ...]


def _both(attachment: Attachment) -> _Ends:
    """The link as the HCA and as the switch report it; None for an end that did not."""
    far = attachment.at_far_end
    return (where(attachment.hca), attachment.at_hca), (where(far.near) if far else "the switch", far)


def _link(
    subject: str, ends: _Ends, width: int, rate: float, source: str, check: str = "fabric.link"
) -> Verdict:
    """One verdict on both ends of a cable: FAIL if one is down, narrow or slow, INCONCLUSIVE if one is not told."""
    known = [row for _, row in ends if row]
    rates = [row.link.rate for row in known if _up(row) and row.link.rate is not None]
    if any(not _up(row) or _below(row.link, width, rate) for row in known):
        status, step = Status.FAIL, "reseat or change the cable, then: iblinkinfo -l"
    elif len(rates) < len(ends):
        status, step = Status.INCONCLUSIVE, ASK_AGAIN
    else:
        status, step = Status.PASS, ""
    return Verdict(
        check=check,
        subject=subject,
        status=status,
        measured=", ".join(f"{_shown(row)} at {name}" for name, row in ends),
        wanted=f"{width}X at {show_rate(rate, 'Gb/s')}",
        source=source,
        next_step=step,
        value=min(rates, default=None),
        bound=rate,
    )


def _up(row: LinkRow) -> bool:
    """A port that is not up has no width and speed that mean anything (IBTA C14-24.2.1)."""
    return row.state in ("", "Active")


def _shown(row: LinkRow | None) -> str:
    if row is None:
        return "nothing reported"
    return row.link.text if _up(row) else f"{row.state}, {row.physical}"


def _below(link: Link, width: int, rate: float) -> bool:
    narrow = link.width is not None and link.width < width
    return narrow or (link.rate is not None and not link.rate >= rate)


def trunk_links(fabric: Subnet, width: int, rate: float, source: str) -> Iterator[Verdict]:
    """Width and rate of every cable between switches: a row for each bad one, one for all the good."""
    judged = []
    for row, back in trunks(fabric):
        assert row.far is not None
        ends = ((where(row.near), row), (where(row.far), back))
        judged.append(
            _link(f"{where(row.near)} – {where(row.far)}", ends, width, rate, source, "fabric.trunk")
        )
    yield from (verdict for verdict in judged if verdict.status is not Status.PASS)
    good = sum(verdict.status is Status.PASS for verdict in judged)
    if good:
        measured = f"as wanted: {good} of {show_count(len(judged), 'link')} between switches"
        yield Verdict(
            "fabric.trunk", "fabric", Status.PASS, measured, f"{width}X at {show_rate(rate, 'Gb/s')}", source
        )
    elif not judged:
        status = Status.NOT_APPLICABLE if fabric.rows else Status.INCONCLUSIVE
        yield Verdict("fabric.trunk", "fabric", status, "no link between two switches was seen")


def uplinks(fabric: Subnet) -> Iterator[Verdict]:
    """Leaf switches with fewer links to other switches than most have: a dead trunk, seen without a plan."""
    leaves = {
        attachment.switch.guid: attachment.switch for attachment in attachments(fabric) if attachment.switch
    }
    count = Counter(end.guid for row, _ in trunks(fabric) for end in (row.near, row.far) if end)
    having = {guid: count[guid] for guid in leaves if count[guid]}
    if len(having) < 3:
        yield Verdict(
            "fabric.uplinks",
            "fabric",
            Status.NOT_APPLICABLE,
            f"too few leaf switches have uplinks to compare them: {len(having)}",
        )
        return
    usual, times = Counter(having.values()).most_common(1)[0]
    wanted = f"{usual}, as {times} of {len(having)} leaf switches have"
    fewer = {guid: n for guid, n in having.items() if n < usual}
    for guid, n in fewer.items():
        step = "find the link that is down: iblinkinfo -l"
        yield Verdict(
            "fabric.uplinks",
            leaves[guid].name,
            Status.FAIL,
            f"{n} links to other switches",
            wanted,
            "its peers",
            step,
        )
    if not fewer:
        yield Verdict(
            "fabric.uplinks",
            "fabric",
            Status.PASS,
            f"no leaf switch has fewer than {usual} uplinks",
            wanted,
            "its peers",
        )
