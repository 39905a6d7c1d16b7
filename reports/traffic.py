"""Bytes that each port sent in each phase: evidence for the rails in use and the adapters left out."""

from __future__ import annotations

from bench.judge.counter_windows import CounterWindow
from bench.judge.evidence import Evidence, derived
from bench.model.counters import Traffic, bytes_moved
from bench.model.late_dataclass import dataclass
from bench.model.profile import Profile


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


@derived
def carried(evidence: Evidence) -> tuple[PortTraffic, ...]:
    """One row a phase and port that has byte counters, in the order of the counters."""
    sent: dict[tuple[str, str], list[int | None]] = {}
    for window, port, traffic in by_window(evidence):
        sent.setdefault((window.phase, port), []).append(traffic.sent)
    return tuple(_carried(phase, port, values, evidence.profile) for (phase, port), values in sent.items())


@derived
def by_window(evidence: Evidence) -> tuple[tuple[CounterWindow, str, Traffic], ...]:
    """Each port that has a byte counter, and the bytes over it."""
    return tuple(
        (window, port, traffic)
        for window in evidence.windows
        for port in window.moved.subjects
        if (traffic := bytes_moved(window.moved, port)).sent is not None
        or "no byte counter" not in traffic.how
    )


def is_excluded(port: str, profile: Profile) -> bool:
    return port.split("/")[0] in (*profile.rails.excluded, profile.rails.management)


def _carried(phase: str, port: str, values: list[int | None], profile: Profile) -> PortTraffic:
    known = [value for value in values if value is not None]
    return PortTraffic(
        phase, port, min(known, default=None), max(known, default=None), len(known), len(values),
        is_excluded(port, profile),
    )  # fmt: skip
