"""Nodes of the launcher's list that never came: they are set aside before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence

from bench.launch.placement import whole_nodes
from bench.model.late_dataclass import dataclass
from bench.model.measurement import Rank
from bench.store import SetAside
from bench.supervise.control.tcp import Control

from .options import CannotRun


@dataclass(frozen=True)
class Attendance:
    """``here``: the ranks of whole nodes; ``absent``: those of the others; ``early``: the absent ones that came."""

    here: tuple[int, ...]
    absent: tuple[Rank, ...] = ()
    early: tuple[int, ...] = ()
    reason: str = ""

    def set_aside(self, nodes: Sequence[str]) -> tuple[SetAside, ...]:
        """The absent nodes. Raises CannotRun where one of ``nodes``, which are here, has the name of such a node."""
        names = dict.fromkeys(rank.node for rank in self.absent)
        if both := [name for name in names if name in nodes]:
            raise CannotRun(
                f"{self.reason}; a node called {both[0]} is here, so the launcher's list is not in order"
            )
        return tuple(SetAside(name, name, f"{name} did not come: {self.reason}") for name in names)


def attendance(control: Control, hosts: Sequence[str]) -> Attendance:
    """Which ranks of a job came; ``hosts``: the node of each rank, as the launcher names it."""
    came = tuple(sorted((control.rank, *control.peers)))
    if not control.absent:
        return Attendance(came)
    missing = set(range(control.size)) - set(came)
    here, seen, absent = whole_nodes(hosts, missing), dict[str, int](), []
    for rank, host in enumerate(hosts):
        if rank not in here:
            absent.append(Rank(rank, host, seen.setdefault(host, 0)))
            seen[host] += 1
    early = tuple(rank for rank in came if rank not in here)
    return Attendance(here, tuple(absent), early, control.absent)
