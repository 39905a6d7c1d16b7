"""Runs the three fabric tools, each with a time limit. The only module here that touches the machine.

A tool that is not installed or may not open the management device is NOT APPLICABLE with the reason: most tenants may
not ask. Anything else that is not a whole answer is INCONCLUSIVE, exit status 0 or not.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence

from bench.model.late_dataclass import dataclass
from bench.model.verdict import Status, Verdict
from bench.probe.fabric.netdiscover import unanswered

DISCOVER = ("ibnetdiscover",)
LINKS = ("iblinkinfo", "-l")
ERRORS = ("ibqueryerrors",)
_NO_DEVICE = re.compile(
    r"can't open (?:UMAD|MAD) port|Failed to open|Permission denied|umad_init|ABI version", re.IGNORECASE
)
_SOURCE = "infiniband-diags"


@dataclass(frozen=True)
class ToolExit:
    """How a command ended: ``code`` None where it was stopped at the limit."""

    code: int | None
    out: str
    err: str


@dataclass(frozen=True)
class ToolAnswer:
    """The answer of a tool. ``status`` PASS: it is whole; otherwise ``text`` may hold a part of it."""

    command: tuple[str, ...]
    status: Status
    reason: str
    text: str = ""
    err: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether the fabric could be asked, as a row of the report."""
        return Verdict(
            check="fabric.asked",
            subject=self.command[0],
            status=self.status,
            measured=self.reason,
            wanted="a whole answer from the subnet",
            source=_SOURCE,
            next_step=_NEXT.get(self.status, ""),
            evidence=unanswered(self.err + "\n" + self.text)[:8],
        )


_NEXT = {
    Status.NOT_APPLICABLE: "install infiniband-diags and run as root on a node that may ask the subnet",
    Status.INCONCLUSIVE: "see which part of the fabric is silent, then ask again",
}
Run = Callable[[Sequence[str], float], ToolExit]


def run(command: Sequence[str], limit: float, env: Mapping[str, str] | None = None) -> ToolExit:
    """Runs a command, ``env`` added, for at most ``limit`` seconds; raises OSError where it cannot start."""
    path = (
        os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    )  # where Debian puts them, off a user's path
    env = {**os.environ, "LC_ALL": "C", "PATH": path, **(env or {})}
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=limit, check=False, env=env, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as late:
        return ToolExit(None, _text(late.stdout), _text(late.stderr))
    return ToolExit(done.returncode, _text(done.stdout), _text(done.stderr))


def _text(output: bytes | None) -> str:
    return (output or b"").decode(errors="replace")


def ask(command: Sequence[str], limit: float = 120.0, run: Run = run) -> ToolAnswer:
    """Asks one tool; never raises for what the tool or the fabric does."""
    command = tuple(command)
    try:
        ended = run(command, limit)
    except OSError as error:
        why = (
            "is not installed" if isinstance(error, FileNotFoundError) else f"cannot be run: {error.strerror}"
        )
        return ToolAnswer(command, Status.NOT_APPLICABLE, f"{command[0]} {why}")
    status, reason = _judged(command, ended, limit)
    return ToolAnswer(command, status, reason, ended.out, ended.err)


def _judged(command: tuple[str, ...], ended: ToolExit, limit: float) -> tuple[Status, str]:
    silent = unanswered(ended.err + "\n" + ended.out)
    last = next(
        (line.strip() for line in reversed(ended.err.splitlines()) if line.strip()), "nothing said why"
    )
    if ended.code is None:
        return Status.INCONCLUSIVE, f"no answer within {limit:g} s"
    if not ended.out.strip() or ended.code not in _good_codes(command):
        if _NO_DEVICE.search(ended.err):
            return Status.NOT_APPLICABLE, f"the management device could not be opened: {last}"
        said = "an empty answer" if not ended.out.strip() else "an answer"
        return Status.INCONCLUSIVE, f"{said} with exit status {ended.code}: {last}"
    if silent:
        return Status.INCONCLUSIVE, f"{len(silent)} queries were not answered, so the answer is not whole"
    return Status.PASS, "the subnet answered"


def _good_codes(command: tuple[str, ...]) -> tuple[int, ...]:
    """ibqueryerrors ends with 1 where it found errors."""
    return (0, 1) if command[0] == ERRORS[0] else (0,)
