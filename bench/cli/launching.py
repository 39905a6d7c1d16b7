"""launch: start a job on the hosts of a file, or print how."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.measure import prctl
from bench.model.errors import EXIT_HELP, EXIT_INCONCLUSIVE, EXIT_USAGE

from .json_output import left_to_others
from .option_types import PATH, Count, option
from .standard_streams import append_to_files

if TYPE_CHECKING:
    from bench.launch.command_lines import HostCommand, LaunchJob

    from .inner_command import LaunchedCommand

PATHS = ("PYTHONPATH", "LD_LIBRARY_PATH")  # where the program is found, beside what concerns NCCL and MPI


class LauncherName(click.ParamType[str]):
    """``mpirun``, whichever is installed, or a row of the launchers' table, which is read when it is needed."""

    name = "launcher"

    def names(self) -> tuple[str, ...]:
        from bench.launch.table import STARTERS

        return ("mpirun", *STARTERS)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(self.names())}]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.names():
            self.fail(f"no launcher {value!r}; known: {', '.join(self.names())}", param, ctx)
        return value


class Launch(click.Command):
    """The launch command, with a clear message for a missing -- in front of the inner command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from bench.launch.table import STARTED

            if "--" in given or not set(given) & set(STARTED):
                raise
            raise click.UsageError(
                f"launch has no option {error.option_name}: write -- in front of the command that is started",
                ctx,
            ) from None


@click.command(cls=Launch, epilog=EXIT_HELP)
@option(
    "--hosts FILE",
    "Host file of Open MPI (node1 slots=8), MPICH (node1:8), Slurm (node[01-64]), or plain names",
    PATH,
    required=True,
)
@option(
    "--launcher",
    "mpirun means the one that is installed here, Open MPI's or MPICH's",
    LauncherName(),
    default="mpirun",
)
@option("--shell", "Print one command per node, to be typed there; same as --launcher shell --dry-run", bool)
@option("--dry-run", "Print the commands, run nothing", bool)
@option(
    "--per-node",
    "Ranks on a host whose line gives no slots  [default: the GPUs per node of the profile]",
    Count(1),
)
@option(
    "--management IF",
    "Network interface for MPI's own messages, never a rail  [default: the profile's]",
    default="",
)
@option("--port N", "TCP port of rank 0", click.IntRange(1, 65_527), default=29_400)
@option(
    "--token-file FILE",
    "Without MPI: file with the job's secret, in a folder that all hosts share  [default: sent by ssh]",
    PATH,
)
@option("--ssh agent COMMAND", "Use this instead of ssh, called as: COMMAND HOST TEXT", default="")
@click.argument("arguments", nargs=-1, required=True, metavar="-- accept …")
def launch(
    hosts: Path,
    launcher: str,
    shell: bool,
    dry_run: bool,
    per_node: int | None,
    management: str,
    port: int,
    token_file: Path | None,
    agent: str,
    arguments: tuple[str, ...],
) -> int:
    """Start a command on the hosts of a file, or print how.

    The command is accept, nightly, run, soak, probe or resume; any launcher can start it.

    \b
        railgauge launch --hosts nodes.txt --dry-run -- accept --profile lambda-1cc-h100
        railgauge launch --hosts nodes.txt --launcher torchrun -- accept --profile lambda-1cc-h100
        railgauge launch --hosts nodes.txt --shell -- accept --profile runpod-instant-cluster
    """
    import secrets

    from bench.launch.command_lines import LaunchJob, steps
    from bench.launch.hosts import meetable, read_hosts, with_slots
    from bench.launch.table import STARTERS

    from .inner_command import check, check_out, checked_token, read

    launcher, dry_run = ("shell", True) if shell else (launcher, dry_run)
    inner = read(arguments)
    checked_token(token_file)  # what is wrong with it is reported here, not on every rank
    chosen = with_slots(read_hosts(hosts), per_node or inner.typed.shared.gpus or inner.profile.gpus, hosts)
    on_each_node = launcher in STARTERS and STARTERS[launcher].start_on == "node"
    if on_each_node:
        meetable(chosen, hosts)
    check(inner, chosen)
    if not (dry_run or inner.run):
        check_out(inner.out, chosen[0])
    remote = _agent(agent)
    found, mpirun, flavour = _mpirun(launcher, dry_run)
    job = LaunchJob(
        hosts=chosen,
        python=sys.executable,
        arguments=arguments if dry_run else inner.with_out,
        management=management or inner.profile.rails.management,
        excluded=() if management else inner.profile.rails.unreached,
        forward=_forward(),
        mpirun=mpirun,
        flavour=flavour,
        port=port,
        run=secrets.token_hex(6),
        token_file=str(token_file.resolve()) if token_file else "",
        gpus=inner.profile.backend != "gloo",
    )
    made = steps(found, job)
    if dry_run:
        _print(made, on_each_node, job)
        return 0
    left_to_others()
    if on_each_node:
        return _on_each(made, job, remote, inner)
    return _believed(_to_the_end(found, job, inner), inner)


def _to_the_end(launcher: str, job: LaunchJob, inner: LaunchedCommand) -> int:
    """Run the job; where its launcher ended it because a node died, go on with the others; the last exit status."""
    from bench.launch.command_lines import steps
    from bench.run.resumed_nodes import lost_nodes
    from bench.store import DRAWING_SECONDS, held, load
    from bench.store.case_progress import goes_on

    names: tuple[str, ...] = ()
    while True:
        code, interrupted = _from_here(steps(launcher, job)[0])
        if interrupted or inner.typed.shared.strict or not (inner.out / "manifest.json").exists():
            return code
        with held(inner.out, DRAWING_SECONDS):  # rank 0 may outlive its launcher, to say who died
            run = load(inner.out)
        names = names or tuple(node for node in run.whole.manifest.nodes if node not in inner.typed.without)
        lost = lost_nodes(run)
        if run.ended is not None or not goes_on(run.manifest.command) or len(names) != len(job.hosts):
            return code
        left = [(node, host) for node, host in zip(names, job.hosts, strict=True) if node not in lost]
        if len(left) in (len(names), 0, 1):
            return code
        names = tuple(node for node, _ in left)
        click.echo(f"railgauge: the launcher ended the job; going on without {', '.join(lost)}", err=True)
        words = ("resume", str(inner.out), "--without", ",".join(lost))
        job = replace(job, hosts=tuple(host for _, host in left), arguments=words)


def _agent(text: str) -> Sequence[str]:
    """The words of --ssh. Raises UsageError for what no shell would read."""
    from bench.launch.remote import SSH

    try:
        return shlex.split(text) or SSH
    except ValueError as error:
        raise click.UsageError(f"--ssh {text}: {error}") from None


def _mpirun(launcher: str, dry_run: bool) -> tuple[str, str, str]:
    """(launcher, program, flavour), of the mpirun that is here; a dry run goes without one."""
    from bench import launch

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
                f"{program} belongs to {flavour}, not to {launcher}; put the right one first on PATH"
            )
        program, flavour = "mpirun", launcher
    return (flavour if launcher == "mpirun" else launcher), program, flavour


def _forward() -> dict[str, str]:
    """What a far shell would not have: from the allow-list, so no secret ends up on a command line."""
    from bench.probe.environment import allowed

    variables, _ = allowed(os.environ)
    paths = {name: os.environ[name] for name in PATHS if name in os.environ}
    return {name: value for name, value in variables.items() if not name.startswith("SLURM_")} | paths


def _print(made: Sequence[HostCommand], on_each_node: bool, job: LaunchJob) -> None:
    from bench.supervise.control.token import VARIABLE

    if not on_each_node:
        click.echo(made[0].shown())
        if not (job.management or job.excluded):
            click.echo("# no management interface is named: MPI may use any; see --management", err=True)
        return
    if not job.token_file and len(made) > 1:
        click.echo(
            f"# first, on every node, the same: export {VARIABLE}=… (make it once: openssl rand -hex 32)"
        )
    for step in made:
        click.echo(f"# on {step.host}")
        click.echo(f"cd {shlex.quote(str(Path.cwd()))} && {step.shown()}")


def _on_each(
    made: Sequence[HostCommand], job: LaunchJob, agent: Sequence[str], inner: LaunchedCommand
) -> int:
    """Run one command on every host by ssh; rank 0's verdict, or the status of the first host's launcher."""
    import secrets
    import shutil

    from bench.launch import LaunchError
    from bench.launch.remote import Remote, here

    for step in made:
        click.echo(f"railgauge: {step.host}: {step.shown()}", err=True)
    away = [step.host for step in made if not here(step.host)]
    if away and not shutil.which(agent[0]):
        raise LaunchError(
            f"no program {agent[0]} here, which is needed to reach {away[0]}: install it, or see --ssh"
        )
    token = "" if job.token_file else secrets.token_hex(32)
    ends = Remote(made, str(Path.cwd()), token, agent).wait()
    for host, code in ends.items():
        if code == 255:
            click.echo(f"railgauge: {host}: ssh could not connect, or lost the connection", err=True)
        elif code:
            click.echo(f"railgauge: {host}: exit status {code}", err=True)
    return _believed(next(iter(ends.values())), inner)


def _from_here(step: HostCommand) -> tuple[int, bool]:
    """Run a launcher that starts the whole job; its exit status, and whether somebody told us to end it."""
    import subprocess

    from bench import launch

    click.echo(f"railgauge: {step.shown()}", err=True)
    environment = {**launch.mpi_environment(os.environ), **step.environment}
    append_to_files()
    try:
        # a process group of its own: an interrupt reaches us alone, and we pass it on once
        job = subprocess.Popen(
            step.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=prctl.end_with_parent,  # it ends when we are killed
        )
    except OSError as error:
        raise launch.LaunchError(f"cannot start {step.command[0]}: {error.strerror}") from None

    asked: list[int] = []

    def stop(number: int, _: Any) -> None:
        asked.append(number)
        os.killpg(job.pid, signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        code = job.wait()
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
    return code, bool(asked)


def _believed(code: int, inner: LaunchedCommand) -> int:
    """The run's own verdict where its folder is here. A launcher's 0 or 1 alone is none: torchrun ends with 1 whatever
    happened, and so do mpirun that reached nobody and a Python without RailGauge.
    """
    from bench.judge.verdicts import status
    from bench.model.verdict import EXIT
    from bench.store import load

    if inner.typed.dry_run:
        return code
    if (inner.out / "verdicts.json").exists():
        run = load(inner.out)
        if inner.run is None or run.manifest.settings != inner.run.manifest.settings:
            return EXIT[status(run)]
        click.echo(
            f"railgauge: the launcher ended with status {code} before {inner.out} was resumed", err=True
        )
    elif code in (0, 1):
        click.echo(
            f"railgauge: the launcher ended with status {code}, but {inner.out} on this machine holds no verdict; "
            f"on the node of rank 0 run: railgauge judge {inner.out}",
            err=True,
        )
    return code if code == EXIT_USAGE else EXIT_INCONCLUSIVE
