"""Are the results right, and are the clocks believable?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.registry import check
from bench.model.units import show_count
from bench.model.verdict import Status, Verdict
from bench.store.rows import UNVERIFIED, Row


@check("correctness")
def correctness(evidence: Evidence) -> Iterator[Verdict]:
    """Every element that every rank received equals the truth; one wrong element fails its case."""
    groups: dict[str, list[Row]] = {}
    for row in evidence.rows:
        if "failed" in row.measurement.extra:
            continue  # nothing arrived to be checked: blame names who did not answer
        groups.setdefault(row.case.collective, []).append(row)
        if row.wrong:
            yield _wrong(evidence, row)
    for name, every in groups.items():
        for reason, count in Counter(map(_unverifiable, every)).items():
            if reason:
                yield Verdict("correctness", name, Status.SKIP, f"{show_count(count, 'row')}: {reason}")
        rows = [row for row in every if not _unverifiable(row)]
        checked = sum(row.measurement.checked for row in rows)
        unchecked = [row for row in rows if row.wrong is None]
        bad = [row for row in rows if row.wrong]
        if unchecked:
            yield Verdict(
                "correctness",
                name,
                Status.INCONCLUSIVE,
                f"{len(unchecked)} of {len(rows)} rows were not checked",
                "every row checked",
                "RailGauge",
                "run again without -c 0",
            )
        elif rows and not bad:
            yield Verdict(
                "correctness",
                name,
                Status.PASS,
                f"0 wrong of {checked} elements in {len(rows)} rows",
                "0 wrong",
                "RailGauge",
                value=0.0,
                bound=0.0,
            )


def _unverifiable(row: Row) -> str:
    """Why nobody could verify a row, "" where somebody could: tools whose results are imported differ in this."""
    return str(row.measurement.extra.get(UNVERIFIED, "")) if row.wrong is None else ""


def _wrong(evidence: Evidence, row: Row) -> Verdict:
    first = row.measurement.mismatches[0] if row.measurement.mismatches else None
    counts, members = row.measurement.wrong, row.measurement.ranks
    # a table of another tool counts over all ranks
    each = len(counts) == len(members)
    ranks = [rank for rank, count in zip(members, counts, strict=True) if count] if each else []
    nodes = {rank.rank: rank.node for rank in evidence.ranks}
    named = ", ".join(f"rank {rank} ({nodes.get(rank, '?')})" for rank in ranks[:4])
    where = named or "ranks that the table does not name"
    next_step = (
        f"take {nodes.get(ranks[0], 'that node')} out, test its memory and GPU (dcgmi diag -r 3), and run again"
        if ranks
        else "railgauge run with the same size on the same nodes names the rank and the element"
    )
    measured = f"{row.wrong} wrong elements on {where}"
    if first:
        measured += (
            f"; first in call {first.repetition + 1} at rank {first.rank} index {first.index}: got {first.got:g}, "
            f"wanted {first.wanted:g}"
        )
    return Verdict(
        "correctness",
        row.case.id,
        Status.FAIL,
        measured,
        "0 wrong",
        "RailGauge",
        next_step,
        value=float(row.wrong or 0),
        bound=0.0,
    )


@check("clock")
def clock(evidence: Evidence) -> Iterator[Verdict]:
    """Every row has a finite, positive time: of calls on end, or where none were timed of single ones."""
    tried = [row for row in evidence.rows if "failed" not in row.measurement.extra]  # blame judges those
    times = [row.seconds if row.measurement.pipelined else row.isolated.p50 for row in tried]
    bad = [row for row, time in zip(tried, times, strict=True) if not (math.isfinite(time) and time > 0)]
    for row in bad:
        yield Verdict(
            "clock",
            row.case.id,
            Status.INCONCLUSIVE,
            f"{row.seconds} seconds a call",
            "a positive time",
            "RailGauge",
            "run again; if it stays, send the run folder to RailGauge",
        )
    if tried and not bad:
        yield Verdict("clock", "all rows", Status.PASS, f"{len(tried)} rows have a positive time")
