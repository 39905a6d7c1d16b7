"""Starts, watches and ends the perftest processes of one node, for its supervisor.

Nothing here blocks but asking ib_write_bw for its help. Every process has a session of its own, a
deadline here, and ``timeout`` around it in case that this process is killed. Words are lists that no
shell reads.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

from msgspec import Meta

from bench.model.late_dataclass import dataclass, field
from bench.model.typed_json import Misfit
from bench.model.units import show_some
from bench.probe import sysfs
from bench.probe.sysfs import LIVE
from bench.probe.tcp_sockets import listeners

from .command import SECONDS, lawful
from .tool import LATENCY, NAME

TOOL, SERVE, CONNECT, END = "verbs.tool", "verbs.serve", "verbs.connect", "verbs.end"
HELP_SECONDS = 10.0
LISTEN_SECONDS = 30.0  # until a server listens, its GPU's context included
RUN_SECONDS = SECONDS + 30.0
GRACE_SECONDS = 4.0  # for a server whose client has ended
LAST_SECONDS = LISTEN_SECONDS + 2 * RUN_SECONDS  # ``timeout`` ends what nobody is left to end
KEPT = 16 << 10  # bytes of a process's words
TIMED_OUT, NOT_STARTED = 124, 127  # of ``timeout``, and of a shell that finds no such command

PortNumber = Annotated[int, Meta(ge=1, le=65535)]


@dataclass(frozen=True)
class PerftestJob:
    """A process to start: its command, the NUMA node of its adapter, and for a client the port of its server."""

    words: list[str]
    numa: int | None = None
    port: PortNumber | None = None


@dataclass(frozen=True)
class PerftestJobs:
    """Processes to start on a node, by rail and direction, and the node's own ``address``."""

    jobs: dict[str, PerftestJob] = field(default_factory=dict)
    address: str = ""


@dataclass(frozen=True)
class ToolSaid:
    """perftest on a node: why it cannot be asked ("": it can), what it says, and whether ib_write_lat is there too."""

    missing: str
    help: str = ""
    version: str = ""
    latency: bool = False


@dataclass(frozen=True)
class ProcessSaid:
    """``port``: of a server that listens; else how the process ended, its status None where it was stopped."""

    port: PortNumber | None = None
    code: int | None = None
    text: str = ""


Answer = ToolSaid | dict[str, ProcessSaid]


class PerftestProcess:
    """One ib_write_bw or ib_write_lat."""

    def __init__(self, words: list[str], port: int, numa: int | None) -> None:
        self.port = port
        self.stopped = False
        self._out = tempfile.TemporaryFile()  # noqa: SIM115
        self._refused = ""
        self._process: subprocess.Popen[bytes] | None = None
        limit = ("timeout", "-k", "2", f"{LAST_SECONDS:g}")
        try:
            with on_cpus_of(numa):
                self._process = subprocess.Popen(
                    [*limit, words[0], "-p", str(port), *words[1:]],
                    stdin=subprocess.DEVNULL,
                    stdout=self._out,
                    stderr=subprocess.STDOUT,
                    env=environment(),
                    start_new_session=True,
                )
        except OSError as error:
            self._refused = f"cannot be started: {error}"

    @property
    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """End the whole session now; without effect on one that has ended."""
        if self._process is not None and self._process.poll() is None:
            self.stopped = True
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def result(self) -> ProcessSaid:
        """Exit status and output."""
        self._out.seek(max(0, self._out.seek(0, os.SEEK_END) - KEPT))
        text = self._out.read().decode(errors="replace")
        self._out.close()
        if self._process is None:
            return ProcessSaid(code=NOT_STARTED, text=self._refused)
        stopped = self.stopped or self._process.returncode == TIMED_OUT
        return ProcessSaid(code=None if stopped else self._process.returncode, text=text)


class PerftestRunner:
    """Runs the perftest processes of this node, one request of the coordinator at a time."""

    known = (TOOL, SERVE, CONNECT, END)

    def __init__(self) -> None:
        self._servers: dict[str, PerftestProcess] = {}
        self._clients: dict[str, PerftestProcess] = {}
        self._asked = ""
        self._deadline = 0.0

    def begin(self, what: str, told: PerftestJobs) -> None:
        """Start what the coordinator asks for; ``look`` returns the answer later."""
        self._asked = what
        limits = {SERVE: LISTEN_SECONDS, CONNECT: RUN_SECONDS, END: GRACE_SECONDS}
        self._deadline = time.monotonic() + limits.get(self._asked, 0.0)
        if odd := [job.words for job in told.jobs.values() if not lawful(job.words)]:
            raise Misfit(f"rank 0 may not start {show_some(odd[0], 8, ' ')}")
        if self._asked == SERVE:
            self.stop()
            ports = _ports(len(told.jobs), told.address)
            for (key, job), port in zip(told.jobs.items(), ports, strict=True):
                self._servers[key] = PerftestProcess(job.words, port, job.numa)
        elif self._asked == CONNECT:
            for key, job in told.jobs.items():
                if job.port is None:
                    raise Misfit(f"rank 0 names no port for {show_some(job.words, 8, ' ')}")
                self._clients[key] = PerftestProcess(job.words, job.port, job.numa)

    def look(self) -> Iterator[tuple[str, Answer]]:
        """The current request and its answer, once there is one."""
        finish: Callable[[bool], Answer | None] | None = {
            TOOL: lambda late: ask_tool(),
            SERVE: self._serving,
            CONNECT: lambda late: _all_ended(self._clients, late),
            END: lambda late: _all_ended(self._servers, late),
        }.get(self._asked)
        answer = finish(time.monotonic() > self._deadline) if finish else None
        if answer is not None:
            said, self._asked = self._asked, ""
            yield said, answer

    def _serving(self, late: bool) -> dict[str, ProcessSaid] | None:
        """Ports of those that listen and the words of those that ended, once every server is one of them."""
        open_ports = {each.port for each in listeners(LIVE)}
        waiting = [each for each in self._servers.values() if not each.ended and each.port not in open_ports]
        if waiting and not late:
            return None
        for each in waiting:
            each.kill()
        up = {key: ProcessSaid(each.port) for key, each in self._servers.items() if not each.ended}
        down = {key: each.result() for key, each in self._servers.items() if each.ended}
        self._servers = {key: each for key, each in self._servers.items() if key in up}
        return {**up, **down}

    def stop(self) -> None:
        """End every process at once."""
        for each in (*self._servers.values(), *self._clients.values()):
            each.kill()
            each.result()
        self._servers, self._clients = {}, {}


def _all_ended(processes: dict[str, PerftestProcess], late: bool) -> dict[str, ProcessSaid] | None:
    if not late and not all(each.ended for each in processes.values()):
        return None
    for each in processes.values():
        each.kill()
    result = {key: each.result() for key, each in processes.items()}
    processes.clear()
    return result


def ask_tool() -> ToolSaid:
    """Ask ib_write_bw for its help and version."""
    path = shutil.which(NAME)
    if path is None:
        return ToolSaid(f"{NAME} is not installed")
    texts = {}
    for name in ("help", "version"):
        try:
            done = subprocess.run(
                [path, f"--{name}"], capture_output=True, timeout=HELP_SECONDS, check=False,
                stdin=subprocess.DEVNULL, env=environment(),
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return ToolSaid(f"{path} --{name}: {error}")
        texts[name] = (done.stdout + done.stderr).decode(errors="replace")[:KEPT]
    return ToolSaid("", latency=shutil.which(LATENCY) is not None, **texts)


def environment() -> dict[str, str]:
    """CUDA counts as the bus does; a launcher may have left each rank one GPU, and these use all of the node."""
    kept = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    return {**kept, "LC_ALL": "C", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def _ports(count: int, address: str) -> list[int]:
    """Find free ports at the address; at any where this machine does not have it, which perftest then reports."""
    try:
        return free_ports(count, address)
    except OSError:
        return free_ports(count, "")


def free_ports(count: int, address: str) -> list[int]:
    """Different TCP ports that are free on ``address`` ("": anywhere), as the kernel chooses them.

    Raises OSError where this machine does not have the address.
    """
    taken = [socket.socket() for _ in range(count)]
    try:
        for each in taken:
            each.bind((address, 0))
        return [int(each.getsockname()[1]) for each in taken]
    finally:
        for each in taken:
            each.close()


@contextmanager
def on_cpus_of(numa: int | None) -> Iterator[None]:
    """Processes started inside run on the CPUs of a NUMA node, or on all: not on the one core that mpirun gave
    this rank.
    """
    before = os.sched_getaffinity(0)
    known = numa is not None and numa >= 0
    text = sysfs.text(LIVE / f"sys/devices/system/node/node{numa}/cpulist") if known else None
    try:
        with suppress(OSError):
            os.sched_setaffinity(0, cpus(text or "") or range(os.cpu_count() or 1))
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, before)


def cpus(text: str) -> set[int]:
    """CPUs of the kernel's list ``0-3,8``; empty where it is none."""
    found: set[int] = set()
    for part in text.strip().split(","):
        match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part)
        if match:
            found |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return found
