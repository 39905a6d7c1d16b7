"""The links between the GPUs of one node, pair by pair."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from statistics import median

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, Question
from bench.judge.registry import check
from bench.model.units import show_both, show_share
from bench.model.verdict import Verdict
from bench.plan.names import LINKS
from bench.store.rows import Row

LEAST = 0.85  # of the median pair: NVLink pairs of healthy nodes differ by a few per cent


@check("nvlink.pairs")
def pairs(evidence: Evidence) -> Iterator[Verdict]:
    """Every pair of GPUs of a node is about as fast as most; a GPU that is slow with all others is named."""
    ask = Question(
        "nvlink.pairs",
        f"at least {show_share(LEAST)} of the median pair",
        "the node's other pairs",
        "see nvidia-smi nvlink -s -e, nvidia-smi topo -m and the fabric manager's log",
        "run again; see coverage.losses",
        LEAST,
    )
    planned = [case for case in evidence.run.plan.cases if case.phase == LINKS]
    if not planned:
        yield ask.skip("all nodes", "no pairs of GPUs of one node were planned: see the phases left out")
        return
    rows = [row for row in evidence.rows if row.case.phase == LINKS]
    pairs_of = [pair for case in planned for pair in case.groups]
    measured = {row.measurement.ranks for row in rows}
    lost = [pair for pair in pairs_of if pair not in measured]
    if rows and len(pairs_of) < 3 and not lost:
        # one pair has no other to be compared with
        told = "; ".join(show_both(row.busbw) for row in rows)
        yield ask.skip("node", f"fewer than three pairs have no usual speed: {told}")
        return
    ranks, places = evidence.ranks, evidence.gpu_of_rank
    gpus = {rank.rank: rank.local_rank if (at := places.get(rank.rank)) is None else at for rank in ranks}
    silent = [
        Finding(f"GPU {gpus[a]} – GPU {gpus[b]}", None, "was planned and not measured") for a, b in lost
    ]
    yield from ask.verdicts([*_findings(rows, gpus), *silent], "pairs of GPUs are alike")


def _findings(rows: list[Row], gpus: dict[int, int]) -> list[Finding]:
    """``gpus``: the number of each rank's."""
    known = [row.busbw for row in rows if math.isfinite(row.busbw)]
    usual = median(known) if known else math.nan
    slow: Counter[int] = Counter()
    found = []
    for row in rows:
        a, b = row.measurement.ranks
        told = f"{show_both(row.busbw)}, the median pair {show_both(usual)}"
        ok = None if not math.isfinite(row.busbw) else row.busbw >= LEAST * usual
        if not ok:
            slow.update((a, b))
        share = row.busbw / usual if usual else math.nan
        found.append(Finding(f"GPU {gpus[a]} – GPU {gpus[b]}", ok, told, share))
    for rank, count in slow.items():
        if count == len(gpus) - 1 > 1:
            told = f"is in all {count} of its pairs slow or silent: the GPU or its links, not the others"
            found.append(Finding(f"GPU {gpus[rank]}", False, told))
    return found
