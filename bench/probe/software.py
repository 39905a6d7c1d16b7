"""Reads software versions without importing torch, initialising MPI or touching CUDA.

Two kinds of source: files, and tools that print their version (asked with a time limit).
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from bench.model.facts import Software
from bench.probe import sysfs

LIMIT = 5.0  # s a tool may take to print its version
_FOLDERS = (
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib64",
    "usr/local/lib",
    "usr/local/cuda/lib64",
    "opt/hpcx/nccl_rdma_sharp_plugin/lib",
)
_WHEELS = tuple(f"nvidia-nccl-cu{major}" for major in (11, 12, 13))
_LIBRARY = re.compile(r"libnccl\.so(?:\.[0-9]+)*")
_PLUGIN = re.compile(r"libnccl-net[\w.+-]*\.so(?:\.[0-9]+)*")

Ask = Callable[[Sequence[str]], str | None]


def ask(command: Sequence[str]) -> str | None:
    """Run a tool and return what it prints on both streams; None where it is missing or takes too long."""
    # beside the interpreter as well: a virtual environment's mpirun need not be on the PATH
    path = shutil.which(command[0]) or shutil.which(command[0], path=str(Path(sys.executable).parent))
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace")


def software(root: Path, environ: Mapping[str, str], ask: Ask = ask) -> Software:
    """The versions on the running machine; ``driver`` comes from NVML."""
    torch, cuda = _torch()
    flavour, version = parse_mpirun(ask(("mpirun", "--version")) or "")
    folders = _folders(root, environ)
    return Software(
        python=platform.python_version(),
        torch=torch,
        torch_cuda=cuda,
        torch_nccl=parse_pin(_requirements("torch")),
        nccl_wheels={name: found for name in _WHEELS if (found := _version(name)) is not None},
        nccl_libraries=_libraries(folders, _LIBRARY),
        net_plugins=_libraries(folders, _PLUGIN),
        mpi=flavour,
        mpi_version=version,
        mpi_path=shutil.which("mpirun") or shutil.which("mpirun", path=str(Path(sys.executable).parent)),
        ucx=parse_ucx(ask(("ucx_info", "-v")) or ""),
        ofed=parse_ofed(ask(("ofed_info", "-s")) or "") or sysfs.text(root / "sys/module/mlx5_core/version"),
        mpi4py=_version("mpi4py"),
    )


def parse_mpirun(text: str) -> tuple[str | None, str | None]:
    """Flavour and version of ``mpirun --version``; (None, None) of a text that names no MPI."""
    for flavour, pattern in (
        ("Open MPI", r"mpirun \(Open MPI\) (\S{1,40})"),
        ("Open MPI", r"\((?:OpenRTE|PRRTE|PRTE)\) (\S{1,40})"),
        ("Intel MPI", r"Intel\(R\) MPI Library[^\n]{0,80}?Version (\S{1,40})"),
        ("MVAPICH", r"(?i)mvapich2?[^\n]{0,40}?([0-9][\w.]{1,20})"),
        ("MPICH", r"HYDRA build details:\s+Version:\s+(\S{1,40})"),
    ):
        if match := re.search(pattern, text):
            return flavour, match[1]
    return None, None


def parse_ucx(text: str) -> str | None:
    """Version of ``ucx_info -v``: ``# Library version: 1.18.1`` or, to 1.12, ``# UCT version=1.12.1``."""
    match = re.search(r"(?:Library version: |UCT version=)([0-9][\w.-]{0,30})", text)
    return match[1] if match else None


def parse_ofed(text: str) -> str | None:
    """``MLNX_OFED_LINUX-23.10-0.5.5.0`` of ``ofed_info -s``."""
    match = re.search(r"^(\S{0,40}OFED[^\s:]{0,60}):?\s*$", text, re.MULTILINE)
    return match[1] if match else None


def parse_pin(requirements: Iterable[str]) -> str | None:
    """The NCCL version that torch's wheel pins: 2.27.5 of ``nvidia-nccl-cu12==2.27.5; platform_…``."""
    for requirement in requirements:
        if match := re.match(r"nvidia-nccl-cu[0-9]+\s*\(?==\s*([0-9][\w.]{0,20})", requirement):
            return match[1]
    return None


def parse_torch_version(text: str) -> tuple[str | None, str | None]:
    """Version and CUDA version of ``torch/version.py``; the second is None of a CPU build."""
    version = re.search(r"^__version__\s*(?::[^=\n]*)?=\s*['\"]([^'\"\n]{1,60})['\"]", text, re.MULTILINE)
    cuda = re.search(r"^cuda\s*(?::[^=\n]*)?=\s*['\"]([^'\"\n]{1,20})['\"]", text, re.MULTILINE)
    return version[1] if version else None, cuda[1] if cuda else None


def _torch() -> tuple[str | None, str | None]:
    try:
        spec = importlib.util.find_spec("torch")  # a top-level package is found without being imported
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        return None, None
    version, cuda = parse_torch_version(sysfs.text(Path(spec.origin).parent / "version.py") or "")
    return version or _version("torch"), cuda


def _version(name: str) -> str | None:
    try:
        found: str | None = metadata.version(name)
    except (metadata.PackageNotFoundError, KeyError, ValueError):
        return None
    return found


def _requirements(name: str) -> Sequence[str]:
    try:
        return metadata.requires(name) or ()
    except metadata.PackageNotFoundError:
        return ()


def _folders(root: Path, environ: Mapping[str, str]) -> list[Path]:
    """The folders that the loader searches and those in which wheels put NCCL; each once."""
    named = [
        Path(part) for part in environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if part.startswith("/")
    ]
    wheels = [Path(part) / "nvidia" / "nccl" / "lib" for part in sys.path if part.endswith("-packages")]
    return list(dict.fromkeys([*named, *(root / folder for folder in _FOLDERS), *wheels]))


def _libraries(folders: Iterable[Path], name: re.Pattern[str]) -> tuple[str, ...]:
    """The real files of that name, each once: libnccl.so.2 is a link that tells less."""
    found = (
        sysfs.target(folder / entry)
        for folder in folders
        for entry in sysfs.names(folder)
        if name.fullmatch(entry)
    )
    return tuple(dict.fromkeys(path.as_posix() for path in found if path is not None))
