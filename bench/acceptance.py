"""A run from its first message to its verdict: probe, plan, phases, judge, report.

Every rank enters ``take_part``. Rank 0 coordinates; the others serve until they are dismissed.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from . import __version__, paths, preflight
from .address import Meeting, meeting_place
from .control import Alone, Control, Message, Mpi
from .facts import Node
from .judge import judge, status
from .launch import Place, agree, quiet_mpi
from .measure import Rules
from .model import EXIT, Rank, Status
from .order import Order
from .plan import (
    NCCL_RESERVE,
    TORCH_HOST,
    Memory,
    Request,
    acceptance,
    by_node,
    everyone,
    fit,
    pair_cases,
    rotation,
    sweep_cases,
)
from .profile import Profile
from .rows import rows
from .store import Manifest, Phase, Plan, Recorder, Run, load, save_verdicts
from .supervise import Coordinator, Limits, Lost, Stopped, Supervisor, dismiss

PROBE_SECONDS = 120.0
FABRIC_SECONDS = 400.0  # three tools, two minutes each at most
SUSPECT_RULES = {"precision": 0.0, "budget": 0.25}
EXIT_ERROR = EXIT[Status.ERROR]


class CannotRun(Exception):
    """Nothing can be measured here; the message says what is missing. Exit status 3."""


@dataclass(frozen=True)
class Options:
    """What a person asked for.

    sweeps      what ``railgauge run`` measures instead of the profile's sweep
    go_on       measure even when a check that needs no measurement fails
    probe_only  end after the facts: ``railgauge probe``
    """

    profile: Profile
    out: Path
    command: tuple[str, ...]
    limits: Limits = field(default_factory=Limits)
    rules: Rules = field(default_factory=Rules)
    repetitions: int = 2
    sweeps: tuple[Request, ...] = ()
    report: Callable[[Run, Profile], None] | None = None
    go_on: bool = False
    probe_only: bool = False


class Watcher(Protocol):
    """What a person sees while a run goes on; the command line puts a terminal behind it."""

    def planned(self, plan: Plan, manifest: Manifest) -> None: ...

    def planned_more(self, phase: Phase) -> None: ...

    def phase(self, phase: Phase) -> None: ...

    def notice(self, kind: str, fields: dict[str, Any]) -> None: ...

    def probed(self, run: Run) -> None: ...

    def finished(self, run: Run) -> None: ...


def take_part(options: Options, where: Place, watcher: Watcher) -> int:
    """Be this rank's supervisor until the run is over; the exit status, which only rank 0's matters."""
    for name, value in quiet_mpi(options.profile.rails.management).items():
        os.environ.setdefault(name, value)  # MPI reads these when it starts, whoever started us
    control: Control = Mpi() if where.mpi else Alone()
    agree(where, control.size)
    supervisor = Supervisor(control, answer, dict(os.environ))
    stopping = _on_signals(supervisor, control.rank)
    if control.rank != 0:
        supervisor.serve()
        control.close()
        return 0
    code = EXIT_ERROR
    try:
        code = _coordinate(options, where, control, supervisor, watcher, stopping)
    finally:
        supervisor.stop_now()
        # all is written by now: who does not answer must not keep us, and MPI's own end waits for everybody
        if dismiss(control, 1.0 if stopping() else options.limits.quit):
            control.close()
        else:
            control.abandon(code)
    return code


def _on_signals(supervisor: Supervisor, rank: int) -> Callable[[], bool]:
    asked: list[int] = []

    def ask(number: int, _: Any) -> None:
        asked.append(number)
        if rank != 0 or len(asked) > 1:
            supervisor.stop_now()
            os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask)
    return lambda: bool(asked)


def _coordinate(
    options: Options,
    where: Place,
    control: Control,
    supervisor: Supervisor,
    watcher: Watcher,
    stopping: Callable[[], bool],
) -> int:
    with Recorder(options.out) as recorder:
        chief = Coordinator(control, supervisor, recorder, options.limits, watcher.notice, stopping)
        whole = _measure(chief, options, where, watcher)
    code = EXIT_ERROR
    if options.probe_only and whole:
        code = _probed(options, watcher)
    elif (options.out / "manifest.json").exists():
        # somebody who interrupts is not kept waiting for a drawing, and mpirun kills after a second
        code = finish(options.out, options.profile, watcher, options.report if whole else None)
    return code


def _measure(chief: Coordinator, options: Options, where: Place, watcher: Watcher) -> bool:
    """Probe, plan and run the phases; False when a person or the launcher stopped it."""
    try:
        ranks, nodes, hellos = _meet(chief, chief.control.size)
        backend = "none" if options.probe_only else choose_backend(options.profile, hellos, ranks, nodes)
        ranks = tuple(replace(rank, device=device_name(rank, backend, nodes)) for rank in ranks)
        plan = make_plan(options, ranks, backend, memory(ranks, nodes, backend))
        manifest = _manifest(options, where, ranks, backend, hellos)
        chief.recorder.manifest(manifest)
        chief.recorder.facts([node.to_json() for node in nodes])
        chief.recorder.plan(plan)
        _fabric(chief, options.profile)
        if options.probe_only:
            chief.recorder.end()
            return True
        watcher.planned(plan, manifest)
        chief.ranks = ranks
        meeting = meeting_place(nodes, options.profile.rails)
        chief.order = _order(options, ranks, backend, meeting.address)
        chief.environment = _environment(options.profile, backend, meeting, ranks)
        _phases(chief, plan, options, watcher)
        _fabric(chief, options.profile)
        chief.recorder.end()
    except Stopped:
        chief.recorder.line("note", text="interrupted by a person or the launcher; what was measured is kept")
        watcher.notice("stopped", {"folder": options.out})
        return False
    except Lost as lost:
        chief.recorder.line("note", text=str(lost))
    return True


def _fabric(chief: Coordinator, profile: Profile) -> None:
    """Ask the subnet from the first node: before anything is measured, and once more at the end."""
    if profile.rails.kind == "infiniband":
        chief.recorder.fabric(chief.ask("fabric", [0], FABRIC_SECONDS)[0]["answers"])


def _meet(chief: Coordinator, size: int) -> tuple[tuple[Rank, ...], tuple[Node, ...], dict[int, Message]]:
    """Who is here: ranks, the facts of every node in the order of its first rank, every rank's hello."""
    hellos = chief.ask("hello", list(range(size)), PROBE_SECONDS)
    ranks = assign(hellos)
    leads = [members[0] for members in by_node(ranks)]
    facts = chief.ask("probe", leads, PROBE_SECONDS)
    return ranks, tuple(Node.from_json(facts[lead]) for lead in leads), hellos


def _phases(chief: Coordinator, plan: Plan, options: Options, watcher: Watcher) -> None:
    leads = [members[0] for members in by_node(chief.ranks)]
    stops = preflight.stops(chief.recorder.path, options.profile)
    if stops and not options.go_on:
        text = f"stopped before measuring: {stops[0].message}; --go-on measures all the same"
        chief.recorder.line("note", text=text)
        watcher.notice("refused", {"text": text})
        return
    for phase in plan.phases:
        _phase(chief, leads, phase, watcher)
        if phase.name == paths.FIRST:
            plan = _suspects(chief, leads, plan, options.profile, watcher)


def _phase(chief: Coordinator, leads: list[int], phase: Phase, watcher: Watcher) -> None:
    """One phase between two snapshots of every node's counters."""
    watcher.phase(phase)
    for when in ("before", "after"):
        snapshots = chief.ask("counters", leads, PROBE_SECONDS)
        chief.recorder.counters(phase.name, when, [snapshots[lead] for lead in leads])
        if when == "before":
            chief.run(phase, {case.id: rotation(case) for case in phase.cases})


def _suspects(chief: Coordinator, leads: list[int], plan: Plan, profile: Profile, watcher: Watcher) -> Plan:
    """Measure again, alone, whoever the first pass made suspect; the plan with what was added."""
    assert chief.order is not None
    for time_ in range(1, paths.TIMES + 1):
        name = paths.AGAIN if time_ == 1 else f"{paths.AGAIN}-{time_}"
        cases = [
            case
            for number, pairs in enumerate(
                paths.to_confirm(rows(load(chief.recorder.path)), chief.ranks, profile)
            )
            for case in pair_cases(name, f"test-{number}", pairs, profile, chief.order.backend)
            if case.collective == "p2p"
        ]
        if not cases:
            break
        phase = Phase(name, "suspects again, alone", tuple(cases), rules=SUSPECT_RULES)
        phase = replace(phase, seconds=0.5 * len(cases) + 4)
        plan = replace(plan, phases=(*plan.phases, phase))
        chief.recorder.plan(plan)
        watcher.planned_more(phase)
        _phase(chief, leads, phase, watcher)
    return plan


def settle(folder: Path, profile: Profile, early: bool = False) -> Run:
    """Judge a run folder and write its verdicts; ``early``: by what needs no measurement."""
    run = judge(load(folder), profile, early)
    save_verdicts(folder, run.verdicts, profile.name)
    return run


def finish(
    folder: Path, profile: Profile, watcher: Watcher, report: Callable[[Run, Profile], None] | None
) -> int:
    """Judge a run folder, write verdicts and reports, tell the person; the exit status."""
    run = settle(folder, profile)
    if report:
        report(run, profile)
    watcher.finished(run)
    return EXIT[status(run)]


def _probed(options: Options, watcher: Watcher) -> int:
    """Judge what needs no measurement, show the facts; the exit status."""
    run = settle(options.out, options.profile, early=True)
    watcher.probed(run)
    return EXIT[status(run)]


def answer(what: str) -> Message:
    """What a supervisor knows of its machine: ``hello``, ``probe``, ``counters`` or ``fabric``."""
    from .fabric.judge import look
    from .probe.node import probe, snapshot

    if what == "hello":
        return hello()
    if what == "fabric":
        return {"answers": [{**asdict(said), "status": said.status.value} for said in look().answers]}
    return probe().to_json() if what == "probe" else snapshot().to_json()


def hello() -> Message:
    """Host, process, allowed environment and torch of this rank, without importing torch."""
    from .probe.environment import allowed

    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "torch": bool(importlib.util.find_spec("torch")),
        "python": sys.executable,
        "environment": allowed(os.environ)[0],
    }


def assign(hellos: Mapping[int, Message]) -> tuple[Rank, ...]:
    """Ranks with their local ranks, counted a host in the order of ranks."""
    seen: dict[str, int] = {}
    ranks = []
    for rank in sorted(hellos):
        host = str(hellos[rank]["host"])
        ranks.append(Rank(rank, host, seen.setdefault(host, 0)))
        seen[host] += 1
    return tuple(ranks)


def choose_backend(
    profile: Profile, hellos: Mapping[int, Message], ranks: Sequence[Rank], nodes: Sequence[Node]
) -> str:
    """What the profile says; "auto": nccl where every node has a GPU for each of its ranks, else gloo.

    Raises CannotRun where torch is missing.
    """
    without = [rank for rank, said in hellos.items() if not said["torch"]]
    if without:
        said = hellos[without[0]]
        raise CannotRun(
            f"torch is not installed for {said['python']} on {said['host']} (rank {without[0]}"
            f"{f' and {len(without) - 1} more' if len(without) > 1 else ''}): pip install torch"
        )
    if profile.backend != "auto":
        return profile.backend
    enough = all(len(node.gpus) >= len(here) for node, here in zip(nodes, by_node(ranks), strict=True))
    return "nccl" if enough else "gloo"


def device_name(rank: Rank, backend: str, nodes: Sequence[Node]) -> str:
    """``cuda:3 NVIDIA H100 80GB HBM3`` or ``cpu``."""
    if backend != "nccl":
        return "cpu"
    gpus = next(node.gpus for node in nodes if node.name == rank.node)
    name = gpus[rank.local_rank].name if rank.local_rank < len(gpus) else None
    return f"cuda:{rank.local_rank} {name or 'no such GPU'}"


def memory(ranks: Sequence[Rank], nodes: Sequence[Node], backend: str) -> Memory:
    """What the rank with the least may use: its share of the host's memory, or of its own GPU's."""
    rooms = []
    for node, here in zip(nodes, by_node(ranks), strict=True):
        if backend == "nccl":
            for gpu in node.gpus[: len(here)]:
                rooms.append(Memory((gpu.memory_free or 0) - NCCL_RESERVE, f"GPU {gpu.index} of {node.name}"))
        else:
            free = node.host.memory_available or 0
            rooms.append(Memory(int(free * 0.9) // len(here) - TORCH_HOST, f"{node.name}, {len(here)} ranks"))
    return min(rooms, key=lambda room: room.available) if rooms else Memory(0, "no GPU")


def make_plan(options: Options, ranks: tuple[Rank, ...], backend: str, room: Memory) -> Plan:
    """The phases that were asked for, without the cases that do not fit."""
    budget = options.rules.budget
    if options.probe_only:
        return Plan(())
    if options.sweeps:
        cases = [case for sweep in options.sweeps for case in sweep_cases("run", sweep, everyone(ranks))]
        seconds = 0.0 if options.rules.iterations else len(cases) * (budget * 1.3 + 0.1) + 4
        phases = [Phase("run", "the sweep that was asked for", tuple(cases), seconds=seconds)]
        skipped: list[tuple[str, str]] = []
    else:
        phases, skipped = acceptance(options.profile, ranks, backend, budget)
    return replace(fit(phases, backend, room), skipped=tuple(skipped))


def _order(options: Options, ranks: Sequence[Rank], backend: str, address: str) -> Order:
    return Order(
        phase="",
        cases=(),
        rank=0,
        size=len(ranks),
        local_rank=0,
        backend=backend,
        address=address,
        timeout=options.limits.hang + 30,
        rules=options.rules,
        repetitions=options.repetitions,
        rotation={},
        rails=options.profile.rails.devices if backend == "gloo" else (),
    )


def _environment(profile: Profile, backend: str, meeting: Meeting, ranks: Sequence[Rank]) -> dict[str, str]:
    """What the workers get on top of the user's own environment; the profile's settings are for NCCL."""
    wanted = {"PYTHONUNBUFFERED": "1"}
    if max(len(here) for here in by_node(ranks)) >= (os.cpu_count() or 1):
        wanted["OMP_NUM_THREADS"] = "1"
    if backend == "nccl":
        return {**wanted, **profile.environment}
    # gloo takes the address of the host's name otherwise: often the management network, or none at all
    rails = ",".join(profile.rails.devices) if len(by_node(ranks)) > 1 else ""
    return {
        **wanted,
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME") or rails or meeting.interface,
    }


def _manifest(
    options: Options, where: Place, ranks: tuple[Rank, ...], backend: str, hellos: Mapping[int, Message]
) -> Manifest:
    return Manifest(
        id=options.out.resolve().name,
        started=time.time(),
        command=options.command,
        profile_name=options.profile.name,
        profile_text=options.profile.text,
        launcher=where.launcher or "none",
        backend=backend,
        ranks=ranks,
        settings={
            "pid": os.getpid(),
            "precision": options.rules.precision,
            "budget": options.rules.budget,
            "iterations": options.rules.iterations,
            "repetitions": options.repetitions,
            "hang": options.limits.hang,
            "worker_environment": options.profile.environment if backend == "nccl" else {},
        },
        versions={"railgauge": __version__, "python": sys.version.split()[0]},
        environment={str(rank): said["environment"] for rank, said in hellos.items()},
    )
