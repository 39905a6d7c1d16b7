"""Run a job on this machine under mpirun, whose exit status is never taken for the run's."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import click

from bench import launch
from bench.launch import scratch
from bench.measure import prctl
from bench.measure.open_files import HOW_TO_RAISE, raise_limit
from bench.model.errors import EXIT_INCONCLUSIVE, EXIT_USAGE
from bench.model.profile import Rails
from bench.model.verdict import EXIT, overall
from bench.run.options import CannotRun, Options
from bench.store import DRAWING_SECONDS, MANIFEST, RunError, held, manifest_of
from bench.store import load as load_run
from bench.store.files import exists
from bench.supervise import watchdog
from bench.supervise.control import token

from .page import where_report, write_report
from .standard_streams import append_to_files

STOP_SECONDS = 3.5
FILES_OF_MPIRUN, FILES_OF_RANK = 64, 8  # that Open MPI has open at its start, rather too many
OURS = watchdog.STARTED_MPIRUN


def under_mpirun(ranks: int, options: Options, quiet: bool, verbose: bool) -> int:
    """Start, watch and end the job; the exit status of the run, from its folder."""
    command = _command(ranks, options)
    click.echo(f"railgauge: {launch.shown(command)}", err=True)
    token.take(os.environ)  # of no use among the ranks of one machine
    mark = secrets.token_hex(6)  # by which we know the processes of this job
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup: the run outlives the terminal
            signal.signal(number, lambda which, _: _as_interrupt(which, asked))
    with scratch.of_job() as places:
        environment = {**launch.mpi_environment(os.environ), OURS: mark, **places}
        shown = options.profile.rails if sys.stderr.isatty() and not quiet else None
        returned, interrupted = _watch(command, environment, mark, options.out, shown)
        if options.dry_run and not interrupted:
            return returned
        if not _began(options.out, mark):
            return _never_began(returned, ranks, options)
        with held(options.out, DRAWING_SECONDS):  # rank 0 judges what it has, where mpirun ended before it
            # who interrupts is not kept waiting for a drawing; nobody sits there after a signal, nor was it drawn when
            # rank 0 was killed
            missing = (
                not interrupted and not options.probe_only and not (options.out / "report.html").exists()
            )
            if (asked or missing) and (options.out / "verdicts.json").exists():
                from bench.judge.evidence import Evidence

                write_report(Evidence(load_run(options.out), options.profile))
            code = _believe(options, quiet, verbose)
    where_report(options.out)
    return code


def _command(ranks: int, options: Options) -> list[str]:
    """Our own command line under mpirun, with the folder that was chosen for it."""
    mpirun = launch.find_mpirun()
    kind = launch.flavour(launch.mpirun_version(mpirun))
    arguments = [*sys.argv[1:]]
    named = any(word == "--out" or word.startswith("--out=") for word in arguments)
    if not named and not options.resumed:
        arguments += ["--out", str(options.out)]
    return launch.local_command(mpirun, kind, ranks, arguments)


def _watch(
    command: list[str], environment: dict[str, str], mark: str, folder: Path, rails: Rails | None
) -> tuple[int, bool]:
    """Run the job to its end, showing its progress where ``rails`` are given; its status, and whether we ended it."""
    append_to_files()
    # a process group of its own: an interrupt reaches us alone, and we end the job in order
    job = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        start_new_session=True,
        preexec_fn=prctl.end_with_parent,  # it ends when we are killed
    )
    interrupted = False
    try:
        from .follow import follow, pass_on  # beside the start of mpirun

        if rails is not None:
            follow(job, folder, rails)
        else:
            pass_on(job)
        job.wait()
    except KeyboardInterrupt:
        interrupted = True
        _stop(job, folder, mark)
    finally:
        if job.poll() is None:  # a fault of ours leaves no job behind
            os.killpg(job.pid, signal.SIGKILL)
    return job.returncode, interrupted


def _as_interrupt(number: int, asked: list[int]) -> None:
    """A batch system's SIGTERM and a closed terminal end the job as Ctrl-C does."""
    asked.append(number)
    if number == signal.SIGHUP:  # what is written to a closed terminal is an error
        void = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(void, stream)
    raise KeyboardInterrupt


def _stop(job: subprocess.Popen[str], folder: Path, mark: str) -> None:
    """Ask the coordinator to stop, then mpirun, then the kernel; within 5 seconds in all."""
    click.echo("railgauge: interrupted; ending the job", err=True)
    try:
        os.kill(leader_of(folder, mark), signal.SIGINT)
        job.wait(STOP_SECONDS)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(job.pid, number)
            try:
                job.wait(0.7)
                break
            except subprocess.TimeoutExpired:
                continue


def leader_of(folder: Path, mark: str) -> int:
    """The process that leads the run in ``folder``, if it has our ``mark``. Raises ProcessLookupError otherwise."""
    try:
        pid = load_run(folder).manifest.settings.pid or 0
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (RunError, OSError):
        raise ProcessLookupError(folder) from None
    if f"{OURS}={mark}".encode() not in environment:
        raise ProcessLookupError(folder)
    return pid


def _began(folder: Path, mark: str) -> bool:
    """Whether the run in the folder is that of the job with our ``mark``, and no other that came first."""
    return exists(folder, MANIFEST) and manifest_of(folder).settings.started_by == mark


def _never_began(returned: int, ranks: int, options: Options) -> int:
    """The exit status of a job that measured nothing; what lies in the folder, if anything, is another run's."""
    if returned in (EXIT_USAGE, EXIT_INCONCLUSIVE):  # rank 0 has said why
        return returned
    limit, few = raise_limit(), ""
    if limit < FILES_OF_MPIRUN + FILES_OF_RANK * ranks:
        few = f"; the limit of {limit:.0f} open files may be too low for {ranks} ranks: {HOW_TO_RAISE}"
    raise CannotRun(
        f"mpirun ended with status {returned} before the run {'was resumed' if options.resumed else 'started'}; see "
        f"its messages above{few}"
    )


def _believe(options: Options, quiet: bool, verbose: bool) -> int:
    """The run's own verdict, never the launcher's status: mpirun can end with 0 although a node died."""
    run = load_run(options.out)
    if run.verdicts:
        return EXIT[overall(verdict.status for verdict in run.verdicts)]
    click.echo("railgauge: the run did not finish; judging what was measured", err=True)
    from bench.run.finish import finish  # most jobs judge themselves, and their start waits for our imports

    from .terminal import Terminal

    return finish(options.out, options.profile, Terminal(quiet, verbose), write_report)
