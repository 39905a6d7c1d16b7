"""What the judge makes of made evidence, held to a golden file: values below, at and above each threshold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from msgspec import structs

import runs
from bench.judge.action_of_check import OF_CHECK, action_of
from bench.judge.actions import node_actions
from bench.judge.errors_since_gate import ALLOWED, NEVER, WORDS, since_gate
from bench.judge.evidence import Evidence
from bench.judge.findings import Criterion, Finding, NotApplicable
from bench.judge.problems import EQUALS, FLOORS, Problems, places, problems
from bench.judge.row_peers import Comparison, again, comparisons, slow_talk
from bench.judge.scope import next_after_pass, scope, simulated
from bench.judge.stragglers import Waiting, stragglers, tail
from bench.model.counters import Snapshot
from bench.model.measurement import Case, Measurement, Rank, RankSkew
from bench.model.profile import load
from bench.model.verdict import Status, Verdict
from bench.store.rows import Row, row_of
from golden import Golden, opened, shown
from made_nodes import node

MIB, GIB = 1 << 20, 1 << 30
FAIL, OPEN, PASS, NOT_APPLICABLE = Status.FAIL, Status.INCONCLUSIVE, Status.PASS, Status.NOT_APPLICABLE
PARTS = (
    "equals",
    "other sizes",
    "talk",
    "who is waited for",
    "measurements that say nothing",
    "chance",
    "problems",
    "actions",
    "findings",
    "scope",
    "since the gate",
)


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, Path(__file__).with_name("judge.txt"), PARTS)


# --- rows beside their equals


def row(
    phase: str, name: str, size: int, seconds: float, ranks: Sequence[int] = (0, 1), **changes: str
) -> Row:
    group = tuple(ranks)
    mark = "/".join(changes.values())
    case = Case(f"{phase}/{name}/{size}/{mark}", phase, name, size, size // 4, (group,), **changes)
    blocks = ((seconds,) * len(group),) if seconds > 0 else ()
    return row_of(case, replace(runs.measured(case, 1.0)[0], pipelined=blocks))


def compared(found: Sequence[Comparison]) -> Iterator[str]:
    for each in found:
        repeated = f", again {each.again.seconds:.6g}" if each.again else ""
        yield (
            f"{each.row.case.id} of {each.row.measurement.ranks}: {each.row.seconds:.6g} of {each.allowed:.6g}, "
            f"{each.usual}{repeated}, slow {each.slow}, confirmed {each.confirmed}"
        )


def test_rows_beside_their_equals(golden: Golden) -> None:
    lines: list[str] = []
    for phase in ("nodes", "inside", "copies", "pairs", "rails"):
        for name in ("all_reduce", "copy_to_host", "copy_device"):
            for count in (2, 3, 4):
                times = [1e-3 * (1 + at * at / 4) for at in range(count)]
                equals = [row(phase, name, MIB, took, (at,)) for at, took in enumerate(times)]
                found = comparisons([*equals, row(phase, name, 2 * MIB, 9.0, (9,))])
                lines += [f"{count} of {phase} {name}", *compared(found)]
                lines += [f"  again: {case.id} in {case.phase}" for case in again(phase, found)]
    slow = [
        row("copies", "copy_device", MIB + 4 * at, 1e-3 * (1 + at), (gpu,))
        for at in range(24)
        for gpu in range(3)
    ]
    slow = [
        structs.replace(each, seconds=each.seconds * 9) if each.measurement.ranks == (1,) else each
        for each in slow
    ]
    lines += [f"of many {case.id}" for case in again("copies", comparisons(slow))]
    for took in (0.0, 0.5, 2.0):
        once = [row("nodes", "all_reduce", MIB, 9.0 if at == 2 else 1.0, (at,)) for at in range(3)]
        twice = row("rerun-nodes", "all_reduce", MIB, took, (2,))
        found = comparisons([*once, twice, row("rerun-nodes", "all_reduce", MIB, took, (7,))])
        lines += [f"measured again {took}", *compared(found), str(again("nodes", found))]
    exact = once[0]
    lines += compared(
        [Comparison(exact, 1.0, "exactly so much", exact), Comparison(exact, 0.999, "less", exact)]
    )
    golden.hold("equals", lines)


def test_rows_beside_other_sizes_of_their_series(golden: Golden) -> None:
    sizes = (1024, 64 * MIB - 4, 64 * MIB, 256 * MIB, GIB - 4, GIB, 2 * GIB, 4 * GIB)
    lines: list[str] = []
    for phase in ("collectives", "ring", "pairs", "graphs", "registered", "run", "nodes"):
        plain = [row(phase, "all_reduce", size, 1e-4 + size / 1e11) for size in sizes]
        odd = [structs.replace(each, seconds=each.seconds * (1 + at % 3)) for at, each in enumerate(plain)]
        other = [
            row(phase, "all_reduce", GIB, 1.0, placement="in"),
            row(phase, "all_reduce", GIB, 1.0, algorithm="ring"),
            row(phase, "all_gather", GIB, 1.0),
            row(phase, "all_reduce", GIB, 1.0, (0, 1, 2)),
            row(phase, "all_reduce", 8 * GIB, 0.0),
        ]
        lines += [phase, *compared(comparisons([*odd[::-1], *other]))]
        if phase == "collectives":
            same = [row(phase, "all_reduce", size, 1e-2) for size in (GIB, GIB, 2 * GIB)]
            lines += ["alike", *compared(comparisons([*same, row(phase, "all_reduce", 3 * GIB, 1e-3)]))]
    golden.hold("other sizes", lines)


def test_small_messages_between_two_beside_what_all_need(golden: Golden) -> None:
    lines: list[str] = []
    whole = [
        row("collectives", "all_reduce", size, took, range(4))
        for size, took in ((1024, 1e-5), (4096, 2e-5), (MIB, 9e-5))
    ]
    others = [
        row("collectives", "all_reduce", 4096, 1e-6, range(3)),
        row("ring", "all_reduce", 4096, 1e-6, range(4)),
        row("collectives", "all_gather", 4096, 1e-6, range(4)),
        row("collectives", "all_reduce", 4096, 0.0, range(4)),
    ]
    for size, times in (
        (1024, (2e-5, 3e-5, 3.1e-5)),
        (1024, (3.1e-5, 4e-5)),
        (4096, (7e-5, 7e-5, 7e-5, 1e-6)),
        (MIB - 4, (3e-4, 3e-4)),
        (MIB, (1.0, 1.0)),
        (1024, (0.0,)),
    ):
        for phase in ("pairs", "inside"):
            talk = [row(phase, "p2p", size, took, (at, at + 1)) for at, took in enumerate(times)]
            found = slow_talk([*whole, *others, *talk], 4)
            said = [
                f"{where}: {usual.seconds:.4g} of {usual.measurement.ranks}; {text}"
                for where, usual, text in found
            ]
            lines += [f"{phase} of {size}: {times}", *said]
    golden.hold("talk", lines)


# --- who is waited for

CALL, TRIES = 1e-3, 100
FOUR = tuple(Rank(at, f"n{at // 2}", at % 2) for at in range(4))


def case(size: int = 1024, name: str = "all_reduce") -> Case:
    return Case(f"{name}/{size}", "collectives", name, size, size // 4, (tuple(range(4)),))


def apart(
    of: Case, short: Sequence[int], by: float, long: Sequence[int] = (0,) * 4, **changes: object
) -> Measurement:
    """A measurement in which the ranks were early or late so often, by so many seconds."""
    seen = RankSkew(tuple(short), (by,) * 4, tuple(short), tuple(long), (by,) * 4, tuple(long))
    made = runs.measured(of, CALL, isolated=(CALL,) * TRIES, apart=seen)[0]
    return replace(made, **changes)


SHORT = {
    "nobody": (0, 0, 0, 0),
    "half": (50, 0, 0, 0),
    "most": (51, 0, 0, 0),
    "two of one node": (60, 60, 0, 0),
    "two of two nodes": (60, 0, 70, 0),
    "a node by turns": (30, 30, 0, 0),
    "everybody": (60, 60, 60, 60),
    "all by turns": (25, 25, 25, 25),
    "a node and one": (80, 80, 70, 0),
}


def waiting(said: Waiting) -> str:
    who = [(each.name, each.late, each.share, each.loss, each.sure) for each in said.stragglers]
    figures = (said.status, who, said.slow, said.rest, said.systemwide, said.iterations, said.left_out)
    return f"{shown(figures)} {said.text}"


def test_who_is_waited_for(golden: Golden) -> None:
    lines: list[str] = []
    small, large = case(1024), case(65536)
    cases = {each.id: each for each in (small, large, case(32768), case(16384), case(16380), case(4))}
    usual = {"slow": CALL / 1.5, "a tenth": CALL / 1.1, "less": CALL / 1.09, "as usual": CALL}
    for name, counts in SHORT.items():
        for late in (True, False):
            for by in (4e-5, 5e-5, 3e-4):
                sides = (counts, (0,) * 4) if late else ((0,) * 4, counts)
                rows = [apart(each, sides[0], by, sides[1]) for each in (small, large)]
                for word, seconds in usual.items():
                    said = stragglers(rows, cases, FOUR, {large.id: seconds})
                    lines.append(f"{name}, late {late}, {by}, {word}: {waiting(said)}")
                said = stragglers(rows, cases, FOUR[:3])
                lines.append(f"{name}, late {late}, {by}: {waiting(said)}")
    for sizes in (
        (65536,),
        (65536, 32768),
        (65536, 16384),
        (65536, 16380),
        (65536, 16384, 1024),
        (4, 1024, 65536),
    ):
        for by in (0.0, 1e-4, 1.5e-4):
            rows = [
                apart(cases[f"all_reduce/{size}"], (60, 0, 0, 0), 3e-4 if size == max(sizes) else by)
                for size in sizes
            ]
            said = stragglers(rows, cases, FOUR, {large.id: CALL / 2})
            lines.append(f"{sizes}, {by} in smaller ones: {waiting(said)}")
    of = replace(large, groups=(tuple(range(16)),))
    for many in (3, 4, 5, 6):
        late = (*(60 + at for at in range(many)), *(0,) * (16 - many))
        zeros, times = (0,) * 16, (3e-4,) * 16
        row_ = replace(runs.measured(of, CALL)[0], isolated=(CALL,) * TRIES)
        row_ = replace(row_, apart=RankSkew(late, times, late, zeros, times, zeros))
        said = stragglers([row_], {of.id: of}, [Rank(at, f"n{at}", 0) for at in range(16)], {of.id: CALL})
        lines.append(f"{many} of 16: {waiting(said)}")
    golden.hold("who is waited for", lines)


def test_measurements_that_say_nothing_of_who_is_waited_for(golden: Golden) -> None:
    of = case()
    good = apart(of, (60, 0, 0, 0), 3e-4)
    assert good.apart is not None
    odd: dict[str, Measurement] = {"good": good}
    for field in ("short", "shortest", "long", "longest"):
        for counts in ((-1, 0, 0, 0), (101, 0, 0, 0), (100, 0, 0, 0), (0,) * 3, (0, 0, 0, -1)):
            odd[f"{field} {counts}"] = replace(good, apart=replace(good.apart, **{field: counts}))
    for field in ("short_by", "long_by"):
        for times in ((-1.0, 0.0, 0.0, 0.0), (math.inf,) * 4, (0.0,) * 5, (0.0, 0.0, 0.0, math.nan)):
            odd[f"{field} {times}"] = replace(good, apart=replace(good.apart, **{field: times}))
    for isolated in ((), (0.0,) * 100, (-1.0,) * 100, (math.inf, *(CALL,) * 99), (CALL,) * 60):
        odd[f"{len(isolated)} isolated {isolated[:1]}"] = replace(good, isolated=isolated)
    odd["nothing apart"] = replace(good, apart=None)
    odd["two ranks"] = replace(good, ranks=(0, 1))
    odd["no such case"] = replace(good, case="x")
    lines = []
    for name, each in odd.items():
        for usual in ({}, {of.id: CALL}, {of.id: 0.0}):
            said = stragglers([each], {of.id: of}, FOUR, usual)
            lines.append(f"{name} {usual}: {waiting(said)}")
    for name in ("broadcast", "p2p", "all_gather", "no_such"):
        root = 0 if name == "broadcast" else -1
        other = replace(case(1024, "all_gather"), collective=name, root=root)
        said = stragglers([replace(good, case=other.id)], {other.id: other}, FOUR)
        lines.append(f"{name}: {said.left_out} {said.text}")
    lines.append(stragglers([], {}, FOUR).text)
    golden.hold("measurements that say nothing", lines)


def test_what_chance_alone_would_do(golden: Golden) -> None:
    golden.hold(
        "chance",
        [
            f"{count} of {tries} at {share}: {tail(count, tries, share):.6g}"
            for tries in (10, 100)
            for count in (0, 1, tries // 2, tries - 1, tries)
            for share in (0.01, 0.5, 0.9)
        ],
    )


# --- problems


def verdict(
    check: str, subject: str, status: Status = FAIL, measured: str = "is bad", **more: object
) -> Verdict:
    words = {"wanted": "good", "source": "a test", "next_step": f"mend {check}"}
    return Verdict(check, subject, status, measured, **{**words, **more})


PORT, PATH = "n1 mlx5_4/1", "n1 to n2 on mlx5_4/1"
CASES = {
    f"{how}/{name}/{size}": Case(f"{how}/{name}/{size}", how, name, size * GIB, 1, ((0, 1),), algorithm=how)
    for how in ("ring", "auto")
    for name in ("all_reduce", "all_gather")
    for size in (4, 8)
}
BLAME = verdict("blame.rails", PORT, measured="runs at 49 % of its peers' rate", value=0.51)
SHARES = [
    verdict("wire.share", f"ring/all_reduce/{size}", value=share, bound=0.85, case=f"ring/all_reduce/{size}")
    for size, share in ((4, 0.4), (8, 0.5))
]
BUSBW = verdict("limits.busbw", "all_reduce", value=170e9, bound=340e9, case="auto/all_reduce/8")
FOUND: dict[str, tuple[Verdict, ...]] = {
    "nothing": (verdict("clock", "n1", PASS), verdict("clock", "n2", NOT_APPLICABLE)),
    "a port": (verdict("rails.rate", PORT),),
    "blame and what follows": (BLAME, verdict("limits.rail_rate", PATH), *SHARES, BUSBW),
    "a suspicion": (replace(BLAME, status=OPEN), verdict("limits.rail_rate", PATH), *SHARES),
    "a suspicion of a port that failed": (replace(BLAME, status=OPEN), verdict("rails.rate", PORT), BUSBW),
    "two causes": (
        BLAME,
        replace(BLAME, subject="n2 rail mlx5_7/1"),
        verdict("limits.rail_rate", PATH),
        BUSBW,
    ),
    "a GPU and a port": (
        verdict("limits.alone", "n1 GPU 3", value=1.0, bound=2.0, measured="busbw 1"),
        BLAME,
    ),
    "other rails of the node": (
        BLAME,
        verdict("limits.rail_rate", "n1 to n2 on mlx5_5/1"),
        verdict("growth.errors", "n1"),
    ),
    "a node": (
        verdict("blame.node", "n1"),
        verdict("limits.rail_rate", PATH),
        verdict("growth.errors", PORT),
    ),
    "three nodes": (
        BLAME,
        verdict("rails.rate", "n1, n2, n3 on mlx5_4/1"),
        verdict("rails.rate", "n1 mlx5_4/1, mlx5_5/1"),
    ),
    "inconclusive on the port": (BLAME, verdict(EQUALS, PORT, OPEN), verdict("growth.errors", PORT, OPEN)),
    "the whole cluster": (
        BLAME,
        *(
            verdict(check, "all nodes")
            for check in ("limits.rows", "wire.share", "wire.target", "blame.stragglers", "clock")
        ),
        *(
            verdict(check, "all nodes", OPEN)
            for check in ("limits.rows", "wire.target", EQUALS, "blame.stragglers")
        ),
    ),
    "what a node lacks": (verdict("clock", "n1"), verdict("rails.count", "n1"), verdict("gpus.count", "n2")),
    "alike": tuple(verdict("clock", f"n{at}", next_step="") for at in range(12)),
    "the same step": (
        *(verdict("clock", f"n{at}", measured=f"{at} s") for at in range(3)),
        verdict("import", "n1", next_step="mend clock"),
    ),
    "inconclusive of one step": tuple(
        verdict(check, "n1", OPEN, next_step="again")
        for check in ("a", "b", "coverage.cases", "coverage.ranks")
    ),
    "phases": (
        verdict("coverage.cases", "pinned-3", OPEN),
        verdict("coverage.plan", "pinned-3", OPEN),
        verdict("clock", "pinned-3", OPEN),
    ),
    "names of cases": tuple(verdict("limits.busbw", name, case=name, next_step="") for name in [*CASES][:5]),
    "two names of cases": tuple(
        verdict("limits.busbw", name, case=name, next_step="") for name in [*CASES][:2]
    ),
    "ranks that are missing": (
        verdict("coverage.ranks", "n1", OPEN, next_step="x"),
        verdict("coverage.ranks", "n2", OPEN, next_step="x"),
    ),
    "series": tuple(
        verdict(
            "drift.level",
            f"c1 s{at}",
            measured=f"worse, by {at}",
            value=value,
            bound=bound,
            next_step="x",
            wanted=f"w{at}",
        )
        for at, (value, bound) in enumerate(((0.9, 1.0), (1.3, 1.0), (0.0, 1.0), (0.5, 0.0)))
    ),
    "few series": tuple(
        verdict("drift.level", f"c1 s{at}", measured=f"worse, by {at}", value=value, bound=1.0, next_step="x")
        for at, value in enumerate((0.9, 0.7, 1.2))
    ),
    "copies": (
        verdict(
            "limits.host_copies", "n1 GPU 3, copy_to_host", measured="busbw 6 GB/s", value=6.0, bound=12.0
        ),
        verdict("clock", "n1 copy_device", OPEN, "copy_to_host; ring/all_reduce/4 is late"),
    ),
    "verbs": tuple(
        verdict("clock", f"n{at}", measured=f"{word}x", next_step="")
        for at, word in enumerate(("runs at ", "loses ", "is cabled ", "carried ", "spans ", "is "))
    ),
    "floors": tuple(
        verdict(check, f"s{at}", value=0.8, bound=1.0, next_step=f"x{at}")
        for at, check in enumerate((*FLOORS, "clock"))
    ),
    "slight": tuple(
        verdict("limits.busbw", f"s{at}", value=value, bound=1.0, next_step=f"x{at}")
        for at, value in enumerate((0.94, 0.95, 0.951, None, 0.0))
    ),
}


def told(found: Problems) -> Iterator[str]:
    yield f"{found.summary} | {found.tally}"
    for each in found.listed:
        found_ = each.verdict
        yield f"{each.status.value} {found_.check}: {each.sentence} | {each.follows} | slight {each.slight}"
        yield f"    {shown(found_.evidence)} {found_.case}"
        for word, others in (("beside", each.related), ("follows", each.symptoms)):
            yield from (
                f"    {word}: {other.check} {other.message} {shown(other.evidence)}" for other in others
            )
    yield f"apart {[(each.check, each.subject) for each in found.apart]}"


def test_problems(golden: Golden) -> None:
    lines: list[str] = []
    places_of = partial(places, nodes=("n1", "n2", "n3"), interfaces=("eth1",))
    for name, verdicts in FOUND.items():
        for order in (verdicts, verdicts[::-1]):
            found = problems(order, places_of, CASES)
            lines += [f"{name}:", *told(found), *(f"  {found.message(each)}" for each in order)]
    for subject in (
        "n1",
        "n1, n2",
        PORT,
        PATH,
        "n1 GPU 3",
        "n1 eth1",
        "n1 eth2",
        "n9 mlx5_1/1",
        "n1 GPU 3 – GPU 4",
        "x",
    ):
        lines.append(f"{subject}: {sorted(places_of(subject))}")
    golden.hold("problems", lines)


def test_which_nodes_are_called_to_act(golden: Golden, tmp_path: Path) -> None:
    run = runs.read_only([node(at) for at in range(1, 4)])
    checks = [name for _, names in OF_CHECK for name in names.split()]
    lines = []
    for check in (*checks, "rails.unknown", "no.such"):
        acts = [
            action_of(verdict(f"{check}x" if check.endswith(".") else check, "n1", status)).value
            for status in Status
        ]
        lines.append(f"{check}: {acts} {action_of(verdict(f'{check}y', 'n1')).value}")
    for name, verdicts in FOUND.items():
        seen = Evidence(run, load("lambda-1cc-h100")).judged(verdicts)
        lines += [f"{name}: {shown(each)}" for each in node_actions(seen.run)]
    golden.hold("actions", lines)


# --- findings


def test_what_a_check_makes_of_its_findings(golden: Golden) -> None:
    plain = Criterion("a.check", "all nodes", "wanted", "source", "mend it", "ask again", bound=2.0)
    together = replace(plain, every="every rail is up", unit="rails")
    good, bad, unknown = (
        Finding("n1", True, "well"),
        Finding("n2", False, "ill", 1.0),
        Finding("n3", None, "?"),
    )
    own = Finding("n4", False, "ill", 0.0, "a note", "more", "others", "step", 0.0, ("line",), "a case")
    outcomes = {
        "nothing": [],
        "well": [good, replace_finding(good, note="said")],
        "ill": [good, bad, own, unknown],
        "unknown": [
            unknown,
            replace_finding(unknown, subject="n5"),
            replace_finding(unknown, subject="n6", step="x"),
        ],
        "not applicable": [NotApplicable("why")],
        "not applicable of some": [good, NotApplicable("why", "n7", ("e",), "step", "a case")],
        "a verdict": [Verdict("b", "n8", PASS, "well")],
        "ill beside a verdict": [bad, Verdict("b", "n8", PASS, "well")],
        "64": [replace_finding(bad, subject=f"s{at}") for at in range(64)],
        "66": [replace_finding(bad, subject=f"s{at}") for at in range(66)],
        "many notes": [replace_finding(good, subject=f"s{at}", note="n") for at in range(70)],
    }
    lines = []
    for name, each in outcomes.items():
        for criterion in (plain, together):
            found = list(criterion.verdicts(each))
            lines += [
                f"{name}, {criterion.unit or 'alone'}: {len(found)}",
                *map(shown, found[:2]),
                shown(found[-1:]),
            ]
    golden.hold("findings", lines)


def replace_finding(found: Finding, **changes: object) -> Finding:
    return Finding(**{**{name: getattr(found, name) for name in found.__struct_fields__}, **changes})


def test_what_a_judgement_is_about(golden: Golden) -> None:
    lines = []
    checks = (
        "correctness",
        "coverage.x",
        "limits.x",
        "wire.share",
        "wire.target",
        "blame.rails",
        "drift.x",
        "soak.x",
    )
    for check in checks:
        for status in (PASS, FAIL, NOT_APPLICABLE):
            lines.append(f"{check} {status.value}: {scope([verdict(check, 'n1', status)], 'local')}")
    lines.append(scope([verdict(check, "n1", NOT_APPLICABLE) for check in checks], "local"))
    lines.append(
        scope([verdict(check, "n1") for check in (*checks, "exclusion", "gpus", "pcie", "nccl", "host")], "p")
    )
    run = runs.read_only([node()])
    for command in ("accept", "nightly", "run"):
        for made in (False, True):
            manifest = replace(run.manifest, command=("railgauge", command), simulated=made)
            of = replace(run, manifest=manifest)
            lines.append(f"{command}, {made}: {next_after_pass(of, 'a folder')} | {simulated(of)}")
    golden.hold("scope", lines)


def test_what_grew_since_the_gate(golden: Golden) -> None:
    profile, lines = load("lambda-1cc-h100"), []
    rails = replace(profile.rails, devices=("mlx5_1",), count=1)
    machine = node()

    def shot(at: float, **counters: int) -> Snapshot:
        groups = {"counters": counters, "hw_counters": {}} if counters else {}
        return Snapshot(1e9 + at, at, {"mlx5_1/1": groups, "tcp": {"tcp": {}}})

    names = (*NEVER, *ALLOWED, "port_xmit_constraint_errors", "VL15_dropped")
    for name in names:
        for seconds in (0.0, 3600.0):
            most = int(seconds * ALLOWED.get(name, 1.0)) if name not in NEVER else 0
            for growth in (0, most, most + 1):
                outcomes = since_gate(
                    machine, rails, shot(10.0, **{name: 3}), shot(10.0 + seconds, **{name: 3 + growth})
                )
                lines += [
                    f"{name} +{growth} in {seconds}: {each.status.value} {each.bound} {each.subject}: {each.measured}"
                    for each in WORDS.verdicts(outcomes)
                ]
    odd = {
        "cleared": (shot(10.0, symbol_error=9), shot(20.0, symbol_error=1)),
        "cleared and quiet": (shot(10.0, symbol_error=9), shot(20.0, symbol_error=0)),
        "new": (shot(10.0), shot(20.0, symbol_error=1)),
        "gone": (shot(10.0, symbol_error=1, port_rcv_errors=1), shot(20.0, port_rcv_errors=1)),
        "at its maximum": (shot(10.0, symbol_error=65535), shot(20.0, symbol_error=65535)),
        "no counter": (shot(10.0, port_xmit_data=1), shot(20.0, port_xmit_data=9)),
        "since a boot": (shot(100.0, symbol_error=1), shot(20.0, symbol_error=4)),
        "no earlier": (None, shot(20.0, symbol_error=1)),
    }
    for name, (before, after) in odd.items():
        for one in (rails, replace(rails, kind="none"), replace(rails, devices=("mlx5_77",))):
            lines += [
                f"{name}, {one.kind} {one.devices}: {shown(each)}"
                for each in since_gate(machine, one, before, after)
            ]
    golden.hold("since the gate", lines)
