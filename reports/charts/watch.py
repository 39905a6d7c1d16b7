"""A watched job over time: what its rails carried, how fast they are while data waits, and its collectives."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import altair as alt
import pandas as pd

from reports.frames import Frames
from reports.theme import RED, SERIES

from .bars import ranked_bars
from .chart import RATE, WIDTH, chart, listed
from .soak import TIME, event_rules, soak_bandwidth

CALM = tuple(colour for colour in SERIES if colour not in ("#e45756", "#d67195"))  # none that looks like RED


def _traffic(f: Frames, rates: pd.DataFrame) -> str:
    parts = [
        f"{name} ({rows['use'].iloc[0]}): median {rows['gbs'].median():,.3g}, most {rows['most'].max():,.3g} GB/s"
        for name, rows in rates.groupby("device", sort=False)
    ]
    first = f"; {len(f.events)} events, the first: {f.events['text'].iloc[0]}" if len(f.events) else ""
    return f"The larger of what each device sent and received, over time. {listed(parts)}{first}."


def _lines(f: Frames) -> str:
    """What the lines mean: which are the profile's excluded devices, and which a slow rail."""
    named = {
        use: listed([str(name) for name in rows["device"].unique()]) for use, rows in f.watch.groupby("use")
    }
    parts = [
        "the larger of sent and received, on the node in the middle; band: all nodes",
        f"dashed: {named['excluded']}, left out by the profile" if "excluded" in named else "",
        f"red: {named['slow']}, for which the job waits" if "slow" in named else "",
    ]
    return "; ".join(filter(None, parts))


@chart(
    "watch-traffic", "watch", "What each device carried", _lines,
    data=lambda f: f.watch, about=_traffic,
)  # fmt: skip
def watch_traffic(f: Frames, rates: pd.DataFrame) -> alt.LayerChart:
    """A line and a pale band for each device: dashed if it is excluded, red if it is slow; a rule for each event."""
    names = list(dict.fromkeys(rates["device"]))
    slow = set(rates.loc[rates["use"] == "slow", "device"])
    healthy = [name for name in names if name not in slow]
    colour_of = dict(zip(healthy, cycle(CALM), strict=False)) | dict.fromkeys(slow, RED)
    scale = alt.Scale(domain=names, range=[colour_of[name] for name in names])
    x = alt.X("seconds:Q", title=TIME, axis=alt.Axis(tickCount=10))
    colour = alt.Color("device:N", scale=scale, legend=alt.Legend(title=None, orient="top"))
    dash = alt.StrokeDash(
        "use:N",
        legend=None,
        scale=alt.Scale(domain=["rail", "excluded", "slow"], range=[[1, 0], [4, 3], [1, 0]]),
    )
    base = alt.Chart(rates)
    band = base.mark_area(opacity=0.14, tooltip=False).encode(
        x=x, y=alt.Y("least:Q", title="GB/s"), y2="most:Q", color=colour
    )
    line = base.mark_line(strokeWidth=1.5, point=alt.OverlayMarkDef(size=14)).encode(
        x=x, y=alt.Y("gbs:Q", title="GB/s", scale=alt.Scale(zero=True)), color=colour, strokeDash=dash,
        tooltip=[alt.Tooltip("device:N"), alt.Tooltip("use:N"), alt.Tooltip("seconds:Q", format=",.0f"),
                 *(alt.Tooltip(f"{name}:Q", title=f"{name} (GB/s)", format=RATE) for name in ("gbs", "least", "most"))],
    )  # fmt: skip
    return alt.layer(band, line, *event_rules(f, x)).properties(width=WIDTH, height=280)


def _ends(f: Frames) -> str:
    """What is red, and which end the red ones have in common."""
    named = listed([str(name) for name in f.watch.loc[f.watch["use"] == "slow", "device"].unique()])
    common = f"; slow is {named}, at one end of all that is red" if named else ""
    return f"red: slower than the other rails (tick), so that the job waits{common}; left out: where no data waits"


def _waiting(_: Frames, rails: pd.DataFrame) -> str:
    slow = rails[rails["floor"].notna()]
    parts = [f"{row.rail} {row.gbs:,.3g} of {row.floor:,.3g} GB/s" for row in slow.itertuples()]
    what = listed(parts) if parts else "none is slower than the others"
    return f"The rate at which each rail sends while data waits for it: {what}."


@chart(
    "watch-waiting", "watch", "How fast a rail sends while data waits for it",
    _ends,
    data=lambda f: f.waiting, about=_waiting,
)  # fmt: skip
def watch_waiting(_: Frames, rails: pd.DataFrame) -> alt.LayerChart:
    """A bar for each rail."""
    return ranked_bars(rails, "rail", "gbs", axis="GB/s", format=RATE, note="note", floor="floor")


def _collectives(_: Frames, calls: pd.DataFrame) -> str:
    parts = [
        f"{name}: {rows['calls'].sum():,} calls, median {rows['busbw'].median():,.4g} GB/s"
        for name, rows in calls.groupby("series", sort=False)
    ]
    return f"Bus bandwidth of the job's collectives as NCCL's Inspector timed them. {listed(parts)}."


@chart(
    "watch-collectives", "watch", "The job's collectives, by NCCL's Inspector",
    "median of each span; band: down to its slowest call. The job computes meanwhile, so no bound holds here",
    data=lambda f: f.inspected, about=_collectives,
)  # fmt: skip
def watch_collectives(f: Frames, calls: pd.DataFrame) -> Any:
    """Drawn as the windows of a soak are."""
    return soak_bandwidth(f, calls)
