"""What the names in a run folder may be: a phase's log is a file, so no name may lead out of the folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.model.printable import A_NAME, is_name, on_one_line
from bench.model.typed_json import Misfit, shown

MOST = 400  # characters of a case's id


def check_phase(name: object, place: str) -> None:
    """Raise Misfit for a phase whose log could be any other file."""
    if not isinstance(name, str) or not is_name(name):
        raise Misfit(f"{place}: {shown(name)} where a name was wanted: {A_NAME}")


def check_case(name: str, place: str) -> None:
    """Raise Misfit for a case's id that reads as a path out of a folder, or does not fit on a line."""
    parts = name.split("/")
    if not name or len(name) > MOST or on_one_line(name) != name or {"", ".", ".."} & set(parts):
        raise Misfit(f"{place}: {shown(name)} where names between slashes were wanted")


def check_run(name: str, place: str) -> None:
    """Raise Misfit for a run that is called as no folder can be."""
    if "/" in name or name in ("", ".", "..") or on_one_line(name) != name:
        raise Misfit(f"{place}: {shown(name)} where the name of a folder was wanted")


def check_line(row: Mapping[str, Any]) -> None:
    """Raise Misfit for a line of the journal, the counters or the health that names no phase by ``phase``."""
    if "phase" in row:
        check_phase(row["phase"], "phase")
