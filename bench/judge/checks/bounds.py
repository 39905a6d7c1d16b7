"""Do the measured rows reach the profile's bounds?"""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.model.profile import Limit
from bench.model.units import show_both, show_seconds, show_size
from bench.store import IMPORTED


@check("limits.busbw", on_fail="see the rails and pairs for the node, rail or port that holds it back")
def busbw(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """Bus bandwidth of every row that a bound speaks of; averages over sizes gate nothing."""
    for limit in evidence.limits("busbw"):
        rows = evidence.rows_of(limit)
        if not rows:
            yield missing(limit, evidence)
        for row in rows:
            yield Finding(
                row.case.id,
                limit.bound.reached(row.busbw),
                f"busbw {show_both(row.busbw)}",
                row.busbw,
                wanted=f"at least {limit.bound.text}",
                source=limit.bound.source,
                bound=limit.bound.value,
            )


@check("limits.latency", on_fail="look for another load on the nodes, then for retransmissions")
def latency(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """The isolated median of every row that a bound speaks of."""
    for limit in evidence.limits("p50"):
        rows = evidence.rows_of(limit)
        if not rows:
            yield missing(limit, evidence)
        for row in rows:
            yield Finding(
                row.case.id,
                row.isolated.p50 <= limit.bound.value,
                f"median {show_seconds(row.isolated.p50)}",
                row.isolated.p50,
                wanted=f"at most {limit.bound.text}",
                source=limit.bound.source,
                bound=limit.bound.value,
            )


def missing(limit: Limit, evidence: Evidence) -> Finding | NotApplicable:
    """A bound without a row; nobody can ask an import for more than it holds."""
    low, high = (show_size(size) for size in limit.size)
    subject = f"{limit.collective} {limit.algorithm}".strip()
    if evidence.manifest.launcher == IMPORTED:
        return NotApplicable(f"the import holds no such row from {low} to {high}", subject)
    return Finding(
        subject,
        None,
        f"no row from {low} to {high} was measured",
        wanted=f"{limit.quantity} {limit.bound.text}",
        source=limit.bound.source,
        step="measure that size: see [sweep] of the profile",
    )
