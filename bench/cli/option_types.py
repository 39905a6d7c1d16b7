"""Types of options, and the options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from bench.model.units import UnitError, parse_seconds, parse_share, parse_size

F = TypeVar("F", bound=Callable[..., Any])

EXIT_HELP = (
    "Exit status: 0 PASS, 1 FAIL, 2 wrong usage, 3 INCONCLUSIVE (also when nothing was judged). "
    "One FAIL makes the whole run FAIL; otherwise one INCONCLUSIVE makes it INCONCLUSIVE."
)
LONGEST = 366 * 86400.0  # seconds: beyond it a slip of the finger
PATH = click.Path(path_type=Path)


class Finite(click.FloatRange):
    """A number within a range, which nan is not, though it is neither below nor above."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


class Count(click.IntRange):
    """A whole number, at least the given one."""

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "N"


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


def profile_option(help_: str, default: str | None = "local") -> Callable[[F], F]:
    """``--profile``; without a default the run's own profile, or none, is meant."""
    return click.option(
        "--profile",
        "profile_name",
        default=default,
        show_default=default is not None,
        metavar="NAME|FILE",
        help=help_,
    )


def out_option(name: str) -> Callable[[F], F]:
    """``--out`` of a command that makes a run folder, by default ``runs/<time>-name``."""
    return click.option(
        "--out", type=PATH, metavar="DIR", help=f"Run folder, new or empty  [default: runs/<time>-{name}]"
    )


def out_file(command: F) -> F:
    """``--out`` of a command that writes one file."""
    return click.option(
        "--out",
        type=PATH,
        metavar="FILE",
        help="Write to this file, replacing it  [default: standard output]",
    )(command)


TOKEN_FILE = click.option(
    "--token-file",
    type=PATH,
    metavar="FILE",
    help="File with the job's secret, for launchers without MPI  [default: $RAILGAUGE_TOKEN]",
)
QUIET = click.option("--quiet", is_flag=True, help="Print only problems and the verdict")
VERBOSE = click.option("--verbose", is_flag=True, help="Print every verdict and every measured row")
VERDICTS = click.option("--verbose", is_flag=True, help="Print every verdict, PASS included")


@dataclass(frozen=True)
class SharedOptions:
    """The options that all commands that measure share."""

    profile_name: str = "local"
    out: Path | None = None
    ranks: int | None = None
    hang: float = 60.0
    token_file: Path | None = None
    go_on: bool = False
    quiet: bool = False
    verbose: bool = False


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Declare the shared options; ``command`` gets them as its first argument, a ``SharedOptions``."""

    @wraps(command)
    def gathered(**given: Any) -> Any:
        shared = {field.name: given.pop(field.name) for field in fields(SharedOptions)}
        return command(SharedOptions(**shared), **given)

    for option in (
        VERBOSE,
        QUIET,
        click.option("--go-on", is_flag=True, help="Measure even when a preflight check fails"),
        TOKEN_FILE,
        click.option(
            "--hang",
            type=SECONDS,
            default="60s",
            show_default=True,
            help="Abort a case that makes no progress for this long, and report the rank that is stuck",
        ),
        click.option(
            "--ranks",
            type=Count(1),
            help="Ranks on this machine, without a launcher  [default: one per GPU, 2 to 4 without GPUs]",
        ),
        out_option("<profile>"),
        profile_option("Profile of the platform; list them with: railgauge profiles"),
    ):
        gathered = option(gathered)
    return gathered
