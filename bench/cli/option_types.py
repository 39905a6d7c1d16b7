"""Option types and options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bench.model.units import UnitError, parse_seconds, parse_share, parse_size

F = TypeVar("F", bound=Callable[..., Any])


EXIT_HELP = (
    "Exit status: 0 all passed, 1 something failed, 2 wrong usage, 3 could not decide. "
    "FAIL beats ERROR beats PASS; nothing judged is 3."
)


LONGEST = 366 * 86400.0  # seconds: beyond it a slip of the finger


class Finite(click.FloatRange):
    """A number within a range, which nan is not, though it is neither below nor above."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


class Size(click.ParamType[int]):
    """Bytes with K, M, G (1024-based), as nccl-tests takes them."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            size = value if isinstance(value, int) else parse_size(value)
        except UnitError as error:
            self.fail(str(error), param, ctx)
        if size < 1:
            self.fail(f"{value!r} is no message: 1 byte at least", param, ctx)
        return size


class Seconds(click.ParamType[float]):
    """A time with its unit."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = value if isinstance(value, float) else parse_seconds(value)
        except UnitError as error:
            self.fail(str(error), param, ctx)
        if not 0 < seconds <= LONGEST:
            self.fail(f"{value!r} is no time to wait or measure: above 0, and 366 days at most", param, ctx)
        return seconds


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
        "--out",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help=f"The run folder, new or empty  [default: runs/<time>-{name}]",
    )


class Share(click.ParamType[float]):
    """A share with its unit: ``5 %``."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            share = value if isinstance(value, float) else parse_share(value)
        except UnitError as error:
            self.fail(str(error), param, ctx)
        if not 0 < share <= 1:
            self.fail(f"{value!r} is no share: above 0 and 100 % at most", param, ctx)
        return share


def run_options(command: F) -> F:
    """The options of everything that measures."""
    for option in reversed(
        (
            profile_option("What the platform should be; see: railgauge profiles"),
            out_option("<profile>"),
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
            click.option(
                "--token-file",
                type=click.Path(path_type=Path),
                metavar="FILE",
                help="The job's secret, where the launcher brings no MPI  [default: $RAILGAUGE_TOKEN]",
            ),
            click.option("--go-on", is_flag=True, help="Measure even when a preflight check fails"),
            click.option("--quiet", is_flag=True, help="Print nothing but problems and the verdict"),
            click.option("--verbose", is_flag=True, help="Print every verdict and every measured row"),
        )
    ):
        command = option(command)
    return command
