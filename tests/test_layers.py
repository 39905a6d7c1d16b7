"""The house: a room imports only rooms that stand above it in this list; heavy packages stay at their edge."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# the way of the data, from nouns to commands
ROOMS = (
    "model",
    "nccl",
    "probe",
    "store",
    "plan",
    "launch",
    "measure",
    "supervise",
    "judge",
    "run",
    "exchange",
    "cli",
)
# which room may import a heavy package; reports/ alone draws with pandas and altair
EDGES = {
    "torch": {"measure"},
    "mpi4py": {"supervise"},
    "pynvml": {"probe"},
    "pandas": set(),
    "altair": set(),
    "duckdb": set(),
    "pyarrow": {"store"},
    "ruptures": {"judge"},
}
# rooms that start processes, read this machine or talk to others; reports/ must draw anywhere
REPORTS_MAY_NOT_USE = {"launch", "measure", "supervise", "run", "cli"}
AT_THE_TOP = {*ROOMS, "profiles", "__init__.py", "__main__.py", "py.typed"}


def module_files() -> list[Path]:
    return sorted((ROOT / "bench").rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT / "bench").parts[0]


def imported(path: Path) -> list[tuple[str, ...]]:
    """Absolute dotted names, split, of everything that a file imports, wherever in it."""
    package = (path.relative_to(ROOT)).parent.parts
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = (*base, *(node.module.split(".") if node.module else ()))
            found += [(*name, alias.name) for alias in node.names]
    return found


def test_nothing_but_the_rooms_stands_at_the_top_of_bench():
    assert {path.name for path in (ROOT / "bench").iterdir()} - {"__pycache__"} <= AT_THE_TOP
    assert {room(path) for path in module_files()} - {"__init__.py", "__main__.py"} == set(ROOMS)


@pytest.mark.parametrize("path", module_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_rooms_above_it(path):
    here = room(path)
    allowed = set(ROOMS[: ROOMS.index(here) + 1]) if here in ROOMS else set(ROOMS)
    for name in imported(path):
        if name[0] == "bench" and len(name) > 1 and name[1] in ROOMS:
            assert name[1] in allowed, f"{path.name} imports {'.'.join(name)} from below"
        assert name[0] != "reports" or here == "cli", f"{path.name} imports reports"


@pytest.mark.parametrize("path", module_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_packages_stay_at_their_edge(path):
    for name in imported(path):
        if name[0] in EDGES:
            assert room(path) in EDGES[name[0]], f"{path.name} imports {name[0]}"


def test_no_module_makes_its_dataclasses_before_they_are_needed():
    files = (*module_files(), *(ROOT / "reports").rglob("*.py"))
    found = {path.name for path in files if ("dataclasses", "dataclass") in imported(path)}
    assert found == {"late_dataclass.py"}, "import dataclass from bench.model.late_dataclass"


@pytest.mark.parametrize("name", ROOMS)
def test_entering_a_room_loads_nothing_else(name):
    if name in ("store", "plan", "launch"):  # these three show a face: what other rooms ask of them
        return
    found = ast.walk(ast.parse((ROOT / "bench" / name / "__init__.py").read_text()))
    imports = [node for node in found if isinstance(node, ast.Import | ast.ImportFrom)]
    assert name == "cli" or not imports, f"bench/{name}/__init__.py imports"


def needed(path: Path) -> set[str]:
    """The modules of ours that a file imports wherever in it."""
    tree, package = ast.parse(path.read_text(encoding="utf-8")), path.relative_to(ROOT).parent.parts
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ROOT.joinpath(*base, *(node.module or "").split("."))
            found |= {str(module.joinpath(each.name).relative_to(ROOT)) for each in node.names}
            found.add(str(module.relative_to(ROOT)))
    return {f"{name}.py" for name in found if (ROOT / f"{name}.py").is_file()}


def test_no_two_modules_need_each_other():
    files = (*module_files(), *(ROOT / "reports").rglob("*.py"))
    left = {str(path.relative_to(ROOT)): needed(path) for path in files}
    while free := {name for name, others in left.items() if not others & left.keys() - {name}}:
        left = {name: others for name, others in left.items() if name not in free}
    assert not left, f"a circle of imports is among {', '.join(sorted(left))}"


def test_a_class_name_is_defined_once():
    places: dict[str, list[str]] = {}
    for path in (*module_files(), *(ROOT / "reports").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_reports_import_only_the_pure_part_of_bench():
    for path in (ROOT / "reports").rglob("*.py"):
        for name in imported(path):
            if name[0] == "bench" and len(name) > 1:
                assert name[1] not in REPORTS_MAY_NOT_USE, f"{path.name} imports {'.'.join(name)}"


@pytest.mark.parametrize("arguments", [["--help"], ["accept", "--help"], ["run", "--help"], ["profiles"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys; sys.argv = ['railgauge', *sys.argv[1:]]\n"
        "from bench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"heavy = sorted(set({sorted(EDGES)!r} + ['numpy', 'rich', 'ctypes', 'socket']) & set(sys.modules))\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout
