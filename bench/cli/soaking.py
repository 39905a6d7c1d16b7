"""soak: the command that loads for a time."""

from __future__ import annotations

import sys
from typing import Any

import click

from .option_types import EXIT_HELP, Finite, Seconds, Size, run_options


@click.command(epilog=EXIT_HELP)
@click.argument("collective", default="all_reduce")
@click.option("--minutes", type=Finite(0.05, 10080), required=True, metavar="N", help="So long")
@click.option(
    "--size", type=Size(), default="64M", show_default=True, metavar="SIZE", help="Message of each call"
)
@click.option(
    "--window",
    type=Seconds(),
    default="5s",
    show_default=True,
    metavar="TIME",
    help="One point of the chart; a long soak takes longer ones, so that it keeps 720 at most",
)
@click.option("-d", "--datatype", default="float", show_default=True, metavar="TYPE", help="Element type")
@run_options
def soak(**given: Any) -> None:
    """Steady load: bandwidth over time, errors that grow, throttling, and whether our own memory is flat.

    \b
        railgauge soak --minutes 30
        mpirun -n 16 --host node1:8,node2:8 railgauge soak --minutes 60 --size 1G --profile lambda-1cc-h100
    """
    from bench.cli.start import start

    sys.exit(start("soak", given))


COMMANDS = (soak,)
