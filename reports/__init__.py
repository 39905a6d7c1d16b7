"""Draws a judged run: a page, Markdown, charts. Reads the run folder's contract and nothing of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.profile import Profile
    from bench.store import Run

__all__ = ["write"]


def write(run: Run, profile: Profile) -> list[Path]:
    """As ``export.write``; pandas and altair are imported only now, for a documentation site needs neither."""
    from .export import write as written

    return written(run, profile)
