"""Turns a run folder into its verdicts, its reports and the exit status."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.judge.evidence import Evidence
from bench.judge.verdicts import EachCheck, judge, status
from bench.model.profile import Profile
from bench.model.verdict import EXIT, Status, Verdict, overall
from bench.store import UNWRITTEN, Run, RunError, load, save_verdicts, sync
from bench.store.files import VERDICTS
from bench.store.sums import SUMS, record_sums

from .options import ProgressDisplay


def judge_and_save(
    folder: Path,
    profile: Profile,
    facts_only: bool = False,
    closing: bool = True,
    known: tuple[Verdict, ...] = (),
    each: EachCheck = map,
) -> Evidence:
    """Judge a run folder and write its verdicts. ``facts_only``: run only the checks that need no measurement.

    ``closing``: its sums are written where it has none. Who judges it later must not: they would be those of today.
    ``known``: what judging it is known to say (see ``reports.sealed_verdicts``), so that it is not done again.
    ``each``: see ``judge``.
    """
    sync(folder)
    run = load(folder)
    if not (folder / SUMS).exists() and (closing or run.ended is None):
        record_sums(folder)
    judged = Evidence(run, profile).judged(known) if known else judge(run, profile, facts_only, each)
    _save(judged)
    return judged


def unclosed(run: Run) -> str:
    """What a run that ended has lost where its sums are gone; "" where they are there."""
    lost = run.ended is not None and not (run.path / SUMS).exists()
    return f"{run.path} has no {SUMS}: nothing shows that its files are as the run left them" if lost else ""


def edited_verdicts(run: Run, profile: Profile, each: EachCheck = map) -> list[str]:
    """What ``verdicts.json`` says otherwise than judging by the same profile does, a line each.

    ``each``: see ``judge``.
    """
    if not (run.path / VERDICTS).exists():
        return []
    of_facts = (False, True) if run.manifest.command[1:2] == ("probe",) else (False,)
    found = (judge(run, profile, facts, each).verdicts for facts in of_facts)
    return min((_edited(run.verdicts, verdicts) for verdicts in found), key=len)


def _edited(saved: tuple[Verdict, ...], now: tuple[Verdict, ...]) -> list[str]:
    before, after = (dict.fromkeys(map(_short, found)) for found in (saved, now))
    return [
        *(f"{VERDICTS} says, and the evidence does not: {line}" for line in before if line not in after),
        *(f"{VERDICTS} does not say, and the evidence does: {line}" for line in after if line not in before),
    ]


def _short(verdict: Verdict) -> str:
    return f"{verdict.status.shown} {verdict.check}: {verdict.subject}: {verdict.measured}"


def finish(
    folder: Path,
    profile: Profile,
    display: ProgressDisplay,
    report: Callable[[Evidence, str], None] | None,
    unwritten: str = "",
) -> int:
    """Judge a run folder, write verdicts and reports, show the result; the exit status.

    ``report`` is given the digest of the evidence too, so that it can vouch for the verdicts; "" where it must not.
    ``unwritten``: why the last part of the folder could not be written; no file holds that reason.
    A verdict that cannot be written is shown all the same, and is no PASS: nobody could look it up.
    """
    looking = gc.isenabled()
    gc.disable()  # looking for cycles among the rows of 64 nodes takes a third of the time, and there are none
    try:
        return _finish(folder, profile, display, report, unwritten)
    finally:
        if looking:
            gc.enable()


def _finish(
    folder: Path,
    profile: Profile,
    display: ProgressDisplay,
    report: Callable[[Evidence, str], None] | None,
    unwritten: str,
) -> int:
    seen = ""
    try:
        sync(folder)  # before a verdict is said, its evidence is on the disk
        seen = record_sums(folder)
    except RunError as error:
        unwritten = unwritten or str(error)
    run = load(folder)
    if unwritten:
        # judging the folder would say otherwise: no file of it holds this
        run, seen = replace(run, ended=None, notes=(*run.notes, f"{UNWRITTEN}{unwritten}")), ""
    judged = judge(run, profile)
    unsaved = try_to_save(judged)
    display.finished(judged)  # before the drawing, which takes seconds
    if report and not unsaved:
        unsaved = _drawn(judged, lambda found: report(found, seen))
    if not unsaved:
        return EXIT[status(judged)]
    display.say(unsaved)
    return EXIT[overall((status(judged), Status.INCONCLUSIVE))]


def _save(judged: Evidence) -> None:
    profile, own = judged.profile, judged.profile.text == judged.manifest.profile_text
    save_verdicts(judged.run.path, judged.verdicts, profile.name, "" if own else profile.text)


def try_to_save(judged: Evidence, report: Callable[[Evidence], None] | None = None) -> str:
    """Write the verdicts of a judged run, then its report; the reason where that fails, "" where it succeeds."""
    try:
        _save(judged)
    except RunError as error:
        return f"{error}; the verdict is shown here and not saved"
    return _drawn(judged, report) if report else ""


def _drawn(judged: Evidence, report: Callable[[Evidence], None]) -> str:
    try:
        report(judged)
    except RunError as error:
        return f"{error}; the verdict is saved, its report is not: mend that, then: railgauge report {judged.run.path}"
    return ""
