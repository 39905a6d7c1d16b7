"""Commands that read run folders: judge, report, compare."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import click

from bench.cli.terminal import summarise
from bench.judge.verdicts import judge, status
from bench.model.profile import Profile, ProfileError, load, parse
from bench.model.verdict import EXIT
from bench.run.finish import keep, settle
from bench.store import MANIFEST, Run, RunError, judged_by, manifest_of
from bench.store import load as load_run

from .page import where_report


def judge_again(folder: Path, profile_name: str | None, verbose: bool) -> int:
    """Judge a run folder by its own profile or another; print the verdicts, and write them where that is possible."""
    gc.disable()  # a process of seconds; looking for cycles among the rows of 64 nodes takes a third of them
    profile = load(profile_name) if profile_name else own_profile(folder)
    # a report must not say other than the verdicts beside it
    refresh = refresher(folder) if (folder / "report.html").exists() else None
    judged = judge(load_run(folder), profile)
    unsaved = keep(judged, profile, refresh)
    summarise(judged, verbose, short=True, profile_name=profile.name)
    if unsaved:
        click.echo(f"railgauge: {unsaved}", err=True)
    return EXIT[status(judged)]


def report_again(folder: Path) -> int:
    """Judge a run folder by the profile it was judged by last, and write its report again."""
    gc.disable()  # as above
    from reports import evidence, write

    text = judged_by(folder)
    profile = parse(text, "the profile of the last judgement") if text else own_profile(folder)
    seen = evidence(folder)
    run = settle(folder, profile)
    write(run, profile, seen)
    if text:
        click.echo(
            f"judged by {profile.name}, as last; railgauge judge {folder} judges by the run's own profile"
        )
    where_report(folder)
    return EXIT[status(run)]


def compared(folders: Sequence[Path], anyway: bool) -> int:
    """Print two runs side by side, or several launches of each with ``vs`` between; the exit status."""
    from bench.exchange.compare import UnlikeRuns
    from bench.exchange.compare_runs import compare_runs

    a, b = _sides(folders)
    for one, other in combinations((*a, *b), 2):
        if one.exists() and other.exists() and one.samefile(other):
            raise click.UsageError(f"{one} and {other} are one and the same run, which is as fast as itself")
    runs_a, runs_b = [load_run(path) for path in a], [load_run(path) for path in b]
    for first, second in combinations((*runs_a, *runs_b), 2):
        if (first.manifest.id, first.manifest.started) == (second.manifest.id, second.manifest.started):
            raise click.UsageError(
                f"{first.path} and {second.path} are copies of one run, which is as fast as itself"
            )
    try:
        answer = compare_runs(runs_a, runs_b, anyway)
    except (UnlikeRuns, ValueError) as error:
        raise click.UsageError(str(error)) from None
    click.echo(answer.text)
    return EXIT[answer.status]


def _sides(folders: Sequence[Path]) -> tuple[Sequence[Path], Sequence[Path]]:
    words = [str(folder) for folder in folders]
    if "vs" not in words and len(words) == 2:
        return folders[:1], folders[1:]
    at = words.index("vs") if words.count("vs") == 1 else 0
    if at == 0 or at == len(words) - 1:
        raise click.UsageError("give A B, or several launches of each: A1 A2 A3 vs B1 B2 B3")
    return folders[:at], folders[at + 1 :]


def refresher(folder: Path) -> Callable[[Run, Profile], None]:
    """What draws the reports of a folder that is about to be read, unless they would come out the same."""
    from reports import evidence, refresh

    seen = evidence(folder)

    def draw(run: Run, profile: Profile) -> None:
        refresh(run, profile, seen)

    return draw


def own_profile(folder: Path) -> Profile:
    """The profile as it was when the run was made. RunError where what the manifest holds of it is none."""
    try:
        return parse(manifest_of(folder).profile_text, "the run's own profile")
    except ProfileError as error:
        raise RunError(f"{folder} is damaged: {MANIFEST}: profile_text: {error}") from None
