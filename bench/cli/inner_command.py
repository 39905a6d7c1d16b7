"""The command that launch starts on every node, read here as its ranks will read it.

A mistake that every rank would meet is said once, before any node is touched: it is no verdict on a cluster,
so all of these are wrong usage.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.launch.hosts import Host
from bench.launch.remote import here
from bench.launch.table import STARTED
from bench.model.profile import Profile, load, parse
from bench.plan import sweep_cases
from bench.run.resume import ResumeRefused, check_own, resumable
from bench.store import Run, RunError, free
from bench.store import load as load_run
from bench.store.history import HistoryError, MissingLibrary, lasting
from bench.supervise.control import token

from .start import new_folder, options_of

Understood = Callable[[str, Sequence[str]], dict[str, Any]]
"""A command's name and its words -> its options."""


@dataclass(frozen=True)
class Inner:
    """A command to be started by a launcher.

    given    its options
    profile  of the command, or of the run that it resumes
    out      the run folder: to be made, or the one that goes on
    run      the run that goes on, else None
    """

    name: str
    words: tuple[str, ...]
    given: Mapping[str, Any]
    profile: Profile
    out: Path
    run: Run | None = None

    @property
    def with_out(self) -> tuple[str, ...]:
        """All words, the run folder among them: whoever started the job looks for its verdict there."""
        if self.run or self.given["out"]:
            return (self.name, *self.words)
        return (self.name, "--out", str(self.out), *self.words)


def read(arguments: Sequence[str], understood: Understood) -> Inner:
    """The command that ``arguments`` are. Raises UsageError, and what a profile or a run folder raises."""
    name, *words = arguments
    if name not in STARTED:
        raise click.UsageError(f"after -- comes one of {', '.join(STARTED)}, not {name!r}")
    try:
        given = understood(name, words)
    except click.ClickException as error:
        raise click.UsageError(f"{name}: {error.format_message()}") from None
    if given.get("token_file"):
        checked_token(given["token_file"])
    if name == "resume":
        run = load_run(given["run_folder"])
        profile = parse(run.manifest.profile_text, "the run's own profile")
        return Inner(name, tuple(words), given, profile, given["run_folder"], run)
    profile = load(given["profile_name"])
    out = given["out"] or new_folder("probe" if name == "probe" else profile.name)
    return Inner(name, tuple(words), given, profile, out)


def checked_token(path: Path) -> None:
    """Raise UsageError for a token file that no rank would take."""
    try:
        token.read(path)
    except token.NoToken as error:
        raise click.UsageError(str(error)) from None


def check(inner: Inner, hosts: Sequence[Host]) -> None:
    """Raise for what the ranks of ``hosts``, which have their slots, would refuse."""
    ranks = sum(host.slots for host in hosts)
    if inner.run:
        check_own(inner.run, inner.given["trust"])
        _same_job(inner.run, hosts, ranks)
        return
    if inner.given.get("ranks") is not None:
        raise click.UsageError(
            f"{inner.name}: --ranks counts the ranks of one machine without a launcher: write slots=N in the host file "
            "or --per-node N before the --"
        )
    if inner.name == "probe" and inner.given["root"]:
        raise click.UsageError("probe: --root reads a copy of a machine, for which no launcher is needed")
    if inner.name == "nightly":
        _nightly(inner)
    if inner.name in ("run", "soak"):
        for sweep in options_of(inner.name, dict(inner.given), inner.profile, inner.out).sweeps:
            sweep_cases("run", sweep, (tuple(range(ranks)),))


def _same_job(run: Run, hosts: Sequence[Host], ranks: int) -> None:
    """What can be told of a resume before the nodes are asked: they have the last word on whether they are the same."""
    resumable(run)
    had = run.manifest
    if (len(had.nodes), len(had.ranks)) != (len(hosts), ranks):
        raise ResumeRefused(
            f"{run.path} was measured with {len(had.ranks)} ranks on {len(had.nodes)} "
            f"node{'s' if len(had.nodes) > 1 else ''}, the host file gives {ranks} on {len(hosts)}: half of each would "
            "be neither"
        )


def _nightly(inner: Inner) -> None:
    if any(word.partition("=")[0] == "--webhook" for word in inner.words):
        raise click.UsageError(
            "nightly: --webhook would stand on every node's list of processes: export RAILGAUGE_WEBHOOK instead, where "
            "rank 0 runs"
        )
    try:
        lasting(inner.given["history"])
    except MissingLibrary:
        raise
    except HistoryError as error:
        raise click.UsageError(f"nightly: --history {error}") from None


def check_out(out: Path, first: Host) -> None:
    """Raise UsageError for a run folder that rank 0, on the host ``first``, could not make.

    Another machine may have another file system, but it starts in this very directory.
    """
    try:
        free(out)
    except RunError as error:
        raise click.UsageError(str(error)) from None
    near = out.absolute()
    while not near.exists() and near != near.parent:
        near = near.parent
    if not here(first.name) and near not in (Path.cwd(), out.absolute().parent):
        return
    if not near.is_dir():
        raise click.UsageError(f"cannot make {out}: {near} is no folder; give another one with --out")
    if not os.access(near, os.W_OK | os.X_OK):
        raise click.UsageError(f"cannot write {near}, where {out} is to be; give another folder with --out")
