"""What the checks on rows say just below, at and just above each limit, in whole sentences, held to a golden file.

Two nodes of two GPUs with a few rows; bounds are taken from the rows themselves, so that they are met to the bit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

import runs
from bench import __version__
from bench.judge.checks import CHECKS
from bench.judge.evidence import Evidence
from bench.judge.wire.group_shape import NO_LAYOUT
from bench.model.measurement import Extra, Mismatch, RankSkew, Window
from bench.model.profile import LARGE, Limit, Profile, Rails
from bench.model.run_folder_lines import Joined, PhaseMark
from bench.model.verdict import Bound, Verdict
from bench.plan import Request, sweep_cases
from bench.plan.phase_names import BUDGET, GIVEN_UP
from bench.store import IMPORTED, Loss, Phase, Plan, Settings, TooLarge
from bench.store.rows import Row, row_of
from bench.store.run import SetAside
from golden import Golden, Parts, opened, shown
from made_nodes import LAMBDA, node, seen, with_host

SMALL = replace(LAMBDA, gpus=2, gpu_counts=(2,), limits=(), rails=replace(LAMBDA.rails, count=2))
ALL = (0, 1, 2, 3)
NEAR = (1 - 1e-9, 1.0, 1 + 1e-9)
LITTLE = 4 << 20
PARTS = Parts()
part = PARTS.part


def row(
    name: str,
    size: int,
    seconds: float = 1e-2,
    ranks: Sequence[int] = ALL,
    phase: str = "collectives",
    algorithm: str = "auto",
    root: int = 0,
    rail: str = "",
    **changes: Any,
) -> Row:
    request = Request(name, size, size, algorithm=algorithm, root=root)
    case = replace(sweep_cases(phase, request, (tuple(ranks),))[0], rail=rail)
    return row_of(case, runs.measured(case, seconds, **{"width": 0.0, **changes})[0])


def blocks(ranks: int, *seconds: float) -> tuple[tuple[float, ...], ...]:
    return tuple((each,) * ranks for each in seconds)


def jittered(ranks: int, *seconds: float) -> tuple[tuple[float, ...], ...]:
    """Blocks that no clock shows as alike to the last digit."""
    return blocks(ranks, *(each * (1 + at / 1e6) for at, each in enumerate(seconds)))


def seen_rows(rows: Sequence[Row], want: Profile = SMALL, **made: Any) -> Evidence:
    """Evidence of these rows, each planned once."""
    machines = [
        replace(one, gpus=one.gpus[:2], ports=one.ports[:3], interfaces=one.interfaces[:4])
        for one in (node(0), node(1))
    ]
    cases = {each.case.id: each.case for each in rows}
    phases = {each.phase: Phase(each.phase, each.phase, ()) for each in cases.values()}
    plan = Plan(
        tuple(
            replace(phase, cases=tuple(case for case in cases.values() if case.phase == name))
            for name, phase in phases.items()
        )
    )
    evidence = seen(made.pop("machines", machines), each=2, plan=made.pop("plan", plan), **made)
    run = replace(evidence.run, measurements=tuple(each.measurement for each in rows))
    return Evidence(run, want)


def line(each: Verdict) -> str:
    text = f"    {each.status.value} {each.subject}: {each.measured} | {each.wanted} ({each.source}); {each.next_step}"
    return f"{text} | {shown((each.value, each.bound, each.evidence, each.case))}"


def said(check: str, evidence: Evidence) -> list[str]:
    return [line(each) for each in CHECKS[check](evidence)]


def limit(name: str, quantity: str, value: float, **more: Any) -> Limit:
    return Limit(name, quantity, Bound(value, f"{value:.6g}", "a test"), **more)


@part("limits.busbw and limits.latency")
def floors() -> list[str]:
    """At the bound to the bit, and within the confidence interval of a row, by its own word and by its blocks."""
    lines = []
    for width, spread in itertools.product((None, 0.0, 0.1, 0.2, 1e10), (0.0, 0.05)):
        seconds = [1e-2 * (1 + spread * (at % 3 - 1)) for at in range(9)]
        one = row("all_reduce", LARGE, width=width, pipelined=blocks(4, *seconds), isolated=(1e-3,) * 12)
        for share in (*NEAR, 0.94, 0.95, 0.951, 1.049, 1.05, 1.06, 1.2):
            limits = (
                limit("all_reduce", "busbw", share * one.busbw),
                limit("all_reduce", "p50", share * 1e-3),
            )
            evidence = seen_rows([one], replace(SMALL, limits=limits))
            found = [*CHECKS["limits.busbw"](evidence), *CHECKS["limits.latency"](evidence)]
            lines += [f"{width} {spread} {share}: {each.status.value} {each.message}" for each in found]
    lost = row("all_reduce", LARGE, pipelined=(), isolated=(1e-3,))
    other = row("all_gather", LARGE)
    for rows in (
        [lost],
        [other],
        [row("all_reduce", LARGE, phase="evidence")],
        [row("all_reduce", LARGE, ranks=(0, 1))],
    ):
        for launcher in ("openmpi", IMPORTED):
            limits = tuple(
                limit("all_reduce", name, 1.0, size=(8, 1 << 40)) for name in ("busbw", "p50", "wire_share")
            )
            evidence = seen_rows(rows, replace(SMALL, limits=limits))
            manifest = replace(evidence.manifest, launcher=launcher)
            evidence = Evidence(replace(evidence.run, manifest=manifest), evidence.profile)
            for check in ("limits.busbw", "limits.latency", "wire.share"):
                lines += [f"{launcher} {check}", *said(check, evidence)]
    return lines


@part("limits.ceiling_share")
def shares_of_the_ceiling() -> list[str]:
    lines = []
    several: dict[str, Sequence[Row]] = {
        "small": [row("all_reduce", LARGE - 4)],
        "large": [row("all_reduce", LARGE)],
        "slow": [row("all_reduce", LARGE, 1.0)],
        "the largest of several": [row("all_reduce", LARGE * 2, 1.0), row("all_reduce", LARGE)],
        "two algorithms": [row("all_reduce", LARGE, 1.0), row("all_reduce", LARGE, 1.0, algorithm="ring")],
        "all to all": [row("all_to_all", LARGE, 1.0), row("gather", 2 * LARGE, 1.0), row("scatter", LARGE, 1.0)],
        "failed": [row("all_reduce", LARGE, 1.0, extra=Extra(failed="reset"))],
        "evidence": [row("all_reduce", LARGE, 1.0, phase="evidence")],
        "some ranks": [row("all_reduce", LARGE, 1.0, ranks=(0, 2))],
        "inside": [row("p2p", size, seconds, ranks=(0, 1), phase=phase)
                   for size in (LARGE - 4, LARGE) for seconds in (1e-4, 1.0) for phase in ("inside", "links", "rails")],
        "inside, failed": [row("p2p", LARGE, 1.0, ranks=(0, 1), phase="inside", extra=Extra(failed="x"))],
        "four inside": [row("all_reduce", LARGE, 1.0, phase="inside")],
        "nothing": [],
    }  # fmt: skip
    for name, rows in several.items():
        for want in (SMALL, replace(SMALL, nvlink=None), replace(SMALL, share_of_ceiling=None)):
            lines += [
                f"{name} {want.nvlink is not None}",
                *said("limits.ceiling_share", seen_rows(rows, want)),
            ]
    covered = replace(SMALL, limits=(limit("all_reduce", "busbw", 1.0),))
    lines += ["covered", *said("limits.ceiling_share", seen_rows([row("all_reduce", LARGE, 1.0)], covered))]
    wide = [replace(each, gpus=(), name=f"n{at}") for at, each in enumerate([node(0)] * 40)]
    for size in (LARGE, 80 * LITTLE - 4, 80 * LITTLE, 96 * LITTLE):
        spread = [row(name, size, 10.0, ranks=range(80)) for name in ("all_to_all", "all_reduce")]
        lines += [f"80 ranks, {size}", *said("limits.ceiling_share", seen_rows(spread, machines=wide))]
    return lines


@part("limits.alone")
def nodes_alone() -> list[str]:
    lines = []
    one = row("all_reduce", LARGE, ranks=(0, 1), phase="nodes")
    for share in NEAR:
        alone = Bound(share * one.busbw / 0.85, "its rate", "a test")
        rows = [
            one,
            row("all_reduce", LARGE, 1e-3, ranks=(2, 3), phase="nodes"),
            row("p2p", LARGE, 9.0, ranks=(2, 3), phase="nodes"),
        ]
        lines += [f"{share}", *said("limits.alone", seen_rows(rows, replace(SMALL, alone=alone)))]
        again = [*rows, row("all_reduce", LARGE, 1e-3, ranks=(0, 1), phase="rerun-nodes")]
        lines += ["again", *said("limits.alone", seen_rows(again, replace(SMALL, alone=alone)))]
        again = [*rows, row("all_reduce", LARGE, 1.0, ranks=(0, 1), phase="rerun-nodes")]
        lines += ["again, and slower", *said("limits.alone", seen_rows(again, replace(SMALL, alone=alone)))]
    lines += ["none", *said("limits.alone", seen_rows([row("all_reduce", LARGE)]))]
    return [*lines, *said("limits.alone", seen_rows(rows, replace(SMALL, alone=None)))]


@part("copies")
def copies() -> list[str]:
    """From and to the host and inside a GPU: one of four is slow, all are, one is too fast."""
    lines = []
    usual = LARGE / 1e-2
    for factors in (
        (1, 1, 1, 1),
        (1, 1, 1, 0.91),
        (1, 1, 1, 0.9),
        (1, 1, 1, 0.89),
        (1, 1, 0.2, 0.2),
        (0.5,) * 4,
        (1, 1, 1, 400),
        (1,),
        (0.5,),
    ):
        for floor in (0.99, 1.0, 1.01):
            bound = Bound(floor * usual, "its rate", "a test")
            memory = Bound(4 * floor * usual, "its rate", "a test")
            rows = [
                row(name, LARGE, 1e-2 / factor, ranks=(rank,), phase="copies")
                for name in ("copy_to_device", "copy_to_host", "copy_device")
                for rank, factor in enumerate(factors)
            ]
            evidence = seen_rows(rows, replace(SMALL, host_copies=bound, gpu_memory=memory))
            lines.append(f"{factors} {floor}")
            for check in ("limits.host_copies", "limits.device_copies"):
                lines += [f"{each.status.value} {each.message}" for each in CHECKS[check](evidence)]
    for size in (LARGE - 4, LARGE):
        rows = [
            row("copy_to_host", size, ranks=(0,), phase="copies"),
            row("copy_to_host", LITTLE, 1.0, ranks=(1,), phase="copies"),
        ]
        rows += [row("copy_device", size, ranks=(0,), phase="copies")]
        for want in (SMALL, replace(SMALL, host_copies=None, gpu_memory=None)):
            for check in ("limits.host_copies", "limits.device_copies"):
                lines += [f"{size} {check}", *said(check, seen_rows(rows, want))]
    for share, size in itertools.product((0.4, 0.39999), (LARGE, 64 << 20, (64 << 20) - 4)):
        rows = [
            row(name, size, seconds, ranks=(rank,), phase="copies")
            for name, seconds in (("copy_to_device", 1e-2), ("copy_to_host", 1e-2 / share))
            for rank in range(4)
        ]
        lines += [
            f"one way at {share}, {size}",
            *said("limits.equals", seen_rows(rows, replace(SMALL, limits=LAMBDA.limits))),
        ]
    fast = [row("copy_to_host", LARGE, 1e-4, ranks=(rank,), phase="copies") for rank in range(4)]
    for name in (None, "NVIDIA GH200", "NVIDIA GB200", "NVIDIA H100"):
        for virtual in (False, True):
            machines = [
                with_host(
                    replace(each, gpus=tuple(replace(gpu, name=name) for gpu in each.gpus[:2])),
                    virtual=virtual,
                )
                for each in (node(0), node(1))
            ]
            found = CHECKS["limits.host_copies"](seen_rows(fast, machines=machines))
            lines += [f"{name} {virtual}", *map(line, found)]
    bare = [
        replace(node(0), gpus=tuple(replace(each, pci=None) for each in node(0).gpus[:1])),
        replace(node(1), gpus=()),
    ]
    return [*lines, "no ways", *said("limits.host_copies", seen_rows(fast, machines=bare))]


@part("nvlink.pairs")
def pairs() -> list[str]:
    lines = []
    for count in (2, 3, 4):
        every = list(itertools.combinations(range(count), 2))
        for slow, factor in itertools.product(
            ([], every[:1], [pair for pair in every if 0 in pair], every), (0.86, 0.85, 0.84, 0.0)
        ):
            rows = [
                row("p2p", LARGE, 1e-2 / factor if factor and pair in slow else 1e-2, ranks=pair, phase="links",
                    **({"pipelined": ()} if pair in slow and not factor else {}))
                for pair in every
            ]  # fmt: skip
            machines = [replace(node(0), gpus=node(0).gpus[:count])]
            evidence = seen(
                machines, each=count, plan=Plan((Phase("links", "", tuple(each.case for each in rows)),))
            )
            run = replace(evidence.run, measurements=tuple(each.measurement for each in rows))
            lines += [f"{count} {slow} {factor}", *said("nvlink.pairs", Evidence(run, SMALL))]
            if not slow:
                lost = replace(run, measurements=run.measurements[1:])
                lines += ["one lost", *said("nvlink.pairs", Evidence(lost, SMALL))]
    return lines


@part("correctness")
def results() -> list[str]:
    lines = []
    name_of: dict[str, dict[str, Any]] = {
        "right": {},
        "one wrong": {"wrong": (0, 0, 3, 0)},
        "none compared": {"wrong": (None,) * 4, "checked": 0},
        "one did not compare": {"wrong": (0, None, 0, 0)},
        "one compares": {"wrong": (None, 0, None, None)},
        "too few elements": {"checked": 1},
        "verified all": {"verified": 9, "made": 9},
        "verified more than made": {"verified": 10, "made": 9},
        "verified none": {"verified": 0, "made": 9},
        "verified two of ninety": {"verified": 2, "made": 90},
        "fewer counts than ranks": {"wrong": (0, 0)},
        "failed": {"extra": Extra(failed="reset")},
        "a tool cannot": {"wrong": (None,) * 4, "checked": 0, "extra": Extra(unverified="it has no check")},
        "mismatch alone": {"mismatches": (Mismatch(1, 5, 0, None, 4.0),)},
        "two": {"wrong": (0, 1, 1, 0), "mismatches": (Mismatch(1, 5, 3, 1.5, 4.0), Mismatch(2, 6, 2, 0, 4.0))},
        "all ranks alike": {"wrong": (1,) * 4, "mismatches": tuple(Mismatch(at, 5, 2, 1.0, 2.0) for at in range(4))},
    }  # fmt: skip
    for collective in ("all_reduce", "all_gather", "gather", "p2p_ring"):
        for name, changes in name_of.items():
            rows = [
                row(collective, 4096, root=1 if collective in ("broadcast", "gather") else 0, **changes),
                row(collective, 8192),
            ]
            if changes.get("verified") == 2:
                rows[0] = structs.replace(
                    rows[0],
                    measurement=replace(rows[0].measurement, checked=10 * rows[0].measurement.checked),
                )
            for launcher in ("openmpi", IMPORTED):
                evidence = seen_rows(rows)
                manifest = replace(evidence.manifest, launcher=launcher)
                found = CHECKS["correctness"](Evidence(replace(evidence.run, manifest=manifest), SMALL))
                lines += [f"{collective} {name} {launcher}", *map(line, found)]
    blocks_of = [row("all_gather", 4096).case.count * at for at in (0, 1, 2, 3, 4)]
    for index in (0, *(each + more for each in blocks_of for more in (-1, 0)), 10**6):
        for who in ((0,), (2,), (0, 1)):
            mismatches = tuple(Mismatch(rank, max(index, 0), 1, 1.0, 2.0) for rank in who)
            found = CHECKS["correctness"](
                seen_rows([row("all_gather", 4096, wrong=(1, 0, 0, 0), mismatches=mismatches)])
            )
            lines += [f"{index} {who}: {each.measured}; {each.next_step}" for each in found]
    return lines


@part("windows")
def windows() -> list[str]:
    lines = []
    one = row("p2p_ring", 4096, ranks=(0, 2), phase="steady")
    for wrong, checked in (((0, 0), 1), ((0, 0), 0), ((0, 4), 1), ((4, 0), 1), ((0, None), 1), ((0,), 1)):
        count = checked * one.measurement.checked // 2
        mine = [
            Window(at, (1.0, 1.0), 1.0, 1.0, 1, wrong if at > 1 else (0, 0), count, one.case.id, (0, 2))
            for at in (1.0, 2.0, 3.0)
        ]
        mine.append(replace(mine[0], case="elsewhere", wrong=(1, 1)))
        evidence = seen_rows([one])
        found = CHECKS["correctness"](Evidence(replace(evidence.run, windows=tuple(mine)), SMALL))
        lines += [f"{wrong} {checked}", *map(line, found)]
    return lines


@part("clock")
def clocks() -> list[str]:
    """Times that cannot be, and those that just can; the run began at 1.7e9 and lasted for an hour."""
    lines = []
    begun, ended = 1.7e9, 1.7e9 + 3600
    usual: dict[str, Any] = {
        "started": begun + 10,
        "ended": begun + 20,
        "pipelined": jittered(4, *(1e-3,) * 6),
    }
    several: dict[str, dict[str, Any]] = {
        "well": {},
        "no time": {"pipelined": (), "isolated": (0.0,)},
        "isolated alone": {"pipelined": (), "isolated": (1e-3, 2e-3, 9e-3)},
        "negative": {"pipelined": blocks(4, -1e-3)},
        "one infinite": {"isolated": (1e-3, math.inf)},
        "one NaN": {"pipelined": blocks(4, 1e-3, math.nan, 1e-3)},
        "three ranks": {"pipelined": jittered(3, 1e-3, 1e-3)},
        "more calls than made": {"made": 20},
        "as many calls as made": {"made": 36},
        "one call fewer": {"made": 35},
        "began too early": {"started": begun - 3600.1, "ended": begun},
        "began early": {"started": begun - 3600.0, "ended": begun},
        "ended too late": {"ended": ended + 3600.1, "started": ended},
        "ended late": {"ended": ended + 3600.0, "started": ended},
        "no start": {"started": 0.0, "ended": 0.0},
        "ended before it began": {"started": begun + 10, "ended": begun + 9},
        "failed": {"extra": Extra(failed="x"), "pipelined": ()},
    }
    for seconds in (1e-3, 1.0):
        for slow, of, times in (
            (0, 8, 1),
            (1, 8, 10),
            (2, 8, 2.9),
            (2, 8, 3.0),
            (2, 8, 10),
            (2, 9, 10),
            (3, 9, 10),
            (2, 2, 10),
            (1, 2, 60),
        ):
            own = jittered(4, *(seconds * (times if at < slow else 1) for at in range(of)))
            several[f"{seconds} {slow} of {of} slow by {times}"] = {
                "pipelined": own,
                "isolated": (seconds,) * 12,
                "ended": begun + 2000,
            }
        for share in (0.09, 0.1, 0.11, 9.0, 10.0, 10.02, 19.0, 30.0):
            several[f"{seconds} a call by itself {share}"] = {
                "pipelined": jittered(4, *(seconds,) * 6), "isolated": (share * seconds,) * 12, "ended": begun + 2000,
            }  # fmt: skip
    for lasted in (0.0, 0.018, 0.0181, 0.0182, 0.0183, 0.019, 0.02, 0.03, 0.037, 0.0372):
        several[f"lasted {lasted}"] = {"started": begun + 10, "ended": begun + 10 + lasted}
    for name, changes in several.items():
        one = row("all_reduce", 4096, 1e-3, **{**usual, **changes})
        for backend, phase in (("nccl", "collectives"), ("gloo", "collectives"), ("nccl", "soak")):
            if (backend, phase) != ("nccl", "collectives") and "slow" not in name:
                continue
            one = row("all_reduce", 4096, 1e-3, phase=phase, **{**usual, **changes})
            evidence = seen_rows([one], backend=backend)
            found = CHECKS["clock"](Evidence(replace(evidence.run, ended=ended), SMALL))
            lines += [
                f"{name} {backend} {phase}: {each.status.value} {each.subject} {each.measured}"
                for each in found
            ]
    evidence = seen_rows(
        [row("all_reduce", 4096, started=begun - 1e5, ended=begun, pipelined=jittered(4, *(1e-3,) * 6))]
    )
    for end in (None, begun - 1, begun, begun + 1):
        lines += [f"{end}", *map(line, CHECKS["clock"](Evidence(replace(evidence.run, ended=end), SMALL)))]
    return lines


@part("coverage")
def coverage() -> list[str]:
    """Cases and ranks that were not measured, or were and should not have been."""
    lines = []
    rows = [row("all_reduce", 1 << at, ranks=(0, 1)) for at in range(6, 30)]
    pair = row("p2p", 4096, ranks=(0, 2), phase="rails", extra=Extra(failed="reset"))
    lost = row("all_reduce", 1 << 20, phase="ring", extra=Extra(failed="reset"))
    whole = seen_rows([*rows, pair, lost])
    run = whole.run
    few = Plan((Phase("collectives", "", ()),))
    marks = tuple(
        PhaseMark(phase.name, state, len(phase.cases), len(phase.cases))
        for phase in run.plan.phases
        for state in ("begin", "end")
    )
    ours = replace(
        run,
        manifest=replace(run.manifest, versions={"railgauge": __version__}),
        phases=marks,
        plan=replace(run.plan, phases=(*run.plan.phases, Phase("empty", "", ()))),
    )
    began = run.manifest.started
    timed = tuple(replace(each, started=began, ended=began + 20) for each in run.measurements)
    shortages = tuple(
        TooLarge(f"case/{at}", 8 + at, 4, "GPU 3 of n1" if at % 2 else "n0") for at in range(50)
    )
    for name, made in {
        "whole": run,
        "nothing measured": replace(run, measurements=()),
        "nothing planned": replace(run, plan=Plan(())),
        "neither": replace(run, plan=Plan(()), measurements=()),
        "others planned": replace(run, plan=few),
        "one not planned": replace(run, plan=replace(run.plan, phases=run.plan.phases[1:])),
        "too large": replace(run, plan=replace(run.plan, refused=shortages)),
        "lost": replace(run, losses=tuple(Loss(f"c{at}", f"n1: gone {at % 12}", "n1" * (at > 0)) for at in range(20))),
        "one lost": replace(run, losses=(Loss("c", "n1 rank 2: killed", culprit="n1 rank 2"),)),
        "joined": replace(run, joined=(Joined("collectives", 1), Joined("collectives", 2), Joined("rails", 1))),
        "not ended": replace(run, ended=None),
        "damaged": replace(run, notes=("line 7 of journal.jsonl is damaged", "another note")),
        "resumed": replace(
            run,
            manifest=replace(run.manifest, settings=Settings(resumed=2), versions={"railgauge": __version__}),
            phases=(PhaseMark("collectives", "begin"),),
        ),
        **{
            f"{name}, of this version": replace(ours, **changes)
            for name, changes in {
                "begun and ended": {},
                "resumed": {"resumed_at": (1.7e9,)},
                "lost": {"losses": (Loss("c", "it hung"),)},
                "not ended": {"ended": None},
                "began with less": {"phases": (replace(marks[0], cases=23), *marks[1:])},
                "ended with less": {"phases": (marks[0], replace(marks[1], measured=23), *marks[2:])},
                "not begun": {"phases": marks[1:]},
                "ended by a begin": {"phases": (marks[0], replace(marks[1], state="begin"), *marks[2:])},
                "one without marks": {"phases": marks[2:]},
                "none joined": {"joined": (Joined("rails", 0),)},
                "ended a day later": {"measurements": timed, "ended": began + 20 + 86400},
                "ended more than a day later": {"measurements": timed, "ended": began + 20 + 86400.1},
                "ended before it began": {"measurements": timed, "ended": began - 1},
                "set back": {"measurements": (replace(timed[0], started=began - 0.1), *timed[1:]), "ended": began - 1},
            }.items()
        },
        "set aside": replace(
            run,
            manifest=replace(
                run.manifest,
                set_aside=(
                    SetAside("n1", "n1 eth1", "no link", True, "rails", ("a", "b")),
                    SetAside("n1", "n1", "did not start"),
                ),
            ),
        ),
    }.items():  # fmt: skip
        for command in ("accept", "soak"):
            manifest = replace(made.manifest, command=("railgauge", command))
            evidence = Evidence(replace(made, manifest=manifest), SMALL)
            for check in ("cases", "ranks", "memory", "losses", "lost", "nodes", "end", "command"):
                lines += [f"{name} {command} {check}", *said(f"coverage.{check}", evidence)]
    return lines


@part("clusters")
def clusters() -> list[str]:
    """As many nodes and ranks as the profile is for, and others; options that were asked for."""
    lines = []
    whole = seen_rows([row("all_reduce", 4096)])
    for least, most in (
        (1, 1),
        (1, 2),
        (2, 2),
        (2, 64),
        (3, 64),
        (2, 1 << 30),
        (3, 1 << 30),
        (2, (1 << 30) - 1),
    ):
        for counts in ((2,), (1, 2), (4,), (1, 4), ()):
            want = replace(SMALL, nodes=(least, most), gpu_counts=counts)
            lines += [f"{least} {most} {counts}", *said("coverage.cluster", Evidence(whole.run, want))]
    bare = Evidence(replace(whole.run, facts=()), replace(SMALL, gpu_counts=(1, 4)))
    lines += ["no facts", *said("coverage.cluster", bare)]
    asked = {"collectives": "--a", "pinned": "--b", "steady": "--c"}
    plan = replace(whole.run.plan, skipped=(("pinned", "one rail alone is all that there is"),))
    phases = (*plan.phases, Phase("verbs-1", "", ()))
    for names in (asked, {"verbs": "--verbs"}):
        manifest = replace(whole.manifest, settings=Settings(asked=names))
        run = replace(whole.run, manifest=manifest, plan=replace(plan, phases=phases))
        lines += said("coverage.asked", Evidence(run, SMALL))
    for skipped in ((), ((BUDGET, "10 m"),), ((BUDGET, "10 m"), (GIVEN_UP, "pairs"), (GIVEN_UP, "rails"))):
        for given_up, ended in itertools.product(((), ("verbs was not begun",)), (None, 1.7e9, 1.7e9 + 50)):
            run = replace(whole.run, plan=replace(plan, skipped=skipped), given_up=given_up, ended=ended)
            lines += [f"{skipped} {given_up} {ended}", *said("coverage.budget", Evidence(run, SMALL))]
    return lines


@part("limits.rows")
def rows_against_nothing() -> list[str]:
    lines = []
    kinds = (
        "all_reduce",
        "all_gather",
        "reduce_scatter",
        "broadcast",
        "reduce",
        "gather",
        "scatter",
        "all_to_all",
        "p2p_ring",
    )
    many = [row(name, 1 << at) for name in kinds for at in range(10, 13)]
    for name, rows in {
        "many": many,
        "one": many[:1],
        "evidence": [row("all_reduce", 4096, phase="evidence")],
        "rerun": [row("all_reduce", 4096, phase="rerun-collectives")],
        "rails": [row("p2p", 4096, ranks=(0, 2), phase="rails")],
        "inside": [row("p2p", 4096, ranks=(0, 1), phase="inside")],
        "links and nodes": [row("p2p", 4096, ranks=(0, 1), phase=phase) for phase in ("links", "nodes")],
        "none": [],
    }.items():  # fmt: skip
        for want in (
            SMALL,
            replace(SMALL, limits=(limit("all_reduce", "busbw", 1.0),)),
            replace(SMALL, limits=LAMBDA.limits, alone=None),
        ):
            for backend in ("nccl", "gloo"):
                found = CHECKS["limits.rows"](seen_rows(rows, want, backend=backend))
                lines += [f"{name} {len(want.limits)} {backend}", *map(line, found)]
    return lines


def between(
    seconds: float, pair: tuple[int, int], phase: str = "rails", number: int = 0, **changes: Any
) -> Row:
    """A transfer of a round of the schedule."""
    one = row("p2p", LARGE, seconds, ranks=pair, phase=phase, **changes)
    case = replace(one.case, id=f"{one.case.id}/round-{number}/{pair[0]}-{pair[1]}")
    return row_of(case, replace(one.measurement, case=case.id))


@part("limits.rail_rate")
def rail_rates() -> list[str]:
    """Transfers at the bound and below it, slow once and fast when repeated, and more than are told by name."""
    lines = []
    pairs_ = [(0, 2), (2, 0), (1, 3), (3, 1)]
    usual = [between(1e-2, pair) for pair in pairs_]
    rate = usual[0].algbw
    slow, slower = between(2e-2, (0, 2)), between(3e-2, (0, 2))
    untimed = between(1e-2, (0, 2), "rails-again", pipelined=())

    def again(pair: tuple[int, int], *seconds: float) -> list[Row]:
        return [between(each, pair, "rails-again", at) for at, each in enumerate(seconds)]

    def four(pair: tuple[int, int]) -> list[Row]:
        return again(pair, *(1e-2,) * 4)

    several: dict[str, Sequence[Row]] = {
        "alike": usual,
        "one slow": [slow, *usual[1:]],
        "all slow": [between(2e-2 + at / 1e3, pair) for at, pair in enumerate(pairs_)],
        "slow once": [slow, *usual[1:], *again((0, 2), 1e-2, 1e-2, 1e-2, 1e-2)],
        "slow twice": [slow, *usual[1:], *again((0, 2), 1e-2, 2e-2, 1e-2, 1e-2)],
        "slow three times": [slow, *usual[1:], *again((0, 2), 2e-2, 2e-2, 1e-2, 1e-2)],
        "repeats cut short": [slow, *usual[1:], *again((0, 2), 1e-2, 1e-2)],
        "repeats cut short, all fast": [*usual, *again((0, 2), 1e-2, 1e-2)],
        "a repeat without time": [slow, *usual[1:], untimed],
        "a repeat without time, the first fast": [*usual, untimed],
        "two of one port": [slow, between(2e-2, (2, 0)), *usual[2:], *four((0, 2)), *four((2, 0))],
        "two of two rails": [slow, usual[1], between(2e-2, (1, 3)), usual[3], *four((0, 2)), *four((1, 3))],
        "failed": [between(1e-2, (0, 2), extra=Extra(failed="reset", rail="mlx5_1/1")), *usual[1:]],
        "pinned": [*usual, *(between(each, (0, 2), "pinned-1", rail="mlx5_1/1") for each in (2e-2, 1e-2))],
        "one faster": [between(9e-3, (0, 2)), *usual[1:]],
        "slowest last": [*usual[:3], slower],
        "inside": [between(1e-2, (0, 1), "inside")],
        "nothing": [],
    }  # fmt: skip
    for name, rows in several.items():
        for share in NEAR if name == "alike" else (0.99,):
            want = replace(SMALL, limits=(limit("p2p", "rail_rate", share * rate),))
            lines += [f"{name} {share}", *said("limits.rail_rate", seen_rows(rows, want))]
    one = [replace(node(0), gpus=node(0).gpus[:2])]
    lines += ["one node", *said("limits.rail_rate", seen_rows([], want, machines=one))]
    evidence = seen_rows([], want)
    imported = replace(evidence.run, manifest=replace(evidence.manifest, launcher=IMPORTED))
    lines += ["imported", *said("limits.rail_rate", Evidence(imported, want))]
    wide = [replace(node(0), name=f"n{at}", gpus=(), ports=node(0).ports[:3]) for at in range(10)]
    for count in (16, 17):
        rows = [between(2e-2 + at / 1e3, (at, at + 2)) for at in range(count)]
        lines += [f"{count} slow", *said("limits.rail_rate", seen_rows(rows, want, machines=wide))]
    return lines


@part("stragglers")
def stragglers() -> list[str]:
    """Calls that take as long as the bounds allow and longer, with somebody who is waited for and without."""
    lines = []
    one = row("all_reduce", LARGE, isolated=(1e-2,) * 12)
    for share in (0.9, 1.0, 1.1, 1.5):
        for late in (0, 6, 12):
            apart = RankSkew(
                short=(0, late, 0, 0), short_by=(0.0, 5e-3, 0.0, 0.0), shortest=(0, late, 0, 0),
                long=(0, 0, 0, 0), long_by=(0.0,) * 4, longest=(0, 0, 0, 0),
            )  # fmt: skip
            rows = [row_of(one.case, replace(one.measurement, apart=apart))]
            limits = (
                limit("all_reduce", "busbw", share * one.busbw),
                limit("all_reduce", "p50", 1e-2 / share),
            )
            for given in (limits, limits[:1], limits[1:], ()):
                found = CHECKS["blame.stragglers"](seen_rows(rows, replace(SMALL, limits=given)))
                lines += [
                    f"{share} {late} {len(given)}: {each.status.value} {each.message}" for each in found
                ]
    return [*lines, *said("blame.stragglers", seen_rows([one], replace(SMALL, limits=limits)))]


@part("imports")
def imports() -> list[str]:
    lines = []
    for settings in (
        Settings(files=("a.txt", "b.txt")),
        Settings(files=("a.txt",), problems=("it is cut short", "two figures differ")),
        Settings(files=("a.txt",), faults=("the tool ended with 1",)),
        Settings(files=("a.txt",), layout=NO_LAYOUT),
    ):
        evidence = seen_rows([row("all_reduce", 4096, pipelined=jittered(4, *(1e-3,) * 6))])
        for launcher in (IMPORTED, "openmpi"):
            manifest = replace(evidence.manifest, settings=settings, launcher=launcher)
            for ended in (None, 1.7e9):
                run = replace(evidence.run, manifest=manifest, ended=ended)
                for check in ("import.whole", "coverage.end", "coverage.command", "clock"):
                    lines += [f"{launcher} {check}", *said(check, Evidence(run, SMALL))]
    return lines


@part("wire")
def wires() -> list[str]:
    """A figure above its ceiling, shares of the target at their bound, rows that are no test of the rails."""
    lines = []
    one = row("all_reduce", LARGE * 16)
    for speed in (1e-4, 0.02, 0.05, 0.5):
        rows = [
            row("all_reduce", LARGE * 16, speed),
            row("all_reduce", LARGE * 16, speed, phase="steady"),
            row("all_gather", LARGE, speed, ranks=(0, 2)),
            row("p2p", LARGE, speed, ranks=(0, 1), phase="inside"),
            row("all_reduce", 4096, speed, extra=Extra(failed="x")),
        ]
        for share in (0.85, 1.0):
            want = replace(SMALL, limits=(limit("all_reduce", "wire_share", share),))
            for check in ("wire.ceiling", "wire.share", "wire.target"):
                lines += [
                    f"{speed} {share} {check}",
                    *said(check, seen_rows(rows[:1] if check == "wire.share" else rows, want)),
                ]
    failed = [row("all_reduce", LARGE, extra=Extra(failed="x"))]
    for rows in (failed, [one], []):
        for want in (
            SMALL,
            replace(SMALL, rails=replace(SMALL.rails, rate=None)),
            replace(SMALL, rails=Rails()),
        ):
            want = replace(want, limits=(limit("all_reduce", "wire_share", 0.85),))
            for check in ("wire.ceiling", "wire.share", "wire.target"):
                lines += [f"{len(rows)} {check}", *said(check, seen_rows(rows, want))]
    return lines


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, Path(__file__).with_name("rows_at_limits.txt"), [*PARTS])


@pytest.mark.parametrize("name", PARTS)
def test_what_is_said_of_rows_at_their_limits(golden: Golden, name: str) -> None:
    golden.hold(name, PARTS[name]())
