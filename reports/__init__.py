"""Draws a judged run: a page, Markdown, charts. Reads the run folder's contract and nothing of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.model.profile import Profile
    from bench.store import Run

__all__ = ["evidence", "refresh", "write"]


def evidence(folder: Path) -> str:
    """Digest of all that a report of this run folder is made from, to be taken before the folder is read."""
    from .stamp import evidence as digest

    return digest(folder)


def write(run: Run, profile: Profile, seen: str = "") -> list[Path]:
    """As ``export.write``; pandas and altair are imported only now, for a documentation site needs neither.

    ``seen``: the folder's ``evidence``, where anybody may still write in it.
    """
    from .renderer import Renderer

    with Renderer() as renderer:  # it needs half a second to start, and so do pandas and altair
        from .export import write as written
        from .stamp import mark

        seen = seen or evidence(run.path)
        files = written(run, profile, renderer)
    mark(run, profile, seen, [str(file.relative_to(run.path)) for file in files])
    return files


def refresh(run: Run, profile: Profile, seen: str) -> list[Path]:
    """As ``write``, unless the reports are there and would come out the same; the paths that were written."""
    from .stamp import is_current

    return [] if is_current(run, profile, seen) else write(run, profile, seen)
