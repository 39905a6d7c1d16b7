"""Rails and pairs of nodes: who is slow, seen as a row, a column or a cell."""

from __future__ import annotations

import math

import altair as alt
import pandas as pd

from reports.theme import AMBER, BLUE, NEUTRAL, RED

WIDTH = 800
SLOW = (
    0.02  # below the median by this share: boxed; the same share that a nightly change must reach to matter
)
INLINE_CELLS = (
    5000  # cells of all rails together that one page carries; above it the slowest rail stands for a pair
)
MOST_NUMBERS = 24  # nodes beside each other whose cells have room for a number
DIVERGING = (
    "#a3122b",
    "#d6604d",
    "#c5cad3",
    "#6f9fcf",
    "#1f5fa8",
)  # its middle is grey, not the white of light paper
QUANTILES = {"min": 0.0, "p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}


def pair_heatmap(
    pairs: pd.DataFrame, nodes: tuple[str, ...], title: str, subtitle: str
) -> alt.LayerChart | alt.FacetChart:
    """Node × node, one map a rail (the slowest rail of each pair when there are too many cells).

    A pair more than SLOW below the median of all is outlined. What was not measured stays empty.
    """
    median = float(pairs["gbps"].median())
    by_rail = len(pairs) <= INLINE_CELLS and len(nodes) <= 16
    data = pairs if by_rail else slowest_rail(pairs)
    data = data[["source", "destination", "rail", "busbw", "gbps"]]
    side = max(150, min(640, 22 * len(nodes))) if not by_rail else max(90, min(220, 40 * len(nodes)))
    axis = {"type": "nominal", "sort": list(nodes), "scale": alt.Scale(domain=list(nodes))}
    font = label_size(side / max(1, len(nodes)))
    x = alt.X("destination", title="to", axis=_node_axis(font, -90), **axis)
    y = alt.Y("source", title="from", axis=_node_axis(font, 0), **axis)
    cells = (
        alt.Chart()
        .mark_rect()
        .encode(x=x, y=y, color=_rate_colour(data["gbps"], median), tooltip=_pair_tooltip())
        .properties(name="cells")
    )
    slow = alt.Chart().mark_rect(filled=False, stroke=RED, strokeWidth=2.5, tooltip=False).encode(x=x, y=y)
    slow = slow.transform_filter(f"datum.gbps < {median * (1 - SLOW)!r}")
    chart = alt.layer(cells, slow).properties(width=side, height=side)
    heading = alt.TitleParams(title, subtitle=subtitle)
    if not by_rail:
        return alt.layer(cells, slow, data=data).properties(width=side, height=side, title=heading)
    facet = alt.Facet("rail:N", title=None, sort=_natural(data["rail"]))
    return chart.facet(facet, columns=max(1, WIDTH // (side + 70)), data=data).properties(title=heading)


def slowest_rail(pairs: pd.DataFrame) -> pd.DataFrame:
    """Each pair's slowest rail."""
    ordered = pairs.sort_values(["source", "destination", "gbps", "rail"], kind="stable")
    worst: pd.DataFrame = ordered.drop_duplicates(["source", "destination"]).reset_index(drop=True)
    return worst


def slow_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """Pair and rail readings more than SLOW below the median of all."""
    slow: pd.DataFrame = pairs[pairs["gbps"] < float(pairs["gbps"].median()) * (1 - SLOW)]
    return slow


def node_rails(pairs: pd.DataFrame) -> pd.DataFrame:
    """node, rail, gbps (median over its partners), change (share from the median of all).

    All rails are sold alike, so that one median tells of a slow rail as well as of a slow node; on two
    nodes the median of one rail would be the reading itself.
    """
    ends = pd.concat([pairs.assign(node=pairs["source"]), pairs.assign(node=pairs["destination"])])
    table = ends.groupby(["node", "rail"], sort=True)["gbps"].median().reset_index()
    change = (table["gbps"] / table["gbps"].median() - 1).round(5)
    rails: pd.DataFrame = table.assign(change=change, gbps=table["gbps"].round(3))
    return rails


def rail_matrix(pairs: pd.DataFrame, nodes: tuple[str, ...], title: str, subtitle: str) -> alt.LayerChart:
    """Rail × node: the median over a node's partners, against the median of all; slow ones boxed."""
    data = node_rails(pairs)
    span = max(0.05, math.ceil(20 * float(data["change"].abs().max())) / 20) if len(data) else 0.05
    span = min(span, 0.5)
    width = max(60, min(WIDTH, 60 * len(nodes)))
    x = alt.X(
        "node:N", title="node", sort=list(nodes), axis=_node_axis(label_size(width / max(1, len(nodes))), -90)
    )
    y = alt.Y("rail:N", title="rail", sort=_natural(data["rail"]))
    colour = alt.Color(
        "change:Q",
        scale=alt.Scale(range=list(DIVERGING), domain=[-span, span], domainMid=0, clamp=True),
        legend=alt.Legend(title="from the median", format="+.0%"),
    )
    tooltip = [
        alt.Tooltip("node:N"),
        alt.Tooltip("rail:N"),
        alt.Tooltip("gbps:Q", title="median, Gb/s", format=",.4~g"),
        alt.Tooltip("change:Q", title="from the median", format="+.1%"),
    ]
    slow = f"datum.change < {-SLOW!r}"
    cells = alt.Chart().mark_rect().encode(x=x, y=y, color=colour, tooltip=tooltip).properties(name="cells")
    boxes = alt.Chart().mark_rect(filled=False, stroke=RED, strokeWidth=2.5, tooltip=False).encode(x=x, y=y)
    numbers = alt.Chart().mark_text(fontWeight="bold", fontSize=11, tooltip=False).encode(
        x=x, y=y, text=alt.Text("change:Q", format="+.0%"),
        # white on the dark end of the scale, dark on its pale middle
        color=alt.condition(f"datum.change < {-0.6 * span!r}", alt.value("#ffffff"), alt.value("#1f2933")),
    )  # fmt: skip
    numbers = numbers.properties(name="on_cells")
    layers = [cells, boxes.transform_filter(slow)]
    if len(nodes) <= MOST_NUMBERS:
        layers.append(numbers.transform_filter(slow))
    chart = alt.layer(*layers, data=data).properties(width=width, height=alt.Step(30))
    return chart.properties(title=alt.TitleParams(title, subtitle=subtitle))


def rail_distribution(pairs: pd.DataFrame, floor: float, title: str, subtitle: str) -> alt.LayerChart:
    """Per rail: the range of all pairs, its p5 to p95, its quartiles and its median, in Gb/s.

    ``floor``: Gb/s that the profile wants of a rail; NaN draws no rule.
    """
    grouped = pairs.groupby("rail", sort=True)["gbps"]
    data = pd.DataFrame({name: grouped.quantile(q).round(3) for name, q in QUANTILES.items()})
    data = data.assign(pairs=grouped.size()).reset_index()
    y = alt.Y("rail:N", title="rail", sort=_natural(data["rail"]))
    domain = [x for x in (*data["min"], *data["max"], floor) if math.isfinite(x)]
    margin = max(0.025 * max(domain), 0.05 * (max(domain) - min(domain)))
    limits = [round(min(domain) - margin, 3), round(max(domain) + margin, 3)]
    scale = alt.Scale(domain=limits, zero=False, nice=False)
    tooltip = [alt.Tooltip("rail:N"), alt.Tooltip("pairs:Q")]
    tooltip += [alt.Tooltip(f"{name}:Q", title=f"{name}, Gb/s", format=",.4~g") for name in QUANTILES]

    def between(low: str, high: str, size: float, opacity: float) -> alt.Chart:
        mark = alt.Chart().mark_bar(size=size, opacity=opacity, color=BLUE)
        x = alt.X(f"{low}:Q", title="one pair on one rail (Gb/s; 8 Gb/s = 1 GB/s)", scale=scale)
        return mark.encode(x=x, x2=f"{high}:Q", y=y, tooltip=tooltip)

    middle = (
        alt.Chart()
        .mark_tick(thickness=3, size=18, color=AMBER)
        .encode(x=alt.X("p50:Q", scale=scale), y=y, tooltip=tooltip)
    )
    layers = [
        between("min", "max", 2, 0.9),
        between("p5", "p95", 8, 0.5),
        between("p25", "p75", 16, 0.9),
        middle,
    ]
    if math.isfinite(floor):
        one = alt.InlineData(values=[{"text": f"floor {floor:,.4g} Gb/s"}])
        x = alt.X(datum=floor, type="quantitative")
        layers.append(alt.Chart(one).mark_rule(strokeDash=[6, 4], color=NEUTRAL).encode(x=x))
        text = alt.Chart(one).mark_text(
            align="left", dx=4, dy=-4, baseline="bottom", color=NEUTRAL, fontWeight="bold"
        )
        layers.append(text.encode(x=x, y=alt.value(0), text="text:N"))
    chart = alt.layer(*layers, data=data).properties(width=WIDTH, height=alt.Step(30))
    return chart.properties(title=alt.TitleParams(title, subtitle=subtitle))


def label_size(step: float) -> int:
    """Font size of labels that stand ``step`` pixels apart, none of them left out."""
    return int(max(6, min(12, step - 2)))


def _node_axis(size: int, angle: int) -> alt.Axis:
    return alt.Axis(labelAngle=angle, labelLimit=140, labelOverlap=False, labelFontSize=size)


def _natural(names: pd.Series) -> list[str]:
    """Names in the order of the numbers in them: mlx5_2 before mlx5_10."""

    def key(name: str) -> list[tuple[int, int, str]]:
        digits = "".join(c if c.isdigit() else " " for c in name).split()
        return [(0, int(part), "") for part in digits] + [(1, 0, name)]

    return sorted(set(names), key=key)


def _rate_colour(rates: pd.Series, median: float) -> alt.Color:
    # fixed around the median, not stretched over the data: a healthy fabric must look even
    low = min(0.9 * median, max(0.5 * median, float(rates.min())))
    scale = alt.Scale(scheme="viridis", domain=[round(low, 3), round(1.02 * median, 3)], clamp=True)
    return alt.Color("gbps:Q", scale=scale, legend=alt.Legend(title="Gb/s"))


def _pair_tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("source:N", title="from"),
        alt.Tooltip("destination:N", title="to"),
        alt.Tooltip("rail:N"),
        alt.Tooltip("gbps:Q", title="Gb/s", format=",.4~g"),
        alt.Tooltip("busbw:Q", title="GB/s", format=",.4~g"),
    ]
