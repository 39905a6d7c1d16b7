"""The page of the command line, from the commands that click runs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from bench.cli import cli
from bench.model.errors import EXIT_HELP

from .markdown import table, text


def commands_page() -> str:
    """Every command with its arguments and options."""
    lines = ["# The command line", text(EXIT_HELP)]
    root = click.Context(cli, info_name="railgauge")
    for name in cli.commands:
        lines += _one(
            cli.commands[name], click.Context(cli.commands[name], parent=root, info_name=name), "##"
        )
    return "\n\n".join(lines) + "\n"


def _one(command: click.Command, context: click.Context, level: str) -> Iterator[str]:
    yield f"{level} `{context.command_path}`"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```"
    for part in inspect.cleandoc(command.help or "").split("\n\n"):
        shown = part.startswith("\b")
        yield part.removeprefix("\b").strip("\n") if shown else text(part)
    rows = [record for parameter in command.params if (record := parameter.get_help_record(context))]
    if rows:
        yield table(("option", "meaning"), ((f"`{words}`", text(about)) for words, about in rows))
    if command.epilog and command.epilog != EXIT_HELP:
        yield text(command.epilog)
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _one(inner, click.Context(inner, parent=context, info_name=name), "###")
