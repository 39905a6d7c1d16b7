"""A command that measures, with its options parsed; the commands that a launcher may start are such commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.model.late_dataclass import dataclass, replace

from .option_types import SharedOptions

if TYPE_CHECKING:
    from bench.measure.loop import TimingRules
    from bench.plan import AcceptOptions, Request
    from bench.run.options import Nightly, WatchOptions
    from bench.supervise.worker_process import ForkServer


@dataclass(frozen=True)
class Invocation:
    """A command that measures, with its options parsed; nothing was read yet but the command line.

    perform  runs the command; its exit status
    rules    None: those of the profile
    folder   the run that ``resume`` goes on with, or the copy of a machine that ``probe --root`` reads
    trust    whether ``resume`` may go on with a folder that another user made
    without  nodes that ``resume`` goes on without
    watch    how long ``watch`` looks on
    webhook  where ``nightly`` sends its digest
    dry_run  whether ``accept`` only shows what it would measure
    as_json  whether standard output is to hold one JSON object and nothing else
    report_url  where run folders are served, for the link in it
    fork_server  of this rank, which has begun to import torch
    """

    command: str
    shared: SharedOptions
    perform: Callable[[Invocation], int]
    accept: AcceptOptions | None = None
    rules: TimingRules | None = None
    repetitions: int = 2
    sweeps: tuple[Request, ...] = ()
    nightly: Nightly | None = None
    folder: Path | None = None
    trust: bool = False
    without: tuple[str, ...] = ()
    watch: WatchOptions | None = None
    webhook: str = ""
    dry_run: bool = False
    as_json: bool = False
    report_url: str = ""
    fork_server: ForkServer | None = None

    @property
    def measures(self) -> bool:
        return measures(self.command, self.dry_run)


def measures(command: str, dry_run: bool) -> bool:
    """Whether a command starts workers."""
    return command not in ("probe", "watch") and not dry_run


class Measuring(click.Command):
    """A command whose callback returns an ``Invocation``, so that its options can be read without running it."""

    def parse(self, ctx: click.Context) -> Invocation:
        typed = super().invoke(ctx)
        assert isinstance(typed, Invocation)
        return typed

    def invoke(self, ctx: click.Context) -> int:
        if not measures(ctx.info_name or "", ctx.params.get("dry_run", False)):
            typed = self.parse(ctx)
            return typed.perform(typed)
        from .torch_ahead import torch_ahead

        # resume does not use the server of a rank before it has read the run folder
        with torch_ahead(for_this_rank=ctx.info_name != "resume") as fork_server:
            typed = self.parse(ctx)  # what that imports and checks takes a tenth of a second
            return typed.perform(replace(typed, fork_server=fork_server))


def understood(name: str, words: Sequence[str]) -> Invocation:
    """What the command ``name`` makes of its words, without running it. Raises click's own exceptions."""
    root = click.get_current_context().find_root()
    assert isinstance(root.command, click.Group)
    command = root.command.commands[name]
    assert isinstance(command, Measuring)
    return command.parse(command.make_context(name, list(words), root))
