"""The report of a run: drawn, and where it lies. What draws is imported when something is drawn."""

from __future__ import annotations

from pathlib import Path

import click

from bench.model.profile import Profile
from bench.store import Run


def write_report(run: Run, profile: Profile) -> None:
    """Write the report files of a judged run; pandas and altair are imported only now."""
    from reports import write

    write(run, profile)


def where_report(out: Path) -> None:
    page = out / "report.html"
    if page.exists():
        click.echo(f"report: {page}")
