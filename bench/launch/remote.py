"""Run one command on each of several hosts by ssh: start it, watch it, end it.

The job's secret goes to the far end over its standard input, so that it stands in no list of processes
and in no file. Standard input stays open as long as we live: when it ends, whatever ended us, the far
end ends its command.
"""

from __future__ import annotations

import contextlib
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from .command_lines import HostCommand

SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20")
STOP_SECONDS = 25.0  # for the far ends to finish in order once they were asked to
LOOK = 0.1
# 1. the secret; 2. the command with an empty input; 3. somebody who waits for our end; 4. its exit status
FAR_END = (
    "IFS= read -r RAILGAUGE_TOKEN; export RAILGAUGE_TOKEN; exec 3<&0; "
    '"$@" </dev/null 3<&- & job=$!; '
    "(while IFS= read -r line <&3; do :; done; kill -TERM $job) >/dev/null 2>&1 & guard=$!; "
    "wait $job; status=$?; kill $guard 2>/dev/null; exit $status"
)


def far_command(step: HostCommand, folder: str) -> str:
    """What the shell of the far end is given, whichever shell it is: words of sh, quoted once."""
    inner = shlex.join(["sh", "-c", FAR_END, "railgauge", *step.words])
    return f"cd {shlex.quote(folder)} && exec {inner}"


def here(host: str) -> bool:
    """Whether a host is this machine, to which nobody needs ssh."""
    name = socket.gethostname()
    return host in ("localhost", name, name.partition(".")[0])


def words(step: HostCommand, folder: str, agent: Sequence[str]) -> list[str]:
    """The local command that starts ``step`` at its host."""
    if here(step.host):
        return ["sh", "-c", far_command(step, folder)]
    # after -- nothing is an option; host names were checked when they were read (hosts)
    end = ["--"] if tuple(agent[:1]) == ("ssh",) else []
    return [*agent, *end, step.host, far_command(step, folder)]


class Remote:
    """A job's commands on its hosts over ssh: started, watched and ended together."""

    def __init__(
        self, steps: Sequence[HostCommand], folder: str, token: str, agent: Sequence[str] = SSH
    ) -> None:
        self._hosts = [step.host for step in steps]
        self._asked = 0
        self._deadline = 0.0
        self._ends = [
            # a session of its own: an interrupt reaches us alone, and we end the job in order
            subprocess.Popen(words(step, folder, agent), stdin=subprocess.PIPE, start_new_session=True)
            for step in steps
        ]
        for end in self._ends:
            assert end.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                end.stdin.write(token.encode() + b"\n")
                end.stdin.flush()

    def stop(self, *_: Any) -> None:
        """End the first host at the first call: its rank 0 ends the job and judges it. End all at the second."""
        self._asked += 1
        self._deadline = self._deadline or time.monotonic() + STOP_SECONDS
        self._let_go(self._ends[:1] if self._asked == 1 else self._ends)

    def _let_go(self, ends: Sequence[subprocess.Popen[bytes]]) -> None:
        for end in ends:
            if end.stdin is not None and not end.stdin.closed:
                with contextlib.suppress(BrokenPipeError):
                    end.stdin.close()

    def wait(self) -> dict[str, int]:
        """host -> exit status, negative where the connection was ended from here."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.stop)
        try:
            while any(end.poll() is None for end in self._ends):
                if self._deadline and time.monotonic() > self._deadline:
                    break
                time.sleep(LOOK)
        finally:
            self._let_go(self._ends)
            for end in self._ends:
                if end.poll() is None:
                    end.kill()
                end.wait()
        return {host: end.returncode for host, end in zip(self._hosts, self._ends, strict=True)}
