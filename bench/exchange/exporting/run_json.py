"""A judged run as one JSON object, for jq and programs: verdict, problems with what follows from them, verdicts, rows.

Base units: seconds, bytes, bytes per second. What is not known is ``null``.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from bench.judge.evidence import Evidence
from bench.judge.problems import Problem, problems_of
from bench.judge.verdicts import status
from bench.model.typed_json import encode
from bench.model.verdict import EXIT, Status
from bench.store.rows import Row

VERSION = 1  # goes up when a field changes its meaning or goes away; new fields may come at any time


def run_json(judged: Evidence) -> str:
    """The object on one line; ends with a newline."""
    run, manifest, found = judged.run, judged.manifest, status(judged)
    count = Counter(each.status for each in judged.verdicts)
    return (
        encode(
            {
                "version": VERSION,
                "run": manifest.id,
                "started": manifest.started,
                "ended": run.ended,
                "profile": run.profile_name,
                "launcher": manifest.launcher,
                "backend": manifest.backend,
                "nodes": list(manifest.nodes),
                "ranks": len(manifest.ranks),
                "status": found.value,
                "exit_status": EXIT[found],
                "counts": {each.value: count[each] for each in Status},
                "problems": [_problem(each) for each in problems_of(run).listed],
                "verdicts": judged.verdicts,
                "rows": [_row(each) for each in judged.rows],
            }
        ).decode()
        + "\n"
    )


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "status": problem.status,
        "sentence": problem.sentence,
        "check": problem.verdict.check,
        "subject": problem.verdict.subject,
        "next_step": problem.verdict.next_step,
        "related": problem.related,
        "symptoms": problem.symptoms,
    }


def _row(row: Row) -> dict[str, Any]:
    case = row.case
    return {
        "case": case.id,
        "phase": case.phase,
        "collective": case.collective,
        "bytes": case.size,
        "dtype": case.dtype,
        "algorithm": case.algorithm,
        "placement": case.placement,
        "rail": case.rail,
        "ranks": list(row.measurement.ranks),
        "seconds": row.seconds,
        "algbw": row.algbw,
        "busbw": row.busbw,
        "p50": row.isolated.p50,
        "p99": row.isolated.p99,
        "wrong": row.wrong,
    }
