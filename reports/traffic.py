"""Bytes that each port sent in each phase: evidence for the rails in use and the adapters left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.model.counters import Delta, Role, bytes_moved, grown_between, read
from bench.model.profile import Profile
from bench.store import Run


@dataclass(frozen=True)
class PortTraffic:
    """Bytes that left a port in a phase: on the node that sent least and on the one that sent most.

    known     nodes with a reading; ``of``: nodes that have the port
    excluded  whether the profile excludes the port
    """

    phase: str
    port: str
    least: int | None
    most: int | None
    known: int
    of: int
    excluded: bool


@dataclass(frozen=True)
class ErrorGrowth:
    """An error counter that increased."""

    phase: str
    node: str
    port: str
    counter: str
    growth: int


def deltas(run: Run) -> tuple[tuple[str, str, Delta], ...]:
    """(phase, node, increases) for every phase with both snapshots; unreadable counters are left out."""
    found: dict[tuple[str, str], list[Any]] = {}
    for row in run.counters:
        found[(str(row.get("phase")), str(row.get("when")))] = row.get("snapshots") or []
    moved = []
    for phase, when in found:
        if when == "before" and (phase, "after") in found:
            both = zip(run.manifest.nodes, found[(phase, "before")], found[(phase, "after")], strict=False)
            moved += [
                (phase, node, each) for node, old, new in both if (each := _delta(old, new)) is not None
            ]
    return tuple(moved)


def _delta(before: Mapping[str, Any], after: Mapping[str, Any]) -> Delta | None:
    try:
        return grown_between(read(before), read(after))
    except ValueError:
        return None


def carried(moved: Sequence[tuple[str, str, Delta]], profile: Profile) -> tuple[PortTraffic, ...]:
    """One row a phase and port that has byte counters, in the order of the counters."""
    sent: dict[tuple[str, str], list[int | None]] = {}
    for phase, _, each in moved:
        for port in dict.fromkeys(row.subject for row in each.rows if row.role is Role.TRAFFIC):
            traffic = bytes_moved(each, port)
            if traffic.sent is not None or "no byte counter" not in traffic.how:
                sent.setdefault((phase, port), []).append(traffic.sent)
    return tuple(_carried(phase, port, values, profile) for (phase, port), values in sent.items())


def _carried(phase: str, port: str, values: list[int | None], profile: Profile) -> PortTraffic:
    known = [value for value in values if value is not None]
    excluded = port.split("/")[0] in (*profile.rails.excluded, profile.rails.management)
    return PortTraffic(
        phase, port, min(known, default=None), max(known, default=None), len(known), len(values), excluded
    )


def errors(moved: Sequence[tuple[str, str, Delta]]) -> tuple[ErrorGrowth, ...]:
    """Every error counter that increased."""
    return tuple(
        ErrorGrowth(phase, node, row.subject, row.counter, row.growth or 0)
        for phase, node, each in moved
        for row in each.grown(Role.ERROR)
    )
