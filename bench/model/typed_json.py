"""JSON as the dataclass that it was: every value held against the type that its field is written with.

What a type wants is worked out once, not for each of the hundred thousand values of a cluster's facts.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from .errors import RailGaugeError

# a place: what it is inside of, and the field, index or key in it; only a mistake writes it out
Place = tuple[Any, object]
Loader = Callable[[object, Place], Any]
NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
LONGEST = 60  # characters of a value that did not fit


class Misfit(RailGaugeError, ValueError):
    """A value that is not of its type; the message says where."""


def load(kind: type, value: object, name: str) -> Any:
    """``value`` as ``kind``: a dataclass whose fields are dataclasses, tuples, mappings, unions with None or plain
    types. A key that is no field is left out. Misfit otherwise, with the place, which begins with ``name``.
    """
    return _loader(kind)(value, (None, name))


@cache
def _loader(kind: Any) -> Loader:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _optional(_loader(next(item for item in arguments if item is not type(None))))
    if is_dataclass(kind):
        return _dataclass(kind)
    if origin is tuple:
        inner = [_loader(item) for item in arguments if item is not Ellipsis]
        return _list(inner[0]) if arguments[-1] is Ellipsis else _tuple(inner)
    if origin is not None:
        return _mapping(_loader(arguments[1]))
    if kind is Any:
        return lambda value, place: value
    return _float if kind is float else _plain(kind)


def _optional(inner: Loader) -> Loader:
    return lambda value, place: None if value is None else inner(value, place)


def _dataclass(kind: Any) -> Loader:
    hints = get_type_hints(kind)
    loaders = [(item.name, _loader(hints[item.name])) for item in fields(kind) if item.init]
    needed = [item.name for item in fields(kind) if item.default is MISSING is item.default_factory]

    def load_dataclass(value: object, place: Place) -> Any:
        if not isinstance(value, dict):
            raise _misfit(place, f"{shown(value)} where an object was wanted")
        known = {name: inner(value[name], (place, name)) for name, inner in loaders if name in value}
        for name in needed:
            if name not in known:
                raise _misfit((place, name), "is missing")
        return kind(**known)

    return load_dataclass


def _list(inner: Loader) -> Loader:
    def load_list(value: object, place: Place) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise _misfit(place, f"{shown(value)} where a list was wanted")
        return tuple([inner(item, (place, at)) for at, item in enumerate(value)])

    return load_list


def _tuple(inner: list[Loader]) -> Loader:
    def load_tuple(value: object, place: Place) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise _misfit(place, f"{shown(value)} where a list was wanted")
        if len(inner) != len(value):
            raise _misfit(place, f"{len(value)} items where {len(inner)} were wanted")
        return tuple(
            [each(item, (place, at)) for at, (each, item) in enumerate(zip(inner, value, strict=True))]
        )

    return load_tuple


def _mapping(inner: Loader) -> Loader:
    def load_mapping(value: object, place: Place) -> dict[str, Any]:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise _misfit(place, f"{shown(value)} where an object was wanted")
        return {key: inner(item, (place, key)) for key, item in value.items()}

    return load_mapping


def _float(value: object, place: Place) -> float:
    if type(value) is int and abs(value) < 1 << 1000:
        return float(value)
    if type(value) is not float or not math.isfinite(value):
        raise _misfit(place, f"{shown(value)} where a number was wanted")
    return value


def _plain(kind: type) -> Loader:
    def load_plain(value: object, place: Place) -> Any:
        if type(value) is not kind:
            raise _misfit(place, f"{shown(value)} where {NAMES[kind]} was wanted")
        return value

    return load_plain


def shown(value: object) -> str:
    """As it stands in the file, on one line, and its beginning alone where it is long."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = type(value).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\N{HORIZONTAL ELLIPSIS}"


def _misfit(place: Place, what: str) -> Misfit:
    words: list[str] = []
    inside: Any = place
    while inside is not None:
        inside, step = inside
        words.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    return Misfit(f"{''.join(reversed(words)).removeprefix('.')}: {what}")
