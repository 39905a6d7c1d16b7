"""Pieces that every part of the page is made of: badges, sections, folds, tables of verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from bench.model import Status, Verdict

from .markup import Child, Html, join, tag
from .summary import COUNTED, MARKS, WORDS
from .tables import Cell, table


def badge(status: Status) -> Html:
    """Mark and word; the colour repeats them."""
    return tag(
        "span",
        tag("span", MARKS[status], aria_hidden="true"),
        f" {WORDS[status]}",
        class_=f"badge {status.value}",
    )


def section(name: str, title: str, *children: Child) -> Html:
    return tag("section", tag("h2", title), children, id=name)


def fold(summary: Child, *children: Child, opened: bool = False) -> Html:
    return tag("details", tag("summary", summary), children, open=opened)


def verdict_table(verdicts: Sequence[Verdict]) -> Html:
    head = ("status", "subject", "measured", "wanted", "next step", "check")
    rows = []
    for verdict in verdicts:
        wanted = [verdict.wanted, tag("div", verdict.source, class_="soft") if verdict.source else None]
        evidence = tag("ul", [tag("li", text) for text in verdict.evidence]) if verdict.evidence else None
        measured = [
            verdict.measured,
            fold(f"evidence ({len(verdict.evidence)})", evidence) if evidence else None,
        ]
        rows.append(
            (
                Cell(badge(verdict.status), list(COUNTED).index(verdict.status)),
                Cell(tag("strong", verdict.subject), verdict.subject),
                Cell(join(measured), verdict.measured),
                Cell(join(wanted), verdict.wanted),
                verdict.next_step,
                Cell(tag("code", verdict.check), verdict.check),
            )
        )
    return table(head, rows, "Verdicts", "stacked")
