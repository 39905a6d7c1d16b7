"""``titles.json``: what a person calls the cluster, and its site or order, on every report of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.model.titles import Titles
from bench.model.typed_json import decode, encode

from .files import TITLES, RunError, read_file, write_file

NONE = Titles()


def titles_of(folder: Path, otherwise: Titles = NONE) -> Titles:
    """What was given, or else ``otherwise``; where the file is damaged a report is drawn all the same."""
    try:
        found = decode(Titles, read_file(folder, TITLES))
    except (RunError, ValueError):
        return otherwise
    return Titles(found.title or otherwise.title, found.site or otherwise.site)


def save_titles(folder: Path, title: str | None, site: str | None) -> None:
    """Keep what was given (None: as before). Raises RunError."""
    found = titles_of(folder)
    found = replace(
        found, title=found.title if title is None else title, site=found.site if site is None else site
    )
    write_file(folder, TITLES, encode(found) + b"\n")
