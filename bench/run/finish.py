"""From a run folder to its verdicts, its reports and the exit status."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.judge.verdicts import judge, status
from bench.model.profile import Profile
from bench.model.verdict import EXIT, Status, overall
from bench.store import UNWRITTEN, Run, RunError, load, save_verdicts, sync

from .options import Watcher


def settle(folder: Path, profile: Profile, facts_only: bool = False) -> Run:
    """Judge a run folder and write its verdicts; ``facts_only``: by what needs no measurement."""
    sync(folder)
    run = judge(load(folder), profile, facts_only)
    _save(run, profile)
    return run


def finish(
    folder: Path,
    profile: Profile,
    watcher: Watcher,
    report: Callable[[Run, Profile], None] | None,
    unwritten: str = "",
) -> int:
    """Judge a run folder, write verdicts and reports, tell the person; the exit status.

    ``unwritten``: why the folder could not be written to its end, which stands in no file then.

    A verdict that cannot be written is told all the same, and it is no pass: nobody could look it up.
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
    report: Callable[[Run, Profile], None] | None,
    unwritten: str,
) -> int:
    try:
        sync(folder)  # before a verdict is said, its evidence is on the disk
    except RunError as error:
        unwritten = unwritten or str(error)
    run = load(folder)
    if unwritten:
        run = replace(run, ended=None, notes=(*run.notes, f"{UNWRITTEN}{unwritten}"))
    run = judge(run, profile)
    unsaved = keep(run, profile)
    watcher.finished(run)  # before the drawing, which takes seconds
    if report and not unsaved:
        unsaved = _drawn(run, profile, report)
    if not unsaved:
        return EXIT[status(run)]
    watcher.notice("said", {"text": unsaved})
    return EXIT[overall((status(run), Status.INCONCLUSIVE))]


def _save(run: Run, profile: Profile) -> None:
    own = profile.text == run.manifest.profile_text
    save_verdicts(run.path, run.verdicts, profile.name, "" if own else profile.text)


def keep(run: Run, profile: Profile, report: Callable[[Run, Profile], None] | None = None) -> str:
    """Write the verdicts of a judged run, and its report; why that cannot be done, "" when it is done."""
    try:
        _save(run, profile)
    except RunError as error:
        return f"{error}; the verdict is told here and not saved"
    return _drawn(run, profile, report) if report else ""


def _drawn(run: Run, profile: Profile, report: Callable[[Run, Profile], None]) -> str:
    try:
        report(run, profile)
    except RunError as error:
        return (
            f"{error}; the verdict is saved, its report is not: mend that, then: railgauge report {run.path}"
        )
    return ""
