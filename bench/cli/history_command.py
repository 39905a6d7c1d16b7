"""railgauge history: what was recorded, shown, checked, taken out, and accepted as a new level."""

from __future__ import annotations

import getpass
import io
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import click

from bench.judge.drift import Acceptance, Mark, NoRuptures, Series, changed, replay, steps
from bench.judge.drift.past import from_json
from bench.judge.drift.series import record
from bench.judge.drift.wording import date, show
from bench.model.verdict import EXIT, Status
from bench.run.nightly import name_of, parts_of
from bench.store import load as load_run
from bench.store import write_text
from bench.store.history import (
    Entry,
    HistoryError,
    Problem,
    accept,
    acceptances,
    append,
    check,
    create,
    export,
    lasting,
    nights,
    runs,
)

from .judging_command import own_profile

EMPTY = EXIT[Status.ERROR]
BROKEN = EXIT[Status.FAIL]


def listed(folder: str, cluster: str | None, since: str | None) -> int:
    """Print every run; the exit status."""
    entries, problems = runs(folder, cluster, day(since))
    before: dict[str, Entry] = {}
    for entry in entries:
        last = before.get(entry.cluster)
        moved = changed(last.fingerprint, entry.fingerprint) if last else ()
        note = f"   changed: {', '.join(moved)}" if moved else ""
        click.echo(f"{moment(entry.time)}  {entry.cluster}  {entry.run}  {entry.rows} series{note}")
        before[entry.cluster] = entry
    words = acceptances(folder, cluster)
    for word in words[0]:
        what = (
            " ".join(part for part in (word.collective, word.size_class, word.quantity) if part)
            or "all series"
        )
        since_ = f"accepted from {date(word.since)} on"
        click.echo(f"{moment(word.when)}  {word.cluster}  {what} {since_}, by {word.who}: {word.why}")
    name((*problems, *words[1]))
    return 0 if entries else nothing(folder)


def shown(
    folder: str,
    cluster: str | None,
    since: str | None,
    collective: str | None,
    size: str | None,
    quantity: str | None,
    nights: bool,
) -> int:
    """Print each series with its last label and its steps; the exit status."""
    found: list[tuple[Mark, ...]] = []
    for each in clusters(folder, cluster):
        for series, marks in story(folder, each, day(since)):
            if _wanted(series, collective, size, quantity) and marks:
                found.append(marks)
                _tell(series, marks, nights)
    return 0 if found else nothing(folder)


def story(folder: str, cluster: str, since: float) -> Iterable[tuple[Series, tuple[Mark, ...]]]:
    """Every whole-cluster series with its nights as they were judged."""
    past, problems = nights(folder, cluster, since)
    words, bad = acceptances(folder, cluster)
    name((*problems, *bad))
    for series in sorted(past):
        yield series, replay(series, past[series], words)


def _wanted(series: Series, collective: str | None, size: str | None, quantity: str | None) -> bool:
    pairs = ((collective, series.collective), (size, series.size_class), (quantity, series.quantity))
    return all(wanted in (None, has) for wanted, has in pairs)


def _tell(series: Series, marks: Sequence[Mark], every: bool) -> None:
    last = marks[-1]
    figure = show(series.quantity, last.night.level) if last.night.measured else "no figure"
    text = f"{series.name}: {last.label.value}, {figure} on {date(last.night.time)}, {len(marks)} nights"
    level = next((mark.level for mark in reversed(marks) if mark.level is not None), None)
    if level is not None:
        text += f", baseline {show(series.quantity, level)}"
        if last.night.measured:
            text += f" ({100 * (last.night.level / level - 1):+.1f} %)"
    click.echo(text)
    for mark in marks if every else ():
        value = show(series.quantity, mark.night.value) if mark.night.measured else mark.night.status.value
        again = f", again {show(series.quantity, mark.night.rerun)}" if mark.night.rerun is not None else ""
        click.echo(f"    {moment(mark.night.time)}  {value}{again}  {mark.label.value}  {mark.night.run}")
    for line in _steps(series, marks):
        click.echo(f"    {line}")


def _steps(series: Series, marks: Sequence[Mark]) -> Iterable[str]:
    try:
        found = steps([mark.night for mark in marks])
    except NoRuptures as error:
        yield str(error)
        return
    for step in found:
        cause = (
            f"likely cause: {', '.join(step.cause)}"
            if step.cause
            else "nothing changed in the fingerprint then"
        )
        levels = f"{show(series.quantity, step.before)} to {show(series.quantity, step.after)}"
        yield f"step of {100 * step.change:+.1f} % on {date(step.night.time)}, {levels}; {cause}"


def exported(folder: str, cluster: str | None, since: str | None, form: str, out: Path | None) -> int:
    """Write every row to a file, as a whole, or to standard output; the exit status."""
    if out is None:
        problems = export(folder, sys.stdout, form, cluster, day(since))
    else:
        text = io.StringIO()
        problems = export(folder, text, form, cluster, day(since))
        write_text(out, text.getvalue(), named=True)
    name(problems)
    return 0


def checked(folder: str) -> int:
    """Verify every file; 0 all are whole, 1 some are not, 3 there is none."""
    entries, problems = check(folder)
    words, bad = acceptances(folder)
    for problem in (*problems, *bad):
        click.echo(f"broken: {problem}")
    click.echo(
        f"{len(entries)} runs and {len(words)} accepted levels are whole, {len(problems) + len(bad)} files are not"
    )
    if problems or bad:
        return BROKEN
    return 0 if entries else nothing(folder)


def added(folder: str, runs: Sequence[Path], cluster: str) -> int:
    """Append run folders; the exit status: 1 when one of them could not be added."""
    lasting(folder)
    create(folder)
    refused = 0
    for path in runs:
        run, profile = load_run(path), own_profile(path)
        known = from_json(run.history) if run.history else None
        called = cluster or (known.cluster if known else name_of(run))
        parts = dict(known.parts) if known else parts_of(run, profile)
        try:
            click.echo(append(folder, record(run, profile, called, parts)))
        except HistoryError as error:
            refused += 1
            click.echo(f"railgauge: {path}: {error}", err=True)
    return BROKEN if refused else 0


def accepted(
    folder: str,
    why: str,
    who: str | None,
    cluster: str | None,
    since: str | None,
    collective: str,
    size: str,
    quantity: str,
) -> int:
    """Record an accepted level; the exit status."""
    called = _one(folder, cluster)
    _exists(folder, called, collective=collective, size=size, quantity=quantity)
    start = _start(folder, called, since)
    word = Acceptance(called, start, who or getpass.getuser(), time.time(), why, collective, size, quantity)
    path = accept(folder, word)
    what = " ".join(part for part in (collective, size, quantity) if part) or "all series"
    click.echo(f"{called}: {what} accepted from {moment(start)} on, by {word.who}: {why}")
    click.echo(path)
    return 0


def _one(folder: str, cluster: str | None) -> str:
    """The cluster that is meant, which must be in the history."""
    known = clusters(folder, None)
    if cluster is None and len(known) == 1:
        return known[0]
    if cluster is None or cluster not in known:
        said = "which cluster?" if cluster is None else f"no cluster {cluster!r} in {folder};"
        raise click.UsageError(f"{said} known: {', '.join(known) or 'none'}; give --cluster")
    return cluster


def clusters(folder: str, cluster: str | None) -> list[str]:
    """The names in the history, or the one that was asked for."""
    if cluster is not None:
        return [cluster]
    entries, problems = runs(folder)
    name(problems)
    return sorted({entry.cluster for entry in entries})


def _exists(folder: str, cluster: str, **wanted: str) -> None:
    """Nothing is accepted for a series that nobody measured: that is a slip of the finger."""
    fields = {"collective": "collective", "size": "size_class", "quantity": "quantity"}
    known = nights(folder, cluster)[0]
    for option, value in wanted.items():
        there = sorted({str(getattr(series, fields[option])) for series in known})
        if value and value not in there:
            raise click.UsageError(
                f"no series of {cluster} has --{option} {value!r}; known: {', '.join(there)}"
            )


def _start(folder: str, cluster: str, since: str | None) -> float:
    """The time of the first night of the new level."""
    entries, _ = runs(folder, cluster)
    if since is None:
        return entries[-1].time
    named = [entry.time for entry in entries if entry.run == since]
    return named[0] if named else day(since)


def day(text: str | None) -> float:
    """Seconds since 1970 of the start of a UTC day; 0 of None."""
    if text is None:
        return 0.0
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        raise click.UsageError(f"{text!r} is no day such as 2026-03-04, and no run of this history") from None


def moment(seconds: float) -> str:
    """``2026-03-04 02:00`` (UTC)."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M")


def name(problems: Iterable[Problem]) -> None:
    """Say which files were left out."""
    for problem in problems:
        click.echo(f"railgauge: left out: {problem}", err=True)


def nothing(folder: str) -> int:
    """Say that there is nothing to say, which is no success."""
    click.echo(f"railgauge: {folder}: no such runs; the first railgauge nightly makes one", err=True)
    return EMPTY
