"""On which node each rank is, as the launcher's variables tell it, so that a node that never comes has a name."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from .hosts import expand
from .table import HOSTS, Launcher, LaunchError

LEAST = 2  # nodes of several that must be there


def hosts_of_ranks(row: Launcher, size: int, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The node of each rank, in the launcher's words; () where it does not tell."""
    try:
        found = _listed(row, environment)
    except (LaunchError, ValueError):
        return ()
    if not found and (each := environment.get(row.here, "")).isdecimal() and 0 < int(each) < size:
        found = [f"node-rank-{rank // int(each)}" for rank in range(size)]  # torchrun tells numbers alone
    return tuple(found) if len(found) == size else ()


def _listed(row: Launcher, environment: Mapping[str, str]) -> list[str]:
    """The host of each rank, from our own launch command's list or from Slurm with equal tasks on each node."""
    if text := environment.get(HOSTS):
        parts = [part.rpartition(":") for part in text.split(",")]
        return [host for host, _, count in parts for _ in range(int(count))]
    nodes, tasks = (
        environment.get("SLURM_STEP_NODELIST", ""),
        environment.get("SLURM_STEP_TASKS_PER_NODE", ""),
    )
    equal = re.fullmatch(r"(\d+)(?:\(x\d+\))?", tasks)
    if (
        row.name != "srun"
        or not equal
        or not environment.get("SLURM_DISTRIBUTION", "block").startswith("block")
    ):
        return []
    return [host for host in expand(nodes) for _ in range(int(equal[1]))]


def whole_nodes(hosts: Sequence[str], absent: Collection[int]) -> tuple[int, ...]:
    """The ranks of the nodes without an ``absent`` rank; () where they cannot begin without the others."""
    gone = {hosts[rank] for rank in absent if rank < len(hosts)}
    left = tuple(rank for rank, host in enumerate(hosts) if host not in gone)
    return left if left[:1] == (0,) and len({hosts[rank] for rank in left}) >= LEAST else ()
