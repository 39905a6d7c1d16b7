"""The words of a command inside another's: behind launch's ``--``, or in the manifest of a run that goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


def understood(name: str, words: Sequence[str]) -> dict[str, Any]:
    """What ``name`` itself makes of its words, without running it. Raises click's own exceptions."""
    from . import cli

    root = click.get_current_context(silent=True)
    return cli.commands[name].make_context(name, list(words), root and root.find_root()).params
