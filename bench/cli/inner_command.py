"""The command that launch starts on every node, read here as its ranks will read it.

A mistake that every rank would meet is reported once, before any node is touched: it is no verdict on a cluster,
so all of these are wrong usage.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from bench.launch.hosts import HostEntry
from bench.launch.remote import here
from bench.launch.table import STARTED
from bench.model.late_dataclass import dataclass, replace
from bench.model.profile import Profile, load
from bench.plan import sweep_cases
from bench.run.resume import ResumeRefused, check_own, resumable
from bench.store import Run, RunError, free
from bench.store import load as load_run
from bench.store.history import HistoryError, MissingLibrary, lasting
from bench.supervise.control import token

from .invocation import Invocation, understood
from .page import own_profile
from .start import check_order, new_folder


@dataclass(frozen=True)
class LaunchedCommand:
    """A command to be started by a launcher.

    profile  of the command, or of the run that it resumes
    out      the run folder: to be made, or the one that goes on
    run      the run that goes on, else None
    """

    words: tuple[str, ...]
    typed: Invocation
    profile: Profile
    out: Path
    run: Run | None = None

    @property
    def with_out(self) -> tuple[str, ...]:
        """All words, the run folder among them: whoever started the job looks for its verdict there."""
        if self.run or self.typed.shared.out:
            return (self.typed.command, *self.words)
        return (self.typed.command, "--out", str(self.out), *self.words)


def read(arguments: Sequence[str]) -> LaunchedCommand:
    """The command that ``arguments`` are. Raises UsageError, and what a profile or a run folder raises."""
    name, *words = arguments
    if name not in STARTED:
        raise click.UsageError(f"after -- write one of {', '.join(STARTED)}, not {name!r}")
    try:
        typed = understood(name, words)
    except click.ClickException as error:
        raise click.UsageError(f"{name}: {error.format_message()}") from None
    checked_token(typed.shared.token_file)
    if name == "resume":
        assert typed.folder is not None
        run = load_run(typed.folder)
        return LaunchedCommand(tuple(words), typed, own_profile(typed.folder), typed.folder, run)
    profile = load(typed.shared.profile_name)
    check_order(profile, typed.shared.gpus)
    out = typed.shared.out or new_folder("probe" if name == "probe" else profile.name)
    return LaunchedCommand(tuple(words), typed, profile, out)


def checked_token(path: Path | None) -> None:
    """Raise UsageError for a token file that no rank would take."""
    try:
        if path:
            token.read(path)
    except token.NoToken as error:
        raise click.UsageError(str(error)) from None


def check(inner: LaunchedCommand, hosts: Sequence[HostEntry]) -> None:
    """Raise for what the ranks of ``hosts``, which have their slots, would refuse."""
    typed, ranks = inner.typed, sum(host.slots for host in hosts)
    if inner.run:
        check_own(inner.run, typed.trust)
        _same_job(inner.run, hosts, ranks, typed.without)
        return
    if typed.shared.ranks is not None:
        raise click.UsageError(
            f"{typed.command}: --ranks is for one machine without a launcher: write slots=N in the host file or "
            "--per-node N before the --"
        )
    if typed.command == "probe" and typed.folder:
        raise click.UsageError(
            "probe: --root reads files copied from a machine (/sys, /proc), for which no launcher is needed"
        )
    if typed.nightly:
        _nightly(typed.nightly.history, inner.words)
    for sweep in typed.sweeps:
        sweep_cases("run", sweep, (tuple(range(ranks)),))


def _same_job(run: Run, hosts: Sequence[HostEntry], ranks: int, without: Sequence[str]) -> None:
    """What can be known of a resume before the nodes are asked, which find out themselves whether they are the same."""
    resumable(run)
    had = run.whole.manifest
    had = replace(had, ranks=tuple(rank for rank in had.ranks if rank.node not in without))
    if {(len(each.nodes), len(each.ranks)) for each in (had, run.manifest)}.isdisjoint({(len(hosts), ranks)}):
        raise ResumeRefused(
            f"{run.path} was measured with {len(had.ranks)} ranks on {len(had.nodes)} "
            f"node{'s' if len(had.nodes) > 1 else ''}, the host file gives {ranks} on {len(hosts)}: results of two "
            "different clusters must not be mixed"
        )


def _nightly(history: str, words: Sequence[str]) -> None:
    if any(word.partition("=")[0] == "--webhook" for word in words):
        raise click.UsageError(
            "nightly: --webhook would show in the process list of every node: export RAILGAUGE_WEBHOOK instead, on the "
            "node of rank 0"
        )
    try:
        lasting(history)
    except MissingLibrary:
        raise
    except HistoryError as error:
        raise click.UsageError(f"nightly: --history {error}") from None


def check_out(out: Path, first: HostEntry) -> None:
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
        raise click.UsageError(f"cannot make {out}: {near} is not a folder; give another one with --out")
    if not os.access(near, os.W_OK | os.X_OK):
        raise click.UsageError(
            f"cannot write to {near}, which is to hold {out}; give another folder with --out"
        )
