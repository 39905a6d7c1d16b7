"""Go on with a run that was interrupted: as one rank of its job, or by starting it again on this machine."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import click

from bench import launch
from bench.cli.terminal import Terminal
from bench.launch import Place
from bench.model.profile import load as load_profile
from bench.model.profile import parse
from bench.run.finish import finish
from bench.run.join import take_part
from bench.run.options import Options
from bench.run.refusal import refuse
from bench.run.resume import ResumeRefused, check_own, resumable
from bench.store import Run, load
from bench.store.standing import standing
from bench.supervise.control.token import FILE as TOKEN_FILE
from bench.supervise.limits import Limits

from .inner_command import Understood
from .local_job import OURS, under_mpirun
from .node import end_with_parent, fan_out
from .page import where_report, write_report
from .start import options_of


def resumed(
    run_folder: Path, token_file: Path | None, trust: bool, quiet: bool, verbose: bool, understood: Understood
) -> int:
    """The exit status of the whole run, as if it had never stopped."""
    if token_file:
        os.environ[TOKEN_FILE] = str(token_file)
    where = launch.place(os.environ)
    if where.ranks:
        return fan_out(where, sys.argv[1:])
    if where.launcher == "shell":
        end_with_parent()
    if where.rank > 0 and not (where.mpi and run_folder.is_dir()):
        return _elsewhere(run_folder, where)
    try:
        run = load(run_folder)
        resumable(run)
        if not where.rank:  # the others do as rank 0 says, and may have another home, without the key
            check_own(run, trust)
        options = _options(run, understood)
    except Exception as error:
        refuse(where, error)
        raise
    terminal = Terminal(quiet, verbose, table=run.manifest.command[1] == "run")
    if where.launcher:
        code = take_part(options, where, terminal)
        if where.rank == 0 and OURS not in os.environ:
            where_report(run_folder)
        return 0 if OURS in os.environ and (run_folder / "verdicts.json").exists() else code
    return _here(run, options, terminal)


def _elsewhere(folder: Path, where: Place) -> int:
    """A rank that needs nothing of the run folder, which may be on rank 0's machine alone."""
    options = Options(load_profile("local"), folder, (), Limits())
    return take_part(options, where, Terminal(True, False))


def _here(run: Run, options: Options, terminal: Terminal) -> int:
    """Without a launcher: on this machine, as many ranks as there were."""
    now = standing(run)
    if run.ended is not None and not now.missing:
        click.echo(f"{run.path} is complete: {now.text}; judged again:")
        return finish(run.path, options.profile, terminal, options.report)
    if len(run.manifest.nodes) > 1:
        words = " ".join(("railgauge", "resume", str(run.path)))
        raise ResumeRefused(
            f"{run.path} was measured on {len(run.manifest.nodes)} nodes with {len(run.manifest.ranks)} ranks: start "
            f"it again by a launcher on the same nodes ({run.manifest.launcher} before): … {words}"
        )
    ranks = len(run.manifest.ranks)
    if ranks > 1:
        return under_mpirun(ranks, options, terminal.quiet, terminal.verbose)
    code = take_part(options, Place(), terminal)
    where_report(run.path)
    return code


def _options(run: Run, understood: Understood) -> Options:
    """The options of the run, from the words that started it; its profile as it was then."""
    _, name, *words = run.manifest.command
    try:
        given = understood(name, words)
    except click.ClickException as error:
        raise ResumeRefused(
            f"{run.path} was started by words that are not understood any more: {error.format_message()}"
        ) from None
    profile = parse(run.manifest.profile_text, "the run's own profile")
    return replace(options_of(name, given, profile, run.path), resumed=run, report=write_report)
