"""Why a supervisor leaves before it is dismissed, and its last word to rank 0.

A launcher's process that is killed takes nobody with it by itself: torchrun's and MPICH's leave their ranks running,
Open MPI's ranks live on for about a second. So the process above is looked after, as a pipe to it would be.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bench.supervise.control.tcp import Control
from bench.supervise.watchdog import LAUNCHERS

WORD_SECONDS = 0.3  # for the last word to leave
DAEMONS = ("prted", "orted", "hydra_pmi_proxy", "slurmstepd")
# of launchers that are Python programs: what stands in their command lines
PROGRAMS = (
    "torch.distributed.run",
    "torch.distributed.launch",
    "deepspeed.launcher.launch",
    "torchrun",
    "fabric",
)


@dataclass(frozen=True)
class Above:
    """The process that started this one, where it is a launcher's; ``name`` is "" where it is not."""

    pid: int
    name: str

    def gone(self) -> bool:
        return bool(self.name) and os.getppid() != self.pid

    @property
    def text(self) -> str:
        return f"{self.name} (process {self.pid})"


def above(ours: bool, root: Path = Path("/proc")) -> Above:
    """``ours``: a process of our own stands for the node and started this one.

    A shell or a script in between may end when it likes, so it is not looked after.
    """
    pid = os.getppid()
    try:
        name = (root / str(pid) / "comm").read_text(errors="replace").strip()
        words = (root / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return Above(pid, "")
    if name in (*LAUNCHERS, *DAEMONS):
        return Above(pid, name)
    program = next((each for each in PROGRAMS for word in words[:4] if each == Path(word).name), "")
    return Above(pid, program or ("the node's process" if ours else ""))


def say(control: Control, how: str, text: str) -> None:
    """The last word of this rank to rank 0."""
    control.send(0, {"said": "farewell", "how": how, "text": text})
    control.flush(WORD_SECONDS)
