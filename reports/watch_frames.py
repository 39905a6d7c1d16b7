"""A watched job as frames: what its rails carried over time, how fast they are while data waits, its collectives."""

from __future__ import annotations

import math
from statistics import median

import pandas as pd

from bench.judge.evidence import Evidence
from bench.judge.problems import Place, places_in
from bench.judge.watched import BUSY, loads, rail_loads, slow_paths
from bench.judge.watched import inspected_calls as inspected
from bench.model.rails import DeviceUse, rails_of, used_as
from bench.model.units import GIGA, show_count, show_share, show_size
from bench.model.verdict import Status

from .soak_frames import SOAK_COLUMNS

WATCH_COLUMNS = ("device", "use", "seconds", "gbs", "least", "most")
WAITING_COLUMNS = ("rail", "gbs", "floor", "note")
MOST_RAILS = 24  # bars of rails, those that are slowest while data waits


def watch_frame(evidence: Evidence) -> pd.DataFrame:
    """WATCH_COLUMNS: GB/s that a device sent or received, whichever is more, at each time: on the node in the middle,
    on the one that carried least and on the one that carried most. The rails and what is excluded, and by itself each
    rail that is slow; without rails every device.
    """
    uses = _uses(evidence) or {
        each.name: "interface" for each in loads(evidence) if each.found.sent or each.found.received
    }
    slow = {place for places in slow_places(evidence) for place in places}
    rates: dict[tuple[str, float], list[float]] = {}
    for line in evidence.run.activity:
        for name, found in line.activity.devices.items():
            if name in uses and found.sent is not None and found.received is not None:
                rate = max(found.sent, found.received) / (line.activity.span or math.nan) / GIGA
                seconds = float(round(line.seconds))
                if (line.node, name) in slow:
                    rates.setdefault((f"{line.node} {name}", seconds), []).append(rate)
                rates.setdefault((name, seconds), []).append(rate)
    rows = [
        (name, uses.get(name, "slow"), seconds, median(each), min(each), max(each))
        for (name, seconds), each in sorted(rates.items())
    ]
    frame: pd.DataFrame = pd.DataFrame(rows, columns=list(WATCH_COLUMNS))
    return frame


def _uses(evidence: Evidence) -> dict[str, str]:
    """Name of each rail and of each device that the profile leaves out → what it is."""
    found = {role.name: "rail" for node in evidence.nodes for role in rails_of(node, evidence.rails)}
    left = [
        role.name for node in evidence.nodes for role in used_as(node, evidence.rails, DeviceUse.EXCLUDED)
    ]
    return dict.fromkeys(left, "excluded") | found if found else {}


def slow_places(evidence: Evidence) -> list[frozenset[Place]]:
    """The rails that each FAIL of the check ``watch.waiting`` names: one, or the two ends of a path."""
    places = places_in(evidence.run)
    verdicts = (each for each in evidence.run.verdicts if each.check == "watch.waiting")
    return [places(each.subject) for each in verdicts if each.status is Status.FAIL]


def waiting_frame(evidence: Evidence) -> pd.DataFrame:
    """WAITING_COLUMNS: GB/s that each rail sent while data waited for it, where it waited often enough to say so; the
    rails that are slow have the rate of the others as their floor, and say to which rail the data went.
    """
    slow = {(path.load.node, path.load.name): path for path in slow_paths(evidence)}
    rows = []
    for each in sorted(rail_loads(evidence), key=lambda load: load.rate_waiting):
        if each.found.waiting >= BUSY:
            path = slow.get((each.node, each.name))
            floor = path.usual / GIGA if path else float("nan")
            note = f"data waits {show_share(each.found.waiting)} of the time"
            to = f" to {' '.join(path.to)}" if path and path.to else ""
            rows.append((f"{each.node} {each.name}{to}", each.rate_waiting / GIGA, floor, note))
    frame: pd.DataFrame = pd.DataFrame(rows[:MOST_RAILS], columns=list(WAITING_COLUMNS))
    return frame


def inspected_frame(evidence: Evidence) -> pd.DataFrame:
    """SOAK_COLUMNS of what NCCL's Inspector timed; ``slowest`` is the slowest call of a span."""
    rows = [
        (
            f"{each.name} {show_size(each.size)}, {show_count(each.ranks, 'rank')}",
            seconds,
            each.busbw / GIGA,
            each.least / GIGA,
            0,
            each.calls,
            float("nan"),
        )
        for seconds, each in inspected(evidence)
    ]
    frame: pd.DataFrame = pd.DataFrame(rows, columns=list(SOAK_COLUMNS))
    return frame
