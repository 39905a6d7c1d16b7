"""HTML tables that sort: a cell may carry the value that it is sorted by, apart from what it shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.model.units import BITS, GIGA, show_share

from .markup import Child, Html, tag

ABSENT = "–"


@dataclass(frozen=True)
class Cell:
    """What is shown, and what it sorts by (its own text when None); ``number`` aligns it to the right."""

    shown: Child
    key: str | float | None = None
    number: bool = False


def number(value: float, digits: int = 4, unit: str = "") -> Cell:
    """A figure; NaN and infinity are a dash that sorts last."""
    if not math.isfinite(value):
        return Cell(ABSENT, "", True)
    text = f"{value:,.{digits}g}" if abs(value) < 10**digits else f"{value:,.0f}"
    return Cell(text + unit, value, True)


def rate_cell(rate: float, share: float) -> tuple[Cell, Cell, Cell]:
    """Gb/s, GB/s and share of bytes/s, side by side because people mix them up."""
    return (
        number(rate * BITS / GIGA, 5),
        number(rate / GIGA),
        Cell(show_share(share), share, True) if math.isfinite(share) else Cell(ABSENT, "", True),
    )


def table(head: Sequence[str], rows: Iterable[Sequence[Cell | Child]], caption: str, kind: str = "") -> Html:
    """A sortable table in a box that scrolls sideways.

    kind  "stacked": rows become cards on a narrow screen; "dense": cells do not wrap
    """
    lines = list(rows)
    right = [bool(lines) and all(_is_number(row[i]) for row in lines) for i in range(len(head))]
    heads = [
        tag(
            "th",
            tag("button", text, type="button") if text else "",
            scope="col",
            class_="number" if right[i] else None,
        )
        for i, text in enumerate(head)
    ]
    body = [tag("tr", [_cell(value, head[i]) for i, value in enumerate(row)]) for row in lines]
    inner = tag(
        "table", tag("caption", caption, class_="hidden"), tag("thead", tag("tr", heads)), tag("tbody", body),
        class_=kind or None,
    )  # fmt: skip
    return tag("div", inner, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _is_number(value: Cell | Child) -> bool:
    return isinstance(value, Cell) and value.number


def _cell(value: Cell | Child, head: str) -> Html:
    if not isinstance(value, Cell):
        return tag("td", value, data_head=head or None)
    return tag(
        "td", value.shown, class_="number" if value.number else None,
        data_key=None if value.key is None else str(value.key), data_head=head or None,
    )  # fmt: skip
