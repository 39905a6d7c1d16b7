"""The tests marked gpu, with the pytest that is there. A bare machine lacks what the other tests need."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import job
from gpu_said import Said, failed, not_possible
from here import SEEN, Here

ROOT = Path(__file__).parent.parent.parent
SECONDS = 150.0
OURS = ("bench", "reports", "tests")  # that one of these is not found is no lack of the machine


def tests(here: Here) -> Said:
    return run(files(ROOT / "tests"), here.out, max(5.0, min(SECONDS, here.left())))


def run(paths: Sequence[Path], out: Path, seconds: float) -> Said:
    """Those of ``paths`` that are marked gpu, at most ``seconds``; what pytest prints goes to ``out``/pytest.log."""
    words = ["-q", "-m", "gpu", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    # the project makes errors of warnings; here they would be those of torch and pynvml while they are imported
    words += ["-o", "filterwarnings=default"]
    log = out / "pytest.log"
    status, text = job.finish([sys.executable, "-m", "pytest", *words, *map(str, paths)], log, seconds)
    if status is None:
        return failed(f"not done within {seconds:.0f} s (pytest.log)")
    return judged(status, text, "")


def files(folder: Path) -> list[Path]:
    """The test files with ``pytest.mark.gpu`` in their code; the others need not be importable."""
    found = (path for path in sorted(folder.rglob("test_*.py")) if "gpu" in path.read_text(encoding="utf-8"))
    return [path for path in found if any(map(_marks, ast.walk(ast.parse(path.read_text(encoding="utf-8")))))]


def _marks(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node) == "pytest.mark.gpu"


def judged(status: int, out: str, err: str) -> Said:
    """What pytest's exit status and words mean: some passed and none failed; a module is lacking; all were skipped."""
    last = (out.strip().splitlines() or [err.strip()[-200:]])[-1].strip("= ")
    if status == 0 and re.search(r"\d+ passed", last):
        return Said(SEEN, last)
    lacking = {name.partition(".")[0] for name in re.findall(r"No module named '?([\w.]+)", out + err)}
    if lacking and not lacking & set(OURS) and not re.search(r"\d+ failed", last):
        return not_possible(f"no {', '.join(sorted(lacking))}")
    if status == 0:
        reasons = re.findall(r"^SKIPPED \[\d+\] [^:]+(?::\d+)?: (.+)$", out, re.MULTILINE)
        return not_possible("; ".join([last, *dict.fromkeys(reasons)]))
    return failed(f"{last} (pytest.log)")
