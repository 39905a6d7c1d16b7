"""Printing what ``--json`` asks for: one object on standard output, also where the command fails."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .option_types import option

if TYPE_CHECKING:
    from bench.model.typed_json import JsonAnswer

JSON = option("--json as_json", "Print one JSON object; its schema: railgauge schema COMMAND", bool)
_answered = False  # by this process, or by one that it started


def print_json(answer: JsonAnswer) -> None:
    """Print the object of a command."""
    from bench.model.typed_json import encode

    _print(json.loads(encode(answer)))  # strict JSON: null for what is not finite


def left_to_others() -> None:
    """Processes that share our standard output print the object, also that of an error."""
    global _answered
    _answered = True


def print_error(words: Sequence[str], message: str, status: int) -> None:
    """Print an ``answers.ErrorAnswer`` where ``words`` of the command line ask for an object and none was printed.

    It imports nothing: a library that is missing is an error like any other.
    """
    if "--json" in words and not _answered:
        _print({"schema": "railgauge error", "version": 1, "message": message, "exit_status": status})


def _print(value: Any) -> None:
    global _answered
    _answered = True
    click.echo(json.dumps(value, indent=2))  # in printable ASCII, which no terminal and no encoding changes
