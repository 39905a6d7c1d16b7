"""Texts that somebody has read once: a file of parts, each with a name; ``--update-golden`` writes what is said today.

Every word and figure counts: a part that differs is read and, if it is right, written anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest


class Golden:
    """The parts of one file."""

    def __init__(self, path: Path, names: Sequence[str], update: bool) -> None:
        parts = path.read_text(encoding="utf-8").split("\n# ")[1:] if path.exists() else []
        self.path, self.names, self.update = path, names, update
        self.known = {name: text for name, _, text in (part.partition("\n") for part in parts)}

    def hold(self, name: str, lines: Sequence[str]) -> None:
        """The lines are as they were when somebody last read them."""
        plain = (line.rstrip().replace("\n", "\\n").replace("\r", "\\r") for line in lines)
        text = "".join(f"{line}\n" for line in plain)
        if self.update:
            self.known[name] = text
        assert text == self.known.get(name), f"see {self.path.name}; if it is right: pytest --update-golden"

    def write(self) -> None:
        found = (f"\n# {name}\n{self.known[name]}" for name in self.names if name in self.known)
        self.path.write_text("".join(found), encoding="utf-8")


class Parts(dict[str, Callable[[], list[str]]]):
    """The functions that make the parts of a file, in the order in which they are defined."""

    def part(self, name: str) -> Callable[[Callable[[], list[str]]], Callable[[], list[str]]]:
        """Decorates the function that makes the part ``name``."""

        def add(made: Callable[[], list[str]]) -> Callable[[], list[str]]:
            self[name] = made
            return made

        return add


def opened(request: pytest.FixtureRequest, path: Path, names: Sequence[str]) -> Iterator[Golden]:
    """For a fixture of a module: the parts in the order of ``names``, which are all that there are."""
    golden = Golden(path, names, request.config.getoption("--update-golden"))
    assert golden.update or set(golden.known) == set(names), f"{path.name}: {set(golden.known) ^ set(names)}"
    yield golden
    if golden.update:
        golden.write()


def shown(value: Any) -> str:
    """A value with all that it holds, figures to four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Enum):
        return str(value.value)
    if is_dataclass(value) and not isinstance(value, type):
        inside = (f"{each.name}={shown(getattr(value, each.name))}" for each in fields(value))
        return f"{type(value).__name__}({', '.join(inside)})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{shown(key)}: {shown(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(map(shown, value))) + "}"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(shown, value)) + ")"
    return str(value)
