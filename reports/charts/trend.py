"""One series over the nights: its level, its steps, and the label of each night."""

from __future__ import annotations

import altair as alt
import pandas as pd

from reports.theme import AMBER, BLUE, GREEN, NEUTRAL, RED

WIDTH, HEIGHT = 800, 300
LINE, MOST_LINES = 15, 4  # pixels from one step's text to the next; after so many they begin at the top again
# colour and shape of each label: shapes serve readers who do not see the colours
LABELS = {
    "ok": (BLUE, "circle"),
    "suspicious": (AMBER, "triangle-up"),
    "regression": (RED, "triangle-down"),
    "improvement": (GREEN, "diamond"),
    "insufficient data": (NEUTRAL, "cross"),
}
NIGHT_COLUMNS = ("time", "value", "label")
LEVEL_COLUMNS = ("begin", "end", "level", "low", "high")
STEP_COLUMNS = ("time", "text")


def trend(
    nights: pd.DataFrame, levels: pd.DataFrame, steps: pd.DataFrame, *, title: str, subtitle: str, axis: str
) -> alt.LayerChart:
    """Nightly values as points, each level as a band with its median, each step as a dashed rule with its cause.

    nights  time (seconds since 1970, UTC), value in the axis' unit, label of LABELS
    levels  begin, end (seconds), level, low, high: the accepted baseline and what it allows
    steps   time, text: when the level changed, by how much, and what changed with it

    Raises ValueError for a label that is none of LABELS.
    """
    unknown = sorted(set(nights["label"]) - set(LABELS))
    if unknown:
        raise ValueError(f"unknown label {', '.join(map(str, unknown))}; known: {', '.join(LABELS)}")
    points = nights.assign(time=_milliseconds(nights["time"]))
    spans = levels.assign(begin=_milliseconds(levels["begin"]), end=_milliseconds(levels["end"]))
    # in every layer, or the one without it brings the zero back
    scale = alt.Scale(domain=_domain(nights["value"], levels["level"]), zero=False, nice=True)
    y = alt.Y("value:Q", title=axis, scale=scale)
    x = alt.X("time:T", title=None, scale=alt.Scale(type="utc"), axis=alt.Axis(format="%d %b", tickCount=8))
    begin, end = alt.X("begin:T", title=None), alt.X2("end:T")
    band = alt.Chart(spans).mark_rect(opacity=0.16, color=BLUE, tooltip=False, clip=True).encode(
        x=begin, x2=end, y=alt.Y("low:Q", title=axis, scale=scale), y2="high:Q"
    )  # fmt: skip
    level = alt.Chart(spans).mark_rule(color=BLUE, strokeWidth=2).encode(
        x=begin, x2=end, y=alt.Y("level:Q", title=axis, scale=scale),
        tooltip=[alt.Tooltip(f"{at}:Q", title=f"{at}, {axis}", format=",.5~g") for at in ("level", "low", "high")],
    )  # fmt: skip
    line = alt.Chart(points).mark_line(color=NEUTRAL, strokeWidth=1).encode(x=x, y=y)
    present = [label for label in LABELS if label in set(nights["label"])]
    colours = alt.Scale(domain=present, range=[LABELS[label][0] for label in present])
    shapes = alt.Scale(domain=present, range=[LABELS[label][1] for label in present])
    legend = alt.Legend(title=None, orient="top", symbolOpacity=1)
    marks = alt.Chart(points).mark_point(filled=True, size=55, opacity=1).encode(
        x=x, y=y,
        color=alt.Color("label:N", scale=colours, legend=legend),
        shape=alt.Shape("label:N", scale=shapes, legend=legend),
        tooltip=[alt.Tooltip("time:T", format="%Y-%m-%d %H:%M"), alt.Tooltip("value:Q", title=axis, format=",.5~g"),
                 alt.Tooltip("label:N")],
    )  # fmt: skip
    # the names are those of the data files, where these lie apart
    layers = [band.properties(name="levels"), level, line, marks.properties(name="nights")]
    layers += _steps(steps, float(nights["time"].min()), float(nights["time"].max()))
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    return chart.properties(title=alt.TitleParams(title, subtitle=subtitle))


def _domain(values: pd.Series, levels: pd.Series) -> list[float]:
    """The range of nights and levels; the band of a young baseline may be many times as wide and is cut off."""
    known = [float(x) for x in (*values, *levels)]
    margin = max(0.15 * (max(known) - min(known)), 0.025 * max(known))
    return [float(f"{max(0.0, min(known) - margin):.6g}"), float(f"{max(known) + margin:.6g}")]


def _steps(steps: pd.DataFrame, first: float, last: float) -> tuple[alt.Chart, ...]:
    """Dashed rules; their texts stand below each other, and left of the rule where the right has no room."""
    if steps.empty:
        return ()
    late = steps["time"] > first + 0.6 * (last - first)
    rows = [2 + LINE * (place % MOST_LINES) for place in range(len(steps))]
    moments = steps.assign(time=_milliseconds(steps["time"]), late=late, row=rows)
    x = alt.X("time:T", title=None)
    rule = alt.Chart(moments).mark_rule(strokeDash=[5, 4], color=RED).encode(x=x)
    text = alt.Y("row:Q", scale=None, axis=None)
    layers = [rule.properties(name="steps")]
    for side, align, shift in (("!datum.late", "left", 5), ("datum.late", "right", -5)):
        words = alt.Chart(moments).mark_text(align=align, dx=shift, baseline="top", fontWeight="bold")
        layers.append(words.encode(x=x, y=text, text="text:N").transform_filter(side))
    return tuple(layers)


def _milliseconds(seconds: pd.Series) -> pd.Series:
    # numbers, not datetimes: a text without a zone would be read in the reader's zone
    return (seconds.astype(float) * 1000).round().astype("int64")
