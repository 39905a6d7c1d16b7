"""Option types and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bench.units import UnitError, parse_seconds, parse_size

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
