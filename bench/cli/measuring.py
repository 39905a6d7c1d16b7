"""accept, run: the commands that measure."""

from __future__ import annotations

import sys
from typing import Any

import click

from .option_types import EXIT_HELP, Seconds, Share, Size, run_options


@click.command(epilog=EXIT_HELP)
@run_options
@click.option(
    "--budget",
    type=Seconds(),
    metavar="TIME",
    help="Measure no longer than this, such as 10m, counted from the command's start: meeting and probing eat of it; "
    "what is left out is said first, and cannot pass",
)
@click.option(
    "--cross-rail", is_flag=True, help="Also GPU i against GPU j of other nodes: finds swapped rails"
)
@click.option(
    "--one-way", is_flag=True, help="Pairs of nodes in each direction by itself only, not both at once"
)
@click.option(
    "--pinned/--no-pinned",
    default=None,
    help="Every rail alone too, in workers pinned to it  [default: with NCCL]",
)
def accept(**given: Any) -> None:
    """Acceptance: measure this job's machines, judge them against a profile, leave a report.

    Start it bare for this machine, or on every GPU of a cluster by mpirun or srun:

    \b
        railgauge accept --profile local
        mpirun -n 16 --host node1:8,node2:8 railgauge accept --profile lambda-1cc-h100
    """
    from bench.cli.start import start

    sys.exit(start("accept", given))


@click.command(epilog=EXIT_HELP)
@click.argument("collective")
@click.option(
    "-b", "--begin", type=Size(), default="32M", show_default=True, metavar="SIZE", help="Smallest message"
)
@click.option("-e", "--end", type=Size(), metavar="SIZE", help="Largest message  [default: --begin]")
@click.option(
    "-f",
    "--factor",
    type=click.IntRange(2),
    default=2,
    show_default=True,
    metavar="N",
    help="Each size is so many times the one before",
)
@click.option(
    "-i", "--stepbytes", type=Size(), metavar="SIZE", help="Each size is so much more, instead of --factor"
)
@click.option(
    "-n",
    "--iters",
    type=click.IntRange(1),
    metavar="N",
    help="Exactly so many calls  [default: until --precision, or 3 s are spent]",
)
@click.option(
    "--precision",
    type=Share(),
    default="1%",
    show_default=True,
    metavar="SHARE",
    help="Measure until the median is known so well",
)
@click.option(
    "-w",
    "--warmup-iters",
    type=click.IntRange(1),
    metavar="N",
    help="Exactly so many  [default: until stable]",
)
@click.option(
    "-c",
    "--check",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    metavar="N",
    help="Check the results of so many calls; 0 checks nothing, and then nothing can pass",
)
@click.option("-d", "--datatype", default="float", show_default=True, metavar="TYPE", help="Element type")
@click.option(
    "-o", "--op", default="sum", show_default=True, metavar="OP", help="Reduction: sum, avg, min, max, prod"
)
@click.option(
    "-r", "--root", type=click.IntRange(0), default=0, show_default=True, metavar="RANK", help="Root rank"
)
@click.option(
    "-G", "--cudagraph", is_flag=True, help="Replay each call from a CUDA graph, without Python and torch"
)
@click.option("-R", "--register", is_flag=True, help="Measure in buffers of NCCL's own, registered with it")
@run_options
def run(**given: Any) -> None:
    """One collective over sizes, with nccl-tests' flags and table.

    \b
        railgauge run all_reduce -b 8 -e 128M -f 2
    """
    from bench.cli.start import start

    sys.exit(start("run", given))


COMMANDS = (accept, run)
