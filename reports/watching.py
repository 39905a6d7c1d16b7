"""A watched job as frames: what its rails carried over time, how fast they are while data waits, its collectives."""

from __future__ import annotations

from statistics import median

import pandas as pd

from bench.judge.evidence import Evidence
from bench.judge.watched import BUSY, loads, rail_loads, slow_paths, traffic
from bench.judge.watched import inspected_calls as inspected
from bench.model.rails import DeviceUse, rails_of, used_as
from bench.model.units import GIGA, show_count, show_share, show_size

from .soaking import SOAK_COLUMNS

WATCH_COLUMNS = ("device", "use", "seconds", "gbs", "least", "most")
WAITING_COLUMNS = ("rail", "gbs", "floor", "note")
MOST_RAILS = 24  # bars of rails, those that are slowest while data waits


def watch_frame(evidence: Evidence) -> pd.DataFrame:
    """WATCH_COLUMNS: GB/s, sent and received together, of a device at each time: on the node in the middle, on the one
    that carried least and on the one that carried most. The rails and what is excluded; without rails every device.
    """
    uses = {role.name: "rail" for node in evidence.nodes for role in rails_of(node, evidence.rails)}
    uses |= {
        role.name: "excluded"
        for node in evidence.nodes
        for role in used_as(node, evidence.rails, DeviceUse.EXCLUDED)
    }
    if not uses:
        uses = {each.name: "interface" for each in loads(evidence) if each.found.sent or each.found.received}
    rates: dict[tuple[str, float], list[float]] = {}
    for line in evidence.run.activity:
        for name, found in line.activity.devices.items():
            if name in uses and found.sent is not None and found.received is not None:
                rate = traffic(found, line.activity.span) / GIGA
                rates.setdefault((name, float(round(line.seconds))), []).append(rate)
    rows = [
        (name, uses[name], seconds, median(each), min(each), max(each))
        for (name, seconds), each in sorted(rates.items())
    ]
    frame: pd.DataFrame = pd.DataFrame(rows, columns=list(WATCH_COLUMNS))
    return frame


def waiting_frame(evidence: Evidence) -> pd.DataFrame:
    """WAITING_COLUMNS: GB/s that each rail sent while data waited for it, where it waited often enough to say so; the
    rails that are slow have the rate of the others as their floor.
    """
    slow = {(path.load.node, path.load.name): path for path in slow_paths(evidence)}
    rows = []
    for each in sorted(rail_loads(evidence), key=lambda load: load.rate_waiting):
        if each.found.waiting >= BUSY:
            path = slow.get((each.node, each.name))
            floor = path.usual / GIGA if path else float("nan")
            note = f"data waits {show_share(each.found.waiting)} of the time"
            rows.append((f"{each.node} {each.name}", each.rate_waiting / GIGA, floor, note))
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
