"""nightly: measure a night, compare it with those before."""

from __future__ import annotations

import sys
from typing import Any

import click

from .option_types import EXIT_HELP, Seconds, run_options


@click.command(epilog=EXIT_HELP)
@click.option(
    "--history",
    required=True,
    metavar="DIR|URL",
    help="Where the nights of all clusters lie: a folder, NFS, or a bucket that fsspec knows",
)
@click.option(
    "--budget",
    type=Seconds(),
    default="10m",
    show_default=True,
    metavar="TIME",
    help="For all of it, re-runs included",
)
@click.option(
    "--cluster",
    default="",
    metavar="NAME",
    help="Its name in the history  [default: one machine's own, Slurm's, else the profile's]",
)
@click.option(
    "--new",
    is_flag=True,
    help="Begin anew: without it, a history that lost the nights which runs beside this one recorded is an error",
)
@click.option(
    "--webhook",
    envvar="RAILGAUGE_WEBHOOK",
    metavar="URL",
    help="Send a digest to a chat's incoming webhook; also RAILGAUGE_WEBHOOK, which no process list shows",
)
@run_options
def nightly(**given: Any) -> None:
    """Every night: a short plan, compared with the nights before; an alarm only when something moved.

    What is out of line is measured again at once; only what is out of line twice fails. Start it as accept:

    \b
        railgauge nightly --history /nfs/railgauge
        srun --mpi=pmix railgauge nightly --history /nfs/railgauge --profile lambda-1cc-h100
    """
    from bench.cli.nightly_command import nightly

    sys.exit(nightly(given))


COMMANDS = (nightly,)
