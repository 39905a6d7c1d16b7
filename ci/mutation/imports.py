"""Which files a test file can run at all: what it imports, and what that imports. Pure: reads text, runs nothing."""

from __future__ import annotations

import ast
import functools
from collections.abc import Collection, Iterator
from pathlib import Path


class Imports:
    """The imports of a tree's ``bench`` and ``tests``, wherever in a file they stand."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def reach(self, file: Path, wanted: Collection[str]) -> bool:
        """Whether a test file imports one of these, by itself, through others or by its conftest."""
        return not wanted or bool(
            {path.relative_to(self.root).as_posix() for path in self._all(file)} & {*wanted}
        )

    def _all(self, file: Path) -> set[Path]:
        folders = [folder for folder in file.parents if self.root in (folder, *folder.parents)]
        left = [file, *(folder / "conftest.py" for folder in folders)]
        found: set[Path] = set()
        while left:
            path = left.pop()
            if path not in found and path.exists():
                found.add(path)
                left += self._of(path)
        return found

    @functools.cache  # noqa: B019 - lives as long as the process
    def _of(self, path: Path) -> tuple[Path, ...]:
        names = set(_names(ast.parse(path.read_text(encoding="utf-8")), path.relative_to(self.root)))
        places = (self.root, self.root / "tests", path.parent)
        files = {file for name in names for place in places for file in _files(place, name)}
        return tuple(sorted(files))


def _names(tree: ast.Module, own: Path) -> Iterator[str]:
    """Dotted names of modules, and of what may be one: of ``from a import b`` both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = own.parts[: -node.level] if node.level else ()
            base = ".".join((*above, *([node.module] if node.module else [])))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _files(place: Path, name: str) -> Iterator[Path]:
    """The module's file, and those of the packages around it, which are run first."""
    parts = name.split(".")
    yield place.joinpath(*parts[:-1], f"{parts[-1]}.py")
    yield from (place.joinpath(*parts[:end], "__init__.py") for end in range(1, len(parts) + 1))
