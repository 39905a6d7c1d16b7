"""Pieces that every part of the page is made of: badges, sections, folds, tables of verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.model.profile import Profile
from bench.model.verdict import Status, Verdict
from bench.store import Run

from .frames import Frames
from .markup import Child, Html, join, tag
from .summary import COUNTED, MARKS, WORDS
from .tables import Cell, table

MOST_EVIDENCE = (
    1000  # lines of one verdict that the page lists; of 64 nodes there are tens of thousands of pairs
)


@dataclass(frozen=True)
class Shown:
    """What every section of the page is drawn from.

    specs  name → Vega-Lite specification of each chart that the page carries; a section shows it by ``figure``
    """

    run: Run
    profile: Profile
    f: Frames
    specs: Mapping[str, dict[str, Any]]


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


def figure(name: str, about: str) -> Html:
    """The place of the chart ``name`` of ``Shown.specs``, which the page's script draws, and what it shows."""
    missing = tag("p", "The chart needs JavaScript; its figures are in the tables.", class_="soft")
    box = tag(
        "div", missing, class_="chart", id=f"chart-{name}", data_chart=name, role="img", aria_label=about
    )
    return tag("figure", box, tag("figcaption", fold("In words", tag("p", about))))


def check_name(name: str) -> list[Child]:
    """A check's name that breaks after its dots and nowhere else."""
    first, *others = name.split(".")
    return [first, *([".", tag("wbr"), part] for part in others)]


def verdict_table(verdicts: Sequence[Verdict]) -> Html:
    head = ("status", "subject", "measured", "wanted", "next step", "check")
    rows = []
    for verdict in verdicts:
        wanted = [verdict.wanted, tag("div", verdict.source, class_="soft") if verdict.source else None]
        listed = [tag("li", text) for text in verdict.evidence[:MOST_EVIDENCE]]
        more = len(verdict.evidence) - len(listed)
        evidence = tag("ul", listed, tag("li", f"and {more} more: see verdicts.json") if more else None)
        measured = [
            verdict.measured,
            fold(f"evidence ({len(verdict.evidence)})", evidence) if verdict.evidence else None,
        ]
        rows.append(
            (
                Cell(badge(verdict.status), list(COUNTED).index(verdict.status)),
                Cell(tag("strong", verdict.subject), verdict.subject),
                Cell(join(measured), verdict.measured),
                Cell(join(wanted), verdict.wanted),
                verdict.next_step,
                Cell(tag("code", check_name(verdict.check), class_="name"), verdict.check),
            )
        )
    return table(head, rows, "Verdicts", "stacked")
