"""Finds why a transfer has no result, in one line, from the output of both processes.

When one side breaks, the other says that it cannot read from it any more: causes come before echoes, so
the table is gone through in order over the words of both sides. Messages: linux-rdma/perftest src at
v4.5-0.17 and 00b55b6 (26.x).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.model.late_dataclass import dataclass
from bench.model.run_folder_lines import PerftestEnd, PerftestExit, PerftestTransfer

# libibverbs/verbs.h, enum ibv_wc_status: those of a path and not of a program
STATES = {
    "10": "remote access was refused",
    "11": "remote operation failed",
    "12": "no acknowledgement came back after all retries: the path is dead or loses packets",
    "13": "the receiver was not ready after all retries",
}
MEMORY = "memory"  # kind of a cause: locked memory may be too little


@dataclass(frozen=True)
class Cause:
    """``where``: the side that said it, None where it is both's. ``kind``: MEMORY, or ""."""

    text: str
    where: PerftestEnd | None = None
    kind: str = ""

    @property
    def line(self) -> str:
        """``n1 mlx5_7/1: the port is Down``."""
        return f"{self.where.node} {self.where.name}: {self.text}" if self.where else self.text


_TABLE: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern), text, kind)
    for pattern, text, kind in (
        (r"error while loading shared libraries: ([^:\s]+)", "perftest cannot start, {} is not installed", ""),
        (r"Port number \d+ state is (\w+)", "the port is {}", ""),
        (r"IB device (\S+) not found", "there is no device {}", ""),
        (r"Did not detect devices|Unable to find the Infiniband", "perftest sees no RDMA device", ""),
        (r"unrecognized option '([^']+)'", "its perftest does not know {}", ""),
        (r"(DMA-BUF is not supported on this GPU)", "{}", ""),
        (r"(cu[A-Z]\w+)(?:\(\))?[^\n]*?error[:=\s]*(\d+)", "CUDA refused: {} ended with error {}", ""),
        (r"(cuInit\(0\)) returned ([1-9]\d*)", "CUDA refused: {} ended with error {}", ""),
        (r"(no available device\(s\) that support CUDA)", "{}", ""),
        (r"(Failed to load CUDA library)", "{}", ""),
        (r"(?i)couldn't init GPU context", "the GPU could not be used", ""),
        (r"Couldn't allocate MR|Failed to create MR", "memory could not be registered", MEMORY),
        (r"Couldn't create (?:a receiver )?CQ|Failed to create CQs", "a completion queue was refused", MEMORY),
        (r"Failed to create QP|Unable to create QP", "a queue pair was refused", MEMORY),
        (r"Couldn't listen to port (\d+)", "TCP port {} was taken meanwhile", ""),
        (r"Failed to bind socket", "the management address cannot be bound", ""),
        (r"not compatible with versions older than (\S+)", "the other side's perftest is older than {}", ""),
        (r"Incompatibility issue with GID types", "the GIDs of both sides are of different types", ""),
        (r"Couldn't connect to (\S+)", "no TCP connection to {}: a firewall, or the other side ended", ""),
        (r"Failed to modify QP(?: \d+)? to RTR|Unable to Connect the HCA's", "the ports cannot reach each other", ""),
        (r"Failed status (\d+)", "", ""),
        (r"margin is not long enough", "the host was too busy to start in time", ""),
    )
)  # fmt: skip


def cause(transfer: PerftestTransfer, problems: Sequence[str] = ()) -> Cause:
    """The first cause of the table on either side, else the deadline, else what the table of results lacks
    (``problems``), else the last words.
    """
    sides = [(transfer.receiver, transfer.server)]
    if transfer.client is not None:
        sides.insert(0, (transfer.sender, transfer.client))
    for pattern, text, kind in _TABLE:
        for side, ended in sides:
            if found := pattern.search(ended.text):
                return Cause(_worded(text, found), side, kind)
    return _unsaid(sides, problems)


def _worded(text: str, found: re.Match[str]) -> str:
    if text:
        return text.format(*found.groups())
    return STATES.get(found[1], f"a transfer completed with status {found[1]}")


def _unsaid(sides: list[tuple[PerftestEnd, PerftestExit]], problems: Sequence[str]) -> Cause:
    side, ended = sides[0]
    if ended.code is None:
        return Cause("no answer before its deadline: nothing came through", side)
    if ended.code == 0 and problems:
        return Cause("; ".join(problems), side)
    last = next((line.strip() for line in reversed(ended.text.splitlines()) if line.strip()), "")
    return Cause(f"ended with status {ended.code}: {last[:200] or 'it printed nothing'}", side)
