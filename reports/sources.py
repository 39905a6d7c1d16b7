"""The data of a specification: inline, as Altair writes it, or in CSV files beside it, by URL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.model.printable import csv_line

Values = Sequence[Mapping[str, Any]]


def by_url(spec: Mapping[str, Any], name: str, base: str = "") -> tuple[dict[str, Any], dict[str, str]]:
    """(the specification with its data as ``<base><file>``, file → CSV text).

    The data of the whole chart become ``<name>.csv``, those of a named layer ``<name>.<layer>.csv``; one-row data
    of rules and their labels stay inline. ``base``: what goes before a file's name, "" for beside the specification.
    """
    tables: Mapping[str, Values] = spec.get("datasets", {})
    names: dict[str, str] = {}
    top = {key: value for key, value in spec.items() if key != "datasets"}
    _name(top, name, True, tables, names)
    files = {f"{file}.csv": csv_text(tables[key]) for key, file in names.items()}
    return _moved(top, tables, names, base), files


def csv_text(rows: Values) -> str:
    """A header and the rows; a missing value is empty. Texts are quoted only where they must be."""
    columns = list(rows[0]) if rows else []
    return csv_line(columns) + "".join(csv_line(row.get(column) for column in columns) for row in rows)


def types(rows: Values) -> dict[str, str]:
    """Vega-Lite's ``parse`` for each column: CSV is text, and text would be sorted as text."""
    return {column: _type([row.get(column) for row in rows]) for column in (rows[0] if rows else ())}


def _type(values: Sequence[Any]) -> str:
    known = [value for value in values if value is not None]
    if any(isinstance(value, bool) for value in known):
        return "boolean"
    return "number" if all(isinstance(value, (int, float)) for value in known) else "string"


def _name(view: Any, name: str, whole: bool, tables: Mapping[str, Values], names: dict[str, str]) -> None:
    """A file's name for each table that the chart as a whole, or a view with a name, refers to."""
    if isinstance(view, list):
        for each in view:
            _name(each, name, False, tables, names)
    if not isinstance(view, dict):
        return
    data = view.get("data")
    key = data.get("name") if isinstance(data, dict) else None
    if key in tables and (whole or view.get("name")):
        names.setdefault(str(key), name if whole else f"{name}.{view['name']}")
    for each in view.values():
        _name(each, name, False, tables, names)


def _moved(value: Any, tables: Mapping[str, Values], names: Mapping[str, str], base: str) -> Any:
    if isinstance(value, list):
        return [_moved(each, tables, names, base) for each in value]
    if not isinstance(value, dict):
        return value
    moved = {key: _moved(each, tables, names, base) for key, each in value.items()}
    data = value.get("data")
    key = data.get("name") if isinstance(data, dict) else None
    if key in names:
        parse = types(tables[str(key)])
        moved["data"] = {"url": f"{base}{names[str(key)]}.csv", "format": {"type": "csv", "parse": parse}}
    elif key in tables:
        moved["data"] = {"values": list(tables[str(key)])}
    return moved
