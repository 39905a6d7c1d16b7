"""Figures against the message size: busbw with its band, all collectives apart, latency percentiles."""

from __future__ import annotations

import math

import altair as alt
import pandas as pd

from reports.theme import MICRO_LABEL, NEUTRAL, SERIES, SHAPES, SIZE_LABEL, size_ticks

WIDTH, HEIGHT = 800, 340
CELL, CELL_HEIGHT, COLUMNS = 235, 130, 3
BUSBW = "bus bandwidth (GB/s; 1 GB/s = 8 Gb/s)"
RATE_COLUMNS = ["series", "size", "size_text", "busbw", "low", "high", "time", "ranks"]
PERCENTILES = ("p50", "p95", "p99")
FEW = 3  # series whose bands can lie over each other and still be told apart


def busbw_by_size(curve: pd.DataFrame, target: float, title: str, subtitle: str) -> alt.LayerChart:
    """busbw of each series against the size, with whiskers from the slowest to the fastest block.

    A filled band joins the whiskers where there are few series, and of one that is chosen in the legend: the
    bands of ten series over each other are a smear.

    curve   frames.curve_frame; sizes in bytes, rates in GB/s
    target  GB/s of a node's rails, drawn as a rule; NaN draws none
    """
    data = curve[RATE_COLUMNS]
    x, colour = _size_axis(data["size"]), _series(data["series"])
    low, y = alt.Y("low:Q", title=BUSBW), alt.Y("busbw:Q", title=BUSBW)
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
        shape=alt.Shape("series:N", scale=_shapes(data["series"]), legend=_legend()),
        tooltip=_rate_tooltip(),
    )  # fmt: skip
    points = points.properties(name="points").add_params(chosen)
    layers = [area.properties(name="band"), whiskers, line, points, *_target(target)]
    chart = alt.layer(*layers, data=data).properties(width=WIDTH, height=HEIGHT)
    return chart.properties(title=alt.TitleParams(title, subtitle=subtitle))


def small_multiples(curve: pd.DataFrame, title: str, subtitle: str) -> alt.FacetChart:
    """One small chart a series, each with its own y axis: shapes compare, heights do not."""
    data = curve[RATE_COLUMNS]
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
    return _facet(cell, data, title, subtitle).resolve_scale(y="independent")


def latency_percentiles(curve: pd.DataFrame, title: str, subtitle: str) -> alt.FacetChart:
    """p50, p95 and p99 of single calls against the size, one small chart a series; both axes logarithmic."""
    known = curve[[*("series", "size", "size_text", "n"), *PERCENTILES]]
    data = known.melt(["series", "size", "size_text", "n"], list(PERCENTILES), "percentile", "latency")
    data = data[data["latency"] > 0]
    x = _size_axis(data["size"], most=4)
    cell = (
        alt.Chart()
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=12))
        .encode(
            x=x,
            y=alt.Y(
                "latency:Q",
                title="latency",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(tickCount=4, labelExpr=MICRO_LABEL),
            ),
            color=alt.Color(
                "percentile:N",
                scale=alt.Scale(domain=list(PERCENTILES), range=[SERIES[0], SERIES[1], SERIES[2]]),
                legend=alt.Legend(title=None, orient="top", symbolOpacity=1, symbolType="stroke"),
            ),
            strokeDash=alt.StrokeDash(
                "percentile:N",
                scale=alt.Scale(domain=list(PERCENTILES), range=[[1, 0], [6, 3], [2, 2]]),
                legend=alt.Legend(title=None, orient="top", symbolType="stroke"),
            ),
            tooltip=[
                alt.Tooltip("series:N"),
                alt.Tooltip("size_text:N", title="size"),
                alt.Tooltip("percentile:N"),
                alt.Tooltip("latency:Q", title="µs", format=",.4~g"),
                alt.Tooltip("n:Q", title="iterations"),
            ],
        )
        .properties(width=CELL, height=CELL_HEIGHT)
    )
    return _facet(cell, data, title, subtitle)


def _facet(cell: alt.Chart | alt.LayerChart, data: pd.DataFrame, title: str, subtitle: str) -> alt.FacetChart:
    # bounds and spacing are explicit: independent axes would otherwise push the cells apart unevenly
    facet = alt.Facet("series:N", title=None, header=alt.Header(labelAnchor="start", labelFontWeight="bold"))
    chart = cell.facet(facet, columns=COLUMNS, data=data, bounds="flush", spacing={"row": 62, "column": 58})
    return chart.properties(title=alt.TitleParams(title, subtitle=subtitle))


def _size_axis(sizes: pd.Series, most: int = 9) -> alt.X:
    return alt.X(
        "size:Q",
        title="message size",
        scale=alt.Scale(type="log", base=2, nice=False),
        axis=alt.Axis(values=size_ticks((int(size) for size in sizes), most), labelExpr=SIZE_LABEL),
    )


def _series(series: pd.Series) -> alt.Color:
    domain = sorted(set(series))
    scale = alt.Scale(domain=domain, range=[SERIES[i % len(SERIES)] for i in range(len(domain))])
    return alt.Color("series:N", scale=scale, legend=_legend())


def _shapes(series: pd.Series) -> alt.Scale:
    domain = sorted(set(series))
    return alt.Scale(domain=domain, range=[SHAPES[i % len(SHAPES)] for i in range(len(domain))])


def _legend() -> alt.Legend:
    # the band's opacity would make the symbols pale
    return alt.Legend(title=None, symbolOpacity=1, symbolSize=80, labelLimit=220)


def _rate_tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("series:N"),
        alt.Tooltip("size_text:N", title="size"),
        alt.Tooltip("busbw:Q", title="busbw, GB/s", format=",.4~g"),
        alt.Tooltip("low:Q", title="slowest block, GB/s", format=",.4~g"),
        alt.Tooltip("high:Q", title="fastest block, GB/s", format=",.4~g"),
        alt.Tooltip("time:Q", title="time, µs", format=",.4~g"),
        alt.Tooltip("ranks:Q"),
    ]


def _target(target: float) -> tuple[alt.Chart, ...]:
    if not math.isfinite(target):
        return ()
    one = alt.InlineData(values=[{"text": f"rails of a node: {target:,.4g} GB/s = {target * 8:,.5g} Gb/s"}])
    y = alt.Y(datum=target, type="quantitative")
    line = alt.Chart(one).mark_rule(strokeDash=[6, 4], strokeWidth=1.5, color=NEUTRAL).encode(y=y)
    text = alt.Chart(one).mark_text(
        align="left", dx=4, dy=-5, baseline="bottom", color=NEUTRAL, fontWeight="bold"
    )
    return line, text.encode(x=alt.XValue(0), y=y, text="text:N")
