"""What is read out of a run folder before anything is judged, held to a golden file: each part varied by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import runs
from bench import __version__
from bench.judge.counter_windows import begun, of_phase, over_the_run, quiet, started_anew, whole_run
from bench.judge.evidence import Evidence
from bench.judge.gpu_of_rank import foreseen, match, placed, visible
from bench.judge.leaves import leaves, nodes_of_leaves, subnet_of
from bench.judge.log_files import log_of
from bench.judge.nccl_settings import for_user, for_workers, rank_environments, unread_files, versions
from bench.judge.peaks import nodes_of, peak_rows, scope_of, series_of
from bench.judge.rails_of_rank import own_by_rank, pins, rail_names
from bench.model.counters import Snapshot
from bench.model.facts import Environment, Software
from bench.model.measurement import Case, Rank
from bench.model.profile import load
from bench.model.run_folder_lines import CounterLine, Joined, PhaseMark, WorkerGpu
from bench.model.typed_json import to_json
from bench.plan.screening import MOST_IN_PAIRS
from bench.probe.fabric.ask_all import SubnetAnswers, look
from bench.probe.fabric.run_tools import ToolExit
from bench.store import FABRIC, IMPORTED, LOGS, Phase, Plan, Run
from bench.store.rows import row_of
from golden import Golden, opened, shown
from made_nodes import LAMBDA, gpu, node, nodes, oci, with_port

TWO = nodes(2)
DATA = Path(__file__).parents[1] / "probe" / "fabric" / "data"
PARTS = ("windows", "GPUs", "rails", "peaks", "evidence", "settings", "logs", "leaves")


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, Path(__file__).with_name("evidence.txt"), PARTS)


# --- windows

ALL, LEFT = ("n0", "n1"), ("n0",)


def read(
    when: str, at: float, names: Sequence[str] = ALL, phase: str = "ring", boot: float | None = None
) -> CounterLine:
    """A reading at a time; the clock of the last node says ``boot`` where that is given."""
    own = [
        Snapshot(
            at,
            at if boot is None or name != names[-1] else boot,
            {"eth1": {"statistics": {"tx_bytes": int(at)}}},
        )
        for name in names
    ]
    return CounterLine(phase, when, tuple(own), tuple(names))


LINES: dict[str, tuple[CounterLine, ...]] = {
    "none": (),
    "a phase": (read("before", 10), read("after", 20)),
    "before alone": (read("before", 10),),
    "after alone": (read("after", 10),),
    "twice": (read("before", 10), read("after", 20), read("before", 30), read("after", 45)),
    "another phase": (read("before", 10, phase="rails"), read("after", 20, phase="rails")),
    "two phases": (
        read("before", 10, phase="rails"),
        read("after", 20, phase="rails"),
        read("before", 30),
        read("after", 45),
    ),
    "quiet": (
        read("before", 5, phase="quiet"),
        read("after", 9, phase="quiet"),
        read("before", 10),
        read("after", 20),
    ),
    "started anew": (read("before", 10), read("after", 20, boot=3.0)),
    "started anew between": (
        read("before", 10, phase="rails"),
        read("after", 20, phase="rails"),
        read("before", 30, boot=3.0),
        read("after", 40, boot=13.0),
    ),
    "at the same time": (read("before", 10), read("after", 10)),
    "a node less": (read("before", 10, LEFT), read("after", 20, LEFT)),
    "a node less before": (read("before", 10, LEFT), read("after", 20)),
    "it came back": (
        read("before", 10, LEFT),
        read("after", 20, LEFT),
        read("before", 30),
        read("after", 40),
    ),
    "it came back anew": (
        read("before", 10),
        read("after", 20, LEFT),
        read("before", 30, boot=1.0),
        read("after", 40, boot=11.0),
    ),
    "no readings": (CounterLine("ring", "before", (), ()), read("after", 40)),
    "no names": (replace(read("before", 10), nodes=()), replace(read("after", 40), nodes=())),
}


def windows(found: Sequence[object]) -> str:
    return shown([(each.phase, each.node.name, each.seconds) for each in found])  # type: ignore[attr-defined]


def counted(lines: Sequence[CounterLine], resumed: bool = False, **more: object) -> Run:
    run = runs.read_only(TWO, lines)
    settings = replace(run.manifest.settings, resumed=resumed)
    return replace(run, manifest=replace(run.manifest, settings=settings), **more)


def test_windows(golden: Golden) -> None:
    said: list[str] = []
    for name, lines in LINES.items():
        run = counted(lines)
        said.append(
            f"{name}: whole {windows(over_the_run(run))}, quiet {sorted(quiet(run))}, {shown(started_anew(run))}"
        )
        for resumed in (False, True):
            for earlier in (frozenset[str](), frozenset({"x"})):
                found, gaps = of_phase(replace(run, earlier=earlier), "ring", resumed)
                said.append(f"    {resumed} {len(earlier)}: {windows(found)} {shown(gaps)}")
        for at in ((), (20.0,), (25.0,), (30.0,), (31.0,), (19.0,), (50.0,)):
            again = counted(lines, True, resumed_at=at)
            said.append(f"    resumed at {at}: {windows(whole_run(again))} {shown(started_anew(again))}")
        said.append(f"    not resumed: {windows(whole_run(run))}")
    cases = (Case("a", "ring", "all_reduce", 8, 2, ((0, 1),)), Case("b", "rails", "p2p", 8, 2, ((0, 1),)))
    plan = Plan(tuple(Phase(case.phase, case.phase, (case,)) for case in cases))
    measured = tuple(row for case in cases for row in runs.measured(case))
    for marks in ((), (("rails", "begin"),), (("ring", "end"),), (("ring", "begin"), ("ring", "end"))):
        for rows in ((), measured, (*measured, replace(measured[0], case="x"))):
            run = counted((), plan=plan, measurements=rows, phases=tuple(PhaseMark(*mark) for mark in marks))
            said.append(f"{marks} {len(rows)}: {begun(run)}")
    golden.hold("windows", said)


# --- GPUs and rails of ranks


def test_gpus_of_ranks(golden: Golden, tmp_path: Path) -> None:
    said: list[str] = []
    four = tuple(gpu(at, uuid=f"GPU-{at}a") for at in range(4))
    mute = tuple(replace(each, uuid=None) for each in four)
    half = (four[0], mute[1])
    texts = (
        None,
        "",
        "0",
        "3,1",
        " 2 , 0 ",
        "4",
        "0,4,1",
        "-1",
        "0,,1",
        "gpu-2A",
        "GPU-",
        "GPU-9",
        "0,GPU-2a",
        "MIG-0",
        "mig-0",
        "0,MIG-0",
        "4,MIG-0",
        "GPU-2a,x,1",
        "x",
    )
    for text in texts:
        said.append(f"{text!r}: {[visible(text, gpus) for gpus in (four, mute, half, ())]}")
        shows = {str(rank): {"CUDA_VISIBLE_DEVICES": text} for rank in range(3)} if text is not None else {}
        ranks = (*(Rank(at, "n0", at) for at in range(3)), Rank(3, "n9", 0))
        said.append(f"    {shown(foreseen(ranks, [node(gpus=four)], shows))}")
    for told in (
        {},
        {"uuid": "GPU-2a"},
        {"uuid": "gpu-2A", "pci": "0000:12"},
        {"uuid": "GPU-x", "pci": "0000:12"},
        {"pci": "0000:12"},
        {"pci": "ffff:12"},
        {"pci": "0000:22"},
        {"pci": "00000000:12"},
        {"pci": "12"},
    ):
        bare = tuple(replace(each, pci=None) for each in mute)
        said.append(f"{told}: {[match(WorkerGpu(**told), gpus) for gpus in (four, mute, half, bare, ())]}")
    where, machines = runs.ranks(2, 2), [node(at, gpus=four) for at in range(2)]
    run = counted((), facts=tuple(machines))
    run = replace(run, manifest=replace(run.manifest, ranks=where))
    for lines in (
        (),
        (Joined("a", gpus={"0": WorkerGpu(uuid="GPU-3a"), "1": WorkerGpu(index=3)}),),
        (
            Joined("a", gpus={"0": WorkerGpu(uuid="GPU-3a")}),
            Joined("b"),
            Joined("c", gpus={"0": WorkerGpu(uuid="GPU-9")}),
        ),
        (Joined("a", gpus={"9": WorkerGpu(uuid="GPU-3a"), "3": WorkerGpu(pci="0000:32")}),),
    ):
        said.append(f"{shown(lines)}: {shown(placed(replace(run, joined=lines)))}")
        said.append(f"    without facts: {shown(placed(replace(run, joined=lines, facts=())))}")
    golden.hold("GPUs", said)


def test_rails_of_ranks(golden: Golden) -> None:
    said: list[str] = []
    sockets, alone = runs.two_rails(), load("local")
    lame = with_port(node(1), "mlx5_3", state="DOWN")
    turned = {rank: 7 - rank % 8 for rank in range(16)}
    bare = replace(node(0), gpus=())
    machines = {
        "two": nodes(2),
        "none": (),
        "one of them lame": (node(0), lame),
        "two of three lame": (node(0), lame, with_port(node(2), "mlx5_3", state="DOWN")),
        "without GPUs": (bare, replace(node(1), gpus=())),
        "one without GPUs": (bare, node(1)),
        "without ways": tuple(
            replace(each, gpus=tuple(replace(g, pci=None) for g in each.gpus)) for each in nodes(2)
        ),
        "oci": (oci(0), oci(1)),
        "oci, turned": (oci(0), oci(1, (1, 0, 2, 3, 4, 5, 6, 7))),
    }
    for name, found in machines.items():
        for profile in (
            LAMBDA,
            load("oci-h100"),
            sockets,
            alone,
            replace(LAMBDA, gpus=0, rails=replace(LAMBDA.rails, devices=("a", "b"))),
        ):
            for each, device in ((8, "cuda:0"), (2, "cpu"), (9, "")):
                ranks = tuple(replace(rank, device=device) for rank in runs.ranks(max(2, len(found)), each))
                for gpus in (None, turned, {0: None, 1: 99, 8: 0}):
                    own = own_by_rank(profile, ranks, found, gpus)
                    names = rail_names(profile, ranks, found, gpus)[:2]
                    alone_ = pins(profile, ranks, found, gpus)
                    said.append(f"{name}, {profile.name}, {each} {device}: {own} {names} {alone_}")
    said.append(str(own_by_rank(LAMBDA, (), nodes(2))))
    golden.hold("rails", [*dict.fromkeys(said)])


# --- peaks


def test_peaks(golden: Golden) -> None:
    said: list[str] = []
    where = runs.ranks(2, 2)
    names = {rank.rank: rank for rank in where}
    for group in ((0, 1), (0, 1, 2, 3), (2, 0), (9, 0), ()):
        found = nodes_of(group, names)
        said.append(f"{group}: {found} {[scope_of(found, several) for several in (False, True)]}")
    for algorithm in ("", "auto", "ring"):
        for op in ("", "none", "sum", "max"):
            case = Case("c", "ring", "all_reduce", 8, 2, ((0, 1),), algorithm=algorithm, op=op)
            said.append(
                f"{algorithm} {op}: {series_of(case, ('n0',), True)} {series_of(case, ('n0', 'n1'), True)}"
            )

    def row(size: int, seconds: float, group: tuple[int, ...] = (0, 1, 2, 3), **changes: str) -> object:
        case = Case(f"{size}", "collectives", "all_reduce", size, size // 4, (group,))
        case = replace(case, **changes)
        blocks = ((seconds,) * len(group),) if seconds else ()
        return row_of(case, replace(runs.measured(case, 1.0)[0], pipelined=blocks))

    for rows in (
        (),
        (row(1024, 1.0), row(2048, 2.0)),
        (row(1024, 1.0), row(2048, 1.0)),
        (row(1024, 1.0), row(2048, 4.0)),
        (row(1024, 0.0), row(2048, 4.0)),
        (row(1024, 1.0), row(4096, 1.0, phase="evidence")),
        (row(1024, 1.0), row(4096, 1.0, placement="in")),
        (row(4096, 1.0, placement="in"), row(1024, 1.0, placement="in")),
        (row(1024, 1.0, (0, 1)), row(1024, 2.0, (2, 3)), row(1024, 4.0, (0, 2))),
        (
            row(8, 1.0, (0,), collective="copy_device"),
            row(8, 1.0, collective="gather"),
            row(8, 1.0, algorithm="ring"),
            row(8, 1.0),
        ),
        (row(8, 1.0, op="max"), row(8, 1.0, op="min"), row(8, 1.0)),
    ):
        for profile in (LAMBDA,):
            evidence = Evidence(runs.read_only(TWO), profile)
            vars(evidence)["rows"] = rows
            run = evidence.run
            object.__setattr__(evidence, "run", replace(run, manifest=replace(run.manifest, ranks=where)))
            told = [
                (top.series, top.row.case.size, top.row.seconds, top.row.measurement.ranks, top.groups)
                for top in peak_rows(evidence)
            ]
            said.append(f"{len(rows)}: {told}")
    golden.hold("peaks", said)


# --- evidence


def test_evidence(golden: Golden) -> None:
    said: list[str] = []
    run = runs.read_only(TWO, LINES["two phases"])
    begun_ = replace(run, phases=(PhaseMark("rails", "begin"), PhaseMark("ring", "begin")))
    evidence = Evidence(begun_, LAMBDA)
    said += [
        windows(evidence.windows),
        shown(evidence.gaps),
        windows(evidence.over_the_run),
        str(sorted(evidence.quiet)),
    ]
    gaps = Evidence(replace(begun_, counters=LINES["a phase"]), LAMBDA)
    said += [
        shown(gaps.gaps),
        windows(gaps.windows),
        shown(gaps.last_windows("ring")[1]),
        shown(gaps.last_windows("x")[1]),
    ]
    twice = Evidence(replace(begun_, counters=LINES["twice"]), LAMBDA)
    resumed = Evidence(replace(begun_, counters=LINES["twice"], earlier=frozenset({"x"})), LAMBDA)
    said += [windows(each.last_windows("ring")[0]) for each in (twice, resumed)]
    for launcher in ("openmpi", IMPORTED):
        for version in (__version__, "0.0.1", None):
            for marks in ((), (PhaseMark("ring", "begin"),)):
                found = {"railgauge": version} if version else {}
                manifest = replace(run.manifest, launcher=launcher, versions=found)
                of = Evidence(replace(run, manifest=manifest, phases=marks), LAMBDA)
                said.append(f"{launcher} {version} {len(marks)}: {of.records_all}")
    for gpus in (None, 0, 4):
        for profile in (LAMBDA, load("local"), replace(LAMBDA, gpu_counts=(4, 8))):
            settings = replace(run.manifest.settings, gpus=gpus)
            of = Evidence(replace(run, manifest=replace(run.manifest, settings=settings)), profile)
            said.append(f"{gpus} {profile.name}: {of.gpu_counts}")
    for count in (1, 2, 3, 64):
        of = Evidence(runs.read_only(nodes(count)), LAMBDA)
        both = [(limit.collective, limit.nodes) for limit in of.limits("busbw", "wire_share")]
        said.append(f"{count}: {both} {len(of.limits())}")
        limits = tuple(replace(limit, nodes=(2, 3)) for limit in LAMBDA.limits[:1])
        of = Evidence(runs.read_only(nodes(count)), replace(LAMBDA, limits=limits))
        said.append(f"{count}: {len(of.limits(limits[0].quantity))}")
    for phase in ("collectives", "evidence", "ring"):
        for group in ((0, 1), (0,), (1, 0)):
            case = Case("c", phase, "all_reduce", 8 << 30, 2, (group,))
            of = Evidence(run, LAMBDA)
            vars(of)["rows"] = (row_of(case, runs.measured(case)[0]),)
            said.append(f"{phase} {group}: {[len(of.rows_of(limit)) for limit in LAMBDA.limits]}")
    damaged = replace(runs.read_only(nodes(3)), facts=nodes(2))
    said += [
        str([each.name for each in Evidence(damaged, LAMBDA).nodes]),
        str(sorted(evidence.facts)),
        str(evidence.node_count),
    ]
    golden.hold("evidence", said)


# --- settings

USER, SYSTEM = "/home/u/.nccl.conf", "/etc/nccl.conf"
ENVIRONMENTS = {
    "nothing": Environment({}, {USER: None, SYSTEM: None}, "/home/u"),
    "its own": Environment({"NCCL_A": "1"}, {USER: "NCCL_B=2\n", SYSTEM: "NCCL_C=3\nNCCL_B=9\n"}, "/home/u"),
    "a file of its choice": Environment(
        {"NCCL_CONF_FILE": "/x/.nccl.conf"}, {"/x/.nccl.conf": "NCCL_D=4\n", SYSTEM: "NCCL_C=3\n"}, "/home/u"
    ),
    "another home": Environment({}, {"/root/.nccl.conf": "NCCL_B=2\n", SYSTEM: None}, "/home/u"),
    "no home": Environment({}, {SYSTEM: "NCCL_C=3\n"}, None),
    "unread": Environment({}, {}, "/home/u"),
    "odd name": Environment({}, {"/home/u/nccl.conf": "NCCL_B=2\n", SYSTEM: None}, "/home/u"),
}


def test_settings(golden: Golden) -> None:
    said: list[str] = []
    want = replace(LAMBDA, environment={"NCCL_A": "7", "NCCL_E": "5"})
    softwares = {
        "none": Software(),
        "torch": Software(torch_nccl="2.21.5"),
        "wheels": Software(torch_nccl="2.21.5", nccl_wheels={"nvidia-nccl-cu12": "2.18.3", "other": "x"}),
        "libraries": Software(nccl_libraries=("/usr/lib/libnccl.so.2.17.1", "/usr/lib/libnccl.so")),
    }
    for name, software in softwares.items():
        said.append(f"{name}: {versions(replace(node(), software=software))}")
        for which, environment in ENVIRONMENTS.items():
            machine = replace(node(), software=software, environment=environment)
            run = runs.read_only([machine])
            manifest = replace(
                run.manifest, ranks=runs.ranks(1, 3), environment={"1": {"NCCL_A": "2"}, "2": {"NCCL_A": "2"}}
            )
            for of in (
                run,
                replace(run, manifest=manifest),
                replace(run, manifest=replace(run.manifest, ranks=(), environment={})),
            ):
                for each in rank_environments(Evidence(of, want)):
                    what = f"{which}: {each.where} {each.ranks} {dict(each.variables)} {each.mixed}"
                    said.append(f"  {what} unread {unread_files(each, want)}")
                    for version in versions(machine)[:2]:
                        ours, theirs = (
                            [(one.name, one.value) for one in found.settings]
                            for found in (for_workers(each, want, version), for_user(each, version))
                        )
                        said.append(f"    {version}: {ours} | {theirs}")
    golden.hold("settings", [*dict.fromkeys(said)])


# --- logs and leaves


def test_logs_of_ranks(golden: Golden, tmp_path: Path) -> None:
    run = replace(counted(()), path=tmp_path)
    run = replace(run, manifest=replace(run.manifest, ranks=runs.ranks(1, 3)))
    said = [str(len(log_of(run, "evidence").processes))]
    folder = tmp_path / LOGS
    folder.mkdir()
    for rank in (0, 2, 7):
        lines = ("Using network IB", "AllReduce: 8 Bytes -> Algo 1 proto 2 time 3")
        text = "".join(f"n0:{rank}:1 [0] NCCL INFO {line}\n" for line in lines)
        (folder / f"evidence.{rank}.log").write_bytes(text.encode() + b"\xff\n")
    (folder / "evidence.1.log").mkdir()
    for phase in ("evidence", "ring"):
        for containing in ("", " Bytes -> ", "nothing"):
            found = log_of(run, phase, containing)
            said.append(
                f"{phase} {containing!r}: {[(each.name, each.networks, len(each.tuned)) for each in found.processes]}"
            )
    golden.hold("logs", said)


def answers(state: str) -> SubnetAnswers:
    return look(run=lambda command, limit: ToolExit(0, (DATA / f"{command[0]}.{state}.txt").read_text(), ""))


def test_leaves(golden: Golden, tmp_path: Path) -> None:
    said: list[str] = []
    run = replace(counted(()), path=tmp_path)
    said.append(f"nothing: {subnet_of(run)}")
    (tmp_path / LOGS).mkdir()
    written = tmp_path / LOGS / FABRIC
    lines = [json.dumps(to_json(answers(state).answers)) for state in ("faults", "healthy")]
    for text in ("", "x\n", "{}\n", lines[0], "\n".join(lines)):
        written.write_text(text)
        for reading in (-1, 0, 1):
            found = subnet_of(run, reading)
            said.append(f"{len(text)} {reading}: {len(found.rows) if found else None}")
    found = subnet_of(run)
    assert found is not None
    machines = []
    for at in range(2):
        ports = [replace(each, gid=None) for each in node(at).ports]
        machines.append(replace(node(at, ports=tuple(ports)), name=f"node{at}"))
    for names in (
        ("mlx5_1/1",),
        ("mlx5_1", "mlx5_2/1", "mlx5_9/1"),
        ("mlx5_1/1+mlx5_2/1",),
        ("mlx5_1/1+mlx5_9/1",),
        (),
    ):
        said.append(f"{names}: {shown(leaves(machines, names, found))} {leaves(machines, names, None)}")
        said.append(f"    {shown(leaves(machines, names, subnet_of(run, 0)))}")
    many = [replace(machines[at % 2], name=f"node{at}") for at in range(MOST_IN_PAIRS + 1)]
    for count in (MOST_IN_PAIRS, MOST_IN_PAIRS + 1):
        of = replace(runs.read_only(many[:count]), path=tmp_path)
        said.append(f"{count}: {shown(nodes_of_leaves(of, LAMBDA))}")
    golden.hold("leaves", said)
