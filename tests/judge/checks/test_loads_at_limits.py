"""What is said of a steady load of all rails and of a soak, window by window about each limit: a golden file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import runs
from bench.judge.checks import CHECKS
from bench.judge.evidence import Evidence
from bench.model.measurement import Case, Window
from bench.model.profile import Limit, Profile
from bench.model.run_folder_lines import GpuDuringCase, HealthLine, Joined, WorkerGpu
from bench.model.verdict import Bound
from bench.plan import AcceptOptions, Job, Request, sweep_cases
from bench.plan.steady_load import WINDOW, steady, steady_again
from bench.store import Phase, Plan, Settings
from golden import Golden, Parts, opened, shown
from made_nodes import LAMBDA, node, seen

SMALL = replace(LAMBDA, gpus=3, gpu_counts=(3,), limits=(), rails=replace(LAMBDA.rails, count=3))
FAST = 40e9  # bytes/s of a rail
SLOTS = 80
Share = Callable[[str, int, int], float]  # of FAST, of (node, number of the rail) in a slot
PARTS = Parts()
part = PARTS.part


def said(check: str, evidence: Evidence) -> list[str]:
    return [
        f"    {each.status.value} {each.message} {shown((each.value, each.bound, each.evidence))}"
        for each in CHECKS[check](evidence)
    ]


def windows(phase: Phase, share: Share, count: int = SLOTS, without: Sequence[int] = ()) -> Iterator[Window]:
    (case,) = phase.cases
    for group in case.groups:
        rail = group[0] % 3
        for slot in range(count):
            seconds = tuple(case.size / FAST / share(f"n{rank // 3}", rail, slot) for rank in group)
            calls = round(0.9 * WINDOW / max(seconds))
            if slot not in without:
                wrong = (0,) * len(group)
                yield Window(
                    (slot + 1) * WINDOW, seconds, max(seconds), max(seconds), calls, wrong, 1, case.id, group
                )  # fmt: skip


def loaded(
    first: Share, second: Share | None = None, want: Profile = SMALL, backend: str = "nccl", count: int = SLOTS,
    without: Sequence[int] = (), rails: int = 3,
) -> Evidence:  # fmt: skip
    """Four nodes with one steady load, or with two."""
    machines = [
        replace(one, gpus=one.gpus[:3], ports=one.ports[:4], interfaces=one.interfaces[:4])
        for one in map(node, range(4))
    ]
    job = Job(want, runs.ranks(4, 3), "nccl", AcceptOptions(), ("mlx5_1/1", "mlx5_2/1", "mlx5_3/1"))
    made = steady(job)
    assert isinstance(made, Phase)
    phases = [made, *([steady_again(job)] if second else [])]
    evidence = seen(machines, each=3, plan=Plan(tuple(phases)), backend=backend)
    found = [
        window
        for phase, share in zip(phases, (first, second or first), strict=False)
        for window in windows(phase, share, count, without)
        if window.ranks[0] < rails
    ]
    return Evidence(replace(evidence.run, windows=tuple(found)), want)


def good(name: str, rail: int, slot: int) -> float:
    return 1.0


def sick(nodes: Sequence[str], rails: Sequence[int], share: float, when: Callable[[int], bool]) -> Share:
    return lambda name, rail, slot: share if name in nodes and rail in rails and when(slot) else 1.0


def now_and_then(slot: int) -> bool:
    return slot % 12 < 4


def always(slot: int) -> bool:
    return True


def unlike_loads() -> list[str]:
    """Windows that no load leaves behind, and some that just may."""
    full, lines = loaded(good, good).run, []
    quick = math.nextafter(max(full.windows[0].seconds), 0)

    def calling(share: float, calls: Callable[[int], int] = lambda slot: 1) -> list[Window]:
        took = share * WINDOW
        return [
            replace(each, calls=calls(at % SLOTS), seconds=(took,) * 4, slowest=took, isolated=took)
            for at, each in enumerate(full.windows)
        ]

    for name, odd in {
        "quick by the last digit": [replace(each, slowest=quick) for each in full.windows],
        "one ends as another": [*full.windows, full.windows[0]],
        "calls for a fiftieth": calling(0.02),
        "calls for less": calling(0.0199),
        "calls for less in most": calling(0.019, lambda slot: 1 + 3 * (slot == 0)),
    }.items():
        for backend in ("nccl", "gloo"):
            run = replace(full, windows=tuple(odd), manifest=replace(full.manifest, backend=backend))
            lines += [f"{name} {backend}", *said("blame.intermittent", Evidence(run, SMALL))]
    return lines


@part("blame.intermittent")
def intermittent() -> list[str]:
    lines = []
    shapes: dict[str, tuple[Share, Share | None]] = {
        "healthy once": (good, None),
        "healthy": (good, good),
        **{
            f"{'twice' if again else 'once'}, {words}": (load, load if again else None)
            for again in (False, True)
            for words, load in {
                "a port": sick(("n1",), (0,), 0.3, now_and_then),
                "two ports of a rail": sick(("n1", "n3"), (0,), 0.3, now_and_then),
                "a node": sick(("n1",), (0, 1, 2), 0.3, now_and_then),
                "a port throughout": sick(("n1",), (0,), 0.3, always),
                "a rail throughout": sick(("n0", "n1", "n2", "n3"), (0,), 0.3, always),
                "all": sick(("n0", "n1", "n2", "n3"), (0, 1, 2), 0.3, now_and_then),
            }.items()
        },
        "not again": (sick(("n1",), (0,), 0.3, now_and_then), good),
        "another one again": (sick(("n1",), (0,), 0.3, now_and_then), sick(("n2",), (0,), 0.3, now_and_then)),
        **{
            f"a rail at {share}": (sick(("n0", "n1", "n2", "n3"), (0,), share, always),) * 2
            for share in (0.79, 0.849, 0.85, 0.851)
        },
        "a rail, and not again": (sick(("n0", "n1", "n2", "n3"), (0,), 0.5, always), good),
    }
    for name, (first, second) in shapes.items():
        for backend in ("nccl", "gloo"):
            evidence = loaded(first, second, backend=backend)
            lines += [f"{name} {backend}", *said("blame.intermittent", evidence)]
    for count in (0, 11, 12, 63, 64, 79):
        lines += [f"{count} windows", *said("blame.intermittent", loaded(good, good, count=count))]
    for hole in (18, 19, 20, 40):
        lines += [
            f"a hole of {hole}",
            *said("blame.intermittent", loaded(good, without=range(30, 30 + hole))),
        ]
    for rails in (0, 1, 2):
        lines += [f"{rails} rails loaded", *said("blame.intermittent", loaded(good, good, rails=rails))]
    for stall, one_in in itertools.product((1e-3, 1.0), (2, 40)):
        evidence = loaded(good, good)
        late = [
            replace(each, slowest=max(stall, each.slowest)) if at % one_in == 0 else each
            for at, each in enumerate(evidence.run.windows)
        ]
        evidence = Evidence(replace(evidence.run, windows=tuple(late)), SMALL)
        lines += [f"stalls of {stall} in one of {one_in}", *said("blame.intermittent", evidence)]
    lines += unlike_loads()
    for share in (0.999999, 1.0, 1.000001):
        bound = Bound(share * FAST / 0.7, "its rate", "a test")
        want = replace(SMALL, limits=(Limit("p2p", "rail_rate", bound),))
        for backend in ("nccl", "gloo"):
            evidence = loaded(good, good, want, backend)
            lines += [f"together {share} {backend}", *said("blame.intermittent", evidence)]
        port = Bound(share * FAST, "its rate", "a test")
        want = replace(SMALL, rails=replace(SMALL.rails, rate=port))
        lines += [f"port {share}", *said("blame.intermittent", loaded(good, good, want))]
        lines += ["no windows", *said("blame.intermittent", loaded(good, good, want, count=0))]
    want = replace(SMALL, rails=replace(SMALL.rails, rate=None))
    lines += ["no rate", *said("blame.intermittent", loaded(good, good, want))]
    plan = Plan((Phase("ring", "", ()),), skipped=(("steady", "gloo uses no RDMA"),))
    for left in (plan, Plan(())):
        lines += ["no load", *said("blame.intermittent", seen([node(0)], each=2, plan=left))]
    return lines


CASE = sweep_cases("soak", Request("all_reduce", 1 << 20, 1 << 20), ((0, 1, 2, 3),))[0]


def soaked(
    shares: Sequence[float], want: Profile = SMALL, ended: Sequence[float] = (), budget: float | None = 120.0,
    case: Case = CASE, calls: int = 100,
) -> Evidence:  # fmt: skip
    """A soak whose windows reached these shares of the usual bandwidth."""
    machines = [replace(one, gpus=one.gpus[:2]) for one in map(node, range(2))]
    evidence = seen(machines, each=2, plan=Plan((Phase("soak", "", (case,)),)))
    ends = ended or [120.0 * (at + 1) / len(shares) for at in range(len(shares))]
    found = [
        Window(
            end, (1e-3 / share,) * 4, 2e-3 / share, 1e-3, calls, (0,) * 4, 4 * case.count, case.id, (0, 1, 2, 3)
        )
        for end, share in zip(ends, shares, strict=True)
    ]  # fmt: skip
    manifest = replace(evidence.manifest, settings=Settings(budget=budget))
    return Evidence(replace(evidence.run, manifest=manifest, windows=tuple(found)), want)


GATED = replace(SMALL, limits=(Limit("all_gather", "busbw", Bound(1.0, "1 B/s", "a test")),))


@part("soak.steady")
def steady_soaks() -> list[str]:
    """A drop by little and by much, in each third, with noise and with windows that stand out."""
    lines = []
    for count in (0, 1, 11, 12, 13, 36):
        lines += [f"{count} windows", *said("soak.steady", soaked((1.0,) * count, GATED))]
    for drop, noise in itertools.product((0.04, 0.05, 0.051, 0.1, 0.29, 0.3, 0.31), (0.0, 0.01, 0.02)):
        for name, thirds in (
            ("last", (1, 1, 1 - drop)),
            ("middle", (1, 1 - drop, 1)),
            ("first", (1 - drop, 1, 1)),
        ):
            shares = [share * (1 + noise * (-1) ** at) for share in thirds for at in range(12)]
            for want in (GATED, SMALL) if name == "last" else (GATED,):
                lines += [
                    f"{drop} {noise} {name} {len(want.limits)}",
                    *said("soak.steady", soaked(shares, want)),
                ]
    for slow, of, share in itertools.product((1, 2, 3, 4, 5), (24, 30, 40), (0.94, 0.95, 0.5)):
        shares = [share if at % (of // slow) == 3 and at // (of // slow) < slow else 1.0 for at in range(of)]
        lines += [f"{slow} of {of} at {share}", *said("soak.steady", soaked(shares, GATED))]
    drift = [1 - 0.002 * at for at in range(36)]
    wander = [1 + 0.03 * math.sin(at / 2) for at in range(36)]
    for name, shares in (("drift", drift), ("wander", wander), ("rise", drift[::-1])):
        lines += [name, *said("soak.steady", soaked(shares, GATED))]
    usual = CASE.size / 1e-3 * 1.5
    for share in (1 - 1e-9, 1.0, 1 + 1e-9, 2.0):
        for ranks in (4, 2):
            bound = Limit("all_reduce", "busbw", Bound(share * usual, "its rate", "a test"))
            evidence = soaked((1.0,) * 12, replace(SMALL, limits=(bound,)))
            if ranks == 2:
                manifest = replace(evidence.manifest, ranks=runs.ranks(3, 2))
                evidence = Evidence(replace(evidence.run, manifest=manifest), evidence.profile)
            lines += [f"bound {share} {ranks}", *said("soak.steady", evidence)]
    return lines


@part("soak.duration")
def durations() -> list[str]:
    lines = []
    regular = [10.0 * (at + 1) for at in range(12)]
    for name, ended in {
        "whole": regular,
        "out of order": [*regular[:5], 40.0, *regular[6:]],
        "twice the same": [*regular[:5], 50.0, *regular[6:]],
        **{f"until {last}": [last / 12 * (at + 1) for at in range(12)] for last in (113.9, 114.0, 114.1)},
        **{
            f"a hole until {last}": [*regular[:6], *(last + 10.0 * at for at in range(6))]
            for last in (89.9, 90.0, 90.1, 90.2, 90.3, 100.0)
        },
        "late begin": [at + 20.3 for at in regular],
    }.items():
        for budget in (120.0, None, 1000.0):
            found = soaked((1.0,) * len(ended), ended=ended, budget=budget)
            lines += [f"{name} {budget}", *said("soak.duration", found)]
    for calls in (1, 100, 10_000):
        lines += [
            f"{calls} calls",
            *said("soak.duration", soaked((1.0,) * 2, ended=(10.0, 118.0), calls=calls)),
        ]
    two = replace(CASE, groups=((0, 1), (2, 3)))
    for check in ("soak.duration", "soak.steady", "soak.right"):
        lines += ["two groups", *said(check, soaked((1.0,) * 12, case=two)), *said(check, soaked(()))]
    return lines


def spell(case: str = "ring/all_reduce/4096", **changes: Any) -> GpuDuringCase:
    usual: dict[str, Any] = {
        "begun": 1.0, "samples": 8, "silent": 0, "clock_sm": [1e9, 2e9], "clock_memory": [2e9], "temperature": [40, 50],
        "power": [100, 600],
    }  # fmt: skip
    return GpuDuringCase(case=case, **{**usual, **changes})


def watched(
    own: Sequence[GpuDuringCase],
    gpu: WorkerGpu | None,
    phase: str = "ring",
    note: str = "",
    want: Profile = SMALL,
    joined: Mapping[str, WorkerGpu] | None = None,
    others: bool = True,
) -> Evidence:
    """Three GPUs of one node in one phase, of which the second is otherwise."""
    case = sweep_cases(phase, Request("all_reduce", 4096, 4096), ((0, 1, 2),))[0]
    case = replace(case, id="ring/all_reduce/4096")
    one = node(0)
    gpus = tuple(replace(each, clock_memory_max=2e9) for each in one.gpus[:3])
    evidence = seen([replace(one, gpus=gpus)], each=3, plan=Plan((Phase(phase, "", (case,)),)))
    told = {rank: WorkerGpu(rank, "H100", f"GPU-{rank}", clock_sm_max=2e9) for rank in range(3)}
    health = [HealthLine(phase, rank, told[rank], [spell()]) for rank in (0, 2) if others]
    health.append(HealthLine(phase, 1, gpu, list(own), note))
    rows = tuple(runs.measured(case))
    lines = (Joined(phase, 3, gpus=joined),) if joined else ()
    return Evidence(replace(evidence.run, health=tuple(health), measurements=rows, joined=lines), want)


@part("gpus.throttled and gpus.clock")
def clocks() -> list[str]:
    lines = []
    usual = WorkerGpu(1, "H100", "GPU-1", clock_sm_max=2e9)
    several: dict[str, tuple[Sequence[GpuDuringCase], WorkerGpu | None]] = {
        "well": ((spell(),), usual),
        "no sample": ((spell(samples=0, clock_sm=[], clock_memory=[], temperature=[], power=[]),), usual),
        "no spells": ((), usual),
        "no GPU": ((spell(),), None),
        **{f"silent in {count} of 8": ((spell(silent=count),), usual) for count in (3, 4, 5)},
        **{f"{degrees} degrees": ((spell(temperature=[40, degrees]),), usual) for degrees in (94.9, 95.0, 96.0)},
        **{f"SM {clock}": ((spell(clock_sm=[1e9, clock]),), usual) for clock in (1.7e9, 1.699e9, 1.5e9, 1e9, 2.2e9)},
        **{f"memory {clock}": ((spell(clock_memory=[clock]),), usual) for clock in (1.8e9, 1.799e9, 1.7e9, 1.69e9)},
        "no memory clock": ((spell(clock_memory=[]),), usual),
        "a higher clock later": ((spell(clock_sm=[1e9]), spell(clock_sm=[2e9])), usual),
        "a lower maximum": ((spell(),), replace(usual, clock_sm_max=None)),
        "a higher maximum": ((spell(),), replace(usual, clock_sm_max=2.667e9)),
        "three quarters": ((spell(),), replace(usual, clock_sm_max=2e9 / 0.75)),
        **{f"held by {name}": ((spell(reasons={name: 3, "gpu_idle": 6}),), usual)
           for name in ("hw_slowdown", "sw_power_cap", "sync_boost", "gpu_idle")},
        "held by two": ((spell(reasons={"hw_thermal": 2, "hw_slowdown": 5}),), usual),
        **{f"idle in {count} of 8": ((spell(reasons={"gpu_idle": count}),), usual) for count in (8, 9)},
        "held in two cases": ((spell("a", reasons={"hw_thermal": 2}), spell("b", reasons={"hw_slowdown": 5})), usual),
        "held at a change": ((spell(changes=[(1.0, ["sw_thermal"])]),), usual),
        "another GPU": ((spell(),), replace(usual, uuid="GPU-7")),
        "no UUID": ((spell(),), replace(usual, uuid="")),
    }  # fmt: skip
    joined = {str(rank): WorkerGpu(rank, "H100", f"GPU-{rank}") for rank in range(3)}
    gated = replace(SMALL, limits=GATED.limits)
    for name, (own, gpu) in several.items():
        for want, told in ((SMALL, None), (gated, joined)):
            evidence = watched(
                own, gpu, want=want, joined=told, note="no pynvml" if name == "no sample" else ""
            )
            lines.append(f"{name} {told is not None}")
            lines += said("gpus.throttled", evidence) + said("gpus.clock", evidence)
    for phase in ("ring", "rails"):
        slow = (spell(clock_sm=[1.6e9], clock_memory=[1.6e9]),)
        lines += [f"in {phase}", *said("gpus.clock", watched(slow, usual, phase))]
    unknown = {**joined, "1": WorkerGpu(1, "H100", "")}
    lines += [
        "not reported",
        *said("gpus.throttled", watched((spell(),), replace(usual, uuid="GPU-7"), joined=unknown)),
    ]
    lines += ["nobody sampled", *said("gpus.clock", watched((), None, others=False))]
    return lines


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, Path(__file__).with_name("loads_at_limits.txt"), [*PARTS])


@pytest.mark.parametrize("name", PARTS)
def test_what_is_said_of_loads_at_their_limits(golden: Golden, name: str) -> None:
    golden.hold(name, PARTS[name]())
