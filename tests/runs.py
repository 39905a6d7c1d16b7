"""Run folders made in code, for the tests of everything that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.model.collectives import collective
from bench.model.facts import Node
from bench.model.measurement import Case, Measurement, Rank
from bench.model.profile import Profile, load, parse
from bench.model.run_folder_lines import CounterLine
from bench.plan import Request, sweep_cases
from bench.store import Manifest, Phase, Plan, Recorder, Run, Settings, of_facts

LOCAL = load("local")
TWO_RAILS = """
format = 1
name = "made"
title = "made"
source = "a test"
[cluster]
backend = "gloo"
nodes = [2, 64]
[rails]
kind = "socket"
count = 2
devices = ["eth1", "eth2"]
rate = { value = "10 Gb/s", source = "a test" }
[sweep]
pair_sizes = ["1M"]
"""
RAIL_BOUND = """
[[bounds]]
quantity = "rail_rate"
collective = "p2p"
at_least = "1 GB/s"
source = "a test"
"""


def two_rails(more: str = "") -> Profile:
    """A profile of nodes with two rails of sockets, with ``more`` at its end: keys of ``[sweep]``, or tables."""
    return parse(TWO_RAILS + more, "made")


def ranks(nodes: int = 1, each: int = 2) -> tuple[Rank, ...]:
    return tuple(Rank(i, f"n{i // each}", i % each) for i in range(nodes * each))


def cases(
    phase: str = "collectives", names: Sequence[str] = ("all_reduce", "all_gather"), n: int = 2
) -> list[Case]:
    groups = (tuple(range(n)),)
    return [case for name in names for case in sweep_cases(phase, Request(name, 1024, 65536, 8), groups)]


def received(case: Case, n: int) -> int:
    """Blocks that all ranks of a group of ``n`` receive in one call."""
    return sum(collective(case.collective).received(rank, n, max(case.root, 0)) for rank in range(n))


def measured(case: Case, seconds: float = 1e-3, **changes: Any) -> list[Measurement]:
    """One healthy measurement for each group of a case, of which three calls were verified."""
    return [_healthy(case, group, seconds, changes) for group in case.groups]


def _healthy(case: Case, group: tuple[int, ...], seconds: float, changes: dict[str, Any]) -> Measurement:
    row = Measurement(
        case=case.id,
        ranks=group,
        pipelined=tuple((seconds,) * len(group) for _ in range(6)),
        calls=4,
        isolated=(seconds * 1.1,) * 12,
        wrong=(0,) * len(group),
        checked=3 * case.count * received(case, len(group)),
        mismatches=(),
        stop="precision",
        width=0.005,
        warmup=4,
        verified=3,
    )
    row = replace(row, **changes)
    # counted here and not by the judge's own function, so that one is held against the other
    made = 2 + row.warmup + row.calls * len(row.pipelined) + len(row.isolated)
    return row if "made" in changes else replace(row, made=made)


def read_only(nodes: Sequence[Node], counters: Sequence[CounterLine] = ()) -> Run:
    """A run of these nodes that holds facts and counters alone; nothing is written."""
    made = tuple(Rank(at, node.name, 0) for at, node in enumerate(nodes))
    manifest = Manifest("made", 0.0, (), LOCAL.name, LOCAL.text, "none", "nccl", made)
    return replace(of_facts(Path("nowhere"), manifest, *nodes), counters=tuple(counters))


def folder(
    path: Path,
    rows: Sequence[Measurement] | None = None,
    planned: Sequence[Case] | None = None,
    where: tuple[Rank, ...] | None = None,
    profile: Profile = LOCAL,
    end: bool = True,
    backend: str = "gloo",
    plan: Plan | None = None,
    nodes: Sequence[Node] | None = None,
    share: bool = False,
    command: tuple[str, ...] = ("railgauge", "run", "all_reduce"),
) -> Path:
    """Write a run folder; by default a healthy one with every case measured."""
    where = where or ranks()
    planned = cases(n=len(where)) if planned is None else planned
    rows = [row for case in planned for row in measured(case)] if rows is None else rows
    with Recorder(path, share=share) as recorder:
        recorder.manifest(
            Manifest(
                id=path.name,
                started=1_700_000_000.0,
                command=command,
                profile_name=profile.name,
                profile_text=profile.text,
                launcher="openmpi",
                backend=backend,
                ranks=where,
                settings=Settings(pid=1, repetitions=2),
                versions={"railgauge": "0"},
            )
        )
        phases = {case.phase: Phase(case.phase, case.phase, ()) for case in planned}
        phases = {
            name: replace(phase, cases=tuple(case for case in planned if case.phase == name))
            for name, phase in phases.items()
        }
        recorder.plan(plan or Plan(tuple(phases.values())))
        recorder.facts(nodes or [Node(name) for name in dict.fromkeys(r.node for r in where)])
        for row in rows:
            recorder.measurement(row)
        if end:
            recorder.end()
    return path
