"""The worker process of one rank, as its supervisor has it forked, hears it and ends it; never imports torch."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.launch.python import as_module
from bench.measure.forkserver import FORK

from .limits import SHORTEST
from .shared_import import SharedForkServer, join, loading_environment

TAIL_BYTES = 1 << 16  # an exception of C++ prints its stack behind its text
LONGEST_WORDS = 300
ROW = b'{"kind":"measurement",'  # the beginning of a line whose rest goes to rank 0 unread
_THROWN = re.compile(r"^  what\(\): +(?:\[PG[^]]*\] )?(.+)", re.MULTILINE)
GRACE_SECONDS = 2.0
GONE_SECONDS = 2.0  # for a killed process to be gone; one that waits in the kernel may stay longer


class ForkServer:
    """The process that has torch imported and forks the workers of this rank. Only ``close`` blocks.

    Where the command that started the job has imported torch already, it is a fork of that: see ``shared_import``.
    Where that import fails or its command dies, this rank imports torch itself, and what fails is in its own log.
    """

    def __init__(self, environment: Mapping[str, str], module: str = "bench.measure.worker") -> None:
        self._environment, self._module = dict(environment), module
        self._asked: list[int] = []  # descriptors of the last worker, kept until a shared import can fork it
        self._early = loading_environment(environment)
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed in close()
        self.warm = False
        self._process: subprocess.Popen[bytes] | SharedForkServer
        shared = join(environment, self._log.fileno())
        if shared:
            self._socket, self._process = shared.connection, shared
        else:
            self._start()

    def _start(self) -> None:
        self._socket, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        with its:
            self._process = subprocess.Popen(
                [sys.executable, *as_module(self._module), str(its.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(its.fileno(),),
                env=self._environment,
                start_new_session=True,
            )

    def fits(self, environment: Mapping[str, str]) -> bool:
        """Whether the fork server still runs, in the environment that such a worker needs."""
        return self.status() is None and self._early == loading_environment(environment)

    def fork(self, descriptors: list[int]) -> None:
        """Ask for a worker with these as its input, channel and log; ``status`` shows a dead fork server."""
        if isinstance(self._process, SharedForkServer) and not self.warm:
            self._forget()
            self._asked = [os.dup(each) for each in descriptors]
        try:
            socket.send_fds(self._socket, [FORK], descriptors)
        except OSError:
            return

    def receive(self) -> Iterator[dict[str, Any]]:
        """``born`` and ``ended``, as they arrive."""
        while True:
            try:
                data = self._socket.recv(1 << 12)
            except OSError:
                return
            if not data:
                return
            message = json.loads(data)
            self.warm = True
            self._forget()
            if message["kind"] != "warm":
                yield message
            elif isinstance(self._process, SharedForkServer):
                self._process.heard(message["pid"])

    def status(self) -> int | None:
        """Its own exit status; its worker dies with it."""
        if isinstance(self._process, SharedForkServer) and self._process.never_came():
            self._socket.close()
            self._start()
            if self._asked:
                self.fork(self._asked)
                self._forget()
        return self._process.poll()

    def _forget(self) -> None:
        while self._asked:
            os.close(self._asked.pop())

    def kill(self) -> None:
        """End it; the kernel ends its worker with it."""
        self._process.kill()

    def output(self) -> str:
        """What it printed since the last call: while torch was imported, or as it died."""
        self._log.seek(0)
        text = self._log.read().decode(errors="replace")
        self._log.truncate(0)
        return text

    def close(self) -> None:
        self.kill()
        self._process.wait()
        self._socket.close()
        self._forget()
        self._log.close()


class Worker:
    """A running worker process. Only ``kill`` blocks, for GONE_SECONDS at most."""

    def __init__(
        self, order: dict[str, Any], environment: Mapping[str, str], log: Path, server: ForkServer
    ) -> None:
        self._channel, writing = os.pipe()
        reading, self._orders = os.pipe()
        os.set_blocking(self._channel, False)
        os.set_blocking(self._orders, False)
        self._server, self._log = server, log
        self._rest, self._unsent = b"", b""
        self._killed = 0.0
        self._status: int | None = None
        self.pid = 0  # until it is forked
        with log.open("ab") as sink:
            server.fork([reading, writing, sink.fileno()])
        os.close(reading)
        os.close(writing)
        self.send({"environment": dict(environment), "asked": time.perf_counter()})
        self.send(order)

    @property
    def stage(self) -> str:
        """What the worker does before it can report its stage itself."""
        return "starting" if self._server.warm else "importing torch"

    def send(self, message: dict[str, Any]) -> None:
        """One JSON line to the worker, now or as soon as it reads; ``ended`` shows a dead worker."""
        self._unsent += json.dumps(message).encode() + b"\n"
        self._write()

    def _write(self) -> None:
        while self._unsent:
            try:
                self._unsent = self._unsent[os.write(self._orders, self._unsent) :]
            except BlockingIOError:
                return
            except OSError:
                self._unsent = b""

    def receive(self) -> Iterator[dict[str, Any]]:
        """Messages that have arrived since the last call; of a measurement its JSON, as the worker wrote it."""
        self._write()
        while True:
            try:
                data = os.read(self._channel, 1 << 16)
            except BlockingIOError:
                break
            if not data:
                break
            self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            if line.startswith(ROW):
                yield {"kind": "measurement", "row": b"{" + line.removeprefix(ROW)}
            else:
                yield json.loads(line)

    def ended(self) -> int | None:
        """The exit status once the process has ended (negative: killed by that signal), else None."""
        if self._killed and time.monotonic() - self._killed > (0.0 if self.state() == "T" else GRACE_SECONDS):
            self._signal(signal.SIGKILL)
        self._poll()
        return self._status

    def _poll(self) -> None:
        for message in self._server.receive():
            if message["kind"] == "born":
                self.pid = message["pid"]
            elif message["kind"] == "ended":
                self._status = message["status"]
        if self._status is None and (status := self._server.status()) is not None:
            self._status = status or 1  # it exits with 0 only after its supervisor has closed it

    def state(self) -> str:
        """The kernel's letter: T is stopped, Z dead, D waits in the kernel; "" where it cannot be read."""
        try:
            text = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8", errors="replace")
            return text.rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return ""

    def stop(self) -> None:
        """Ask the worker's whole process group to end; ``ended`` follows up with SIGKILL."""
        self._poll()
        if self._status is None and not self._killed:
            self._killed = time.monotonic()
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the worker's process group now."""
        self._poll()
        self._signal(signal.SIGKILL)
        until = time.monotonic() + GONE_SECONDS
        while self.ended() is None and time.monotonic() < until:
            time.sleep(SHORTEST)

    def close(self) -> None:
        os.close(self._channel)
        os.close(self._orders)

    def tail(self) -> str:
        """The end of what the worker printed, or the fork server that died before."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, self._log.stat().st_size - TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except OSError:
            text = ""
        return text if self._server.status() is None else (self._server.output() + text)[-TAIL_BYTES:]

    def _signal(self, number: int) -> None:
        if self._status is not None:
            return
        if not self.pid:
            self._server.kill()  # not forked yet: nothing is lost
            return
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return


def last_words(printed: str) -> str:
    """Why a process ended, as it printed it: what C++ threw and nobody caught, else its last line, or ""."""
    lines = _THROWN.findall(printed) or printed.strip().splitlines()
    return lines[-1].strip()[:LONGEST_WORDS] if lines else ""
