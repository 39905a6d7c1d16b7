"""Standard output and standard error whose writes never raise: a reader may leave, a disk fill up.

A reader that has left (``| head``) ends the printing and not the work. A full disk under ``> file`` ends the printing
too, and is told at the end. What a terminal would obey is written out (see ``bench.model.printable``).
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import stat
import sys
from collections.abc import Iterator
from typing import Any

from bench.model.printable import plain
from bench.model.redact import veil


class UnfailingStream(io.TextIOWrapper):
    """A text stream over the same file descriptor whose writes never raise; ``trouble``: why they went nowhere.

    ``hidden`` is what is shown nowhere, whoever says it.
    """

    trouble: str = ""
    hidden: tuple[str, ...] = ()

    def write(self, text: str) -> int:
        try:
            super().write(plain(veil(text, self.hidden)))
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.trouble = self.trouble or str(error.strerror)
        # what is still held back must go somewhere, or Python complains of it at its end
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def append_to_files() -> None:
    """Add what is printed to the end of a file, where that is a file: a rank 0 that outlives its launcher writes there
    too, and neither may write over the other's words.
    """
    for number in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISREG(os.fstat(number).st_mode):
                fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_APPEND)


@contextlib.contextmanager
def patient(hidden: tuple[str, ...] = ()) -> Iterator[None]:
    """Within this context no write to ``sys.stdout`` or ``sys.stderr`` raises, and no text of ``hidden`` is shown."""
    before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    try:
        for name, stream in before.items():
            made = _patient(stream)
            if made is not None:
                made.hidden = hidden
                setattr(sys, name, made)
        yield
    finally:
        for name, stream in before.items():
            made, ours = getattr(sys, name), isinstance(getattr(sys, name), UnfailingStream)
            if ours:
                made.flush()
            setattr(sys, name, stream)


def trouble() -> str:
    """Why standard output went nowhere; "" where it was written, or where its reader has left."""
    if isinstance(sys.stdout, UnfailingStream):
        sys.stdout.flush()
        return sys.stdout.trouble
    return ""


def _patient(stream: Any) -> UnfailingStream | None:
    try:
        stream.flush()
        raw = os.fdopen(stream.fileno(), "wb", closefd=False)
    except (AttributeError, OSError, ValueError):  # closed, or no file
        return None
    return UnfailingStream(
        raw, encoding=stream.encoding, errors="backslashreplace", line_buffering=stream.line_buffering
    )
