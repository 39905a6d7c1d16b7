"""Runs made in code, with figures like real ones: what the report tests draw. No clock, no randomness of its own."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from pathlib import Path

from bench.model.collectives import collective, count_of, size_of
from bench.model.counters import Snapshot
from bench.model.elements import element
from bench.model.facts import Gpu, Host, Node, Port, Software
from bench.model.measurement import Case, Measurement, Mismatch, Rank
from bench.model.profile import Profile, parse
from bench.model.run_folder_lines import CounterLine, PhaseMark
from bench.model.verdict import Status, Verdict
from bench.store import Loss, Manifest, Phase, Plan, Run, Settings, TooLarge

# busbw peak in GB/s on 2 × 8 B200, half-size in bytes, latency in µs
B200 = {
    "all_reduce": (702.0, 48 << 20, 32.0),
    "all_gather": (371.0, 40 << 20, 28.0),
    "reduce_scatter": (366.0, 40 << 20, 29.0),
    "all_to_all": (88.0, 24 << 20, 41.0),
    "broadcast": (340.0, 30 << 20, 26.0),
    "reduce": (332.0, 30 << 20, 27.0),
    "gather": (47.0, 8 << 20, 55.0),
    "scatter": (46.0, 8 << 20, 52.0),
}
GLOO = {name: (peak / 200, 1 << 16, latency * 6) for name, (peak, _, latency) in B200.items()}

B200_PROFILE = """
format = 1
name = "made-b200"
title = "made: 8 × B200 SXM a node, 8 × 400 Gb/s"
source = "figures made for tests"
[cluster]
backend = "nccl"
nodes = [2, 64]
gpus_per_node = 8
nvlink = { value = "900 GB/s", source = "B200 SXM datasheet: NVLink 1800 GB/s both directions" }
[rails]
kind = "infiniband"
count = 8
devices = ["mlx5_3", "mlx5_4", "mlx5_5", "mlx5_6", "mlx5_9", "mlx5_10", "mlx5_11", "mlx5_12"]
excluded = ["mlx5_0"]
rate = { value = "400 Gb/s", source = "ConnectX-7 NDR datasheet" }
target = { value = "3200 Gb/s", source = "8 rails × 400 Gb/s, as sold" }
[[bounds]]
collective = "p2p"
quantity = "rail_rate"
at_least = "370 Gb/s"
source = "92.5 % of 400 Gb/s"
"""
LOCAL_PROFILE = """
format = 1
name = "local"
title = "this machine: correctness and coverage; speed is reported, not gated"
source = "RailGauge"
[cluster]
backend = "auto"
nodes = [1, 64]
"""


@dataclass(frozen=True)
class Made:
    """A run and the profile it was judged by."""

    run: Run
    profile: Profile


def b200_profile() -> Profile:
    return parse(B200_PROFILE, "made-b200.toml")


def measurement(
    case: Case,
    ranks: tuple[int, ...],
    seconds: float,
    latency: float,
    dice: random.Random,
    *,
    checked: bool = True,
    wrong: int = 0,
    iterations: int = 24,
) -> Measurement:
    """A measurement whose figures spread by about 1 % around ``seconds`` and ``latency``."""
    blocks = tuple(tuple(round(seconds * dice.uniform(0.985, 1.02), 12) for _ in ranks[:4]) for _ in range(5))
    isolated = tuple(
        round((seconds + latency) * dice.lognormvariate(0.02, 0.03), 12) for _ in range(iterations)
    )
    counts: list[int | None] = [0 if checked else None for _ in ranks]
    mismatches: tuple[Mismatch, ...] = ()
    if wrong:
        counts[-1] = wrong
        mismatches = (Mismatch(ranks[-1], 4711, 2, 17.0, 16.0),)
    return Measurement(
        case=case.id,
        ranks=ranks,
        pipelined=blocks,
        calls=20,
        isolated=isolated,
        wrong=tuple(counts),
        checked=case.count * len(ranks) if checked else 0,
        mismatches=mismatches,
        stop="precision",
        width=0.0071,
        warmup=6,
        started=1_790_000_000.0,
        ended=1_790_000_001.0,
    )


def sweep(
    phase: str,
    name: str,
    groups: tuple[tuple[int, ...], ...],
    sizes: list[int],
    *,
    algorithm: str = "auto",
    dtype: str = "bfloat16",
    placements: tuple[str, ...] = (),
) -> list[Case]:
    """Cases of one collective over sizes, rounded as the product rounds them."""
    row, kind, n = collective(name), element(dtype), len(groups[0])
    cases = []
    for wanted in sizes:
        count = count_of(row, wanted, kind, n)
        for placement in (placements or row.placements[:1]) if count else ():
            size = size_of(row, count, kind, n)
            cases.append(
                Case(
                    id=f"{phase}/{name}/{size}/{placement}/{algorithm}",
                    phase=phase,
                    collective=name,
                    size=size,
                    count=count,
                    groups=groups,
                    dtype=dtype,
                    op="sum" if row.reduces else "none",
                    root=0 if row.rooted else -1,
                    placement=placement,
                    algorithm=algorithm,
                )
            )
    return cases


def timed(case: Case, peak: float, half: float, latency: float) -> float:
    """Seconds of a call that reaches ``peak`` GB/s busbw at large sizes."""
    factor = collective(case.collective).factor(len(case.groups[0])) or 1.0
    return latency * 1e-6 + case.size * factor / (peak * 1e9) * (1 + half / (8 * case.size + half))


def rounds(nodes: int) -> list[list[tuple[int, ...]]]:
    """All pairs of an even number of nodes in rounds of disjoint pairs (the circle method)."""
    circle = list(range(nodes))
    found = []
    for _ in range(nodes - 1):
        found.append([tuple(sorted((circle[i], circle[-1 - i]))) for i in range(nodes // 2)])
        circle = [circle[0], circle[-1], *circle[1:-1]]
    return found


def pair_cases(nodes: int, gpus: int, size: int) -> list[Case]:
    """Cases of the rails phase: GPU i with GPU i of the other node, all rails; both ways at once, then each way."""
    cases = []
    for number, pairs in enumerate(rounds(nodes)):
        there = tuple((a * gpus + g, b * gpus + g) for a, b in pairs for g in range(gpus))
        back = tuple((b, a) for a, b in there)
        for way, name, groups in (
            ("both", "p2p_bidirectional", there),
            ("there", "p2p", there),
            ("back", "p2p", back),
        ):
            cases.append(
                Case(
                    id=f"rails/{name}/{size}/bfloat16/none/out/round-{number}/{way}",
                    phase="rails",
                    collective=name,
                    size=size,
                    count=size // 2,
                    groups=groups,
                    dtype="bfloat16",
                    placement="out",
                    rail="own",
                )
            )
    return cases


def slow_port(node: int, local: int) -> float:
    """The fault that the runs hold: node 1 has a port at half rate, and one rail is a little slow there."""
    return {(1, 5): 0.5, (1, 2): 0.965}.get((node, local), 1.0)


COUNTED = ("rails", "ring")  # the phases around which counters were read


def cluster(nodes: int = 2, gpus: int = 8, *, faulty: bool = True, names: list[str] | None = None) -> Made:
    """B200-like nodes: rails, collectives, the ring; with a slow port on the second node when ``faulty``."""
    dice = random.Random(7)
    hosts = names or [f"node{i + 1:03d}" for i in range(nodes)]
    ranks = tuple(Rank(n * gpus + g, hosts[n], g, f"cuda:{g}") for n in range(nodes) for g in range(gpus))
    everyone = (tuple(range(len(ranks))),)
    inside = tuple(tuple(range(n * gpus, (n + 1) * gpus)) for n in range(nodes))
    sizes = [1 << power for power in range(10, 34, 2)]
    rails = pair_cases(nodes, gpus, 256 << 20)
    within = sweep("nodes", "all_reduce", inside, [8 << 30])
    main = [
        case
        for name in B200
        for case in sweep(
            "collectives", name, everyone, sizes, placements=("out", "in") if name == "all_gather" else ()
        )
    ]
    ring = [
        case
        for name in ("all_reduce", "all_gather")
        for case in sweep("ring", name, everyone, [2 << 30, 4 << 30, 8 << 30], algorithm="ring")
    ]
    measured: list[Measurement] = []
    for case in rails:
        for a, b in case.groups:
            ends = [divmod(rank, gpus) for rank in (a, b)]
            share = min(slow_port(*end) for end in ends) if faulty else 1.0
            seconds = case.size / (48.4e9 * share * dice.uniform(0.995, 1.005))
            measured.append(measurement(case, (a, b), seconds, 9e-6, dice, iterations=3))
    for case in within:
        measured += [
            measurement(case, group, timed(case, 842.0, 4 << 20, 24), 5e-6, dice) for group in case.groups
        ]
    for case in main:
        seconds = timed(case, *B200[case.collective])
        if faulty and case.collective == "all_to_all":
            seconds *= 1.9
        measured.append(measurement(case, everyone[0], seconds, 6e-6, dice))
    for case in ring:
        seconds = timed(case, 376.0 if not faulty else 291.0, 8 << 20, 90)
        measured.append(measurement(case, everyone[0], seconds, 6e-6, dice))
    phases = (
        Phase("rails", "point-to-point, every pair of nodes, all rails at once", tuple(rails), seconds=22.0),
        Phase("nodes", "all_reduce inside each node, all nodes at once", tuple(within), seconds=9.0),
        Phase("collectives", "collectives over the sizes", tuple(main), seconds=140.0),
        Phase(
            "ring",
            "collectives forced to Ring: what the wires carry",
            tuple(ring),
            {"NCCL_ALGO": "Ring"},
            30.0,
        ),
    )
    run = Run(
        path=Path("runs/made"),
        manifest=manifest(ranks, "mpirun", "nccl", "made-b200", B200_PROFILE),
        plan=Plan(phases=phases, skipped=(("soak", "not asked for"),)),
        facts=tuple(facts(host, index) for index, host in enumerate(hosts)),
        measurements=tuple(measured),
        losses=(),
        phases=(
            *(PhaseMark(name, "begin") for name in COUNTED),
            *(PhaseMark(phase.name, "end", measured=len(phase.cases)) for phase in phases),
        ),
        counters=counters(COUNTED, nodes, faulty),
        verdicts=cluster_verdicts(hosts, faulty),
        notes=(),
        ended=1_790_000_420.0,
    )
    return Made(run, b200_profile())


def manifest(ranks: tuple[Rank, ...], launcher: str, backend: str, name: str, text: str) -> Manifest:
    environment = {
        str(rank.rank): {"NCCL_IB_HCA": "^=mlx5_0", "NCCL_DEBUG": "INFO"}
        if rank.rank % 8 or not rank.rank
        else {"NCCL_IB_HCA": "^=mlx5_0 ", "NCCL_DEBUG": "INFO"}
        for rank in ranks
    }
    return Manifest(
        id="20260921-135320-made",
        started=1_790_000_000.0,
        command=("railgauge", "accept", "--profile", name, "--out", "runs/made"),
        profile_name=name,
        profile_text=text,
        launcher=launcher,
        backend=backend,
        ranks=ranks,
        settings=Settings(budget=4.0, precision=0.01),
        versions={
            "railgauge": "0.1.0",
            "torch": "2.9.0+cu130",
            "nccl": "2.28.9",
            "mpi": "Open MPI 4.1.7",
            "python": "3.10.12",
        },
        environment=environment if backend == "nccl" else {},
    )


def facts(host: str, index: int) -> Node:
    """What a probe says of a node; the second node's kernel and one of its ports differ."""
    ports = tuple(
        Port(
            hca=f"mlx5_{p}",
            number=1,
            state="ACTIVE",
            rate=5e10 if (index, p) != (1, 10) else 2.5e10,
            link_layer="InfiniBand",
            fw="28.43.2026",
            node_guid=f"0x{index:04x}{p:04x}",
            counters={"port_xmit_data": index * 99},
        )
        for p in (0, 3, 4, 5, 6, 9, 10, 11, 12)
    )
    gpus = tuple(
        Gpu(index=g, name="NVIDIA B200", uuid=f"GPU-{host}-{g}", memory_total=192 << 30) for g in range(8)
    )
    return Node(
        name=host,
        ports=ports,
        gpus=gpus,
        host=Host(
            kernel="5.15.0-164-generic" if index != 1 else "5.15.0-119-generic", os="Ubuntu 22.04.5 LTS"
        ),
        software=Software(
            driver="580.95.05",
            mpi="Open MPI",
            mpi_version="4.1.7",
            nccl_wheels={"nvidia-nccl-cu13": "2.28.9"},
        ),
        notes=() if index != 1 else ("nvidia_peermem: not loaded",),
    )


def counters(phases: tuple[str, ...], nodes: int, faulty: bool) -> tuple[CounterLine, ...]:
    """Snapshots before and after each phase: the rails carry, mlx5_0 does not, one link recovered."""
    rows = []
    for number, phase in enumerate(phases):
        for late, when in enumerate(("before", "after")):
            step = number + late
            shots = [
                Snapshot(
                    1e9 + step,
                    100.0 + step,
                    {
                        f"mlx5_{p}/1": {
                            "counters": {
                                "port_xmit_data": (p > 0) * step * 10**9,
                                "port_rcv_data": (p > 0) * step * 10**9,
                                "link_error_recovery": 3 * step * (faulty and (node, p) == (1, 10)),
                            }
                        }
                        for p in (0, 3, 4, 5, 6, 9, 10, 11, 12)
                    },
                )
                for node in range(nodes)
            ]
            rows.append(CounterLine(phase, when, tuple(shots)))
    return tuple(rows)


def cluster_verdicts(hosts: list[str], faulty: bool) -> tuple[Verdict, ...]:
    good = [
        Verdict(
            "correctness", name, Status.PASS, "0 wrong of 123456 elements in 12 rows", "0 wrong", "RailGauge"
        )
        for name in B200
    ]
    good += [
        Verdict("coverage.ranks", "job", Status.PASS, "16 of 16 ranks measured", "all 16", "the launcher"),
        Verdict("coverage.end", "run", Status.PASS, "the run completed"),
        Verdict("soak", "cluster", Status.NOT_APPLICABLE, "not asked for"),
    ]
    if not faulty:
        return tuple(good)
    return (
        *good,
        Verdict(
            "rails.rate",
            f"{hosts[1]} mlx5_10/1",
            Status.FAIL,
            "24.2 GB/s (193.5 Gb/s) to all 1 partners",
            "at least 370 Gb/s",
            "92.5 % of 400 Gb/s",
            "reseat the cable of that port, then: railgauge probe",
            value=24.2e9,
            bound=46.25e9,
            evidence=("port counters: link_error_recovery grew by 3", "rate file says 200 Gb/sec"),
        ),
        Verdict(
            "environment.same",
            hosts[1],
            Status.INCONCLUSIVE,
            "NCCL_IB_HCA is '^=mlx5_0 ' on rank 8, '^=mlx5_0' on the others",
            "the same on every rank",
            "RailGauge",
            "remove the trailing blank from /etc/nccl.conf",
        ),
    )


def gloo(ranks: int = 3, *, lossy: bool = False, wrong: bool = False, unchecked: bool = False) -> Made:
    """Ranks of one machine on gloo: all well, or with a lost case, a refusal, wrong elements, or no check."""
    dice = random.Random(11)
    members = tuple(Rank(rank, "workstation", rank) for rank in range(ranks))
    everyone = (tuple(range(ranks)),)
    sizes = [1 << power for power in (10, 14, 18, 22)]
    names = (*GLOO, "p2p", "p2p_bidirectional", "p2p_ring")
    cases = [
        case
        for name in names
        for case in sweep("collectives" if name in GLOO else "pairs", name, everyone, sizes, dtype="float32")
    ]
    gone = {case.id for case in cases if lossy and case.collective == "scatter"}
    measured = []
    for case in cases:
        if case.id in gone:
            continue
        peak, half, latency = GLOO.get(case.collective, (2.1, 1 << 16, 90.0))
        bad = 3 if wrong and case.collective == "reduce" and case.size == sizes[-1] else 0
        measured.append(
            measurement(
                case,
                everyone[0],
                timed(case, peak, half, latency),
                2e-5,
                dice,
                checked=not unchecked,
                wrong=bad,
            )
        )
    losses = tuple(
        Loss(case_id, "worker of rank 2 ended by signal 9 (Killed)", "rank 2 (workstation)")
        for case_id in sorted(gone)
    )
    refused = (
        (TooLarge("collectives/all_to_all/8589934592/out/auto", 34 << 30, 12 << 30, "host memory"),)
        if lossy
        else ()
    )
    verdicts = [
        Verdict(
            "correctness",
            name,
            Status.PASS,
            "0 wrong of 9999 elements in 4 rows",
            "0 wrong",
            "RailGauge",
            value=0.0,
            bound=0.0,
        )
        for name in names
    ]
    verdicts += [
        Verdict(
            "coverage.losses",
            loss.case,
            Status.INCONCLUSIVE,
            loss.reason,
            "a measurement",
            "RailGauge",
            f"look at {loss.culprit} first",
        )
        for loss in losses
    ]
    if wrong:
        verdicts.append(
            Verdict(
                "correctness",
                "reduce",
                Status.FAIL,
                "3 wrong elements on rank 2; first at rank 2 index 4711: got 17, wanted 16",
                "0 wrong",
                "RailGauge",
                "take workstation out and test its memory",
                value=3.0,
                bound=0.0,
            )
        )
    run = Run(
        path=Path("runs/local"),
        manifest=manifest(members, "mpirun", "gloo", "local", LOCAL_PROFILE),
        plan=Plan(
            (
                Phase(
                    "pairs",
                    "point-to-point between neighbours",
                    tuple(c for c in cases if c.phase == "pairs"),
                ),
                Phase(
                    "collectives", "collectives over the sizes", tuple(c for c in cases if c.phase != "pairs")
                ),
            ),
            refused,
            (("ring", "forcing Ring means something with NCCL on several nodes"),),
        ),
        facts=(Node("workstation", host=Host(kernel="6.1.0")),),
        measurements=tuple(measured),
        losses=losses,
        phases=(),
        counters=(),
        verdicts=tuple(verdicts),
        notes=("journal.jsonl line 9 is cut short or damaged and was left out",) if lossy else (),
        ended=None if lossy else 1_790_000_060.0,
    )
    return Made(run, parse(LOCAL_PROFILE, "local.toml"))


def nothing_measured() -> Made:
    """A run that was planned and died at once."""
    made = gloo()
    return replace(made, run=replace(made.run, measurements=(), verdicts=(), ended=None, facts=()))


def not_a_number(made: Made) -> Made:
    """The same run with every clock broken."""
    broken = tuple(
        replace(m, pipelined=((math.nan,) * len(m.ranks),), isolated=()) for m in made.run.measurements
    )
    return replace(made, run=replace(made.run, measurements=broken))


# a host name that is HTML, Markdown, a Vega expression and a format string at once
HOSTILE = "</script><img src=x onerror=alert(1)>'+datum.constructor+'\"|`*_[x](http://x)_ {0} \u202e"
