"""watch: looks on beside a running job, and measures nothing."""

from __future__ import annotations

import os
from pathlib import Path

import click

from bench.model.errors import EXIT_HELP
from bench.probe.tcp_ports import PORTS

from .invocation import Invocation, Measuring
from .measuring import MINUTE, measure
from .option_types import (
    PATH,
    QUIET,
    TOKEN_FILE,
    VERBOSE,
    Finite,
    PortRange,
    SharedOptions,
    option,
    out_option,
    profile_option,
)

_DUMPS = "NCCL_INSPECTOR_DUMP_DIR"  # NCCL's variable


@click.command(cls=Measuring, epilog=EXIT_HELP)
@profile_option("Profile of the platform, which says what its rails are; list them with: railgauge profiles")
@option("--minutes N", "How long to watch  [default: until it is interrupted]", Finite(0.05, 10080))
@option("--inspector DIR", f"Folder in which NCCL's Inspector writes  [default: ${_DUMPS}]", PATH)
@option("--meet-interface NAME", "Interface of the first node to which the others connect", default="")
@option(
    "--ports FIRST-LAST", "TCP ports to which they connect", PortRange(), default=f"{PORTS[0]}-{PORTS[1]}"
)
@TOKEN_FILE
@QUIET
@VERBOSE
@out_option("watch")
def watch(
    profile_name: str,
    minutes: float | None,
    inspector: Path | None,
    meet_interface: str,
    ports: tuple[int, int],
    token_file: Path | None,
    quiet: bool,
    verbose: bool,
    out: Path | None,
) -> Invocation:
    """Watch the rails while a job of somebody else runs.

    It reads the byte and error counters of every port and interface, and how
    much data waits in TCP sockets, each second. It sends nothing over the rails.
    NCCL's RAS is asked and what its Inspector writes is read where they are on.

    \b
        railgauge watch --profile lambda-1cc-h100
        srun --overlap --jobid=1234 -N 8 --ntasks-per-node=1 railgauge watch --profile lambda-1cc-h100 --minutes 5
    """
    from bench.run.options import WatchOptions

    shared = SharedOptions(
        profile_name,
        out,
        token_file=token_file,
        meet_interface=meet_interface,
        ports=ports,
        quiet=quiet,
        verbose=verbose,
    )
    folder = str(inspector or os.environ.get(_DUMPS, ""))
    options = WatchOptions(minutes * MINUTE if minutes else None, folder)
    return Invocation("watch", shared, measure, watch=options)
