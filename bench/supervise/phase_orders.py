"""What begins a phase: one description for all ranks, to which each adds its own number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from bench.measure.loop import TimingRules
from bench.measure.work_order import WorkOrder
from bench.model.case_templates import packed
from bench.model.groups import spans_of
from bench.model.measurement import Case, Rank
from bench.model.typed_json import Misfit, to_json
from bench.store import Phase


def start_messages(
    template: WorkOrder,
    phase: Phase,
    cases: Sequence[Case],
    ranks: Sequence[Rank],
    environments: Mapping[str, Mapping[str, str]],
) -> Iterator[tuple[int, dict[str, Any]]]:
    """For each rank its message. ``environments``: by node, what its workers get."""
    common = replace(
        template,
        phase=phase.name,
        name=f"{phase.name}-{cases[0].id}",
        rules=TimingRules(**{**asdict(template.rules), **phase.rules}),
        cases=packed(cases),
        size=len(ranks),
        present=spans_of([rank.rank for rank in ranks]),
    )
    order = to_json(common)
    for at, rank in enumerate(ranks):
        own = {**order, "rank": at, "local_rank": rank.local_rank}
        yield rank.rank, {"do": "start", "order": own, "environment": environments[rank.node]}


def check_derived(wanted: str, found: str) -> None:
    """Raise Misfit where a rank made other cases of the description than rank 0, by their digests."""
    if wanted != found:
        raise Misfit("it would measure other cases than rank 0: install the same RailGauge on all nodes")
