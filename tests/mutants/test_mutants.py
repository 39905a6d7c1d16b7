"""A planted room and planted tests: which changes of it are killed, survive, run out of time, or are listed."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("coverage")
sys.path.insert(0, str(Path(__file__).parents[2] / "ci"))
from mutation import command, equivalents, places
from mutation.reach import Reach, Reached

ROOT = Path(__file__).parents[2]

JUDGE = """\
from functools import cache

from bench.model.verdict import Status

FLOOR = 3
ROWS = {"low": lambda value: Status.FAIL if value < 1 else Status.PASS}


def judge(value):
    if value is None:
        return Status.ERROR
    return Status.PASS if value >= FLOOR else Status.FAIL


@cache
def text(value):
    return f"{value}: {Status.FAIL.value}" if value < 1 else "fine"


def nobody_asks(value):
    return Status.FAIL


def count(values):
    left = len([value for value in values if value])
    while left > 0:
        left -= 1
    return left
"""
STATUS = """\
from enum import Enum


class Status(Enum):
    PASS = "pass"
    FAIL = "fail"
    ERROR = "error"


EXIT = {Status.PASS: 0, Status.FAIL: 1, Status.ERROR: 3}
"""
TESTS = """\
import pytest

from bench.judge.judge import ROWS, count, judge, text
from bench.model.verdict import EXIT, Status


@pytest.fixture(scope="module")
def judged():
    return {value: judge(value) for value in (None, 1, 3)}


def test_floor(judged):
    assert judged[1] is Status.FAIL and judged[3] is Status.PASS


def test_nothing_is_looked_at(judged):
    assert len(judged) == 3


def test_table():
    assert ROWS["low"](0) is Status.FAIL


def test_exit():
    assert EXIT[Status.FAIL] == 1


def test_text_is_made():
    assert text(0)


def test_text():
    assert text(0) == "0: fail"


def test_count():
    assert count([1, 0]) == 0


def test_fails_without_a_mutant():
    raise AssertionError
"""
LISTED = """\
# what no test can see
bench/judge/judge.py in nobody_asks
return Status.FAIL
Status.FAIL → Status.PASS
Nothing calls it.
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """A tree, and what came of its green mutants: exit status and text."""
    tree = tmp_path_factory.mktemp("planted")
    for name, written in {
        "bench/__init__.py": "",
        "bench/judge/__init__.py": "",
        "bench/judge/judge.py": JUDGE,
        "bench/model/__init__.py": "",
        "bench/model/verdict.py": STATUS,
        "tests/judge/test_judge.py": TESTS,
        "ci/mutation/equivalents.txt": LISTED,
    }.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written)
    return tree, *mutants(tree, "--green")


@pytest.fixture
def tree(measured: tuple[Path, int, str], tmp_path: Path) -> Path:
    """A copy of it that knows which tests reach which lines."""
    return Path(shutil.copytree(measured[0], tmp_path / "tree"))


def mutants(tree: Path, *words: str) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, ROOT / "ci/mutants", "--root", tree, *words],
        cwd=tree, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_green_mutants_are_killed_survive_or_are_listed(measured):
    tree, status, said = measured
    assert status == 1, said
    survivors = [line.partition(" (green")[0] for line in said.splitlines() if line.startswith("survived")]
    assert survivors == [
        "survived: bench/judge/judge.py:11 judge: Status.ERROR → Status.PASS",
        "survived: bench/model/verdict.py:10 (module): Status.ERROR → Status.PASS",
    ]
    assert (
        "listed as equivalent: bench/judge/judge.py:21 nobody_asks: Status.FAIL → Status.PASS: Nothing calls it."
        in said
    )
    assert (
        "left out, since it fails without a mutant: tests/judge/test_judge.py::test_fails_without_a_mutant"
        in said
    )
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if "%" in line}
    assert rows["judge"] == ["5", "3", "1", "75.0%", "-", "-", "-", "-"]
    assert rows["all"][:4] == ["7", "4", "1", "66.7%"]
    assert (tree / "bench/judge/judge.py").read_text() == JUDGE, "the tree is left as it is"


def test_the_tests_that_killed_are_asked_first_the_next_time(tree):
    assert mutants(tree, "--green", "--remember")[0] == 1
    first = tree / "ci/mutation/first.txt"
    kept = ["test_exit", "test_floor", "test_table", "test_text"]
    assert first.read_text().split() == [f"tests/judge/test_judge.py::{name}" for name in kept]
    said = mutants(tree, "--green")[1]
    assert "3 of 7 survive the tests that are asked first" in said and said.count("survived: ") == 2
    first.write_text("tests/judge/test_judge.py::test_gone\n")
    said = mutants(tree, "--green")[1]
    assert "7 of 7 survive the tests that are asked first" in said and said.count("survived: ") == 2


def test_a_test_that_is_written_kills_a_survivor_and_only_its_file_is_run_anew(tree):
    (tree / "tests/judge/test_more.py").write_text(
        "from bench.judge.judge import judge\nfrom bench.model.verdict import EXIT, Status\n\n"
        "def test_more():\n    assert judge(None) is Status.ERROR and EXIT[Status.ERROR] == 3\n"
    )
    status, said = mutants(tree, "--green")
    assert status == 0, said
    assert "1 of 2 test files are run" in said and "survived" not in said


def test_an_endless_loop_is_ended_by_its_limit(tree, monkeypatch):
    monkeypatch.setenv("MUTANTS_START", "10")
    status, said = mutants(tree, "--random", "100", "--rooms", "judge", "--jobs", "2")
    assert status == 0, said
    assert "killed by their time limit: 1" in said, said  # left -= 1 → pass


def test_the_rate_of_random_mutants_has_a_floor(tree):
    words = ["--random", "6", "--seed", "2", "--rooms", "bench/judge/judge.py", "--at-least"]
    status, said = mutants(tree, *words, "100")
    assert status == 1 and "survived: " in said
    assert mutants(tree, *words, "10")[0] == 0


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (LISTED.replace("in nobody_asks", "in somebody"), "listed as equivalent, and not in the code any more"),
        (LISTED.replace("in nobody_asks", "in judge").replace("return Status.FAIL", "return Status.ERROR").replace(
            "Status.FAIL → ", "Status.ERROR → "), "nobody_asks"),
        ("bench/judge/judge.py in nobody_asks\nreturn Status.FAIL\n", "is not file, line, change and reason"),
    ],
)  # fmt: skip
def test_an_entry_that_fits_nothing_is_an_error(tree, entry, said):
    (tree / "ci/mutation/equivalents.txt").write_text(entry)
    status, text = mutants(tree, "--green", "--rooms", "judge")
    assert status == 1 and said in text


def test_an_entry_whose_mutant_is_killed_is_an_error(tree):
    killed = "bench/judge/judge.py in judge\nreturn Status.PASS if value >= FLOOR else Status.FAIL\n"
    more = "Status.FAIL → Status.PASS\nIt is said to be one.\n"
    (tree / "ci/mutation/equivalents.txt").write_text(f"{LISTED}\n{killed}{more}")
    _, text = mutants(tree, "--green", "--rooms", "judge")
    assert "LISTED AS EQUIVALENT, AND KILLED: bench/judge/judge.py:12" in text


def test_a_test_that_takes_long_is_not_asked_where_seconds_are_bounded(tree):
    """The judge catches what a check raises: what ends a test must get past it."""
    (tree / "tests/judge/test_long.py").write_text(
        "from bench.judge.judge import judge\n\ndef test_short():\n    judge(None)\n\n"
        "def test_endless():\n    while True:\n        try:\n            judge(None)\n"
        "        except Exception:\n            pass\n"
    )
    status, said = mutants(tree, "--green", "--rooms", "judge", "--within", "8")
    assert "left out, since it takes more than 2 s: tests/judge/test_long.py::test_endless" in said
    assert "judge: Status.ERROR → Status.PASS (green; 3 tests reach it)" in said, said
    assert status == 1 and said.count("left out") == 2


def test_what_is_asked_for_is_listed_without_a_run(tree):
    status, said = mutants(tree, "--green", "--list", "--rooms", "model")
    assert status == 0
    assert said.splitlines() == [
        "green      bench/model/verdict.py:10 (module): Status.FAIL → Status.PASS",
        "green      bench/model/verdict.py:10 (module): Status.ERROR → Status.PASS",
    ]
    assert mutants(tree, "--list")[0] == 2
    assert mutants(tree, "--green", "--list", "--rooms", "attic")[0] == 2


def changes(tmp_path: Path, text: str, make=places.random) -> list[str]:
    path = tmp_path / "one.py"
    path.write_text(text)
    return [each.change for each in make(places.read(tmp_path, path))]


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("a < b", ["a < b → a <= b", "a < b → a >= b"]),
        ("a in b", ["a in b → a not in b"]),
        ("a and b", ["a and b → a or b", "a and b → b", "a and b → a"]),
        ("not a", ["not a → a"]),
        ("a if b else c", ["b → not b"]),
        ("[a for a in b if c]", ["c → True"]),
        ("x = f(8)", ["8 → 9"]),
        ("x = f(0.5)", ["0.5 → 1.0"]),
        ("x = f(True)", ["True → False"]),
        ("a * b", ["a * b → a / b"]),
        ("x = max(a)", ["max → min"]),
        ("def f():\n    return a", ["a → None"]),
        ("def f():\n    yield a", ["yield a → yield from ()"]),
        ("def f():\n    a.b()", ["a.b() → pass"]),
        ("a += b", ["a += b → pass"]),
        ("def f(a: int = 8) -> dict[str, 8]: ...", ["8 → 9"]),
        ("@d(8)\nclass A: ...", []),
        ("raise E(8)", []),
        ("f'{a + 8}'", []),
        ("a + 'text'", []),
    ],
)
def test_what_is_changed_into_what(tmp_path, text, made):
    assert changes(tmp_path, text) == made


FINDING = "from .findings import Finding\n"


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("s = Status.FAIL", ["Status.FAIL → Status.PASS"]),
        ("s = Status.INCONCLUSIVE", ["Status.INCONCLUSIVE → Status.PASS"]),
        ("s = Status.PASS, Status.NOT_APPLICABLE", []),
        (f"{FINDING}Finding(n, None, t)", ["None → True"]),
        (f"{FINDING}Finding(n, True, t)", []),
        (f"{FINDING}Finding(n, measured=t, ok=False)", ["False → True"]),
        (f"{FINDING}Finding(n, a >= b, t)", ["a >= b → True"]),
        (f"{FINDING}Finding(n, False if a else None, t)", ["False → True", "None → True"]),
        (f"{FINDING}Finding(n, *rest)", []),
        ("Finding(n, None, t)", []),
        (f"{FINDING}replace(f, ok=None, measured=t)", ["None → True"]),
        (f"{FINDING}text, ok = t, None", ["None → True"]),
        (f"{FINDING}ok: bool | None = not bad", ["not bad → True"]),
        (f"{FINDING}ok = True", []),
        ("ok = None", []),
        ("def f() -> tuple[bool | None, str]:\n    return None, t", ["None → True"]),
        ("def f() -> tuple[bool | None, str]:\n    return True, t", []),
    ],
)
def test_what_is_turned_green(tmp_path, text, made):
    assert changes(tmp_path, text, places.green) == made


def test_every_change_compiles_and_leaves_the_tree_as_it_was(tmp_path):
    path = tmp_path / "one.py"
    path.write_text(JUDGE)
    source = places.read(tmp_path, path)
    before = ast.dump(source.tree, include_attributes=True)
    for each in places.random(source) + places.green(source):
        assert each.code() != source.code(), str(each)
    assert ast.dump(source.tree, include_attributes=True) == before


def test_a_constant_that_only_a_default_names_is_held_by_all_tests_of_its_file(tmp_path):
    path = tmp_path / "one.py"
    path.write_text("MOST = 5\n\n\ndef few(count, most=MOST):\n    return count < most\n")
    source = places.read(tmp_path, path)
    (mutant,) = [each for each in places.random(source) if each.line == 1]
    # bit 0 is the import; the second test runs line 5
    tests = Reached("tests/test_one.py", ["a", "b"], [0.1, 0.2], {"one.py": {1: 1, 4: 1, 5: 4}})
    assert command.reaching(Reach((tests,)), {"one.py": source.text}, mutant) == {"b": 0.2}


def test_a_function_that_runs_on_import_alone_is_held_by_the_tests_of_what_names_it(tmp_path):
    """A decorator: no test runs its lines."""
    path = tmp_path / "one.py"
    path.write_text("def check(name):\n    return name\n")
    mutant = next(each for each in places.random(places.read(tmp_path, path)) if each.line == 2)
    user = Reached("tests/test_two.py", ["a"], [0.1], {"one.py": {2: 1}, "two.py": {3: 3}})
    texts = {"one.py": path.read_text(), "two.py": "from one import check\n\n@check('a')\ndef two(): ...\n"}
    assert command.reaching(Reach((user,)), texts, mutant) == {"a": 0.1}
    unreached = Reached("tests/test_two.py", ["a"], [0.1], {"two.py": {3: 3}})
    assert command.reaching(Reach((unreached,)), texts, mutant) == {}


def test_of_many_tests_those_of_its_own_file_and_room_are_asked_first_and_then_the_shortest(tmp_path):
    (tmp_path / "bench/judge").mkdir(parents=True)
    (tmp_path / "bench/judge/checks.py").write_text("def late(value):\n    return value > 3\n")
    mutant = next(iter(places.random(places.read(tmp_path, tmp_path / "bench/judge/checks.py"))))
    tests = {
        "tests/test_a.py::test_short": 1,
        "tests/test_a.py::test_long": 4,
        "tests/test_checks.py::test_it": 3,
        "tests/judge/test_b.py::test_of_the_room": 2,
    }
    assert [*command.cheapest(tests, mutant, 6)] == [
        "tests/test_checks.py::test_it",
        "tests/judge/test_b.py::test_of_the_room",
        "tests/test_a.py::test_short",
    ]
    assert command.cheapest(tests, mutant, 0) == tests


def test_the_list_that_is_kept_is_read():
    assert all(reason for reason in equivalents.read(ROOT / "ci/mutation/equivalents.txt").values())
