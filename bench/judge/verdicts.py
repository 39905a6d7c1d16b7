"""Verdicts: a pure function of a run folder and a profile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from bench.model.profile import Profile
from bench.model.units import show_count
from bench.model.verdict import Status, Verdict, overall
from bench.store import IMPORTED, Run
from bench.store.set_aside import who_came

from .checks import CHECKS, Evidence
from .checks.coverage import COMMAND
from .checks.row_peers import UNBOUNDED
from .drift.tonight import COMPARED
from .registry import Check
from .watched import is_watch

SPOKEN = (COMMAND, COMPARED, UNBOUNDED)
LARGE = 5000  # measurements: of fewer the checks end sooner than further processes start
BROKEN = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError)
EachCheck = Callable[[Callable[[Check], list[Verdict]], Sequence[Check]], Iterable[list[Verdict]]]
"""How a function is called with each check: ``map``, or something that does the same in several processes."""


def judge(run: Run, profile: Profile, facts_only: bool = False, each: EachCheck = map) -> Evidence:
    """The evidence with its verdicts, in the order of the checks' table.

    ``facts_only``: of the checks that need no measurement. ``each``: how the checks of a large run are asked. A check
    that breaks is an INCONCLUSIVE of its own and takes no other verdict with it.
    """
    evidence, everyone = Evidence(run, profile), Evidence(who_came(run.whole), profile)
    _ = evidence.nodes  # damaged facts are refused before any check is asked
    asked = [check for check in CHECKS.values() if check.facts_only or not facts_only]
    if is_watch(evidence):
        asked = [check for check in asked if check.beside]
    left = [check.name for check in asked if check.facts_only and run.manifest.launcher == IMPORTED]
    asked = [check for check in asked if check.name not in left]
    # what needs no measurement is judged of the nodes too that were set aside
    if large := len(run.measurements) >= LARGE:
        with suppress(*BROKEN):
            _ = evidence.rows, evidence.windows  # once, for all processes
    found = (each if large else map)(
        lambda check: _verdicts(check, everyone if check.facts_only else evidence), asked
    )
    verdicts = [verdict for of_check in found for verdict in of_check]
    if left:
        text = f"an import holds no facts of the machines: {show_count(len(left), 'check')} on them left out"
        verdicts.insert(0, Verdict("facts", "all nodes", Status.NOT_APPLICABLE, text, evidence=tuple(left)))
    return evidence.judged(tuple(verdicts))


def _verdicts(check: Check, evidence: Evidence) -> list[Verdict]:
    try:
        return list(check(evidence))
    except BROKEN as error:
        text = f"the check broke: {type(error).__name__}: {error}"
        step = "please report this with the run folder"
        return [Verdict(check.name, "RailGauge", Status.INCONCLUSIVE, text, "a verdict", "RailGauge", step)]


def spoken(run: Run) -> tuple[str, ...]:
    """What a person is told beside the verdict: that this is no acceptance, the nights before it, what has no bound."""
    return tuple(each.measured for each in run.verdicts if each.check in SPOKEN)


def status(judged: Run | Evidence) -> Status:
    """FAIL beats INCONCLUSIVE beats PASS; nothing judged is INCONCLUSIVE."""
    return overall(verdict.status for verdict in judged.verdicts)
