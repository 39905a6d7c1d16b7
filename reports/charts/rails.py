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
NUMBER_WIDTH = 32  # pixels that a number such as +10% needs beside its neighbours
NOBODY = "nobody"  # whom blame names where it names none; an empty text would be null in a CSV file
SPAN = 0.10  # from the median: there the colours of the matrix end
_OPEN_ENDED = (
    f"datum.value <= {-SPAN} ? datum.label + ' or less' : datum.value >= {SPAN} ? datum.label + ' or more' "
    ": datum.label"
)
DIVERGING = (
    "#a3122b",
    "#d6604d",
    "#c5cad3",
    "#6f9fcf",
    "#1f5fa8",
)  # its middle is grey, not the white of light paper
QUANTILES = {"min": 0.0, "p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}


def pair_heatmap(
    pairs: pd.DataFrame, blamed: pd.DataFrame, nodes: tuple[str, ...], title: str, subtitle: str
) -> alt.LayerChart | alt.FacetChart:
    """Node × node, one map a rail (the slowest rail of each pair when there are too many cells).

    The cells of those whom blame names or suspects are outlined. What was not measured stays empty.
    """
    median = float(pairs["gbps"].median())
    by_rail = len(pairs) <= INLINE_CELLS and len(nodes) <= 16
    data = pairs if by_rail else slowest_rail(pairs)
    data = marked_pairs(data, blamed)[["source", "destination", "rail", "busbw", "gbps", "blame"]]
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
    layers = [cells, _outline(x, y, 2.5 if len(nodes) <= 32 else 1.5)]
    heading = alt.TitleParams(title, subtitle=subtitle)
    if not by_rail:
        return alt.layer(*layers, data=data).properties(width=side, height=side, title=heading)
    chart = alt.layer(*layers).properties(width=side, height=side)
    facet = alt.Facet("rail:N", title=None, sort=_natural(data["rail"]))
    return chart.facet(facet, columns=max(1, WIDTH // (side + 70)), data=data).properties(title=heading)


def marked_pairs(pairs: pd.DataFrame, blamed: pd.DataFrame) -> pd.DataFrame:
    """``pairs`` with ``blame``: what is said of the node, port or path that a cell belongs to, else NOBODY.

    A rail or a whole fabric that is slow is every cell, and is not marked.
    """
    texts = dict(zip(_texts(blamed, "kind", "node", "peer", "rail"), blamed["text"], strict=True))

    def of(a: str, b: str, rail: str) -> str:
        places: list[tuple[str, ...]] = [("path", a, b, rail), ("path", b, a, rail)]
        places += [("port", end, "", rail) for end in (a, b)]
        places += [("node", end, "", "") for end in (a, b)]
        return next((str(texts[place]) for place in places if place in texts), NOBODY)

    said = [of(a, b, rail) for a, b, rail in _texts(pairs, "source", "destination", "rail")]
    marked: pd.DataFrame = pairs.assign(blame=said)
    return marked


def _texts(table: pd.DataFrame, *columns: str) -> list[tuple[str, ...]]:
    """The rows of these columns as texts."""
    return list(zip(*(map(str, table[column]) for column in columns), strict=True))


def slowest_rail(pairs: pd.DataFrame) -> pd.DataFrame:
    """Each pair's slowest rail."""
    ordered = pairs.sort_values(["source", "destination", "gbps", "rail"], kind="stable")
    worst: pd.DataFrame = ordered.drop_duplicates(["source", "destination"]).reset_index(drop=True)
    return worst


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


def marked_rails(table: pd.DataFrame, blamed: pd.DataFrame) -> pd.DataFrame:
    """A table with node and rail, with ``blame`` as ``marked_pairs`` has it; a GPU marks the rail it uses."""
    known = blamed[blamed["kind"].isin(("node", "port", "gpu"))]
    texts = dict(zip(_texts(known, "node", "rail"), map(str, known["text"]), strict=True))
    places = _texts(table, "node", "rail")
    said = [texts.get((node, rail)) or texts.get((node, ""), NOBODY) for node, rail in places]
    marked: pd.DataFrame = table.assign(blame=said)
    return marked


def rail_matrix(
    pairs: pd.DataFrame, blamed: pd.DataFrame, nodes: tuple[str, ...], title: str, subtitle: str
) -> alt.LayerChart:
    """Rail × node: the median over a node's partners, against the median of all, with numbers where it is slow.

    Those whom blame names or suspects are outlined. The colours end at SPAN, so that a port at half rate does
    not make a node that lacks 4 % look well.
    """
    data = marked_rails(node_rails(pairs), blamed)
    step = min(60, WIDTH / max(1, len(nodes)))
    width = max(60, round(step * len(nodes)))
    x = alt.X("node:N", title="node", sort=list(nodes), axis=_node_axis(label_size(step), -90))
    y = alt.Y("rail:N", title="rail", sort=_natural(data["rail"]))
    colour = alt.Color(
        "change:Q",
        scale=alt.Scale(range=list(DIVERGING), domain=[-SPAN, SPAN], domainMid=0, clamp=True),
        legend=alt.Legend(title="from the median", format="+.0%", labelExpr=_OPEN_ENDED),
    )
    tooltip = [
        alt.Tooltip("node:N"),
        alt.Tooltip("rail:N"),
        alt.Tooltip("gbps:Q", title="median, Gb/s", format=",.4~g"),
        alt.Tooltip("change:Q", title="from the median", format="+.1%"),
        alt.Tooltip("blame:N"),
    ]
    cells = alt.Chart().mark_rect().encode(x=x, y=y, color=colour, tooltip=tooltip).properties(name="cells")
    # on narrow cells the numbers stand upright
    upright = {"angle": 270, "fontSize": 9} if step < NUMBER_WIDTH else {"fontSize": 11}
    numbers = alt.Chart().mark_text(fontWeight="bold", tooltip=False, **upright).encode(
        x=x, y=y, text=alt.Text("change:Q", format="+.0%"),
        # white on the dark end of the scale, dark on its pale middle
        color=alt.condition(f"datum.change < {-0.6 * SPAN!r}", alt.value("#ffffff"), alt.value("#1f2933")),
    )  # fmt: skip
    numbers = numbers.properties(name="on_cells").transform_filter(f"datum.change < {-SLOW!r}")
    outline = _outline(x, y, 2.5 if step >= NUMBER_WIDTH else 1.5)
    chart = alt.layer(cells, outline, numbers, data=data).properties(width=width, height=alt.Step(30))
    return chart.properties(title=alt.TitleParams(title, subtitle=subtitle))


def _outline(x: alt.X, y: alt.Y, width: float) -> alt.Chart:
    """Red frames around the cells that carry a ``blame``."""
    frame = alt.Chart().mark_rect(filled=False, stroke=RED, strokeWidth=width, tooltip=False)
    return frame.encode(x=x, y=y).transform_filter(f"datum.blame != {NOBODY!r}")


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
        layers.append(text.encode(x=x, y=alt.YValue(0), text="text:N"))
    chart = alt.layer(*layers, data=data).properties(width=WIDTH, height=alt.Step(30))
    return chart.properties(title=alt.TitleParams(title, subtitle=subtitle))


def rail_medians(pairs: pd.DataFrame) -> pd.DataFrame:
    """rail, gbps (median over all pairs), note (how many readings, the slowest of them)."""
    grouped = pairs.groupby("rail", sort=True)["gbps"]
    table = pd.DataFrame({"gbps": grouped.median().round(3), "low": grouped.min(), "n": grouped.size()})
    notes = [f"(slowest of {n}: {low:,.4g})" for n, low in zip(table["n"], table["low"], strict=True)]
    medians: pd.DataFrame = table.assign(note=notes).reset_index()[["rail", "gbps", "note"]]
    return medians


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
        alt.Tooltip("blame:N"),
    ]
