"""The upper half of the page: verdict, what failed, coverage, the readings of the target, the charts."""

from __future__ import annotations

from bench.judge.wire import TargetReading
from bench.model.verdict import Status

from .charts import CHARTS
from .markup import Html, tag
from .pieces import Shown, badge, figure, fold, section, verdict_table
from .summary import coverage as covered
from .summary import headline, ordered, read_target, unmeasured
from .tables import Cell, rate_cell, table

OPEN_VERDICTS = 25  # so many stand open; the others of that status are one click away


def verdict(shown: Shown) -> Html:
    """The overall status and the counts, first of all."""
    status, words = headline(shown.run)
    return tag(
        "section",
        tag("h2", "Verdict", class_="hidden"),
        tag("p", badge(status), tag("strong", f" {words}"), class_="verdict-line"),
        id="verdict",
        class_=f"verdict {status.value}",
    )


def attention(shown: Shown) -> Html | None:
    """What failed or could not be told: on what, by how much, by whom, what to do next."""
    bad = ordered(shown.run.verdicts, Status.FAIL, Status.ERROR)
    if not bad:
        return None
    first, rest = bad[:OPEN_VERDICTS], bad[OPEN_VERDICTS:]
    more = fold(f"{len(rest)} more", verdict_table(rest)) if rest else None
    return section("attention", "What failed or could not be told", verdict_table(first), more)


def coverage(shown: Shown) -> Html:
    """What was measured, out of how much; what was not, by name and reason."""
    run = shown.run
    rows = [
        (
            row.what,
            f"{row.measured} of {row.planned}",
            Cell(
                "✔ all"
                if row.measured == row.planned and row.planned
                else f"✘ {row.planned - row.measured} not measured"
                if row.planned
                else "? nothing planned"
            ),
            row.missing,
        )
        for row in covered(run)
    ]
    gone = unmeasured(run)
    names = [(row.became, Cell(tag("code", row.what), row.what), row.why) for row in gone]
    counts = {
        word: sum(row.became == word for row in gone)
        for word in ("refused", "lost", "not reached", "left out")
    }
    text = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    notes = (
        [tag("p", "Notes of the run:"), tag("ul", [tag("li", note) for note in run.notes])]
        if run.notes
        else None
    )
    return section(
        "coverage",
        "Coverage",
        tag("p", "What was not measured is not known to be healthy.", class_="soft"),
        table(("what", "measured", "result", "missing"), rows, "Coverage"),
        fold(
            f"Not measured: {text}",
            table(("became", "what", "why"), names, "Not measured"),
            opened=bool(counts["lost"] or counts["refused"]),
        )
        if gone
        else None,
        notes,
    )


def target(shown: Shown) -> Html | None:
    """Independent readings of what the rails of a node carried, side by side, and what they say together."""
    found = read_target(shown.run, shown.f, shown.profile)
    if found is None:
        return None
    rows = [(row.name, *rate_cell(row.rate, row.share), _from(row)) for row in found.readings]
    title = f"Readings of the {found.target.text} target" if found.target else "Readings of the target"
    about = "Bytes that crossed the rails of one node, each way, taken in independent ways that must agree."
    source = f" Target: {found.target.text} ({found.target.source})." if found.target else ""
    return section(
        "target",
        title,
        tag("p", badge(found.status), f" {found.text}"),
        tag("p", about + source, class_="soft"),
        table(("reading", "Gb/s", "GB/s", "share of target", "from"), rows, "Readings of the target"),
        tag("p", f"next: {found.next_step}") if found.next_step else None,
    )


def _from(row: TargetReading) -> Cell:
    evidence = tag("ul", [tag("li", text) for text in row.evidence])
    return Cell(
        [row.text, fold(f"evidence ({len(row.evidence)})", evidence) if row.evidence else None], row.text
    )


def charts(shown: Shown, title: str, name: str) -> Html | None:
    """The charts that belong to a section of CHARTS; None where none was drawn."""
    figures = [
        figure(chart.name, chart.about(shown.f))
        for chart in CHARTS
        if chart.section == name and chart.name in shown.specs
    ]
    return section(name, title, figures) if figures else None
