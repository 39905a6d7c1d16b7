"""A soak over time: bandwidth, and the memory of our own processes."""

from __future__ import annotations

import altair as alt
import pandas as pd

from bench.model.units import show_count, show_figure
from reports.frames import Frames
from reports.theme import BLUE, NEUTRAL, RED

from .chart import BUSBW, RATE, WIDTH, chart, rule

TIME = "seconds since the start"


def _bandwidth(f: Frames, windows: pd.DataFrame) -> str:
    parts = [
        f"{name}: {show_count(len(rows), 'window')} over {rows['seconds'].max():,.0f} s, "
        f"median {rows['busbw'].median():,.4g}, least {rows['busbw'].min():,.4g} GB/s"
        for name, rows in windows.groupby("series", sort=False)
    ]
    events = (
        f"; {show_count(len(f.events), 'event')}, the first: {f.events['text'].iloc[0]}"
        if len(f.events)
        else ""
    )
    return f"Bus bandwidth under steady load over time. {'; '.join(parts)}{events}."


@chart(
    "soak-bandwidth", "soak", "Bandwidth under steady load",
    "median of each window's blocks; band: down to its slowest block",
    data=lambda f: f.soak, about=_bandwidth,
)  # fmt: skip
def soak_bandwidth(f: Frames, windows: pd.DataFrame) -> alt.LayerChart:
    """A line for each group and a pale band down to the window's slowest block; a rule for each event."""
    x, y = (
        alt.X("seconds:Q", title=TIME, axis=alt.Axis(tickCount=10)),
        alt.Y("busbw:Q", title=BUSBW, scale=alt.Scale(zero=True)),
    )
    several = windows["series"].nunique() > 1
    legend = alt.Legend(title=None, orient="top")
    colour = alt.Color("series:N", legend=legend) if several else alt.ColorValue(BLUE)
    base = alt.Chart(windows)
    band = base.mark_area(opacity=0.16, tooltip=False).encode(x=x, y=y, y2="slowest:Q", color=colour)
    line = base.mark_line(strokeWidth=1.5).encode(x=x, y=y, color=colour)
    points = base.mark_point(filled=True, size=30, opacity=1).encode(
        x=x, y=y, color=colour,
        tooltip=[alt.Tooltip("series:N"), alt.Tooltip("seconds:Q", format=",.1f"),
                 alt.Tooltip("busbw:Q", title="GB/s", format=RATE),
                 alt.Tooltip("slowest:Q", title="slowest block (GB/s)", format=RATE), alt.Tooltip("wrong:Q")],
    )  # fmt: skip
    layers = [band, line, points]
    for floor in windows["floor"].dropna().unique():
        layers += rule(float(floor), f"floor {show_figure(floor)} GB/s", "y", align="left", dx=4, dy=-3)
    layers += event_rules(f, x)
    return alt.layer(*layers).properties(width=WIDTH, height=280)


def event_rules(f: Frames, x: alt.X) -> list[alt.Chart]:
    """A red rule for each event, with its words."""
    if not len(f.events):
        return []
    events = alt.Chart(f.events)
    text = events.mark_text(align="left", dx=5, baseline="top")
    return [
        events.mark_rule(strokeDash=[5, 4], color=RED).encode(x=x),
        text.encode(x=x, y=alt.YValue(2), text="text:N"),
    ]


def _memory(_: Frames, memory: pd.DataFrame) -> str:
    parts = [
        f"{name} {rows['mib'].iloc[0]:,.0f} MiB at first, {rows['mib'].iloc[-1]:,.0f} at last"
        for name, rows in memory.groupby("process", sort=False)
    ]
    return f"Resident memory of our own processes over time: {'; '.join(parts)}."


@chart(
    "soak-memory", "soak", "Memory of our own processes", "the largest of all ranks; it should stay flat",
    data=lambda f: f.memory, about=_memory,
)  # fmt: skip
def soak_memory(_: Frames, memory: pd.DataFrame) -> alt.Chart:
    """Resident memory of the largest worker and the largest supervisor."""
    colours = alt.Scale(domain=["worker", "supervisor"], range=[BLUE, NEUTRAL])
    chart = alt.Chart(memory).mark_line(strokeWidth=2).encode(
        x=alt.X("seconds:Q", title=TIME, axis=alt.Axis(tickCount=10)),
        y=alt.Y("mib:Q", title="resident memory (MiB)", scale=alt.Scale(zero=True)),
        color=alt.Color("process:N", scale=colours, legend=alt.Legend(title=None, orient="top")),
        tooltip=[alt.Tooltip("process:N"), alt.Tooltip("seconds:Q"), alt.Tooltip("mib:Q", format=",.1f")],
    )  # fmt: skip
    return chart.properties(width=WIDTH, height=180)
