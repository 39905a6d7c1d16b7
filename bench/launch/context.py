"""How the launcher placed this process in its job, from the environment alone."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bench.model.late_dataclass import dataclass

from .hosts import expand
from .placement import hosts_of_ranks
from .table import LAUNCHERS, MEET, Launcher, LaunchError

PORT = "RAILGAUGE_PORT"  # where rank 0 listens, instead of a port derived from the launcher's
TRIED = 8  # ports, one after the other
TOKENS = ("RAILGAUGE_TOKEN", "RAILGAUGE_TOKEN_FILE")


@dataclass(frozen=True)
class Rendezvous:
    """Where the supervisors of a job without MPI connect to each other.

    host    of rank 0, as the launcher told it to everybody: a name or an address
    ports   tried one after the other
    run     tells this job from another
    local   all ranks are on this machine
    """

    host: str
    ports: tuple[int, ...]
    run: str
    local: bool


@dataclass(frozen=True)
class LaunchContext:
    """How the launcher placed this process. ``launcher`` is "" where no launcher started it.

    ``ranks`` is 0 for a process that is a rank. A process that stands for a whole node has to start this many ranks,
    the first of them ``rank``. ``local`` is the index of a rank on its node, where the launcher gives it. ``hosts``
    are the node of each rank, () where the launcher does not tell.
    """

    launcher: str = ""
    rank: int = 0
    size: int = 1
    mpi: bool = False
    meet: Rendezvous | None = None
    ranks: int = 0
    local: int = 0
    hosts: tuple[str, ...] = ()


def launch_context(environment: Mapping[str, str]) -> LaunchContext:
    """Read the launcher's variables.

    Raises LaunchError for half a launcher, and for two that cannot both be right.
    """
    found = [row for row in LAUNCHERS if _started_us(row, environment)]
    found = [row for row in found if not _is_plain_shell(row, environment)]
    if not found:
        return LaunchContext()
    row, *around = found
    if row.each == "node":
        return _node(row, environment)
    rank, size = _number(row, row.rank, environment), _number(row, row.size, environment)
    if not 0 <= rank < size:
        raise LaunchError(f"{row.rank}={rank} and {row.size}={size}: there is no such rank; unset both")
    for outer in around:
        _fits(row, size, outer, environment)
    if row.mpi or size == 1:
        return LaunchContext(row.name, rank, size, row.mpi)
    if row.name == "srun":
        _needs_token(size, environment)
    local = _number(row, row.local, environment) if row.local in environment else 0
    hosts = hosts_of_ranks(row, size, environment)
    return LaunchContext(row.name, rank, size, False, _meet(row, size, environment), local=local, hosts=hosts)


def _started_us(row: Launcher, environment: Mapping[str, str]) -> bool:
    told = not row.hosts or any(environment.get(name) for name in (row.host, *row.hosts))
    return (
        told
        and all(name in environment for name in row.sign)
        and not any(name in environment for name in row.unless)
    )


def _is_plain_shell(row: Launcher, environment: Mapping[str, str]) -> bool:
    """A Slurm step of one task is where a person types commands (srun --pty bash); so is a lone container."""
    if row.name.startswith("srun"):
        return environment.get(row.size) == "1"
    return bool(row.nodes) and environment.get(row.nodes) == "1"


def _number(row: Launcher, name: str, environment: Mapping[str, str]) -> int:
    text = environment.get(name, "")
    if not re.fullmatch(r"\d{1,7}", text, re.ASCII):
        raise LaunchError(
            f"{row.sign[0]} says that {row.name} started this process, but {name} is "
            f"{'missing' if name not in environment else 'not a number'}; unset {row.sign[0]}, or start through "
            "the launcher"
        )
    return int(text)


def _fits(row: Launcher, size: int, outer: Launcher, environment: Mapping[str, str]) -> None:
    """Whether ``outer`` can have started what started us; LaunchError where it cannot."""
    if not outer.mpi and not outer.name.startswith("srun"):
        return  # variables of a container or a script, which may stand around anything
    outer_size = _number(outer, outer.size, environment)
    if outer_size == 1:
        return
    if row.groups:
        # one agent a node: mpirun and srun started as many as the agents count
        groups = _number(row, row.groups, environment)
        if outer_size != groups:
            raise LaunchError(
                f"{row.name} says {size} ranks from {groups} agents, {outer.name} says {outer_size} tasks: one of the "
                f"two is left over from another job; unset {row.sign[0]} or {outer.sign[0]}, or start one {row.name} "
                "a node"
            )
    elif row.mpi and outer.mpi and not outer.name.startswith("srun") and outer_size != size:
        raise LaunchError(
            f"{row.name} says {size} ranks, {outer.name} says {outer_size}: one of the two is left over from "
            f"another job; unset {row.sign[0]} or {outer.sign[0]}"
        )
    elif row.mpi and size == 1:
        raise LaunchError(
            f"Slurm started {outer_size} tasks, and each of them is an MPI job of 1 ({row.sign[0]}=1): start mpirun "
            "once, from sbatch or salloc, or use srun --mpi=pmix without mpirun"
        )


def _needs_token(size: int, environment: Mapping[str, str]) -> None:
    if not any(environment.get(name) for name in TOKENS):
        raise LaunchError(
            f"srun started {size} tasks without MPI: they would be {size} jobs of 1; use srun --mpi=pmix (Open MPI) "
            "or srun --mpi=pmi2 (MPICH), see: srun --mpi=list; or export RAILGAUGE_TOKEN for a job without MPI"
        )


def _node(row: Launcher, environment: Mapping[str, str]) -> LaunchContext:
    """The place of a process that stands for its node."""
    here = _number(row, row.here, environment)
    if row.first:
        first, size = _number(row, row.first, environment), _number(row, row.size, environment)
    else:
        first = _number(row, row.node, environment) * here
        size = _number(row, row.nodes, environment) * here
        given = environment.get(row.size, str(size))
        if given != str(size):
            raise LaunchError(
                f"{row.nodes} × {row.here} is {size}, but {row.size}={given}: unset {row.size}, or correct the others"
            )
    if here < 1 or first + here > size:
        raise LaunchError(
            f"{row.name} says ranks {first} to {first + here - 1} of {size}: there are no such ranks"
        )
    return LaunchContext(row.name, first, size, False, _meet(row, size, environment), here)


def _meet(row: Launcher, size: int, environment: Mapping[str, str]) -> Rendezvous:
    host_of_rank_0, port_there = _host_of_rank_0(row, environment)
    if not host_of_rank_0:
        raise LaunchError(f"{row.name} started {size} ranks, but {row.host} does not say where rank 0 is")
    run = f"{row.name} {environment.get(row.run, '') if row.run else ''} {environment.get(row.port, '')}"
    local = bool(row.here) and environment.get(row.here) == str(size)
    if row.host == MEET:
        host, port = parse_meet(host_of_rank_0)
        return Rendezvous(host, _ports(port, environment), run, local)
    if row.name == "srun":
        # block and cyclic distribution both put rank 0 on the first node
        job = re.sub(r"\D", "", environment.get(row.run, "")) or "0"
        port, run = 20_000 + int(job) * TRIED % 10_000, f"{run} {environment.get('SLURM_STEP_ID', '')}"
        return Rendezvous(expand(host_of_rank_0)[0], _ports(port, environment), run, local)
    # the launcher's own store listens on its port: ours are the next ones
    port = int(port_there) if port_there else _number(row, row.port, environment)
    return Rendezvous(host_of_rank_0, _ports(port + 1, environment), run, local)


def _host_of_rank_0(row: Launcher, environment: Mapping[str, str]) -> tuple[str, str]:
    """Its name or address, and the port of the launcher where only that variable says it, else ""."""
    text = next((environment[name] for name in (row.host, *row.hosts) if environment.get(name)), "")
    found = re.fullmatch(r"\[?([^\[\]]+?)\]?:(\d{1,5})", text, re.ASCII) if row.hosts else None
    if found is None:
        return text, ""
    return found[1], "" if environment.get(row.port) else found[2]


def parse_meet(text: str) -> tuple[str, int]:
    """``node1:29400`` or ``[fd00::1]:29400``. Raises LaunchError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not re.fullmatch(r"\d{1,5}", port, re.ASCII):
        raise LaunchError(f"{MEET} is {ascii(text)[:80]}, must be HOST:PORT of rank 0")
    return host, int(port)


def _ports(first: int, environment: Mapping[str, str]) -> tuple[int, ...]:
    """The ports that are tried, from ``first`` on; RAILGAUGE_PORT stands instead of it."""
    text = environment.get(PORT, str(first))
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or not 0 < int(text) <= 65_536:
        name = PORT if PORT in environment else "the port of rank 0"
        raise LaunchError(f"{name} is {ascii(text)[:20]}, must be from 1 to 65535")
    start = min(int(text), 65_536 - TRIED)
    return tuple(range(start, start + TRIED))


def agree(where: LaunchContext, size: int) -> None:
    """Refuse N jobs of one: the launcher says N tasks, and MPI says 1."""
    if where.launcher and where.size != size:
        raise LaunchError(
            f"{where.launcher} started {where.size} tasks, but MPI sees {size}: its library and the launcher do "
            f"not speak the same protocol; under Slurm use srun --mpi=pmix (Open MPI) or --mpi=pmi2 (MPICH)"
        )
