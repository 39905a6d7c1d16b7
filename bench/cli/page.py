"""The report of a run folder and the profile that goes with it, for every command that shows or writes one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.model.profile import Profile, ProfileError, parse
from bench.store import MANIFEST, RunError, manifest_of

if TYPE_CHECKING:
    from bench.judge.evidence import Evidence
    from bench.store import Run
    from reports.renderer import Renderer


def write_report(judged: Evidence, seen: str = "", renderer: Renderer | None = None) -> None:
    """Write the report files of a judged run; pandas and altair are imported only now.

    ``seen``: the ``evidence_digest`` of its folder before it was read and judged; "" where the verdicts were only read.
    ``renderer``: what draws the pictures, where it was started before.
    """
    from reports import evidence, write

    write(judged, evidence(judged.run.path, seen) if seen else "", renderer)


def where_report(out: Path) -> None:
    page = out / "report.html"
    if page.exists():
        click.echo(f"report: {page}")


def refresher(folder: Path, seen: str) -> Callable[[Evidence], None]:
    """What draws the reports of a folder again, if it has some that would not come out the same.

    ``seen``: its ``reports.evidence`` before it was read.
    """
    from reports import refresh, seal_verdicts

    # a report must not say other than the verdicts beside it
    drawn = (folder / "report.html").exists()

    def draw(judged: Evidence) -> None:
        if drawn:
            refresh(judged, seen)
        else:
            seal_verdicts(judged, seen)

    return draw


def own_profile(folder: Path) -> Profile:
    """The profile as it was when the run was made. RunError where what the manifest holds of it is none."""
    try:
        return parse(manifest_of(folder).profile_text, "the run's own profile")
    except ProfileError as error:
        raise RunError(f"{folder} is damaged: {MANIFEST}: profile_text: {error}") from None


def last_profile(folder: Path) -> Profile:
    """The profile that the folder was judged by last."""
    from bench.store import judged_by

    text = judged_by(folder)
    return parse(text, "the profile of the last judgement") if text else own_profile(folder)


def warn_unclosed(run: Run) -> None:
    """Say in one line that a run which ended has lost its checksums."""
    from bench.run.finish import unclosed

    if why := unclosed(run):
        click.echo(f"railgauge: {why}", err=True)
