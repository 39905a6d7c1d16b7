"""A sentence or two for those who do not see the chart: what it shows, and what is to be seen in it."""

from __future__ import annotations

from bench.model.units import BITS
from reports.frames import Frames, swept

from .rails import SLOW, node_rails, rail_medians


def busbw_by_size(f: Frames) -> str:
    curve = f.curve[f.curve["scope"] == ""]
    tops = (
        curve.sort_values("busbw", kind="stable").groupby("series", sort=True).tail(1).sort_values("series")
    )
    peaks = [f"{row.series} peaks at {row.busbw:.4g} GB/s at {row.size_text}" for row in tops.itertuples()]
    return f"Bus bandwidth of {len(peaks)} series against message size. {_list(peaks)}."


def ranked_collectives(f: Frames) -> str:
    ordered = f.best.sort_values(["busbw", "series"], ascending=[False, True], kind="stable")
    bars = [f"{row.series} {row.busbw:.4g} GB/s" for row in ordered.itertuples() if row.busbw > 0]
    absent = [str(row.series) for row in ordered.itertuples() if not row.busbw > 0]
    text = f"Best bus bandwidth, largest first: {_list(bars)}."
    return text + (f" Not measured: {_list(absent)}." if absent else "")


def latency(f: Frames) -> str:
    known = swept(f.curve[f.curve["n"] > 0])
    first = (
        known.sort_values(["size"], kind="stable").groupby("series", sort=True).head(1).sort_values("series")
    )
    parts = [
        f"{row.series} {row.p50:.4g} µs, p99 {row.p99:.4g} µs, at {row.size_text}"
        for row in first.itertuples()
    ]
    return f"p50, p95 and p99 of single calls against message size. At the smallest size: {_list(parts)}."


def small_multiples(f: Frames) -> str:
    count = swept(f.curve)["series"].nunique()
    return f"Bus bandwidth against message size, one small chart for each of {count} series."


def node_totals(f: Frames) -> str:
    totals = f.totals
    ranked = totals.sort_values("gbps", kind="stable")
    low, high = ranked.iloc[0], ranked.iloc[-1]
    return (
        f"What the rails of {len(totals)} nodes carry together: from {low['gbps']:,.5g} Gb/s ({low['node']}) "
        f"to {high['gbps']:,.5g} Gb/s ({high['node']})."
    )


def rail_matrix(f: Frames) -> str:
    table = node_rails(f.pairs)
    slow = table[table["change"] < -SLOW].sort_values("change", kind="stable")
    cells = [f"{row.node} {row.rail} ({row.change:+.0%})" for row in slow.itertuples()]
    return f"{len(table)} rails of nodes against the median of all. " + (
        f"More than {SLOW:.0%} below: {_list(cells)}." if cells else f"None is more than {SLOW:.0%} below."
    )


def pair_heatmap(f: Frames) -> str:
    slowest = f.pairs.sort_values(["gbps", "source", "destination", "rail"], kind="stable").head(3)
    cells = [
        f"{row.source} to {row.destination} on {row.rail} ({row.gbps:.4g} Gb/s)"
        for row in slowest.itertuples()
    ]
    return (
        f"{len(f.pairs)} readings of node pairs, median {f.pairs['gbps'].median():.4g} Gb/s; "
        f"the slowest: {_list(cells)}; {outlined(f)}."
    )


def outlined(f: Frames, most: int = 3) -> str:
    """Whom the outlines of the maps stand for; ``most`` 0 counts them, for a line that must be short."""
    texts = [str(text) for text in dict.fromkeys(f.blamed["text"])]
    if not texts:
        return "nobody is outlined: blame.rails names nobody"
    if most:
        return f"outlined: {_list(texts, most)}"
    named = sum(text.startswith("named") for text in texts)
    counts = ((named, "named"), (len(texts) - named, "suspected"))
    said = " and ".join(f"{count} {word}" for count, word in counts if count)
    return f"outlined: {said} by blame.rails"


def rail_ranks(f: Frames) -> str:
    ranked = rail_medians(f.pairs).sort_values(["gbps", "rail"], ascending=[False, True], kind="stable")
    bars = [f"{row.rail} {row.gbps:.4g} Gb/s" for row in ranked.itertuples()]
    return f"Median of {len(bars)} rails over all pairs of nodes, largest first: {_list(bars)}."


def rail_distribution(f: Frames) -> str:
    middle = f.pairs.groupby("rail", sort=True)["gbps"].median()
    text = f"Point-to-point rates of {len(middle)} rails; medians from {middle.min():.4g} to {middle.max():.4g} Gb/s."
    return text + (f" The profile wants {f.rail * BITS:.4g} Gb/s." if f.rail == f.rail else "")


def _list(parts: list[str], most: int = 8) -> str:
    more = len(parts) - most
    return "; ".join(parts[:most]) + (f"; and {more} more" if more > 0 else "")


def soak_bandwidth(f: Frames) -> str:
    parts = []
    for name, rows in f.soak.groupby("series", sort=False):
        known = rows["busbw"]
        parts.append(
            f"{name}: {len(rows)} windows over {rows['seconds'].max():,.0f} s, "
            f"median {known.median():,.4g}, least {known.min():,.4g} GB/s"
        )
    happened = f"; {len(f.events)} events, the first: {f.events['text'].iloc[0]}" if len(f.events) else ""
    return f"Bus bandwidth under steady load over time. {'; '.join(parts)}{happened}."


def soak_memory(f: Frames) -> str:
    parts = [
        f"{name} {rows['mib'].iloc[0]:,.0f} MiB at first, {rows['mib'].iloc[-1]:,.0f} at last"
        for name, rows in f.memory.groupby("process", sort=False)
    ]
    return f"Resident memory of our own processes over time: {'; '.join(parts)}."
