"""``report.md``: the report in short, for places that show Markdown, with pictures beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from bench.judge.drift.tonight import COMPARED
from bench.model.printable import as_markdown as plain
from bench.model.profile import Profile
from bench.model.units import BITS, GIGA, show_count, show_share
from bench.model.verdict import Status, Verdict
from bench.store import Run

from .charts import CHARTS
from .environment import differences, facts, gather, holders, quoted
from .frames import Frames
from .layers import HEAD, TITLE, markdown_layers
from .summary import (
    MARKS,
    METHOD,
    WORDS,
    coverage,
    duration,
    headline,
    moment,
    ordered,
    read_target,
    unmeasured,
)

MOST = 50


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table; every cell is escaped."""
    lines = [" | ".join(plain(value) for value in row) for row in rows]
    return [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {line} |" for line in lines), ""]


def markdown(run: Run, profile: Profile, f: Frames, drawn: tuple[str, ...]) -> str:
    """The whole report. ``drawn``: names of the charts whose pictures lie in charts/."""
    status, words = headline(run)
    m = run.manifest
    lines = [
        f"# {MARKS[status]} {WORDS[status]}: {words}",
        "",
        f"{plain(profile.title)}. {show_count(len(m.ranks), 'rank')} on {show_count(len(m.nodes), 'node')}, "
        f"{plain(m.backend)}, {moment(m.started)}, {plain(duration(run))}, run {plain(m.id)}.",
        "",
        *(f"{plain(each.measured)}.\n" for each in run.verdicts if each.check == COMPARED),
        *_attention(run),
        *_coverage(run),
        *_readings(run, f, profile),
        *_layers(run, f, profile),
        *_best(f),
        *_charts(f, drawn),
        *_environment(run),
        "## How it was measured",
        "",
        f"Command: {plain(' '.join(m.command))}",
        "",
        *[f"{text}\n" for text in METHOD],
    ]
    return "\n".join(lines).rstrip() + "\n"


def _attention(run: Run) -> list[str]:
    bad = ordered(run.verdicts, Status.FAIL, Status.ERROR)
    if not bad:
        return []
    more = [f"and {len(bad) - MOST} more, in report.html", ""] if len(bad) > MOST else []
    return [
        "## What failed or could not be told",
        "",
        *table(("status", "subject", "measured", "wanted", "next step"), map(_five, bad[:MOST])),
        *more,
    ]


def _five(verdict: Verdict) -> tuple[str, ...]:
    wanted = f"{verdict.wanted} ({verdict.source})" if verdict.source else verdict.wanted
    return (
        f"{MARKS[verdict.status]} {WORDS[verdict.status]}",
        verdict.subject,
        verdict.measured,
        wanted,
        verdict.next_step,
    )


def _coverage(run: Run) -> list[str]:
    rows = [(row.what, f"{row.measured} of {row.planned}", row.missing) for row in coverage(run)]
    gone = unmeasured(run)
    lines = ["## Coverage", "", *table(("what", "measured", "missing"), rows)]
    if gone:
        lines += table(("became", "what", "why"), [(row.became, row.what, row.why) for row in gone[:MOST]])
    if len(gone) > MOST:
        lines += [f"and {len(gone) - MOST} more, in report.html", ""]
    return lines + [f"* note: {plain(note)}" for note in run.notes] + ([""] if run.notes else [])


def _readings(run: Run, f: Frames, profile: Profile) -> list[str]:
    found = read_target(run, f, profile)
    if found is None:
        return []
    rows = [
        (
            row.name,
            f"{row.rate * BITS / GIGA:,.5g}",
            f"{row.rate / GIGA:,.4g}",
            show_share(row.share),
            row.text,
        )
        if row.told
        else (row.name, "–", "–", "–", row.text)
        for row in found.readings
    ]
    title = (
        f"## Readings of the {plain(found.target.text)} target"
        if found.target
        else "## Readings of the target"
    )
    said = f"{MARKS[found.status]} {WORDS[found.status]}: {plain(found.text)}"
    return [title, "", said, "", *table(("reading", "Gb/s", "GB/s", "share", "from"), rows)]


def _layers(run: Run, f: Frames, profile: Profile) -> list[str]:
    found = markdown_layers(run, f, profile, MOST)
    if found is None:
        return []
    said, rows, why = found
    lines = [f"## {TITLE}", "", plain(said), "", *(table(HEAD, rows) if rows else [])]
    return lines + [f"* not known: {plain(text)}" for text in why] + ([""] if why else [])


def _best(f: Frames) -> list[str]:
    best = f.best.sort_values(["busbw", "series"], ascending=[False, True], kind="stable")
    rows = [
        (row["series"], f"{row['busbw']:,.4g}", f"{row['busbw'] * BITS:,.5g}", row["note"])
        if row["busbw"] > 0
        else (row["series"], "not measured", "not measured", "")
        for _, row in best.iterrows()
    ]
    return (
        ["## Best bus bandwidth", "", *table(("collective", "busbw GB/s", "Gb/s", "where"), rows)]
        if rows
        else []
    )


def _charts(f: Frames, drawn: tuple[str, ...]) -> list[str]:
    lines = []
    for chart in CHARTS:
        if chart.name in drawn:
            dark = f'<source media="(prefers-color-scheme: dark)" srcset="charts/{chart.name}.dark.svg">'
            text = _attribute(chart.about(f))
            lines += [
                f"### {chart.title}",
                "",
                f'<picture>{dark}<img alt="{text}" src="charts/{chart.name}.svg"></picture>',
                "",
            ]
    return lines


def _attribute(text: str) -> str:
    return escape(" ".join(text.split()), quote=True)


def _environment(run: Run) -> list[str]:
    versions = table(("what", "version"), sorted(run.manifest.versions.items()))
    known = facts(run.facts)
    variables = gather({f"rank {rank}": values for rank, values in run.manifest.environment.items()})
    lines = ["## Environment", "", *(versions if run.manifest.versions else [])]
    for who, rows, count in (
        ("nodes", known, len(run.facts)),
        ("ranks", variables, len(run.manifest.environment)),
    ):
        found = differences(rows)
        if found:
            shown = [
                (row.key, quoted(value), f"{len(names)} of {row.of}", holders(names, row.of))
                for row in found[:MOST]
                for value, names in row.values
            ]
            lines += [f"Differences between {who}:", "", *table(("what", "value", "on", who), shown)]
        else:
            lines += [
                f"Differences between {who}: "
                + ("none" if count > 1 else "cannot be told, fewer than two recorded"),
                "",
            ]
    return lines
