"""perftest results → point-to-point cases between two ranks, one a message size."""

from __future__ import annotations

from bench.measure.perftest.output import LinkRun, PerftestRow
from bench.model.measurement import Case, Extra, Measurement
from bench.model.timings import Blocks, Seconds

from .imported_rows import ImportRefused

PHASE = "verbs"


def measured(run: LinkRun, rail: str = "") -> tuple[tuple[Case, Measurement], ...]:
    """A pair for each row that is a result, of a run that died the sizes before; ``rail`` is the device when not given.

    A bandwidth becomes seconds of a message when many are under way (with -b perftest adds both
    directions up, so each has half). A latency becomes one isolated sample, its median; all that perftest
    told of it is in ``extra``. perftest compares no data: nothing was checked.
    """
    rows = [row for row in run.rows if row.valid]
    if not rows or not run.complete:
        raise ImportRefused(f"{run.tool or 'perftest'} has no results: {'; '.join(run.problems)}")
    return tuple(_pair(run, row, rail or run.facts.get("device", "")) for row in rows)


def _pair(run: LinkRun, row: PerftestRow, rail: str) -> tuple[Case, Measurement]:
    name = f"{PHASE}/{run.tool}/{rail}/{row.size}"
    case = Case(
        id=name,
        phase=PHASE,
        collective="p2p_bidirectional" if run.bidirectional else "p2p",
        size=row.size,
        count=row.size,
        groups=((0, 1),),
        dtype="uint8",
        algorithm=run.tool or "verbs",
        rail=rail,
    )
    directions = 2 if run.bidirectional else 1
    typical = row.latency.get("t_typical", row.latency.get("t_avg"))
    return case, Measurement(
        case=name,
        ranks=(0, 1),
        pipelined=Blocks([] if row.latency else [(row.size * directions / row.average,)]),
        calls=row.iterations,
        isolated=Seconds(() if typical is None else (typical,)),
        wrong=(None, None),
        checked=0,
        mismatches=(),
        stop="count",
        width=None,
        warmup=0,
        extra=Extra(
            source=run.tool,
            gpu_memory=run.gpu_memory,
            facts=dict(run.facts),
            latency=dict(row.latency),
            unverified="perftest compares no data",
        ),
    )
