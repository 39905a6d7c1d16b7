"""Turns a run folder into its verdicts, its reports and the exit status."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge, status
from bench.model.profile import Profile
from bench.model.verdict import EXIT, Status, overall
from bench.store import UNWRITTEN, RunError, load, save_verdicts, sync
from bench.store.sums import SUMS, record_sums

from .options import Watcher


def judge_and_save(folder: Path, profile: Profile, facts_only: bool = False) -> Evidence:
    """Judge a run folder and write its verdicts. ``facts_only``: run only the checks that need no measurement."""
    sync(folder)
    if not (folder / SUMS).exists():
        record_sums(folder)
    judged = judge(load(folder), profile, facts_only)
    _save(judged)
    return judged


def finish(
    folder: Path,
    profile: Profile,
    watcher: Watcher,
    report: Callable[[Evidence], None] | None,
    unwritten: str = "",
) -> int:
    """Judge a run folder, write verdicts and reports, show the result; the exit status.

    ``unwritten``: why the last part of the folder could not be written; no file holds that reason.
    A verdict that cannot be written is shown all the same, and is no PASS: nobody could look it up.
    """
    looking = gc.isenabled()
    gc.disable()  # looking for cycles among the rows of 64 nodes takes a third of the time, and there are none
    try:
        return _finish(folder, profile, watcher, report, unwritten)
    finally:
        if looking:
            gc.enable()


def _finish(
    folder: Path,
    profile: Profile,
    watcher: Watcher,
    report: Callable[[Evidence], None] | None,
    unwritten: str,
) -> int:
    try:
        sync(folder)  # before a verdict is said, its evidence is on the disk
        record_sums(folder)
    except RunError as error:
        unwritten = unwritten or str(error)
    run = load(folder)
    if unwritten:
        run = replace(run, ended=None, notes=(*run.notes, f"{UNWRITTEN}{unwritten}"))
    judged = judge(run, profile)
    unsaved = try_to_save(judged)
    watcher.finished(judged)  # before the drawing, which takes seconds
    if report and not unsaved:
        unsaved = _drawn(judged, report)
    if not unsaved:
        return EXIT[status(judged)]
    watcher.say(unsaved)
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
