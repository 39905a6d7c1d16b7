"""Start a job on the hosts of a file, or print how."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from bench import launch
from bench.judge.verdicts import status
from bench.launch.command_lines import EACH_NODE, Job, Step, steps
from bench.launch.hosts import meetable, read_hosts, with_slots
from bench.launch.remote import SSH, Remote, here
from bench.model.verdict import EXIT, EXIT_USAGE, Status
from bench.probe.environment import allowed
from bench.store import load as load_run
from bench.supervise.control.token import VARIABLE

from .inner_command import Inner, Understood, check, check_out, checked_token, read

PATHS = ("PYTHONPATH", "LD_LIBRARY_PATH")  # where the program is found, beside what concerns NCCL and MPI


def launched(
    hosts: Path,
    launcher: str,
    shell: bool,
    dry_run: bool,
    per_node: int | None,
    management: str,
    port: int,
    token_file: Path | None,
    agent: str,
    arguments: Sequence[str],
    understood: Understood,
) -> int:
    """Print or run the commands; the exit status of the run."""
    launcher, dry_run = ("shell", True) if shell else (launcher, dry_run)
    inner = read(arguments, understood)
    if token_file:
        checked_token(token_file)  # what is wrong with it is said here, not on every rank
    profile = inner.profile
    chosen = with_slots(read_hosts(hosts), per_node or profile.gpus, hosts)
    if launcher in EACH_NODE:
        meetable(chosen, hosts)
    check(inner, chosen)
    if not (dry_run or inner.run):
        check_out(inner.out, chosen[0])
    remote = _agent(agent)
    found, mpirun, flavour = _mpirun(launcher, dry_run)
    job = Job(
        hosts=chosen,
        python=sys.executable,
        arguments=tuple(arguments) if dry_run else inner.with_out,
        management=management or profile.rails.management,
        forward=_forward(),
        mpirun=mpirun,
        flavour=flavour,
        port=port,
        run=secrets.token_hex(6),
        token_file=str(token_file.resolve()) if token_file else "",
        gpus=profile.backend != "gloo",
    )
    made = steps(found, job)
    if dry_run:
        _print(made, found, job)
        return 0
    if found in EACH_NODE:
        return _on_each(made, job, remote, inner)
    return _from_here(made[0], inner)


def _agent(text: str) -> Sequence[str]:
    """The words of --ssh. Raises UsageError for what no shell would read."""
    try:
        return shlex.split(text) or SSH
    except ValueError as error:
        raise click.UsageError(f"--ssh {text}: {error}") from None


def _mpirun(launcher: str, dry_run: bool) -> tuple[str, str, str]:
    """(launcher, program, flavour), of the mpirun that is here; a dry run goes without one."""
    if launcher not in ("mpirun", "openmpi", "mpich", "srun"):
        return launcher, "mpirun", "openmpi"
    try:
        program = launch.find_mpirun()
        flavour = launch.flavour(launch.mpirun_version(program))
    except launch.LaunchError:
        if not dry_run and launcher != "srun":
            raise
        program, flavour = "mpirun", "mpich" if launcher == "mpich" else "openmpi"
    if launcher in ("openmpi", "mpich") and launcher != flavour:
        if not dry_run:
            raise launch.LaunchError(
                f"{program} is {flavour}'s, not {launcher}'s; put the right one first on PATH"
            )
        program, flavour = "mpirun", launcher
    return (flavour if launcher == "mpirun" else launcher), program, flavour


def _forward() -> dict[str, str]:
    """What a far shell would not have: from the allow-list, so no secret ends up on a command line."""
    variables, _ = allowed(os.environ)
    paths = {name: os.environ[name] for name in PATHS if name in os.environ}
    return {name: value for name, value in variables.items() if not name.startswith("SLURM_")} | paths


def _print(made: Sequence[Step], launcher: str, job: Job) -> None:
    if launcher not in EACH_NODE:
        click.echo(made[0].shown())
        if not job.management:
            click.echo("# no management interface is named: MPI may use any; see --management", err=True)
        return
    if not job.token_file and len(made) > 1:
        click.echo(
            f"# first on every node, the same: export {VARIABLE}=… (make it once: openssl rand -hex 32)"
        )
    for step in made:
        click.echo(f"# on {step.host}")
        click.echo(f"cd {shlex.quote(str(Path.cwd()))} && {step.shown()}")


def _on_each(made: Sequence[Step], job: Job, agent: Sequence[str], inner: Inner) -> int:
    """Run one command on every host by ssh; rank 0's word, or that of the first host's launcher."""
    for step in made:
        click.echo(f"railgauge: {step.host}: {step.shown()}", err=True)
    away = [step.host for step in made if not here(step.host)]
    if away and not shutil.which(agent[0]):
        raise launch.LaunchError(
            f"no program {agent[0]} here, which is to reach {away[0]}: install it, or see --ssh"
        )
    token = "" if job.token_file else secrets.token_hex(32)
    ends = Remote(made, str(Path.cwd()), token, agent).wait()
    for host, code in ends.items():
        if code == 255:
            click.echo(f"railgauge: {host}: ssh did not get there, or lost it", err=True)
        elif code:
            click.echo(f"railgauge: {host}: ended with status {code}", err=True)
    return _believed(next(iter(ends.values())), inner)


def _from_here(step: Step, inner: Inner) -> int:
    """Run a launcher that starts the whole job."""
    click.echo(f"railgauge: {step.shown()}", err=True)
    environment = {**launch.mpi_environment(os.environ), **step.environment}
    try:
        # a process group of its own: an interrupt reaches us alone, and we pass it on once
        job = subprocess.Popen(
            step.command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as error:
        raise launch.LaunchError(f"cannot start {step.command[0]}: {error.strerror}") from None

    def stop(number: int, _: Any) -> None:
        os.killpg(job.pid, signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        code = job.wait()
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
    return _believed(code, inner)


def _believed(code: int, inner: Inner) -> int:
    """The run's own word where its folder is here. A launcher's 0 or 1 alone is none: torchrun ends with 1 whatever
    happened, and so do mpirun that reached nobody and a Python without RailGauge.
    """
    if (inner.out / "verdicts.json").exists():
        run = load_run(inner.out)
        if inner.run is None or run.manifest.settings != inner.run.manifest.settings:
            return EXIT[status(run)]
        click.echo(f"railgauge: the launcher ended with {code} before {inner.out} went on", err=True)
    elif code in (0, 1):
        click.echo(
            f"railgauge: the launcher ended with {code}, but no verdict in {inner.out} is on this machine: where "
            f"rank 0 ran: railgauge judge {inner.out}",
            err=True,
        )
    return code if code == EXIT_USAGE else EXIT[Status.ERROR]
