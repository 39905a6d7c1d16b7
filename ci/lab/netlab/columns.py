"""The launchers under which jobs are made to die: how each starts one, and which of its processes is which.

Edge to no machine: words of commands and patterns of command lines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from netlab.plan import Lab

PORT = 29501
TOKEN = {"RAILGAUGE_TOKEN": "a secret of this lab alone"}
WORKER = r"^\S*python\S* -m bench\.measure\.worker\b"
SUPERVISOR = r"^\S*python\S* (-u )?-m bench accept\b"
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

    def pattern(self, role: str) -> str:
        """Of the command lines of a ``worker``, ``supervisor``, ``launcher`` or ``daemon``."""
        return {
            "worker": WORKER,
            "supervisor": SUPERVISOR,
            "launcher": self.launcher,
            "daemon": self.daemon,
        }[role]


def _mpirun(lab: Lab, python: str, words: Sequence[str]) -> list[list[str]]:
    return [["mpirun", str(lab.rails), "-x", "PYTHONPATH", "--", python, *words]]


def _torchrun(lab: Lab, python: str, words: Sequence[str]) -> list[list[str]]:
    run = ["-m", "torch.distributed.run", f"--nnodes={len(lab.node_names)}", f"--nproc-per-node={lab.rails}"]
    meet = ["--master-addr=n0", f"--master-port={PORT}"]
    return [
        ["exec", node, "--", python, *run, f"--node-rank={number}", *meet, *words]
        for number, node in enumerate(lab.node_names)
    ]


def _shell(lab: Lab, python: str, words: Sequence[str]) -> list[list[str]]:
    """The lines that ``railgauge launch --shell`` prints."""
    size = len(lab.node_names) * lab.rails
    job = [f"RAILGAUGE_RANKS_HERE={lab.rails}", f"RAILGAUGE_SIZE={size}", f"RAILGAUGE_MEET=n0:{PORT}"]
    return [
        [
            *("exec", node, "--", "env", f"RAILGAUGE_FIRST_RANK={number * lab.rails}", *job),
            *("RAILGAUGE_RUN=lab", python, *words),
        ]
        for number, node in enumerate(lab.node_names)
    ]


TORCHRUN = r"^\S*python\S* -m torch\.distributed\.run\b"
COLUMNS = (
    Column(
        "mpirun", _mpirun, r"^\S*(mpirun|prterun|orterun)\b", r"^\S*(prted|orted)\b", zero=("daemon killed",)
    ),
    Column("torchrun", _torchrun, TORCHRUN, TORCHRUN, TOKEN),
    Column("shell", _shell, SUPERVISOR, SUPERVISOR, TOKEN, fans_out=True),
)


def mpich(python: str) -> Column:
    """MPICH's mpirun beside an interpreter of its own."""
    return Column(
        *("mpich", _mpirun, r"^\S*mpi(run|exec)\S*( |$)", r"^\S*hydra_pmi_proxy\b"),
        python=python,
        hasty=("daemon killed",),
    )
