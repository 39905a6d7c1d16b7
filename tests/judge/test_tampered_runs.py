"""The tamper suite: a healthy acceptance run of paper, one thing planted in it, and what must become of its verdict.

A row says what is planted, the exit status with which judging must end, and words that one finding must say together.
Most rows once passed: what a run must not be able to hide stands here.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from bench.judge.verdicts import judge, status
from bench.model.counters import Snapshot
from bench.model.facts import Node
from bench.model.measurement import Case, Extra, Measurement, Mismatch, Window
from bench.model.run_folder_lines import CounterLine, HealthLine, Loss, PhaseMark
from bench.model.verdict import EXIT, Bound, Status, Verdict
from bench.plan import Job
from bench.plan.phase_names import STEADY
from bench.plan.steady_load import steady_again
from bench.store import IMPORTED, Run
from golden import Golden, opened
from made_acceptance import LAMBDA, acceptance_run, slower, with_readings, with_rows
from made_nodes import port, with_gpu, with_host, with_port, with_software

FAIL, INCONCLUSIVE = EXIT[Status.FAIL], EXIT[Status.INCONCLUSIVE]
Change = Callable[[Run], Run]
Readings = dict[str, dict[str, dict[str, int]]]
DATA = ("port_xmit_data", "port_rcv_data")


@dataclass(frozen=True)
class Tampering:
    """``name``: what is planted; ``words`` all stand in one finding that is no pass."""

    name: str
    change: Change
    exit: int
    words: tuple[str, ...]
    nodes: int = 2


ROWS: list[Tampering] = []


def tampering(name: str, exit_status: int, *words: str, nodes: int = 2) -> Callable[[Change], Change]:
    def add(change: Change) -> Change:
        ROWS.append(Tampering(name, change, exit_status, words, nodes))
        return change

    return add


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Run]:
    return {count: acceptance_run(tmp_path_factory.mktemp("run"), count) for count in (2, 4)}


BAD = (Status.FAIL, Status.INCONCLUSIVE)
GOLDEN = Path(__file__).with_name("tampered_runs.txt")
MOST, MOST_EVIDENCE = 8, 4  # verdicts of a tampering, and lines of evidence, that stand there


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, GOLDEN, ["healthy, 2 nodes", "healthy, 4 nodes", *(row.name for row in ROWS)])


def said(each: Verdict) -> Iterator[str]:
    figures = [f"{figure:.4g}" for figure in (each.value, each.bound) if figure is not None]
    yield f"{each.status.value} {each.check}: {each.subject}: {each.measured}"
    yield f"    wanted: {each.wanted} ({each.source}) {' of '.join(figures)}"
    if each.next_step:
        yield f"    next: {each.next_step}"
    yield from (f"    {line}" for line in each.evidence[:MOST_EVIDENCE])


def judged(run: Run) -> tuple[int, tuple[Verdict, ...]]:
    """Exit status and verdicts; the folder is called RUN in them."""
    found = judge(run, LAMBDA).run
    return EXIT[status(found)], found.verdicts


@pytest.mark.parametrize("count", [2, 4])
def test_the_run_that_is_tampered_with_is_healthy(healthy, golden, count):
    code, verdicts = judged(healthy[count])
    assert (code, [each for each in verdicts if each.status in BAD]) == (0, [])
    golden.hold(f"healthy, {count} nodes", [line for each in verdicts for line in said(each)])


# ── counters ────────────────────────────────────────────────────────────────────────────────────────────


def counted(change: Callable[[CounterLine, int, Readings], object]) -> Change:
    return lambda run: with_readings(run, lambda line, node, readings: change(line, node, readings) and None)


def from_reading(phase: str, when: str, change: Callable[[int, Readings], object]) -> Change:
    """As ``counted``, from that reading to the end of the run."""

    def tampered(run: Run) -> Run:
        begun: list[bool] = []

        def each(line: CounterLine, node: int, readings: Readings) -> None:
            if (line.phase, line.when) == (phase, when):
                begun.append(True)
            if begun:
                change(node, readings)

        return with_readings(run, each)

    return tampered


def more(node: int, name: str, counter: str, by: int) -> Callable[[int, Readings], object]:
    def change(at: int, readings: Readings) -> None:
        if at == node:
            readings[name]["counters"][counter] += by

    return change


def both_ways(node: int, name: str, by: int) -> Callable[[int, Readings], object]:
    return lambda at, readings: [more(node, name, counter, by)(at, readings) for counter in DATA]


tampering("mlx5_0 carries as much as a rail in all phases", FAIL, "mlx5_0")(
    counted(
        lambda _, node, readings: (
            node == 1
            and readings["mlx5_0/1"]["counters"].update(
                {k: readings["mlx5_1/1"]["counters"][k] for k in DATA}
            )
        )
    )
)
tampering("mlx5_0 carries a ninth in the collectives", FAIL, "mlx5_0")(
    from_reading("collectives", "after", both_ways(0, "mlx5_0/1", 10**11))
)
tampering("mlx5_0 carries something in one direction only", FAIL, "mlx5_0")(
    from_reading("collectives", "after", more(0, "mlx5_0/1", "port_xmit_data", 10**11))
)
tampering("mlx5_0 carries 500 MB, less than a hundredth of a rail", INCONCLUSIVE, "mlx5_0")(
    from_reading("collectives", "after", more(0, "mlx5_0/1", "port_xmit_data", 125 * 10**6))
)
tampering("a rail's counters never move", FAIL, "rails.share", "n0 mlx5_4/1", "sent 0 B")(
    counted(
        lambda _, node, readings: (
            node == 0 and readings["mlx5_4/1"]["counters"].update(dict.fromkeys(DATA, 7))
        )
    )
)
tampering("a rail's data counter wraps at 32 bits", FAIL, "mlx5_3")(
    counted(
        lambda _, node, readings: readings["mlx5_3/1"]["counters"].update(
            {k: readings["mlx5_3/1"]["counters"][k] % 2**32 for k in DATA}
        )
    )
)
tampering("the counters of mlx5_0 are in no snapshot", INCONCLUSIVE, "mlx5_0")(
    counted(lambda _, node, readings: readings.pop("mlx5_0/1"))
)
tampering("the counters of mlx5_0 are missing on one node", INCONCLUSIVE, "n1", "mlx5_0")(
    counted(lambda _, node, readings: node == 1 and readings.pop("mlx5_0/1"))
)
tampering("one symbol error in the rails phase", FAIL, "n1 mlx5_5", "symbol_error")(
    from_reading("rails", "after", more(1, "mlx5_5/1", "symbol_error", 1))
)
tampering("a counter of link_downed is full", INCONCLUSIVE, "mlx5_5", "link_downed")(
    counted(lambda _, node, readings: node == 1 and readings["mlx5_5/1"]["counters"].update(link_downed=255))
)
tampering("an error counter is there after each phase and not before", INCONCLUSIVE, "mlx5_5")(
    counted(
        lambda line, node, readings: (
            node == 1 and line.when == "before" and readings["mlx5_5/1"]["counters"].pop("symbol_error")
        )
    )
)


def started_anew(run: Run) -> Run:
    """The clock of n1 begins again before the phase of the rails."""
    begun: list[float] = []

    def moved(line: CounterLine) -> CounterLine:
        if line.phase == "rails":
            begun.append(line.snapshots[1].monotonic)
        first, second = line.snapshots
        return replace(line, snapshots=(first, replace(second, monotonic=second.monotonic - sum(begun[:1]))))

    return replace(run, counters=tuple(map(moved, run.counters)))


tampering(
    "the clock of a node begins again between two phases", INCONCLUSIVE, "n1", "was started anew between"
)(started_anew)
tampering(
    "an error counter is reset between two phases", INCONCLUSIVE, "n1 mlx5_5", "reset between two phases"
)(
    lambda run: from_reading("rails", "before", more(1, "mlx5_5/1", "symbol_error", -4))(
        from_reading("evidence", "before", more(1, "mlx5_5/1", "symbol_error", 4))(run)
    )
)


@tampering("no counter was recorded", INCONCLUSIVE, "no counters were recorded")
def _(run: Run) -> Run:
    return replace(run, counters=())


@tampering("the readings of the two nodes are in each other's place, one with an error", FAIL, "symbol_error")
def _(run: Run) -> Run:
    run = from_reading("rails", "after", more(1, "mlx5_5/1", "symbol_error", 1))(run)
    return replace(
        run, counters=tuple(replace(each, snapshots=each.snapshots[::-1]) for each in run.counters)
    )


# ── measurements ────────────────────────────────────────────────────────────────────────────────────────


def rows(
    change: Callable[[Measurement], Measurement | None],
    phase: str = "",
    only: Callable[[Case, Measurement], bool] = lambda case, row: True,
) -> Change:
    """The rows of the phases that begin so, and that ``only`` takes, changed; None takes one away."""
    return lambda run: with_rows(
        run,
        lambda case, row: change(row) if case.phase.startswith(phase) and only(case, row) else row,
    )


def times(
    factor: float, phase: str = "", only: Callable[[Case, Measurement], bool] = lambda case, row: True
) -> Change:
    return rows(lambda row: slower(row, factor), phase, only)


def of_all(case: Case, row: Measurement) -> bool:
    return len(row.ranks) == 16


tampering("rank 5 is in no measurement", INCONCLUSIVE, "coverage.ranks")(
    rows(lambda row: None if 5 in row.ranks else row)
)
tampering("rank 5 is in no measurement of the rails", FAIL, "coverage.cases", "rails")(
    rows(lambda row: None if 5 in row.ranks else row, "rails")
)
tampering("wrong elements on one rank of one case", FAIL, "rank 13")(
    rows(
        lambda row: replace(row, wrong=(0,) * 13 + (1, 0, 0)),
        "collectives",
        lambda case, row: case.collective == "broadcast",
    )
)
tampering("nothing was compared", INCONCLUSIVE, "results")(rows(lambda row: replace(row, checked=0)))
tampering("the Ring claims more than the wires can carry", INCONCLUSIVE, "wire.ceiling", "ring/all_reduce")(
    times(1 / 2.5, "ring", lambda case, row: case.collective == "all_reduce")
)
tampering("a transfer did not get through", FAIL, "n1")(
    rows(
        lambda row: replace(
            row, stop="failed", pipelined=(), isolated=(), calls=0, wrong=(None, None), checked=0,
            extra=type(row.extra)(failed="timeout"),
        ),
        "rails",
        lambda case, row: row.ranks[0] % 8 == 3,
    )
)  # fmt: skip
tampering("a node's own all_reduce is at a tenth", FAIL, "limits.alone", "n1")(
    times(10, "nodes", lambda case, row: row.ranks[0] == 8)
)
tampering("every node's own all_reduce lacks NVLS", FAIL, "limits.alone", "n0")(times(478 / 360, "nodes"))
tampering("all_to_all at a tenth", FAIL, "all_to_all")(
    times(10, "collectives", lambda case, row: case.collective == "all_to_all")
)
tampering("broadcast at a tenth", FAIL, "broadcast")(
    times(10, "collectives", lambda case, row: case.collective == "broadcast")
)
for _name in ("all_gather", "reduce_scatter", "reduce", "gather", "scatter"):
    tampering(f"{_name} at a tenth", FAIL, "limits.", _name)(
        times(10, "collectives", lambda case, row, name=_name: case.collective == name)  # type: ignore[misc]
    )
tampering("small all_reduces a hundred times slower", INCONCLUSIVE, "limits.", "all_reduce")(
    times(100, "collectives", lambda case, row: case.collective == "all_reduce" and case.size < 1 << 30)
)
tampering("host copies of one GPU at a tenth", FAIL, "n0", "GPU 2")(
    times(10, "copies", lambda case, row: row.ranks == (2,))
)
tampering("host copies of all GPUs at a tenth", FAIL, "limits.host_copies")(times(10, "copies"))
tampering("copies inside the memory of all GPUs at a tenth", FAIL, "limits.device_copies")(
    times(10, "copies", lambda case, row: case.collective == "copy_device")
)
tampering("one rank's time of one call is no number", INCONCLUSIVE, "clock", "nan seconds")(
    rows(
        lambda row: replace(row, pipelined=((*row.pipelined[0][:-1], math.nan), *row.pipelined[1:])),
        "collectives",
        lambda case, row: case.collective == "broadcast" and case.size == 8,
    )
)
tampering(
    "the largest all_reduces have no time of calls back to back", INCONCLUSIVE, "limits.busbw", "all_reduce"
)(
    rows(
        lambda row: replace(row, pipelined=()),
        "collectives",
        lambda case, row: case.collective == "all_reduce",
    )
)
tampering("one GPU is slow inside its node", INCONCLUSIVE, "n1 GPU 6")(
    times(2, "inside", lambda case, row: 14 in row.ranks)
)
tampering("all rails at 85 % of their bound", FAIL, "limits.rail_rate")(times(48.5 / 41.2, "rails"))
tampering("the pinned pass of one rail at a tenth", FAIL, "limits.rail_rate", "mlx5_4")(times(10, "pinned-3"))
tampering("the forced Ring at three quarters", FAIL, "ring/all_reduce")(times(372 / 280, "ring"))
tampering("a rail at half of its rate with every other node", FAIL, "n3 rail mlx5_3", nodes=4)(
    times(2, "rails", lambda case, row: 26 in row.ranks)
)
tampering("a node 12 % slow on all of its rails", FAIL, "node n2", nodes=4)(
    times(1 / 0.88, "rails", lambda case, row: any(16 <= rank < 24 for rank in row.ranks))
)
tampering("a rail 20 % slow between all nodes", FAIL, "mlx5_5", nodes=4)(
    times(1 / 0.8, "rails", lambda case, row: row.ranks[0] % 8 == 4)
)


# ── a steady load ───────────────────────────────────────────────────────────────────────────────────────


def windows(change: Callable[[Window], Window | None]) -> Change:
    return lambda run: replace(run, windows=tuple(new for each in run.windows if (new := change(each))))


def longer(window: Window, times: float) -> Window:
    """The window with all calls so much longer, and so many fewer of them."""
    seconds = tuple(times * each for each in window.seconds)
    slowest, alone = times * window.slowest, times * window.isolated
    return replace(
        window, seconds=seconds, slowest=slowest, isolated=alone, calls=max(1, round(window.calls / times))
    )


def now_and_then(window: Window) -> Window:
    """A quarter of its rate for 4 s of every 12, of the ring on mlx5_4 and n1's GPU there."""
    return longer(window, 4) if 3 in window.ranks and window.ended % 12 > 8 else window


tampering(
    "a rail at a quarter of its rate for 4 s of every 12", INCONCLUSIVE, "blame.intermittent", "mlx5_4"
)(windows(now_and_then))


def loaded_again(run: Run) -> Run:
    """The run whose rails were loaded a second time, when the nodes had other neighbours."""
    job = Job(LAMBDA, run.manifest.ranks, "nccl")
    again = steady_again(job)
    (first,) = (phase for phase in run.plan.phases if phase.name == STEADY)
    told = [
        replace(window, case=again.cases[0].id, ranks=ranks)
        for ranks, before in zip(again.cases[0].groups, first.cases[0].groups, strict=True)
        for window in run.windows
        if window.ranks == before
    ]
    plan = replace(run.plan, phases=(*run.plan.phases, again))
    return replace(run, plan=plan, windows=(*run.windows, *told))


@tampering(
    "the same again, when the nodes have other neighbours", FAIL, "n1 rail mlx5_4/1", "intermittent", nodes=4
)
def _(run: Run) -> Run:
    return windows(of_one_port)(loaded_again(run))


def of_one_port(window: Window) -> Window:
    """n1's port mlx5_4 at a quarter of its rate for 4 s of every 12: it waits, and its two neighbours with it."""
    if 11 not in window.ranks or not window.ended % 12 > 8:
        return window
    at, n = window.ranks.index(11), len(window.ranks)
    late = {(at - 1) % n, at, (at + 1) % n}
    seconds = tuple(4 * each if i in late else each for i, each in enumerate(window.seconds))
    return replace(longer(window, 4), seconds=seconds)


tampering("no window of the steady load was recorded", INCONCLUSIVE, "blame.intermittent")(
    windows(lambda _: None)
)
tampering("one rail was left out of the steady load", INCONCLUSIVE, "7 of 8 rails were loaded")(
    windows(lambda window: None if 3 in window.ranks else window)
)


# ── the plan and the journal ────────────────────────────────────────────────────────────────────────────


def without_phase(name: str, reason: str = "") -> Change:
    def change(run: Run) -> Run:
        gone = [phase for phase in run.plan.phases if phase.name.split("-")[0] == name]
        cases = {case.id for phase in gone for case in phase.cases}
        kept = tuple(phase for phase in run.plan.phases if phase not in gone)
        skipped = (*run.plan.skipped, *([(name, reason)] if reason else []))
        names = {phase.name for phase in gone}
        return replace(
            run,
            plan=replace(run.plan, phases=kept, skipped=skipped),
            measurements=tuple(row for row in run.measurements if row.case not in cases),
            phases=tuple(mark for mark in run.phases if mark.name not in names),
            counters=tuple(line for line in run.counters if line.phase not in names),
            windows=tuple(window for window in run.windows if window.case not in cases),
        )

    return change


for _name in ("evidence", "copies", "pairs", "rails", "pinned", "steady", "nodes", "inside", "ring"):
    tampering(f"phase {_name} was not planned", INCONCLUSIVE, "coverage.plan", _name)(without_phase(_name))
tampering("phase nodes was left out for a reason that nobody gave", INCONCLUSIVE, "coverage.plan", "nodes")(
    without_phase("nodes", "left out for want of time")
)


# a word of the manifest that would take checks away: what is no acceptance run cannot pass as one


def manifest(**changes: object) -> Change:
    return lambda run: replace(run, manifest=replace(run.manifest, **changes))


for _word in ("run", "soak", "probe", "import", "gate"):
    tampering(f"the manifest says that railgauge {_word} was run", INCONCLUSIVE, "coverage.command", _word)(
        manifest(command=("railgauge", _word))
    )
tampering("the manifest names no command", INCONCLUSIVE, "coverage.command", "says nothing")(
    manifest(command=())
)
tampering("the manifest says that the results were imported", INCONCLUSIVE, "coverage.command", "accept")(
    manifest(launcher=IMPORTED)
)
tampering(
    "the manifest says that railgauge import made it", INCONCLUSIVE, "coverage.command", "facts, counters"
)(manifest(launcher=IMPORTED, command=("railgauge", "import")))
tampering("the manifest says that gloo moved the data", INCONCLUSIVE, "coverage.plan", "rails")(
    manifest(backend="gloo")
)


tampering("no worker reported its GPU", INCONCLUSIVE, "gpus.placed", "did not report its GPU")(
    lambda run: replace(run, joined=())
)
tampering("the answers of the fabric's tools are gone", INCONCLUSIVE, "fabric", "fabric.jsonl")(
    lambda run: replace(run, path=run.path / "elsewhere")
)


@tampering("the plan has 3 of the collectives", INCONCLUSIVE, "coverage.plan", "collectives")
def _(run: Run) -> Run:
    few = ("all_reduce", "all_gather", "reduce_scatter")
    phases = tuple(
        replace(phase, cases=tuple(case for case in phase.cases if case.collective in few))
        if phase.name == "collectives"
        else phase
        for phase in run.plan.phases
    )
    kept = {case.id for phase in phases for case in phase.cases}
    rows_ = tuple(row for row in run.measurements if row.case in kept)
    return replace(run, plan=replace(run.plan, phases=phases), measurements=rows_)


@tampering("another version is said to have planned without a phase", INCONCLUSIVE, "coverage.plan", "inside")
def _(run: Run) -> Run:
    run = without_phase("inside")(run)
    return replace(run, manifest=replace(run.manifest, versions={"railgauge": "0.0.9"}))


@tampering("the run has no completion record", INCONCLUSIVE, "coverage.end")
def _(run: Run) -> Run:
    return replace(run, ended=None)


@tampering("a case that was lost was measured too", INCONCLUSIVE, "signal 9")
def _(run: Run) -> Run:
    return replace(
        run, losses=(Loss(run.measurements[0].case, "worker of rank 3 ended by signal 9", "rank 3 (n0)"),)
    )


# ── facts ───────────────────────────────────────────────────────────────────────────────────────────────


def machine(number: int, change: Callable[[Node], Node]) -> Change:
    return lambda run: replace(
        run, facts=tuple(change(node) if at == number else node for at, node in enumerate(run.facts))
    )


def on_all(change: Callable[[Node], Node]) -> Change:
    return lambda run: replace(run, facts=tuple(map(change, run.facts)))


tampering("the facts of a node are missing", INCONCLUSIVE, "n1")(
    lambda run: replace(run, facts=run.facts[:1])
)
tampering("one GPU is an A100", FAIL, "n1 GPU 3")(
    machine(1, lambda n: with_gpu(n, 3, name="NVIDIA A100-SXM4-80GB"))
)
tampering("one GPU is on two nodes", FAIL, "gpus.uuids", "n0 GPU 2 and n1 GPU 3")(
    lambda run: machine(1, lambda n: with_gpu(n, 3, uuid=run.facts[0].gpus[2].uuid))(run)
)
tampering("a port's GUID is on two nodes", FAIL, "rails.guids", "n0 mlx5_3/1 and n1 mlx5_3/1")(
    lambda run: machine(1, lambda n: with_port(n, "mlx5_3", gid=run.facts[0].ports[3].gid))(run)
)
tampering("an address is on two nodes", FAIL, "host.addresses", "n0 eth0 and n1 eth0")(
    lambda run: machine(1, lambda n: replace(n, interfaces=run.facts[0].interfaces))(run)
)
tampering("a port is down", FAIL, "n1 mlx5_8")(
    machine(1, lambda n: with_port(n, "mlx5_8", state="DOWN", phys_state="Polling"))
)
tampering("a node has a rail less", FAIL, "n1", "7 rails")(
    machine(1, lambda n: replace(n, ports=n.ports[:-1]))
)
tampering("every node has a rail less", FAIL, "n0", "7 rails")(
    on_all(lambda n: replace(n, ports=n.ports[:-1]))
)
tampering("a link runs at 200 Gb/s", FAIL, "n1 mlx5_3", "200")(
    machine(1, lambda n: with_port(n, "mlx5_3", rate=25e9, rate_text="200 Gb/sec (4X HDR)"))
)
tampering("a RoCE bond stands beside the rails", FAIL, "mlx5_bond_0")(
    on_all(
        lambda n: replace(n, ports=(*n.ports, replace(port(0), hca="mlx5_bond_0", netdev="bond0", rate=25e9)))
    )
)
tampering("what is excluded has another name", FAIL, "ibp0")(
    on_all(
        lambda n: replace(n, ports=tuple(replace(p, hca=p.hca.replace("mlx5_0", "ibp0")) for p in n.ports))
    )
)
tampering("a GPU counts an uncorrectable error", FAIL, "n0 GPU 2")(
    machine(0, lambda n: with_gpu(n, 2, ecc=replace(n.gpus[2].ecc, volatile_uncorrected=1)))
)
tampering("a node's driver differs", FAIL, "versions.driver", "n1")(
    machine(1, lambda n: with_software(n, driver="550.54.15"))
)
tampering("an NVLink is down", FAIL, "n0 GPU 5")(
    machine(
        0,
        lambda n: with_gpu(
            n, 5, nvlinks=tuple(replace(each, active=each.link != 3) for each in n.gpus[5].nvlinks)
        ),
    )
)
tampering("a node has no GPUDirect", FAIL, "n1", "peermem")(
    machine(1, lambda n: with_host(n, peermem=None, memory_peers=()))
)
tampering("the MTU of a rail is half of the others'", FAIL, "mlx5_3")(
    machine(1, lambda n: with_port(n, "mlx5_3", mtu=2048))
)


def variables(ranks: range, **values: str) -> Change:
    def change(run: Run) -> Run:
        environment = {
            rank: values if int(rank) in ranks else said for rank, said in run.manifest.environment.items()
        }
        return replace(run, manifest=replace(run.manifest, environment=environment))

    return change


tampering("one rank's NCCL may not use InfiniBand", FAIL, "NCCL_IB_DISABLE")(
    variables(range(9, 10), NCCL_IB_DISABLE="1")
)
tampering("no rank's NCCL may use NVLink", FAIL, "NCCL_P2P_DISABLE")(
    variables(range(16), NCCL_P2P_DISABLE="1")
)
tampering("one rank's NCCL has another algorithm", FAIL, "NCCL_ALGO")(
    variables(range(3, 4), NCCL_ALGO="Tree")
)


# ── NCCL's logs ─────────────────────────────────────────────────────────────────────────────────────────


def log(rank: int, change: Callable[[str], str | None], phase: str = "evidence") -> Change:
    """The run whose log of that rank is another; None: it has none. ``run.path`` is a copy of the folder."""

    def tampered(run: Run) -> Run:
        file = run.path / "logs" / f"{phase}.{rank}.log"
        text = change(file.read_text())
        file.unlink() if text is None else file.write_text(text)
        return run

    return tampered


tampering("one rank has no log", INCONCLUSIVE, "rank 7")(log(7, lambda text: None))
tampering("one rank's log is empty", INCONCLUSIVE, "rank 7")(log(7, lambda text: ""))
tampering("one rank uses sockets", FAIL, "rank 12")(
    log(12, lambda text: text.replace("network IB", "network Socket").replace("via NET/IB", "via NET/Socket"))
)
tampering("mlx5_0 is in one rank's list", FAIL, "rank 12", "mlx5_0")(
    log(12, lambda text: text.replace("[0]mlx5_1:1/IB", "[0]mlx5_0:1/RoCE [1]mlx5_1:1/IB"))
)
tampering("one channel is without GPUDirect", FAIL, "nccl.gpudirect")(
    log(3, lambda text: text.replace("/GDRDMA", ""))
)
tampering("a log is cut in the middle of its list", INCONCLUSIVE, "rank 3")(
    log(3, lambda text: text[: text.index("mlx5_6")] + "\n")
)
tampering("a pinned worker uses another rail", FAIL, "mlx5_5")(
    log(9, lambda text: text.replace("mlx5_4:1", "mlx5_5:1"), "pinned-3")
)
tampering("a GPU's channels leave by a far adapter", FAIL, "rank 2")(
    log(2, lambda text: text.replace("via NET/IB/2/", "via NET/IB/5/"))
)


# ── what a hunt found that passed ───────────────────────────────────────────────────────────────────────

in_collectives = partial(rows, phase="collectives")
GARBLED = Mismatch(rank=3, index=5, repetition=1, got=1.0, wanted=2.0)


tampering("a wrong row of a case that was not planned", INCONCLUSIVE, "coverage.cases", "other/")(
    lambda run: replace(
        run,
        measurements=(
            *run.measurements,
            replace(run.measurements[0], case=f"other/{run.measurements[0].case}", wrong=(9,) * 16),
        ),
    )
)
tampering("the blocks have the times of half of the ranks", INCONCLUSIVE, "clock", "8 of 16 ranks")(
    in_collectives(lambda row: replace(row, pipelined=tuple(block[:8] for block in row.pipelined)))
)
tampering("a third of the blocks is ten times slower", INCONCLUSIVE, "clock", "2 of 6 blocks")(
    in_collectives(
        lambda row: replace(
            row,
            pipelined=(
                *row.pipelined[:4],
                *(tuple(10 * second for second in block) for block in row.pipelined[4:]),
            ),
        )
    )
)
tampering("single calls take a hundred times as long", INCONCLUSIVE, "clock", "a call by itself")(
    in_collectives(lambda row: replace(row, isolated=tuple(100 * second for second in row.isolated)))
)
tampering("single calls take a hundredth of the time", INCONCLUSIVE, "clock", "a call by itself")(
    in_collectives(lambda row: replace(row, isolated=tuple(second / 100 for second in row.isolated)))
)
tampering("copies are a hundred times faster", INCONCLUSIVE, "limits.device_copies", "more than 3350 GB/s")(
    times(0.01, "copies")
)
tampering("mismatches are listed and none is counted", FAIL, "correctness", "first in call 2 at rank 3")(
    in_collectives(lambda row: replace(row, mismatches=(GARBLED,)))
)
tampering("half of the ranks tell how much was wrong", INCONCLUSIVE, "correctness", "not compared on every")(
    in_collectives(lambda row: replace(row, wrong=row.wrong[:8]))
)
tampering("the tool is said not to verify", INCONCLUSIVE, "correctness", "not compared on every rank")(
    rows(
        lambda row: replace(
            row, wrong=(None,) * len(row.wrong), checked=0, extra=Extra(unverified="the tool cannot")
        )
    )
)
for _name in ("collectives", "nodes", "copies", "ring"):
    tampering(f"all of {_name} failed", INCONCLUSIVE, "coverage.cases", f"{_name}: 0 of")(
        rows(lambda row: replace(row, extra=Extra(failed="no answer")), _name)
    )


@tampering(
    "pairs were given up and no budget is named", INCONCLUSIVE, "coverage.budget", "between neighbours"
)
def _(run: Run) -> Run:
    run = without_phase("pairs")(run)
    skipped = (*run.plan.skipped, ("given up", "point-to-point between neighbours"))
    return replace(run, plan=replace(run.plan, skipped=skipped))


def another_environment(run: Run) -> Run:
    phases = tuple(
        replace(phase, environment={"NCCL_P2P_DISABLE": "1"}) if phase.name == "collectives" else phase
        for phase in run.plan.phases
    )
    return replace(run, plan=replace(run.plan, phases=phases))


tampering("a phase had another environment", INCONCLUSIVE, "coverage.plan", "collectives: its environment")(
    another_environment
)


@tampering(
    "a phase has neither marks nor counters", INCONCLUSIVE, "growth.errors", "phase “collectives as a ring”"
)
def _(run: Run) -> Run:
    return replace(
        run,
        counters=tuple(line for line in run.counters if line.phase != "ring"),
        phases=tuple(mark for mark in run.phases if mark.name != "ring"),
    )


tampering("one GPU may draw half of the power", FAIL, "gpus.alike", "n1 GPU 3", "350 W")(
    lambda run: machine(1, lambda n: with_gpu(n, 3, power_limit=350.0))(
        on_all(lambda n: replace(n, gpus=tuple(replace(gpu, power_limit=700.0) for gpu in n.gpus)))(run)
    )
)
tampering("one GPU has a lower clock at most", FAIL, "gpus.alike", "n1 GPU 3", "1200 MHz")(
    machine(1, lambda n: with_gpu(n, 3, clock_sm_max=1.2e9))
)
tampering("one GPU has half of the memory", FAIL, "gpus.alike", "n1 GPU 3", "40 GiB")(
    machine(1, lambda n: with_gpu(n, 3, memory_total=40 << 30, memory_free=40 << 30))
)
tampering("a GPU's memory is in use and no process shows", INCONCLUSIVE, "gpus.idle", "n1 GPU 3", "70 GiB")(
    machine(1, lambda n: with_gpu(n, 3, memory_free=10 << 30))
)
tampering("a rail is in a subnet of its own", FAIL, "rails.subnet", "n1", "fec0", nodes=4)(
    machine(1, lambda n: with_port(n, "mlx5_3", gid=f"fec0{n.ports[3].gid[4:]}"))
)
tampering("a rail has a subnet manager of its own", FAIL, "rails.subnet", "n1", "LID 77", nodes=4)(
    machine(1, lambda n: with_port(n, "mlx5_3", sm_lid=77))
)
tampering("a rail's GID is zero", FAIL, "rails.guids", "n1 mlx5_3")(
    machine(1, lambda n: with_port(n, "mlx5_3", gid="0000:0000:0000:0000:0000:0000:0000:0000"))
)


def renamed(run: Run) -> Run:
    logs = run.path / "logs"
    (logs / "evidence.3.log").write_text((logs / "evidence.11.log").read_text())
    return run


tampering("a rank's log is another's", INCONCLUSIVE, "nccl.ranks", "rank 3", "rank 11 of 16")(renamed)
tampering("a rank's log is of a smaller job", INCONCLUSIVE, "nccl.ranks", "rank 5 of 8")(
    log(5, lambda text: text.replace("nranks 16", "nranks 8").replace("nRanks 16", "nRanks 8"))
)
SAID = "n0:1005:2005 [5] NCCL INFO "
tampering("NCCL says that it may not use NVLink", FAIL, "nccl.settings", "rank 5", "NCCL_P2P_DISABLE")(
    log(5, lambda text: f"{SAID}NCCL_P2P_DISABLE set by environment to 1.\n{text}")
)


@tampering("one rank's NCCL is older", FAIL, "nccl.ranks", "rank 5", "2.19.3", "15 others")
def _(run: Run) -> Run:
    for file in (run.path / "logs").glob("evidence.*.log"):
        rank = int(file.suffixes[0][1:])
        version = "2.19.3" if rank == 5 else "2.21.5"
        head = (
            f"n{rank // 8}:{1000 + rank}:{2000 + rank} [{rank % 8}] NCCL INFO NCCL version {version}+cuda12.4"
        )
        file.write_text(f"{head}\n{file.read_text()}")
    return run


def rank_4(phases: tuple[str, ...], **changes: list[float]) -> Change:
    def changed(line: HealthLine) -> HealthLine:
        here = line.rank == 4 and line.phase in phases
        return replace(line, cases=[replace(case, **changes) for case in line.cases]) if here else line

    return lambda run: replace(run, health=tuple(map(changed, run.health)))


tampering("a GPU is slow in the collectives alone", FAIL, "gpus.clock", "n0 rank 4", "500 MHz in phase ring")(
    rank_4(("collectives", "ring", "nodes"), clock_sm=[5e8, 5e8])
)
tampering("a GPU's memory has half of its clock", FAIL, "gpus.clock", "n0 rank 4", "memory clock")(
    rank_4(("collectives",), clock_memory=[1.3e9, 1.3e9])
)
tampering("the steady load has a wrong element in one window", FAIL, "correctness", "1 of", "rank 0")(
    windows(lambda w: replace(w, wrong=(3, *w.wrong[1:])) if w.ended == 5 and 0 in w.ranks else w)
)
tampering("the steady load was not verified", INCONCLUSIVE, "correctness", "windows were not compared")(
    windows(lambda w: replace(w, wrong=(None,) * len(w.wrong)))
)
tampering("the steady load ended after a quarter", INCONCLUSIVE, "blame.intermittent", "for 5 of 20 s")(
    windows(lambda w: w if w.ended <= 5 or 3 not in w.ranks else None)
)


@tampering("what the workers got has a word of its own", FAIL, "environment.distortions", "NCCL_IB_DISABLE")
def _(run: Run) -> Run:
    own = replace(run.manifest.settings, worker_environment={"NCCL_IB_DISABLE": "1"})
    return replace(run, manifest=replace(run.manifest, settings=own))


tampering("two versions of NCCL are among the workers", FAIL, "versions.workers", "2.19.3 and 2.21.5")(
    lambda run: replace(
        run, joined=tuple(replace(line, versions={"nccl": ("2.19.3", "2.21.5")}) for line in run.joined)
    )
)


# ── what was left of that hunt ──────────────────────────────────────────────────────────────────────────


def small(case: Case, row: Measurement) -> bool:
    return case.size < 1 << 20


def of_size(size: int) -> Callable[[Case, Measurement], bool]:
    return lambda case, row: case.size == size


tampering("all pairs of GPUs inside the nodes at a tenth", FAIL, "limits.ceiling_share", "n0 GPU 0", "37.")(
    times(10, "inside")
)
tampering("small messages between all pairs fifty times slower", INCONCLUSIVE, "limits.equals", "neighbours")(
    times(50, "pairs", small)
)
tampering("the Ring at half of its rate at 2 GiB alone", INCONCLUSIVE, "limits.equals", "by 4 GiB and 8 GiB")(
    times(2, "ring", of_size(2 << 30))
)
tampering("all_reduce at half of its rate at 512 MiB alone", INCONCLUSIVE, "limits.equals", "128 MiB reach")(
    times(2, "collectives", of_size(512 << 20))
)


def a_fifth_slow(window: Window) -> Window:
    return longer(window, 1.25) if 3 in window.ranks else window


tampering(
    "a rail a fifth slow in each window of the load", INCONCLUSIVE, "blame.intermittent", "rail mlx5_4"
)(windows(a_fifth_slow))
tampering(
    "that rail a fifth slow, loaded again", FAIL, "rail mlx5_4/1", "80.0 % and, loaded again, 80.0 %", nodes=4
)(lambda run: windows(a_fifth_slow)(loaded_again(run)))
tampering("all rails at half of their rate under load", INCONCLUSIVE, "blame.intermittent", "median rail")(
    windows(lambda window: longer(window, 2))
)
tampering("none of 1000 calls was verified", INCONCLUSIVE, "correctness", "all_reduce", "not compared")(
    rows(lambda row: replace(row, verified=0, made=1000))
)
tampering("no call is said to have been made", INCONCLUSIVE, "correctness", "all_reduce", "not compared")(
    rows(lambda row: replace(row, verified=0, made=0))
)
tampering("rows were measured after the run's end", INCONCLUSIVE, "clock", "after the run")(
    in_collectives(lambda row: replace(row, started=row.started + 1e6, ended=row.ended + 1e6))
)
tampering("rows were measured before the run began", INCONCLUSIVE, "clock", "before the run")(
    in_collectives(lambda row: replace(row, started=row.started - 1e6, ended=row.ended - 1e6))
)
tampering("rows were measured an hour and a half after the end", INCONCLUSIVE, "clock", "after the run")(
    in_collectives(lambda row: replace(row, started=row.started + 5400, ended=row.ended + 5400))
)
tampering("1 TB went over eth0 in the collectives", INCONCLUSIVE, "exclusion.bytes", "n0 eth0", "over IP")(
    from_reading(
        "collectives",
        "after",
        lambda node, readings: node == 0 and readings["eth0"]["statistics"].update(rx_bytes=10**12),
    )
)


def resumed(times_: int, *at: float) -> Change:
    return lambda run: replace(
        run,
        resumed_at=at,
        manifest=replace(run.manifest, settings=replace(run.manifest.settings, resumed=times_)),
    )


tampering("the manifest says that the run was resumed", INCONCLUSIVE, "coverage.end", "3 times", "journal 0")(
    resumed(3)
)
tampering("an error between two phases of a resumed run", FAIL, "growth.errors", "n1 mlx5_5", "grew by 4")(
    lambda run: from_reading("rails", "before", more(1, "mlx5_5/1", "symbol_error", 4))(
        resumed(1, run.counters[-2].snapshots[0].time - 0.1)(run)
    )
)


def roce(*grown: tuple[str, str, int], without: str = "") -> Change:
    """All rails count what a RoCE driver counts; mlx5_5 of n1 more in these phases, and not what is in ``without``."""

    def change(run: Run) -> Run:
        own = {"tx_prio3_pause_duration": 0, "tx_pause_storm_error_events": 0}

        def each(line: CounterLine, node: int, readings: Readings) -> None:
            for name in (name for name in readings if name.startswith("mlx5_")):
                readings[name]["ethtool"] = dict.fromkeys(own, 0)
            if node != 1:
                return
            for phase, counter, by in grown:
                own[counter] += by * ((line.phase, line.when) == (phase, "after"))
            readings["mlx5_5/1"]["ethtool"] = {name: value for name, value in own.items() if name != without}

        return with_readings(run, each)

    return change


tampering(
    "a rail pauses its switch for long in two phases", FAIL, "growth.pauses", "n1 mlx5_5", "in 2 phases"
)(roce(("ring", "tx_prio3_pause_duration", 400_000), ("rails", "tx_prio3_pause_duration", 400_000)))
tampering("a rail pauses its switch until it gives up", FAIL, "growth.pauses", "n1 mlx5_5", "grew by 1")(
    roce(("rails", "tx_pause_storm_error_events", 1))
)
tampering("one rail does not count its pauses", INCONCLUSIVE, "growth.pauses", "n1 mlx5_5", "PFC may be off")(
    roce(without="tx_prio3_pause_duration")
)
tampering("half of the workers came up", INCONCLUSIVE, "coverage.ranks", "8 workers came up")(
    lambda run: replace(run, joined=tuple(replace(line, ranks=8) for line in run.joined))
)
tampering("NCCL counts one node", INCONCLUSIVE, "nccl.ranks", "rank 5", "1 node")(
    log(5, lambda text: text.replace("nNodes 2", "nNodes 1"))
)


def gpus(**changes: object) -> Change:
    return on_all(lambda n: replace(n, gpus=tuple(replace(each, **changes) for each in n.gpus)))


def sampled(**changes: object) -> Change:
    """Every GPU during each case."""
    return lambda run: replace(
        run,
        health=tuple(
            replace(line, cases=[replace(case, **changes) for case in line.cases]) for line in run.health
        ),
    )


tampering("every GPU has 12 of its 18 NVLinks", FAIL, "gpus.nvlink", "n1 GPU 3", "12 NVLinks, not 18")(
    on_all(lambda n: replace(n, gpus=tuple(replace(each, nvlinks=each.nvlinks[:12]) for each in n.gpus)))
)
tampering("the MTU of all rails is half of what they can", FAIL, "rails.mtu", "n1 mlx5_3", "2048")(
    on_all(lambda n: replace(n, ports=tuple(replace(each, mtu=2048) for each in n.ports)))
)
tampering("all GPUs have 61 % of their clock", INCONCLUSIVE, "gpus.clock", "1200 MHz")(
    sampled(clock_sm=[1.2e9, 1.2e9])
)
tampering("the memory of all GPUs has half of its clock", INCONCLUSIVE, "gpus.clock", "memory clock", "2619")(
    lambda run: sampled(clock_memory=[1.3e9, 1.3e9])(gpus(clock_memory_max=2.619e9)(run))
)
tampering("a GPU is at 105 °C and no reason is told", FAIL, "gpus.throttled", "n0 GPU 4", "105 °C")(
    rank_4(("collectives",), temperature=[60, 105])
)
tampering("a GPU is at 105 °C before the run", FAIL, "gpus.clocks", "n1 GPU 3", "105 °C")(
    machine(1, lambda n: with_gpu(n, 3, temperature=105))
)


# ── what a second hunt found that passed ────────────────────────────────────────────────────────────────


def rails_count(phase: str, nodes: tuple[int, ...], share: float) -> Change:
    """The rails of these nodes count so much of the bytes of that phase."""
    before: dict[tuple[int, str, str], int] = {}
    lost: dict[tuple[int, str, str], int] = {}

    def each(line: CounterLine, node: int, readings: Readings) -> None:
        for key in ((node, f"mlx5_{at}/1", counter) for at in range(1, 9) for counter in DATA):
            value = readings[key[1]]["counters"][key[2]]
            if line.phase == phase and node in nodes:
                grown = value - before.setdefault(key, value)
                lost[key] = lost.get(key, 0) + int(grown * (1 - share))
            readings[key[1]]["counters"][key[2]] = value - lost.get(key, 0)

    return counted(each)


tampering(
    "the rails of a node count nothing in the collectives", INCONCLUSIVE, "rails.share", "n0", "sent 0 B"
)(rails_count("collectives", (0,), 0.0))
tampering(
    "all rails count four tenths of what the collectives sent", INCONCLUSIVE, "rails.share", "n1", "at least"
)(rails_count("collectives", (0, 1), 0.4))
tampering(
    "the rails of a node count nothing between neighbours", INCONCLUSIVE, "rails.share", "n0", "sent 0 B"
)(rails_count("pairs", (0,), 0.0))


tampering("more calls were verified than were made", INCONCLUSIVE, "correctness", "not compared")(
    rows(lambda row: replace(row, verified=1000, made=900, checked=1 << 50))
)
tampering(
    "half of the calls that were timed were made", INCONCLUSIVE, "clock", "its times are of", "were made"
)(in_collectives(lambda row: replace(row, verified=2, made=row.calls * len(row.pipelined) // 2 + 1)))


tampering("a clock ran a fifth too fast", INCONCLUSIVE, "clock", "its calls took", "all of its measuring")(
    in_collectives(lambda row: replace(row, ended=row.started + (row.ended - row.started) / 1.5))
)
tampering("host copies are faster than PCI Express", INCONCLUSIVE, "limits.host_copies", "n0 GPU 3", "63.0")(
    times(0.5, "copies", lambda case, row: case.collective.startswith("copy_to") and row.ranks == (3,))
)
tampering("one rail is faster than its port under load", INCONCLUSIVE, "blame.intermittent", "rail mlx5_4")(
    windows(lambda w: replace(w, seconds=tuple(each / 2 for each in w.seconds)) if 3 in w.ranks else w)
)
tampering("NCCL read another selector on one rank", INCONCLUSIVE, "nccl.settings", "rank 5", "=mlx5_1")(
    log(5, lambda text: text.replace("NCCL_IB_HCA set to ^=mlx5_0", "NCCL_IB_HCA set to =mlx5_1"))
)
tampering("a row says less of its noise than its blocks", INCONCLUSIVE, "limits.busbw", "too uncertain")(
    rows(
        lambda row: replace(
            row,
            pipelined=tuple(
                tuple(seconds * (1.1 if at % 2 else 0.98) for seconds in block)
                for at, block in enumerate(row.pipelined)
            ),
        ),
        "collectives",
        lambda case, row: case.collective == "all_gather" and case.size == 8 << 30,
    )
)


# ── what a third hunt found that passed ─────────────────────────────────────────────────────────────────


tampering("two ports have one LID", FAIL, "rails.subnet", "n0 mlx5_3/1 and n1 mlx5_3/1", "LID 3")(
    machine(1, lambda n: with_port(n, "mlx5_3", lid=3))
)
tampering("two ports of different rails have one LID", FAIL, "rails.subnet", "n0 mlx5_5/1 and n1 mlx5_3/1")(
    machine(1, lambda n: with_port(n, "mlx5_3", lid=5))
)
tampering("an adapter's GUID is on two nodes", FAIL, "rails.guids", "n0 mlx5_3 and n1 mlx5_4", "a088:c203")(
    lambda run: machine(0, lambda n: with_port(n, "mlx5_3", node_guid="a088:c203:0012:3456"))(
        machine(1, lambda n: with_port(n, "mlx5_4", node_guid="a088:c203:0012:3456"))(run)
    )
)
tampering("two ports of a node have one GUID", FAIL, "rails.guids", "n1 mlx5_3/1 and n1 mlx5_4/1")(
    lambda run: machine(1, lambda n: with_port(n, "mlx5_4", gid=n.ports[3].gid))(run)
)
tampering("a GPU's serial number is on two nodes", FAIL, "gpus.uuids", "n0 GPU 2 and n1 GPU 3", "165042")(
    lambda run: machine(0, lambda n: with_gpu(n, 2, serial="1650422000123"))(
        machine(1, lambda n: with_gpu(n, 3, serial="1650422000123"))(run)
    )
)
tampering("two GPUs of a node have one UUID", FAIL, "gpus.uuids", "n1 GPU 2 and n1 GPU 3")(
    machine(1, lambda n: with_gpu(n, 3, uuid=n.gpus[2].uuid))
)

tampering(
    "a rank's log is of another run", INCONCLUSIVE, "nccl.ranks", "rank 5", "0x9, those of 15 others of 0x7"
)(log(5, lambda text: text.replace("commId 0x7", "commId 0x9")))
tampering("NCCL goes by host memory inside a node", FAIL, "nccl.nvlink", "rank 5", "5 to 6 by SHM")(
    log(5, lambda text: f"{text}{SAID}Channel 00 : 5[5] -> 6[6] via SHM/direct/direct\n")
)
tampering("NCCL goes by the network inside a node", FAIL, "nccl.nvlink", "rank 5", "5 to 6 by NET")(
    log(5, lambda text: f"{text}{SAID}Channel 00/0 : 5[5] -> 6[6] [send] via NET/IB/5/GDRDMA\n")
)

tampering("every GPU may draw half of its power", INCONCLUSIVE, "gpus.alike", "n0 GPU 0", "350 W", "700 W")(
    lambda run: gpus(power_limit=350.0, power_limit_default=700.0)(run)
)


for _phase in ("collectives", "ring", "pairs", "rails", "pinned-3"):
    tampering(
        f"all rails count twice what they carry in {_phase}", INCONCLUSIVE, "rails.share", "n0", "at most"
    )(rails_count(_phase, (0, 1), 2.0))
tampering(
    "one node's rails count twice what they carry", INCONCLUSIVE, "rails.share", "n1", "at most", nodes=4
)(rails_count("collectives", (1,), 2.0))
tampering(
    "all rails count half of the collectives", INCONCLUSIVE, "rails.share", "all nodes", "at least", nodes=4
)(rails_count("collectives", (0, 1, 2, 3), 0.55))


@tampering("the clocks of two ranks are each other's", INCONCLUSIVE, "gpus.throttled", "n0 rank 4", "GPU-5")
def _(run: Run) -> Run:
    swapped = {4: 5, 5: 4}
    return replace(
        run, health=tuple(replace(line, rank=swapped.get(line.rank, line.rank)) for line in run.health)
    )


@tampering(
    "the clocks of a rank are those of another node", INCONCLUSIVE, "gpus.throttled", "n0 rank 4", "GPU-12"
)
def _(run: Run) -> Run:
    far = {line.phase: line.gpu for line in run.health if line.rank == 12}
    return replace(
        run,
        health=tuple(replace(line, gpu=far[line.phase]) if line.rank == 4 else line for line in run.health),
    )


tampering("a GPU's NVLinks are of an older version", FAIL, "gpus.nvlink", "n1 GPU 3", "version 3", "15 GPUs")(
    machine(
        1,
        lambda n: with_gpu(n, 3, nvlinks=tuple(replace(each, version=3) for each in n.gpus[3].nvlinks)),
    )
)
tampering(
    "a rank's log was written on another node", INCONCLUSIVE, "nccl.ranks", "rank 11", "host n0", "on n1"
)(log(11, lambda text: text.replace("n1:", "n0:")))
tampering("half of the steady load is missing", INCONCLUSIVE, "blame.intermittent", "between 5 and 15 s")(
    windows(lambda w: None if 5 < w.ended < 15 else w)
)


# ── what a fourth hunt found that passed ────────────────────────────────────────────────────────────────

PINNED = "n1:1009:2009 [1]"
MONTH = 30 * 86400.0
for _when, _by in (("before", -MONTH), ("after", MONTH)):
    tampering(
        f"the facts of n1 were gathered a month {_when} the run", INCONCLUSIVE, "host.facts", "n1", _when
    )(
        machine(1, lambda n, by=_by: with_host(n, clock=n.host.clock + by))  # type: ignore[misc]
    )
tampering("a node has half of the memory", FAIL, "versions.host", "n1", "memory: 1 TiB")(
    machine(1, lambda n: with_host(n, memory_total=n.host.memory_total // 2))
)
tampering(
    "a node is said to be virtual",
    FAIL,
    "versions.host",
    "n1",
    "virtual machine, 3 others bare metal",
    nodes=4,
)(machine(1, lambda n: with_host(n, virtual=True)))
tampering(
    "a rail's adapter is of another board",
    FAIL,
    "versions.firmware",
    "n1 mlx5_3",
    "MT_0000000444",
    "15 others",
)(machine(1, lambda n: with_port(n, "mlx5_3", board="MT_0000000444")))
tampering("one block is said to be precise", INCONCLUSIVE, "clock", "1 block and 12 calls", "no interval")(
    in_collectives(lambda row: replace(row, pipelined=row.pipelined[:1]))
)
tampering("five single calls are said to be precise", INCONCLUSIVE, "clock", "6 blocks and 5 calls")(
    in_collectives(lambda row: replace(row, isolated=row.isolated[:5]))
)
tampering("no call was timed by itself", INCONCLUSIVE, "clock", "no call was timed by itself")(
    in_collectives(lambda row: replace(row, isolated=(), stop="budget"))
)
tampering("a clock repeats itself", INCONCLUSIVE, "clock", "all of its 6 blocks", "to the last digit")(
    in_collectives(lambda row: replace(row, pipelined=row.pipelined[:1] * 6))
)
tampering(
    "a rail's packets are not counted while its bytes are",
    INCONCLUSIVE,
    "rails.packets",
    "n0 mlx5_4",
    "no packet",
)(
    counted(
        lambda _, node, readings: (
            node == 0 and readings["mlx5_4/1"]["counters"].update(port_xmit_packets=7, port_rcv_packets=7)
        )
    )
)
tampering(
    "a rail's packets are a sixteenth of its MTU",
    INCONCLUSIVE,
    "rails.packets",
    "n0 mlx5_4",
    "packets of 2",
    "4096",
)(
    counted(
        lambda _, node, readings: (
            node == 0
            and readings["mlx5_4/1"]["counters"].update(
                {
                    name: 16 * readings["mlx5_4/1"]["counters"][name]
                    for name in ("port_xmit_packets", "port_rcv_packets")
                }
            )
        )
    )
)


def marks(change: Callable[[PhaseMark], PhaseMark | None]) -> Change:
    return lambda run: replace(run, phases=tuple(new for each in run.phases if (new := change(each))))


def of_ring(state: str, **changes: object) -> Change:
    """The mark of the ring's phase is another; None where nothing is changed in it."""
    return marks(
        lambda mark: (
            (replace(mark, **changes) if changes else None)
            if (mark.name, mark.state) == ("ring", state)
            else mark
        )
    )


tampering(
    "a phase began with more cases than were measured", INCONCLUSIVE, "coverage.end", "ring", "with 60 cases"
)(of_ring("begin", cases=60))
tampering(
    "a phase ended with fewer cases than were measured", INCONCLUSIVE, "coverage.end", "ring", "with 3 cases"
)(of_ring("end", measured=3))
tampering("a phase has no end", INCONCLUSIVE, "coverage.end", "ring", "ended with none")(of_ring("end"))
tampering(
    "calls stall in every window of the load",
    INCONCLUSIVE,
    "blame.intermittent",
    "rail mlx5_4",
    "calls stall",
)(windows(lambda w: replace(w, slowest=100 * w.slowest) if 3 in w.ranks else w))

tampering("a pinned worker's transfer failed", FAIL, "rails.pinned", "mlx5_4/1", "failed with status 12")(
    log(9, lambda text: f"{text}{PINNED} NCCL WARN NET/IB : Got completion with error 12\n", "pinned-3")
)
tampering("a pinned worker warned", INCONCLUSIVE, "rails.pinned", "mlx5_4/1", "WARN NET/IB : odd")(
    log(9, lambda text: f"{text}{PINNED} NCCL WARN NET/IB : odd\n", "pinned-3")
)


def read_at(by: float) -> Change:
    """All counters were read so many seconds later."""
    return lambda run: replace(
        run,
        counters=tuple(
            replace(
                line,
                snapshots=tuple(
                    Snapshot(each.time + by, each.monotonic, each.readings) for each in line.snapshots
                ),
            )
            for line in run.counters
        ),
    )


for _when, _by in (("before", -MONTH), ("after", MONTH)):
    tampering(
        f"the counters were read a month {_when} the run",
        INCONCLUSIVE,
        "growth.errors",
        "n0",
        f"{_when} the run",
    )(read_at(_by))
tampering("the counters are of other nodes", INCONCLUSIVE, "growth.errors", "are of x, y")(
    lambda run: replace(run, counters=tuple(replace(line, nodes=("x", "y")) for line in run.counters))
)
tampering(
    "the driver's error counters are in no reading",
    INCONCLUSIVE,
    "growth.errors",
    "n0 mlx5_3",
    "packet_seq_err",
)(counted(lambda _, node, readings: node == 0 and readings["mlx5_3/1"].pop("hw_counters")))
tampering("the workers had GPUs of another model", INCONCLUSIVE, "gpus.placed", "rank 0", "A100", "H100")(
    lambda run: replace(
        run,
        joined=tuple(
            replace(
                line,
                gpus={
                    rank: replace(gpu, name="NVIDIA A100-SXM4-80GB")
                    for rank, gpu in (line.gpus or {}).items()
                },
            )
            for line in run.joined
        ),
    )
)
tampering(
    "the clocks are of cases that were not planned", INCONCLUSIVE, "gpus.throttled", "n0 GPU 0", "not known"
)(sampled(case="other/all_reduce"))
tampering("a row stopped for a reason that there is not", INCONCLUSIVE, "clock", "does not stop for 'later'")(
    in_collectives(lambda row: replace(row, stop="later"))
)
tampering("a row is precise and not how", INCONCLUSIVE, "clock", "not how precise")(
    in_collectives(lambda row: replace(row, width=None))
)
tampering("a rank that is not in a row has a wrong element", FAIL, "correctness", "at rank 99")(
    in_collectives(lambda row: replace(row, mismatches=(replace(GARBLED, rank=99),)))
)
tampering("nothing was verified after timing", INCONCLUSIVE, "correctness", "all_reduce", "not compared")(
    rows(lambda row: replace(row, verified=2, made=10_000))
)
tampering(
    "single calls stall in every window of the load",
    INCONCLUSIVE,
    "blame.intermittent",
    "mlx5_4",
    "calls stall",
)(windows(lambda w: replace(w, isolated=100 * w.isolated) if 3 in w.ranks else w))


# ── what a fifth hunt found that passed ─────────────────────────────────────────────────────────────────


def of_collective(name: str) -> Callable[[Case, Measurement], bool]:
    return lambda case, row: case.collective == name


tampering(
    "host copies of one whole node at a third", INCONCLUSIVE, "limits.equals", "n1 GPU 3", "at least 50"
)(times(3, "copies", lambda case, row: case.collective.startswith("copy_to") and row.ranks[0] >= 8))
for _name, _phase, _factor, _usual in (
    ("p2p_ring", "pairs", 3.0, "all rails between all nodes"),
    ("p2p", "pairs", 2.0, "GPUs inside their nodes"),
    ("all_to_all", "collectives", 1 / 0.6, "all rails between all nodes"),
    ("broadcast", "collectives", 2.0, "collectives as a ring"),
):
    tampering(
        f"{_name} is far slower than its links in another phase", INCONCLUSIVE, f"{_phase}/{_name}/", _usual
    )(times(_factor, _phase, of_collective(_name)))


def clocks(change: Callable[[int, float, float], tuple[float, float]]) -> Change:
    """What the clocks of each node said at a reading: (node, seconds since the run began, monotonic) → the two."""
    return lambda run: replace(
        run,
        counters=tuple(
            replace(
                line,
                snapshots=tuple(
                    Snapshot(1.7e9 + day, steady, shot.readings)
                    for at, shot in enumerate(line.snapshots)
                    for day, steady in [change(at, shot.time - 1.7e9, shot.monotonic)]
                ),
            )
            for line in run.counters
        ),
    )


tampering(
    "the monotonic clocks stand still", INCONCLUSIVE, "clock", "n1", "went 0 ns while its clock of the day"
)(clocks(lambda node, day, steady: (day, 5.0)))
tampering("both clocks of a node run at half speed", INCONCLUSIVE, "clock", "n1", "that of the first node")(
    clocks(lambda node, day, steady: (day / (1 + node), steady / (1 + node)))
)


def half_of_rank_5(row: Measurement) -> Measurement:
    found = [
        [s / 2 if r == 5 else s for r, s in zip(row.ranks, block, strict=True)] for block in row.pipelined
    ]
    return replace(row, pipelined=tuple(map(tuple, found)))


tampering("a rank's clock runs at half speed", INCONCLUSIVE, "clock", "rank 5", "took 50.0 %")(
    rows(half_of_rank_5)
)
tampering(
    "long calls take a fifth of their time by themselves", INCONCLUSIVE, "clock", "a call by itself takes"
)(
    rows(
        lambda row: replace(row, isolated=tuple(second / 5 for second in row.isolated)),
        "collectives",
        lambda case, row: case.size >= 1 << 30,
    )
)
tampering(
    "all pairs inside the nodes are far slower than neighbours", INCONCLUSIVE, "pairs/p2p/", "GPUs inside"
)(times(2.5, "inside"))
tampering("the manifest does not say when the run began", INCONCLUSIVE, "coverage.end", "when the run began")(
    manifest(started=0.0)
)
tampering("the manifest names no version", INCONCLUSIVE, "coverage.end", "which version of RailGauge")(
    manifest(versions={})
)


# ── what a sixth hunt found that passed ─────────────────────────────────────────────────────────────────


def without_repetitions(run: Run) -> Run:
    settings = replace(run.manifest.settings, repetitions=0)
    return replace(run, manifest=replace(run.manifest, settings=settings))


tampering(
    "no call is said to have been made, and none was to be verified",
    INCONCLUSIVE,
    "correctness",
    "not compared",
)(lambda run: rows(lambda row: replace(row, made=0, verified=0))(without_repetitions(run)))
tampering(
    "the slowest call of each window is quicker than most",
    INCONCLUSIVE,
    "blame.intermittent",
    "80 of 80 windows",
)(windows(lambda window: replace(window, slowest=window.slowest / 10)))
tampering("each window of the load has one call", INCONCLUSIVE, "blame.intermittent", "111 ms of the 20 s")(
    windows(lambda window: replace(window, calls=1))
)
tampering("each window of the load is there twice", INCONCLUSIVE, "blame.intermittent", "at the same time")(
    lambda run: replace(run, windows=run.windows * 2)
)
tampering("NCCL counts four ranks on a node", INCONCLUSIVE, "nccl.ranks", "rank 5", "4 ranks on its node")(
    log(5, lambda text: text.replace("localRanks 8", "localRanks 4"))
)
tampering("a rank's log is of another GPU", INCONCLUSIVE, "nccl.ranks", "rank 5", "bus id 72000", "GPU 5")(
    log(5, lambda text: text.replace("busId 62000", "busId 72000"))
)
tampering("a pinned worker goes without GPUDirect", FAIL, "rails.pinned", "mlx5_4/1", "without GDRDMA")(
    log(11, lambda text: text.replace("/GDRDMA", ""), "pinned-3")
)
tampering("the run ended a year later", INCONCLUSIVE, "coverage.end", "8760 h", "after its last measurement")(
    lambda run: replace(run, ended=run.ended + 365 * 86400.0)
)
tampering("the run ended before all that it measured", INCONCLUSIVE, "coverage.end", "before it began")(
    lambda run: replace(run, ended=run.manifest.started - 50)
)
tampering(
    "the workers' GPUs are on other buses", INCONCLUSIVE, "gpus.placed", "rank 5", "0000:ff", "0000:62:00.0"
)(
    lambda run: replace(
        run,
        joined=tuple(
            replace(line, gpus={rank: replace(gpu, pci="0000:ff") for rank, gpu in line.gpus.items()})
            for line in run.joined
        ),
    )
)
tampering("the clocks were held more often than sampled", INCONCLUSIVE, "gpus.throttled", "7 of 3 samples")(
    sampled(samples=3, reasons={"sw_power_cap": 7})
)
for _way, _other in (("copy_to_host", "copy_to_device"), ("copy_to_device", "copy_to_host")):
    tampering(
        f"{_way} is at a third on all GPUs", INCONCLUSIVE, "limits.equals", f"{_way}:", f"{_other} reaches"
    )(times(3, "copies", of_collective(_way)))


# ── what somebody who did not build this found that passed ──────────────────────────────────────────────


def failing(phase: str, only: Callable[[Case, Measurement], bool] = lambda case, row: True) -> Change:
    return rows(lambda row: replace(row, extra=Extra(failed="p2p is not supported")), phase, only)


tampering("two GPUs of a node did not reach each other", INCONCLUSIVE, "coverage.cases", "inside: ", " of ")(
    failing("inside", lambda case, row: row.ranks == (0, 1))
)
tampering("messages between neighbours could not be sent", INCONCLUSIVE, "coverage.cases", "pairs: ")(
    failing("pairs", of_collective("p2p"))
)
tampering(
    "no small message was timed back to back", INCONCLUSIVE, "clock", "no calls were timed back to back"
)(rows(lambda row: replace(row, pipelined=(), calls=0), "collectives", small))
tampering("rows do not say when they were measured", INCONCLUSIVE, "clock", "not say when")(
    in_collectives(lambda row: replace(row, started=0.0, ended=0.0))
)


@tampering(
    "the times of one rail are those of another", INCONCLUSIVE, "clock", "to the last digit those of rails/"
)
def _(run: Run) -> Run:
    of_rail_1 = {row.case: row for row in run.measurements if row.ranks[0] % 8 == 0}
    return rows(
        lambda row: replace(of_rail_1[row.case], ranks=row.ranks),
        "rails",
        lambda case, row: row.ranks[0] % 8 == 3 and row.case in of_rail_1,
    )(run)


tampering(
    "the calls of the load would have taken longer than the load",
    INCONCLUSIVE,
    "blame.intermittent",
    "of the 20 s for which it was loaded",
)(windows(lambda window: replace(window, calls=3 * window.calls)))
tampering(
    "nobody read what an interface carried",
    INCONCLUSIVE,
    "exclusion.bytes",
    "n0 eth0",
    "over IP",
    "not known",
)(counted(lambda _, node, readings: node == 0 and readings.pop("eth0")))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
def test_what_is_planted_does_not_pass_and_is_named(healthy, golden, tmp_path: Path, row: Tampering):
    run = healthy[row.nodes]
    shutil.copytree(run.path, tmp_path / "run")
    code, verdicts = judged(row.change(replace(run, path=tmp_path / "run")))
    bad = [each for each in verdicts if each.status in BAD]
    texts = [
        f"{each.status.value} {each.check}: {each.subject}: {each.measured} {' '.join(each.evidence)}"
        for each in bad
    ]
    assert code == row.exit, "\n".join(texts[:8])
    assert any(all(word in text for word in row.words) for text in texts), "\n".join(texts[:8])
    more = [f"and {len(bad) - MOST} more"] if len(bad) > MOST else []
    golden.hold(row.name, [line for each in bad[:MOST] for line in said(each)] + more)


# a cluster whose GPUs are capped by contract: (what the profile states, what they may draw) → what is said
@pytest.mark.parametrize(
    ("stated", "limit", "found"),
    [
        (600.0, 600.0, Status.PASS),
        (600.0, 580.0, Status.PASS),
        (600.0, 500.0, Status.FAIL),
        (600.0, 700.0, Status.INCONCLUSIVE),
        (600.0, None, Status.INCONCLUSIVE),
        (None, 600.0, Status.INCONCLUSIVE),
        (None, 700.0, Status.PASS),
    ],
)
def test_a_power_limit_that_the_profile_states_is_the_one_that_counts(healthy, stated, limit, found):
    profile = replace(LAMBDA, power_limit=Bound(stated, f"{stated:g} W", "contract") if stated else None)
    run = gpus(power_limit=limit, power_limit_default=700.0)(healthy[2])
    verdicts = [each for each in judge(run, profile).run.verdicts if each.check == "gpus.alike"]
    assert {each.status for each in verdicts} == {found}
    assert ("contract" in verdicts[0].source) is (stated is not None)
