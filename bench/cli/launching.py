"""launch: start a job on the hosts of a file, or print how."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .inner import understood
from .option_types import EXIT_HELP

LAUNCHERS = ("mpirun", "openmpi", "mpich", "srun", "torchrun", "fabric", "deepspeed", "shell")


class Launch(click.Command):
    """Who forgets the -- in front of the inner command is told so, and not of an option that it resembles."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from bench.launch.table import STARTED

            if "--" in given or not set(given) & set(STARTED):
                raise
            raise click.UsageError(
                f"no option {error.option_name} of launch itself: write -- in front of the command that is started",
                ctx,
            ) from None


@click.command(
    cls=Launch,
    epilog=EXIT_HELP,
    context_settings={"ignore_unknown_options": False},
)
@click.option(
    "--hosts",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Lines as of Open MPI (node1 slots=8), MPICH (node1:8), Slurm (node[01-64]) or plain names",
)
@click.option(
    "--launcher",
    type=click.Choice(LAUNCHERS),
    default="mpirun",
    show_default=True,
    help="mpirun: the one that is found here, Open MPI's or MPICH's",
)
@click.option(
    "--shell", is_flag=True, help="Print one command a node, to be typed there: --launcher shell --dry-run"
)
@click.option("--dry-run", is_flag=True, help="Print the commands, run nothing")
@click.option(
    "--per-node",
    type=click.IntRange(1),
    metavar="N",
    help="Ranks of a host whose line names no slots  [default: the profile's GPUs of a node]",
)
@click.option(
    "--management",
    default="",
    metavar="IF",
    help="The interface for MPI's own messages, never a rail  [default: the profile's]",
)
@click.option(
    "--port", type=click.IntRange(1, 65_527), default=29_400, show_default=True, metavar="N", help="Of rank 0"
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Without MPI: the job's secret, on a folder that all hosts see  [default: handed over by ssh]",
)
@click.option(
    "--ssh", "agent", default="", metavar="COMMAND", help="Instead of ssh, called as: COMMAND HOST TEXT"
)
@click.argument("arguments", nargs=-1, required=True, metavar="-- accept …")
def launch(**given: Any) -> None:
    """Start accept, nightly, run, soak or probe on the hosts of a file, by any launcher; or print the command.

    \b
        railgauge launch --hosts nodes.txt --dry-run -- accept --profile lambda-1cc-h100
        railgauge launch --hosts nodes.txt --launcher torchrun -- accept --profile lambda-1cc-h100
        railgauge launch --hosts nodes.txt --shell -- accept --profile runpod-instant-cluster
    """
    from bench.cli.launching_command import launched

    sys.exit(launched(**given, understood=understood))


COMMANDS = (launch,)
