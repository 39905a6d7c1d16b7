"""Tables as data, for the page and for Markdown alike: what each cell says, and how it is shown and sorted."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from bench.model.late_dataclass import dataclass
from bench.model.printable import as_markdown
from bench.model.units import BITS, GIGA, show_share, show_size
from bench.model.verdict import COUNTED, Status, Verdict

from .summary import MARKS

ABSENT = "–"
# lines of one verdict's evidence that the page lists; of 64 nodes there are tens of thousands of pairs
MOST_EVIDENCE = 1000
MOST_ROWS = 50  # of a table in Markdown


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    key       what it sorts by; None: its text
    number    aligned to the right
    kind      "", "code", "strong", "bad" or "check" (a name that breaks after its dots)
    status    its badge stands before the text
    soft      a second, paler line
    evidence  lines that are one click away
    title     shown when the pointer is over the text
    """

    text: str = ""
    key: str | float | None = None
    number: bool = False
    kind: str = ""
    status: Status | None = None
    soft: str = ""
    evidence: Sequence[str] = ()
    title: str = ""


@dataclass(frozen=True)
class ReportTable:
    """Rows of as many cells as ``head``; kind "stacked": rows are cards on a narrow screen, "dense": no wrapping."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    kind: str = ""

    @property
    def numeric(self) -> list[bool]:
        """For each column, whether all its cells are numbers."""
        columns = list(zip(*self.rows, strict=True)) or [() for _ in self.head]
        return [
            bool(column) and all(isinstance(cell, Cell) and cell.number for cell in column)
            for column in columns
        ]


def number(value: float, digits: int = 4, unit: str = "") -> Cell:
    """A figure; NaN and infinity are a dash that sorts last."""
    if not math.isfinite(value):
        return Cell(ABSENT, "", True)
    text = f"{value:,.{digits}g}" if abs(value) < 10**digits else f"{value:,.0f}"
    return Cell(text + unit, value, True)


def rates(rate: float, share: float) -> tuple[Cell, Cell, Cell]:
    """Bytes per second as Gb/s and GB/s, side by side because people mix them up, and their share of the target."""
    text = Cell(show_share(share), share, True) if math.isfinite(share) else Cell(ABSENT, "", True)
    return number(rate * BITS / GIGA, 5), number(rate / GIGA), text


def size(count: int | None) -> Cell:
    """Bytes."""
    return Cell("unknown", "", True) if count is None else Cell(show_size(count), count, True)


def code(text: str) -> Cell:
    return Cell(text, kind="code")


def strong(text: str) -> Cell:
    return Cell(text, text, kind="strong")


def badge(status: Status) -> Cell:
    """Sorts by weight: what failed first."""
    return Cell(key=list(COUNTED).index(status), status=status)


def verdict_table(verdicts: Sequence[Verdict]) -> ReportTable:
    head = ("status", "subject", "measured", "wanted", "next step", "check")
    rows = [
        (
            badge(each.status),
            strong(each.subject),
            Cell(each.measured, each.measured, evidence=each.evidence),
            Cell(each.wanted, each.wanted, soft=each.source),
            each.next_step,
            Cell(each.check, each.check, kind="check"),
        )
        for each in verdicts
    ]
    return ReportTable("Verdicts", head, rows, "stacked")


def markdown_table(table: ReportTable, most: int = MOST_ROWS) -> Markup:
    """Its first rows, every cell escaped, and how many more there are."""
    lines = [
        "| " + " | ".join(as_markdown(as_text(cell)) for cell in row) + " |" for row in table.rows[:most]
    ]
    more = len(table.rows) - most
    rest = [f"\nand {more} more, in report.html"] if more > 0 else []
    head = [f"| {' | '.join(table.head)} |", f"|{' --- |' * len(table.head)}"]
    return Markup("\n".join([*head, *lines, *rest]))


def as_text(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return cell
    judged = f"{MARKS[cell.status]} {cell.status.shown}" if cell.status else ""
    soft = f"({cell.soft})" if cell.soft else ""
    return " ".join(part for part in (judged, cell.text, soft) if part)
