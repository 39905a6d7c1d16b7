"""resume: go on with a run that was interrupted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .inner import understood
from .option_types import EXIT_HELP


@click.command(epilog=EXIT_HELP)
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The job's secret, where the launcher brings no MPI  [default: $RAILGAUGE_TOKEN]",
)
@click.option(
    "--trust",
    is_flag=True,
    help="Go on in a folder that you did not make: it decides what is measured as you",
)
@click.option("--quiet", is_flag=True, help="Print nothing but problems and the verdict")
@click.option("--verbose", is_flag=True, help="Print every verdict and every measured row")
def resume(**given: Any) -> None:
    """Go on with an interrupted accept or run, in its own folder: measure what is missing, judge the whole.

    What was measured is reused. A cluster that has changed (nodes, GPUs, driver, NCCL, links) is refused, and so is
    a folder that somebody else made (see --trust).

    \b
        railgauge resume runs/20261121-093000-local
        mpirun -n 16 --host node1:8,node2:8 railgauge resume runs/20261121-093000-lambda-1cc-h100
    """
    from bench.cli.resuming_command import resumed

    sys.exit(resumed(**given, understood=understood))


COMMANDS = (resume,)
