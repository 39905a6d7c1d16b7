"""Error counters, and one reading of the fabric against an earlier one: what grew, what is gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.judge.fabric.links import ASK_AGAIN
from bench.model.verdict import Status, Verdict
from bench.probe.fabric.link import End
from bench.probe.fabric.queryerrors import PortErrors, QueryErrors
from bench.probe.fabric.subnet import Subnet, by_port, where

CONGESTION = "PortXmitWait"  # ticks with data to send and no credit: congestion, no fault of the link

# Totals since the counters were last cleared; the values that infiniband-diags ships in error_thresholds
LIMITS: Mapping[str, int] = {
    "SymbolErrorCounter": 10,
    "LinkErrorRecoveryCounter": 10,
    "LinkDownedCounter": 10,
    "PortRcvErrors": 10,
    "PortRcvRemotePhysicalErrors": 100,
    "PortRcvSwitchRelayErrors": 100,
    "PortXmitDiscards": 100,
    "PortXmitConstraintErrors": 100,
    "PortRcvConstraintErrors": 100,
    "LocalLinkIntegrityErrors": 10,
    "ExcessiveBufferOverrunErrors": 10,
    "VL15Dropped": 100,
}
_LIMITS_SOURCE = "infiniband-diags error_thresholds"
BEFORE = "the reading before"


def errors(
    fabric: Subnet,
    before: QueryErrors | None = None,
    limits: Mapping[str, int] = LIMITS,
    source: str = _LIMITS_SOURCE,
) -> Iterator[Verdict]:
    """Error counters at HCA and switch ports: over ``limits``, or growth since ``before``.

    ``before`` is of the same fabric, the counters not cleared in between. PortXmitWait is never judged.
    """
    now = fabric.errors
    if now is None or now.summary is None or not now.summary.ports:
        yield Verdict(
            "fabric.errors",
            "fabric",
            Status.INCONCLUSIVE,
            "the error counters could not be read",
            "an answer",
            "ibqueryerrors",
            ASK_AGAIN,
        )
        return
    if now.summary.failures or now.unanswered or now.unparsed:
        said = (
            f"{now.summary.failures} ports could not be read, {len(now.unparsed)} lines were not understood"
        )
        evidence = (*now.unanswered, *now.unparsed)[:8]
        yield Verdict(
            "fabric.errors",
            "fabric",
            Status.INCONCLUSIVE,
            said,
            "every port",
            "ibqueryerrors",
            ASK_AGAIN,
            evidence=evidence,
        )
    earlier = {(port.guid, port.port): dict(port.counters) for port in before.ports} if before else {}
    bad = [
        _over(fabric, port, earlier.get((port.guid, port.port), {}), None if before else limits, source)
        for port in now.ports
    ]
    yield from (verdict for verdict in bad if verdict)
    if not any(bad) and not now.summary.failures and not now.unanswered and not now.unparsed:
        how, against = ("grew", BEFORE) if before else ("is over its limit", source)
        measured = f"no error counter {how} on {now.summary.ports} ports"
        yield Verdict("fabric.errors", "fabric", Status.PASS, measured, "none", against)


def _over(
    fabric: Subnet, port: PortErrors, was: Mapping[str, int], limits: Mapping[str, int] | None, source: str
) -> Verdict | None:
    """FAIL for one port, None where it is fine; with ``limits`` None growth is judged, a fall is INCONCLUSIVE."""
    if port.port is None:
        return None
    counted = [(name, value, was.get(name, 0)) for name, value in port.counters if name != CONGESTION]
    if limits is None:
        over = [f"{name} grew by {value - old} to {value}" for name, value, old in counted if value > old]
        fell = [f"{name} fell from {old} to {value}" for name, value, old in counted if value < old]
    else:
        over = [
            f"{name} {value} over {limits.get(name, 0)}"
            for name, value, _ in counted
            if value > limits.get(name, 0)
        ]
        fell = []
    if not over and not fell:
        return None
    return Verdict(
        check="fabric.errors",
        subject=_named(fabric, port, port.port),
        status=Status.FAIL if over else Status.INCONCLUSIVE,
        measured=", ".join(over or fell),
        wanted="no growth" if limits is None else "none over its limit",
        source=BEFORE if limits is None else source,
        next_step="change the cable and clear the counters, then run again"
        if over
        else "read again: the counters were cleared",
        evidence=tuple(f"{name} {value}" for name, value in port.counters),
    )


def _named(fabric: Subnet, port: PortErrors, number: int) -> str:
    """``leaf3 port 2 (to node1 mlx5_3/1)``."""
    row = by_port(fabric).get((port.guid, number))
    if row is None:
        return f"{port.name} port {number}"
    return where(row.near) + (f" (to {where(row.far)})" if row.far else "")


def changes(before: Subnet, now: Subnet) -> Iterator[Verdict]:
    """What was there and is not any more: switches, HCA ports, and cables whose two ends are still there."""
    if not before.rows or not now.rows:
        yield Verdict(
            "fabric.unchanged",
            "fabric",
            Status.INCONCLUSIVE,
            "one of the two readings saw no port",
            "two readings",
        )
        return
    here, source = {end.guid for end in _ends(now)}, BEFORE
    gone = {end.guid: end for end in _ends(before) if end.guid not in here}
    for end in gone.values():
        subject = end.name if end.kind == "SW" else where(end)
        what = "switch" if end.kind == "SW" else "HCA port"
        yield Verdict(
            "fabric.unchanged",
            subject,
            Status.FAIL,
            f"the {what} is gone",
            "present",
            source,
            "check its power and cables",
        )
    cables = _cables(before)
    cut = [cables[ends] for ends in sorted(cables.keys() - _cables(now).keys())]
    cut = [ends for ends in cut if not {ends[0].guid, ends[1].guid} & set(gone)]
    for near, far in cut:
        subject = f"{where(near)} – {where(far)}"
        yield Verdict(
            "fabric.unchanged",
            subject,
            Status.FAIL,
            "the link is gone",
            "connected",
            source,
            "check this cable",
        )
    if not gone and not cut:
        yield Verdict(
            "fabric.unchanged",
            "fabric",
            Status.PASS,
            "nothing is gone",
            "every node and cable of before",
            source,
        )


def _ends(fabric: Subnet) -> Iterator[End]:
    """Every node, once for each port that is connected."""
    for row in fabric.rows:
        if row.far:
            yield row.near
            yield row.far


def _cables(fabric: Subnet) -> dict[tuple[tuple[str, int], tuple[str, int]], tuple[End, End]]:
    """Every cable once, whichever of its ends reports it."""
    found = {}
    for row in fabric.rows:
        if row.far:
            first, second = sorted((row.near, row.far), key=_place)
            found[_place(first), _place(second)] = first, second
    return found


def _place(end: End) -> tuple[str, int]:
    return end.guid or "", end.port
