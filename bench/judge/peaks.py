"""The figure of each collective that stands for a run: at its best size the slowest group, named by what it crossed.

The best of all rows would be NVLink's, where a run measured nodes by themselves as well.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache, partial

from bench.model.collectives import COLLECTIVES, COPIES
from bench.model.groups import Group
from bench.model.late_dataclass import dataclass
from bench.model.measurement import Case, Rank
from bench.store.rows import Row

from .evidence import Evidence, derived


@dataclass(frozen=True)
class PeakRow:
    """The series at its best size: the row of the slowest of its ``groups`` groups there."""

    series: str
    row: Row
    groups: int


def peak_rows(evidence: Evidence) -> tuple[PeakRow, ...]:
    """One for each series with a figure, by collective. The evidence phase is slowed by NCCL's log and left out."""
    nodes, several = nodes_of_groups(evidence), evidence.node_count > 1
    of_case = cache(lambda case, *node: series_of(case, node, several))  # a case has one hash, its id's
    found: dict[str, list[Row]] = defaultdict(list)
    for row in evidence.rows:
        if row.case.phase != "evidence" and math.isfinite(row.busbw):
            found[of_case(row.case, *nodes(row.measurement.ranks)[:2])].append(row)
    order = {name: at for at, name in enumerate((*COLLECTIVES, *COPIES))}
    told = [_peak_row(series, group) for series, group in found.items()]
    return tuple(sorted(told, key=lambda top: (order[top.row.case.collective], top.series)))


def _peak_row(series: str, group: list[Row]) -> PeakRow:
    quoted = [row for row in group if row.case.placement == "out"] or group
    sizes: dict[int, list[Row]] = defaultdict(list)
    for row in quoted:
        sizes[row.case.size].append(row)
    slowest = [(min(same, key=lambda row: row.busbw), len(same)) for same in sizes.values()]
    row, groups = max(slowest, key=lambda one: (one[0].busbw, one[0].case.size))
    return PeakRow(series, row, groups)


def nodes_of(ranks: Iterable[int], where: dict[int, Rank]) -> tuple[str, ...]:
    """The nodes of a group, in order; a rank that the manifest does not know is a node of its own name."""
    return tuple(dict.fromkeys([where[r].node if r in where else f"rank {r}" for r in ranks]))


@derived
def nodes_of_groups(evidence: Evidence) -> Callable[[Group], tuple[str, ...]]:
    """``nodes_of`` the groups of a run; each is asked for in many rows, and some have all ranks."""
    return cache(partial(nodes_of, where={rank.rank: rank for rank in evidence.ranks}))


def scope_of(nodes: tuple[str, ...], several: bool) -> str:
    """``inside a node`` of a group on one of several nodes, else empty."""
    return "inside a node" if several and len(nodes) == 1 else ""


def series_of(case: Case, nodes: tuple[str, ...], several: bool) -> str:
    """``all_reduce``, ``all_reduce (ring)``, ``all_reduce (inside a node)``: what one line of a chart is."""
    marks = [
        case.algorithm if case.algorithm not in ("", "auto") else "",
        scope_of(nodes, several),
        case.op if case.op not in ("", "none", "sum") else "",
    ]
    known = ", ".join(mark for mark in marks if mark)
    return f"{case.collective} ({known})" if known else case.collective
