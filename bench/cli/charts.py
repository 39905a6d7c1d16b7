"""charts: what documentation embeds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click


@click.command(
    epilog="Exit status: 0 the charts are written, whatever the verdict; 2 wrong usage; 3 nothing to draw."
)
@click.argument("sources", metavar="RUN... | HISTORY", nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the charts, in your docs"
)
@click.option(
    "--inline", is_flag=True, help="Data inside the specifications  [default: CSV files beside them]"
)
@click.option("--base", default="", metavar="URL", help="Where the CSV files will lie, when not beside them")
@click.option("--library", is_flag=True, help="Write vega.js too (0.9 MB), for sites that use no CDN")
@click.option("--pictures/--no-pictures", default=True, help="SVG in light and dark, and PNG, of every chart")
@click.option("--cluster", help="Of a history, this cluster alone")
def charts(**given: Any) -> None:
    """Write Vega-Lite charts, pictures and Markdown pages that documentation embeds.

    Of one run: its collectives and rails. Of several: ranked beside each other. Of a history: its trends. Run it
    again to update the same files.
    """
    from bench.cli.charts_command import charted

    sys.exit(charted(**given))


COMMANDS = (charts,)
