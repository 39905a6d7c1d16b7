"""Texts of the program as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

MARKUP = re.compile(r"[\\*_<>\[\]|&]")


def text(said: str) -> str:
    """A sentence as it is: what Markdown or HTML would read as markup stays visible."""
    parts = re.split(r"(`[^`]+`)", " ".join(said.replace("``", "`").split()))
    return "".join(part if part.startswith("`") else MARKUP.sub(_entity, part) for part in parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _entity(found: re.Match[str]) -> str:
    return f"&#{ord(found[0])};"
