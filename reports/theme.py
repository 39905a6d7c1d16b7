"""How charts look, and how a chart becomes the text of a specification.

Specifications carry no configuration, no background and no colour of text, so that a page's own theme decides (a
light island on a dark page is unreadable); their other marks use colours that show on white and on black.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from bench.model.printable import plain

# whether Altair validates each chart by Vega-Lite's schema, which takes longer than making the chart: tests validate
# every chart, runs do not
VALIDATED = False
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"

BLUE, RED, AMBER, GREEN = "#4c78a8", "#d1495b", "#f2a541", "#3d9970"
NEUTRAL = "#808894"  # rules; no grey is legible as text on white and on black, so text has the configuration's colour
SERIES = (
    "#4c78a8", "#f58518", "#e45756", "#54a24b", "#b279a2", "#9d755d",
    "#439894", "#d6a100", "#d67195", "#808894", "#7f63c9", "#1f9bcf",
)  # fmt: skip
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
# the collectives that training waits for, in colours that every eye tells apart; the others are quiet
FIRST = {
    "all_reduce": "#1f9bcf",
    "all_gather": "#b8860b",
    "reduce_scatter": "#8a3ffc",
    "all_to_all": "#ee6677",
}
QUIET = ("#808894", "#a39171", "#6f8f8a")


def looks(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Name → its colour and the shape of its points, no two alike; the collectives of FIRST before the others."""
    known = set(names)
    first = [name for name in FIRST if name in known]
    rest = sorted(known - set(first))
    colours = QUIET if first else SERIES
    found = {name: (FIRST[name], SHAPES[at]) for at, name in enumerate(first)}
    for at, name in enumerate(rest):
        turn = at // len(SHAPES) if first else at
        found[name] = (
            colours[turn % len(colours)],
            SHAPES[(at + at // len(colours) * (not first)) % len(SHAPES)],
        )
    return found


FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
INK = {"light": ("#1f2933", "#52606d", "#e4e7eb"), "dark": ("#e6e9ee", "#a7b0bc", "#343b46")}
PAPER = {"light": "#ffffff", "dark": "#14181d"}

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30
SIZE_LABEL = (
    f"datum.value >= {_GIB} ? format(datum.value / {_GIB}, '~g') + ' GiB' : "
    f"datum.value >= {_MIB} ? format(datum.value / {_MIB}, '~g') + ' MiB' : "
    f"datum.value >= {_KIB} ? format(datum.value / {_KIB}, '~g') + ' KiB' : datum.value + ' B'"
)

# of microseconds
MICRO_LABEL = (
    "datum.value >= 1e6 ? format(datum.value / 1e6, '~g') + ' s' : "
    "datum.value >= 1e3 ? format(datum.value / 1e3, '~g') + ' ms' : format(datum.value, '~g') + ' µs'"
)


def size_ticks(sizes: Iterable[int], most: int = 9) -> list[int]:
    """Powers of two from the smallest to the largest size, evenly spaced, at most ``most`` of them."""
    known = [size for size in sizes if size > 0]
    if not known:
        return []
    low, high = math.ceil(math.log2(min(known))), math.floor(math.log2(max(known)))
    step = max(1, math.ceil((high - low + 1) / most))
    return [1 << power for power in range(low, high + 1, step)] or [min(known)]


def config(mode: str) -> dict[str, Any]:
    """A Vega-Lite configuration for ``light`` or ``dark``, for places where no page brings its own."""
    return config_of_colours(INK[mode])


def config_of_colours(colours: tuple[str, ...]) -> dict[str, Any]:
    """A Vega-Lite configuration with these colours: of text, of secondary text, of the grid."""
    ink, soft, grid = colours
    return {
        "font": FONT,
        "background": "transparent",
        "view": {"stroke": None},
        "title": {"color": ink, "subtitleColor": soft, "anchor": "start", "fontSize": 15, "subtitleFontSize": 12,
                  "offset": 12, "subtitlePadding": 4},
        "axis": {"labelColor": ink, "titleColor": soft, "gridColor": grid, "domainColor": soft, "tickColor": soft,
                 "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 8},
        "legend": {"labelColor": ink, "titleColor": soft, "labelFontSize": 12, "titleFontSize": 12,
                   "titleFontWeight": "normal", "symbolOpacity": 1},
        "header": {"labelColor": ink, "titleColor": soft, "labelFontSize": 12, "labelFontWeight": "bold"},
        "range": {"category": list(SERIES)},
        "text": {"color": ink},
    }  # fmt: skip


def specification(chart: Any) -> dict[str, Any]:
    """The Vega-Lite specification of an Altair chart, without its configuration.

    The schema is named as v5: what a documentation site's plugins know, and rendered alike by v5 and v6.
    """
    spec: dict[str, Any] = chart.to_dict(validate=VALIDATED)
    spec.pop("config", None)
    return {**spec, "$schema": SCHEMA}


def drawable(value: Any) -> Any:
    """A specification whose texts can be drawn: a control character makes the renderer end the whole process."""
    if isinstance(value, dict):
        return {key: drawable(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [drawable(inner) for inner in value]
    return plain(value) if isinstance(value, str) else value


def text_of(spec: dict[str, Any]) -> str:
    """A specification as text: the same bytes for the same chart, on every machine."""
    return json.dumps(spec, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
