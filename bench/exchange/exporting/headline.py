"""The verdict of a run in one line, for the formats that begin with it."""

from __future__ import annotations

from collections import Counter

from bench.judge.verdicts import status
from bench.model.verdict import Status, Verdict
from bench.store import Run

TITLES = {Status.PASS: "PASS", Status.FAIL: "FAIL", Status.ERROR: "INCONCLUSIVE"}
COUNTED = {
    Status.FAIL: "failed",
    Status.ERROR: "inconclusive",
    Status.PASS: "passed",
    Status.SKIP: "not applicable",
}


def title(run: Run) -> str:
    """``PASS``, ``FAIL`` or ``INCONCLUSIVE``."""
    return TITLES[status(run)]


def counts(run: Run) -> str:
    """``1 failed, 20 passed, 2 not applicable``; of no verdicts: ``nothing was judged``."""
    count = Counter(verdict.status for verdict in run.verdicts)
    return (
        ", ".join(f"{count[each]} {word}" for each, word in COUNTED.items() if count[each])
        or "nothing was judged"
    )


def bad(run: Run) -> list[Verdict]:
    """The failures, then what is inconclusive, each as judged."""
    return [
        verdict for each in (Status.FAIL, Status.ERROR) for verdict in run.verdicts if verdict.status is each
    ]
