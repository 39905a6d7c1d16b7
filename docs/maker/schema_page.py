"""The page of the run folder: every file and field, from the JSON Schema of the classes that are written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from bench.store.schema import FILES, schema

from .markdown import table, text


def schema_page() -> str:
    """Each file of a run folder with the fields of its lines."""
    lines = [
        "# The run folder",
        "`runs/<time>-<profile>/` holds all that was seen. Verdicts and reports are made from it and can be made "
        "again. Files that end in `.jsonl` hold one JSON object a line, written as it happens; an unknown "
        "figure is `null`.",
        "    railgauge schema               # the JSON Schema of every file\n"
        "    railgauge schema journal.jsonl # of one\n"
        "    railgauge verify RUN           # is the evidence still the one that the report was made of?",
    ]
    for name in FILES:
        lines += _file(name)
    return "\n\n".join(lines) + "\n"


def _file(name: str) -> Iterator[str]:
    found = schema(name)
    yield f"## `{name}`"
    parts = found["$defs"]
    top = [ref["$ref"].rpartition("/")[2] for ref in found.get("oneOf", [found]) if "$ref" in ref]
    if not top:
        yield "The shape of the file as JSON Schema:"
        yield _code({key: value for key, value in found.items() if key not in ("$schema", "$defs", "title")})
    for part in [*top, *(each for each in parts if each not in top)]:
        yield from _part(part, parts[part])


def _part(name: str, part: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    about = re.split(r"\n\s*\n", part.get("description", ""))[0]
    if about:
        yield text(about)
    rows = [
        (f"`{field}`", text(_type(kind)), text(kind.get("description", "")))
        for field, kind in part.get("properties", {}).items()
    ]
    if rows:
        yield table(("field", "type", "meaning"), rows)
    elif not about:
        yield text(_type(part))


def _type(kind: dict[str, Any]) -> str:
    """A type in words."""
    if "$ref" in kind:
        return kind["$ref"].rpartition("/")[2]
    if "const" in kind:
        return json.dumps(kind["const"])
    if "enum" in kind:
        return " or ".join(json.dumps(value) for value in kind["enum"])
    if "anyOf" in kind:
        return " or ".join(dict.fromkeys(map(_type, kind["anyOf"])))
    if kind.get("type") == "array":
        inner = kind.get("items") or {}
        return f"list of {_type(inner)}" if inner else "list"
    if kind.get("type") == "object":
        inner = kind.get("additionalProperties")
        return f"object of {_type(inner)}" if isinstance(inner, dict) and inner else "object"
    said = kind.get("type", "any")
    return " or ".join(said) if isinstance(said, list) else str(said)


def _code(found: dict[str, Any]) -> str:
    return f"```json\n{json.dumps(found, indent=1)}\n```"
