"""The verdict of a run in one line, for the formats that begin with it."""

from __future__ import annotations

from bench.judge.verdicts import status
from bench.model.verdict import Status, Verdict, counted
from bench.store import Run


def title(run: Run) -> str:
    """``PASS``, ``FAIL`` or ``INCONCLUSIVE``."""
    return status(run).shown


def counts(run: Run) -> str:
    """``1 failed, 20 passed, 2 not applicable``; of no verdicts: ``nothing was judged``."""
    return counted(verdict.status for verdict in run.verdicts)


def bad(run: Run) -> list[Verdict]:
    """The failures, then what is inconclusive, each as judged."""
    return [
        verdict
        for each in (Status.FAIL, Status.INCONCLUSIVE)
        for verdict in run.verdicts
        if verdict.status is each
    ]
