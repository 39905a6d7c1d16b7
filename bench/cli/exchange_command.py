"""Commands that take in or give out other tools' formats."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from bench.cli.terminal import summarise
from bench.judge.verdicts import status
from bench.model.profile import load
from bench.model.verdict import EXIT
from bench.run.finish import settle
from bench.store import load as load_run
from bench.store import not_written, write_text

from .page import where_report, write_report
from .start import new_folder


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
    from bench.exchange.importing.run_folder import Wanted, import_files

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


def exported(folder: Path, form: str, out: Path | None, step_summary: bool) -> int:
    """A run in another tool's format: printed, as a file that is replaced as a whole, or in GitHub's summary."""
    from bench.exchange.exporting.formats import export

    text = export(load_run(folder), form)
    if step_summary:
        _append(step_summary_file(os.environ), text)
    elif out is None:
        click.echo(text, nl=False)
    elif out.exists() and not out.is_file():  # a pipe or a device is written to, not replaced by a file
        _append(out, text)
    else:
        write_text(out, text, named=True)
    return 0


def step_summary_file(environment: Mapping[str, str]) -> Path:
    """The file that GitHub shows beside a job; it is appended to, as other tools write there too."""
    name = environment.get("GITHUB_STEP_SUMMARY")
    if not name:
        raise click.UsageError(
            "--step-summary: GITHUB_STEP_SUMMARY is not set; this is no step of a GitHub job"
        )
    return Path(name)


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise not_written(path, error) from None
