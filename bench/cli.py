"""The command line: parse, call, print, exit status. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from . import __version__
from .model import EXIT, EXIT_USAGE, Status
from .units import UnitError, parse_seconds, parse_size

F = TypeVar("F", bound=Callable[..., Any])

EXIT_HELP = (
    "Exit status: 0 all passed, 1 something failed, 2 wrong usage, 3 could not decide. "
    "FAIL beats ERROR beats PASS; nothing judged is 3."
)


class Size(click.ParamType[int]):
    """Bytes with K, M, G (1024-based), as nccl-tests takes them."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else parse_size(value)
        except UnitError as error:
            self.fail(str(error), param, ctx)


class Seconds(click.ParamType[float]):
    """A time with its unit."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return value if isinstance(value, float) else parse_seconds(value)
        except UnitError as error:
            self.fail(str(error), param, ctx)


class Commands(click.Group):
    """A group that lists what it knows when it is asked for something else."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise click.UsageError(f"no command {args[0]!r}; known: {', '.join(sorted(self.commands))}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_HELP,
)
@click.version_option(__version__, prog_name="railgauge")
def cli() -> None:
    """Measure and judge the network of a GPU cluster: NCCL, InfiniBand, every rail.

    Start with: railgauge accept --profile local
    """


def run_options(command: F) -> F:
    """The options of everything that measures."""
    for option in reversed(
        (
            click.option(
                "--profile",
                "profile_name",
                default="local",
                show_default=True,
                metavar="NAME|FILE",
                help="What the platform should be; see: railgauge profiles",
            ),
            click.option(
                "--out",
                type=click.Path(path_type=Path),
                metavar="DIR",
                help="The run folder, new or empty  [default: runs/<time>-<profile>]",
            ),
            click.option(
                "--ranks",
                type=click.IntRange(1),
                metavar="N",
                help="Ranks on this machine, when started without a launcher  [default: one a GPU, else 2 to 4]",
            ),
            click.option(
                "--hang",
                type=Seconds(),
                default="60s",
                show_default=True,
                metavar="TIME",
                help="A case without any progress for so long is ended and named",
            ),
            click.option("--quiet", is_flag=True, help="Print nothing but problems and the verdict"),
            click.option("--verbose", is_flag=True, help="Print every verdict and every measured row"),
        )
    ):
        command = option(command)
    return command


@cli.command(epilog=EXIT_HELP)
@run_options
@click.option("--go-on", is_flag=True, help="Measure even when a preflight check fails")
def accept(**given: Any) -> None:
    """Acceptance: measure this job's machines, judge them against a profile, leave a report.

    Start it bare for this machine, or on every GPU of a cluster by mpirun or srun:

    \b
        railgauge accept --profile local
        mpirun -n 16 --host node1:8,node2:8 railgauge accept --profile lambda-1cc-h100
    """
    from .commands import start

    sys.exit(start("accept", given))


@cli.command(epilog=EXIT_HELP)
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
    help="Exactly so many calls  [default: until the median is known to 1 % or 3 s are spent]",
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
@run_options
def run(**given: Any) -> None:
    """One collective over sizes, with nccl-tests' flags and table.

    \b
        railgauge run all_reduce -b 8 -e 128M -f 2
    """
    from .commands import start

    if given["end"] is None:
        given["end"] = given["begin"]
    if given["begin"] > given["end"]:
        raise click.UsageError(f"--begin {given['begin']} is larger than --end {given['end']}")
    sys.exit(start("run", given))


@cli.command(epilog=EXIT_HELP)
@click.option(
    "--profile",
    "profile_name",
    default="local",
    show_default=True,
    metavar="NAME|FILE",
    help="Also judge what needs no measurement by this profile",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The run folder, new or empty  [default: runs/<time>-probe]",
)
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
    from .commands import probe_copy, start

    if given["root"]:
        sys.exit(probe_copy(given["root"], given["profile_name"], given["verbose"]))
    sys.exit(start("probe", {**given, "quiet": False, "hang": 60.0, "ranks": 1}))


@cli.command(
    epilog="Exit status: 0 nothing odd, 1 a trap was found, 2 wrong usage, 3 there is no device to explain."
)
@click.argument("spec")
@click.option(
    "--devices", metavar="'mlx5_0 mlx5_1:1+2'", help="These HCAs (and ports) instead of this machine's"
)
@click.option(
    "--root", type=click.Path(path_type=Path), metavar="DIR", help="The HCAs of this copy of a machine's /sys"
)
@click.option(
    "--profile", "profile_name", metavar="NAME|FILE", help="Say what the profile's rails would want"
)
@click.option("--sockets", is_flag=True, help="SPEC is NCCL_SOCKET_IFNAME, not NCCL_IB_HCA")
def explain(**given: Any) -> None:
    """Which HCAs NCCL takes by NCCL_IB_HCA=SPEC, which not, and why; and the traps in it.

    \b
        railgauge explain '^=mlx5_0'
        railgauge explain '^mlx5_1' --devices 'mlx5_0 mlx5_1 mlx5_10 mlx5_11'
    """
    from .commands import explained

    sys.exit(explained(**given))


@cli.command(epilog=EXIT_HELP)
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--profile", "profile_name", metavar="NAME|FILE", help="Judge by this profile  [default: the run's own]"
)
@click.option("--verbose", is_flag=True, help="Print every verdict, not only what did not pass")
def judge(run_folder: Path, profile_name: str | None, verbose: bool) -> None:
    """Judge a run folder again, on any machine."""
    from .commands import judge_again

    sys.exit(judge_again(run_folder, profile_name, verbose))


@cli.command(epilog=EXIT_HELP)
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
def report(run_folder: Path) -> None:
    """Make the report of a run folder again: report.html, report.md, charts."""
    from .commands import report_again

    sys.exit(report_again(run_folder))


@cli.command("import", epilog=EXIT_HELP)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="The run folder, new or empty")
@click.option(
    "--profile",
    "profile_name",
    default="local",
    show_default=True,
    metavar="NAME|FILE",
    help="What the platform should be",
)
@click.option("--collective", default="", metavar="NAME", help="Where the files do not name it")
@click.option("--ranks", type=click.IntRange(1), metavar="N", help="Where the files do not tell")
@click.option(
    "--nodes", type=click.IntRange(1), metavar="N", help="Where the files do not tell; ranks node by node"
)
@click.option("--unit", default="", metavar="UNIT", help="Of a perftest JSON's bandwidth: MB/s, MiB/s, Gb/s")
@click.option("--algorithm", default="auto", metavar="NAME", help="Forced when they were taken, such as ring")
def import_(**given: Any) -> None:
    """Results of nccl-tests (text, -J) and perftest (text, --out_json) as a run folder, judged like our own.

    \b
        railgauge import all_reduce.log --nodes 2 --profile lambda-1cc-b200
    """
    from .commands import imported

    sys.exit(imported(**given))


@cli.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(["nccl-tests", "csv"]), default="nccl-tests", show_default=True
)
def export(run_folder: Path, form: str) -> None:
    """The rows of a run as nccl-tests' tables or as CSV, on standard output."""
    from .commands import exported

    sys.exit(exported(run_folder, form))


@cli.command(
    epilog="Exit status: 0 B is no slower, 1 B is slower somewhere, 2 wrong usage or unlike, 3 cannot tell."
)
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--anyway", is_flag=True, help="Compare runs that are not alike, and say so")
def compare(a: Path, b: Path, anyway: bool) -> None:
    """Two runs side by side: the ratio of each case, and how sure it is."""
    from .commands import compared

    sys.exit(compared(a, b, anyway))


@cli.command()
@click.argument("name", required=False)
@click.argument("title", required=False, metavar="[NEW_NAME]")
def profiles(name: str | None, title: str | None) -> None:
    """List the profiles; print one with its sources; or draft a new one from this machine.

    \b
        railgauge profiles
        railgauge profiles lambda-1cc-h100
        railgauge profiles new my-cluster > my-cluster.toml
    """
    from .profile import load, names

    if name == "new":
        from .commands import drafted

        click.echo(drafted(title or "my-cluster"), nl=False)
    elif name:
        click.echo(load(name).text, nl=False)
    else:
        for known in names():
            click.echo(f"{known:24} {load(known).title}")


def main() -> None:
    """Run the command line. A traceback is ours and never a verdict on the cluster: exit status 3."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.Abort:
        _say("interrupted")
        sys.exit(EXIT[Status.ERROR])
    except BrokenPipeError:
        # whoever read us has left (| head): nothing more can be said, and Python must not try at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT[Status.ERROR])
    except click.ClickException as error:
        _say(error.format_message())
        sys.exit(EXIT_USAGE)
    except Exception as error:
        from .commands import KNOWN

        known = next((code for kind, code in KNOWN.items() if isinstance(error, kind)), None)
        if known is None:
            import traceback

            traceback.print_exc()
            _say("this is RailGauge's own fault and no verdict on the cluster; please report it")
            sys.exit(EXIT[Status.ERROR])
        _say(str(error))
        sys.exit(getattr(error, "exit_status", known))


def _say(text: str) -> None:
    # one line, on the first rank only: with many ranks each of them meets the same mistake
    if os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("PMI_RANK", "0")) == "0":
        click.echo(f"railgauge: {text}", err=True)
