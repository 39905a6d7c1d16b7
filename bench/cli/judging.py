"""judge, report, compare: the commands that read run folders."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .option_types import EXIT_HELP, profile_option


@click.command(epilog=EXIT_HELP)
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@profile_option("Judge by this profile  [default: the run's own]", None)
@click.option("--verbose", is_flag=True, help="Print every verdict, not only what did not pass")
def judge(run_folder: Path, profile_name: str | None, verbose: bool) -> None:
    """Judge a run folder again, on any machine."""
    from bench.cli.judging_command import judge_again

    sys.exit(judge_again(run_folder, profile_name, verbose))


@click.command(epilog=EXIT_HELP)
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
def report(run_folder: Path) -> None:
    """Make the report of a run folder again: report.html, report.md, charts."""
    from bench.cli.judging_command import report_again

    sys.exit(report_again(run_folder))


@click.command(
    epilog="Exit status: 0 B is no slower, 1 B is slower somewhere, 2 wrong usage or unlike, 3 cannot tell."
)
@click.argument("folders", metavar="A... [vs] B...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--anyway", is_flag=True, help="Compare runs that are not alike, and say so")
def compare(folders: tuple[Path, ...], anyway: bool) -> None:
    """Two runs side by side: the ratio of each case, and how sure it is.

    Launches of one machine differ too: only three of each tell a difference of the machines from one of the launches.

    \b
        railgauge compare A1 A2 A3 vs B1 B2 B3
    """
    from bench.cli.judging_command import compared

    sys.exit(compared(folders, anyway))


COMMANDS = (judge, report, compare)
