"""Commands that take in or give out other tools' formats."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench.judge import status
from bench.model import EXIT
from bench.profile import load
from bench.settle import settle
from bench.store import load as load_run
from bench.terminal import summarise

from .judging import where_report, write_report
from .measuring import new_folder


def imported(
    files: tuple[Path, ...],
    out: Path | None,
    profile_name: str,
    collective: str,
    ranks: int | None,
    nodes: int | None,
    unit: str,
    algorithm: str,
) -> int:
    """Make a run folder of result files, judge it and write its report."""
    from bench.interchange import Wanted, import_files

    profile = load(profile_name)
    folder = out or new_folder("import")
    wanted = Wanted(collective, ranks, nodes, unit, algorithm)
    made = import_files(files, folder, profile, wanted, ("railgauge", *sys.argv[1:]))
    click.echo(made.text)
    run = settle(folder, profile)
    write_report(run, profile)
    summarise(run, verbose=False, short=False)
    where_report(folder)
    return EXIT[status(run)]


def exported(folder: Path, form: str) -> int:
    """Print the rows of a run in another tool's format."""
    from bench.interchange import export

    click.echo(export(load_run(folder), form), nl=False)
    return 0
