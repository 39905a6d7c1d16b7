"""A soak as frames: bandwidth, memory and events over the seconds since its start."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.judge.checks.gpus import FAULTS
from bench.judge.checks.soak import PHASE, bandwidth
from bench.judge.evidence import Evidence
from bench.judge.watched import events
from bench.model.units import GIGA, show_count, show_size
from bench.store import Run

SOAK_COLUMNS = ("series", "seconds", "busbw", "slowest", "wrong", "calls", "floor")
MEMORY_COLUMNS = ("process", "seconds", "mib")
EVENT_COLUMNS = ("seconds", "text")
MOST_EVENTS = 8  # rules in one chart; all of them stand in health.jsonl
_MIB = 1 << 20


def soak_frame(evidence: Evidence) -> pd.DataFrame:
    """SOAK_COLUMNS: one a window and group. GB/s; ``slowest`` is that of the window's slowest block."""
    run, limits = evidence.run, evidence.limits("busbw")
    cases = {case.id: case for case in run.plan.cases}
    rows: list[tuple[Any, ...]] = []
    for each in run.windows:
        case = cases.get(each.case)
        if case is None or case.phase != PHASE:
            continue
        where = f" from rank {each.ranks[0]}" if len(case.groups) > 1 else ""
        name = f"{case.collective} {show_size(case.size)}, {show_count(len(each.ranks), 'rank')}{where}"
        rate = bandwidth(case, each)
        slow = rate * max(each.seconds) / each.slowest if each.slowest > 0 else float("nan")
        wrong = sum(count or 0 for count in each.wrong)
        whole = len(each.ranks) == len(evidence.ranks)
        floor = max((lim.bound.value for lim in limits if whole and lim.covers(case)), default=float("nan"))
        rows.append((name, each.ended, rate / GIGA, slow / GIGA, wrong, each.calls, floor / GIGA))
    frame: pd.DataFrame = pd.DataFrame(rows, columns=list(SOAK_COLUMNS))
    return frame


def memory_frame(run: Run) -> pd.DataFrame:
    """MEMORY_COLUMNS: the largest worker and the largest supervisor of all ranks at each second."""
    most: dict[tuple[str, int], float] = {}
    for line in run.health:
        if line.phase != PHASE:
            continue
        for at, *sizes in line.memory:
            for process, size in zip(("worker", "supervisor"), sizes, strict=False):
                key = (process, round(at))
                most[key] = max(most.get(key, 0.0), size / _MIB)
    rows = [(process, at, mib) for (process, at), mib in sorted(most.items()) if mib > 0]
    frame: pd.DataFrame = pd.DataFrame(rows, columns=list(MEMORY_COLUMNS))
    return frame


def events_frame(evidence: Evidence) -> pd.DataFrame:
    """EVENT_COLUMNS: error counters that increased, GPUs throttled by a fault and links that went down, the earliest
    first.
    """
    run = evidence.run
    nodes = {rank.rank: rank.node for rank in run.manifest.ranks}
    rows = [(each.seconds, f"{each.node} {each.device}: {each.text}") for each in events(evidence)]
    for line in run.health:
        if line.phase != PHASE:
            continue
        name = nodes.get(line.rank, "?")
        rows += [(at, f"{name}: {counter} +{growth}") for at, counter, growth in line.errors or []]
        for spell in line.cases:
            for at, reasons in spell.changes:
                held = [reason for reason in reasons if reason in FAULTS]
                if held:
                    rows.append((at, f"{name} GPU {line.gpu.index if line.gpu else '?'}: {', '.join(held)}"))
    frame: pd.DataFrame = pd.DataFrame(sorted(rows)[:MOST_EVENTS], columns=list(EVENT_COLUMNS))
    return frame
