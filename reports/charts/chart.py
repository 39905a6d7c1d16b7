"""The table of charts that a report draws. A chart is one decorated function; its words stand in the decorator:

@chart(
    "latency", "collectives", "Latency against message size", "both axes logarithmic",
    data=lambda f: f.curve, about=lambda f, curve: f"Latency of {curve['series'].nunique()} series.",
)
def latency(f: Frames, curve: pd.DataFrame) -> alt.Chart: ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair as alt
import pandas as pd

from bench.model.late_dataclass import dataclass
from bench.model.units import BITS
from reports.frames import Frames
from reports.theme import NEUTRAL, specification

WIDTH = 800
BUSBW = "bus bandwidth (GB/s; 1 GB/s = 8 Gb/s)"
RATE = ",.4~g"  # how a figure is written


@dataclass(frozen=True)
class Chart:
    """One row.

    name      of its files
    section   of the report in which it stands
    subtitle  what the marks mean
    data      the rows that it shows of a run; where there are none, nothing is drawn
    words     the alternative text: the main findings in a sentence or two
    marks     the drawing, but for its title
    """

    name: str
    section: str
    title: str
    subtitle: str | Callable[[Frames], str]
    data: Callable[[Frames], pd.DataFrame]
    words: Callable[[Frames, pd.DataFrame], str]
    marks: Callable[[Frames, pd.DataFrame], Any]

    def draw(self, f: Frames) -> Any | None:
        data = self.data(f)
        if data.empty:
            return None
        subtitle = self.subtitle if isinstance(self.subtitle, str) else self.subtitle(f)
        picture = self.marks(f, data)
        # ``properties`` would copy all layers, with all their rows
        picture.title = alt.TitleParams(self.title, subtitle=subtitle)
        return picture

    def about(self, f: Frames) -> str:
        """The alternative text of what ``draw`` draws."""
        return self.words(f, self.data(f))


CHARTS: list[Chart] = []  # in the order of the report


def chart(
    name: str,
    section: str,
    title: str,
    subtitle: str | Callable[[Frames], str],
    *,
    data: Callable[[Frames], pd.DataFrame],
    about: Callable[[Frames, pd.DataFrame], str],
) -> Callable[[Callable[[Frames, pd.DataFrame], Any]], Callable[[Frames, pd.DataFrame], Any]]:
    """Adds a function to CHARTS."""

    def add(marks: Callable[[Frames, pd.DataFrame], Any]) -> Callable[[Frames, pd.DataFrame], Any]:
        CHARTS.append(Chart(name, section, title, subtitle, data, about, marks))
        return marks

    return add


def draw_one_point() -> None:
    """Have altair load what it loads for the first data frame of a process: a quarter of what two charts take."""
    point = pd.DataFrame({"x": [0.0], "name": [""]})
    specification(alt.Chart(point).mark_point().encode(x="x", color="name"))


def rule(
    value: float, text: str, axis: str, width: float | None = 1.5, **label: Any
) -> tuple[alt.Chart, alt.Chart]:
    """A dashed line at ``value`` of an axis (x or y) and its text at the other's end."""
    # separate data: with the chart's data the line would be drawn once a row, fat and jagged
    one = alt.InlineData(values=[{"text": text}])
    size = {} if width is None else {"strokeWidth": width}
    line = alt.Chart(one).mark_rule(strokeDash=[6, 4], color=NEUTRAL, **size)
    words = alt.Chart(one).mark_text(baseline="bottom", fontWeight="bold", **label)
    if axis == "x":
        x = alt.X(datum=value, type="quantitative")
        return line.encode(x=x), words.encode(x=x, y=alt.YValue(0), text="text:N")
    y = alt.Y(datum=value, type="quantitative")
    return line.encode(y=y), words.encode(x=alt.XValue(0), y=y, text="text:N")


def in_both(rate: float) -> str:
    """A rate in GB/s as ``400 GB/s = 3,200 Gb/s``."""
    return f"{rate:,.4g} GB/s = {rate * BITS:,.5g} Gb/s"


def listed(parts: list[str], most: int = 8) -> str:
    more = len(parts) - most
    return "; ".join(parts[:most]) + (f"; and {more} more" if more > 0 else "")
