"""Verdicts: a pure function of a run folder and a profile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.model.profile import Profile
from bench.model.units import show_count
from bench.model.verdict import Status, Verdict, overall
from bench.store import IMPORTED, Run
from bench.store.set_aside import who_came

from .checks import CHECKS, Evidence
from .checks.coverage import COMMAND
from .checks.row_peers import UNBOUNDED
from .drift.tonight import COMPARED
from .forked import can_fork, forked
from .registry import Check
from .watched import is_watch

LARGE = 10_000  # measurements from which on two processes judge a run
SPOKEN = (COMMAND, COMPARED, UNBOUNDED)


def judge(run: Run, profile: Profile, facts_only: bool = False) -> Evidence:
    """The evidence with its verdicts, in the order of the checks' table.

    ``facts_only``: of the checks that need no measurement. A check that breaks is an INCONCLUSIVE of its own and takes
    no other verdict with it.
    """
    evidence, everyone = Evidence(run, profile), Evidence(who_came(run.whole), profile)
    _ = evidence.nodes  # damaged facts are refused before any check is asked
    asked = [check for check in CHECKS.values() if check.facts_only or not facts_only]
    if is_watch(evidence):
        asked = [check for check in asked if check.beside]
    left = [check.name for check in asked if check.facts_only and run.manifest.launcher == IMPORTED]
    asked = [check for check in asked if check.name not in left]
    found = _found(asked, evidence, everyone)
    verdicts = [verdict for check in asked for verdict in found[check.name]]
    if left:
        text = f"an import holds no facts of the machines: {show_count(len(left), 'check')} on them left out"
        verdicts.insert(0, Verdict("facts", "all nodes", Status.SKIP, text, evidence=tuple(left)))
    return evidence.judged(tuple(verdicts))


def _found(checks: Sequence[Check], evidence: Evidence, everyone: Evidence) -> dict[str, list[Verdict]]:
    """The verdicts of each check; of a large run those on the machines and their counters are found beside the others.

    ``everyone``: what needs no measurement is judged of the nodes too that were set aside.
    """

    def of(some: Iterable[Check]) -> dict[str, list[Verdict]]:
        return {check.name: _verdicts(check, everyone if check.facts_only else evidence) for check in some}

    if len(evidence.run.measurements) < LARGE or not can_fork():
        return of(checks)
    _ = evidence.rows  # both need them
    machines = [check for check in checks if check.facts_only or check.beside]
    beside = forked(lambda: of(machines))
    return of(check for check in checks if check not in machines) | beside()


def _verdicts(check: Check, evidence: Evidence) -> list[Verdict]:
    try:
        return list(check(evidence))
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        text = f"the check broke: {type(error).__name__}: {error}"
        step = "please report this with the run folder"
        return [Verdict(check.name, "RailGauge", Status.INCONCLUSIVE, text, "a verdict", "RailGauge", step)]


def spoken(run: Run) -> tuple[str, ...]:
    """What a person is told beside the verdict: that this is no acceptance, the nights before it, what has no bound."""
    return tuple(each.measured for each in run.verdicts if each.check in SPOKEN)


def status(judged: Run | Evidence) -> Status:
    """FAIL beats INCONCLUSIVE beats PASS; nothing judged is INCONCLUSIVE."""
    return overall(verdict.status for verdict in judged.verdicts)
