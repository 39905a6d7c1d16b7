"""What each command does, once its words are parsed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from . import launch
from .acceptance import CannotRun, Options, finish, settle, take_part
from .address import NoAddress
from .elements import UnknownName
from .imports.imported import ImportRefused
from .judge import judge, status
from .measure import Rules
from .model import EXIT, Rank
from .plan import PlanError, Request, sweep_cases
from .profile import Profile, ProfileError, load, parse
from .store import Manifest, RunError, free, of_facts
from .store import load as load_run
from .supervise import Limits
from .terminal import Terminal, summarise
from .units import UnitError

# what a person can mend, and the exit status that says so; anything else is a fault of ours
KNOWN: dict[type[Exception], int] = {
    ProfileError: 2,
    PlanError: 2,
    UnknownName: 2,
    UnitError: 2,
    RunError: 3,
    launch.LaunchError: 3,
    CannotRun: 3,
    NoAddress: 3,
    ImportRefused: 2,
}
STOP_SECONDS = 3.5
OURS = "RAILGAUGE_STARTED_MPIRUN"


def start(command: str, given: dict[str, Any]) -> int:
    """Measure: as one rank of the job that a launcher started, or by starting that job on this machine."""
    profile = load(given["profile_name"])
    where = launch.place(os.environ)
    out = given["out"] or _folder("probe" if command == "probe" else profile.name)
    options = _options(command, given, profile, out)
    terminal = Terminal(given["quiet"], given["verbose"], table=command == "run")
    if command == "probe" and not where.launcher:
        return take_part(options, where, terminal)
    if where.launcher:
        code = take_part(options, where, terminal)
        if where.rank == 0 and OURS not in os.environ:
            _where_report(out)
        # mpirun complains at length about any status but 0; who started it reads the run folder
        return 0 if OURS in os.environ and (out / "verdicts.json").exists() else code
    ranks = given["ranks"] or _ranks_here()
    for sweep in options.sweeps:  # what is wrong with the words is said before mpirun starts
        sweep_cases("run", sweep, (tuple(range(ranks)),))
    free(out)
    code = take_part(options, where, terminal) if ranks == 1 else _under_mpirun(ranks, options, terminal)
    _where_report(out)
    return code


def _folder(name: str) -> Path:
    # a profile's name is data: it must not lead out of runs/
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:64]
    return Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{plain}"


def _options(command: str, given: dict[str, Any], profile: Profile, out: Path) -> Options:
    rules = Rules(precision=profile.sweep.precision, budget=profile.sweep.budget)
    sweeps: tuple[Request, ...] = ()
    repetitions = 2
    if command == "run":
        from .collectives import collective

        row = collective(given["collective"])
        rules = Rules(iterations=given["iters"], warmup=given["warmup_iters"])
        repetitions = given["check"]
        sweeps = (
            Request(
                row.name,
                given["begin"],
                given["end"],
                given["factor"],
                given["stepbytes"] or 0,
                given["datatype"],
                given["op"],
                given["root"],
                row.placements,
            ),
        )
    return Options(
        profile=profile,
        out=out,
        command=("railgauge", *sys.argv[1:]),
        limits=Limits(hang=given["hang"]),
        rules=rules,
        repetitions=repetitions,
        sweeps=sweeps,
        report=write_report,
        go_on=given.get("go_on", False),
        probe_only=command == "probe",
    )


def write_report(run: Any, profile: Profile) -> None:
    """Write the report files of a judged run; pandas and altair are imported only now."""
    from reports import write

    write(run, profile)


def _ranks_here() -> int:
    from .probe.gpus import gpus
    from .probe.gpus import load as nvml

    found = len(gpus(nvml()).gpus)
    return found if found > 1 else max(2, min(4, os.cpu_count() or 1))


def _under_mpirun(ranks: int, options: Options, terminal: Terminal) -> int:
    mpirun = launch.find_mpirun()
    kind = launch.flavour(launch.mpirun_version(mpirun))
    arguments = [*sys.argv[1:]]
    if "--out" not in arguments and not any(word.startswith("--out=") for word in arguments):
        arguments += ["--out", str(options.out)]
    command = launch.local_command(mpirun, kind, ranks, arguments)
    click.echo(f"railgauge: {launch.shown(command)}", err=True)
    environment = {**launch.mpi_environment(os.environ), OURS: "1"}
    signal.signal(signal.SIGTERM, _as_interrupt)
    signal.signal(signal.SIGHUP, _as_interrupt)
    watched = sys.stderr.isatty() and not terminal.quiet
    # a process group of its own: an interrupt reaches us alone, and we end the job in order
    job = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if watched else None,
        text=True,
        start_new_session=True,
    )
    try:
        if watched:
            from .follow import follow

            follow(job, options.out)
        job.wait()
    except KeyboardInterrupt:
        _stop(job, options.out)
    finally:
        if job.poll() is None:  # a fault of ours leaves no job behind
            os.killpg(job.pid, signal.SIGKILL)
    return _believe(job.returncode, options, terminal)


def _as_interrupt(number: int, _: Any) -> None:
    """A batch system's SIGTERM and a closed terminal end the job as Ctrl-C does."""
    raise KeyboardInterrupt


def _stop(job: subprocess.Popen[str], folder: Path) -> None:
    """Ask the coordinator to stop, then mpirun, then the kernel; within 5 seconds in all."""
    click.echo("railgauge: interrupted; ending the job", err=True)
    try:
        os.kill(int(load_run(folder).manifest.settings["pid"]), signal.SIGINT)
        job.wait(STOP_SECONDS)
    except (RunError, KeyError, ValueError, ProcessLookupError, subprocess.TimeoutExpired):
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(job.pid, number)
            try:
                job.wait(0.7)
                break
            except subprocess.TimeoutExpired:
                continue


def _believe(returned: int, options: Options, terminal: Terminal) -> int:
    """The run's own word, never the launcher's: mpirun can end with 0 although a node died."""
    if not (options.out / "manifest.json").exists():
        if returned in (2, 3):
            return returned
        raise CannotRun(f"mpirun ended with status {returned} before the run began; its words stand above")
    run = load_run(options.out)
    if run.verdicts:
        return EXIT[status(run)]
    click.echo("railgauge: the run did not come to its end; judging what was measured", err=True)
    return finish(options.out, options.profile, terminal, options.report)


def _where_report(out: Path) -> None:
    page = out / "report.html"
    if page.exists():
        click.echo(f"report: {page}")


def judge_again(folder: Path, profile_name: str | None, verbose: bool) -> int:
    """Judge a run folder by its own profile or another; write and print the verdicts."""
    profile = load(profile_name) if profile_name else _own_profile(folder)
    judged = settle(folder, profile)
    summarise(judged, verbose, short=True, profile_name=profile.name)
    if (folder / "report.html").exists():
        write_report(judged, profile)  # a report must not say other than the verdicts beside it
    return EXIT[status(judged)]


def report_again(folder: Path) -> int:
    """Judge a run folder by its own profile and write its report again."""
    profile = _own_profile(folder)
    run = settle(folder, profile)
    write_report(run, profile)
    _where_report(folder)
    return EXIT[status(run)]


def _own_profile(folder: Path) -> Profile:
    return parse(load_run(folder).manifest.profile_text, "the run's own profile")


def probe_copy(root: Path, profile_name: str, verbose: bool) -> int:
    """The facts of a copied tree, and what the checks that need no measurement say of them."""
    from .facts_table import table
    from .probe.node import probe

    if not root.is_dir():
        raise click.UsageError(f"no folder at {root}")
    profile = load(profile_name)
    node = probe(_root(root))
    click.echo(table([node], profile.rails)[0])
    ranks = tuple(Rank(i, node.name, i) for i in range(max(1, profile.gpus)))
    manifest = Manifest(
        id=root.name,
        started=0.0,
        command=(),
        profile_name=profile.name,
        profile_text=profile.text,
        launcher="none",
        backend="none",
        ranks=ranks,
    )
    run = judge(of_facts(root, manifest, node.to_json()), profile, early=True)
    summarise(run, verbose, short=True)
    return EXIT[status(run)]


def _root(folder: Path) -> Path:
    """``folder``, or the one below it that holds sys/: archives come with or without a top folder."""
    if (folder / "sys").exists() or (folder / "proc").exists():
        return folder
    inner = [path for path in folder.iterdir() if (path / "sys").exists()]
    return inner[0] if len(inner) == 1 else folder


def explained(
    spec: str, devices: str | None, root: Path | None, profile_name: str | None, sockets: bool
) -> int:
    """Print which devices a specification takes; the exit status."""
    from .explain import explain, explain_interfaces, explain_node
    from .nccl.selector import parse_devices
    from .probe.node import LIVE, probe

    rails = load(profile_name).rails if profile_name else None
    if devices is not None:
        names = devices.replace(",", " ").split()
        answer = explain_interfaces(spec, names) if sockets else explain(spec, parse_devices(" ".join(names)))
    else:
        node = probe(_root(root) if root else LIVE)
        names = [interface.name for interface in node.interfaces]
        answer = explain_interfaces(spec, names) if sockets else explain_node(spec, node, rails)
    click.echo(answer.text)
    return EXIT[answer.status]


def imported(
    files: tuple[Path, ...],
    out: Path | None,
    profile_name: str,
    collective: str,
    ranks: int | None,
    nodes: int | None,
    unit: str,
    algorithm: str,
) -> int:
    """Make a run folder of result files, judge it and write its report."""
    from .interchange import Wanted, import_files

    profile = load(profile_name)
    folder = out or _folder("import")
    wanted = Wanted(collective, ranks, nodes, unit, algorithm)
    made = import_files(files, folder, profile, wanted, ("railgauge", *sys.argv[1:]))
    click.echo(made.text)
    run = settle(folder, profile)
    write_report(run, profile)
    summarise(run, verbose=False, short=False)
    _where_report(folder)
    return EXIT[status(run)]


def exported(folder: Path, form: str) -> int:
    """Print the rows of a run in another tool's format."""
    from .interchange import export

    click.echo(export(load_run(folder), form), nl=False)
    return 0


def compared(a: Path, b: Path, anyway: bool) -> int:
    """Print two runs side by side; the exit status."""
    from .compare import UnlikeRuns
    from .interchange import compare_runs

    try:
        answer = compare_runs(load_run(a), load_run(b), anyway)
    except (UnlikeRuns, ValueError) as error:
        raise click.UsageError(str(error)) from None
    click.echo(answer.text)
    return EXIT[answer.status]


def drafted(name: str) -> str:
    """A profile drafted from this machine, for a person to fill in."""
    from .drafts import draft
    from .probe.node import probe

    return draft(probe(), name, time.strftime("%Y-%m-%d"))
