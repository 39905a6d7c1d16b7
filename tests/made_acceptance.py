"""A whole acceptance run of a GPU cluster in memory: the plan is the real one, times and counters fit together.

The rates are those of published runs on H100 nodes with eight NDR rails. Ports may be slow from the start, and what
follows up on them is planned by the real code; or a test tampers with what comes out.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import runs
from bench import __version__
from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge, status
from bench.model.bounds import ClusterShape, candidates, wire_factor
from bench.model.collectives import collective
from bench.model.counters import Snapshot, snapshot
from bench.model.facts import Node
from bench.model.measurement import Case, Measurement, Window
from bench.model.profile import Profile
from bench.model.run_folder_lines import CounterLine, GpuDuringCase, HealthLine, Joined, PhaseMark, WorkerGpu
from bench.model.typed_json import to_json
from bench.model.verdict import Status, Verdict
from bench.plan import AcceptOptions, Job, acceptance
from bench.plan.phase_names import STEADY
from bench.plan.steady_load import WINDOW
from bench.probe.fabric.ask_all import look
from bench.probe.fabric.run_tools import ToolExit
from bench.run.followups import follow_up
from bench.store import FABRIC, LOGS, Manifest, Phase, Plan, Run, Settings
from made_nodes import LAMBDA, nodes

GPUS = 8
GIGA = 1e9
LATENCY = 25e-6
RAIL = 48.5 * GIGA
DEVICES = tuple(f"mlx5_{at}/1" for at in range(1, 9))
# busbw in GB/s over several nodes, as NCCL chooses and as Ring; inside a node; copies
AUTO = {"all_reduce": 381, "all_gather": 361, "reduce_scatter": 363, "all_to_all": 47.5, "broadcast": 345}
AUTO |= {"reduce": 345, "gather": 46, "scatter": 46, "p2p_ring": 47}
RING = {"all_reduce": 372, "all_gather": 366}
COPY = {"copy_to_device": 52, "copy_to_host": 52}
PACKET, ACKNOWLEDGED = 4096 + 26, 4  # bytes, and packets that one is sent back for
Key = tuple[str, str]  # a node, and a port


@dataclass
class Made:
    """A run while it is made. ``moved``: bytes (sent, received) that each port has counted so far, ``now``: seconds.

    ``shares``: of the rate that a healthy port reaches, where it is not 1.
    """

    profile: Profile
    machines: tuple[Node, ...]
    dice: random.Random
    noise: float
    shares: Mapping[Key, float]
    now: float = 10.0
    moved: dict[Key, list[float]] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    marks: list[PhaseMark] = field(default_factory=list)
    counters: list[CounterLine] = field(default_factory=list)

    def phase(self, phase: Phase) -> None:
        """Measure all cases of a phase between two readings of every node's counters."""
        self.marks.append(PhaseMark(phase.name, "begin", cases=len(phase.cases)))
        self.counters.append(CounterLine(phase.name, "before", self.shots()))
        for case in phase.cases:
            found = list(self.measure(case))
            for each in found:
                self.count(case, each)
            self.measurements += found
            self.now += max(each.ended - each.started for each in found)
        self.now += 6
        self.counters.append(CounterLine(phase.name, "after", self.shots()))
        self.marks.append(PhaseMark(phase.name, "end", measured=len(phase.cases)))

    def share(self, case: Case, group: tuple[int, ...]) -> float:
        """Of the slowest port that a call goes through: each ring passes every node."""
        if not self.shares:
            return 1.0
        used = _bytes(case, group, len(self.machines))
        return min((self.shares.get((self.machines[r // GPUS].name, p), 1.0) for r, p in used), default=1.0)

    def measure(self, case: Case) -> Iterator[Measurement]:
        for group in case.groups:
            factor = collective(case.collective).factor(len(group)) or 1.0
            ideal = case.size * factor / (busbw(case, group, len(self.machines)) * GIGA)
            seconds = ideal / self.share(case, group) + (0 if case.size >= 64 << 20 else LATENCY)
            seconds /= 1 - min(0.3, abs(self.dice.gauss(0, self.noise)))
            blocks = tuple(
                tuple(seconds * self.dice.uniform(0.9985, 1.0015) for _ in group) for _ in range(6)
            )
            calls = max(1, min(200, round(0.15 / seconds)))
            isolated = tuple((seconds + 8e-6) * self.dice.uniform(1, 1.02) for _ in range(12))
            busy = sum(map(max, blocks)) * calls + sum(isolated) + 6 * isolated[5]
            yield from runs.measured(
                replace(case, groups=(group,)),
                pipelined=blocks,
                calls=calls,
                isolated=isolated,
                started=1.7e9,
                ended=1.7e9 + 1.25 * busy,
            )

    def count(self, case: Case, found: Measurement) -> None:
        """Put what a measurement moved on the ports of its nodes."""
        for (rank, port), (sent, received) in _bytes(case, found.ranks, len(self.machines)).items():
            total = self.moved.setdefault((self.machines[rank // GPUS].name, port), [0.0, 0.0])
            total[0] += sent * found.made * (1 + 26 / 4096)
            total[1] += received * found.made * (1 + 26 / 4096)

    def shots(self) -> tuple[Snapshot, ...]:
        return tuple(self._shot(machine) for machine in self.machines)

    def _shot(self, machine: Node) -> Snapshot:
        shot = snapshot(1.7e9 + self.now, self.now, machine.ports, machine.interfaces, machine.tcp)
        readings = dict(shot.readings)
        for (name, port), (sent, received) in self.moved.items():
            if name == machine.name:
                counted = {"port_xmit_data": int(sent / 4), "port_rcv_data": int(received / 4)}
                counted |= {
                    "port_xmit_packets": int(sent / PACKET + received / PACKET / ACKNOWLEDGED),
                    "port_rcv_packets": int(received / PACKET + sent / PACKET / ACKNOWLEDGED),
                }
                groups = readings[port]
                readings[port] = {**groups, "counters": {**groups["counters"], **counted}}
        return Snapshot(shot.time, shot.monotonic, readings)


def busbw(case: Case, group: tuple[int, ...], count: int) -> float:
    """GB/s of a healthy cluster."""
    name = case.collective
    if collective(name).alone:
        return COPY.get(name, 1300)
    if len({rank // GPUS for rank in group}) == 1:
        return 478 if name == "all_reduce" else 380
    if name in ("p2p", "p2p_bidirectional"):
        return RAIL / GIGA if len(group) == 2 else 380
    if case.algorithm == "ring":
        return RING[name]
    return 467 if name == "all_reduce" and count == 2 else AUTO[name]


def _bytes(case: Case, group: tuple[int, ...], count: int) -> dict[tuple[int, str], tuple[float, float]]:
    """(a rank of the node, port) → bytes that one call sends and receives there."""
    if len({rank // GPUS for rank in group}) == 1:
        return {}
    own = {rank: DEVICES[rank % GPUS] if case.rail in ("", "own") else case.rail for rank in group}
    if case.collective in ("p2p", "p2p_bidirectional"):
        both = float(case.size) if case.collective == "p2p_bidirectional" else 0.0
        pairs = [pair for pair in zip(group[::2], group[1::2], strict=False) if pair[0] // 8 != pair[1] // 8]
        found = {(a, own[a]): (float(case.size), both) for a, _ in pairs}
        return found | {(b, own[b]): (both, float(case.size)) for _, b in pairs}
    if case.collective == "p2p_ring" and case.rail:
        return {(rank, port): (float(case.size),) * 2 for rank, port in own.items()}
    if case.collective == "p2p_ring":
        ends = {(node * GPUS, DEVICES[7]): (float(case.size), 0.0) for node in range(count)}
        return ends | {(node * GPUS, DEVICES[0]): (0.0, float(case.size)) for node in range(count)}
    least = (
        "hierarchical" if case.collective == "all_reduce" and count == 2 else candidates(case.collective)[0]
    )
    algorithm = "ring" if case.algorithm == "ring" else least
    share = case.size * wire_factor(case.collective, algorithm, ClusterShape(count, GPUS, 8, 50e9)) / 8
    return {(node * GPUS, port): (share, share) for node in range(count) for port in DEVICES}


def acceptance_run(
    path: Path,
    count: int = 2,
    profile: Profile = LAMBDA,
    seed: int = 1,
    noise: float = 0.004,
    shares: Mapping[Key, float] | None = None,
) -> Run:
    """A run of ``count`` nodes of eight H100 GPUs; without slow ports (``shares``) no check finds fault with it."""
    where = tuple(replace(rank, device=f"cuda:{rank.local_rank}") for rank in runs.ranks(count, GPUS))
    job = Job(profile, where, "nccl", AcceptOptions(), DEVICES, tuple(range(8)))
    phases, skipped = acceptance(job, 1.0)
    made = Made(profile, nodes(count), random.Random(seed), noise, shares or {})
    for phase in phases:
        made.phase(phase)
        _logs(path / "logs", phase, count)
    (path / LOGS / FABRIC).write_text(json.dumps(to_json(look(run=no_tool).answers)) + "\n")
    manifest = Manifest(
        id="run", started=1.7e9, command=("railgauge", "accept"), profile_name=profile.name,
        profile_text=profile.text, launcher="openmpi", backend="nccl", ranks=where,
        settings=Settings(pid=1, repetitions=2, budget=1.0),
        versions={"railgauge": __version__}, environment={str(rank.rank): {} for rank in where},
        simulated=True,
    )  # fmt: skip
    run = Run(
        path=path, manifest=manifest, plan=Plan(tuple(phases), (), tuple(skipped)), facts=made.machines,
        measurements=(), losses=(), phases=(), counters=(), verdicts=(), notes=(), ended=None,
        windows=tuple(each for phase in phases if phase.name == STEADY for each in _windows(phase, made)),
        joined=(Joined(phases[0].name, len(where), gpus={str(rank.rank): gpu_of(rank.rank) for rank in where}),),
    )  # fmt: skip
    return _followed_up(run, made, job) if shares else _measured(run, made)


def _measured(run: Run, made: Made) -> Run:
    """The run with what was measured so far."""
    return replace(
        run, measurements=tuple(made.measurements), phases=tuple(made.marks), counters=tuple(made.counters),
        ended=run.manifest.started + made.now,
        health=tuple(health_of(phase, each.rank) for phase in run.plan.phases for each in run.manifest.ranks),
    )  # fmt: skip


def _followed_up(run: Run, made: Made, job: Job) -> Run:
    """The run with what its own follow-ups measure again."""
    plan = [*run.plan.phases]

    def now() -> Run:
        return _measured(replace(run, plan=replace(run.plan, phases=tuple(plan))), made)

    options = SimpleNamespace(nightly=None, sweeps=(), rules=SimpleNamespace(budget=1.0))
    live: Any = SimpleNamespace(
        evidence=lambda: Evidence(now(), made.profile), profile=made.profile, job=job, options=options,
        in_time=lambda *_: True, add=plan.append, measure=made.phase,
    )  # fmt: skip
    for phase in run.plan.phases:
        follow_up(live, phase, None)
    return now()


def _windows(phase: Phase, made: Made) -> Iterator[Window]:
    """What the rings of the steady load told: every healthy rail as fast as the others, all the time."""
    (case,) = phase.cases
    for group in case.groups:
        seconds = case.size / RAIL / made.share(case, group)
        for slot in range(1, round(phase.rules["budget"] / WINDOW) + 1):
            each = (seconds,) * len(group)
            wrong = (0,) * len(group)
            calls = max(1, round(0.9 * WINDOW / seconds))
            yield Window(
                slot * WINDOW, each, seconds, seconds, calls, wrong, case.count * len(group), case.id, group
            )


def no_tool(command: Sequence[str], limit: float) -> ToolExit:
    raise FileNotFoundError(command[0])


def gpu_of(rank: int) -> WorkerGpu:
    return WorkerGpu(rank % GPUS, "NVIDIA H100 80GB HBM3", f"GPU-{rank}", clock_sm_max=1.98e9)


def health_of(phase: Phase, rank: int) -> HealthLine:
    spell = GpuDuringCase(phase.cases[0].id, 1.0, 9, 0, [1.9e9, 1.98e9], [2.6e9, 2.6e9], [40, 55], [300, 600])
    return HealthLine(phase.name, rank, gpu_of(rank), [spell])


def _logs(folder: Path, phase: Phase, count: int) -> None:
    """NCCL's log of each rank, in the phases that ask for it."""
    pinned = phase.name.startswith("pinned")
    if phase.name != "evidence" and not pinned:
        return
    folder.mkdir(parents=True, exist_ok=True)
    rails = [phase.cases[0].rail.split("/")[0]] if pinned else [name.split("/")[0] for name in DEVICES]
    for rank in range(count * GPUS):
        (folder / f"{phase.name}.{rank}.log").write_text(_log(rank, count, rails))


def _log(rank: int, count: int, rails: list[str]) -> str:
    node, local = divmod(rank, GPUS)
    total, peer = count * GPUS, (rank + GPUS) % (count * GPUS)
    listed = " ".join(f"[{at}]{name}:1/IB" for at, name in enumerate(rails))
    comm = f"ncclCommInitRank comm 0xa{rank} rank {rank} nranks {total} cudaDev {local} nvmlDev {local}"
    comm += f" busId {0x10 * (local + 1) + 2:x}000 commId 0x7"
    said = (
        "NCCL_IB_HCA set to ^=mlx5_0",
        f"NET/IB : Using {listed} [RO]; OOB eth0:10.0.0.{node + 1}<0>",
        "Using network IB",
        f"{comm} - Init START",
        f"comm 0xa{rank} rank {rank} nRanks {total} nNodes {count} localRanks 8 localRank {local} MNNVL 0",
        f"Channel 00/0 : {rank}[{local}] -> {peer}[{local}] [send] via NET/IB/{0 if len(rails) == 1 else local}/GDRDMA",
        f"{comm} - Init COMPLETE",
    )
    return "".join(f"n{node}:{1000 + rank}:{2000 + rank} [{local}] NCCL INFO {text}\n" for text in said)


def judged(run: Run, profile: Profile = LAMBDA) -> tuple[Status, list[Verdict]]:
    """The status of a run, and every verdict that is no pass."""
    found = judge(run, profile).run
    return status(found), [
        each for each in found.verdicts if each.status in (Status.FAIL, Status.INCONCLUSIVE)
    ]


def with_rows(run: Run, change: Callable[[Case, Measurement], Measurement | None]) -> Run:
    """The run with its measurements changed; None takes one away."""
    cases = {case.id: case for case in run.plan.cases}
    found = (change(cases[each.case], each) for each in run.measurements)
    return replace(run, measurements=tuple(each for each in found if each is not None))


def slower(found: Measurement, times: float) -> Measurement:
    """The measurement with all of its times so much longer."""
    return replace(
        found,
        pipelined=tuple(tuple(each * times for each in block) for block in found.pipelined),
        isolated=tuple(each * times for each in found.isolated),
        ended=found.started + (found.ended - found.started) * times,
    )


def with_readings(
    run: Run, change: Callable[[CounterLine, int, dict[str, dict[str, dict[str, int]]]], None]
) -> Run:
    """The run with its counters changed in place: the line, the node's number, subject → group → counter → value."""
    lines = []
    for line in run.counters:
        shots = []
        for at, shot in enumerate(line.snapshots):
            readings: Any = {
                name: {g: dict(v) for g, v in groups.items()} for name, groups in shot.readings.items()
            }
            change(line, at, readings)
            shots.append(Snapshot(shot.time, shot.monotonic, readings))
        lines.append(replace(line, snapshots=tuple(shots)))
    return replace(run, counters=tuple(lines))


def grown_from(run: Run, phase: str, when: str, node: int, growth: Mapping[tuple[str, str, str], int]) -> Run:
    """The run in which these (subject, group, counter) of a node stand higher from that reading on."""
    begun = []

    def change(line: CounterLine, at: int, readings: dict[str, dict[str, dict[str, int]]]) -> None:
        if (line.phase, line.when) == (phase, when):
            begun.append(True)
        if begun and at == node:
            for (subject, group, counter), more in growth.items():
                readings[subject][group][counter] += more

    return with_readings(run, change)
