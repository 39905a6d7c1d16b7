"""Do the measured rows reach the profile's bounds?"""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.registry import check
from bench.model.profile import Limit
from bench.model.units import show_both, show_seconds, show_size
from bench.model.verdict import Status, Verdict
from bench.store import IMPORTED
from bench.store.rows import Row


@check("limits.busbw")
def busbw(evidence: Evidence) -> Iterator[Verdict]:
    """Bus bandwidth of every row that a bound speaks of; averages over sizes gate nothing."""
    for limit in _of(evidence, "busbw"):
        rows = matching(evidence, limit)
        if not rows:
            yield missing("limits.busbw", limit, evidence)
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
def latency(evidence: Evidence) -> Iterator[Verdict]:
    """The isolated median of every row that a bound speaks of."""
    for limit in _of(evidence, "p50"):
        rows = matching(evidence, limit)
        if not rows:
            yield missing("limits.latency", limit, evidence)
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


def _of(evidence: Evidence, quantity: str) -> list[Limit]:
    count = evidence.node_count
    return [
        limit
        for limit in evidence.profile.limits
        if limit.quantity == quantity and limit.nodes[0] <= count <= limit.nodes[1]
    ]


def matching(evidence: Evidence, limit: Limit) -> list[Row]:
    """Rows over the whole job that the bound speaks of: its collective, sizes and algorithm."""
    everyone = len(evidence.ranks)
    return [
        row
        for row in evidence.rows
        if row.case.collective == limit.collective
        and limit.size[0] <= row.case.size <= limit.size[1]
        and row.ranks == everyone
        and row.case.algorithm == (limit.algorithm or "auto")
        and row.case.phase != "evidence"
    ]


def missing(name: str, limit: Limit, evidence: Evidence) -> Verdict:
    """A bound without any row to hold against it: INCONCLUSIVE; an import holds what it holds."""
    low, high = (show_size(size) for size in limit.size)
    return Verdict(
        name,
        limit.collective,
        Status.SKIP if evidence.manifest.launcher == IMPORTED else Status.INCONCLUSIVE,
        f"no row from {low} to {high} was measured",
        f"{limit.quantity} {limit.bound.text}",
        limit.bound.source,
        "measure that size: see [sweep] of the profile",
    )
