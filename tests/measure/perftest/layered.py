"""Runs on nodes like Lambda's with perftest's words, point-to-point, a forced Ring and counters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import made_nodes
from bench.model.collectives import collective
from bench.model.counters import Snapshot
from bench.model.facts import Node
from bench.model.measurement import Measurement
from bench.model.profile import Profile, load
from bench.model.run_folder_lines import CounterLine, PerftestTool, PerftestTransfer
from bench.plan import Request, pair_cases, sweep_cases
from bench.store import Phase, Plan, Run, Settings
from bench.store.rows import rows
from said import transfer
from tests import runs

LAMBDA = load("lambda-1cc-h100")
RAILS = tuple(range(1, 9))
SIZE = 8 << 30
HEADER = 1 + 24 / 4096  # of InfiniBand, as the port counters see it
Rate = Callable[[str, str, int], float]  # sender, receiver, rail → bytes/s


def even(rate: float) -> Rate:
    return lambda sender, receiver, rail: rate


def pairs(nodes: list[str]) -> list[tuple[str, str]]:
    return [(one, other) for i, one in enumerate(nodes) for other in nodes[i + 1 :]]


def transfers(nodes: list[str], rate: Rate) -> list[PerftestTransfer]:
    """Every rail of every pair, each direction; a rate of 0 is left out."""
    ways = [way for pair in pairs(nodes) for way in (pair, pair[::-1])]
    return [
        transfer(rate(sender, receiver, rail), sender, receiver, rail)
        for sender, receiver in ways
        for rail in RAILS
        if rate(sender, receiver, rail)
    ]


def run_of(
    path: Path,
    nodes: tuple[Node, ...] = (),
    verbs: list[PerftestTransfer] | None = None,
    p2p: Rate = even(48.5e9),  # noqa: B008
    ring: float = 365e9,
    shares: tuple[float, ...] = (1 / 8,) * 8,
    tools: list[PerftestTool] | None = None,
    backend: str = "nccl",
    profile: Profile = LAMBDA,
    counters: bool = True,
) -> Run:
    """``ring``: busbw of the forced Ring in bytes/s; ``shares``: of its bytes, by rail."""
    nodes = nodes or made_nodes.nodes(2)
    names = [node.name for node in nodes]
    where = runs.ranks(len(nodes), 8)
    planned = [
        case
        for number, (one, other) in enumerate(pairs(names))
        for case in pair_cases("rails", f"round-{number}", _ranks(names, one, other), profile, "nccl")
    ]
    measured = [
        replace(row, ranks=group, pipelined=((case.size / p2p(*_ends(names, group)),) * 2,) * 6)
        for case in planned
        for group in case.groups
        for row in runs.measured(replace(case, groups=(group,)))
    ]
    forced = sweep_cases(
        "ring", Request("all_reduce", SIZE, SIZE, algorithm="ring"), (tuple(r.rank for r in where),)
    )[0]
    rows_ = _ringed(forced, ring)
    made = made_nodes.seen(
        nodes, backend=backend, counters=_counters(nodes, rows_[0], shares) if counters else ()
    )
    lines = tools or [PerftestTool(name, "6.24") for name in names]
    verbs = transfers(names, even(49.5e9)) if verbs is None else verbs
    plan = Plan((Phase("rails", "", tuple(planned)), Phase("ring", "", (forced,))))
    return replace(
        made.run,
        path=path,
        plan=plan,
        manifest=replace(made.run.manifest, settings=Settings(repetitions=2)),
        measurements=(*measured, *rows_),
        perftest=(*lines, *verbs),
    )


def _ranks(names: list[str], one: str, other: str) -> tuple[tuple[int, int], ...]:
    first, second = 8 * names.index(one), 8 * names.index(other)
    return tuple((first + i, second + i) for i in range(8))


def _ends(names: list[str], group: tuple[int, ...]) -> tuple[str, str, int]:
    return names[group[0] // 8], names[group[1] // 8], 1 + group[0] % 8


def _ringed(forced, busbw: float) -> list[Measurement]:
    """Two seconds of calls, by a clock that fits the host's."""
    n = len(forced.groups[0])
    seconds = SIZE * collective("all_reduce").factor(n) / busbw
    count = max(1, round(1.0 / seconds / 6))
    busy = seconds * (count * 6 + 12 * 1.1 + 6 * 1.1)
    return runs.measured(forced, seconds, calls=count, started=100.0, ended=100.0 + busy * 1.3)


def _counters(nodes: tuple[Node, ...], row: Measurement, shares: tuple[float, ...]) -> list[CounterLine]:
    calls = 2 + row.warmup + row.calls * len(row.pipelined) + len(row.isolated)
    sent = 2 * (len(row.ranks) - 1) / len(row.ranks) * SIZE * calls * HEADER
    words = dict(zip(RAILS, (int(share * sent) // 4 for share in shares), strict=True))
    grown = [
        {
            f"mlx5_{rail}/1": {"counters": {"port_xmit_data": count, "port_rcv_data": 4}}
            for rail, count in words.items()
        }
        for _ in nodes
    ]
    still = [
        {name: {"counters": dict.fromkeys(groups["counters"], 0)} for name, groups in each.items()}
        for each in grown
    ]
    return [
        CounterLine("ring", when, tuple(Snapshot(at, at, each) for each in shots))
        for when, at, shots in (("before", 0.0, still), ("after", 9.0, grown))
    ]


def read(run: Run):
    """The run's rows, as everything reads them."""
    return rows(run)
