"""The four layers of every rail side by side (link, verbs, point-to-point, collective), and which of them loses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.judge.evidence import Evidence
from bench.judge.wire import RailLayers, RailRow, of_layers
from bench.judge.wire.rail_figures import Figure
from bench.judge.wire.rail_latency import RailLatencies, of_latencies
from bench.judge.wire.rail_layers import NAMES
from bench.model.units import BITS, GIGA, MICRO, show_share, show_some
from bench.model.verdict import COUNTED, Status

from .sections import View
from .summary import PageInput
from .tables import ABSENT, Cell, ReportTable, badge

HEAD = ("node", "rail", *(f"{name} Gb/s (GB/s)" for name in NAMES), "ib_write_lat µs", "loss in", "status")
MOST = 64  # rows that stand open; of more, those that do not pass


def read_layers(evidence: Evidence) -> RailLayers | None:
    """The table of a run; None where perftest was not asked for."""
    return of_layers(evidence) if evidence.run.perftest else None


def layers(shown: PageInput) -> View | None:
    """The values of the section; None for a run without perftest's measurements."""
    found = read_layers(shown.judged)
    if found is None:
        return None
    rows = [row for row in found.rows if len(found.rows) <= MOST or row.status is not Status.PASS][:MOST]
    latencies = of_latencies(shown.judged)
    return {
        "found": found,
        "first": layer_table(rows, latencies),
        "every": layer_table(found.rows, latencies),
        "reasons": unknowns(found)[:MOST],
    }


def layer_table(rows: Sequence[RailRow], latencies: RailLatencies) -> ReportTable:
    """The rate of each layer with how it was measured, or why it is absent; the latency; the layer that loses."""
    lines: list[tuple[Cell | str, ...]] = [
        (row.node, Cell(row.rail, row.rail, kind="code"), *map(_cell, row.figures.values()),
         _latency(row, latencies), _loser(row), badge(row.status))
        for row in rows
    ]  # fmt: skip
    return ReportTable("Layers of each rail", HEAD, lines)


def worst_first(rows: Iterable[RailRow]) -> list[RailRow]:
    return sorted(rows, key=lambda row: list(COUNTED).index(row.status))


def _cell(figure: Figure) -> Cell:
    return Cell(_both(figure), figure.rate if figure.told else "", True, title=figure.text)


def _latency(row: RailRow, latencies: RailLatencies) -> Cell:
    best = latencies.best((row.node, row.rail))
    if best is None:
        return Cell(ABSENT, "", True, title=latencies.left)
    other = next(end.node for end in (best.receiver, best.sender) if end.node != row.node)
    return Cell(f"{best.seconds / MICRO:,.3g}", best.seconds, True, title=f"one way, with {other}")


def _both(figure: Figure) -> str:
    return f"{figure.rate * BITS / GIGA:,.4g} ({figure.rate / GIGA:,.4g})" if figure.told else ABSENT


def _loser(row: RailRow) -> str:
    if row.loser:
        return f"{NAMES[row.loser.layer]}, {show_share(row.loser.lost)}"
    if row.status is Status.PASS:
        return "none"
    unknown = [name for name, figure in row.figures.items() if not figure.told and figure.should]
    return f"unknown: {', '.join(unknown)}" if unknown else row.text


def unknowns(found: RailLayers) -> list[str]:
    """Each reason why a layer is not known, once, with the rails that it holds for."""
    reasons: dict[str, list[str]] = {}
    for row in found.rows:
        for reason in row.missing:
            reasons.setdefault(reason, []).append(f"{row.node} {row.rail}")
    return [f"{reason} ({show_some(rails, 2, 'rails')})" for reason, rails in reasons.items()]
