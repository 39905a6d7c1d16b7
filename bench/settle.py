"""From a run folder to its verdicts, its reports and the exit status."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .judge import judge, status
from .model import EXIT
from .options import Watcher
from .profile import Profile
from .store import Run, load, save_verdicts


def settle(folder: Path, profile: Profile, early: bool = False) -> Run:
    """Judge a run folder and write its verdicts; ``early``: by what needs no measurement."""
    run = judge(load(folder), profile, early)
    save_verdicts(folder, run.verdicts, profile.name)
    return run


def finish(
    folder: Path, profile: Profile, watcher: Watcher, report: Callable[[Run, Profile], None] | None
) -> int:
    """Judge a run folder, write verdicts and reports, tell the person; the exit status."""
    run = settle(folder, profile)
    if report:
        report(run, profile)
    watcher.finished(run)
    return EXIT[status(run)]
