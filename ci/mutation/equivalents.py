"""The mutants that no test can kill, each with the reason: ``equivalents.txt``, four lines and an empty one for each.

bench/plan/budget.py in tracing
one = seconds(step_phase(job, 2, (names[:2],)), case_seconds, job) + COUNTERS
2 → 3
The number of a step is in the names of its cases alone, and only its seconds are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from . import places
from .places import Source

Key = tuple[str, str, str, str]  # file, function, the line's text, the change: ``Mutant.key``


def read(path: Path) -> dict[Key, str]:
    """Reasons by key; a broken entry is an error that says which."""
    found: dict[Key, str] = {}
    for entry in path.read_text(encoding="utf-8").split("\n\n") if path.exists() else []:
        lines = [line.strip() for line in entry.splitlines() if line.strip() and not line.startswith("#")]
        if not lines:
            continue
        if len(lines) != 4 or " → " not in lines[2]:
            raise SystemExit(
                f"mutants: {path.name}: this entry is not file, line, change and reason: {lines[0]}"
            )
        file, _, where = lines[0].partition(" in ")
        found[file, where, lines[1], lines[2]] = lines[3]
    return found


def gone(listed: Mapping[Key, str], sources: Iterable[Source]) -> list[Key]:
    """Those that no mutant fits any more: the code has changed, and the reason may have gone with it."""
    named = {key[0] for key in listed}
    keys = {
        mutant.key
        for source in sources
        if source.name in named
        for make in (places.green, places.random)
        for mutant in make(source)
    }
    return [key for key in listed if key not in keys]
