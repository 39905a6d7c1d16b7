"""The command of each launcher for a list of hosts: one row a launcher.

Some start the whole job from here (mpirun, srun), some have to be started once on every node (torchrun,
fabric, DeepSpeed's launcher, plain shell). Nothing here runs anything, and nothing is put together as
text: commands are lists of words until a person or a remote shell reads them.
"""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.model.redact import showable

from .hosts import Host
from .mpirun import quiet_mpi
from .table import FIRST, HERE, MEET, RUN, SIZE, LaunchError


@dataclass(frozen=True)
class Job:
    """What is to be started.

    hosts        with their slots, all at least 1; rank 0 is on the first
    python       the interpreter, the same on every host
    arguments    railgauge's own: accept --profile …
    management   interface for MPI's and the supervisors' words; "" where nobody named one
    forward      variables for every rank, which a remote shell would not have
    mpirun       the program; for srun tells which protocol: "openmpi" or "mpich" is its ``flavour``
    token_file   path of the job's secret, seen by every host; "" where it is handed over otherwise
    """

    hosts: tuple[Host, ...]
    python: str
    arguments: tuple[str, ...]
    management: str = ""
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

    @property
    def program(self) -> tuple[str, ...]:
        return (self.python, "-m", "bench", *self.arguments)

    def first(self, node: int) -> int:
        """The first rank of a node."""
        return sum(host.slots for host in self.hosts[:node])


@dataclass(frozen=True)
class Step:
    """One command; ``host`` is where it is to be started, "" for here. ``environment``: set for it alone."""

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


def steps(launcher: str, job: Job) -> tuple[Step, ...]:
    """The commands that start ``job``. Raises LaunchError for an unknown launcher, or hosts that it cannot take."""
    if launcher not in ROWS:
        raise LaunchError(f"no launcher {launcher!r}; known: {', '.join(ROWS)}")
    if any(host.slots < 1 for host in job.hosts):
        raise LaunchError("every host needs its number of ranks")
    return ROWS[launcher](job)


def _openmpi(job: Job) -> tuple[Step, ...]:
    quiet = quiet_mpi(job.management)
    if job.management:
        # the daemons' own connections: Open MPI 4 calls it oob, 5 prte; each ignores the other's
        quiet |= {
            "OMPI_MCA_oob_tcp_if_include": job.management,
            "PRTE_MCA_prte_if_include": job.management,
        }
    # mpirun carries OMPI_* to every rank by itself
    named = [name for name in (*quiet, *job.forward) if not name.startswith(("OMPI_", "PRTE_"))]
    words = [
        job.mpirun,
        "-n",
        str(job.size),
        "--host",
        _counted(job),
        "--map-by",
        "slot",
        "--bind-to",
        "none",
    ]
    for name in dict.fromkeys(named):
        words += ["-x", name]
    return (Step("", (*words, *job.program), quiet),)


def _mpich(job: Job) -> tuple[Step, ...]:
    interface = ("-iface", job.management) if job.management else ()
    words = (job.mpirun, "-n", str(job.size), "-hosts", _counted(job), *interface)
    quiet = {
        name: value
        for name, value in quiet_mpi(job.management).items()
        if not name.startswith(("OMPI_", "PRTE_"))
    }
    return (Step("", (*words, *job.program), quiet),)


def _counted(job: Job) -> str:
    return ",".join(f"{host.name}:{host.slots}" for host in job.hosts)


def _srun(job: Job) -> tuple[Step, ...]:
    each = {host.slots for host in job.hosts}
    if len(each) > 1:
        few = min(job.hosts, key=lambda host: host.slots)
        raise LaunchError(
            f"srun starts the same number of tasks on every node, {few.name} takes {few.slots}: use mpirun, or leave "
            "it out"
        )
    words = (
        "srun",
        f"--nodes={len(job.hosts)}",
        f"--ntasks={job.size}",
        f"--ntasks-per-node={each.pop()}",
        f"--nodelist={','.join(host.name for host in job.hosts)}",
        # the plug-in must speak the protocol of the MPI library, else N jobs of 1 start
        f"--mpi={'pmi2' if job.flavour == 'mpich' else 'pmix'}",
        "--kill-on-bad-exit=1",
        "--cpu-bind=none",
        "--export=ALL",
    )
    return (Step("", (*words, *job.program), quiet_mpi(job.management)),)


def _each(job: Job, words: Callable[[int, Host], tuple[str, ...]]) -> tuple[Step, ...]:
    told = {"RAILGAUGE_TOKEN_FILE": job.token_file} if job.token_file else {}
    environment = {**job.forward, **told}
    return tuple(Step(host.name, words(node, host), environment) for node, host in enumerate(job.hosts))


def _torchrun(job: Job) -> tuple[Step, ...]:
    return _each(
        job,
        lambda node, host: (
            *(job.python, "-m", "torch.distributed.run"),
            f"--nnodes={len(job.hosts)}",
            f"--node-rank={node}",
            f"--nproc-per-node={host.slots}",
            f"--master-addr={job.hosts[0].name}",
            f"--master-port={job.port}",
            *("-m", "bench", *job.arguments),
        ),
    )


def _fabric(job: Job) -> tuple[Step, ...]:
    # fabric run takes the file of a script and no module: the console script that pip made
    folder = job.python.rpartition("/")[0]
    return _each(
        job,
        lambda node, host: (
            *(f"{folder}/fabric", "run"),
            f"--accelerator={'gpu' if job.gpus else 'cpu'}",
            "--strategy=ddp",
            f"--devices={host.slots}",
            f"--num-nodes={len(job.hosts)}",
            f"--node-rank={node}",
            f"--main-address={job.hosts[0].name}",
            f"--main-port={job.port}",
            *(f"{folder}/railgauge", *job.arguments),
        ),
    )


def _deepspeed(job: Job) -> tuple[Step, ...]:
    # what the deepspeed command starts on each node; so no pdsh is needed, and no host file on the nodes
    world = {host.name: list(range(host.slots)) for host in job.hosts}
    encoded = base64.urlsafe_b64encode(json.dumps(world).encode()).decode()
    return _each(
        job,
        lambda node, _: (
            *(job.python, "-m", "deepspeed.launcher.launch"),
            f"--world_info={encoded}",
            f"--node_rank={node}",
            f"--master_addr={job.hosts[0].name}",
            f"--master_port={job.port}",
            # else it adds --local_rank=N to our words
            "--no_local_rank",
            *("--module", "bench", *job.arguments),
        ),
    )


def _shell(job: Job) -> tuple[Step, ...]:
    return tuple(
        Step(
            step.host,
            job.program,
            {
                **step.environment,
                FIRST: str(job.first(node)),
                HERE: str(job.hosts[node].slots),
                SIZE: str(job.size),
                MEET: f"{job.hosts[0].name}:{job.port}",
                RUN: job.run,
            },
        )
        for node, step in enumerate(_each(job, lambda *_: ()))
    )


ROWS: dict[str, Callable[[Job], tuple[Step, ...]]] = {
    "openmpi": _openmpi,
    "mpich": _mpich,
    "srun": _srun,
    "torchrun": _torchrun,
    "fabric": _fabric,
    "deepspeed": _deepspeed,
    "shell": _shell,
}
EACH_NODE = ("torchrun", "fabric", "deepspeed", "shell")  # without MPI: they need a token
