"""One import of torch for all ranks of a command that starts its job on this machine.

The command starts a process that imports torch before it imports anything else of its own. The fork server of each
rank is then a fork of that process, where the rank runs in the very same place: environment, limits, control group,
namespaces, processors, priority. Any other rank imports torch itself, and so does one whose shared fork server is gone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.launch import scratch
from bench.launch.context import TOKENS
from bench.launch.python import as_module
from bench.measure.forkserver import JOIN, peer

VARIABLE = "RAILGAUGE_SHARED_IMPORT"  # the digest of its environment, and the path of its socket
LONGEST_PATH = 100  # bytes of a socket's path; the kernel takes 107
GONE_SECONDS = 2.0  # for a killed process to be gone
# read when a phase begins, not when torch is loaded; another value of any other variable needs another fork server
LATE_PREFIXES = ("NCCL_", "TORCH_NCCL_", "GLOO_")
LATE = {"OMP_NUM_THREADS", "PYTHONUNBUFFERED"}
# what launchers of ranks set, and MPI reads; torch and what it loads read none of them
OF_LAUNCHERS = (
    "RAILGAUGE_", "OMPI_", "OPAL_", "PMIX_", "PRTE_", "PMI_", "MPI_", "HYDRA_", "HYDI_", "UCX_", "FI_", "IPATH_",
    "HFI_",
)  # fmt: skip
UNREAD = {"TMPDIR", "PWD", "OLDPWD"}
LIBRARIES = "LD_LIBRARY_PATH"
_OF_MPI = re.compile(r"lib(mpi|open-|ompi|oshmem|mca_|pmix|prrte|hwloc|event)")
# of /proc/PID/status: what a fork would not have from the rank that asks for it
_STATUS = ("Uid", "Gid", "Groups", "Umask", "Cap", "NoNewPrivs", "Seccomp", "Cpus_allowed", "Mems_allowed")


def loading_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that the interpreter, the loader or torch may read before a phase begins.

    Of the folders in which libraries are looked for, only those count that hold others than MPI's: mpirun adds its own.
    """
    given = environment.get(LIBRARIES)
    # an empty name is the folder in which a process was started, and so is any that is not absolute beneath it
    folders = dict.fromkeys(folder or "." for folder in given.split(":")) if given else ()
    counting = ":".join(folder for folder in folders if not (folder[:1] == "/" and _holds_only_mpi(folder)))
    return {
        name: counting if name == LIBRARIES else value
        for name, value in {LIBRARIES: "", **environment}.items()
        if not name.startswith((*LATE_PREFIXES, *OF_LAUNCHERS)) and name not in LATE | UNREAD
    }


def _holds_only_mpi(folder: str) -> bool:
    try:
        names = [path.name for path in Path(folder).iterdir()]
        return all(_OF_MPI.match(name) for name in names if ".so" in name or name == "glibc-hwcaps")
    except FileNotFoundError:
        return True
    except OSError:
        return False


class SharedImport:
    """The process that imports torch, as the command that started it sees it. ``close`` ends it."""

    def __init__(self, environment: Mapping[str, str], module: str) -> None:
        """Raises OSError."""
        self._scratch = contextlib.ExitStack()
        path = self._scratch.enter_context(scratch.folder()) / "import"
        # the token of the job stays out of every process's environment
        given = {name: value for name, value in environment.items() if name not in TOKENS}
        self.address = f"{_digest(given)} {path}"
        try:
            with (
                socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
                tempfile.TemporaryFile() as log,
            ):
                listener.bind(_path(str(path)))
                listener.listen(socket.SOMAXCONN)
                self._process = subprocess.Popen(
                    [sys.executable, *as_module(module), str(listener.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(listener.fileno(),),
                    env=given,
                    start_new_session=True,
                )
        except OSError:
            self._scratch.close()
            raise

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._scratch.close()


def begin(environment: Mapping[str, str], module: str = "bench.measure.worker") -> SharedImport | None:
    """Import torch for the ranks that this command is about to start; None where every rank must do so itself."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        os.close(os.pidfd_open(os.getpid()))  # Linux before 5.3 has none
        return SharedImport(environment, module)
    except OSError:
        return None


class SharedForkServer:
    """A fork server that is no child of ours, with the methods of ``Popen`` that its owner needs."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._process: int | None = None
        self._killed = False

    def heard(self, pid: int) -> None:
        """It has said which process it is."""
        with contextlib.suppress(OSError):  # it is gone: the connection shows that
            self._process = self._process or os.pidfd_open(pid)

    def poll(self) -> int | None:
        """None while it runs. How it ended is known to its parent alone, but unless it is killed it does not end."""
        return -signal.SIGKILL if self._gone(0.0) else None

    def never_came(self) -> bool:
        """Whether the process that imports torch ended before it could be forked, and ``kill`` had not ended it."""
        return self._process is None and not self._killed and self._gone(0.0)

    def kill(self) -> None:
        self._killed = True
        with contextlib.suppress(OSError):
            if self._process is None:  # not forked yet: it ends when it is
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def wait(self) -> None:
        """Until it is gone, GONE_SECONDS at most."""
        self._gone(GONE_SECONDS)
        if self._process is not None:
            os.close(self._process)
            self._process = None

    def _gone(self, seconds: float) -> bool:
        looking, until = select.poll(), time.monotonic() + seconds
        looking.register(self.connection, 0)  # of POLLHUP poll tells unasked
        return bool(looking.poll(max(0.0, until - time.monotonic()) * 1000))


def join(environment: Mapping[str, str], log: int) -> SharedForkServer | None:
    """A fork of the process that has imported torch, which prints to ``log``; None where there is none that fits."""
    digest, _, path = environment.get(VARIABLE, "").partition(" ")
    if not path or digest != _digest(environment):
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(_path(path))
        pid, user = peer(connection)
        if user == os.geteuid() and _place(pid) == _place(os.getpid()):
            socket.send_fds(connection, [JOIN], [log])
            connection.setblocking(False)
            return SharedForkServer(connection)
    except OSError:  # it is gone, on another machine, or not to be looked at
        pass
    connection.close()
    return None


def _digest(environment: Mapping[str, str]) -> str:
    said = json.dumps(sorted(loading_environment(environment).items()))
    return hashlib.sha256(said.encode(errors="surrogateescape")).hexdigest()


def _path(text: str) -> str:
    """Raises OSError where the path is longer than a socket's may be, or others could enter its folder."""
    folder = Path(text).parent.lstat()
    if (
        len(os.fsencode(text)) > LONGEST_PATH
        or folder.st_uid != os.geteuid()
        or stat.S_IMODE(folder.st_mode) & 0o077
    ):
        raise OSError(f"no place for a socket: {text}")
    return text


def _place(pid: int) -> tuple[object, ...]:
    """All that a process hands to its forks and the environment does not hold. Raises OSError."""
    folder = Path("/proc") / str(pid)
    status = (folder / "status").read_text(encoding="utf-8", errors="replace").splitlines()
    return (
        [line for line in status if line.startswith(_STATUS)],
        (folder / "cgroup").read_text(encoding="utf-8", errors="replace"),
        (folder / "limits").read_text(encoding="utf-8", errors="replace"),
        sorted((each.name, str(each.readlink())) for each in (folder / "ns").iterdir()),
        (folder / "cwd").readlink(),
        (folder / "root").readlink(),
        (
            os.sched_getscheduler(pid),
            os.sched_getparam(pid).sched_priority,
            os.getpriority(os.PRIO_PROCESS, pid),
        ),
    )
