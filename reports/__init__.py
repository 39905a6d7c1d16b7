"""Draws a judged run: a page, Markdown, charts. Reads run folders only, never the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.judge.evidence import Evidence
    from bench.model.profile import Profile
    from bench.model.verdict import Verdict

    from .renderer import Renderer

# Arrow comes with pandas; its own allocator keeps what was freed, a tenth of the memory of the report of 64 nodes
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

__all__ = ["evidence", "get_ready", "refresh", "seal_verdicts", "sealed_verdicts", "write", "write_pdf"]


def evidence(folder: Path, known: str = "") -> str:
    """Digest of everything that a report of this run folder depends on; take it before the folder is read.

    ``known``: its ``evidence_digest``, where that was taken before it was read.
    """
    from .up_to_date import evidence as of_folder

    return of_folder(folder, known)


def write(judged: Evidence, digest: str = "", renderer: Renderer | None = None) -> list[Path]:
    """Write the reports like ``export.write``. pandas and altair are imported now: a documentation site needs neither.

    ``digest``: the folder's ``evidence`` before it was read and judged; "" where the verdicts were only read.
    ``renderer``: one that was started before.
    """
    from .renderer import Renderer

    with renderer or Renderer() as renderer:  # it needs half a second to start, and so do pandas and altair
        from .export import write as written
        from .up_to_date import mark

        seen = digest or evidence(judged.run.path)
        files = written(judged, renderer)
    mark(judged, seen, [str(file.relative_to(judged.run.path)) for file in files], fresh=bool(digest))
    return files


def get_ready() -> None:
    """Do all that drawing takes and no run changes: the imports, altair's first chart, the scripts, the templates."""
    from . import export  # noqa: F401
    from .charts.chart import draw_one_point
    from .scripts import vega
    from .templating import compile_templates

    draw_one_point()
    vega()
    compile_templates()


def write_pdf(judged: Evidence, paper: str) -> Path:
    """Write ``report.pdf`` into the run's folder."""
    from .pdf import write_pdf as written

    return written(judged, paper)


def refresh(judged: Evidence, digest: str) -> list[Path]:
    """Write the reports unless they exist and would be the same; the paths of the files written."""
    from .up_to_date import is_current

    return [] if is_current(judged, digest) else write(judged, digest)


def seal_verdicts(judged: Evidence, digest: str) -> None:
    """Let ``sealed_verdicts`` find what was just judged and saved. ``digest``: see ``write``."""
    from .up_to_date import mark

    mark(judged, digest, (), fresh=True)


def sealed_verdicts(folder: Path, profile: Profile, digest: str) -> tuple[Verdict, ...]:
    """The verdicts of a folder that needs no judging, since nothing has changed since that was done; else none."""
    from .up_to_date import sealed_verdicts as of_folder

    return of_folder(folder, profile, digest)
