"""mpirun over the nodes of a lab, in the words of Open MPI 5, Open MPI 4 and MPICH. Pure but for ``flavour``.

Ranks and daemons talk over eth0 alone, so that MPI's bytes are never taken for a rail's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from netlab import kernel
from netlab.plan import LabError

_OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl_tcp_if_include": "eth0",
    # All nodes share this machine's cores: a rank that waits must not keep one from a rank that works.
    "OMPI_MCA_mpi_yield_when_idle": "1",
}


@dataclass(frozen=True)
class Flavour:
    """One row: how it is known by ``mpirun --version``, and how it is told what we want.

    ``environment`` values and ``words`` may hold {agent}, {folder}, {hosts} and {ranks}; ``export`` are
    the words that hand one variable to all ranks, {} standing for its name (none: it hands on all).
    """

    name: str
    pattern: str
    environment: Mapping[str, str]
    words: tuple[str, ...]
    export: tuple[str, ...]


FLAVOURS = (
    Flavour(
        "Open MPI 5",
        r"\(Open MPI\) [5-9]\.",
        {
            **_OPEN_MPI,
            "OMPI_MCA_btl": "self,sm,tcp",
            "PRTE_MCA_plm_ssh_agent": "{agent}",
            "PRTE_MCA_prte_if_include": "eth0",
            "PRTE_MCA_prte_tmpdir_base": "{folder}",
        },
        ("--host", "{hosts}", "-n", "{ranks}", "--bind-to", "none"),
        ("-x", "{}"),
    ),
    Flavour(
        "Open MPI 4",
        r"\((Open MPI|OpenRTE)\) 4\.",
        {
            **_OPEN_MPI,
            "OMPI_MCA_btl": "self,vader,tcp",
            "OMPI_MCA_plm_rsh_agent": "{agent}",
            "OMPI_MCA_oob_tcp_if_include": "eth0",
            "OMPI_MCA_orte_tmpdir_base": "{folder}",
        },
        ("--host", "{hosts}", "-n", "{ranks}", "--bind-to", "none"),
        ("-x", "{}"),
    ),
    Flavour(
        "MPICH",
        r"HYDRA build details|mpich",
        {"FI_TCP_IFACE": "eth0", "UCX_NET_DEVICES": "eth0"},
        (
            *("-launcher", "ssh", "-launcher-exec", "{agent}", "-iface", "eth0"),
            *("-hosts", "{hosts}", "-n", "{ranks}"),
        ),
        (),
    ),
)


def recognise(text: str) -> Flavour:
    """The flavour whose ``mpirun --version`` printed ``text``; LabError lists those known."""
    for flavour in FLAVOURS:
        if re.search(flavour.pattern, text, re.IGNORECASE):
            return flavour
    first = text.strip().splitlines()[0] if text.strip() else "nothing"
    known = ", ".join(flavour.name for flavour in FLAVOURS)
    raise LabError(f"mpirun --version says {first!r}; known: {known}")


def flavour(mpirun: str) -> Flavour:
    """Asks ``mpirun`` what it is."""
    return recognise(kernel.run([mpirun, "--version"]))


def launch(
    kind: Flavour,
    mpirun: str,
    home: Path,
    nodes: Sequence[str],
    per_node: int,
    exports: Sequence[str],
    command: list[str],
) -> tuple[list[str], dict[str, str]]:
    """Argument list and added environment that start ``per_node`` ranks of ``command`` on every node.

    ``home`` is the lab's folder, with the agent and room for session folders.
    """
    known = {
        "agent": str(home / "rsh"),
        "folder": str(home / "mpi"),
        "hosts": ",".join(f"{node}:{per_node}" for node in nodes),
        "ranks": str(per_node * len(nodes)),
    }
    words = [word.format(**known) for word in kind.words]
    exported = [word.format(name) for name in exports for word in kind.export]
    environment = {name: value.format(**known) for name, value in kind.environment.items()}
    return [mpirun, *words, *exported, *command], environment
