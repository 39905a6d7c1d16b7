"""history list, show, export, check, add, accept: what the nights left behind."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

EXIT_HELP = "Exit status: 0 done, 1 something is wrong in it, 2 wrong usage, 3 it cannot be read or is empty."
where = click.argument("folder", metavar="DIR")
cluster = click.option("--cluster", metavar="NAME", help="Only this one  [default: all of them]")
since = click.option(
    "--since", metavar="DATE", help="Only runs of this UTC day and later, such as 2026-03-04"
)


@click.group(epilog=EXIT_HELP)
def history() -> None:
    """The nights of all clusters: a folder with one file a run, written by railgauge nightly.

    DIR is a folder, also on NFS, or the URL of a bucket. Files that are broken or foreign are named and left out.
    """


@history.command("list", epilog=EXIT_HELP)
@where
@cluster
@since
def list_(**given: Any) -> None:
    """The runs, oldest first, and what changed in the fingerprint with each."""
    from bench.cli.history_command import listed

    sys.exit(listed(**given))


@history.command(epilog=EXIT_HELP)
@where
@cluster
@since
@click.option("--collective", metavar="NAME", help='Such as all_reduce, or "all_reduce (ring)"')
@click.option("--size", metavar="SIZE", help='A size class as it is shown, such as "4 MiB"')
@click.option("--quantity", metavar="NAME", help="busbw or latency")
@click.option("--nights", is_flag=True, help="Every night of each series, not only the last")
def show(**given: Any) -> None:
    """Each series: nights, baseline, last night, label; and its steps with their likely cause."""
    from bench.cli.history_command import shown

    sys.exit(shown(**given))


@history.command(epilog=EXIT_HELP)
@where
@cluster
@since
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Replaced as a whole  [default: standard output]",
)
def export(**given: Any) -> None:
    """Every row, in base units: bytes per second and seconds."""
    from bench.cli.history_command import exported

    sys.exit(exported(**given))


@history.command(epilog=EXIT_HELP)
@where
def check(folder: str) -> None:
    """Read every file to its last byte and compare it with its checksum."""
    from bench.cli.history_command import checked

    sys.exit(checked(folder))


@history.command(epilog=EXIT_HELP)
@where
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--cluster", default="", metavar="NAME", help="Its name  [default: the run's own]")
def add(**given: Any) -> None:
    """Run folders into the history: a night that could not be recorded, or runs from before there was one."""
    from bench.cli.history_command import added

    sys.exit(added(**given))


@history.command(epilog=EXIT_HELP)
@where
@click.option("--why", required=True, metavar="TEXT", help="What changed, for those who ask next year")
@click.option("--who", metavar="NAME", help="Who says so  [default: you, as this machine knows you]")
@click.option("--cluster", metavar="NAME", help="Which one  [default: the only one]")
@click.option(
    "--since",
    metavar="RUN|DATE",
    help="First night of the new level, by run or UTC day  [default: the last run]",
)
@click.option("--collective", default="", metavar="NAME", help="Only this collective  [default: all]")
@click.option(
    "--size", default="", metavar="SIZE", help='Only this size class, such as "4 MiB"  [default: all]'
)
@click.option("--quantity", default="", metavar="NAME", help="Only busbw or latency  [default: all]")
def accept(**given: Any) -> None:
    """Say that a level is meant: nights before it count no more. Kept for good, with who, when and why.

    \b
        railgauge history accept /nfs/railgauge --collective all_reduce --why "NCCL 2.24 chooses NVLSTree"
    """
    from bench.cli.history_command import accepted

    sys.exit(accepted(**given))


COMMANDS = (history,)
