"""The commands of history: the recorded nights, and the levels that a person accepted."""

from __future__ import annotations

import gc
import io
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.model.errors import EXIT_INCONCLUSIVE

from .forked_map import forked_map
from .json_output import JSON, print_json
from .option_types import PATH, option, out_file

if TYPE_CHECKING:
    from bench.judge.drift import Mark
    from bench.store.history import Entry, LeftOutFile
    from bench.store.history.nights import Acceptance, NightValue, Series

BROKEN = 1
MANY = 3000  # files: more than a second to list
EXIT_HELP = (
    "Exit status: 0 done, 1 some files are damaged, 2 wrong usage, 3 the history is unreadable or empty."
)
where = click.argument("folder", metavar="DIR")
in_cluster = option("--cluster NAME", "Only this cluster  [default: all of them]")
from_day = option("--since DATE", "Only runs of this UTC day and later, e.g. 2026-03-04")


@click.group(epilog=EXIT_HELP)
def history() -> None:
    """Show and maintain what railgauge nightly recorded.

    DIR is a folder, also on NFS, or the URL of a bucket. Damaged and foreign files are listed and left out.
    """
    from bench.store.history.arrow_bucket import never_forks

    gc.disable()  # a process of seconds; looking for cycles among 26 000 nights takes a tenth of them
    never_forks()


@history.command("list", epilog=EXIT_HELP)
@where
@in_cluster
@from_day
@JSON
def list_(folder: str, cluster: str | None, since: str | None, as_json: bool) -> int:
    """List the runs, oldest first, with what changed in the fingerprint."""
    from bench.store.history import acceptances, runs

    entries, problems = runs(folder, cluster, day(since))
    moved = _changes(entries)
    levels, damaged = acceptances(folder, cluster)
    if as_json:
        from .answers import history_list_answer

        print_json(history_list_answer(entries, moved, levels, (*problems, *damaged)))
    else:
        _print_list(entries, moved, levels)
    left_out((*problems, *damaged))
    if (files := len({entry.path for entry in entries if "/month=" not in entry.path})) > MANY:
        click.echo(
            f"railgauge: {files} runs lie in files of their own; railgauge history compact DIR makes lists quicker",
            err=True,
        )
    return 0 if entries else nothing(folder)


def _changes(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """What differs in the fingerprint of each from that of its cluster's run before."""
    from bench.store.history.nights import changed

    before: dict[str, Entry] = {}
    found = []
    for entry in entries:
        last = before.get(entry.cluster, entry)
        found.append(changed(last.fingerprint, entry.fingerprint))
        before[entry.cluster] = entry
    return found


def _print_list(
    entries: Sequence[Entry], changes: Sequence[tuple[str, ...]], levels: Sequence[Acceptance]
) -> None:
    from bench.judge.drift.wording import date

    lines = []
    for entry, moved in zip(entries, changes, strict=True):
        note = f"   changed: {', '.join(moved)}" if moved else ""
        lines.append(f"{moment(entry.time)}  {entry.cluster}  {entry.run}  {entry.rows} series{note}\n")
    click.echo("".join(lines), nl=False)  # at once: each call flushes
    for level in levels:
        click.echo(
            f"{moment(level.when)}  {level.cluster}  {level.what} accepted from {date(level.since)} on, by "
            f"{level.who}: {level.why}"
        )


@history.command(epilog=EXIT_HELP)
@where
@in_cluster
@from_day
@option("--collective NAME", 'Only this collective, e.g. all_reduce or "all_reduce (ring)"')
@option("--size SIZE", 'Only this size class as it is shown, e.g. "4 MiB"')
@option("--quantity NAME", "Only busbw or only latency")
@option("--nights", "Print every night of each series, not only the last", bool)
def show(
    folder: str,
    cluster: str | None,
    since: str | None,
    collective: str | None,
    size: str | None,
    quantity: str | None,
    nights: bool,
) -> int:
    """Print each series: nights, baseline, last night, label; its steps and their likely causes."""
    from bench.store import history as store

    # a bucket may be read by Arrow, and a fork of a process that does so crashes or hangs
    each_series: Callable[..., Iterable[str]] = map if "://" in folder else partial(forked_map, str)
    printed = False
    wanted = {"collective": collective, "size_class": size, "quantity": quantity}
    only = {name: text for name, text in wanted.items() if text is not None}
    for each in clusters(folder, cluster):
        past, problems = store.nights(folder, each, day(since), only=only)
        levels, damaged = store.acceptances(folder, each)
        left_out((*problems, *damaged))
        tell = partial(_told, levels=levels, every=nights)
        for text in each_series(tell, [(series, past[series]) for series in sorted(past)]):
            printed = True
            click.echo(text)  # at once: each call flushes
    return 0 if printed else nothing(folder)


def _told(found: tuple[Series, Sequence[NightValue]], levels: Sequence[Acceptance], every: bool) -> str:
    """The text that shows one series: a line for its state, one for each night if ``every``, and one for each step."""
    from bench.judge.drift.replay import last_mark, replay
    from bench.judge.drift.wording import date, show

    series, nights = found
    marks: Sequence[Mark] = () if every else (last_mark(series, nights, levels),)
    if every or marks[-1].level is None:
        marks = replay(series, nights, levels)
    last = marks[-1]
    figure = show(series.quantity, last.night.level) if last.night.measured else "no figure"
    text = f"{series.name}: {last.label.value}, {figure} on {date(last.night.time)}, {len(nights)} nights"
    level = next((mark.level for mark in reversed(marks) if mark.level is not None), None)
    if level is not None:
        text += f", baseline {show(series.quantity, level)}"
        if last.night.measured:
            text += f" ({100 * (last.night.level / level - 1):+.1f} %)"
    lines = [text]
    for mark in marks if every else ():
        value = show(series.quantity, mark.night.value) if mark.night.measured else mark.night.status.value
        again = f", again {show(series.quantity, mark.night.rerun)}" if mark.night.rerun is not None else ""
        lines.append(f"    {moment(mark.night.time)}  {value}{again}  {mark.label.value}  {mark.night.run}")
    lines += [f"    {line}" for line in _steps(series, nights)]
    return "\n".join(lines)


def _steps(series: Series, nights: Sequence[NightValue]) -> Iterable[str]:
    from bench.judge.drift import NoRuptures, steps
    from bench.judge.drift.wording import date, show

    try:
        found = steps(nights)
    except NoRuptures as error:
        yield str(error)
        return
    for step in found:
        cause = (
            f"likely cause: {', '.join(step.cause)}" if step.cause else "no change in the fingerprint then"
        )
        levels = f"{show(series.quantity, step.before)} to {show(series.quantity, step.after)}"
        yield f"step of {100 * step.change:+.1f} % on {date(step.night.time)}, {levels}; {cause}"


@history.command(epilog=EXIT_HELP)
@where
@in_cluster
@from_day
@option("--format form", "", click.Choice(["csv", "jsonl"]), default="csv")
@out_file
def export(folder: str, cluster: str | None, since: str | None, form: str, out: Path | None) -> None:
    """Write every row, in base units: bytes per second and seconds."""
    from bench.store import write_text
    from bench.store.history import export

    text = io.StringIO()
    problems = export(folder, text if out else sys.stdout, form, cluster, day(since))
    if out:
        write_text(out, text.getvalue())
    left_out(problems)


@history.command(epilog=EXIT_HELP)
@where
def check(folder: str) -> int:
    """Read every file to its last byte and compare it with its checksum."""
    from bench.store.history import acceptances, check

    entries, problems = check(folder)
    levels, damaged = acceptances(folder)
    for problem in (*problems, *damaged):
        click.echo(f"broken: {problem}")
    count = len(problems) + len(damaged)
    click.echo(f"{len(entries)} runs and {len(levels)} accepted levels are whole, {count} files are not")
    if count:
        return BROKEN
    return 0 if entries else nothing(folder)


@history.command(epilog=EXIT_HELP)
@where
@in_cluster
def compact(folder: str, cluster: str | None) -> int:
    """Put the runs of each month that is over into one file. Nightly runs and readers may go on meanwhile.

    Lists of long histories take a tenth of the time then. What is interrupted loses nothing: call it again.
    """
    from bench.store.history import LeftOutFile, compact

    runs, problems = 0, list[LeftOutFile]()
    for done in compact(folder, cluster):
        if isinstance(done, LeftOutFile):
            problems.append(done)
            continue
        runs += done.runs
        click.echo(f"{done.where}: {done.runs} runs")
    left_out(problems)
    click.echo(
        f"{runs} runs were put together"
        if runs
        else "no month that is over has two runs in files of their own"
    )
    return BROKEN if problems else 0


@history.command(epilog=EXIT_HELP)
@where
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=PATH)
@option("--cluster NAME", "Record under this name  [default: the run's own]", default="")
def add(folder: str, runs: Sequence[Path], cluster: str) -> int:
    """Add run folders: a night that could not be recorded, or runs from before there was a history."""
    from bench.judge.drift import fingerprint
    from bench.judge.drift.past import past_of
    from bench.judge.drift.series import recorded_run
    from bench.judge.evidence import Evidence
    from bench.run.nightly import name_of, parts_of
    from bench.store import RunError, held, load, save_history
    from bench.store.history import HistoryError, append, create, lasting

    from .page import own_profile

    lasting(folder)
    create(folder)
    refused = 0
    for path in runs:
        evidence = Evidence(load(path), own_profile(path))
        known = past_of(evidence.run)
        called = cluster or (known.cluster if known else name_of(evidence.run))
        parts = known.parts if known else fingerprint(parts_of(evidence.run, evidence.profile))
        try:
            recorded = append(folder, recorded_run(evidence, called, parts))
            click.echo(recorded)
            if known:  # else the night would be judged "not recorded" for ever
                with held(path):
                    save_history(path, replace(known, recorded=recorded, trouble="").saved())
        except (HistoryError, RunError) as error:
            refused += 1
            click.echo(f"railgauge: {path}: {error}", err=True)
    return BROKEN if refused else 0


@history.command(epilog=EXIT_HELP)
@where
@option("--why TEXT", "What changed, for those who ask next year", required=True)
@option("--who NAME", "Who accepts it  [default: your login name]")
@option("--cluster NAME", "Name of the cluster  [default: the only one]")
@option("--since RUN|DATE", "First night of the new level: a run or a UTC day  [default: the last run]")
@option("--collective NAME", "Only this collective  [default: all]", default="")
@option("--size SIZE", 'Only this size class, e.g. "4 MiB"  [default: all]', default="")
@option("--quantity NAME", "Only busbw or only latency  [default: both]", default="")
def accept(
    folder: str,
    why: str,
    who: str | None,
    cluster: str | None,
    since: str | None,
    collective: str,
    size: str,
    quantity: str,
) -> None:
    """Accept a level as intended: earlier nights no longer count. Kept for good, with who, when and why.

    \b
        railgauge history accept /nfs/railgauge --collective all_reduce --why "NCCL 2.24 chooses NVLSTree"
    """
    import getpass

    from bench.store.history import accept
    from bench.store.history.nights import Acceptance

    called = _one(folder, cluster)
    _exists(folder, called, collective=collective, size=size, quantity=quantity)
    start = _start(folder, called, since)
    try:
        who = who or getpass.getuser()
    except (KeyError, OSError):
        raise click.UsageError("this user has no name on this machine: give --who") from None
    level = Acceptance(called, start, who, time.time(), why, collective, size, quantity)
    path = accept(folder, level)
    click.echo(f"{called}: {level.what} accepted from {moment(start)} on, by {level.who}: {why}")
    click.echo(path)


def _one(folder: str, cluster: str | None) -> str:
    """The cluster that is meant, which must be in the history."""
    known = clusters(folder, None)
    if cluster is None and len(known) == 1:
        return known[0]
    if cluster is None or cluster not in known:
        wrong = "which cluster?" if cluster is None else f"no cluster {cluster!r} in {folder};"
        raise click.UsageError(f"{wrong} known: {', '.join(known) or 'none'}; give --cluster")
    return cluster


def clusters(folder: str, cluster: str | None) -> list[str]:
    """The names in the history, or the one that was asked for."""
    from bench.store.history import runs

    if cluster is not None:
        return [cluster]
    entries, problems = runs(folder)
    left_out(problems)
    return sorted({entry.cluster for entry in entries})


def _exists(folder: str, cluster: str, **wanted: str) -> None:
    """Raise UsageError where no series was measured under that name: it is a slip of the finger."""
    from bench.store.history import nights

    fields = {"collective": "collective", "size": "size_class", "quantity": "quantity"}
    known = nights(folder, cluster)[0]
    for name, value in wanted.items():
        there = sorted({str(getattr(series, fields[name])) for series in known})
        if value and value not in there:
            raise click.UsageError(
                f"no series of {cluster} has --{name} {value!r}; known: {', '.join(there)}"
            )


def _start(folder: str, cluster: str, since: str | None) -> float:
    """The time of the first night of the new level."""
    from bench.store.history import runs

    entries, _ = runs(folder, cluster)
    if since is None:
        return entries[-1].time
    named = [entry.time for entry in entries if entry.run == since]
    if len(named) > 1:
        raise click.UsageError(
            f"{len(named)} nights are called {since!r}: give the day of the first, e.g. 2026-03-04"
        )
    return named[0] if named else day(since, "or the name of a run of this history")


def day(text: str | None, otherwise: str = "") -> float:
    """Seconds since 1970 of the start of a UTC day; 0 of None. ``otherwise``: what the text could be instead."""
    if text is None:
        return 0.0
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        raise click.UsageError(f"{text!r} is no day; write e.g. 2026-03-04 {otherwise}".rstrip()) from None


def moment(seconds: float) -> str:
    """``2026-03-04 02:00`` (UTC)."""
    return _minute(int(seconds // 60))


@lru_cache(4096)  # nights of many clusters begin in the same minutes
def _minute(number: int) -> str:
    return datetime.fromtimestamp(60 * number, timezone.utc).strftime("%Y-%m-%d %H:%M")


def left_out(problems: Iterable[LeftOutFile]) -> None:
    """Report which files were left out."""
    for problem in problems:
        click.echo(f"railgauge: left out: {problem}", err=True)


def nothing(folder: str) -> int:
    """Report that there is no such run, which is no success."""
    doubt = ", if there is such a bucket" if "://" in folder else ""
    click.echo(f"railgauge: {folder}: no such runs; railgauge nightly records the first one{doubt}", err=True)
    return EXIT_INCONCLUSIVE
