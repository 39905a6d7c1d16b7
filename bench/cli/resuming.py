"""resume: go on with an interrupted run, as one rank of its job or by starting it again on this machine."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.model.errors import EXIT_HELP
from bench.model.units import show_some

from .invocation import Invocation, Measuring, understood
from .option_types import PATH, QUIET, TOKEN_FILE, VERBOSE, SharedOptions, option

if TYPE_CHECKING:
    from bench.run.options import Options
    from bench.store import Run

    from .terminal import Terminal


@click.command(cls=Measuring, epilog=EXIT_HELP)
@click.argument("run_folder", metavar="RUN", type=PATH)
@TOKEN_FILE
@option("--trust", "Also accept a folder that you did not make: it decides what is measured as you", bool)
@option("--without NODES", "Go on without these nodes, which are set aside: n2,n5", default="")
@QUIET
@VERBOSE
def resume(
    run_folder: Path, token_file: Path | None, trust: bool, without: str, quiet: bool, verbose: bool
) -> Invocation:
    """Go on with an interrupted accept or run.

    What is missing is measured, in the run's own folder, and everything is judged. A cluster that has changed
    (nodes, GPUs, driver, NCCL, links) is refused, and so is a folder that somebody else made (see --trust). A node
    that was set aside takes part again when it is there.

    \b
        railgauge resume runs/20261121-093000-local
        mpirun -n 16 --host node1:8,node2:8 railgauge resume runs/20261121-093000-lambda-1cc-h100
    """
    shared = SharedOptions(token_file=token_file, quiet=quiet, verbose=verbose)
    names = tuple(filter(None, without.split(",")))
    return Invocation("resume", shared, perform, folder=run_folder, trust=trust, without=names)


def perform(typed: Invocation) -> int:
    """The exit status of the whole run, as if it had never stopped."""
    from bench import launch
    from bench.run.join import take_part
    from bench.run.refused_start import refuse
    from bench.run.resume import check_own, resumable
    from bench.store import load

    from .node_supervisors import end_with_parent, fan_out
    from .start import finished, use_token
    from .terminal import Terminal

    folder, shared = typed.folder, typed.shared
    assert folder is not None
    use_token(shared.token_file)
    where = launch.launch_context(os.environ)
    if where.ranks:
        return fan_out(where, sys.argv[1:])
    if where.launcher == "shell":
        end_with_parent()
    if where.rank > 0 and not (where.mpi and folder.is_dir()):
        return take_part(_without_folder(folder), where, Terminal(quiet=True))
    try:
        run = load(folder)
        resumable(run)
        if unknown := [name for name in typed.without if name not in run.whole.manifest.nodes]:
            nodes = show_some(run.whole.manifest.nodes, 8)
            raise click.UsageError(f"--without {','.join(unknown)}: not in this run; its nodes are {nodes}")
        if not where.rank:  # the others do as rank 0 says, and may have another home, without the key
            check_own(run, typed.trust)
        options = replace(_options(run), without=typed.without)
    except Exception as error:  # whatever it is, the ranks that wait for this one must hear of it
        refuse(where, error)
        raise
    terminal = Terminal(shared.quiet, shared.verbose, table=run.manifest.command[1] == "run")
    if not where.launcher:
        return _resume_here(run, options, terminal)
    code = take_part(options, where, terminal)
    return code if where.rank else finished(code, folder)


def _without_folder(folder: Path) -> Options:
    """Options for a rank that needs nothing of the run folder, which may be on rank 0's machine alone."""
    from bench.model.profile import load
    from bench.run.options import Options

    return Options(load("local"), folder, ())


def _resume_here(run: Run, options: Options, terminal: Terminal) -> int:
    """Resume without a launcher on this machine, with as many ranks as before."""
    from bench.launch import LaunchContext
    from bench.run.finish import finish
    from bench.run.join import take_part
    from bench.run.resume import ResumeRefused
    from bench.store import held
    from bench.store.case_progress import case_progress
    from bench.store.sums import check_unchanged

    from .local_job import under_mpirun
    from .start import finished

    now, ranks, nodes = case_progress(run), len(run.manifest.ranks), len(run.manifest.nodes)
    if run.ended is not None and not now.missing:
        click.echo(f"{run.path} is complete: {now.text}; judged again:")
        with held(run.path):
            check_unchanged(run.path)
            return finish(run.path, options.profile, terminal, options.report)
    if nodes > 1:
        raise ResumeRefused(
            f"{run.path} was measured on {nodes} nodes with {ranks} ranks: start it again with a launcher on the same "
            f"nodes (it was {run.manifest.launcher}): … railgauge resume {run.path}"
        )
    if ranks > 1:
        return under_mpirun(ranks, options, terminal.quiet, terminal.verbose)
    return finished(take_part(options, LaunchContext(), terminal), run.path)


def _options(run: Run) -> Options:
    """The options of the run, from the command line that started it; its profile as it was then."""
    from bench.run.resume import ResumeRefused

    from .page import own_profile, write_report
    from .start import options_of

    _, name, *words = run.manifest.command
    try:
        typed = understood(name, words)
    except click.ClickException as error:
        raise ResumeRefused(
            f"{run.path} was started with options that this version does not know: {error.format_message()}"
        ) from None
    options = options_of(typed, own_profile(run.path), run.path)
    return replace(options, resumed=run, report=write_report)
