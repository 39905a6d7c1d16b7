"""Reads the settings of NCCL, UCX and MPI from environment and conf files: an allow-list, never a secret."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.model.facts import Environment
from bench.model.redact import looks_secret
from bench.probe import sysfs

PREFIXES = (
    "NCCL_",
    "TORCH_NCCL_",
    "TORCH_DISTRIBUTED_",
    "UCX_",
    "OMPI_MCA_",
    "PRTE_MCA_",
    "CUDA_",
    "GLOO_",
    "TP_",
    "FI_",
    "SHARP_",
)
NAMES = (
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "OMP_NUM_THREADS",
    "NVIDIA_VISIBLE_DEVICES",
    "SLURM_JOB_ID",
    "SLURM_JOB_NODELIST",
    "SLURM_NNODES",
    "SLURM_NTASKS",
)
# Open MPI 4's own book-keeping, which it hands to its ranks as if a person had set it: addresses of its daemons, the
# job's key, folders; other on every node, and wrong in any other job
BOOKS = (
    "OMPI_MCA_orte_",
    "OMPI_MCA_ess",
    "OMPI_MCA_pmix",
    "OMPI_MCA_routed",
    "OMPI_MCA_shmem_RUNTIME_",
    "OMPI_MCA_initial_wdir",
)
SYSTEM_FILE = "/etc/nccl.conf"


def environment(root: Path, environ: Mapping[str, str] | None, home: str | None = None) -> Environment:
    """``home`` is the user database's folder, where NCCL before 2.30 looks; ``$HOME`` counts from then on.

    ``environ`` None: a copied tree, which has no environment; its /etc/nccl.conf is read all the same.
    """
    variables, withheld = allowed(environ or {})
    files: dict[str, str | None] = {}
    for path in conf_files(environ or {}, home):
        # NCCL opens a relative path in its working folder: what this process sees is the best answer
        at = Path(path) if environ is not None and not path.startswith("/") else root / path.lstrip("/")
        files[path], hidden = _conf(at)
        withheld = (*withheld, *hidden)
    return Environment(variables, files, home, tuple(dict.fromkeys(withheld)))


def home() -> str | None:
    """The user's folder as getpwuid says, which is not always ``$HOME``."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return None


def allowed(environ: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The variables on the allow-list, and the names of those that look like secrets nevertheless."""
    listed = {
        name: text
        for name, text in sorted(environ.items())
        if (name.startswith(PREFIXES) or name in NAMES) and not name.startswith(BOOKS)
    }
    withheld = tuple(name for name in listed if looks_secret(name))
    return {name: text for name, text in listed.items() if name not in withheld}, withheld


def conf_files(environ: Mapping[str, str], home: str | None) -> tuple[str, ...]:
    """Every file that some version of NCCL would open (bench.nccl.environment says which opens what)."""
    folders: Iterable[str | None] = (environ.get("HOME"), home)
    users = [f"{folder}/.nccl.conf" for folder in folders if folder]
    return tuple(dict.fromkeys(path for path in (environ.get("NCCL_CONF_FILE"), *users, SYSTEM_FILE) if path))


def _conf(path: Path) -> tuple[str | None, tuple[str, ...]]:
    raw = sysfs.data(path)
    # bytes, not text mode: a CR is part of NCCL's value; surrogateescape as in os.environ
    return (None, ()) if raw is None else without_secrets(raw.decode("utf-8", "surrogateescape"))


def without_secrets(text: str) -> tuple[str, tuple[str, ...]]:
    """The conf file's text with the lines of secret-looking names left empty, and these names."""
    lines = text.split("\n")
    keys = [line.partition("=")[0] for line in lines]
    hidden = tuple(key[:60] for key in keys if looks_secret(key))
    return "\n".join("" if looks_secret(key) else line for key, line in zip(keys, lines, strict=True)), hidden
