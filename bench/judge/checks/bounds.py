"""Do the measured rows reach the profile's bounds?"""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.registry import check
from bench.model.profile import Limit, Profile
from bench.model.units import show_both, show_seconds, show_size
from bench.model.verdict import Status, Verdict
from bench.store import IMPORTED
from bench.store.rows import Row


@check("limits.busbw")
def busbw(seen: Evidence, want: Profile) -> Iterator[Verdict]:
    """Bus bandwidth of every row that a bound speaks of; averages over sizes gate nothing."""
    for limit in _of(want, "busbw", seen):
        rows = matching(seen, limit)
        if not rows:
            yield missing("limits.busbw", limit, seen)
        for row in rows:
            ok = limit.bound.reached(row.busbw)
            yield Verdict(
                "limits.busbw",
                row.case.id,
                Status.PASS if ok else Status.FAIL,
                f"busbw {show_both(row.busbw)}",
                f"at least {limit.bound.text}",
                limit.bound.source,
                "" if ok else "see the rails and pairs for the node, rail or port that holds it back",
                value=row.busbw,
                bound=limit.bound.value,
            )


@check("limits.latency")
def latency(seen: Evidence, want: Profile) -> Iterator[Verdict]:
    """The isolated median of every row that a bound speaks of."""
    for limit in _of(want, "p50", seen):
        rows = matching(seen, limit)
        if not rows:
            yield missing("limits.latency", limit, seen)
        for row in rows:
            ok = row.isolated.p50 <= limit.bound.value
            yield Verdict(
                "limits.latency",
                row.case.id,
                Status.PASS if ok else Status.FAIL,
                f"median {show_seconds(row.isolated.p50)}",
                f"at most {limit.bound.text}",
                limit.bound.source,
                "" if ok else "look for another load on the nodes, then for retransmissions",
                value=row.isolated.p50,
                bound=limit.bound.value,
            )


def _of(want: Profile, quantity: str, seen: Evidence) -> list[Limit]:
    count = seen.node_count
    return [
        limit
        for limit in want.limits
        if limit.quantity == quantity and limit.nodes[0] <= count <= limit.nodes[1]
    ]


def matching(seen: Evidence, limit: Limit) -> list[Row]:
    """Rows over the whole job that the bound speaks of: its collective, sizes and algorithm."""
    everyone = len(seen.run.manifest.ranks)
    return [
        row
        for row in seen.rows
        if row.case.collective == limit.collective
        and limit.size[0] <= row.case.size <= limit.size[1]
        and row.ranks == everyone
        and row.case.algorithm == (limit.algorithm or "auto")
        and row.case.phase != "evidence"
    ]


def missing(name: str, limit: Limit, seen: Evidence) -> Verdict:
    """A bound without any row to hold against it: could not tell; an import holds what it holds."""
    low, high = (show_size(size) for size in limit.size)
    return Verdict(
        name,
        limit.collective,
        Status.SKIP if seen.run.manifest.launcher == IMPORTED else Status.ERROR,
        f"no row from {low} to {high} was measured",
        f"{limit.quantity} {limit.bound.text}",
        limit.bound.source,
        "measure that size: see [sweep] of the profile",
    )
