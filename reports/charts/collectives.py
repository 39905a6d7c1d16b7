"""Collectives: bandwidth and latency against the message size, and each at its best."""

from __future__ import annotations

import math

import altair as alt
import pandas as pd

from bench.model.units import show_figure
from reports.frames import Frames, with_a_shape
from reports.theme import FIRST, MICRO_LABEL, SERIES, SIZE_LABEL, looks, size_ticks

from .bars import RuleLine, ranked_bars
from .chart import BUSBW, RATE, WIDTH, chart, in_both, listed, rule

CELL, CELL_HEIGHT, COLUMNS = 235, 130, 3
HEIGHT, NAME_ROW, NAMES_WIDTH = 340, 14, 96  # pixels: of the chart, of a name at the end of its line
RATE_COLUMNS = ["series", "size", "size_text", "busbw", "low", "high", "time", "ranks"]
PERCENTILES = ["p50", "p95", "p99"]
FEW = 3  # series whose bands can lie over each other and still be distinguished


def _peaks(_: Frames, curve: pd.DataFrame) -> str:
    peak_rows = (
        curve.sort_values("busbw", kind="stable").groupby("series", sort=True).tail(1).sort_values("series")
    )
    peaks = [
        f"{row.series} peaks at {show_figure(row.busbw)} GB/s at {row.size_text}"
        for row in peak_rows.itertuples()
    ]
    return f"Bus bandwidth of {len(peaks)} series against message size. {listed(peaks)}."


@chart(
    "busbw-by-size", "collectives", "Bus bandwidth against message size",
    lambda f: "median of pipelined blocks, slowest group; whiskers: slowest to fastest block"
    + ("; ticks: the floors that the profile sets" if f.curve["floor"].notna().any() else ""),
    data=lambda f: f.curve[f.curve["scope"] == ""], about=_peaks,
)  # fmt: skip
def busbw_by_size(f: Frames, curve: pd.DataFrame) -> alt.LayerChart:
    """busbw of each series against the size, with whiskers from the slowest to the fastest block.

    A filled band joins the whiskers where there are few series, and of one that is chosen in the legend: the
    bands of ten series over each other are a smear.
    """
    # those that matter last: they are drawn over the others
    data = curve[RATE_COLUMNS].sort_values("series", key=lambda names: names.isin(list(FIRST)), kind="stable")
    top = 1.04 * max(v for v in (*curve[["high", "busbw", "floor"]].max(), _target(f)) if math.isfinite(v))
    x, colour = _size_axis(data["size"]), _series(data["series"])
    ends = _line_ends(data, top / HEIGHT)
    scale = alt.Scale(domain=[0, float(f"{top:.4g}")], nice=False)
    low, y = alt.Y("low:Q", title=BUSBW, scale=scale), alt.Y("busbw:Q", title=BUSBW, scale=scale)
    chosen = alt.selection_point(name="chosen", fields=["series"], bind="legend")
    few = bool(data["series"].nunique() <= FEW)
    filled = alt.OpacityValue(**alt.condition(chosen, alt.value(0.18), alt.value(0), empty=few))
    bright = alt.OpacityValue(**alt.condition(chosen, alt.value(1), alt.value(0.15)))
    area = alt.Chart().mark_area(tooltip=False).encode(x=x, y=low, y2="high:Q", color=colour, opacity=filled)
    whiskers = alt.Chart().mark_rule(strokeWidth=1.5, tooltip=False).encode(
        x=x, y=low, y2="high:Q", color=colour, opacity=bright
    )  # fmt: skip
    line = alt.Chart().mark_line(strokeWidth=2).encode(x=x, y=y, color=colour, opacity=bright)
    points = alt.Chart().mark_point(filled=True, size=46).encode(
        x=x, y=y, color=colour, opacity=bright,
        shape=alt.Shape("series:N", scale=_scale(data["series"], 1), legend=_legend(data["series"])),
        tooltip=_rate_tooltip(),
    )  # fmt: skip
    points = points.properties(name="points").add_params(chosen)
    layers = [area.properties(name="band"), whiskers, line, points]
    if (wanted := curve[curve["floor"].notna()][["series", "size", "floor"]]).size:
        ticks = alt.Chart(wanted).mark_tick(orient="horizontal", thickness=3, size=22, tooltip=False)
        layers.append(
            ticks.encode(x=x, y=alt.Y("floor:Q", scale=scale), color=colour).properties(name="floors")
        )
    if len(ends):
        names = alt.Chart(ends).mark_text(align="left", dx=9, fontWeight="bold", tooltip=False)
        layers.append(
            names.encode(x=x, y=alt.Y("at:Q", scale=scale), text="series:N").properties(name="ends")
        )
    if math.isfinite(_target(f)):
        layers += rule(f.target, f"rails of a node: {in_both(f.target)}", "y", align="left", dx=4, dy=-5)
    return alt.layer(*layers, data=data).properties(width=WIDTH, height=HEIGHT)


def _line_ends(data: pd.DataFrame, pixel: float) -> pd.DataFrame:
    """Where the names of the collectives of FIRST stand: at the ends of their lines, none over another.

    ``pixel``: what one is worth on the axis.
    """
    last = data.sort_values("size", kind="stable").groupby("series", sort=True).tail(1)
    known = last[last["series"].isin(list(FIRST)) & last["busbw"].notna()].sort_values("busbw", kind="stable")
    ends: pd.DataFrame = known[["series", "size"]].assign(
        at=_spread_out(list(known["busbw"]), NAME_ROW * pixel)
    )
    return ends


def _spread_out(values: list[float], gap: float) -> list[float]:
    """Rising ``values`` moved so that none is nearer than ``gap`` to the next: those that crowd around their middle."""
    groups: list[list[float]] = []
    for value in values:
        groups.append([value])
        while len(groups) > 1 and _lowest(groups[-1], gap) - gap < _highest(groups[-2], gap):
            groups[-2:] = [groups[-2] + groups[-1]]
    return [float(f"{_lowest(group, gap) + at * gap:.6g}") for group in groups for at in range(len(group))]


def _lowest(group: list[float], gap: float) -> float:
    return max(0.0, sum(group) / len(group) - gap * (len(group) - 1) / 2)


def _highest(group: list[float], gap: float) -> float:
    return _lowest(group, gap) + gap * (len(group) - 1)


def _ranking(_: Frames, best: pd.DataFrame) -> str:
    ordered = best.sort_values(["busbw", "series"], ascending=[False, True], kind="stable")
    bars = [f"{row.series} {show_figure(row.busbw)} GB/s" for row in ordered.itertuples() if row.busbw > 0]
    absent = [str(row.series) for row in ordered.itertuples() if not row.busbw > 0]
    text = f"Best bus bandwidth, largest first: {listed(bars)}."
    return text + (f" Not measured: {listed(absent)}." if absent else "")


@chart(
    "ranked-collectives", "collectives", "Best bus bandwidth of each collective",
    "the size at which the slowest group is fastest; amber tick: floor of the profile; red: below it",
    data=lambda f: f.best, about=_ranking,
)  # fmt: skip
def ranked_collectives(f: Frames, best: pd.DataFrame) -> alt.LayerChart:
    return ranked_bars(
        best[["series", "busbw", "note", "floor"]], "series", "busbw", axis=BUSBW, format=RATE, missing="not measured",
        note="note", rule=RuleLine.of(_target(f), f"rails of a node: {in_both(f.target)}"), floor="floor",
    )  # fmt: skip


def _fastest(_: Frames, known: pd.DataFrame) -> str:
    first = (
        known.sort_values("size", kind="stable").groupby("series", sort=True).head(1).sort_values("series")
    )
    parts = [
        f"{row.series} {show_figure(row.p50)} µs, p99 {show_figure(row.p99)} µs, at {row.size_text}"
        for row in first.itertuples()
    ]
    return f"p50, p95 and p99 of single calls against message size. At the smallest size: {listed(parts)}."


@chart(
    "latency-percentiles", "collectives", "Latency percentiles against message size",
    "single calls, each as long as its slowest rank; both axes logarithmic",
    data=lambda f: with_a_shape(f.curve[f.curve["n"] > 0]), about=_fastest,
)  # fmt: skip
def latency_percentiles(_: Frames, known: pd.DataFrame) -> alt.FacetChart:
    """p50, p95 and p99 of single calls against the size, one small chart a series; both axes logarithmic."""
    columns = ["series", "size", "size_text", "n"]
    data = known[[*columns, *PERCENTILES]].melt(columns, PERCENTILES, "percentile", "latency")
    data = data[data["latency"] > 0]
    y = alt.Y(
        "latency:Q", title=None, scale=alt.Scale(type="log"),
        axis=alt.Axis(tickCount=4, labelExpr=MICRO_LABEL),
    )  # fmt: skip
    cell = alt.Chart().mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=12)).encode(
        x=_size_axis(data["size"], most=4), y=y,
        color=alt.Color(
            "percentile:N", scale=alt.Scale(domain=PERCENTILES, range=list(SERIES[:3])),
            legend=alt.Legend(title=None, orient="top", symbolOpacity=1, symbolType="stroke"),
        ),
        strokeDash=alt.StrokeDash(
            "percentile:N", scale=alt.Scale(domain=PERCENTILES, range=[[1, 0], [6, 3], [2, 2]]),
            legend=alt.Legend(title=None, orient="top", symbolType="stroke"),
        ),
        tooltip=[
            alt.Tooltip("series:N"), alt.Tooltip("size_text:N", title="size"), alt.Tooltip("percentile:N"),
            alt.Tooltip("latency:Q", title="µs", format=RATE), alt.Tooltip("n:Q", title="iterations"),
        ],
    )  # fmt: skip
    return _facet(cell.properties(width=CELL, height=CELL_HEIGHT), data)


def _several(f: Frames) -> pd.DataFrame:
    known = with_a_shape(f.curve)
    return known if known["series"].nunique() > 1 else known[:0]


@chart(
    "small-multiples", "collectives", "Each collective by itself",
    "each with its own scale; band: slowest to fastest block",
    data=_several,
    about=lambda f, known: "Bus bandwidth against message size, one small chart for each of "
    f"{known['series'].nunique()} series.",
)  # fmt: skip
def small_multiples(_: Frames, known: pd.DataFrame) -> alt.FacetChart:
    """One small chart a series, each with its own y axis: shapes compare, heights do not."""
    data = known[RATE_COLUMNS]
    x = _size_axis(data["size"], most=4)
    # a tick at the top of every cell: headings over cells without one would stand lower
    scale = alt.Scale(nice=4)
    y = alt.Y("busbw:Q", title="GB/s", axis=alt.Axis(tickCount=4), scale=scale)
    band = alt.Chart().mark_area(opacity=0.25, color=SERIES[0], tooltip=False).encode(
        x=x, y=alt.Y("low:Q", title="GB/s", scale=scale), y2="high:Q"
    ).properties(name="band")  # fmt: skip
    line = alt.Chart().mark_line(strokeWidth=2, color=SERIES[0], point=alt.OverlayMarkDef(size=26)).encode(
        x=x, y=y, tooltip=_rate_tooltip()
    )  # fmt: skip
    cell = alt.layer(band, line).properties(width=CELL, height=CELL_HEIGHT)
    return _facet(cell, data).resolve_scale(y="independent")


def _target(f: Frames) -> float:
    # on one node nothing crosses the rails: a rule would invite a comparison that means nothing
    return f.target if len(f.nodes) > 1 else math.nan


def _facet(cell: alt.Chart | alt.LayerChart, data: pd.DataFrame) -> alt.FacetChart:
    # bounds and spacing are explicit: independent axes would otherwise push the cells apart unevenly
    facet = alt.Facet("series:N", title=None, header=alt.Header(labelAnchor="start", labelFontWeight="bold"))
    # each cell with its own axes: a shared one would stand under the empty places of the last row
    chart = cell.facet(facet, columns=COLUMNS, data=data, bounds="flush", spacing={"row": 84, "column": 58})
    return chart.resolve_axis(x="independent", y="independent")


def _size_axis(sizes: pd.Series, most: int = 9) -> alt.X:
    ticks = size_ticks((int(size) for size in sizes), most)
    scale, axis = alt.Scale(type="log", base=2, nice=False), alt.Axis(values=ticks, labelExpr=SIZE_LABEL)
    return alt.X("size:Q", title="message size", scale=scale, axis=axis)


def _series(series: pd.Series) -> alt.Color:
    return alt.Color("series:N", scale=_scale(series, 0), legend=_legend(series))


def _scale(series: pd.Series, part: int) -> alt.Scale:
    """``part``: 0 for the colours of the series, 1 for the shapes of their points."""
    found = looks(series)
    return alt.Scale(domain=list(found), range=[look[part] for look in found.values()])


def _legend(series: pd.Series) -> alt.Legend:
    # the band's opacity would make the symbols pale; names at the ends of lines need room
    others = [name for name in looks(series) if name not in FIRST]
    room = {"offset": NAMES_WIDTH, "values": others} if set(series) & set(FIRST) and others else {}
    return alt.Legend(title=None, symbolOpacity=1, symbolSize=80, labelLimit=220, **room)


def _rate_tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("series:N"),
        alt.Tooltip("size_text:N", title="size"),
        alt.Tooltip("busbw:Q", title="busbw, GB/s", format=RATE),
        alt.Tooltip("low:Q", title="slowest block, GB/s", format=RATE),
        alt.Tooltip("high:Q", title="fastest block, GB/s", format=RATE),
        alt.Tooltip("time:Q", title="time, µs", format=RATE),
        alt.Tooltip("ranks:Q"),
    ]
