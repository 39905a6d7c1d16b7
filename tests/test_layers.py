"""The house: a module imports only what stands above it here; heavy packages stay at their edge."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# the way of the data, from nouns to commands
LAYERS = [
    "plain",
    "errors",
    "verdict",
    "units",
    "once",
    "shapes",
    "scrub",
    "timings",
    "model",
    "facts",
    "stats",
    "apart",
    "majority",
    "elements",
    "collectives",
    "bounds",
    "packets",
    "wire",
    "pairs",
    "blame",
    "screening",
    "stragglers",
    "hangs",
    "nccl",
    "counter_table",
    "counters",
    "fabric",
    "profile",
    "rails",
    "drafts",
    "explain",
    "facts_table",
    "store",
    "placing",
    "plan",
    "rows",
    "headline",
    "known",
    "paths",
    "unlike",
    "resume",
    "imports",
    "verbs",
    "readings",
    "exports",
    "compare",
    "drift",
    "history",
    "nightly",
    "checks",
    "judge",
    "interchange",
    "preflight",
    "probe",
    "measure",
    "steady",
    "order",
    "backend",
    "tether",
    "nursery",
    "worker",
    "agent",
    "launch",
    "address",
    "control",
    "guard",
    "health",
    "supervise",
    "refusal",
    "options",
    "answers",
    "gather",
    "verbs_phase",
    "phases",
    "settle",
    "acceptance",
    "part",
    "progress",
    "terminal",
    "follow",
    "webhook",
    "commands",
    "cli",
    "__main__",
]
EDGES = {
    "torch": {"backend", "worker"},
    "mpi4py": {"control"},
    "pynvml": {"probe"},
    "pandas": set(),
    "altair": set(),
    "duckdb": {"history"},
    "pyarrow": {"history"},
    "ruptures": {"drift"},
}
REPORTS_MAY_USE_NOTHING_BELOW = "preflight"


def module_files() -> list[Path]:
    return sorted((ROOT / "bench").rglob("*.py"))


def room(path: Path) -> str:
    inner = path.relative_to(ROOT / "bench")
    return inner.parts[0].removesuffix(".py")


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


def test_every_room_stands_in_the_list():
    rooms = {room(path) for path in module_files()} - {"__init__"}
    assert rooms == set(LAYERS)


@pytest.mark.parametrize("path", module_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_stands_above_it(path):
    here = room(path)
    if here == "__init__":
        return
    allowed = set(LAYERS[: LAYERS.index(here) + 1])
    for name in imported(path):
        if name[0] == "bench" and len(name) > 1 and name[1] in LAYERS:
            assert name[1] in allowed, f"{path.name} imports {'.'.join(name)} from below"
        assert name[0] != "reports" or here in ("commands",), f"{path.name} imports reports"


@pytest.mark.parametrize("path", module_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_packages_stay_at_their_edge(path):
    for name in imported(path):
        if name[0] in EDGES:
            assert room(path) in EDGES[name[0]], f"{path.name} imports {name[0]}"


def test_reports_import_only_the_pure_part_of_bench():
    allowed = set(LAYERS[: LAYERS.index(REPORTS_MAY_USE_NOTHING_BELOW)]) | {"drift", "history", "__version__"}
    for path in (ROOT / "reports").rglob("*.py"):
        for name in imported(path):
            if name[0] == "bench" and len(name) > 1:
                assert name[1] in allowed, f"{path.name} imports {'.'.join(name)}"


@pytest.mark.parametrize("arguments", [["--help"], ["accept", "--help"], ["run", "--help"], ["profiles"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys; sys.argv = ['railgauge', *sys.argv[1:]]\n"
        "from bench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"heavy = sorted(set({sorted(EDGES)!r} + ['numpy', 'rich']) & set(sys.modules))\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout
