"""The JSON Schema of the files of a run folder, from the classes that are written to them and read from them."""

from __future__ import annotations

import inspect
import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bench.model.run_folder_lines import DrawnReports, HeardBroadcasts
from bench.model.timings import Blocks, Seconds
from bench.probe.fabric.run_tools import ToolAnswer

from . import line_classes
from .files import DRAWN, FABRIC, HISTORY, JOURNAL, LOGS, WIRING
from .history.nights import SavedPast
from .owner_seal import SEAL

TIMES = {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0, "description": "seconds"}}
Seal = Annotated[
    str, Meta(pattern="^[0-9a-f]{64}$", description="HMAC-SHA256 of manifest and plan by the user's key")
]
FILES: dict[str, Any] = line_classes.FILES | {
    HISTORY: SavedPast,
    SEAL: tuple[Seal, Seal],  # as manifest and plan are, and as they will be once the next of them is written
    DRAWN: DrawnReports,
    f"{LOGS}/{FABRIC}": tuple[ToolAnswer, ToolAnswer, ToolAnswer],
    f"{LOGS}/{WIRING}": dict[str, HeardBroadcasts],
}
# how a docstring describes a field: on a line of its own, or in a few words behind its name
_LISTED = re.compile(r"^(\w+(?:, \w+)*)  +(\S.*(?:\n {4,}\S.*)*)", re.MULTILINE)
_INLINE = re.compile(r"``(\w+)``(?::| is| are)\s+([^;`]+?)(?=[;.]|$)")


def schema(name: str) -> dict[str, Any]:
    """The schema of a file, or of each line of one that ends in ``.jsonl``."""
    return schema_of(name, FILES[name])


def schema_of(title: str, found: Any, whole: bool = False) -> dict[str, Any]:
    """The schema of a class, or of each class of lines by kind. ``whole``: every field is always written."""
    lines = {line.__name__: kind for kind, line in found.items()} if isinstance(found, dict) else {}
    classes = [*found.values()] if lines else [found]
    refs, parts = msgspec.json.schema_components(classes, schema_hook=_hook, ref_template="#/$defs/{name}")
    for part in parts.values():
        _describe(part)
        if whole and "properties" in part:
            part["required"] = [*part["properties"]]
    for part, kind in lines.items():
        head: dict[str, Any] = {"kind": {"const": kind}}
        if title == JOURNAL:
            head["time"] = {"type": "number", "description": "seconds since 1970"}
        parts[part]["properties"] = head | parts[part]["properties"]
        parts[part]["required"] = [*head, *parts[part]["required"]]
    top = {"oneOf": [*refs]} if lines else refs[0]
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return {**dialect, **top, "$defs": parts}


def _describe(part: dict[str, Any]) -> None:
    """Add to each field what the docstring of its class says of it."""
    about, fields = inspect.cleandoc(part.get("description", "")), part.get("properties", {})
    part["description"] = about
    for names, text in (*_LISTED.findall(about), *_INLINE.findall(about)):
        for field in (fields[name] for name in names.split(", ") if name in fields):
            field.setdefault("description", " ".join(text.split()))


def _hook(kind: type) -> dict[str, Any]:
    if kind is Seconds:
        return TIMES
    if kind is Blocks:
        return {"type": "array", "items": TIMES}
    raise NotImplementedError(kind)
