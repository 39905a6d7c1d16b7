"""A run folder in the formats that other tools read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.exports import csv_text, lines_of, table
from bench.profile import parse
from bench.rows import Row, rows
from bench.store import Run

from .github import github
from .grafana import grafana
from .junit import junit
from .prometheus import prometheus


def export(run: Run, form: str) -> str:
    """A judged run as text in one of FORMATS. ValueError lists the known formats."""
    if form not in FORMATS:
        raise ValueError(f"unknown format {form!r}; known: {', '.join(FORMATS)}")
    return FORMATS[form](run)


def _nccl_tests(run: Run) -> str:
    """nccl-tests' tables.

    A table holds one collective of one phase on one group of ranks, and begins with a comment that says which;
    the evidence phase, slowed by NCCL's log, is in the CSV alone.
    """
    measured = rows(run)
    parts = []
    for phase in dict.fromkeys(row.case.phase for row in measured if row.case.phase != "evidence"):
        parts += _tables(phase, [row for row in measured if row.case.phase == phase], run)
    return "\n".join(parts)


def _tables(phase: str, measured: Sequence[Row], run: Run) -> list[str]:
    where = {rank.rank: rank for rank in run.manifest.ranks}
    found = []
    for (name, members, algorithm, rail), lines in lines_of(measured).items():
        said = [f"# RailGauge {run.manifest.id}: phase {phase}", f"algorithm {algorithm}"]
        said += [f"rail {rail}"] if rail else []
        # nccl-tests numbers the ranks of its own job from 0
        ranks = [replace(where[rank], rank=i) for i, rank in enumerate(members) if rank in where]
        found.append(", ".join(said) + "\n" + table(name, lines, ranks))
    return found


def _prometheus(run: Run) -> str:
    return prometheus(run, parse(run.manifest.profile_text, "the run's own profile"))


FORMATS: dict[str, Callable[[Run], str]] = {
    "nccl-tests": _nccl_tests,
    "csv": lambda run: csv_text(rows(run)),
    "junit": junit,
    "prometheus": _prometheus,
    "grafana": lambda _: grafana(),
    "github": github,
}
