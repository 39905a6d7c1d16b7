"""What the checks on counters and logs say just below, at and just above each limit, held to a golden file.

Three nodes of two GPUs and two rails, two phases of ten seconds in which each rail carries 10 GB each way.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import pytest
from msgspec import structs

import runs
from bench.judge.checks import CHECKS
from bench.judge.evidence import Evidence
from bench.model.counters import Snapshot
from bench.model.facts import Node, NvLink
from bench.model.kernel_log import KERNEL, KernelLog
from bench.model.measurement import Extra
from bench.model.profile import Profile, Rails
from bench.model.run_folder_lines import CounterLine, HealthLine, Joined, Loss
from bench.model.verdict import Verdict
from bench.nccl.log import read
from bench.plan import Request, sweep_cases
from bench.store import LOGS, WIRING, Phase, Plan, Settings
from bench.store.rows import Row, row_of
from golden import Golden, Parts, opened, shown
from made_nodes import LAMBDA, counted, interface, node, seen, with_port

SMALL = replace(LAMBDA, gpus=2, gpu_counts=(2,), rails=replace(LAMBDA.rails, count=2))
OPEN = replace(SMALL, rails=replace(SMALL.rails, excluded=()))
SOCKETS = replace(SMALL, rails=Rails("socket", 2, ("eth1", "eth2"), management="eth0"))
BUSY = 10**10  # bytes each way on a rail in a phase
PHASES = ("collectives", "ring")
Growth = Mapping[tuple[str, int, str, str, str], int]  # phase, node, subject, group, counter
FOLDER = TemporaryDirectory()  # removed when Python ends
PARTS = Parts()
part = PARTS.part


def fresh() -> Path:
    """A folder that nobody else has: of two processes that have forked each makes its own."""
    return Path(mkdtemp(dir=FOLDER.name))


@cache
def machine(number: int) -> Node:
    one = node(number)
    return replace(one, gpus=one.gpus[:2], ports=one.ports[:3], interfaces=one.interfaces[:4])


def pod(number: int) -> Node:
    return Node(
        f"n{number}", interfaces=tuple(interface(name) for name in ("eth0", "eth1", "eth2")), tcp=node(0).tcp
    )


def row(
    name: str, size: int, phase: str, ranks: Sequence[int] = range(6), rail: str = "", **changes: Any
) -> Row:
    case = replace(sweep_cases(phase, Request(name, size, size), (tuple(ranks),))[0], rail=rail)
    return row_of(case, runs.measured(case, **changes)[0])


def grown(shot: Snapshot, seconds: float, growth: Mapping[tuple[str, str, str], int]) -> Snapshot:
    """So much later; a counter that grows by None is gone."""
    readings = {
        subject: {group: dict(values) for group, values in groups.items()}
        for subject, groups in shot.readings.items()
    }
    for (subject, group, name), more in growth.items():
        values = readings.setdefault(subject, {}).setdefault(group, {})
        values[name] = values.get(name, 0) + more
    return Snapshot(shot.time + seconds, shot.monotonic + seconds, readings)


def run(
    growth: Growth,
    want: Profile = SMALL,
    machines: Sequence[Node] | None = None,
    rows: Sequence[Row] = (),
    busy: int = BUSY,
    quiet: Mapping[tuple[str, str, str], int] | None = None,
    between: Mapping[tuple[str, str, str], int] | None = None,
    phases: Sequence[str] = PHASES,
    seconds: float = 10.0,
    gone: Sequence[tuple[str, str]] = (),
    **made: Any,
) -> Evidence:
    """Phases in which these counters grew. ``quiet``, ``between``: of n0 before the first phase, and after it."""
    machines = machines or [machine(at) for at in range(3)]
    shots = [counted(each) for each in machines]
    lines = []
    if quiet is not None:
        after = [grown(shot, 10.0, quiet if at == 0 else {}) for at, shot in enumerate(shots)]
        lines += [CounterLine("quiet", "before", tuple(shots)), CounterLine("quiet", "after", tuple(after))]
        shots = after
    for phase in phases:
        own = {
            (subject, group, name): more
            for (where, at, subject, group, name), more in growth.items()
            if (where, at) == (phase, 0)
        }
        of = [
            {key[2:]: more for key, more in growth.items() if key[:2] == (phase, at)} | {}
            for at in range(len(shots))
        ]
        assert of[0] == own
        after = []
        for at, shot in enumerate(shots):
            usual: dict[tuple[str, str, str], int] = {}
            for rail in ("mlx5_1/1", "mlx5_2/1"):
                usual |= {(rail, "counters", f"port_{way}_data"): busy // 4 for way in ("xmit", "rcv")}
            for rail in ("eth1", "eth2"):
                usual |= {(rail, "statistics", f"{way}_bytes"): busy for way in ("tx", "rx")}
            usual = {key: more for key, more in usual.items() if key[0] in shot.readings}
            all_of_it = {key: usual.get(key, 0) + of[at].get(key, 0) for key in (*usual, *of[at])}
            after.append(grown(shot, seconds, all_of_it))
        if (phase, "gone") in gone:
            after[0] = Snapshot(
                after[0].time,
                after[0].monotonic,
                {k: v for k, v in after[0].readings.items() if k != "mlx5_2/1"},
            )
        lines += [CounterLine(phase, "before", tuple(shots)), CounterLine(phase, "after", tuple(after))]
        shots = [grown(shot, 0.0, between or {}) if at == 0 else shot for at, shot in enumerate(after)]
    cases = {each.case.id: each.case for each in rows}
    plan = Plan(
        tuple(
            Phase(name, "", tuple(case for case in cases.values() if case.phase == name)) for name in phases
        )
    )
    evidence = seen(machines, each=2, counters=lines, phases=phases, plan=made.pop("plan", plan), **made)
    return Evidence(replace(evidence.run, measurements=tuple(each.measurement for each in rows)), want)


def line(each: Verdict) -> str:
    text = f"    {each.status.value} {each.subject}: {each.measured} | {each.wanted}; {each.next_step}"
    return f"{text} | {shown((each.value, each.bound, each.evidence))}"


def said(check: str, evidence: Evidence) -> list[str]:
    return [line(each) for each in CHECKS[check](evidence)]


CROSSING = (row("all_reduce", 1 << 20, "collectives"), row("all_reduce", 1 << 20, "ring", ranks=(0, 1)))


def moved(subject: str, count: int, phase: str = "collectives", at: int = 0) -> Growth:
    """So many bytes out of a port, in words of four bytes."""
    return {(phase, at, subject, "counters", "port_xmit_data"): count // 4}


@part("exclusion.bytes")
def excluded_bytes() -> list[str]:
    """The floor is 11 MB of ten seconds, a hundredth of what a rail carried 200 MB."""
    lines = []
    for count in (0, 10_999_996, 11_000_000, 11_000_004, 199_999_996, 200_000_000, 300_000_000):
        for phase in PHASES:  # the second stays inside the nodes
            for want in (SMALL, OPEN):
                evidence = run(moved("mlx5_0/1", count, phase), want, rows=CROSSING)
                lines += [f"{count} {phase} {len(want.rails.excluded)}", *said("exclusion.bytes", evidence)]
    for before in (99_999_996, 100_000_000, 150_000_000):
        quiet = {("mlx5_0/1", "counters", "port_xmit_data"): before // 4}
        for want in (SMALL, OPEN):
            evidence = run(moved("mlx5_0/1", 200_000_000), want, rows=CROSSING, quiet=quiet)
            lines += [f"before {before}", *said("exclusion.bytes", evidence)]
    for busy in (0, 4, 1 << 19, 1 << 20):
        evidence = run(moved("mlx5_0/1", 200_000_000), rows=CROSSING, busy=busy)
        lines += [f"rails {busy}", *said("exclusion.bytes", evidence)]
    lost = [with_port(machine(0), "mlx5_1", counters={}), machine(1), machine(2)]
    lines += [
        "rails not known",
        *said("exclusion.bytes", run(moved("mlx5_0/1", 300_000_000), machines=lost, rows=CROSSING)),
    ]
    lost = [with_port(machine(0), "mlx5_0", counters={}), machine(1), machine(2)]
    for want in (SMALL, OPEN):
        lines += [
            "its bytes not known",
            *said("exclusion.bytes", run({}, want, machines=lost, rows=CROSSING)),
        ]
    bare = [replace(machine(0), ports=machine(0).ports[:1]), machine(1), machine(2)]
    evidence = run(moved("mlx5_0/1", 300_000_000), machines=bare, rows=CROSSING)
    lines += ["no rails on n0", *said("exclusion.bytes", evidence)]
    renamed = replace(SMALL, rails=replace(SMALL.rails, excluded=("mlx5_bond_0",)))
    lines += ["renamed", *said("exclusion.bytes", run({}, renamed, rows=CROSSING))]
    lines += ["by gloo", *said("exclusion.bytes", run({}, rows=CROSSING, backend="gloo"))]
    lines += [
        "by gloo, and busy",
        *said("exclusion.bytes", run(moved("mlx5_0/1", 300_000_000), rows=CROSSING, backend="gloo")),
    ]
    return lines


@part("IP beside the rails")
def by_ip() -> list[str]:
    """An interface that carries a tenth of what a rail did, or 16 GiB; IPoIB of a rail and of an excluded port."""
    lines = []
    for busy in (BUSY, 20 * BUSY):
        for count in ((16 << 30) - 1, 16 << 30, 2 * busy // 10 - 1, 2 * busy // 10, 4 * BUSY):
            for name in ("eth0", "ibs1", "lo"):
                growth = {("collectives", 0, name, "statistics", "tx_bytes"): count}
                evidence = run(growth, rows=CROSSING, busy=busy)
                lines += [f"{busy} {count} {name}", *said("exclusion.bytes", evidence)]
    for before in (8 << 30, (8 << 30) - 10, 9 << 30):
        quiet = {("eth0", "statistics", "rx_bytes"): before}
        growth = {("collectives", 0, "eth0", "statistics", "rx_bytes"): 16 << 30}
        lines += [f"before {before}", *said("exclusion.bytes", run(growth, rows=CROSSING, quiet=quiet))]
    infiniband = [with_port(machine(at), "mlx5_0", link_layer="InfiniBand", netdev="ibs2") for at in range(3)]
    for netdev, layer in itertools.product(("ibs2", None, "nosuch"), ("InfiniBand", "Ethernet")):
        here = [with_port(each, "mlx5_0", link_layer=layer, netdev=netdev) for each in infiniband]
        for packets in (0, 100_000):
            growth = {
                **moved("mlx5_0/1", 300_000_000),
                ("collectives", 0, "ibs2", "statistics", "tx_bytes"): 250_000_000,
                ("collectives", 0, "ibs2", "statistics", "rx_bytes"): 30_000_000,
                ("collectives", 0, "ibs2", "statistics", "tx_packets"): packets,
            }
            evidence = run(growth, machines=here, rows=CROSSING)
            lines += [f"{netdev} {layer} {packets}", *said("exclusion.bytes", evidence)]
    for sent, received in (
        (100, 83),
        (100, 84),
        (2618, 0),
        (2619, 1),
        (100_000, 100_000),
        (10**7, 10**7),
        (1, None),
    ):
        hw = {"sent_pkts": 0} if received is None else {"sent_pkts": 0, "rcvd_pkts": 0}
        soft = [with_port(machine(at), "mlx5_0", counters={}, hw_counters=hw) for at in range(3)]
        growth = {("collectives", 0, "mlx5_0/1", "hw_counters", "sent_pkts"): sent}
        growth |= (
            {} if received is None else {("collectives", 0, "mlx5_0/1", "hw_counters", "rcvd_pkts"): received}
        )
        lines += [
            f"packets {sent} {received}",
            *said("exclusion.bytes", run(growth, machines=soft, rows=CROSSING)),
        ]
    pods = [pod(at) for at in range(3)]
    for count in (25_999_999, 26_000_000, 26_000_001, 300_000_000):
        growth = {("collectives", 0, "eth0", "statistics", "tx_bytes"): count}
        for backend in ("nccl", "gloo"):
            evidence = run(growth, SOCKETS, machines=pods, rows=CROSSING, backend=backend)
            lines += [f"management {count} {backend}", *said("exclusion.bytes", evidence)]
    return lines


@part("growth.errors")
def errors() -> list[str]:
    lines = []
    plants: dict[str, Growth] = {
        "nothing": {},
        **{
            f"{subject} {group} {name} {more}": {("collectives", 0, subject, group, name): more}
            for subject in ("mlx5_1/1", "mlx5_0/1")
            for group, name, more in (
                ("counters", "symbol_error", 1),
                ("counters", "symbol_error", 65535),
                ("counters", "link_downed", 255),
                ("counters", "link_downed", 300),
                ("counters", "port_rcv_errors", -1),
                ("counters", "port_xmit_wait", 5),
                ("hw_counters", "packet_seq_err", 2),
                ("hw_counters", "out_of_sequence", 3),
                ("hw_counters", "unheard_of", 3),
            )
        },
        "in both phases": {(phase, 1, "mlx5_1/1", "counters", "symbol_error"): 2 for phase in PHASES},
        "two counters": {
            ("ring", 1, "mlx5_1/1", "counters", name): 2 for name in ("symbol_error", "port_rcv_errors")
        },
    }
    checks = ("growth.errors", "growth.others", "growth.congestion")
    for name, growth in plants.items():
        evidence = run(growth)
        lines.append(name)
        for check in checks:
            lines += [f"{check}{each}" for each in said(check, evidence)]
    for more in (0, 1, 7, -2):
        between = {
            ("mlx5_1/1", "counters", "symbol_error"): more,
            ("mlx5_0/1", "counters", "symbol_error"): more,
        }
        for growth in (
            {},
            plants["in both phases"],
            {("ring", 0, "mlx5_1/1", "counters", "symbol_error"): 3},
        ):
            evidence = run(growth, between=between)
            lines += [f"between {more} {len(growth)}", *said("growth.errors", evidence)]
            manifest = replace(evidence.manifest, settings=Settings(resumed=1))
            resumed = Evidence(replace(evidence.run, manifest=manifest), SMALL)
            lines += ["resumed", *said("growth.errors", resumed)]
    gone = run({}, gone=(("ring", "gone"),))
    lines += ["a rail that is gone", *said("growth.errors", gone)]
    for counters in (
        {},
        {"symbol_error": 0},
        {**machine(0).ports[1].counters, "symbol_error": 65535},
        {"port_xmit_data": 0},
    ):
        here = [with_port(machine(0), "mlx5_1", counters=counters, hw_counters={}), machine(1), machine(2)]
        lines += [f"{len(counters)} counters", *said("growth.errors", run({}, machines=here))]
    bare = [replace(machine(0), ports=machine(0).ports[:1]), machine(1), machine(2)]
    lines += ["no rails on n0", *said("growth.errors", run({}, machines=bare))]
    plain = replace(SMALL, rails=Rails())
    lines += [
        "no rails",
        *said("growth.errors", run({}, plain)),
        *said("growth.errors", run({}, plain, phases=())),
    ]
    roce = replace(SMALL, rails=replace(SMALL.rails, kind="roce"))
    read: Sequence[tuple[dict[str, int], dict[str, int]]] = (
        ({}, {}), ({"port_xmit_data": 0}, {}), ({}, {"out_of_sequence": 0}), ({}, {"packet_seq_err": 0}),
    )  # fmt: skip
    for counters, hw in read:
        changed = {"link_layer": "Ethernet", "counters": counters, "hw_counters": hw}
        here = [
            replace(one, ports=tuple(replace(each, **changed) for each in one.ports))
            for one in map(machine, range(3))
        ]
        lines += [f"RoCE {counters} {hw}", *said("growth.errors", run({}, roce, machines=here))]
    evidence = run({})
    missing = Evidence(replace(evidence.run, counters=evidence.run.counters[:3]), SMALL)
    lines += ["no reading after", *said("growth.errors", missing)]
    pods = [pod(at) for at in range(3)]
    for name in ("rx_errors", "tx_dropped", "rx_dropped", "collisions"):
        growth = {("ring", 1, face, "statistics", name): 4 for face in ("eth0", "eth1")}
        evidence = run(growth, SOCKETS, machines=pods)
        lines += [name, *said("growth.errors", evidence), *said("growth.others", evidence)]
    many: Growth = {
        ("ring", at, "mlx5_0/1", "counters", name): 1
        for at in range(3)
        for name in machine(0).ports[0].counters
    }
    begun = run({})
    anew = tuple(
        replace(
            each,
            snapshots=tuple(
                Snapshot(shot.time, shot.monotonic - 1e6, shot.readings) for shot in each.snapshots
            ),
        )
        if each.phase == "ring"
        else each
        for each in begun.run.counters
    )
    lines += ["started anew", *said("growth.errors", Evidence(replace(begun.run, counters=anew), SMALL))]
    return [
        *lines,
        "many",
        *said("growth.others", run({**many, **{(p, *key[1:]): 1 for key in many for p in PHASES}})),
    ]


@part("TCP and CPU")
def retransmissions() -> list[str]:
    lines = []
    pods = [pod(at) for at in range(3)]
    for again, sent in (
        (0, 0),
        (1, 1),
        (100, 9_999),
        (99, 10_000),
        (100, 10_000),
        (101, 10_000),
        (500, 20_000),
    ):
        growth = {("ring", 1, "tcp", "tcp", "RetransSegs"): again, ("ring", 1, "tcp", "tcp", "OutSegs"): sent}
        growth |= {
            ("ring", 2, "tcp", "tcp", "RetransSegs"): 2 * again,
            ("ring", 2, "tcp", "tcp", "OutSegs"): sent,
        }
        for want, machines in ((SOCKETS, pods), (SMALL, None), (replace(SMALL, rails=Rails()), None)):
            evidence = run(growth, want, machines=machines)
            lines += [f"{again} of {sent} {want.rails.kind}", *said("growth.retransmissions", evidence)]
    bare = [replace(each, tcp={}) for each in pods]
    lines += ["no TCP", *said("growth.retransmissions", run({}, SOCKETS, machines=bare))]
    for periods, times, waited in (
        (0, 0, 0),
        (19, 19, 5),
        (20, 1, 5),
        (20, 2, 5),
        (20, 3, 5),
        (100, 9, 1),
        (100, 10, 1),
    ):
        growth = {
            ("collectives", at, "cpu", "cpu", name): more
            for at in (0, 1)
            for name, more in (
                ("nr_periods", periods),
                ("nr_throttled", times),
                ("throttled_usec", waited * 10**6),
            )
        }
        twice = {**growth, **{("ring", *key[1:]): more for key, more in growth.items()}}
        worse = {
            **growth,
            ("ring", 0, "cpu", "cpu", "nr_periods"): 40,
            ("ring", 0, "cpu", "cpu", "nr_throttled"): 8,
            ("ring", 0, "cpu", "cpu", "throttled_usec"): 9,
        }
        for name, planted in (("one phase", growth), ("two phases", worse), ("twice", twice)):
            lines += [f"{periods} {times} {name}", *said("growth.throttling", _with_cpu(planted))]
    lines += ["no quota", *said("growth.throttling", run({}))]
    evidence = run({})
    gaps = Evidence(replace(evidence.run, counters=evidence.run.counters[:1]), SMALL)
    return [*lines, "no reading", *said("growth.throttling", gaps)]


def _with_cpu(growth: Growth) -> Evidence:
    """The counters of the quota are there from the first reading on."""
    evidence = run(growth)
    lines = []
    for each in evidence.run.counters:
        shots = []
        for shot in each.snapshots:
            cpu = {"nr_periods": 0, "nr_throttled": 0, "throttled_usec": 0} | dict(
                shot.readings.get("cpu", {}).get("cpu", {})
            )
            shots.append(Snapshot(shot.time, shot.monotonic, {**shot.readings, "cpu": {"cpu": cpu}}))
        lines.append(replace(each, snapshots=tuple(shots)))
    return Evidence(replace(evidence.run, counters=tuple(lines)), evidence.profile)


@part("rails.share")
def shares() -> list[str]:
    """Each rail beside its node's mean, and all of them beside what the calls sent."""
    lines = []
    big = row("all_reduce", 1 << 30, "collectives"), row("all_reduce", 1 << 30, "ring")
    for way, less in itertools.product(
        ("xmit", "rcv"), (0, 2 * 10**10 - 8, 2 * 10**10, 2 * 10**10 + 8, 3 * 10**10)
    ):
        growth = {("collectives", 1, "mlx5_1/1", "counters", f"port_{way}_data"): -less // 4}
        lines += [f"{way} {less}", *said("rails.share", run(growth, rows=big, busy=3 * 10**10))]
    for busy in (0, 10**9 - 4, 10**9, 2 * 10**9):
        lines += [f"busy {busy}", *said("rails.share", run({}, rows=CROSSING, busy=busy))]
    for busy in (10**9, 19_327_352_828, 19_327_352_832, 65_424_509_440, 65_424_509_444, 10**11):
        lines += [f"calls {busy}", *said("rails.share", run({}, rows=big, busy=busy))]
    for silent, busy in itertools.product(
        ((0, 1), ()), (10**10, 19_327_352_832, 38_654_705_660, 38_654_705_664)
    ):
        growth = {("ring", at, f"mlx5_{rail}/1", "counters", "port_xmit_data"): -busy // 4
                  for at in silent for rail in (1, 2)}  # fmt: skip
        evidence = run(growth, rows=big, busy=busy)
        vars(evidence)["log"] = read("n0:1:1 [0] NCCL INFO Using network IB\n")
        lines += [f"by IB {silent} {busy}", *said("rails.share", evidence)]
    lost = [with_port(machine(0), "mlx5_1", counters={"port_xmit_data": 0}), machine(1), machine(2)]
    lines += ["not known", *said("rails.share", run({}, machines=lost, rows=big))]
    for backend, want, phases in (
        ("gloo", SMALL, PHASES),
        ("nccl", replace(SMALL, rails=Rails()), PHASES),
        ("nccl", SMALL, ("rails", "pairs")),
    ):
        lines += [
            f"{backend} {phases}",
            *said("rails.share", run({}, want, rows=big, backend=backend, phases=phases)),
        ]
    alone_ = row("p2p_ring", 1 << 30, "steady", ranks=(0, 2, 4))
    evidence = run({}, rows=(*big, alone_), busy=0, phases=(*PHASES, "steady"))
    lines += ["a steady load of one rail", *said("rails.share", evidence)]
    lost_case = run({}, rows=big, busy=10**11)
    losses = (Loss(big[0].case.id, "it hung"),)
    lines += ["a case was lost", *said("rails.share", Evidence(replace(lost_case.run, losses=losses), SMALL))]
    return [*lines, "one node", *said("rails.share", run({}, machines=[machine(0)]))]


@part("pinned and intended")
def alone() -> list[str]:
    """One rail alone, and each GPU on its own: nine tenths of what was sent must be there, and no other rail move."""
    lines = []
    base = row("p2p", 1 << 26, "pinned-1", ranks=(0, 2), rail="mlx5_1/1")
    sent = (1 << 26) * (2 + 4 + 6 * 4 + 12)
    for share, other in itertools.product((0.0, 0.89, 0.9, 0.91, 2.0), (0, 11_000_000, 11_000_004, 10**8)):
        growth: Growth = {
            ("pinned-1", at, rail, "counters", "port_xmit_data"): int(count) // 4
            for at in (0, 1)
            for rail, count in (("mlx5_1/1", 2 * sent * share), ("mlx5_2/1", other if at == 0 else 0))
        }
        evidence = run(growth, rows=(base,), busy=0, phases=("pinned-1",))
        manifest = replace(evidence.manifest, settings=Settings(repetitions=2))
        lines += [
            f"{share} {other}",
            *said("rails.alone", Evidence(replace(evidence.run, manifest=manifest), SMALL)),
        ]
    for rows in (
        (),
        (structs.replace(base, measurement=replace(base.measurement, stop="failed")),),
        (structs.replace(base, case=replace(base.case, rail="mlx5_9/1")),),
    ):
        plan = Plan((Phase("pinned-1", "", (rows[0].case if rows else base.case,)),))
        lines += [f"{len(rows)}", *said("rails.alone", run({}, rows=rows, phases=("pinned-1",), plan=plan))]
    plan = Plan(
        (
            Phase("pinned-1", "", (base.case,)),
            Phase("pinned-2", "", (replace(base.case, id="x", phase="pinned-2"),)),
        )
    )
    lines += ["not begun", *said("rails.alone", run({}, rows=(base,), phases=("pinned-1",), plan=plan))]
    lost = [with_port(machine(0), "mlx5_2", counters={}), machine(1), machine(2)]
    lines += ["not known", *said("rails.alone", run({}, rows=(base,), machines=lost, phases=("pinned-1",)))]
    own = row("p2p", 1 << 26, "steady", ranks=(0, 2), rail="own")
    lines += ["in a steady load", *said("rails.intended", run({}, rows=(own,), phases=("steady",)))]
    for name in ("p2p", "p2p_bidirectional", "all_reduce"):
        own = row(name, 1 << 26, "rails", ranks=(0, 2), rail="own")
        for first, second, other in itertools.product(
            (0.0, 0.89, 0.9, 1.0, 1.11), (0.0, 0.01, 0.12), (0, 10**8)
        ):
            growth = {
                ("rails", at, rail, "counters", "port_xmit_data"): int(count) // 4
                for at in (0, 1)
                for rail, count in (("mlx5_1/1", sent * first), ("mlx5_2/1", sent * second + other))
            }
            evidence = run(growth, rows=(own,), busy=0, phases=("rails",))
            manifest = replace(evidence.manifest, settings=Settings(repetitions=2))
            found = said("rails.intended", Evidence(replace(evidence.run, manifest=manifest), SMALL))
            lines += [f"{name} {first} {second} {other}", *found]
    failed = row("p2p", 1 << 26, "rails", ranks=(0, 2), rail="own", stop="failed")
    lines += ["failed", *said("rails.intended", run({}, rows=(failed,), phases=("rails",)))]
    return lines


# lines of real kernels, see test_kernel_log.py
LOST = "NVRM: Xid (PCI:0000:12:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
MILD = "NVRM: Xid (PCI:0000:12:00): 31, pid=1234, name=python, Ch 00000008, MMU Fault"
STRANGE = "NVRM: Xid (PCI:0009:01:00): 79, GPU has fallen off the bus."
DEAD = "mlx5_core 0000:13:00.0: poll_health:852:(pid 0): device's health compromised - reached miss count"
OTHER_DEAD = (
    "mlx5_core 0000:93:00.0: poll_health:852:(pid 0): device's health compromised - reached miss count"
)
DOWN = "mlx5_core 0000:13:00.0 ens9f0v5: Link down"
MESSAGES = {"lost": LOST, "mild": MILD, "strange": STRANGE, "dead": DEAD, "other": OTHER_DEAD, "down": DOWN}


STILL = {"oldest": 1, "newest": 10}


def until(newest: int, text: str, time: int = 15) -> dict[str, int]:
    return {**STILL, "newest": newest, text: time}


@part("kernel")
def kernel_logs() -> list[str]:
    """Each message since boot and in a phase, of a log that is whole, cut, closed and not looked at."""
    lines = []
    for name, text in {**MESSAGES, "all": ""}.items():
        texts = [text] if text else [*MESSAGES.values()]
        for whole, source in ((True, "/dev/kmsg"), (False, "/dev/kmsg"), (False, "")):
            log = KernelLog(source, "" if source else "closed", whole, 1, 9, dict.fromkeys(texts, 5_000_000))
            machines = [
                replace(machine(0), kernel_log=log),
                replace(machine(1), kernel_log=replace(log, events={})),
                machine(2),
            ]
            lines.append(f"{name} {whole} {source}")
            for check in ("kernel.boot", "kernel.others"):
                lines += said(check, seen(machines, each=2))
    machines = [replace(machine(at), kernel_log=KernelLog("/dev/kmsg", "", True, 1, 1)) for at in range(3)]
    for name, readings in {
        "still": (STILL,) * 4,
        **{name: (STILL, until(20, text), until(20, text), until(30, text))
           for name, text in MESSAGES.items()},
        "between": (STILL, STILL, until(20, LOST), until(20, LOST)),
        "again": (STILL, until(20, LOST), until(20, LOST), until(30, LOST, 25)),
        "closed": (STILL, None, None, None),
        "overwritten": (STILL, {"oldest": 15, "newest": 20}, STILL, {"oldest": 90, "newest": 99}),
        "never read": (None,) * 4,
    }.items():  # fmt: skip
        evidence = run({}, machines=machines)
        found = []
        for each, said_ in zip(evidence.run.counters, readings, strict=True):
            first = each.snapshots[0]
            more = {} if said_ is None else {KERNEL: {KERNEL: said_}}
            rest = [
                Snapshot(s.time, s.monotonic, {**s.readings, KERNEL: {KERNEL: STILL}})
                for s in each.snapshots[1:2]
            ]
            shots = (
                Snapshot(first.time, first.monotonic, {**first.readings, **more}),
                *rest,
                each.snapshots[2],
            )
            found.append(replace(each, snapshots=shots))
        lines += [name, *said("kernel.run", Evidence(replace(evidence.run, counters=tuple(found)), SMALL))]
    many = [replace(machine(0), name=f"n{at}", kernel_log=KernelLog(reason="closed")) for at in range(66)]
    for check in ("kernel.boot", "kernel.others"):
        lines += said(check, seen(many, each=1))
    noisy = KernelLog("/dev/kmsg", "", True, 1, 9, {f"{MILD} {at}": 5 for at in range(66)})
    return [*lines, *said("kernel.others", seen([replace(machine(0), kernel_log=noisy)], each=1))]


@part("kernel of interfaces")
def kernel_of_interfaces() -> list[str]:
    """An adapter that is dead, behind a rail that is an interface, behind another, and behind none."""
    lines = []
    faced = [replace(pod(at), kernel_log=KernelLog("/dev/kmsg", "", True, 1, 1)) for at in range(3)]
    for pci in (node(0).ports[0].pci, None):
        for face in ("eth0", "eth1"):
            text = f"mlx5_core {pci.address if pci else '0000:93:00.0'}: {DEAD.partition(': ')[2]}"
            own = tuple(replace(each, pci=pci if each.name == face else None) for each in faced[0].interfaces)
            evidence = run({}, SOCKETS, machines=[replace(faced[0], interfaces=own), *faced[1:]])
            found = []
            for each, log in zip(
                evidence.run.counters, (STILL, until(20, text), until(20, text), until(20, text)), strict=True
            ):
                shots = [
                    Snapshot(s.time, s.monotonic, {**s.readings, KERNEL: {KERNEL: log}})
                    for s in each.snapshots
                ]
                found.append(replace(each, snapshots=tuple(shots)))
            lines += [
                f"{face}",
                *said("kernel.run", Evidence(replace(evidence.run, counters=tuple(found)), SOCKETS)),
            ]
    return lines


RX, TX, STORM = "rx_prio3_pause_duration", "tx_prio3_pause_duration", "tx_pause_storm_error_events"


@part("pauses")
def pauses() -> list[str]:
    """A rail is paused for a hundredth of a phase, ten times as long as the others, in one phase and in both."""
    lines = []
    every = {RX: 0, TX: 0, "rx_prio4_pause_duration": 0, STORM: 0}
    for way, own, others, phases in itertools.product(
        (RX, TX),
        (99_999, 100_000, 1_000_000, 10_500_000, 10_500_001),
        (0, 10_000, 10_001, 100_000),
        (PHASES[:1], PHASES),
    ):
        growth = {
            (phase, at, rail, "ethtool", way): own if (at, rail) == (1, "mlx5_1/1") else others
            for phase in phases
            for at in range(3)
            for rail in ("mlx5_1/1", "mlx5_2/1")
        }
        lines += [f"{way} {own} {others} {len(phases)}", *said("growth.pauses", _with_ethtool(growth, every))]
    alike = {(phase, at, "mlx5_1/1", "ethtool", TX): 500_000 for phase in PHASES for at in range(3)}
    lines += ["the same rail of all nodes", *said("growth.pauses", _with_ethtool(alike, every))]
    for more in (1, 3, -1):
        lines += [
            f"storm {more}",
            *said("growth.pauses", _with_ethtool({("ring", 2, "mlx5_2/1", "ethtool", STORM): more}, every)),
        ]
    for counters in ({}, {RX: 5}, {TX: 5, RX: 5}):
        lines += [f"{sorted(counters)}", *said("growth.pauses", _with_ethtool({}, counters))]
    lines += [
        "fell",
        *said("growth.pauses", _with_ethtool({("ring", 0, "mlx5_1/1", "ethtool", TX): -1}, {**every, TX: 9})),
    ]
    lines += ["none counts", *said("growth.pauses", run({}))]
    marks = {
        ("ring", at, "mlx5_1/1", "hw_counters", name): 3 + at
        for at in range(3)
        for name in ("np_cnp_sent", "rp_cnp_handled")
    }
    for growth in ({}, marks, {**marks, ("ring", 1, "mlx5_2/1", "ethtool", "rx_ecn_mark"): 99}):
        lines += [
            f"marks {len(growth)}",
            *said(
                "growth.marks",
                _with_ethtool(growth, {**every, "rx_ecn_mark": 0}, {"np_cnp_sent": 0, "rp_cnp_handled": 0}),
            ),
        ]
    return lines


def _with_ethtool(
    growth: Growth, counters: Mapping[str, int], hw: Mapping[str, int] | None = None
) -> Evidence:
    evidence = run(growth)
    lines = []
    for each in evidence.run.counters:
        shots = []
        for shot in each.snapshots:
            readings = {name: dict(groups) for name, groups in shot.readings.items()}
            for rail in ("mlx5_1/1", "mlx5_2/1"):
                planted = readings[rail].get("ethtool", {})
                readings[rail]["ethtool"] = {
                    name: value + planted.get(name, 0) for name, value in counters.items()
                }
                readings[rail]["hw_counters"] = {**(hw or {}), **readings[rail].get("hw_counters", {})}
            shots.append(Snapshot(shot.time, shot.monotonic, readings))
        lines.append(replace(each, snapshots=tuple(shots)))
    return Evidence(replace(evidence.run, counters=tuple(lines)), evidence.profile)


@part("soak")
def soaks() -> list[str]:
    """Memory and errors that the supervisors wrote down beside a soak of two minutes."""
    lines = []
    one = row("all_reduce", 1 << 20, "soak", ranks=range(6))
    mib = 1 << 20
    memories: dict[str, list[list[float]] | None] = {
        "none": None,
        **{f"{count} readings": [[10.0 * at, mib, mib] for at in range(count)] for count in (1, 5, 7, 11, 12, 13)},
        **{f"grew by {more}": [[4.0 * at, usual * mib + (more if at >= 20 else 0), mib] for at in range(30)]
           for usual, more in ((300, 64 * mib - 1), (300, 64 * mib), (2000, 100 * mib - 1), (2000, 100 * mib))},
        "zeros": [[4.0 * at, 0 if at % 2 else mib, 60 * mib] for at in range(30)],
        "many zeros": [[4.0 * at, mib if at % 3 else 0, 60 * mib] for at in range(30)],
        "early end": [[2.0 * at, mib, mib] for at in range(30)],
        "end at half": [[2.0 * at, mib, mib] for at in range(31)],
    }  # fmt: skip
    for name, memory in memories.items():
        health = [
            HealthLine("soak", rank, memory=memory or [])
            for rank in (range(6) if memory is not None else (1,))
        ]
        health += [HealthLine("rails", rank, memory=[[1.0, 1, 1]]) for rank in range(6)]
        lines += [name, *said("soak.memory", _soak(one, health))]
    all_followed = {rail: [] for rail in ("mlx5_1/1", "mlx5_2/1")}
    followed: dict[str, dict[str, Any]] = {
        "well": {"errors": [], "looks": 4, "followed": all_followed},
        "two looks": {"errors": [], "looks": 2, "followed": all_followed},
        "one look": {"errors": [], "looks": 1, "followed": all_followed},
        "not followed": {"errors": None},
        "a rail not followed": {"errors": [], "looks": 4, "followed": {"mlx5_1/1": []}},
        "a counter not known": {
            "errors": [],
            "looks": 4,
            "followed": {**all_followed, "mlx5_2/1": ["symbol_error"]},
        },
        "grown": {
            "errors": [(30.0, "mlx5_1/1 symbol_error", 5), (60.0, "mlx5_0/1 symbol_error", 5)],
            "looks": 4,
        },
        "grown elsewhere": {
            "errors": [(60.0, "mlx5_0/1 symbol_error", 5)],
            "looks": 4,
            "followed": all_followed,
        },
        "grown often": {
            "errors": [(30.0 * at, "mlx5_1/1 symbol_error", at + 1) for at in range(6)],
            "looks": 4,
        },
    }
    for name, fields in followed.items():
        health = [HealthLine("soak", rank, **fields) for rank in (0, 2)]
        for want in (SMALL, replace(SMALL, rails=Rails())):
            lines += [f"{name} {want.rails.kind}", *said("soak.errors", _soak(one, health, want))]
    return lines


def _soak(one: Row, health: Sequence[HealthLine], want: Profile = SMALL) -> Evidence:
    evidence = run({}, rows=(one,), phases=("soak",))
    manifest = replace(evidence.manifest, settings=Settings(budget=120.0))
    return Evidence(replace(evidence.run, manifest=manifest, health=tuple(health)), want)


@part("NCCL's log")
def logs() -> list[str]:
    """Ranks, nodes, versions and ways that the logs of two nodes of two ranks name, each otherwise on one rank."""
    lines = []
    ways = {
        "as it is": {},
        "by SHM": {"way": "SHM/direct/direct"},
        "by NET": {"way": "NET/IB/0/GDRDMA"},
        "by P2P": {"way": "P2P/CUMEM"},
        "another communicator": {"comm": "0x9"},
        "another rank": {"own": 3},
        "fewer ranks": {"total": 2},
        "another host": {"host": "n1"},
        "four nodes": {"nodes": 4},
        "a setting": {"more": "NCCL_IB_HCA set by environment to mlx5_1"},
        "a setting that distorts": {"more": "NCCL_P2P_DISABLE set by environment to 1"},
        "another version": {"more": "NCCL version 2.20.5+cuda12.4"},
    }  # fmt: skip

    def linked(one: Node, *links: NvLink) -> Node:
        """The node whose GPUs have one of these links each, or all the same."""
        own = (links[at % len(links) :][:1] if links else () for at in range(2))
        return replace(
            one, gpus=tuple(replace(each, nvlinks=found) for each, found in zip(one.gpus, own, strict=True))
        )

    def by_peers(one: Node, turned: bool) -> Node:
        peers = [NvLink(0, True, 4, each.pci.address) for each in one.gpus if each.pci]
        return linked(one, *(peers[::-1] if turned else peers))

    peers: dict[str, Callable[[Node], Node]] = {
        "by NVSwitch": lambda one: one,
        "no NVLink": linked,
        "down": lambda one: linked(one, NvLink(0, False, 4, "x")),
        "direct": lambda one: by_peers(one, True),
        "to itself": lambda one: by_peers(one, False),
        "to switches": lambda one: linked(one, NvLink(0, True, 4, "0000:c0:00.0")),
    }
    for name, changes in ways.items():
        path = fresh()
        (path / LOGS).mkdir(parents=True)
        for rank in range(4):
            (path / LOGS / f"evidence.{rank}.log").write_text(_log(rank, **(changes if rank == 1 else {})))
        for kind, change in (
            peers.items()
            if changes.get("way") or name == "as it is"
            else [("by NVSwitch", peers["by NVSwitch"])]
        ):
            machines = [change(machine(at)) for at in range(2)]
            plan = Plan((Phase("evidence", "", ()),))
            for want in (SMALL, replace(SMALL, nvlink=None)):
                evidence = Evidence(
                    seen(machines, each=2, plan=plan, phases=("evidence",), path=path).run, want
                )
                lines.append(f"{name} {kind} {want.nvlink is not None}")
                checks = (
                    ("nccl.ranks", "nccl.settings", "nccl.nvlink")
                    if kind == "by NVSwitch"
                    else ("nccl.nvlink",)
                )
                for check in checks:
                    lines += [f"{check}{each}" for each in said(check, evidence)]
    evidence = seen([machine(0), machine(1)], each=2, path=path, plan=plan, phases=("evidence",))
    for versions in ({}, {"nccl": ("2.21",)}, {"nccl": ("2.21", "2.20"), "torch": ("2.5",)}):
        joined = (Joined("rails", 4, versions=versions), Joined("ring", 4))
        lines += [
            f"{versions}",
            *said("versions.workers", Evidence(replace(evidence.run, joined=joined), SMALL)),
        ]
    return lines


def _log(
    rank: int,
    way: str = "P2P/CUMEM",
    comm: str = "0x7",
    total: int = 4,
    host: str = "",
    nodes: int = 2,
    more: str = "",
    own: int | None = None,
) -> str:
    own, place, local = rank if own is None else own, rank // 2, rank % 2
    init = f"ncclCommInitRank comm 0xa{rank} rank {own} nranks {total} cudaDev {local} nvmlDev {local}"
    init += f" busId {0x10 * (local + 1) + 2:x}000 commId {comm}"
    texts = (
        "NET/IB : Using [0]mlx5_1:1/IB [1]mlx5_2:1/IB [RO]; OOB eth0:10.0.0.1<0>",
        "Using network IB",
        f"{init} - Init START",
        f"comm 0xa{rank} rank {own} nRanks {total} nNodes {nodes} localRanks 2 localRank {local} MNNVL 0",
        f"Channel 00/0 : {rank}[{local}] -> {rank ^ 1}[{1 - local}] via {way}",
        f"Channel 01/0 : {rank}[{local}] -> {(rank + 2) % 4}[{local}] [send] via NET/IB/{local}/GDRDMA",
        more or "NCCL_NET set by environment to IB",
        f"{init} - Init COMPLETE",
    )
    return "".join(
        f"{host or f'n{place}'}:{1000 + rank}:{2000 + rank} [{local}] NCCL INFO {text}\n" for text in texts
    )


@part("rails.own")
def own_rails_by_log() -> list[str]:
    """The adapters of each rank's channels, of one node and of two, by NCCL, by gloo and over interfaces."""
    lines = []
    path = fresh()
    (path / LOGS).mkdir(parents=True)
    for rank in range(4):
        text = _log(rank) if rank != 1 else _log(rank).replace("NET/IB/1/GDRDMA", "NET/IB/0/GDRDMA")
        (path / LOGS / f"evidence.{rank}.log").write_text(text)
    for count, backend, want in itertools.product((1, 2), ("nccl", "gloo"), (SMALL, SOCKETS)):
        for plan in (
            Plan((Phase("evidence", "", ()),)),
            Plan((Phase("ring", "", ()),)),
            Plan((), skipped=(("evidence", "why"),)),
        ):
            machines = [machine(at) for at in range(count)]
            evidence = seen(machines, each=2, backend=backend, plan=plan, phases=("evidence",), path=path)
            lines += [
                f"{count} {backend} {want.rails.kind}",
                *said("rails.own", Evidence(evidence.run, want)),
            ]
    return lines


@part("wiring")
def wiring() -> list[str]:
    """Who hears whom on two rails of two, three and five nodes: cables swapped, cut, and one that is deaf."""
    lines = []
    for count in (2, 3, 5):
        names = [f"n{at}" for at in range(count)]
        for swapped, silent in itertools.product(((), ("n0",), ("n0", "n1")), ((), ("n0",), ("n1",))):
            wire = {
                (n, rail): rail if n not in swapped else {"eth1": "eth2", "eth2": "eth1"}[rail]
                for n in names
                for rail in ("eth1", "eth2")
            }
            told = {
                hearer: {
                    "heard": [
                        [on, sender, rail]
                        for on, sender, rail in itertools.product(("eth1", "eth2"), names, ("eth1", "eth2"))
                        if sender != hearer
                        and wire[hearer, on] == wire[sender, rail]
                        and not (rail == "eth1" and sender in silent)
                    ],
                    "silent": {"eth1": "no link"} if hearer in silent else {},
                }
                for hearer in names
            }
            path = fresh()
            (path / LOGS).mkdir(parents=True)
            (path / LOGS / WIRING).write_text(json.dumps(told))
            machines = [pod(at) for at in range(count)]
            evidence = seen(machines, each=2, backend="gloo", path=path)
            lines += [f"{count} {swapped} {silent}", *said("rails.wiring", Evidence(evidence.run, SOCKETS))]
    return lines


@part("wiring that lacks something")
def odd_wiring() -> list[str]:
    """Nothing was recorded, or of some nodes; a node hears itself; it was asked for, or was not."""
    lines, path = [], fresh()
    (path / LOGS).mkdir(parents=True)
    own = {
        name: {"heard": [["eth1", other, "eth1"]], "silent": {}}
        for name, other in (("n0", "n1"), ("n1", "n0"))
    }
    itself = {**own, "n2": {"heard": [["eth1", "n2", "eth2"]], "silent": {}}}
    for told in ("null", {}, {"n0": own["n0"]}, own, itself):
        (path / LOGS / WIRING).write_text(told if isinstance(told, str) else json.dumps(told))
        for count in (2, 3):
            evidence = seen([pod(at) for at in range(count)], each=2, backend="gloo", path=path)
            lines += [f"{len(told)} of {count}", *said("rails.wiring", Evidence(evidence.run, SOCKETS))]
    nothing = seen([pod(0), pod(1)], each=2, backend="gloo")
    for want, command in itertools.product((SOCKETS, SMALL), (("railgauge",), ("railgauge", "--cross-rail"))):
        run_ = replace(nothing.run, manifest=replace(nothing.manifest, command=command))
        lines += [f"{command}", *said("rails.wiring", Evidence(run_, want))]
    return lines


@part("lost packets")
def lost_packets() -> list[str]:
    """Transfers that failed after they had connected, by their phase, rail and stage."""
    from bench.judge.blame import Subject
    from bench.judge.checks.throttling_and_mtu import swallowed

    lines = []
    for phase, stage, rail, kind in itertools.product(
        ("rails", "suspects", "pairs"),
        ("moving", "connecting", ""),
        ("eth1", "eth2"),
        ("port", "path", "node"),
    ):
        rows = [
            row("p2p", size, phase, ranks=(0, 2), extra=Extra(failed="timed out", stage=stage, rail=rail))
            for size in (1 << 20, 1 << 16)
        ]
        rows += [
            row("p2p", 64, phase, ranks=(0, 2), extra=Extra(rail="eth1")),
            row("p2p", 32, phase, ranks=(2, 4), extra=Extra(failed="x", stage="moving", rail="eth1")),
        ]
        evidence = run({}, rows=rows, phases=(phase,))
        found = [
            swallowed(Subject(kind, node, peer, "eth1"), evidence)
            for node, peer in (("n0", "n1"), ("n0", ""), ("n2", ""), ("n0", "n2"))
        ]
        lines.append(f"{phase} {stage} {rail} {kind}: {found}")
    return lines


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, Path(__file__).with_name("counters_at_limits.txt"), [*PARTS])


@pytest.mark.parametrize("name", PARTS)
def test_what_is_said_of_counters_at_their_limits(golden: Golden, name: str) -> None:
    golden.hold(name, PARTS[name]())
