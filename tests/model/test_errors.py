"""The tree of errors is drawn as it is, and every broad ``except`` stands here with its reason."""

import ast
import re
from pathlib import Path

from bench.model import errors
from bench.model.errors import EXIT_INCONCLUSIVE, EXIT_USAGE, exit_status
from bench.model.verdict import EXIT, Status

ROOT = Path(__file__).parents[2]
BROAD = {"Exception", "BaseException"}
# (file, function) → what happens to the error there
REASONS = {
    ("bench/__main__.py", "main"): "reported as an installation that is broken, and the process ends",
    ("bench/cli/__init__.py", "_run"): "reported as a bug, and the process ends",
    ("bench/cli/resuming.py", "perform"): "told to the ranks that wait, and raised again",
    ("bench/measure/backend/tcp_store.py", "opened"): "raised again once the socket is closed",
    ("bench/measure/flight_recorder.py", "_data"): "a broken pickle becomes NotAFlight",
    ("bench/measure/forkserver.py", "_become"): "printed, and the child ends",
    ("bench/measure/forkserver.py", "_become_server"): "printed, and the child ends",
    ("bench/measure/worker.py", "phase"): "sent to the supervisor, and the worker ends",
    ("bench/probe/node.py", "_part"): "noted in the facts; the other sources are read",
    ("bench/run/join.py", "_follow"): "printed and sent to rank 0, and the rank ends",
    ("bench/run/lead.py", "lead"): "told to the other ranks, and raised again",
    ("bench/run/time_limit.py", "_child"): "told to the parent, and the process ends",
    ("bench/store/files.py", "_replace"): "raised again once the unfinished file is gone",
    ("bench/store/history/location.py", "reaching"): "becomes one line of what the bucket's driver raised",
    ("bench/supervise/control/rendezvous.py", "wait"): "told to the ranks that came, and raised again",
    ("bench/supervise/control/rendezvous.py", "_greet"): "raised again once the socket is closed",
    ("bench/supervise/control/rendezvous.py", "_place"): "raised again once the socket is closed",
}


def broad_handlers():
    """(file, innermost function, the line of the except) of each handler that takes whatever is raised."""
    for path in sorted([*(ROOT / "bench").rglob("*.py"), *(ROOT / "reports").rglob("*.py")]):
        lines = path.read_text(encoding="utf-8").splitlines()
        tree = ast.parse("\n".join(lines))
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            names = (
                {each.id for each in ast.walk(node.type) if isinstance(each, ast.Name)}
                if node.type
                else BROAD
            )
            if names & BROAD:
                around = [f for f in functions if f.lineno <= node.lineno <= (f.end_lineno or 0)]
                name = max(around, key=lambda f: f.lineno).name if around else ""
                yield (str(path.relative_to(ROOT)), name), lines[node.lineno - 1]


def test_every_broad_except_is_listed_with_its_reason_here_and_at_its_line():
    found = list(broad_handlers())
    assert sorted(place for place, _ in found) == sorted(REASONS)
    for place, line in found:
        assert re.search(r"  # .{20,}", line), f"{place}: no reason beside the except"


def error_classes():
    """Class → (names of its bases, its own exit status or "") of everything that derives from RailGaugeError."""
    found = {}
    for path in (ROOT / "bench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                own = [
                    ast.unparse(line.value)
                    for line in node.body
                    if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "exit_status"
                ]
                found[node.name] = ([ast.unparse(base) for base in node.bases], own[0] if own else "")
    kept = {"RailGaugeError"}
    while more := {name for name, (bases, _) in found.items() if kept & set(bases)} - kept:
        kept |= more
    return {name: row for name, row in found.items() if name in kept}


def drawn_tree():
    """Class → (the class above it, the exit status beside it)."""
    drawn, above = {}, []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"(?P<lead>[│├└─ ]*)(?P<name>[A-Z]\w+)  +(?P<status>\d)? ", line):
            depth = len(match["lead"]) // 4
            above[depth:] = [match["name"]]
            drawn[match["name"]] = (above[depth - 1] if depth else "Exception", match["status"])
    return drawn


def test_the_drawn_tree_is_the_tree():
    drawn, there = drawn_tree(), error_classes()
    assert set(drawn) == set(there)
    for name, (parent, status) in drawn.items():
        bases, own = there[name]
        assert parent in bases, name
        inherited = drawn[parent][1] if parent in drawn else None
        assert status == {"EXIT_USAGE": "2", "EXIT_INCONCLUSIVE": "3", "": inherited}[own], name


def test_an_exit_status_is_decided_in_one_place():
    assert (EXIT_USAGE, EXIT_INCONCLUSIVE) == (2, 3)
    assert EXIT[Status.PASS] == 0 and EXIT[Status.FAIL] == 1
    assert {EXIT[status] for status in Status if status not in (Status.PASS, Status.FAIL)} == {3}
    assert exit_status(KeyError("a bug")) == EXIT_INCONCLUSIVE
    for path in (ROOT / "bench").rglob("*.py"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if path.name != "errors.py":
                assert not re.search(r"(exit_status|status) = [23]\b|sys\.exit\([0-9]", line), (
                    f"{path}:{number}"
                )
