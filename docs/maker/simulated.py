"""Runs of simulated clusters for the sample reports: the real plan, times of published runs, one planted fault.

The judgement and the report are the real ones; what was measured is not. Every sample says so.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.judge import row_peers
from bench.judge.blame import transfers
from bench.judge.evidence import Evidence
from bench.model.measurement import Case, Measurement
from bench.model.run_folder_lines import CounterLine, PhaseMark
from bench.plan import PAIR_RULES, pair_cases
from bench.plan.phase_names import AGAIN, REPEATED, RERUN
from bench.plan.rails import SUSPECT_RULES
from bench.store import Phase, Run
from made_acceptance import (
    DEVICES,
    GPUS,
    LAMBDA,
    Made,
    acceptance_run,
    grown_from,
    health_of,
    slower,
    with_rows,
)

NODES = 64
NODE, RAIL = 17, "mlx5_4/1"
RATE = 0.49  # of the healthy rate: a cable that lost half of its lanes
GPU = int(RAIL.partition("_")[2][0]) - 1


def healthy(folder: Path, nodes: int = NODES) -> Run:
    """An acceptance of a cluster without a fault."""
    return _named(acceptance_run(folder, nodes), "simulated-healthy")


def faulty(folder: Path, nodes: int = NODES, node: int = NODE) -> Run:
    """The same cluster with one rail of one node at half of its rate; its suspects are measured again."""

    def change(case: Case, found: Measurement) -> Measurement:
        return slower(found, 1 / RATE) if _through(case, found.ranks, node) else found

    run = with_rows(acceptance_run(folder, nodes), change)
    made = _goes_on(run)
    for follow in (_suspects, _repeated, *(partial(_again, phase) for phase in run.plan.phases)):
        more = follow(Evidence(run, LAMBDA))
        if more.cases:
            run = _with_phase(run, more, made, change)
    run = grown_from(run, "rails", "after", node, {(RAIL, "counters", "symbol_error"): 41})
    return _named(run, "simulated-faulty")


def _goes_on(run: Run) -> Made:
    """The makers of a run again, where its last counters stand."""
    last = run.counters[-1].snapshots
    moved = {
        (machine.name, port): [4.0 * groups["counters"][name] for name in ("port_xmit_data", "port_rcv_data")]
        for machine, shot in zip(run.facts, last, strict=True)
        for port, groups in shot.readings.items()
        if port in DEVICES
    }
    return Made(LAMBDA, run.facts, random.Random(2), 0.004, {}, now=last[0].monotonic + 1, moved=moved)


def _through(case: Case, group: tuple[int, ...], node: int) -> bool:
    """Whether a case crosses the faulty port, or waits for somebody who does."""
    here = [rank for rank in group if rank // GPUS == node]
    if not here or len({rank // GPUS for rank in group}) == 1:
        return False
    rail = RAIL if case.rail in ("", "own") and GPU in {rank % GPUS for rank in here} else case.rail
    if case.collective == "p2p_ring" and not case.rail:
        return False  # it leaves the node by its first and last rail alone
    return rail == RAIL


def _again(phase: Phase, evidence: Evidence) -> Phase:
    cases = row_peers.again(phase.name, evidence.comparisons)
    return replace(
        phase, name=f"{RERUN}-{phase.name}", title="slower than its equals: measured again", cases=cases
    )


def _suspects(evidence: Evidence) -> Phase:
    cases = [
        case
        for at, test in enumerate(transfers.retests(evidence))
        for case in pair_cases(AGAIN, f"test-{at}", test.pairs, LAMBDA, "nccl", test.ways)
    ]
    return Phase(AGAIN, "suspects again, alone", tuple(cases), rules=SUSPECT_RULES)


def _repeated(evidence: Evidence) -> Phase:
    slow = transfers.unexplained(evidence)[: transfers.MOST_REPEATED]
    cases = tuple(
        replace(case, phase=REPEATED, id=f"{REPEATED}/{time}/{case.id.partition('/')[2]}")
        for time in range(1, transfers.REPEATS + 1)
        for case in slow
    )
    return Phase(REPEATED, "slow transfers again, as they were", cases, rules=PAIR_RULES)


def _with_phase(
    run: Run, phase: Phase, made: Made, change: Callable[[Case, Measurement], Measurement]
) -> Run:
    before, rows = CounterLine(phase.name, "before", made.shots()), []
    for case in phase.cases:
        found = [change(case, each) for each in made.measure(case)]
        for each in found:
            made.count(case, each)
        made.now += max(each.ended - each.started for each in found)
        rows += found
    after = CounterLine(phase.name, "after", made.shots())
    begin, end = (
        PhaseMark(phase.name, "begin", cases=len(phase.cases)),
        PhaseMark(phase.name, "end", measured=len(rows)),
    )
    ranks = sorted({rank for row in rows for rank in row.ranks})
    return replace(
        run,
        plan=replace(run.plan, phases=(*run.plan.phases, phase)),
        measurements=(*run.measurements, *rows),
        phases=(*run.phases, begin, end),
        counters=(*run.counters, before, after),
        health=(*run.health, *(health_of(phase, rank) for rank in ranks)),
        ended=1.7e9 + made.now,
    )


def _named(run: Run, name: str) -> Run:
    return replace(run, manifest=replace(run.manifest, id=name))
