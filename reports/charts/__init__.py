"""Charts: pure functions of frames, and the table of those that a report draws.

Adding one touches one place: a row of CHARTS. A function returns None where a run has nothing to draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.model.units import BITS
from reports.frames import Frames, swept

from . import alt_text
from .bars import Rule, ranked_bars
from .curves import busbw_by_size, latency_percentiles, small_multiples
from .rails import (
    SLOW,
    pair_heatmap,
    rail_distribution,
    rail_matrix,
    rail_medians,
    slowest_rail,
)
from .soak import soak_bandwidth, soak_memory
from .trend import trend

__all__ = ["CHARTS", "Chart", "busbw_by_size", "latency_percentiles", "pair_heatmap", "rail_distribution",
           "rail_matrix", "ranked_bars", "small_multiples", "trend"]  # fmt: skip


@dataclass(frozen=True)
class Chart:
    """One row: the stable name (its file), the heading, the drawing and its alternative text.

    section  "collectives", "rails" or "soak": where in the report it stands
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
    subtitle = "median of pipelined blocks, slowest group; whiskers: slowest to fastest block"
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


def _rail_ranks(f: Frames) -> Any | None:
    if f.pairs.empty:
        return None
    known = rail_medians(f.pairs)
    rule = Rule(f.nominal * BITS, f"one rail as sold: {f.nominal * BITS:,.5g} Gb/s = {f.nominal:,.4g} GB/s")
    return ranked_bars(
        known, "rail", "gbps", title=_RANKS, subtitle="point-to-point, each way; median over all pairs of nodes",
        format=",.4~g", note="note", axis="one pair on one rail (Gb/s; 8 Gb/s = 1 GB/s)", missing="nothing got through",
        rule=rule if math.isfinite(f.nominal) else None,
    )  # fmt: skip


def _pair_heatmap(f: Frames) -> Any | None:
    if f.pairs.empty:
        return None
    subtitle = alt_text.outlined(f, 0)
    if len(slowest_rail(f.pairs)) != len(f.pairs) and len(f.nodes) > 16:
        subtitle += "; the slowest rail stands for each pair"
    return pair_heatmap(f.pairs, f.blamed, f.nodes, _PAIRS, subtitle)


def _rail_matrix(f: Frames) -> Any | None:
    if f.pairs.empty:
        return None
    subtitle = f"{alt_text.outlined(f, 0)}; numbers: more than {SLOW:.0%} below the median of all"
    return rail_matrix(f.pairs, f.blamed, f.nodes, _MATRIX, subtitle)


def _rail_distribution(f: Frames) -> Any | None:
    if f.pairs.empty:
        return None
    subtitle = "line: all pairs; pale: p5 to p95; dark: middle half; tick: median"
    return rail_distribution(f.pairs, f.rail * BITS, _RAILS, subtitle)


def _soak_bandwidth(f: Frames) -> Any | None:
    if f.soak.empty:
        return None
    subtitle = "median of each window's blocks; band: down to its slowest block"
    return soak_bandwidth(f.soak, f.events, _SOAK, subtitle)


def _soak_memory(f: Frames) -> Any | None:
    if f.memory.empty:
        return None
    return soak_memory(f.memory, _SOAK_MEMORY, "the largest of all ranks; flat is well")


def _target(f: Frames) -> float:
    # on one node nothing crosses the rails: a rule would invite a comparison that means nothing
    return f.target if len(f.nodes) > 1 else math.nan


_BUSBW, _RANKED = "Bus bandwidth against message size", "Best bus bandwidth of each collective"
_MULTIPLES, _LATENCY = "Each collective by itself", "Latency percentiles against message size"
_TOTALS, _PAIRS = "What the rails of each node carry together", "Every pair of nodes, every rail"
_RANKS = "What each rail carries"
_SOAK, _SOAK_MEMORY = "Bandwidth under steady load", "Memory of our own processes"
_MATRIX, _RAILS = "Rails and nodes", "How the pairs of each rail spread"

CHARTS = (
    Chart("busbw-by-size", _BUSBW, "collectives", _busbw_by_size, alt_text.busbw_by_size),
    Chart("ranked-collectives", _RANKED, "collectives", _ranked_collectives, alt_text.ranked_collectives),
    Chart("latency-percentiles", _LATENCY, "collectives", _latency, alt_text.latency),
    Chart("small-multiples", _MULTIPLES, "collectives", _small_multiples, alt_text.small_multiples),
    Chart("rail-matrix", _MATRIX, "rails", _rail_matrix, alt_text.rail_matrix),
    Chart("pair-heatmap", _PAIRS, "rails", _pair_heatmap, alt_text.pair_heatmap),
    Chart("rail-distribution", _RAILS, "rails", _rail_distribution, alt_text.rail_distribution),
    Chart("rail-ranks", _RANKS, "rails", _rail_ranks, alt_text.rail_ranks),
    Chart("node-totals", _TOTALS, "rails", _node_totals, alt_text.node_totals),
    Chart("soak-bandwidth", _SOAK, "soak", _soak_bandwidth, alt_text.soak_bandwidth),
    Chart("soak-memory", _SOAK_MEMORY, "soak", _soak_memory, alt_text.soak_memory),
)
