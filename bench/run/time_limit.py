"""A function in a process that is left behind when it takes too long: a hung driver ends by no signal."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable

from bench.measure import prctl
from bench.model.errors import RailGaugeError, exit_status
from bench.model.late_dataclass import dataclass

STAGE, ANSWER, ERROR = b"s", b"a", b"e"  # how a line on the pipe begins


class TookTooLong(RailGaugeError):
    """The time is up; the message says what was being done."""


class Failed(RailGaugeError):
    """What the process raised: its message and its exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_status = status


def within(seconds: float, work: Callable[[Callable[[str], None]], bytes]) -> bytes:
    """What ``work`` returns, one line, from a fork of this process. ``work`` is given a function that tells its stage.

    Whatever the process is stuck in, this returns: the process and its group are killed and not waited for, and
    nothing of ours is open in it. Raises TookTooLong, and Failed with the words of what it raised.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _child(write, work)
    os.close(write)
    try:
        return _listen(read, seconds)
    finally:
        os.close(read)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _child(write: int, work: Callable[[Callable[[str], None]], bytes]) -> None:
    code = 0
    try:
        os.setsid()
        prctl.end_with_parent(signal.SIGKILL)
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):  # who waits for the end of our output must not wait for a process that hangs
            os.dup2(null, number)

        def say(kind: bytes, text: bytes) -> None:
            os.write(write, kind + text.replace(b"\n", b" ") + b"\n")

        say(ANSWER, work(lambda text: say(STAGE, text.encode("utf-8", "backslashreplace"))))
    except Exception as error:  # it is told to the parent, and this process ends
        expected = isinstance(error, RailGaugeError)
        text = str(error) if expected else f"{type(error).__name__}: {error}; please report this"
        say(ERROR, f"{exit_status(error)} {text}".encode("utf-8", "backslashreplace"))
        code = 1
    finally:
        os._exit(code)


@dataclass
class _Lines:
    """What has come through the pipe: the last stage, and the beginning of the next line."""

    stage: str = "starting"
    rest: bytes = b""

    def take(self, more: bytes) -> bytes | None:
        """The answer, once its line is whole. Raises Failed."""
        *lines, self.rest = (self.rest + more).split(b"\n")
        for line in lines:
            kind, text = line[:1], line[1:]
            if kind == ANSWER:
                return text
            if kind == ERROR:
                status, _, words = text.decode("utf-8", "replace").partition(" ")
                raise Failed(words, int(status))
            self.stage = text.decode("utf-8", "replace")
        return None


def _listen(read: int, seconds: float) -> bytes:
    until, lines = time.monotonic() + seconds, _Lines()
    while (left := until - time.monotonic()) > 0:
        if not select.select([read], [], [], left)[0]:
            break
        more = os.read(read, 1 << 16)
        if not more:
            raise Failed(f"the process ended without an answer while {lines.stage}", 3)
        if (answer := lines.take(more)) is not None:
            return answer
    raise TookTooLong(f"no answer within {seconds:g} s, while {lines.stage}")
