"""Verdicts: a pure function of a run folder and a profile."""

from __future__ import annotations

from bench.model.profile import Profile
from bench.model.units import show_count
from bench.model.verdict import Status, Verdict, overall
from bench.store import IMPORTED, Run
from bench.store.set_aside import who_came

from .checks import CHECKS, Evidence
from .checks.coverage import COMMAND
from .checks.row_peers import UNBOUNDED
from .drift.tonight import COMPARED
from .watched import is_watch

SPOKEN = (COMMAND, COMPARED, UNBOUNDED)


def judge(run: Run, profile: Profile, facts_only: bool = False) -> Evidence:
    """The evidence with its verdicts, in the order of the checks' table.

    ``facts_only``: of the checks that need no measurement. A check that breaks is an INCONCLUSIVE of its own and takes
    no other verdict with it.
    """
    evidence, everyone = Evidence(run, profile), Evidence(who_came(run.whole), profile)
    _ = evidence.nodes  # damaged facts are refused before any check is asked
    verdicts: list[Verdict] = []
    left: list[str] = []
    for check in CHECKS.values():
        if (facts_only and not check.facts_only) or (is_watch(evidence) and not check.beside):
            continue
        if check.facts_only and run.manifest.launcher == IMPORTED:
            left.append(check.name)
            continue
        try:
            # what needs no measurement is judged of the nodes too that were set aside
            verdicts += check(everyone if check.facts_only else evidence)
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            verdicts.append(
                Verdict(
                    check.name,
                    "RailGauge",
                    Status.INCONCLUSIVE,
                    f"the check broke: {type(error).__name__}: {error}",
                    "a verdict",
                    "RailGauge",
                    "please report this with the run folder",
                )
            )
    if left:
        text = f"an import holds no facts of the machines: {show_count(len(left), 'check')} on them left out"
        verdicts.insert(0, Verdict("facts", "all nodes", Status.SKIP, text, evidence=tuple(left)))
    return evidence.judged(tuple(verdicts))


def spoken(run: Run) -> tuple[str, ...]:
    """What a person is told beside the verdict: that this is no acceptance, the nights before it, what has no bound."""
    return tuple(each.measured for each in run.verdicts if each.check in SPOKEN)


def status(judged: Run | Evidence) -> Status:
    """FAIL beats INCONCLUSIVE beats PASS; nothing judged is INCONCLUSIVE."""
    return overall(verdict.status for verdict in judged.verdicts)
