"""probe, explain, profiles: the commands that look and measure nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .option_types import EXIT_HELP, out_option, profile_option


@click.command(epilog=EXIT_HELP)
@profile_option("Also judge what needs no measurement by this profile")
@out_option("probe")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Read this copy of a machine's /sys and /proc instead; writes no run folder",
)
@click.option("--verbose", is_flag=True, help="Print every verdict, not only what did not pass")
def probe(**given: Any) -> None:
    """What this machine is, or every machine of the job: GPUs, HCAs, links, versions, settings.

    \b
        railgauge probe
        mpirun -n 8 --map-by ppr:1:node --host node1,node2,... railgauge probe --profile lambda-1cc-h100
    """
    from bench.cli.probing_command import probe_copy
    from bench.cli.start import start

    if given["root"]:
        sys.exit(probe_copy(given["root"], given["profile_name"], given["verbose"]))
    sys.exit(start("probe", {**given, "quiet": False, "hang": 60.0, "ranks": 1}))


@click.command(
    epilog="Exit status: 0 nothing odd, 1 a trap was found, 2 wrong usage, 3 there is no device to explain."
)
@click.argument("spec")
@click.option(
    "--devices", metavar="'mlx5_0 mlx5_1:1+2'", help="These HCAs (and ports) instead of this machine's"
)
@click.option(
    "--root", type=click.Path(path_type=Path), metavar="DIR", help="The HCAs of this copy of a machine's /sys"
)
@profile_option("Say what the profile's rails would want", None)
@click.option("--sockets", is_flag=True, help="SPEC is NCCL_SOCKET_IFNAME, not NCCL_IB_HCA")
def explain(**given: Any) -> None:
    """Which HCAs NCCL takes by NCCL_IB_HCA=SPEC, which not, and why; and the traps in it.

    \b
        railgauge explain '^=mlx5_0'
        railgauge explain '^mlx5_1' --devices 'mlx5_0 mlx5_1 mlx5_10 mlx5_11'
    """
    from bench.cli.probing_command import explained

    sys.exit(explained(**given))


@click.command()
@click.argument("name", required=False)
@click.argument("title", required=False, metavar="[NEW_NAME]")
def profiles(name: str | None, title: str | None) -> None:
    """List the profiles; print one with its sources; or draft a new one from this machine.

    \b
        railgauge profiles
        railgauge profiles lambda-1cc-h100
        railgauge profiles new my-cluster > my-cluster.toml
    """
    from bench.model.profile import load, names

    if name == "new":
        from bench.cli.probing_command import drafted

        click.echo(drafted(title or "my-cluster"), nl=False)
    elif name:
        click.echo(load(name).text, nl=False)
    else:
        for known in names():
            click.echo(f"{known:24} {load(known).title}")


COMMANDS = (probe, explain, profiles)
