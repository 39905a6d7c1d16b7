"""Ranked horizontal bars with value labels: the form in which cluster documentation shows ResNet-50.

Two layers over one source: bars, and text at their end; a nominal y sorted by value, largest first.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from ..theme import BLUE, NEUTRAL, RED

WIDTH, STEP = 800, 22
LETTER = 6.5  # pixels of one letter of a label


@dataclass(frozen=True)
class Rule:
    """A dashed line at ``value`` with what it means; bars below a ``floor`` are marked in words and colour."""

    value: float
    text: str
    floor: bool = False


def ranked_bars(
    data: str | pd.DataFrame,
    label: str,
    value: str,
    *,
    title: str,
    axis: str,
    subtitle: str = "",
    format: str = "~f",
    missing: str = "not run",
    note: str = "",
    rule: Rule | None = None,
    width: int = WIDTH,
) -> alt.LayerChart:
    """One bar a row, largest first, the value at its end; 0 and absent values are ``missing``, not 0.

    data    a frame, or the URL of a CSV file with a header (its numbers are parsed: text would sort as text)
    label   column of unique names: two rows of one name would be drawn over each other
    value   column of numbers
    note    column of texts to stand after the value, when given
    rule    a line across all bars, drawn once from data of its own
    """
    source = _source(data, value)
    seen = f"datum[{json.dumps(value)}]"
    below = f"{seen} < {rule.value!r}" if rule and rule.floor else "false"
    shown = f"format({seen}, {json.dumps(format)})"
    if note:
        shown += f" + '  ' + datum[{json.dumps(note)}]"
    if rule and rule.floor:
        shown += f" + ({below} ? ' (below)' : '')"
    base = alt.Chart().encode(
        # both layers name the same aggregate: unlike ones are a warning, and text sorts as text
        y=alt.Y(
            field=escape(label),
            type="nominal",
            sort=alt.EncodingSortField(field=escape(value), op="max", order="descending"),
            axis=alt.Axis(title=None, labelLimit=320, ticks=False, domain=False, labelPadding=8),
        ),
        x=alt.X(
            field=escape(value),
            type="quantitative",
            stack=None,
            axis=alt.Axis(title=axis, tickCount=8),
            scale=alt.Scale(domain=_domain(data, value, note, rule, width)),
        ),
        tooltip=[
            alt.Tooltip(field=escape(label), type="nominal", title=label),
            alt.Tooltip(field=escape(value), type="quantitative", title=axis),
        ],
    )
    bars = base.mark_bar(cornerRadiusEnd=2).properties(name="bars")
    bars = bars.encode(color=alt.condition(below, alt.value(RED), alt.value(BLUE)))
    texts = base.mark_text(align="left", dx=6, baseline="middle", color=NEUTRAL, invalid=None).transform_calculate(
        shown=f"isValid({seen}) && {seen} > 0 ? ({shown}) : {json.dumps(missing)}"
    )
    texts = texts.encode(text=alt.Text("shown:N"))
    layers = [bars, texts, *(_rule(rule) if rule else ())]
    chart = alt.layer(*layers, data=source).properties(width=width, height=alt.Step(STEP))
    return chart.properties(title=alt.TitleParams(title, subtitle=subtitle) if subtitle else alt.TitleParams(title))


def escape(field: str) -> str:
    """A column name as a Vega-Lite field: dots, brackets and quotes in it are no path, a colon no type."""
    escaped = field
    for character in "\\.[]'\"":  # the backslash first
        escaped = escaped.replace(character, "\\" + character)
    return escaped


def _source(data: str | pd.DataFrame, value: str) -> alt.UrlData | pd.DataFrame:
    if isinstance(data, str):
        return alt.UrlData(url=data, format=alt.CsvDataFormat(type="csv", parse={value: "number"}))
    return data


def _domain(data: str | pd.DataFrame, value: str, note: str, rule: Rule | None, width: int) -> Any:
    """From 0 so far that the longest label stands beside the longest bar; a URL's figures decide by themselves."""
    if isinstance(data, str):
        return alt.Undefined
    known = [float(x) for x in data[value] if math.isfinite(x)]
    top = max([*known, rule.value] if rule else known, default=0.0)
    letters = 9 + max((len(str(text)) for text in data[note]), default=0) if note else 9
    room = min(0.5, letters * LETTER / width)
    return [0.0, float(f"{top / (1 - room):.4g}")] if top > 0 else [0.0, 1.0]


def _rule(rule: Rule) -> tuple[alt.Chart, alt.Chart]:
    # data of its own: on the bars' data it would be drawn once a bar, fat and jagged
    one = alt.InlineData(values=[{"text": rule.text}])
    line = alt.Chart(one).mark_rule(strokeDash=[6, 4], strokeWidth=1.5, color=NEUTRAL)
    text = alt.Chart(one).mark_text(align="right", dx=-4, dy=-8, baseline="bottom", color=NEUTRAL, fontWeight="bold")
    x = alt.X(datum=rule.value, type="quantitative")
    return line.encode(x=x), text.encode(x=x, y=alt.value(0), text="text:N")
