"""Rails and pairs of nodes: a slow one shows as a row, a column or a cell."""

from __future__ import annotations

import math
from collections.abc import Mapping

import altair as alt
import pandas as pd

from bench.model.units import BITS, show_count, show_figure, show_share
from reports.frames import Frames
from reports.port_rates import NOBODY, SLOW, as_texts, columns, in_columns, port_rates
from reports.theme import AMBER, BLUE, RED

from .bars import RuleLine, ranked_bars
from .chart import RATE, WIDTH, chart, listed, rule

INLINE_CELLS = (
    5000  # cells of all rails together that one page carries; above it the slowest rail stands for a pair
)
PER_RAIL = 16  # nodes; of more, the slowest rail stands for each pair, and the slowest nodes alone have bars
WORST = 10
NUMBER_WIDTH = 32  # pixels that a number such as +10% needs beside its neighbours
SPAN = 0.10  # from the median: there the colours of the matrix end
_OPEN_ENDED = (
    f"datum.value <= {1 - SPAN} ? datum.label + ' or less' : datum.value >= {1 + SPAN} ? datum.label + ' or more' "
    ": datum.label"
)
DIVERGING = (
    "#a3122b",
    "#d6604d",
    "#c5cad3",
    "#6f9fcf",
    "#1f5fa8",
)  # its middle is grey, not the white of light paper
# what is slow is red however slow it is, and the spread of what is healthy has half of the colours to itself
SHARES = (0.5, 0.95, 0.9501, 1.02)  # of the median, one for each of PAIR_COLOURS
PAIR_COLOURS = ("#8f0f24", "#ef8a62", "#31567d", "#cfe0f2")
TO_WHITE = -0.065  # from the median: the numbers on cells are white below it, black above
QUANTILES = {"min": 0.0, "p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}


def outlined(f: Frames, most: int = 3) -> str:
    """The subjects that the maps outline; with ``most`` 0 only their number, for a short line."""
    texts = [str(text) for text in dict.fromkeys(f.blamed["text"])]
    if not texts:
        return f"nothing is outlined: {_by(f)} names nothing"
    if most:
        return f"outlined: {listed(texts, most)}"
    named = sum(text.startswith("named") for text in texts)
    counts = ((named, "named"), (len(texts) - named, "suspected"))
    return f"outlined: {' and '.join(f'{count} {word}' for count, word in counts if count)} by {_by(f)}"


def _by(f: Frames) -> str:
    """The check whose subjects are outlined."""
    return "blame.rails" if f.rings.empty else "blame.screening"


def _slow_rails(_: Frames, table: pd.DataFrame) -> str:
    slow = table[table["change"] < -SLOW].sort_values("change", kind="stable")
    cells = [f"{row.node} {row.rail} ({show_share(1 + float(row.change))})" for row in slow.itertuples()]
    found = (
        f"More than {SLOW:.0%} below: {listed(cells)}." if cells else f"None is more than {SLOW:.0%} below."
    )
    return f"{show_count(len(table), 'rail')} of nodes against the median of all. {found}"


@chart(
    "rail-matrix", "rails", "Rails and nodes",
    lambda f: f"{outlined(f, 0)}; numbers: % of the median of all, where it is more than {100 * SLOW:.0f} % below"
    + ("; of each leaf the slowest node" if f.leaves else ""),
    data=port_rates, about=_slow_rails,
)  # fmt: skip
def rail_matrix(f: Frames, table: pd.DataFrame) -> alt.LayerChart:
    """Rail × node: the median over a node's partners, against the median of all, with numbers where it is slow. Of
    many nodes a leaf has one column, the slowest leaf first, after the nodes that a failure names.

    Subjects that blame names or suspects are outlined. The colours end at SPAN, so that a port at half rate does
    not make a node that lacks 4 % look well.
    """
    places = columns(f, table)
    names = list(dict.fromkeys(places.values()))
    data = in_columns(table, places) if f.leaves else table
    data = data.assign(share=(1 + data["change"]).round(5)).drop(columns="change")
    step = min(60, WIDTH / max(1, len(names)))
    width = max(60, round(step * len(names)))
    title = ("column", "node or leaf") if f.leaves else ("node", "node")
    x = alt.X(f"{title[0]}:N", title=title[1], sort=names, axis=_node_axis(label_size(step), -90))
    y = alt.Y("rail:N", title="rail", sort=natural(data["rail"]))
    colour = alt.Color(
        "share:Q",
        scale=alt.Scale(range=list(DIVERGING), domain=[1 - SPAN, 1 + SPAN], domainMid=1, clamp=True),
        legend=alt.Legend(title="of the median", format=".0%", labelExpr=_OPEN_ENDED),
    )
    tooltip = [
        alt.Tooltip("node:N"),
        alt.Tooltip("rail:N"),
        alt.Tooltip("gbps:Q", title="median, Gb/s", format=RATE),
        alt.Tooltip("share:Q", title="of the median", format=".1%"),
        alt.Tooltip("blame:N"),
    ]
    cells = alt.Chart().mark_rect().encode(x=x, y=y, color=colour, tooltip=tooltip).properties(name="cells")
    # on narrow cells the numbers stand upright
    upright = {"angle": 270, "fontSize": 9} if step < NUMBER_WIDTH else {"fontSize": 11}
    numbers = alt.Chart().mark_text(fontWeight="bold", tooltip=False, **upright).encode(
        x=x, y=y, text=alt.Text("share:Q", format=".0%"),
        # white on the dark end of the scale, dark on its pale middle
        color=alt.condition(f"datum.share < {1 + TO_WHITE!r}", alt.value("#ffffff"), alt.value("#000000")),
    )  # fmt: skip
    numbers = numbers.properties(name="on_cells").transform_filter(f"datum.share < {1 - SLOW!r}")
    outline = _outline(x, y, 2.5 if step >= NUMBER_WIDTH else 1.5)
    return alt.layer(cells, outline, numbers, data=data).properties(width=width, height=alt.Step(30))


def _slowest_pairs(f: Frames, pairs: pd.DataFrame) -> str:
    slowest = pairs.sort_values(["gbps", "source", "destination", "rail"], kind="stable").head(3)
    cells = [
        f"{row.source} to {row.destination} on {row.rail} ({show_figure(row.gbps)} Gb/s)"
        for row in slowest.itertuples()
    ]
    return (
        f"{show_count(len(pairs), 'reading')} of node pairs, median {show_figure(pairs['gbps'].median())} Gb/s; "
        f"the slowest: {listed(cells)}; {outlined(f)}."
    )


def _map_subtitle(f: Frames) -> str:
    merged = len(slowest_rail(f.pairs)) != len(f.pairs) and len(f.nodes) > PER_RAIL
    merged_words = "; the slowest rail stands for each pair" if merged else ""
    return outlined(f, 0) + ("; the slowest pair stands for two leaves" if f.leaves else merged_words)


@chart(
    "pair-heatmap", "rails", "Every pair of nodes, every rail", _map_subtitle,
    data=lambda f: f.pairs, about=_slowest_pairs,
)  # fmt: skip
def pair_heatmap(f: Frames, pairs: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    """Node × node, one map a rail (the slowest rail of each pair when there are too many cells).

    Cells of subjects that blame names or suspects are outlined. Unmeasured cells stay empty.
    """
    places = columns(f, port_rates(f))
    nodes = list(dict.fromkeys(places.values()))
    by_rail = len(pairs) <= INLINE_CELLS and len(nodes) <= PER_RAIL
    data = marked_pairs(pairs if by_rail else slowest_rail(pairs), f.blamed)
    data = data[["source", "destination", "rail", "busbw", "gbps", "blame"]]
    if f.leaves:
        data = _between_leaves(data, places)
    side = max(90, min(220, 40 * len(nodes))) if by_rail else max(150, min(640, 22 * len(nodes)))
    axis = {"type": "nominal", "sort": nodes, "scale": alt.Scale(domain=nodes)}
    font = label_size(side / max(1, len(nodes)))
    x = alt.X("destination", title="to", axis=_node_axis(font, -90), **axis)
    y = alt.Y("source", title="from", axis=_node_axis(font, 0), **axis)
    tooltip = [
        alt.Tooltip("source:N", title="from"), alt.Tooltip("destination:N", title="to"), alt.Tooltip("rail:N"),
        alt.Tooltip("gbps:Q", title="Gb/s", format=RATE), alt.Tooltip("busbw:Q", title="GB/s", format=RATE),
        *([alt.Tooltip("pair:N")] if f.leaves else []), alt.Tooltip("blame:N"),
    ]  # fmt: skip
    # fixed around the median, not stretched over the data: a healthy fabric must look even
    median = float(pairs["gbps"].median())
    stops = [round(share * median, 3) for share in SHARES]
    scale = alt.Scale(domain=stops, range=list(PAIR_COLOURS), clamp=True)
    legend = alt.Legend(title="Gb/s", values=[stops[0], stops[1], round(median, 3)], format=RATE)
    colour = alt.Color("gbps:Q", scale=scale, legend=legend)
    cells = alt.Chart().mark_rect().encode(x=x, y=y, color=colour, tooltip=tooltip).properties(name="cells")
    layers = [cells, _outline(x, y, 2.5 if len(nodes) <= 32 else 1.5)]
    if not by_rail:
        return alt.layer(*layers, data=data).properties(width=side, height=side)
    chart = alt.layer(*layers).properties(width=side, height=side)
    facet = alt.Facet("rail:N", title=None, sort=natural(data["rail"]))
    return chart.facet(facet, columns=max(1, WIDTH // (side + 70)), data=data)


def _medians(f: Frames, pairs: pd.DataFrame) -> str:
    middle = pairs.groupby("rail", sort=True)["gbps"].median()
    least, most = show_figure(middle.min()), show_figure(middle.max())
    text = f"Point-to-point rates of {show_count(len(middle), 'rail')}; medians from {least} to {most} Gb/s."
    return text + (f" The profile wants {show_figure(f.rail * BITS)} Gb/s." if math.isfinite(f.rail) else "")


@chart(
    "rail-distribution", "rails", "Spread of the pairs of each rail",
    "line: all pairs; pale: p5 to p95; dark: middle half; tick: median",
    data=lambda f: f.pairs, about=_medians,
)  # fmt: skip
def rail_distribution(f: Frames, pairs: pd.DataFrame) -> alt.LayerChart:
    """Per rail: the range of all pairs, its p5 to p95, its quartiles and its median, in Gb/s; the profile's floor."""
    floor = f.rail * BITS
    grouped = pairs.astype({"gbps": float}).groupby("rail", sort=True)[
        "gbps"
    ]  # all missing: pandas 2 has objects
    data = pd.DataFrame({name: grouped.quantile(q).round(3) for name, q in QUANTILES.items()})
    data = data.assign(pairs=grouped.size()).reset_index()
    y = alt.Y("rail:N", title="rail", sort=natural(data["rail"]))
    domain = [x for x in (*data["min"], *data["max"], floor) if math.isfinite(x)]
    margin = max(0.025 * max(domain), 0.05 * (max(domain) - min(domain)))
    limits = [round(min(domain) - margin, 3), round(max(domain) + margin, 3)]
    scale = alt.Scale(domain=limits, zero=False, nice=False)
    tooltip = [alt.Tooltip("rail:N"), alt.Tooltip("pairs:Q")]
    tooltip += [alt.Tooltip(f"{name}:Q", title=f"{name}, Gb/s", format=RATE) for name in QUANTILES]

    def between(low: str, high: str, size: float, opacity: float) -> alt.Chart:
        mark = alt.Chart().mark_bar(size=size, opacity=opacity, color=BLUE)
        x = alt.X(f"{low}:Q", title="one pair on one rail (Gb/s; 8 Gb/s = 1 GB/s)", scale=scale)
        return mark.encode(x=x, x2=f"{high}:Q", y=y, tooltip=tooltip)

    tick = alt.Chart().mark_tick(thickness=3, size=18, color=AMBER)
    middle = tick.encode(x=alt.X("p50:Q", scale=scale), y=y, tooltip=tooltip)
    layers = [
        between("min", "max", 2, 0.9),
        between("p5", "p95", 8, 0.5),
        between("p25", "p75", 16, 0.9),
        middle,
    ]
    if math.isfinite(floor):
        layers += rule(floor, f"floor {show_figure(floor)} Gb/s", "x", None, align="left", dx=4, dy=-4)
    return alt.layer(*layers, data=data).properties(width=WIDTH, height=alt.Step(30))


def _ranked_rails(_: Frames, medians: pd.DataFrame) -> str:
    ranked = medians.sort_values(["gbps", "rail"], ascending=[False, True], kind="stable")
    bars = [f"{row.rail} {show_figure(row.gbps)} Gb/s" for row in ranked.itertuples()]
    return (
        f"Median of {show_count(len(bars), 'rail')} over all pairs of nodes, largest first: {listed(bars)}."
    )


@chart(
    "rail-ranks", "rails", "Rate of each rail", "point-to-point, each way; median over all pairs of nodes",
    data=lambda f: rail_medians(f.pairs), about=_ranked_rails,
)  # fmt: skip
def rail_ranks(f: Frames, medians: pd.DataFrame) -> alt.LayerChart:
    text = f"one rail as sold: {f.nominal * BITS:,.5g} Gb/s = {show_figure(f.nominal)} GB/s"
    return ranked_bars(
        medians, "rail", "gbps", axis="one pair on one rail (Gb/s; 8 Gb/s = 1 GB/s)", format=RATE, note="note",
        missing="nothing was transferred", rule=RuleLine.of(f.nominal * BITS, text),
        least=RuleLine.of(f.rail * BITS, f"floor {show_figure(f.rail * BITS)} Gb/s"),
    )  # fmt: skip


def _totals(_: Frames, totals: pd.DataFrame) -> str:
    ranked = totals.sort_values("gbps", kind="stable")
    low, high = ranked.iloc[0], ranked.iloc[-1]
    return (
        f"Rates of all rails of {show_count(len(totals), 'node')} together: "
        f"from {low['gbps']:,.5g} Gb/s ({low['node']}) "
        f"to {high['gbps']:,.5g} Gb/s ({high['node']})."
    )


@chart(
    "node-totals", "rails", "All rails of each node together",
    lambda f: "point-to-point, all rails at once, each way; median over partners"
    + (f"; a tick for each of {len(f.totals)} nodes, and the slowest {WORST}" if len(f.totals) > PER_RAIL else ""),
    data=lambda f: f.totals, about=_totals,
)  # fmt: skip
def node_totals(f: Frames, totals: pd.DataFrame) -> alt.LayerChart:
    """A bar for each node; of many nodes the slowest ten, below a strip of all."""
    text = f"as sold: {f.target * BITS:,.5g} Gb/s = {show_figure(f.target)} GB/s"
    floor = f.share * f.target * BITS if f.share else math.nan
    data = totals[["node", "gbps", "note"]]
    many = len(data) > PER_RAIL
    worst = data.sort_values(["gbps", "node"], kind="stable").head(WORST) if many else data
    return ranked_bars(
        worst, "node", "gbps", format=RATE, note="note", missing="not measured",
        axis="rails of the node together (Gb/s; 8 Gb/s = 1 GB/s)", rule=RuleLine.of(f.target * BITS, text),
        least=RuleLine.of(floor, f"floor {f.share:.0%}"), strip=data if many else None,
    )  # fmt: skip


def rail_medians(pairs: pd.DataFrame) -> pd.DataFrame:
    """rail, gbps (median over all pairs), note (how many readings, the slowest of them)."""
    grouped = pairs.astype({"gbps": float}).groupby("rail", sort=True)[
        "gbps"
    ]  # all missing: pandas 2 has objects
    table = pd.DataFrame({"gbps": grouped.median().round(3), "low": grouped.min(), "n": grouped.size()})
    notes = [f"(slowest of {n}: {show_figure(low)})" for n, low in zip(table["n"], table["low"], strict=True)]
    medians: pd.DataFrame = table.assign(note=notes).reset_index()[["rail", "gbps", "note"]]
    return medians


def _between_leaves(pairs: pd.DataFrame, places: Mapping[str, str]) -> pd.DataFrame:
    """The slowest pair between two leaves, or nodes that are drawn alone; a pair that blame names before others."""
    named = pairs.assign(
        pair=pairs["source"] + " to " + pairs["destination"],
        source=pairs["source"].map(places),
        destination=pairs["destination"].map(places),
        clear=pairs["blame"] == NOBODY,
    )
    worst = named.sort_values(["clear", "gbps"], kind="stable").drop_duplicates(["source", "destination"])
    found: pd.DataFrame = worst.drop(columns="clear")
    return found


def slowest_rail(pairs: pd.DataFrame) -> pd.DataFrame:
    """Each pair's slowest rail."""
    ordered = pairs.sort_values(["source", "destination", "gbps", "rail"], kind="stable")
    worst: pd.DataFrame = ordered.drop_duplicates(["source", "destination"]).reset_index(drop=True)
    return worst


def marked_pairs(pairs: pd.DataFrame, blamed: pd.DataFrame) -> pd.DataFrame:
    """``pairs`` with ``blame``: the finding on the node, port or path of a cell, else NOBODY.

    A slow rail or fabric concerns every cell and is not marked.
    """
    texts = dict(zip(as_texts(blamed, "kind", "node", "peer", "rail"), blamed["text"], strict=True))

    def of(a: str, b: str, rail: str) -> str:
        places: list[tuple[str, ...]] = [("path", a, b, rail), ("path", b, a, rail)]
        places += [("port", end, "", rail) for end in (a, b)]
        places += [("node", end, "", "") for end in (a, b)]
        return next((str(texts[place]) for place in places if place in texts), NOBODY)

    blame = [of(a, b, rail) for a, b, rail in as_texts(pairs, "source", "destination", "rail")]
    marked: pd.DataFrame = pairs.assign(blame=blame)
    return marked


def _outline(x: alt.X, y: alt.Y, width: float) -> alt.Chart:
    """Red frames around the cells that carry a ``blame``."""
    frame = alt.Chart().mark_rect(filled=False, stroke=RED, strokeWidth=width, tooltip=False)
    return frame.encode(x=x, y=y).transform_filter(f"datum.blame != {NOBODY!r}")


def label_size(step: float) -> int:
    """Font size of labels that stand ``step`` pixels apart, none of them left out."""
    return int(max(6, min(12, step - 2)))


def _node_axis(size: int, angle: int) -> alt.Axis:
    return alt.Axis(labelAngle=angle, labelLimit=140, labelOverlap=size < 11, labelFontSize=max(size, 9))


def natural(names: pd.Series) -> list[str]:
    """Names in the order of the numbers in them: mlx5_2 before mlx5_10."""

    def key(name: str) -> list[tuple[int, int, str]]:
        digits = "".join(c if c.isdigit() else " " for c in name).split()
        return [(0, int(part), "") for part in digits] + [(1, 0, name)]

    return sorted(set(names), key=key)
