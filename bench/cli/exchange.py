"""import, export: other tools' formats."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .option_types import EXIT_HELP, out_option, profile_option

FORMATS = ("nccl-tests", "csv", "junit", "prometheus", "grafana", "github")  # as bench.exchange has them


@click.command("import", epilog=EXIT_HELP)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@out_option("import")
@profile_option("What the platform should be")
@click.option("--collective", default="", metavar="NAME", help="Where the files do not name it")
@click.option("--ranks", type=click.IntRange(1), metavar="N", help="Where the files do not tell")
@click.option(
    "--nodes", type=click.IntRange(1), metavar="N", help="Where the files do not tell; ranks node by node"
)
@click.option(
    "--unit", default="", metavar="UNIT", help="Of a perftest JSON's bandwidth: MB/sec, MiB/sec or Gb/sec"
)
@click.option("--algorithm", default="auto", metavar="NAME", help="Forced when they were taken, such as ring")
def import_(**given: Any) -> None:
    """Results of nccl-tests (text, -J) and perftest (text, --out_json) as a run folder, judged like our own.

    \b
        railgauge import all_reduce.log --nodes 2 --profile lambda-1cc-b200
    """
    from bench.cli.exchange_command import imported

    sys.exit(imported(**given))


@click.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMATS), default="nccl-tests", show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Replaced as a whole  [default: standard output]",
)
@click.option(
    "--step-summary", is_flag=True, help="Append GitHub's format to the file that GITHUB_STEP_SUMMARY names"
)
def export(run_folder: Path, form: str, out: Path | None, step_summary: bool) -> None:
    """A run in another tool's format: rows, verdicts or metrics.

    nccl-tests and csv are the rows, junit a test case a verdict, prometheus a text file for node_exporter, grafana
    the dashboard that reads it, github the summary of a step.

    \b
        railgauge export runs/tonight --format prometheus --out /var/lib/node_exporter/railgauge.prom
    """
    from bench.cli.exchange_command import exported

    if step_summary and form not in ("github", "nccl-tests"):
        raise click.UsageError(f"--step-summary is GitHub's format, not {form}")
    sys.exit(exported(run_folder, "github" if step_summary else form, out, step_summary))


COMMANDS = (import_, export)
