"""Ranked horizontal bars with value labels: the form in which cluster documentation shows ResNet-50.

Two layers over one source: bars, and text at their end; a nominal y sorted by value, largest first.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import altair as alt
import pandas as pd

from bench.model.late_dataclass import dataclass
from reports.theme import AMBER, BLUE, RED

from .chart import WIDTH
from .chart import rule as drawn_rule

STEP = 22
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|")  # names that are a field and an expression as they stand
LETTER = 6.5  # pixels of one letter of a label


@dataclass(frozen=True)
class RuleLine:
    """A dashed line at ``value`` with what it means."""

    value: float
    text: str

    @classmethod
    def of(cls, value: float, text: str) -> RuleLine | None:
        """None where there is no such value: NaN."""
        return cls(value, text) if math.isfinite(value) else None


def ranked_bars(
    data: str | pd.DataFrame,
    label: str,
    value: str,
    *,
    axis: str,
    title: str = "",
    subtitle: str = "",
    format: str = "~f",
    missing: str = "not run",
    note: str = "",
    rule: RuleLine | None = None,
    least: RuleLine | None = None,
    floor: str = "",
    strip: pd.DataFrame | None = None,
    width: int = WIDTH,
) -> alt.LayerChart:
    """One bar a row, largest first, the value at its end; 0 and absent values are ``missing``, not 0.

    data    a frame, or the URL of a CSV file with a header (its numbers are parsed: text would sort as text)
    label   column of unique names: two rows of one name would be drawn over each other
    value   column of numbers
            (names that are no plain identifiers are read under another: Vega-Lite takes dots for paths)
    note    column of texts to stand after the value, when given
    rule    a line across all bars, drawn once, from separate data
    least   the same for the floor of all bars: those below it are red
    strip   a frame of which these bars are a part: a row of ticks above them, one for each of its rows
    floor   column of the floor of each bar, when given: a tick, and red where the bar ends before it
    """
    columns = {"label": label, "value": value, "note": note}
    fields = {role: name if PLAIN.fullmatch(name) else f"{role}_" for role, name in columns.items()}
    domain = _domain(data, value, note, rule, width)
    base = _base(fields, label, axis, domain, _order(data, label, value, strip))
    below = _below(fields["value"], least, floor)
    colour = alt.ColorValue(**alt.condition(below, alt.value(RED), alt.value(BLUE)))
    bars = base.mark_bar(cornerRadiusEnd=2).encode(color=colour).properties(name="bars")
    texts = base.mark_text(align="left", dx=6, baseline="middle", invalid=None)
    texts = texts.transform_calculate(shown=_words(fields, format, missing, below)).encode(
        text=alt.Text("shown:N")
    )
    if rule and isinstance(data, pd.DataFrame):
        texts = _beside(texts, fields["value"], rule, domain[1] / width, floor)
    layers = [bars, *([_ticks(base, floor)] if floor else []), texts, *_lines(rule, least)]
    if strip is not None:
        layers.insert(0, _strip(base, strip, label, below))
    parsed = value if fields["value"] == value else ""
    chart = alt.layer(*layers, data=_source(data, parsed)).properties(width=width, height=alt.Step(STEP))
    for role, name in columns.items():
        if fields[role] != name:
            read = f"datum[{json.dumps(name)}]"
            chart = chart.transform_calculate(
                **{fields[role]: f"toNumber({read})" if role == "value" else read}
            )
    if not title:
        return chart
    return chart.properties(title=alt.TitleParams(title, subtitle=subtitle or alt.Undefined))


def _below(value: str, least: RuleLine | None, floor: str) -> str:
    """The expression that is true of a bar below its floor."""
    if least:
        return f"datum.{value} < {least.value!r}"
    return f"isValid(datum.{floor}) && datum.{value} < datum.{floor}" if floor else "false"


def _order(data: str | pd.DataFrame, label: str, value: str, strip: pd.DataFrame | None) -> list[str] | None:
    """The rows from top to bottom where a strip of all stands above them: the slowest first."""
    if strip is None or isinstance(data, str):
        return None
    ranked = data.sort_values([value, label], kind="stable")[label]
    return [_all(strip), *map(str, ranked)]


def _all(strip: pd.DataFrame) -> str:
    return f"all {len(strip)}"


def _strip(base: alt.Chart, strip: pd.DataFrame, label: str, below: str) -> alt.Chart:
    rows = strip.drop(columns="note", errors="ignore").rename(columns={label: "which"})
    colour = alt.ColorValue(**alt.condition(below, alt.value(RED), alt.value(BLUE)))
    ticks = base.properties(data=rows.assign(**{label: _all(strip)}), name="strip")
    return ticks.mark_tick(thickness=1.5, size=STEP - 6, opacity=0.7).encode(color=colour)


def _ticks(base: alt.Chart, floor: str) -> alt.Chart:
    tick = base.mark_tick(color=AMBER, thickness=3, size=STEP - 4)
    return tick.encode(x=alt.X(f"{floor}:Q", stack=None)).properties(name="floors")


def _lines(rule: RuleLine | None, least: RuleLine | None) -> list[alt.Chart]:
    """The floor's words end at its line, so that those of the target begin at theirs."""
    found: list[alt.Chart] = []
    if least:
        found += drawn_rule(least.value, least.text, "x", align="right", dx=-4, dy=-8)
    if rule:
        side: dict[str, Any] = {"align": "left", "dx": 4} if least else {"align": "right", "dx": -4}
        found += drawn_rule(rule.value, rule.text, "x", dy=-8, **side)
    return found


def _base(
    fields: dict[str, str], label: str, axis: str, domain: Any, order: list[str] | None = None
) -> alt.Chart:
    """What bars and their labels share; ``order``: of the rows, where not the longest bar is the first."""
    return alt.Chart().encode(
        # both layers name the same aggregate: unlike ones are a warning, and text sorts as text
        y=alt.Y(
            field=fields["label"],
            type="nominal",
            sort=order or alt.EncodingSortField(field=fields["value"], op="max", order="descending"),
            axis=alt.Axis(title=None, labelLimit=320, ticks=False, domain=False, labelPadding=8),
        ),
        x=alt.X(
            field=fields["value"],
            type="quantitative",
            stack=None,
            axis=alt.Axis(title=title_text(axis), tickCount=8),
            scale=alt.Scale(domain=domain),
        ),
        tooltip=[
            alt.Tooltip(field=fields["label"], type="nominal", title=title_text(label)),
            alt.Tooltip(field=fields["value"], type="quantitative", title=title_text(axis)),
        ],
    )


def _words(fields: dict[str, str], format: str, missing: str, below: str) -> str:
    """The expression of the text at the end of a bar."""
    field = f"datum.{fields['value']}"
    words = f"format({field}, {json.dumps(format)})"
    if fields["note"]:
        words += f" + (datum.{fields['note']} ? '  ' + datum.{fields['note']} : '')"
    if below != "false":
        words += f" + ({below} ? ' (below)' : '')"
    return f"isValid({field}) && {field} > 0 ? ({words}) : {json.dumps(missing)}"


def _beside(texts: alt.Chart, value: str, rule: RuleLine, pixel: float, floor: str) -> alt.Chart:
    """Moves a label that the rule or the floor would cross behind that line. ``pixel``: its width in the bars' unit."""
    length = f"{pixel!r} * (10 + {LETTER} * length(datum.shown))"
    bar = f"(isValid(datum.{value}) ? datum.{value} : 0)"
    crossed = f"{bar} <= {rule.value!r} && {bar} + {length} >= {rule.value!r}"
    moved = texts.transform_calculate(end=f"{crossed} ? {rule.value!r} : {bar}")
    if floor:
        crossed = (
            f"isValid(datum.{floor}) && datum.end <= datum.{floor} && datum.end + {length} >= datum.{floor}"
        )
        moved = moved.transform_calculate(end=f"{crossed} ? datum.{floor} : datum.end")
    return moved.encode(x=alt.X("end:Q", stack=None))


def title_text(text: str) -> str:
    """A title without quotes and backslashes: Vega-Lite writes titles into expressions and escapes neither."""
    return text.replace("\\", "/").replace('"', "”")


def _source(data: str | pd.DataFrame, parsed: str) -> alt.UrlData | pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        return data
    # the numbers of a CSV are text unless parsed; a column that is read under another name is converted there
    parse = {parsed: "number"} if parsed else alt.Undefined
    return alt.UrlData(url=data, format=alt.CsvDataFormat(type="csv", parse=parse))


def _domain(data: str | pd.DataFrame, value: str, note: str, rule: RuleLine | None, width: int) -> Any:
    """The axis: from 0 so far that the longest label fits beside the longest bar; a URL's figures set their own."""
    if isinstance(data, str):
        return alt.Undefined
    known = [float(x) for x in data[value] if math.isfinite(x)]
    top = max([*known, rule.value] if rule else known, default=0.0)
    letters = 9 + max((len(str(text)) for text in data[note]), default=0) if note else 9
    room = min(0.5, letters * LETTER / width)
    return [0.0, float(f"{top / (1 - room):.4g}")] if top > 0 else [0.0, 1.0]
