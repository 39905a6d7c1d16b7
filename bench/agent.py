"""The worker process of one rank: start it, hear it, end it. Runs in the supervisor; never imports torch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TAIL_BYTES = 4000
GRACE_SECONDS = 2.0


class Worker:
    """A running worker process. All waits are bounded; nothing here blocks."""

    def __init__(self, order: dict[str, Any], environment: dict[str, str], log: Path) -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        self._log = log
        self._channel = reading
        self._rest = b""
        self._killed = 0.0
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.worker", str(writing)],
                stdin=subprocess.PIPE,
                stdout=sink,
                stderr=sink,
                pass_fds=(writing,),
                env=environment,
                start_new_session=True,
            )
        os.close(writing)
        self.tell(order)

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, message: dict[str, Any]) -> None:
        """Write one JSON line to the worker; a dead worker is found by ``ended``, not here."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, OSError):
            return

    def heard(self) -> Iterator[dict[str, Any]]:
        """Messages that have arrived since the last call."""
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
            yield json.loads(line)

    def ended(self) -> int | None:
        """The exit status once the process has ended (negative: killed by that signal), else None."""
        if self._killed and time.monotonic() - self._killed > (0.0 if self.state() == "T" else GRACE_SECONDS):
            self._signal(signal.SIGKILL)
        return self._process.poll()

    def state(self) -> str:
        """The kernel's letter: T is stopped, Z dead, D waits in the kernel; "" where it cannot be read."""
        try:
            text = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8", errors="replace")
            return text.rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return ""

    def stop(self) -> None:
        """Ask the worker's whole process group to end; ``ended`` follows up with SIGKILL."""
        if self._process.poll() is None and not self._killed:
            self._killed = time.monotonic()
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the worker's process group now."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        os.close(self._channel)
        if self._process.stdin is not None:
            self._process.stdin.close()

    def tail(self) -> str:
        """The end of what the worker printed."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, self._log.stat().st_size - TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            return
