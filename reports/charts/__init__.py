"""Charts: pure functions of frames, and the table of those that a report draws.

Adding one touches one place: a row of CHARTS. A function returns None where a run has nothing to draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.units import BITS
from reports.frames import Frames, swept

from . import alt_text
from .bars import Rule, ranked_bars
from .curves import busbw_by_size, latency_percentiles, small_multiples
from .rails import (
    MOST_NUMBERS,
    SLOW,
    pair_heatmap,
    rail_distribution,
    rail_matrix,
    slow_pairs,
    slowest_rail,
)
from .trend import trend

__all__ = ["CHARTS", "Chart", "busbw_by_size", "latency_percentiles", "pair_heatmap", "rail_distribution",
           "rail_matrix", "ranked_bars", "small_multiples", "trend"]  # fmt: skip


@dataclass(frozen=True)
class Chart:
    """One row: the stable name (its file), the heading, the drawing and its alternative text.

    section  "collectives" or "rails": where in the report it stands
    """

    name: str
    title: str
    section: str
    draw: Callable[[Frames], Any | None]
    about: Callable[[Frames], str]


def _busbw_by_size(f: Frames) -> Any | None:
    curve = f.curve[f.curve["scope"] == ""]
    if curve.empty:
        return None
    subtitle = "median of pipelined blocks, slowest group; band: slowest to fastest block"
    return busbw_by_size(curve, _target(f), _BUSBW, subtitle)


def _ranked_collectives(f: Frames) -> Any | None:
    if f.best.empty:
        return None
    subtitle = "the size at which the slowest group is fastest"
    rule = Rule(f.target, f"rails of a node: {f.target:,.4g} GB/s = {f.target * BITS:,.5g} Gb/s")
    return ranked_bars(
        f.best[["series", "busbw", "note"]], "series", "busbw", title=_RANKED, subtitle=subtitle,
        axis="bus bandwidth (GB/s; 1 GB/s = 8 Gb/s)", format=",.4~g", missing="not measured", note="note",
        rule=rule if math.isfinite(_target(f)) else None,
    )  # fmt: skip


def _small_multiples(f: Frames) -> Any | None:
    known = swept(f.curve)
    if known["series"].nunique() < 2:
        return None
    return small_multiples(known, _MULTIPLES, "each with its own scale; band: slowest to fastest block")


def _latency(f: Frames) -> Any | None:
    known = swept(f.curve[f.curve["n"] > 0])
    if known.empty:
        return None
    return latency_percentiles(
        known, _LATENCY, "single calls, each as long as its slowest rank; both axes logarithmic"
    )


def _node_totals(f: Frames) -> Any | None:
    if f.totals.empty:
        return None
    floor = f.target
    rule = Rule(floor * BITS, f"as sold: {floor * BITS:,.5g} Gb/s = {floor:,.4g} GB/s")
    return ranked_bars(
        f.totals[["node", "gbps", "note"]], "node", "gbps", title=_TOTALS,
        subtitle="point-to-point, all rails at once, each way; median over partners", format=",.4~g", note="note",
        axis="rails of the node together (Gb/s; 8 Gb/s = 1 GB/s)", missing="not measured",
        rule=rule if math.isfinite(f.target) else None,
    )  # fmt: skip


def _pair_heatmap(f: Frames) -> Any | None:
    if f.pairs.empty:
        return None
    subtitle = f"{len(slow_pairs(f.pairs))} of {len(f.pairs)} readings more than {SLOW:.0%} below the median, outlined"
    if len(slowest_rail(f.pairs)) != len(f.pairs) and len(f.nodes) > 16:
        subtitle += "; the slowest rail stands for each pair"
    return pair_heatmap(f.pairs, f.nodes, _PAIRS, subtitle)


def _rail_matrix(f: Frames) -> Any | None:
    if f.pairs.empty:
        return None
    subtitle = f"boxed: more than {SLOW:.0%} below the median of all" + (
        "; the number says how much" if len(f.nodes) <= MOST_NUMBERS else ""
    )
    return rail_matrix(f.pairs, f.nodes, _MATRIX, subtitle)


def _rail_distribution(f: Frames) -> Any | None:
    if f.pairs.empty:
        return None
    subtitle = "line: all pairs; pale: p5 to p95; dark: middle half; tick: median"
    return rail_distribution(f.pairs, f.rail * BITS, _RAILS, subtitle)


def _target(f: Frames) -> float:
    # on one node nothing crosses the rails: a rule would invite a comparison that means nothing
    return f.target if len(f.nodes) > 1 else math.nan


_BUSBW, _RANKED = "Bus bandwidth against message size", "Best bus bandwidth of each collective"
_MULTIPLES, _LATENCY = "Each collective by itself", "Latency percentiles against message size"
_TOTALS, _PAIRS = "What the rails of each node carry together", "Every pair of nodes, every rail"
_MATRIX, _RAILS = "Rails and nodes", "How the pairs of each rail spread"

CHARTS = (
    Chart("busbw-by-size", _BUSBW, "collectives", _busbw_by_size, alt_text.busbw_by_size),
    Chart("ranked-collectives", _RANKED, "collectives", _ranked_collectives, alt_text.ranked_collectives),
    Chart("latency-percentiles", _LATENCY, "collectives", _latency, alt_text.latency),
    Chart("small-multiples", _MULTIPLES, "collectives", _small_multiples, alt_text.small_multiples),
    Chart("rail-matrix", _MATRIX, "rails", _rail_matrix, alt_text.rail_matrix),
    Chart("pair-heatmap", _PAIRS, "rails", _pair_heatmap, alt_text.pair_heatmap),
    Chart("rail-distribution", _RAILS, "rails", _rail_distribution, alt_text.rail_distribution),
    Chart("node-totals", _TOTALS, "rails", _node_totals, alt_text.node_totals),
)
