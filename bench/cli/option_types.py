"""Types of options, and the options that several commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bench.model.late_dataclass import dataclass, fields
from bench.model.units import UnitError, parse_seconds, parse_share, parse_size
from bench.probe.tcp_ports import PORTS
from bench.supervise.limits import Limits

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from bench.plan import AcceptOptions

F = TypeVar("F", bound=Callable[..., Any])

LONGEST = 366 * 86400.0  # seconds: beyond it a slip of the finger
PATH = click.Path(path_type=Path)


class Finite(click.FloatRange):
    """A finite number within a range. Click itself lets nan pass, since it is neither below nor above."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


class Count(click.IntRange):
    """A whole number, at least the given one."""

    name = "whole number"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "N"


class PortRange(click.ParamType[tuple[int, int]]):
    """``29600-29699``: the first and the last TCP port of a range."""

    name = "ports"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        first, _, last = str(value).partition("-")
        digits = re.fullmatch(r"\d{1,5}-\d{1,5}", str(value), re.ASCII)
        if not digits or not 0 < int(first) <= int(last) <= 65_535:
            self.fail(f"{value!r} is no range of TCP ports, such as {PORTS[0]}-{PORTS[1]}", param, ctx)
        return int(first), int(last)


class ProfileName(click.types.StringParamType):
    """The name of a profile, or a file: a shell completes both."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from bench.model.profile import names

        found = [CompletionItem(name) for name in names() if name.startswith(incomplete)]
        return [*found, CompletionItem(incomplete, type="file")]


class Quantity(click.ParamType[Any]):
    """A number with its unit, read by ``parse``; ``fits`` tells whether it can be meant, ``wrong`` why it cannot."""

    def __init__(
        self, name: str, parse: Callable[[str], float], fits: Callable[[float], bool], wrong: str
    ) -> None:
        self.name, self.parse, self.fits, self.wrong = name, parse, fits, wrong

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = self.parse(value) if isinstance(value, str) else value
        except UnitError as error:
            self.fail(str(error), param, ctx)
        if not self.fits(number):
            self.fail(f"{value!r} {self.wrong}", param, ctx)
        return number


SIZE = Quantity(
    "size", parse_size, lambda size: size >= 1, "is no message size: it must be at least 1 byte"
)  # K, M and G are 1024-based, as in nccl-tests
SECONDS = Quantity(
    "time",
    parse_seconds,
    lambda seconds: 0 < seconds <= LONGEST,
    "is no usable time: it must be above 0 and at most 366 days",
)
SHARE = Quantity(
    "share",
    parse_share,
    lambda share: 0 < share <= 1,
    "is no usable share: it must be above 0 and at most 100 %",
)


def option(
    words: str, help_: str, kind: Any = str, default: Any = None, required: bool = False
) -> Callable[[F], F]:
    """An option: its names, the name of its parameter if that is another, and in capitals what stands for its value.

    ``-n --iters N`` or ``--format form``; ``bool`` is a flag, and so is ``--this/--no-this``. A default that is not
    empty is shown.
    """
    flag, parts = kind is bool or "/" in words, words.split()
    if flag and "/" not in words:
        default = False
    value = [word for word in parts if word.isupper() and not word.startswith("-")]
    # what is not given stays away: click tells "not given" from None and from False
    more: dict[str, Any] = {"is_flag": True} if flag else {"type": kind}
    more |= {"required": True} if required else {"default": default}
    return click.option(
        *(word for word in parts if word not in value),
        metavar=value[0] if value else None,
        show_default=default not in (None, "") and not flag,
        help=help_,
        **more,
    )


def profile_option(help_: str, default: str | None = "local") -> Callable[[F], F]:
    """``--profile``; without a default the run's own profile, or none, is meant."""
    return option("--profile profile_name NAME|FILE", help_, ProfileName(), default)


def out_option(name: str) -> Callable[[F], F]:
    """``--out`` of a command that makes a run folder, by default ``runs/<time>-name``."""
    return option("--out DIR", f"Run folder, new or empty  [default: runs/<time>-{name}]", PATH)


def out_file(command: F) -> F:
    """``--out`` of a command that writes one file."""
    return option("--out FILE", "Write to this file, replacing it  [default: standard output]", PATH)(command)


TOKEN_FILE = option(
    "--token-file FILE",
    "File with the job's secret, for launchers without MPI  [default: $RAILGAUGE_TOKEN]",
    PATH,
)
GPUS = option("--gpus", "Number of GPUs that each node must have  [default: as the profile says]", Count(1))
QUIET = option("--quiet", "Print only problems and the verdict", bool)
VERBOSE = option("--verbose", "Print every verdict and every measured row", bool)
TITLE = option("--title TEXT", "What the cluster is called on the report; kept in the run folder")
SITE = option("--site TEXT", "Site, customer or order on the report; kept in the run folder")
VERDICTS = option("--verbose", "Print every verdict, PASS included", bool)


@dataclass(frozen=True)
class SharedOptions:
    """The options that all commands that measure share."""

    profile_name: str = "local"
    out: Path | None = None
    ranks: int | None = None
    gpus: int | None = None
    hang: float = Limits.hang
    token_file: Path | None = None
    meet_interface: str = ""
    ports: tuple[int, int] = PORTS
    go_on: bool = False
    strict: bool = False
    share: bool = False
    quiet: bool = False
    verbose: bool = False
    title: str | None = None
    site: str | None = None


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Declare the shared options; ``command`` gets them as its first argument, a ``SharedOptions``."""

    @wraps(command)
    def gathered(**given: Any) -> Any:
        shared = {field.name: given.pop(field.name) for field in fields(SharedOptions)}
        return command(SharedOptions(**shared), **given)

    for declare in (
        VERBOSE,
        QUIET,
        option(
            "--meet-interface NAME",
            "Interface of the first node at which the processes meet  [default: the first address that all nodes "
            "reach]",
            default="",
        ),
        option(
            "--ports FIRST-LAST",
            "TCP ports at which processes of other nodes are awaited, for a packet filter to name; without MPI, "
            "rank 0's own are those after the launcher's",
            PortRange(),
            default=f"{PORTS[0]}-{PORTS[1]}",
        ),
        option("--go-on", "Measure even when a preflight check fails", bool),
        option(
            "--strict", "Stop when a node is sick  [default: set it aside and go on with the others]", bool
        ),
        option(
            "--share",
            "Let other users read the run folder, as far as the umask allows  [default: nobody]",
            bool,
        ),
        TOKEN_FILE,
        TITLE,
        SITE,
        option(
            "--hang",
            "Abort a case that makes no progress for this long, and report the rank that is stuck",
            SECONDS,
            default=f"{Limits.hang:g}s",
        ),
        option(
            "--ranks",
            "Ranks on this machine, without a launcher  [default: one per GPU, 2 to 4 without GPUs]",
            Count(1),
        ),
        GPUS,
        out_option("<profile>"),
        profile_option("Profile of the platform; list them with: railgauge profiles"),
    ):
        gathered = declare(gathered)
    return gathered


def accept_options(
    budget: float | None, cross_rail: bool, all_pairs: bool, one_way: bool, pinned: bool | None
) -> AcceptOptions:
    """What ``accept`` and ``plan`` are told to measure beside the profile's sweep."""
    from bench.plan import AcceptOptions

    ways = "one-way" if one_way else "all"
    return AcceptOptions(ways, cross_rail, pinned, budget=budget, all_pairs=all_pairs or one_way)
