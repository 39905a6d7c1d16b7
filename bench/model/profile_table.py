"""One table of a profile's TOML text: its values by kind, limits with their sources, unknown keys as errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.model.errors import EXIT_USAGE, RailGaugeError

from .verdict import Bound

CONFIDENCES = ("measured", "published", "derived", "stated")


class ProfileError(RailGaugeError, ValueError):
    """A profile that cannot be used; the message names the file, the key and what is known."""

    exit_status = EXIT_USAGE


class ProfileTable:
    """One TOML table that knows which of its keys were asked for; the others are errors."""

    def __init__(self, data: dict[str, Any], where: str) -> None:
        self._data, self.where, self._known = data, where, set[str]()

    def take(
        self, key: str, kind: type | tuple[type, ...], default: Any = None, required: bool = False
    ) -> Any:
        self._known.add(key)
        if key not in self._data:
            if required:
                raise ProfileError(f"{self.where}: {key} is missing")
            return default
        value = self._data[key]
        if not isinstance(value, kind) or (kind in (int, (int, list)) and isinstance(value, bool)):
            raise ProfileError(f"{self.where}: {key} must be {_KINDS[kind]}, not {value!r}")
        return value

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        values = self.take(key, list, list(default))
        if not all(isinstance(value, str) for value in values):
            raise ProfileError(f"{self.where}: {key} must be a list of texts")
        return tuple(values)

    def pair(self, key: str, default: tuple[int, int], read: Callable[[Any], int]) -> tuple[int, int]:
        values = self.take(key, list, None)
        if values is None:
            return default
        if len(values) != 2:
            raise ProfileError(f"{self.where}: {key} must be [least, most]")
        least, most = read(values[0]), read(values[1])
        if least > most:
            raise ProfileError(f"{self.where}: {key} has its least above its most")
        return least, most

    def table(self, key: str) -> ProfileTable:
        return ProfileTable(self.take(key, dict, {}), f"{self.where} [{key}]")

    def tables(self, key: str) -> list[ProfileTable]:
        rows = self.take(key, list, [])
        if not all(isinstance(row, dict) for row in rows):
            raise ProfileError(f"{self.where}: [[{key}]] must be tables")
        return [ProfileTable(row, f"{self.where} [[{key}]] {i}") for i, row in enumerate(rows, 1)]

    def bound(self, key: str, read: Callable[[str], float]) -> Bound | None:
        if key not in self._data:
            self._known.add(key)
            return None
        return _bound(self.table(key), read)

    def done(self) -> None:
        unknown = sorted(set(self._data) - self._known)
        if unknown:
            raise ProfileError(
                f"{self.where}: unknown key {', '.join(unknown)}; known: {', '.join(sorted(self._known))}"
            )


_KINDS: dict[type | tuple[type, ...], str] = {
    bool: "true or false",
    str: "a text",
    int: "a whole number",
    list: "a list",
    dict: "a table",
    float: "a number",
    (int, list): "a whole number or a list of them",
}


def _bound(table: ProfileTable, read: Callable[[str], float]) -> Bound:
    bound = sourced(table, "value", read)
    table.done()
    if not bound.value > 0:
        raise ProfileError(f"{table.where}: value {bound.text!r} must be above 0")
    return bound


def sourced(table: ProfileTable, key: str, read: Callable[[str], float]) -> Bound:
    """The limit that stands under ``key``, with its source."""
    text = table.take(key, str, required=True)
    return Bound(
        value=read(text),
        text=text,
        source=table.take("source", str, required=True),
        date=table.take("date", str, ""),
        confidence=one_of(table, "confidence", CONFIDENCES, "stated"),
    )


def one_of(table: ProfileTable, key: str, known: tuple[str, ...], default: str) -> str:
    value: str = table.take(key, str, default)
    if value not in known:
        raise ProfileError(f"{table.where}: {key} {value!r} is unknown; known: {', '.join(known)}")
    return value


def whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ProfileError(f"{value!r} is not a whole number")
    return value
