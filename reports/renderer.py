"""Pictures drawn by a process of its own, while the page that they stand beside is being made.

The renderer is a whole browser engine: it takes half a second to start, which the parent spends with importing pandas
and altair. A specification goes to it as a line on its standard input as soon as it is made; the pictures come back
through a file, so that neither ever waits for the other to read. What it does not answer is drawn by the parent.

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

LONGEST = 300.0  # seconds for all pictures of a run once the last was asked for; usually less than one
WARM = {"mark": "point", "data": {"values": [{}]}, "encoding": {}}


class Renderer:
    """Asked for pictures one by one, it answers all of them at the end."""

    def __init__(self) -> None:
        self._asked: list[dict[str, Any]] = []
        self._out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed on leaving
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
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
        self._asked.append(spec)
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # it has ended: what is missing is seen at the end
                self._process.stdin.write(json.dumps(spec).encode() + b"\n")
                self._process.stdin.flush()

    def pictures(self) -> list[dict[str, str]]:
        """Mode → picture, of each specification that was asked for, in that order."""
        answered = self._answers() if self._asked else []
        if len(answered) == len(self._asked):
            return answered
        from .pictures import svgs

        return [*answered, *(svgs(spec) for spec in self._asked[len(answered) :])]

    def _answers(self) -> list[dict[str, str]]:
        """As many as are whole; the process has ended then."""
        if self._process is None:
            return []
        with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=LONGEST)
        self._out.seek(0)
        found: list[dict[str, str]] = []
        with contextlib.suppress(ValueError):
            for line in self._out:
                told = json.loads(line)
                if not (isinstance(told, dict) and set(told) == set(INK)):
                    break
                if not all(isinstance(picture, str) for picture in told.values()):
                    break
                found.append(told)
        return found[: len(self._asked)]


def main() -> None:
    import vl_convert

    from .pictures import VEGA_LITE, svgs

    vl_convert.vegalite_to_svg(WARM, vl_version=VEGA_LITE, allowed_base_urls=[])
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(svgs(json.loads(line))).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
