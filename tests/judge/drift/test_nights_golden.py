"""What of a run becomes a night, what of a night is measured again, and where a history lies, held to a golden file."""

from __future__ import annotations

import itertools
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("ruptures")

from bench.judge.checks import CHECKS
from bench.judge.drift import (
    Acceptance,
    DriftRules,
    NightValue,
    Series,
    SeriesFinding,
    fingerprint,
    judge,
    series_verdict,
)
from bench.judge.drift.baseline import Baseline, excess
from bench.judge.drift.levels import levels
from bench.judge.drift.past import (
    Past,
    from_saved,
    read_past,
    record,
    recorded_beside,
    refuse_lost_history,
    still_there,
)
from bench.judge.drift.run_fingerprint import algorithm, cluster_name, digest, parts, settings
from bench.judge.drift.series import fleets, nights, recorded_run, samples
from bench.judge.drift.steps import steps
from bench.judge.drift.tonight import _recent, compared, explained, rerun, tonight
from bench.judge.evidence import Evidence
from bench.model.facts import Gpu, Host, Node, Port, Software
from bench.model.measurement import Case, Extra, Measurement
from bench.model.profile import Limit, Profile
from bench.model.verdict import Bound, Status
from bench.plan.nightly import EVERY_RAIL, NIGHT
from bench.plan.phases import START
from bench.store import HISTORY, Run, RunError, load
from bench.store.history import LeftOutFile, WrongPlace, create
from golden import Golden, Parts, opened, shown
from tests import made_nights as made
from tests import runs

FOLDER = TemporaryDirectory()  # removed when Python ends
EIGHT = runs.ranks(8, 2)
OLD, NEW = (fingerprint({"driver": each, "nccl": "2.20"}) for each in ("550.90", "560.28"))
DAY = 86400.0
PARTS = Parts()
part = PARTS.part


def fresh() -> Path:
    """A folder that nobody else has: of two processes that have forked each makes its own."""
    return Path(mkdtemp(dir=FOLDER.name))


@cache
def night(nodes: int = 8) -> Run:
    """A run of two ranks a node, as it is before anything is judged."""
    return load(made.folder(fresh() / f"night{nodes}", where=runs.ranks(nodes, 2)))


def changed(run: Run, change: Callable[[Case, Measurement], Measurement | None]) -> Run:
    cases = {case.id: case for case in run.plan.cases}
    found = (change(cases[each.case], each) for each in run.measurements)
    return replace(run, measurements=tuple(each for each in found if each is not None))


def times(row: Measurement, factor: float) -> Measurement:
    blocks = tuple(tuple(factor * each for each in block) for block in row.pipelined)
    return replace(row, pipelined=blocks, isolated=tuple(factor * each for each in row.isolated))


def limit(quantity: str, value: float, size: tuple[int, int] = (0, 1 << 62)) -> Limit:
    return Limit("all_reduce", quantity, Bound(value, f"{value:g}", "a test"), size=size)


@part("samples")
def samples_of_runs() -> list[str]:
    """What each series of a run is, of rows that are lost, wrong, below a bound and at it."""
    run, lines = night(), []
    whole = Evidence(run, runs.LOCAL)
    usual = [shown(each) for each in samples(whole, "c1")]
    lines += usual
    lines.append(shown([[each.name, each.collective, each.size, len(each.values)] for each in fleets(whole)]))
    row = next(each for each in whole.rows if each.case.collective == "all_reduce" and each.ranks == 16)
    large = max(
        (each for each in whole.rows if each.case.collective == "all_reduce"), key=lambda each: each.case.size
    )
    for name, bound in {
        "busbw at the bound": limit("busbw", large.busbw, (large.case.size,) * 2),
        "busbw below": limit("busbw", large.busbw * 1.001, (large.case.size,) * 2),
        "p50 at the bound": limit("p50", row.isolated.p50, (row.case.size,) * 2),
        "p50 above": limit("p50", row.isolated.p50 * 0.999, (row.case.size,) * 2),
        "rail rate": limit("rail_rate", 1e15),
    }.items():
        found = samples(Evidence(run, replace(runs.LOCAL, limits=(bound,))), "c1")
        lines += [name, *(text for text in map(shown, found) if text not in usual)]
    damaged: dict[str, Callable[[Case, Measurement], Measurement | None]] = {
        "wrong": lambda case, row: (
            replace(row, wrong=(1, *row.wrong[1:])) if case.collective == "all_reduce" else row
        ),
        "lost": lambda case, row: None if case.collective == "all_gather" else row,
        "one rail lost": lambda case, row: None if case.collective == "p2p" and 3 in row.ranks else row,
        "one node lost": lambda case, row: None if case.phase == "nodes" and 4 in row.ranks else row,
        "no rail": lambda case, row: None if case.phase == "rails" else row,
        "no time": lambda case, row: (
            replace(row, pipelined=(), isolated=(math.nan,)) if case.phase == "ring" else row
        ),
        "a transfer that failed": lambda case, row: (
            replace(row, extra=Extra(failed="reset"))
            if case.collective == "p2p" and row.ranks == (4, 6)
            else row
        ),
        "slow": lambda case, row: times(row, 1.5) if 5 in row.ranks and len(row.ranks) == 2 else row,
    }
    for name, change in damaged.items():
        found = samples(Evidence(changed(run, change), runs.LOCAL), "c1")
        lines += [name, *(text for text in map(shown, found) if text not in usual)]
    ring = next(each for each in run.plan.phases if each.name == "collectives")
    twice = tuple(replace(each, placement=each.placement + "side", id=f"{each.id}-2") for each in ring.cases)
    plan = replace(run.plan, phases=(*run.plan.phases, replace(ring, cases=twice)))
    found = samples(Evidence(replace(run, plan=plan), runs.LOCAL), "c1")
    lines += ["in another placement too", *(text for text in map(shown, found) if text not in usual)]
    kept = recorded_run(whole, "c1", OLD)
    lines += [shown((kept.run, kept.time, kept.cluster)), *map(shown, nights(kept).items())]
    return lines


@part("nothing planned")
def runs_without_fleets() -> list[str]:
    lines, run = [], night()
    for left in ("rails", "nodes", "collectives", "pairs", "ring"):
        phases = tuple(each for each in run.plan.phases if each.name != left)
        found = Evidence(replace(run, plan=replace(run.plan, phases=phases)), runs.LOCAL)
        lines.append(
            f"without {left}: {shown([each.name for each in fleets(found)])}, {len(samples(found, 'c1'))}"
        )
    return lines


SLOW: dict[str, made.Slow] = {
    "nothing": made.healthy,
    "two series": lambda case, group: {1 << 22: 1.2, 1 << 20: 1.5}.get(case.size, 1.0)
    if case.collective == "all_reduce"
    else 1.0,
    "faster": lambda case, group: 0.5 if case.collective == "all_gather" else 1.0,
    "a rail": lambda case, group: 1.3 if case.collective == "p2p" and 5 in group else 1.0,
    "two rails of one node": lambda case, group: 1.3 if case.collective == "p2p" and {4, 5} & {*group} else 1.0,
    "the same rail of two nodes": lambda case, group: 1.3 if case.collective == "p2p" and {1, 3} & {*group} else 1.0,
    "most of a rail": lambda case, group: 1.3 if case.collective == "p2p" and {1, 3, 5, 7, 9, 11} & {*group} else 1.0,
    "two nodes": lambda case, group: 1.3 if case.phase == "nodes" and group in ((2, 3), (6, 7)) else 1.0,
}  # fmt: skip


@cache
def history() -> Path:
    """Fourteen nights of eight nodes."""
    where = fresh()
    made.before(where / "history", where / "like", 14, where=EIGHT)
    return where / "history"


def begun(slow: made.Slow, name: str) -> Run:
    from bench.run import nightly

    path = made.folder(fresh() / name, 14, slow, EIGHT)
    nightly.begin(path, nightly.Nightly(str(history()), "c1"), runs.LOCAL)
    return load(path)


def measured_again(name: str) -> list[str]:
    """Which cases, in which order, for how long, and how many of them a small reserve has time for."""
    run, lines = begun(SLOW[name], name), []
    assert run.history is not None
    for reserve in (1e9, START + 1.1):
        evidence = Evidence(replace(run, history=replace(run.history, reserve=reserve)), runs.LOCAL)
        for phase in (*(each.name for each in run.plan.phases), "evidence"):
            more = rerun(evidence, phase)
            if more is None:
                continue
            lines.append(f"{reserve:g} {more.name}, {more.title}: {more.seconds:.6g} s, {shown(more.rules)}")
            lines += [f"    {case.id} {shown(tuple(case.groups))}" for case in more.cases]
    return lines


PARTS |= {f"measured again: {name}": partial(measured_again, name) for name in SLOW}


@part("said of a night")
def said_of_a_night() -> list[str]:
    """By the checks, before anything was measured again, with all that the history may say besides."""
    lines = []
    run = begun(SLOW["a rail"], "said")
    assert run.history is not None
    past = run.history
    bare = tuple(replace(each, nights=each.nights[:1]) for each in past.series)
    none = tuple(
        replace(each, nights=tuple((at, 0.0, None, status) for at, _, _, status in each.nights))
        for each in past.series
    )
    half = tuple(
        replace(
            each,
            nights=tuple(
                (at, value if at % 2 else 0.0, None, status) for at, value, _, status in each.nights
            ),
        )
        for each in past.series
    )
    files = [("a.parquet", f"foreign {at}") for at in range(22)]
    for name, other in {
        "as it is": past,
        "recorded": replace(past, recorded="/h/x.parquet"),
        "not recorded": replace(past, trouble="the disk is full"),
        "one night": replace(past, series=bare, recorded="x"),
        "first night": replace(past, series=(), recorded="x", where=""),
        "first night of a history": replace(past, series=(), recorded="x", where="/nights"),
        "two dated ahead": replace(past, ahead=2),
        "one left out": replace(past, left_out=tuple(files[:1])),
        "many left out": replace(past, left_out=tuple(files)),
        "a series without nights": replace(
            past, series=(replace(past.series[0], nights=()), *past.series[1:])
        ),
        "no figures": replace(past, series=none),
        "half of the figures": replace(past, series=half),
    }.items():
        evidence = Evidence(replace(run, history=other), runs.LOCAL)
        lines.append(name)
        for check in ("drift.history", "drift.compared", "drift.fleet"):
            lines += [
                f"    {verdict.status.value} {verdict.message} {shown(verdict.evidence)}"
                for verdict in CHECKS[check](evidence)
            ]
        found = tonight(evidence)
        assert found is not None
        lines.append(f"    {shown(compared(found))} {len(found.cut)}")
    plans = {
        "every rail given up": replace(run.plan, skipped=((NIGHT, EVERY_RAIL),)),
        "nothing planned": replace(run.plan, phases=(), skipped=(("rails", "one node"), ("nodes", "no GPUs"))),
        "no rails": replace(run.plan, phases=tuple(each for each in run.plan.phases if each.name != "rails")),
        "few series": replace(run.plan, phases=run.plan.phases[-1:]),
    }  # fmt: skip
    for name, plan in plans.items():
        lines.append(name)
        for check in ("drift.history", "drift.compared", "drift.level", "drift.fleet"):
            found_ = CHECKS[check](Evidence(replace(run, plan=plan), runs.LOCAL))
            lines += [
                f"    {verdict.status.value} {verdict.message} {shown(verdict.evidence)}"
                for verdict in found_
            ]
    other = replace(run.manifest, command=("railgauge", "run"))
    for command, night_ in (
        (("railgauge", "nightly"), None),
        (("x", "y", "nightly"), None),
        (("railgauge", "run"), 600.0),
    ):
        manifest = replace(other, command=command, settings=replace(other.settings, night=night_))
        found_ = CHECKS["drift.history"](Evidence(replace(run, manifest=manifest, history=None), runs.LOCAL))
        lines.append(f"{command} {night_}: {[verdict.message for verdict in found_]}")
    return lines


@part("recent")
def recent() -> list[str]:
    def measured(*times: float) -> tuple[NightValue, ...]:
        return tuple(NightValue("r", time, 1.0) for time in times)

    lines = []
    for before, others in (
        ((1.0, 2.0), (2.0,)),
        ((1.0, 2.0), (3.0,)),
        ((3.0,), (2.0,)),
        ((), ()),
        ((0.0,), ()),
    ):
        everything: Any = {1: measured(*others), 2: measured(*before)}
        lines.append(f"{before} beside {others}: {_recent(measured(*before), everything)}")
    return lines


def refusal(check: Callable[..., None], *given: object) -> str:
    try:
        check(*given)
    except WrongPlace as error:
        return str(error)
    return "there"


@part("history")
def histories() -> list[str]:
    """What is read of it, from which night on and up to which."""
    lines, where = [], history()
    root = where.parent
    for now in (made.FIRST, made.FIRST + 5 * DAY, made.FIRST + 5 * DAY + 1, made.FIRST + 400 * DAY,
                made.FIRST + 401 * DAY, made.FIRST + 402 * DAY - 1, made.FIRST + 450 * DAY, 5.0):  # fmt: skip
        past = read_past(str(where), "c1", {"driver": "x"}, now)
        counts = sorted({len(found) for found in past.nights.values()})
        lines.append(
            f"{(now - made.FIRST) / DAY:.6g}: {counts} {past.ahead} {past.parts} {len(past.left_out)}"
        )
    lines.append(shown(read_past(str(where), "c2", {}, made.FIRST + 5 * DAY).nights))
    runs_ = root / "beside"
    for name, cluster, recorded, age in (
        ("one", "c1", f"{where}/a.parquet", 3), ("two", "c2", f"{where}/b.parquet", 2), ("three", "c1", "/x/c", 1)
    ):  # fmt: skip
        (runs_ / name).mkdir(parents=True)
        (runs_ / name / HISTORY).write_text(json.dumps({"cluster": cluster, "recorded": recorded}))
        os.utime(runs_ / name / HISTORY, (2e9 - age, 2e9 - age))
    for folder, place, cluster in itertools.product(
        ("one", "two", "new"), (str(where), "/x", "/y"), ("", "c1", "c2")
    ):
        lines.append(f"{folder} {place} {cluster}: {recorded_beside(runs_ / folder, place, cluster)}")
    empty = root / "empty"
    create(str(empty))
    for name, history_, recorded in (
        ("whole", where, where / "a.parquet"),
        ("gone", root / "nosuch", root / "nosuch/a.parquet"),
        ("empty", empty, empty / "a.parquet"),
        ("file there", empty, empty),
    ):
        folder = root / f"still {name}"
        (folder / "one").mkdir(parents=True)
        recorded = Path(f"{empty}/./") if name == "file there" else recorded
        (folder / "one" / HISTORY).write_text(
            json.dumps({"cluster": "c1", "recorded": str(recorded) if name != "file there" else f"{empty}/."})
        )
        lines.append(f"{name}: {refusal(still_there, str(history_), folder / 'two')}")
    made.before("memory://bucket/history", root / "in memory", 1)
    for name, cluster in (("in a bucket", "c1"), ("gone from a bucket", "c2")):
        (root / name / "one").mkdir(parents=True)
        kept = {"cluster": cluster, "recorded": "memory://bucket/history/a.parquet"}
        (root / name / "one" / HISTORY).write_text(json.dumps(kept))
        lines.append(f"{name}: {refusal(still_there, 'memory://bucket/history', root / name / 'two')}")
    for cluster, now, new in itertools.product(("c1", "c2"), (5.0, made.FIRST + 5 * DAY), (False, True)):
        past = read_past(str(where), cluster, {}, now)
        lines.append(
            f"{cluster} {now} {new}: {refusal(refuse_lost_history, str(where), past, runs_ / 'new', new)}"
        )
    (where / "foreign.parquet").write_text("x")
    lines.append(shown(read_past(str(where), "c1", {}, 5.0).left_out))
    return [line.replace(str(root), "ROOT") for line in lines]


@part("a past")
def pasts() -> list[str]:
    lines = []
    for count in (0, 1, 5, 6, 7):
        past = Past(
            "c1", plan="tonight", left_out=tuple(LeftOutFile(f"{at}", "foreign") for at in range(count))
        )
        lines += [f"{count}: {shown(past.said)}"]
    series = Series("c1", "all_reduce", "1 GiB", "busbw")
    values = [
        NightValue("a", 1.0, 5.0, OLD),
        NightValue("b", 2.0, math.nan, NEW, math.nan, Status.INCONCLUSIVE),
        NightValue("c", 3.0, math.inf, OLD, 4.0, Status.FAIL),
        NightValue("a", 1.0, 7.0, OLD),
    ]
    past = Past(
        "c1",
        OLD,
        {series: tuple(values), replace(series, subject="n1"): tuple(values[:1])},
        recorded="x",
        ahead=3,
    )
    saved = past.saved()
    lines += [shown(saved), shown(from_saved(saved)), shown(Past("c1"))]
    for damage in (
        replace(saved, fingerprints=()),
        replace(saved, runs=saved.runs[:1]),
        replace(saved, series=(replace(saved.series[0], nights=((99, 1.0, None, Status.PASS),)),)),
    ):
        try:
            lines.append(shown(from_saved(damage)))
        except RunError as error:
            lines.append(f"RunError: {error}")
    kept = record(
        "/nosuch/history",
        replace(past, trouble="old"),
        recorded_run(Evidence(night(), runs.LOCAL), "c1", OLD),
    )
    return [*lines, shown((kept.recorded, kept.trouble))]


@part("steps")
def steps_of_histories() -> list[str]:
    """Steps of sizes about what counts, at the ends and beside changes of the fingerprint."""
    lines = []

    def nights_of(shares: Sequence[float], change: int | None = None) -> list[NightValue]:
        return [
            NightValue(
                f"r{at}",
                at * DAY,
                100 * share * (1 + (at * 7 % 5 - 2) / 2000),
                NEW if change is not None and at >= change else OLD,
            )
            for at, share in enumerate(shares)
        ]

    shapes: dict[str, Sequence[float]] = {
        **{f"{count} and {count}": (1.0,) * count + (0.9,) * count for count in (1, 2, 3, 4)},
        **{f"to {to}": (1.0,) * 12 + (to,) * 12 for to in (0.9, 0.98, 0.986, 0.9855, 0.984, 0.99, 1.0, 1.016, 1.014)},
        "one bad night": (1.0,) * 12 + (0.5,) + (1.0,) * 12,
        "down and up": (1.0,) * 10 + (0.9,) * 10 + (1.0,) * 10,
        "stairs": (1.0,) * 8 + (0.99,) * 8 + (0.98,) * 8 + (0.9,) * 8,
        "two small ones": (1.0,) * 10 + (0.99,) * 10 + (0.975,) * 10,
        "alike to the bit": (1.0,) * 8,
    }  # fmt: skip
    for name, shares in shapes.items():
        lines += [name, *(f"    {shown(each)}" for each in steps(nights_of(shares)))]
    for change in range(8, 18):
        (found,) = steps(nights_of((1.0,) * 12 + (0.9,) * 12, change))
        lines.append(f"changed {change - 12}: {found.night.run} {shown(found.cause)}")
    lost = nights_of((1.0,) * 12 + (0.9,) * 12)
    lost[3:5] = [replace(each, value=math.nan) for each in lost[3:5]]
    lost[5] = replace(lost[5], status=Status.INCONCLUSIVE)
    return [
        *lines,
        "lost",
        *map(shown, steps(lost)),
        shown(steps(lost, practical=0.2)),
        shown(steps(lost, penalty=60.0)),
    ]


@part("levels")
def levels_before_a_change() -> list[str]:
    """Which earlier fingerprint a new one is held against, of those that ended before it and of others."""
    prints = [fingerprint({"driver": f"{at}"}) for at in range(4)]
    lines = []
    for shape in (
        ((12, 0, 1.0),),
        ((12, 0, 1.0), (12, 1, 0.9)),
        ((12, 0, 0.9), (12, 1, 1.0)),
        ((12, 0, 1.0), (9, 1, 1.1)),
        ((12, 0, 1.0), (12, 1, 1.0), (3, 2, 1.0)),
        ((12, 0, 1.0), (3, 2, 1.0), (12, 1, 1.1), (2, 0, 1.0)),
        ((12, 1, 1.1), (1, 3, 1.0), (12, 0, 1.0), (2, 3, 1.0)),
    ):
        found, at = [], 0
        for count, which, share in shape:
            for _ in range(count):
                at += 1
                found.append(NightValue(f"r{at}", at * DAY, 100 * share * (1 + at % 3 / 1000), prints[which]))
        for better in (+1, -1):
            known = levels(found, better, DriftRules())
            for which in range(4):
                before, latest = (
                    known.before(prints[which], (at + 1) * DAY),
                    known.latest_other(prints[which]),
                )
                own = known.own(prints[which])
                told = before and (before[0], before[1].level)
                lines.append(
                    f"{shape} {better} {which}: {shown(told)} {shown(latest)} {len(own.accepted)} {own.since / DAY}"
                )
    return lines


@part("fingerprints")
def fingerprints() -> list[str]:
    lines, run = [], night(2)

    def node(**changes: Any) -> Node:
        plain = Node(
            "n0",
            ports=(Port("mlx5_1", 1, fw="28"),),
            gpus=(Gpu(0, name="H100"),),
            host=Host(cpu="Xeon", kernel="5.15"),
            software=Software(driver="550", torch="2.6", torch_nccl="2.21"),
        )
        return replace(plain, **changes)

    for backend in ("gloo", "nccl"):
        manifest = replace(run.manifest, backend=backend)
        for machines in (
            [],
            [node()],
            [node(), node(host=Host(cpu="AMD"))],
            [node(ports=()), node(gpus=())],
            [node(ports=(Port("a", 1), Port("b", 1, fw="")))],
            [node(software=Software(nccl_wheels={"b": "2.1", "a": "2.0", "c": "2.1"}))],
            [node(software=Software(driver=f"{at}")) for at in range(6)],
        ):
            lines.append(shown(parts(manifest, machines, runs.LOCAL)))
    for environment, given in (
        ({}, {}),
        ({"0": {"NCCL_ALGO": "Ring", "HOME": "x"}, "1": {"NCCL_PROTO": "LL"}}, {"NCCL_ALGO": "Tree"}),
        ({"0": {"NCCL_DEBUG": "INFO", "NCCL_HOSTID": "y", "TORCH_NCCL_TRACE_BUFFER_SIZE": "1"}}, {}),
        ({"1": {"GLOO_SOCKET_IFNAME": "eth0", "TORCH_NCCL_BLOCKING_WAIT": "1", "UCX_TLS": "rc"}}, {"NCCL_NET": "IB"}),
    ):  # fmt: skip
        manifest = replace(
            run.manifest,
            environment=environment,
            settings=replace(run.manifest.settings, worker_environment=given),
        )
        lines.append(f"{environment} {given}: {settings(manifest)} | {algorithm(manifest)}")
    profile = runs.LOCAL
    same = (
        replace(profile, title="x"),
        replace(profile, limits=(limit("busbw", 1.0),)),
        replace(profile, text="x"),
    )
    other: Sequence[Profile] = (
        replace(profile, gpus=3),
        replace(profile, backend="nccl"),
        replace(profile, environment={"NCCL_NET": "IB"}),
        replace(profile, rails=replace(profile.rails, devices=("a",))),
        replace(profile, sweep=replace(profile.sweep, dtype="bfloat16")),
    )
    lines.append(f"{digest(profile)} {[digest(each) == digest(profile) for each in (*same, *other)]}")
    for given_, nodes, slurm in itertools.product(("", "mine"), (1, 2), ("", "s")):
        lines.append(f"{given_} {nodes} {slurm}: {cluster_name(given_, night(nodes).manifest, slurm)}")
    return lines


@part("too young")
def young_baselines() -> list[str]:
    """So many nights, then tonight, with other rules, nights out of order, and one that was lost."""
    series, lines = Series("c1", "all_reduce", "1 GiB", "latency"), []
    for count in (0, 1, 2, 9, 10, 11):
        past = [NightValue(f"r{at % 3}", at * DAY, 1.0 + at % 3 / 1000, OLD) for at in range(count, 0, -1)]
        for value, again in (
            (1.0, None),
            (1.2, None),
            (1.2, 1.2),
            (1.14, 1.14),
            (0.7, 0.7),
            (0.3, None),
            (math.nan, None),
        ):
            found = judge(series, past, NightValue("t", 30 * DAY, value, OLD, again))
            lines.append(f"{count} {value} {again}: {_told(found)}")
    past = [NightValue("r", at * DAY, 1.0 + at % 3 / 1000, OLD) for at in range(20)]
    for when in (10, 15, 20):
        word = Acceptance("c1", when * DAY, "ada", when * DAY, "why")
        for now in (9, 10, 15, 19, 20):
            found = judge(series, past, replace(past[now % 20], time=now * DAY), (word,))
            lines.append(f"accepted {when}, night {now}: {_told(found)}")
    lines.append(_told(judge(series, past, None)))
    return lines


@part("rules of other spans")
def other_spans() -> list[str]:
    """Where no single night is compared, as few nights say nothing."""
    lines = []
    for recent, share in itertools.product((0, 1, 2, 3), (0.5, 0.97, 0.99, 1.0, 1.5)):
        base = Baseline((1.0,) * 6, (), (share,) * recent)
        rules = DriftRules(least=4, window=6, spans=((3, 2.5),))
        lines += [f"{recent} {share}: {shown(excess(base, share, better, rules))}" for better in (+1, -1)]
    return lines


def test_a_step_that_cannot_be_sought_is_told_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ruptures", None)
    series = Series("c1", "all_reduce", "1 GiB", "busbw")
    nights_ = tuple(NightValue(f"r{at}", at * DAY, 1.0 + at % 3 / 1000, OLD) for at in range(20))
    found = judge(series, nights_, NightValue("t", 30 * DAY, 0.8, OLD, 0.8))
    told = explained(found, Past("c1", nights={series: nights_}))
    assert told.label is found.label and told.steps == ()
    assert told.unattributed.startswith("change points: ruptures is not installed")
    assert told.unattributed in series_verdict(told).evidence


def _told(found: SeriesFinding) -> str:
    more = f"{found.since / DAY:g} {found.wants_rerun} {found.reason}"
    return f"{found.label.value} {found.status.value} {found.nights} {more}"


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, Path(__file__).with_name("nights.txt"), [*PARTS])


@pytest.mark.parametrize("name", PARTS)
def test_what_is_said_of_nights(golden: Golden, name: str) -> None:
    golden.hold(name, PARTS[name]())
