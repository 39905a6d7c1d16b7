"""A run folder in the formats that other tools read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.exchange.exporting.nccl_tests import csv_text, lines_of, table
from bench.judge.evidence import Evidence
from bench.judge.wire import algorithm_used, of_row
from bench.model.profile import parse
from bench.store import Run
from bench.store.rows import Row, rows

from .alerts import alerts
from .github import github
from .grafana import grafana
from .junit import junit
from .prometheus import prometheus
from .run_json import run_json

# the algorithm in force; bytes/s a node and direction and their share of the target, least and most over the
# algorithms that it may have been; the ceiling of busbw in bytes/s; NCCL's protocol, where its log names it
WIRE_COLUMNS = (
    "in_force",
    "network_least",
    "network_most",
    "share_least",
    "share_most",
    "ceiling",
    "protocol",
)


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


def _evidence(run: Run) -> Evidence:
    return Evidence(run, parse(run.manifest.profile_text, "the run's own profile"))


def _csv(run: Run) -> str:
    """Every row, and what it means on the rails of a node; empty where the job crosses none, or none are known."""
    evidence = _evidence(run)

    def wire(row: Row) -> Sequence[object]:
        found = of_row(row, evidence)
        protocol = algorithm_used(row.case, evidence).protocol
        if found is None or found.shape.nodes < 2:
            return ("", None, None, None, None, None, protocol)
        return (found.used.algorithm, *found.wire, *found.share, found.ceiling, protocol)

    return csv_text(evidence.rows, WIRE_COLUMNS, wire)


FORMATS: dict[str, Callable[[Run], str]] = {
    "nccl-tests": _nccl_tests,
    "csv": _csv,
    "junit": junit,
    "prometheus": lambda run: prometheus(_evidence(run)),
    "alerts": lambda _: alerts(),
    "grafana": lambda _: grafana(),
    "github": lambda run: github(_evidence(run)),
    "json": lambda run: run_json(_evidence(run)),
}
