"""Single fields of every file of a run folder changed: told with the file and the line, never a traceback or a PASS."""

import copy
import json
import random
import shutil

import pytest
from click.testing import CliRunner

import made_nodes
import runs
from bench.cli import _mistake, cli
from bench.model.counters import snapshot
from bench.model.measurement import Window
from bench.model.typed_json import encode, to_json
from bench.plan import Request, sweep_cases
from bench.store import COUNTERS, FACTS, HEALTH, JOURNAL, MANIFEST, PLAN, Loss, Plan, RunError, load

TURNS = 25
OTHER = (None, True, -1, 1e308, float("nan"), "abc", "", [], {}, [["x"]], {"x": "y"}, [None], 10**400)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = runs.folder(
        tmp_path_factory.mktemp("whole") / "r",
        planned=runs.cases()[:2],
        nodes=[made_nodes.node(0)],
        end=False,
    )
    node = made_nodes.node(0)
    shot = to_json(snapshot(1.0, 2.0, node.ports, node.interfaces, {"RetransSegs": 1}))
    window = Window(1.0, (1e-3, 1e-3), 2e-3, 1e-3, 4, (0, 0), 8, runs.cases()[0].id, (0, 1))
    spell = {
        "case": "c",
        "begun": 1.0,
        "samples": 1,
        "silent": 0,
        "reasons": {"idle": 1},
        "changes": [[0.1, ["idle"]]],
    }
    spell |= {name: [1.0, 2.0] for name in ("clock_sm", "clock_memory", "temperature", "power")}
    with (path / JOURNAL).open("ab", buffering=0) as journal:
        for line in (
            {"kind": "phase", "time": 1.0, "name": "collectives", "state": "begin", "cases": 2},
            {
                "kind": "joined",
                "time": 1.0,
                "phase": "collectives",
                "ranks": 2,
                "seconds": {"a": 1.0},
                "versions": {},
            },
            {"kind": "window", "time": 1.0, **to_json(window)},
            {"kind": "note", "time": 1.0, "text": "a note"},
            {"kind": "loss", "time": 1.0, **Loss("x", "why").__dict__},
            {"kind": "phase", "time": 1.0, "name": "collectives", "state": "end", "measured": 2},
            {"kind": "end", "time": 1_700_000_100.0},
        ):
            journal.write(encode(line) + b"\n")
    lines = [{"phase": "collectives", "when": when, "snapshots": [shot]} for when in ("before", "after")]
    (path / COUNTERS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    health = {
        "phase": "collectives",
        "rank": 0,
        "gpu": {},
        "cases": [spell],
        "note": "",
        "memory": [[1.0, 2, 3]],
    }
    (path / HEALTH).write_text(json.dumps(health) + "\n")
    return path


def places(value, inside=()):
    """Every field and item of a JSON value, but of lists the first and the last alone."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else ((at, value[at]) for at in {0, len(value) - 1} if value)
        if isinstance(value, list)
        else ()
    )
    for step, item in inner:
        yield (*inside, step)
        yield from places(item, (*inside, step))


def changed(value, place, other):
    made = copy.deepcopy(value)
    at = made
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = other
    return made


def outcome(folder, *words):
    """Exit status, output, and the exception that got out of a command, as the command line would end."""
    done = CliRunner().invoke(cli, [*words, str(folder)], catch_exceptions=True)
    if done.exception is None or isinstance(done.exception, SystemExit):
        return done.exit_code, done.output
    if isinstance(done.exception, RunError):
        return _mistake(done.exception), f"{done.output}\n{done.exception}"
    raise done.exception


@pytest.mark.parametrize("name", [MANIFEST, PLAN, JOURNAL, FACTS, COUNTERS, HEALTH])
def test_a_changed_field_is_told_with_its_file_or_changes_no_more_than_a_verdict(whole, tmp_path, name):
    draw = random.Random(name)
    lines = (whole / name).read_text().splitlines() if name.endswith("l") else [(whole / name).read_text()]
    told = 0
    for turn in range(TURNS):
        folder = tmp_path / f"{turn}"
        shutil.copytree(whole, folder)
        number = draw.randrange(len(lines))
        row = json.loads(lines[number])
        place, other = draw.choice(list(places(row))), draw.choice(OTHER)
        text = [*lines[:number], json.dumps(changed(row, place, other)), *lines[number + 1 :]]
        (folder / name).write_text("\n".join(text) + "\n")
        for words in (("judge",), ("report",)) if turn == 0 else (("judge",),):
            code, output = outcome(folder, *words)
            assert code in (0, 1, 3), (place, other, output)
            assert "a bug in RailGauge" not in output and "the check broke" not in output, (
                place,
                other,
                output,
            )
            if "damaged" in output:
                told += 1
                line = next(line for line in output.splitlines() if "damaged" in line)
                assert code == 3 and name in line, (place, other, output)
        shutil.rmtree(folder)
    assert told > TURNS / 5


APART = {name: [0, 0] for name in ("short", "short_by", "shortest", "long", "long_by", "longest")}
DAMAGE = [
    ("pipelined", lambda row: row["pipelined"][0].__setitem__(1, -1)),
    ("pipelined", lambda row: row["pipelined"][0].__setitem__(1, 1e308)),
    ("pipelined", lambda row: row["pipelined"][0].__setitem__(1, 0.0)),
    ("pipelined", lambda row: row["pipelined"][0].pop()),
    ("pipelined", lambda row: row.update(pipelined=[["x"]])),
    ("pipelined", lambda row: row.update(pipelined=[[1.0]])),
    ("isolated", lambda row: row["isolated"].__setitem__(0, float("nan"))),
    ("calls", lambda row: row.update(calls=None)),
    ("calls", lambda row: row.update(calls=0)),
    ("ranks", lambda row: row.update(ranks=[0, 7])),
    ("ranks", lambda row: row.update(ranks=[0, 0])),
    ("apart", lambda row: row.update(apart=APART | {"long": [1]})),
    ("apart", lambda row: row.update(apart=APART | {"long": [1, -1]})),
    ("apart", lambda row: row.update(apart=APART | {"long_by": ["x", 0]})),
    ("apart", lambda row: row.update(apart=["x"])),
    ("wrong", lambda row: row.update(wrong=[0])),
    ("wrong", lambda row: row.update(wrong=[0, -1])),
    ("checked", lambda row: row.update(checked="many")),
    ("mismatches", lambda row: row.update(mismatches=[{"rank": 1}])),
    ("stop", lambda row: row.pop("stop")),
]


@pytest.mark.parametrize(("field", "damage"), DAMAGE)
def test_a_measurement_that_cannot_be_is_refused_with_its_line_and_field(whole, tmp_path, field, damage):
    folder = shutil.copytree(whole, tmp_path / "r")
    lines = (folder / JOURNAL).read_text().splitlines()
    row = json.loads(lines[1])
    damage(row)
    (folder / JOURNAL).write_text("\n".join([lines[0], json.dumps(row), *lines[2:]]) + "\n")
    with pytest.raises(RunError, match=rf"r is damaged: journal.jsonl line 2: {field}[:.\[]") as caught:
        load(folder)
    assert caught.value.exit_status == 3 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("size", -1),
        ("size", 10**400),
        ("count", -1),
        ("dtype", "abc"),
        ("collective", "abc"),
        ("op", "abc"),
        ("placement", "abc"),
        ("groups", [[0, 9]]),
        ("groups", [[0, 0]]),
        ("groups", [0]),
        ("root", "x"),
    ],
)
def test_a_planned_case_that_cannot_be_is_refused_with_its_field(whole, tmp_path, field, other):
    folder = shutil.copytree(whole, tmp_path / "r")
    plan = json.loads((folder / PLAN).read_text())
    plan["phases"][0]["cases"][1][field] = other
    (folder / PLAN).write_text(json.dumps(plan))
    with pytest.raises(RunError, match=rf"r is damaged: plan.json: phases\[0\].cases\[1\].{field}[:[]"):
        load(folder)


def test_facts_of_a_wrong_type_are_refused_with_their_line(whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "r")
    node = json.loads((folder / FACTS).read_text())
    node["host"]["cpus"] = "many"
    (folder / FACTS).write_text(json.dumps(node) + "\n")
    with pytest.raises(RunError, match='line 1: host.cpus: expected a whole number or null, found "many"'):
        load(folder)


def test_the_made_run_itself_is_whole(whole):
    run = load(whole)
    assert run.plan != Plan(()) and run.windows and run.health and run.counters and run.losses
    assert run.nodes[0].ports


def test_a_damaged_profile_in_the_manifest_is_damage_and_no_wrong_usage(whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "r")
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "profile_text": "x"}))
    code, output = outcome(folder, "judge")
    assert code == 3 and "r is damaged: manifest.json: profile_text: " in output


@pytest.mark.parametrize("seconds", [0.0, -1e-3, float("nan"), float("inf")])
def test_what_a_clock_cannot_have_told_costs_its_case_and_not_the_run(tmp_path, seconds):
    good, bad = sweep_cases("collectives", Request("all_reduce", 1 << 20, 1 << 21), ((0, 1),))[:2]
    rows = [*runs.measured(good), *runs.measured(bad, seconds)]
    path = runs.folder(tmp_path / "run", rows=rows, planned=[good, bad], where=runs.ranks(1, 2))
    run = load(path)
    assert [row.case for row in run.measurements] == [good.id]
    (loss,) = run.losses
    assert loss.case == bad.id
    assert "no possible measurement" in loss.reason
