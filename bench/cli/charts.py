"""charts: specifications, data, pictures and pages for documentation, of runs or of a history."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.model.errors import EXIT_INCONCLUSIVE

from .option_types import PATH, option

if TYPE_CHECKING:
    from reports.chart_folder import Page


@click.command(
    epilog="Exit status: 0 the charts are written, whatever the verdict; 2 wrong usage; 3 nothing to draw."
)
@click.argument("sources", metavar="RUN... | HISTORY", nargs=-1)
@option("--out", "Folder for the charts, inside your documentation", PATH, required=True)
@option("--inline", "Put the data into the specifications  [default: CSV files beside them]", bool)
@option("--base URL", "Where the CSV files will be served from, if not beside them", default="")
@option("--library", "Also write vega.js (0.9 MB), for sites without a CDN", bool)
@option("--pictures/--no-pictures", "Also draw every chart as SVG (light, dark) and PNG", default=True)
@option("--cluster", "Only this cluster of a history")
@option("--csv FILE", "Rank the rows of a table instead of a run: give --label and --value too", PATH)
@option("--label COLUMN", "Column of the --csv file with the names")
@option("--value COLUMN", "Column of the --csv file with the numbers; 0 or an empty cell means: not run")
def charts(
    sources: tuple[str, ...],
    out: Path,
    inline: bool,
    base: str,
    library: bool,
    pictures: bool,
    cluster: str | None,
    csv: Path | None,
    label: str | None,
    value: str | None,
) -> int:
    """Write charts and pages to embed in documentation.

    They are Vega-Lite specifications, pictures and Markdown: of one run its collectives and rails, of several runs
    their ranking, of a history its trends, of any CSV file its rows as ranked bars. Run it again to update the same
    files.

    \b
        railgauge charts --csv throughput.csv --label name_gpu --value resnet50 --out docs/charts
    """
    from reports import chart_folder

    base = f"{base.rstrip('/')}/" if base else ""
    if inline and base:
        raise click.UsageError(
            "--inline puts the data into the specifications; --base says where the CSV files are served from: give one"
        )
    if csv is not None or label is not None or value is not None:
        title, pages = _of_table(sources, csv, label, value)
    elif not sources:
        raise click.UsageError("give run folders, or one history, or --csv FILE")
    else:
        title, pages = _pages(sources, cluster)
    drawn = sum(page.drawn for page in pages)
    # charts of a former call must not stay as if they were of this one
    if drawn or (out / "index.md").exists():
        chart_folder.write(out, title, pages, chart_folder.Form(inline, base, library, pictures))
    if not drawn:
        click.echo(
            f"railgauge: {', '.join(sources) or csv}: nothing was measured that a chart could show", err=True
        )
        return EXIT_INCONCLUSIVE
    click.echo(f"charts: {drawn} in {out}, first page {out / 'index.md'}")
    return 0


def _pages(sources: Sequence[str], cluster: str | None) -> tuple[str, tuple[Page, ...]]:
    """Title and pages of run folders, or of one history."""
    from bench.judge.verdicts import judge
    from bench.store import MANIFEST, load
    from reports import doc_pages

    from .page import own_profile

    runs = [Path(source) for source in sources if (Path(source) / MANIFEST).is_file()]
    if not runs and len(sources) == 1 and (Path(sources[0]).is_dir() or "://" in sources[0]):
        return "Charts: every night", _history(sources[0], cluster)
    if len(runs) < len(sources):
        other = next(source for source in sources if Path(source) not in runs)
        kind = "not a run folder" if runs else "neither a run folder nor a history"
        raise click.UsageError(f"{other} is {kind}; give run folders, or one history")
    judged = [judge(load(path), own_profile(path)) for path in runs]
    if len(runs) == 1:
        return doc_pages.heading(judged[0]), doc_pages.run_pages(judged[0])
    return "Charts: runs beside each other", doc_pages.compared_pages(judged)


def _of_table(
    sources: Sequence[str], csv: Path | None, label: str | None, value: str | None
) -> tuple[str, tuple[Page, ...]]:
    """Title and page of a CSV file."""
    from reports.ranked_table import NotATable, ranked_page

    if sources or csv is None or label is None or value is None:
        raise click.UsageError("--csv, --label and --value belong together, without run folders beside them")
    try:
        return ranked_page(csv, label, value)
    except NotATable as error:
        raise click.UsageError(str(error)) from None


def _history(history: str, cluster: str | None) -> tuple[Page, ...]:
    from reports import trends

    pages, problems = trends.history_pages(history, cluster)
    for problem in problems:
        click.echo(f"railgauge: left out {problem}", err=True)
    return pages
