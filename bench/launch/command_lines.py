"""The commands that start a job on a list of hosts, made of a launcher's row in ``table``.

Some launchers start the whole job from here (mpirun, srun), some have to be started once on every node (torchrun,
fabric, DeepSpeed's launcher, plain shell). Nothing here runs anything, and nothing is put together as
text: commands are lists of words until a person or a remote shell reads them.
"""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping

from bench.model.late_dataclass import dataclass, field
from bench.model.redact import showable

from .hosts import HostEntry
from .mpirun import quiet_mpi
from .python import as_module
from .table import HOSTS, STARTERS, Launcher, LaunchError


@dataclass(frozen=True)
class LaunchJob:
    """The job that is to be started.

    hosts        with their slots, all at least 1; rank 0 is on the first
    python       the interpreter, the same on every host
    arguments    railgauge's own: accept --profile …
    management   interface for MPI's and the supervisors' words; "" where nobody named one
    excluded     interfaces over which the nodes do not reach each other, where no management interface is named
    forward      variables for every rank, which a remote shell would not have
    mpirun       the program; for srun tells which protocol: "openmpi" or "mpich" is its ``flavour``
    token_file   path of the job's secret, seen by every host; "" where it is handed over otherwise
    """

    hosts: tuple[HostEntry, ...]
    python: str
    arguments: tuple[str, ...]
    management: str = ""
    excluded: tuple[str, ...] = ()
    forward: Mapping[str, str] = field(default_factory=dict)
    mpirun: str = "mpirun"
    flavour: str = "openmpi"
    port: int = 29_400
    run: str = "launch"
    token_file: str = ""
    gpus: bool = True

    @property
    def size(self) -> int:
        return sum(host.slots for host in self.hosts)


@dataclass(frozen=True)
class HostCommand:
    """One command on a host; ``host`` is where it is to be started, "" for here. ``environment``: set for it alone."""

    host: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> tuple[str, ...]:
        """The command with its variables, as a shell takes it."""
        settings = tuple(f"{name}={value}" for name, value in self.environment.items())
        return ("env", *settings, *self.command) if settings else self.command

    def shown(self) -> str:
        return shlex.join(showable(self.words))


def steps(launcher: str, job: LaunchJob) -> tuple[HostCommand, ...]:
    """The commands that start ``job``. Raises LaunchError for an unknown launcher, or hosts that it cannot take."""
    row = STARTERS.get(launcher)
    if row is None:
        raise LaunchError(f"no launcher {launcher!r}; known: {', '.join(sorted(STARTERS))}")
    if any(host.slots < 1 for host in job.hosts):
        raise LaunchError("some hosts have no number of ranks: write n1 slots=8, or give --per-node")
    if row.start_on == "node":
        return tuple(_step(row, job, node, host.name) for node, host in enumerate(job.hosts))
    return (_step(row, job, 0, ""),)


def _step(row: Launcher, job: LaunchJob, node: int, host: str) -> HostCommand:
    """The command of a row: ``{name}`` is filled in; a word that is the name of several words becomes these."""
    slots = {each.slots for each in job.hosts}
    if len(slots) > 1 and any("{equal_slots}" in word for word in row.start):
        few = min(job.hosts, key=lambda each: each.slots)
        raise LaunchError(
            f"{row.name} starts the same number of tasks on every node, {few.name} takes {few.slots}: use mpirun, or "
            "leave it out"
        )
    environment, bench = _environment(row, job), as_module("bench")
    several = {
        "{program}": (job.python, *bench, *job.arguments),
        "{bench}": bench,
        "{torchrun}": as_module("torch.distributed.run"),
        "{deepspeed}": as_module("deepspeed.launcher.launch"),
        "{deepspeed_bench}": tuple("--module" if word == "-m" else word for word in bench),
        "{arguments}": job.arguments,
        "{interface}": ("-iface", job.management) if job.management else (),
        # mpirun carries OMPI_* to every rank by itself
        "{exports}": tuple(
            word
            for name in dict.fromkeys((*environment, *job.forward))
            if not name.startswith(("OMPI_", "PRTE_"))
            for word in ("-x", name)
        ),
    }
    one = _values(job, node)
    words = (several.get(word) or (() if word in several else (word.format(**one),)) for word in row.start)
    settings = {name: text.format(**one) for name, text in row.settings}
    return HostCommand(host, tuple(word for part in words for word in part), {**environment, **settings})


def _values(job: LaunchJob, node: int) -> dict[str, object]:
    """What the names in a row's command stand for, on the ``node``-th of the job's hosts."""
    world = json.dumps({host.name: list(range(host.slots)) for host in job.hosts})
    return {
        "python": job.python,
        "scripts": job.python.rpartition("/")[0],
        "mpirun": job.mpirun,
        "plugin": "pmi2" if job.flavour == "mpich" else "pmix",
        "accelerator": "gpu" if job.gpus else "cpu",
        "port": job.port,
        "run": job.run,
        "size": job.size,
        "nodes": len(job.hosts),
        "node": node,
        "slots": job.hosts[node].slots,
        "equal_slots": job.hosts[0].slots,
        "first_rank": sum(host.slots for host in job.hosts[:node]),
        "first_host": job.hosts[0].name,
        "hosts": ",".join(host.name for host in job.hosts),
        "hosts_slots": ",".join(f"{host.name}:{host.slots}" for host in job.hosts),
        "world": base64.urlsafe_b64encode(world.encode()).decode(),
    }


def _environment(row: Launcher, job: LaunchJob) -> dict[str, str]:
    """Variables of the command: what keeps MPI off the rails, or what a shell on another host would not have."""
    safe = {"PYTHONSAFEPATH": "1"}  # what the current folder holds is not imported
    if row.start_on == "node":
        token = {"RAILGAUGE_TOKEN_FILE": job.token_file} if job.token_file else {}
        names = ",".join(f"{host.name}:{host.slots}" for host in job.hosts)
        return {**job.forward, **safe, **token, HOSTS: names}
    quiet = {**quiet_mpi(job.management, job.excluded), **safe}
    if row.name == "openmpi" and (named := job.management or ",".join(job.excluded)):
        # the daemons' own connections: Open MPI 4 calls it oob, 5 prte; each ignores the other's
        how = "include" if job.management else "exclude"
        quiet |= {f"OMPI_MCA_oob_tcp_if_{how}": named, f"PRTE_MCA_prte_if_{how}": named}
    if row.name == "mpich":
        return {name: text for name, text in quiet.items() if not name.startswith("OMPI_")}
    return quiet
