"""The verdict of a run in one line, for the formats that begin with it."""

from __future__ import annotations

from collections import Counter

from bench.judge.verdicts import status
from bench.model.verdict import Status, Verdict
from bench.store import Run

TITLES = {Status.PASS: "PASS", Status.FAIL: "FAIL", Status.ERROR: "COULD NOT TELL"}
COUNTED = {
    Status.FAIL: "failed",
    Status.ERROR: "could not be told",
    Status.PASS: "passed",
    Status.SKIP: "skipped",
}


def title(run: Run) -> str:
    """``PASS``, ``FAIL`` or ``COULD NOT TELL``."""
    return TITLES[status(run)]


def counts(run: Run) -> str:
    """``1 failed, 20 passed, 2 skipped``; of no verdicts: ``nothing was judged``."""
    count = Counter(verdict.status for verdict in run.verdicts)
    return (
        ", ".join(f"{count[each]} {word}" for each, word in COUNTED.items() if count[each])
        or "nothing was judged"
    )


def bad(run: Run) -> list[Verdict]:
    """What failed, then what could not be told, each as judged."""
    return [
        verdict for each in (Status.FAIL, Status.ERROR) for verdict in run.verdicts if verdict.status is each
    ]
