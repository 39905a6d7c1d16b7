"""The links between the GPUs of one node, pair by pair."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from statistics import median

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.model.units import show_both, show_share
from bench.plan.phase_names import LINKS
from bench.store.rows import Row

LEAST = 0.85  # of the median pair: NVLink pairs of healthy nodes differ by a few per cent


def _not_planned(evidence: Evidence) -> str:
    planned = any(case.phase == LINKS for case in evidence.run.plan.cases)
    return "" if planned else "no pairs of GPUs of one node were planned: see the phases left out"


@check(
    "nvlink.pairs",
    wanted=f"at least {show_share(LEAST)} of the median pair",
    source="the node's other pairs",
    on_fail="see nvidia-smi nvlink -s -e, nvidia-smi topo -m and the fabric manager's log",
    on_inconclusive="run again; see coverage.losses",
    unit="pairs",
    bound=LEAST,
    unless=(_not_planned,),
)
def pairs(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """Every pair of GPUs of a node is about as fast as most; a GPU that is slow with all others is named."""
    rows = [row for row in evidence.rows if row.case.phase == LINKS]
    planned = [pair for case in evidence.run.plan.cases if case.phase == LINKS for pair in case.groups]
    measured = {row.measurement.ranks for row in rows}
    lost = [pair for pair in planned if pair not in measured]
    if rows and len(planned) < 3 and not lost:
        # one pair has no other to be compared with
        rates = "; ".join(show_both(row.busbw) for row in rows)
        yield NotApplicable(f"fewer than three pairs have no usual speed: {rates}", "node")
        return
    places = evidence.gpu_of_rank
    gpus = {
        rank.rank: rank.local_rank if (at := places.get(rank.rank)) is None else at for rank in evidence.ranks
    }
    yield from _findings(rows, gpus)
    for a, b in lost:
        yield Finding(f"GPU {gpus[a]} – GPU {gpus[b]}", None, "was planned and not measured")


def _findings(rows: list[Row], gpus: dict[int, int]) -> list[Finding]:
    """``gpus``: the number of each rank's."""
    known = [row.busbw for row in rows if math.isfinite(row.busbw)]
    usual = median(known) if known else math.nan
    slow: Counter[int] = Counter()
    found = []
    for row in rows:
        a, b = row.measurement.ranks
        text = f"{show_both(row.busbw)}, the median pair {show_both(usual)}"
        ok = None if not math.isfinite(row.busbw) else row.busbw >= LEAST * usual
        if not ok:
            slow.update((a, b))
        share = row.busbw / usual if usual else math.nan
        found.append(Finding(f"GPU {gpus[a]} – GPU {gpus[b]}", ok, text, share))
    for rank, count in slow.items():
        if count == len(gpus) - 1:
            text = f"is slow or silent in all {count} of its pairs: the GPU or its links, not the others"
            found.append(Finding(f"GPU {gpus[rank]}", False, text))
    return found
