"""The launchers under which jobs are made to die: how each starts one, and which of its processes is which."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from netlab import lab as labs
from netlab import mpi
from netlab.plan import Lab

PORT = 29501
TOKEN = {"RAILGAUGE_TOKEN": "a secret of this lab alone"}
WORKER = r"^\S*python\S* -m bench\.measure\.worker\b"
SUPERVISOR = r"^\S*python\S* (-u )?-m bench (accept|resume)\b"
FORK_SERVER = "rg-forkserver"  # the name of a process from which workers are forked, with their command line


@dataclass(frozen=True)
class Column:
    """One launcher: what to start on which nodes, given the words of ``python -m bench``; the first is rank 0's.

    launcher    the command line of what a person started, on the first node
    daemon      the command line of what it has on every other node
    fans_out    one process a node starts that node's supervisors: all have one command line
    hasty       deaths after which it kills rank 0 in the same moment, so that nobody is left to say who it was
    python      the interpreter, where it is not this one
    zero        deaths after which the launcher itself ends with 0: nothing of ours is left that could say otherwise
    ends        deaths after which it ends the whole job, the healthy rest too
    """

    name: str
    commands: Callable[[Lab, str, Sequence[str]], list[list[str]]]
    launcher: str
    daemon: str
    environment: Mapping[str, str] = field(default_factory=dict)
    fans_out: bool = False
    python: str = sys.executable
    zero: tuple[str, ...] = ()
    hasty: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()

    def pattern(self, role: str) -> str:
        """Of the command lines of a ``worker``, ``supervisor``, ``launcher`` or ``daemon``."""
        return {
            "worker": WORKER,
            "supervisor": SUPERVISOR,
            "launcher": self.launcher,
            "daemon": self.daemon,
        }[role]


def mpirun(lab: Lab, python: str, words: Sequence[str]) -> list[list[str]]:
    return [["mpirun", str(lab.rails), "-x", "PYTHONPATH", "--", python, *words]]


def _launch(lab: Lab, python: str, words: Sequence[str]) -> list[list[str]]:
    """``railgauge launch``, which starts the remaining nodes again where mpirun ends the job."""
    place = labs.home(lab.name)
    program = str(Path(python).with_name("mpirun"))
    _, environment = mpi.launch(mpi.flavour(program), program, place, lab.node_names, lab.rails, (), [])
    given = [f"{name}={value}" for name, value in environment.items()]
    command = [python, "-m", "bench", "launch", "--hosts", str(place / "nodes"), "--launcher", "mpirun", "--"]
    return [["exec", "n0", "--", "env", *given, *command, *words[2:]]]


def torchrun(lab: Lab, python: str, words: Sequence[str], first: str = "n0") -> list[list[str]]:
    """``first``: a name or an address of n0, at which the others meet it."""
    run = ["-m", "torch.distributed.run", f"--nnodes={len(lab.node_names)}", f"--nproc-per-node={lab.rails}"]
    meet = [f"--master-addr={first}", f"--master-port={PORT}"]
    return [
        ["exec", node, "--", python, *run, f"--node-rank={number}", *meet, *words]
        for number, node in enumerate(lab.node_names)
    ]


def _shell(lab: Lab, python: str, words: Sequence[str]) -> list[list[str]]:
    """The lines that ``railgauge launch --shell`` prints."""
    size = len(lab.node_names) * lab.rails
    hosts = ",".join(f"{node}:{lab.rails}" for node in lab.node_names)
    job = [f"RAILGAUGE_RANKS_HERE={lab.rails}", f"RAILGAUGE_SIZE={size}", f"RAILGAUGE_MEET=n0:{PORT}"]
    job.append(f"RAILGAUGE_HOSTS={hosts}")
    return [
        [
            *("exec", node, "--", "env", f"RAILGAUGE_FIRST_RANK={number * lab.rails}", *job),
            *("RAILGAUGE_RUN=lab", python, *words),
        ]
        for number, node in enumerate(lab.node_names)
    ]


TORCHRUN = r"^\S*python\S* -m torch\.distributed\.run\b"
DAEMON = r"^\S*(prted|orted)\b"
OF_A_RANK = (
    "supervisor killed",
    "daemon killed",
    "node killed",
    "node slowly killed",
)  # after which Open MPI and MPICH end the job
COLUMNS = (
    Column(
        *("mpirun", mpirun, r"^\S*(mpirun|prterun|orterun)\b", DAEMON),
        zero=("daemon killed", "node killed", "node slowly killed"),
        ends=OF_A_RANK,
    ),
    Column("launch", _launch, r"^\S*python\S* -m bench launch\b", DAEMON),
    Column("torchrun", torchrun, TORCHRUN, TORCHRUN, TOKEN),
    Column("shell", _shell, SUPERVISOR, SUPERVISOR, TOKEN, fans_out=True),
)


def mpich(python: str) -> Column:
    """MPICH's mpirun beside an interpreter of its own."""
    return Column(
        *("mpich", mpirun, r"^\S*mpi(run|exec)\S*( |$)", r"^\S*hydra_pmi_proxy\b"),
        python=python,
        hasty=("daemon killed", "node killed"),
        ends=OF_A_RANK,
    )
