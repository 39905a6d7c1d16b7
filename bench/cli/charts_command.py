"""charts: specifications, data, pictures and pages for documentation, of runs or of a history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.judge.verdicts import judge
from bench.model.verdict import EXIT, Status
from bench.store import MANIFEST, Run
from bench.store import load as load_run

from .judging_command import own_profile

if TYPE_CHECKING:
    from reports.docs import Page


def charted(
    sources: tuple[str, ...],
    out: Path,
    inline: bool,
    base: str,
    library: bool,
    pictures: bool,
    cluster: str | None,
) -> int:
    """Write the folder; the exit status is 0 once it stands, whatever the verdict of a run in it."""
    from reports import doc_pages, docs

    base = f"{base.rstrip('/')}/" if base else ""
    if inline and base:
        raise click.UsageError(
            "--inline puts the data into the specifications; --base says where files of it lie"
        )
    runs = [Path(source) for source in sources if (Path(source) / MANIFEST).is_file()]
    if runs and len(runs) < len(sources):
        other = next(source for source in sources if Path(source) not in runs)
        raise click.UsageError(f"{other} is no run folder; give run folders, or one history")
    if runs:
        judged = [(_judged(path), own_profile(path)) for path in runs]
        if len(runs) == 1:
            title, pages = doc_pages.heading(*judged[0]), doc_pages.run_pages(*judged[0])
        else:
            title, pages = "Charts: runs beside each other", doc_pages.compared_pages(judged)
    elif len(sources) == 1 and (Path(sources[0]).is_dir() or "://" in sources[0]):
        title, pages = "Charts: every night", _history(sources[0], cluster)
    else:
        raise click.UsageError(
            f"{sources[0]} is no run folder and no history; give run folders, or one history"
        )
    drawn = sum(page.drawn for page in pages)
    if (
        drawn or (out / "index.md").exists()
    ):  # charts of a former call must not stay as if they were of this one
        docs.write(out, title, pages, docs.Form(inline, base, library, pictures))
    if not drawn:
        click.echo(f"railgauge: {', '.join(sources)}: nothing was measured that a chart could show", err=True)
        return EXIT[Status.ERROR]
    click.echo(f"charts: {drawn} in {out}, first page {out / 'index.md'}")
    return 0


def _judged(path: Path) -> Run:
    return judge(load_run(path), own_profile(path))


def _history(history: str, cluster: str | None) -> tuple[Page, ...]:
    from reports import trends

    pages, problems = trends.history_pages(history, cluster)
    for problem in problems:
        click.echo(f"railgauge: left out {problem}", err=True)
    return pages
