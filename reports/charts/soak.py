"""A soak over time: what it carried, and what our own processes took."""

from __future__ import annotations

import altair as alt
import pandas as pd

from reports.theme import BLUE, NEUTRAL, RED

WIDTH, HEIGHT = 800, 280
_TIME = "seconds since the begin"


def soak_bandwidth(windows: pd.DataFrame, events: pd.DataFrame, title: str, subtitle: str) -> alt.LayerChart:
    """A line for each group and a pale band down to the window's slowest block; a rule for what happened."""
    x = alt.X("seconds:Q", title=_TIME)
    y = alt.Y("busbw:Q", title="bus bandwidth (GB/s; 1 GB/s = 8 Gb/s)", scale=alt.Scale(zero=True))
    several = windows["series"].nunique() > 1
    colour = (
        alt.Color("series:N", legend=alt.Legend(title=None, orient="top"))
        if several
        else alt.ColorValue(BLUE)
    )
    base = alt.Chart(windows)
    band = base.mark_area(opacity=0.16, tooltip=False).encode(x=x, y=y, y2="slowest:Q", color=colour)
    line = base.mark_line(strokeWidth=1.5).encode(x=x, y=y, color=colour)
    points = base.mark_point(filled=True, size=30, opacity=1).encode(
        x=x, y=y, color=colour,
        tooltip=[alt.Tooltip("series:N"), alt.Tooltip("seconds:Q", format=",.1f"),
                 alt.Tooltip("busbw:Q", title="GB/s", format=",.4~g"),
                 alt.Tooltip("slowest:Q", title="slowest block (GB/s)", format=",.4~g"),
                 alt.Tooltip("wrong:Q")],
    )  # fmt: skip
    layers = [band, line, points, *_rules(events)]
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    return chart.properties(title=alt.TitleParams(title, subtitle=subtitle))


def soak_memory(memory: pd.DataFrame, title: str, subtitle: str) -> alt.Chart:
    """Resident memory of the largest worker and the largest supervisor."""
    colours = alt.Scale(domain=["worker", "supervisor"], range=[BLUE, NEUTRAL])
    chart = alt.Chart(memory).mark_line(strokeWidth=2).encode(
        x=alt.X("seconds:Q", title=_TIME),
        y=alt.Y("mib:Q", title="resident memory (MiB)", scale=alt.Scale(zero=True)),
        color=alt.Color("process:N", scale=colours, legend=alt.Legend(title=None, orient="top")),
        tooltip=[alt.Tooltip("process:N"), alt.Tooltip("seconds:Q"), alt.Tooltip("mib:Q", format=",.1f")],
    )  # fmt: skip
    chart = chart.properties(width=WIDTH, height=180)
    return chart.properties(title=alt.TitleParams(title, subtitle=subtitle))


def _rules(events: pd.DataFrame) -> tuple[alt.Chart, ...]:
    if events.empty:
        return ()
    base, x = alt.Chart(events), alt.X("seconds:Q", title=_TIME)
    text = base.mark_text(align="left", dx=5, baseline="top", color=RED).encode(
        x=x, y=alt.YValue(2), text="text:N"
    )
    return base.mark_rule(strokeDash=[5, 4], color=RED).encode(x=x), text
