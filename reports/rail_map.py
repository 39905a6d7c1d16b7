"""The map of rails × nodes on the first page, and what is left out below: slow cells are red and named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.judge.problems import Place, places_in, shortfall
from bench.model.late_dataclass import dataclass
from bench.model.units import show_share, show_size
from bench.model.verdict import Status

from .charts.rails import natural
from .port_rates import NOBODY, SLOW, columns, in_columns, port_rates
from .summary import PageInput
from .traffic import by_window, is_excluded

WIDEST, GAP = 12.5, 0.17  # per cent of the map's width: a cell at most, and what is free beside it
ROW = 21  # pixels of a row
MOST_LABELS = 4


@dataclass(frozen=True)
class MapCell:
    """One rail of one node: ``x`` in per cent of the map's width, ``y`` in pixels. ``named``: blame names it."""

    x: float
    y: int
    bad: bool
    named: bool
    place: str
    percent: str
    words: str


@dataclass(frozen=True)
class MapLabel:
    """A label beside a red cell. ``anchor``: SVG's text-anchor, start on its right and end on its left."""

    x: float
    y: int
    anchor: str
    text: str


@dataclass(frozen=True)
class RailMap:
    """Cells of ``width`` per cent, the worst first; the labels of both axes, and of the worst cell of each rail.

    So a phone shows the same map as a wide screen, with letters of the same size.

    excluded  cells of the ports that must carry nothing, in rows below those of the rails
    note      how much those ports carried; "" where the profile excludes none
    leaves    whether columns are leaves, each by its slowest node, after the nodes that a failure names
    """

    cells: list[MapCell]
    excluded: list[MapCell]
    width: float
    rails: list[tuple[int, str]]
    nodes: list[tuple[float, str]]
    labels: list[MapLabel]
    good: int
    note: str
    leaves: bool


def rail_map(shown: PageInput) -> RailMap | None:
    """The map of the rails; None where no pairs of nodes were measured."""
    table = port_rates(shown.f)
    if table.empty:
        return None
    column, names = columns(shown.f, table), natural(table["rail"])
    nodes = list(dict.fromkeys(column.values()))
    step = min(WIDEST, 100 / len(nodes))
    places = {name: round(at * step, 3) for at, name in enumerate(nodes)}
    across = {node: places[name] for node, name in column.items()}
    down = {rail: ROW * at for at, rail in enumerate(names)}
    accused = set(table["rail"][table["blame"] != NOBODY])
    shares = _named_shares(shown)
    cells = []
    for row in in_columns(table, column).to_dict("records"):
        # of two nodes the median of a rail is that of its only partner: the fault of one is not the other's
        innocent = len(nodes) == 2 and row["rail"] in accused
        named = row["blame"] != NOBODY
        bad = named or (row["change"] < -SLOW and not innocent)
        share = shares.get((str(row["node"]), str(row["rail"])), 1 + row["change"])
        cells.append(
            _cell(row, across[str(row["node"])], down[str(row["rail"])], bad, named, show_share(share))
        )
    every = max(1, math.ceil(len(nodes) / (8 if shown.f.leaves else 16)))
    excluded, below, note = _excluded(shown, across, ROW * len(names))
    return RailMap(
        cells,
        excluded,
        round(max(step - GAP, 0.8 * step), 3),
        [(y + 14, rail) for rail, y in (down | below).items()],
        [(places[name], name) for name in nodes[::every]],
        labels([*cells, *excluded], step),
        sum(not cell.bad for cell in cells),
        note,
        bool(shown.f.leaves),
    )


def _named_shares(shown: PageInput) -> dict[Place, float]:
    """Each port that blame names → its share of its peers' rate, as the sentence says it."""
    places = places_in(shown.run)
    named = [each for each in shown.run.verdicts if each.check == "blame.rails" and each.value is not None]
    return {place: 1 - shortfall(each) for each in named for place in places(each.subject)}


def _excluded(
    shown: PageInput, across: Mapping[str, float], top: int
) -> tuple[list[MapCell], dict[str, int], str]:
    """The cells of the excluded ports that have byte counters, where each row begins, and what each carried at most."""
    moved: dict[Place, int] = {}
    failed = _failed(shown)
    for window, port, traffic in by_window(shown.judged):
        place = window.node.name, port
        if window.node.name in across and is_excluded(port, shown.profile) and traffic.sent is not None:
            moved[place] = max(moved.get(place, 0), traffic.sent + (traffic.received or 0))
    down = {port: top + ROW * at for at, port in enumerate(sorted({port for _, port in moved}))}
    cells: dict[tuple[float, int], MapCell] = {}  # of several nodes in one column the one that carried most
    for (node, port), count in sorted(moved.items(), key=lambda each: (each[0] in failed, each[1])):
        bad, words = (node, port) in failed, show_size(count)
        x, y, name = across[node], down[port], f"{node} {port}"
        cells[x, y] = MapCell(x, y, bad, bad, name, words, f"{name}: carried {words}")
    most = {port: max(count for (_, each), count in moved.items() if each == port) for port in down}
    note = "; ".join(f"{port} carried at most {show_size(count)} in a phase" for port, count in most.items())
    return list(cells.values()), down, note


def _failed(shown: PageInput) -> set[Place]:
    """The excluded ports that carried the traffic of a phase."""
    places = places_in(shown.run)
    found = [each for each in shown.run.verdicts if each.check == "exclusion.bytes"]
    return {place for each in found if each.status is Status.FAIL for place in places(each.subject)}


def _cell(row: Mapping[Any, Any], x: float, y: int, bad: bool, named: bool, percent: str) -> MapCell:
    place = f"{row['node']} {row['rail']}"
    return MapCell(x, y, bad, named, place, percent, f"{place}: {percent}, {row['gbps']:,.4g} Gb/s")


def labels(cells: Sequence[MapCell], step: float) -> list[MapLabel]:
    """Label the worst red cell of each rail, first of all one that blame names, on the side that has more room."""
    found: dict[int, MapLabel] = {}
    for cell in sorted((cell for cell in cells if cell.bad), key=lambda cell: not cell.named):
        left = cell.x + step <= 50
        x = cell.x + step if left else cell.x - GAP
        text = f"{cell.place}: {cell.percent}"
        found.setdefault(cell.y, MapLabel(round(x, 3), cell.y + 14, "start" if left else "end", text))
    return list(found.values())[:MOST_LABELS]
