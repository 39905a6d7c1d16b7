"""Draws pictures in a separate process while the rest of the report is being made.

The renderer is a whole browser engine: it takes half a second to start; meanwhile the parent imports pandas and altair.
Each specification goes to its standard input as one line; the pictures come back through a file, so that neither
process ever waits for the other to read. Pictures that the process does not return are drawn by the parent.

    python -m reports.renderer          lines of specifications in, lines of {mode: picture} out
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import IO, Any

from .theme import INK

LONGEST = 300.0  # seconds for all pictures of a run after the last request; usually less than one
# it imports what this process does, and nothing from the current folder
_PROGRAM = "import sys; sys.path[:] = {!r}; from {} import main; main()"
WARM = {"mark": "point", "data": {"values": [{}]}, "encoding": {}}


class Renderer:
    """Takes requests for pictures one by one; returns all pictures at the end."""

    def __init__(self) -> None:
        self._requested: list[dict[str, Any]] = []
        self._out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed on leaving
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM.format(sys.path, __name__)],
                stdin=subprocess.PIPE,
                stdout=self._out,
                stderr=subprocess.DEVNULL,
            )

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            with contextlib.suppress(OSError):
                self._process.communicate()
        self._out.close()

    def ask(self, spec: dict[str, Any]) -> None:
        self._requested.append(spec)
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # the process has ended: pictures() draws the rest
                self._process.stdin.write(json.dumps(spec).encode() + b"\n")
                self._process.stdin.flush()

    def pictures(self) -> list[dict[str, str]]:
        """Mode → picture, of each requested specification, in the order of the requests."""
        answered = self._answers() if self._requested else []
        if len(answered) == len(self._requested):
            return answered
        from .pictures import svgs

        return [*answered, *(svgs(spec) for spec in self._requested[len(answered) :])]

    def _answers(self) -> list[dict[str, str]]:
        """The complete pictures; the process has ended then."""
        if self._process is None:
            return []
        with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=LONGEST)
        self._out.seek(0)
        found: list[dict[str, str]] = []
        with contextlib.suppress(ValueError):
            for line in self._out:
                picture = json.loads(line)
                if not (isinstance(picture, dict) and set(picture) == set(INK)):
                    break
                if not all(isinstance(text, str) for text in picture.values()):
                    break
                found.append(picture)
        return found[: len(self._requested)]


def main() -> None:
    import vl_convert

    from .pictures import VEGA_LITE, svgs

    vl_convert.vegalite_to_svg(WARM, vl_version=VEGA_LITE, allowed_base_urls=[])
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(svgs(json.loads(line))).encode() + b"\n")
        sys.stdout.buffer.flush()
