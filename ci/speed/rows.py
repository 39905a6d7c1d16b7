"""What ci/speed found: rows of one figure each, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

REACHED, MISSED, UNSURE, TOLD = "reached", "missed", "inconclusive", "told"


@dataclass(frozen=True)
class Figure:
    """``goal``: as text; "" where a figure is told and judged by nobody. ``low``, ``high``: 95 % interval."""

    part: str
    what: str
    value: float
    unit: str = ""
    goal: str = ""
    verdict: str = TOLD
    low: float | None = None
    high: float | None = None
    note: str = ""


def at_least(part: str, what: str, value: float, goal: float, **more: Any) -> Figure:
    """A ratio that should not be below ``goal``; an interval that spans it leaves it open."""
    return _judged(part, what, value, goal, value >= goal, more, f"≥ {goal:g}")


def at_most(part: str, what: str, value: float, goal: float, **more: Any) -> Figure:
    return _judged(part, what, value, goal, value <= goal, more, f"≤ {goal:g}")


def _judged(
    part: str, what: str, value: float, goal: float, ok: bool, more: dict[str, Any], text: str
) -> Figure:
    low, high = more.get("low"), more.get("high")
    open_ = low is not None and high is not None and low < goal < high
    verdict = REACHED if ok else UNSURE if open_ else MISSED
    return Figure(part, what, value, goal=text, verdict=verdict, **more)


def table(figures: Iterable[Figure]) -> str:
    lines = [f"{'part':<10} {'what':<52} {'value':>10} {'interval':>18} {'goal':>8}  verdict"]
    for each in figures:
        span = "" if each.low is None or each.high is None else f"[{each.low:.3g}, {each.high:.3g}]"
        value = f"{each.value:.3g} {each.unit}".strip()
        note = f"  {each.note}" if each.note else ""
        lines.append(
            f"{each.part:<10} {each.what:<52} {value:>10} {span:>18} {each.goal:>8}  {each.verdict}{note}"
        )
    return "\n".join(lines)


def as_json(figures: Iterable[Figure]) -> list[dict[str, Any]]:
    return [asdict(each) for each in figures]
