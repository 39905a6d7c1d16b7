"""railgauge nightly: the history is looked at before anything is measured, a chat may be told afterwards."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from bench import launch
from bench.exchange.exporting.webhook import NotSent, refuse, send
from bench.judge.drift.past import still_there
from bench.model.profile import load
from bench.store import RunError
from bench.store import load as load_run
from bench.store.history import create, lasting, strangers
from bench.store.history.folder import complete

from .local_job import OURS
from .start import new_folder, start


def nightly(given: dict[str, Any]) -> int:
    """Measure a night and tell of it; the exit status, which the telling never changes."""
    webhook = given.pop("webhook")
    if webhook:
        refuse(webhook)
        # it may hold a secret: neither the run folder's command nor mpirun's may show it
        sys.argv[1:] = without(sys.argv[1:], "--webhook")
    where = launch.place(os.environ)
    complete()  # before the night, not after it
    lasting(
        given["history"]
    )  # an address that nothing opens, or that keeps nothing, is the same mistake on every rank
    given["out"] = given["out"] or new_folder(load(given["profile_name"]).name)
    if not where.launcher:
        ready(given["history"], given["out"], given["new"])
    code = start("nightly", given)
    if webhook and where.rank == 0 and OURS not in os.environ:
        tell(webhook, given["out"])
    return code


def ready(history: str, out: Path, new: bool) -> None:
    """Make the history's folder and list it once: what is wrong with it is said before the night, not after."""
    if not new:
        still_there(history, out)
    create(history)
    strangers(history)


def tell(webhook: str, folder: Path) -> None:
    """Send the digest of a run; a failure is said and changes nothing."""
    from bench.exchange.exporting.digest import payload

    try:
        send(webhook, payload(load_run(folder)))
    except (NotSent, RunError) as error:
        click.echo(f"railgauge: webhook: {error}; the verdict stands", err=True)


def without(words: list[str], option: str) -> list[str]:
    """``words`` without an option and its value, in both spellings."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word == option:
            skip = True
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return kept
