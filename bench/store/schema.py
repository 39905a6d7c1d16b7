"""The JSON Schema of the files of a run folder, from the classes that are written to them and read from them."""

from __future__ import annotations

from typing import Any

import msgspec

from bench.model.timings import Blocks, Seconds

from .files import JOURNAL
from .kinds import FILES

TIMES = {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0, "description": "seconds"}}


def schema(name: str) -> dict[str, Any]:
    """Of a file, or of each line of one that ends in ``.jsonl``."""
    found = FILES[name]
    kinds = {} if isinstance(found, type) else {line.__name__: kind for kind, line in found.items()}
    classes = [found] if isinstance(found, type) else [*found.values()]
    refs, parts = msgspec.json.schema_components(classes, schema_hook=_hook, ref_template="#/$defs/{name}")
    for part, kind in kinds.items():
        head: dict[str, Any] = {"kind": {"const": kind}}
        if name == JOURNAL:
            head["time"] = {"type": "number", "description": "seconds since 1970"}
        parts[part]["properties"] = head | parts[part]["properties"]
        parts[part]["required"] = [*head, *parts[part]["required"]]
    whole = {"oneOf": [*refs]} if kinds else refs[0]
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name}
    return {**dialect, **whole, "$defs": parts}


def _hook(kind: type) -> dict[str, Any]:
    if kind is Seconds:
        return TIMES
    if kind is Blocks:
        return {"type": "array", "items": TIMES}
    raise NotImplementedError(kind)
