"""Reads NCCL's log (NCCL_DEBUG=INFO) into facts: versions 2.4 to 2.31, its plugins, and RCCL.

``read`` never fails. What is broken stands as broken (``complete`` False, ``gdr`` None, ``fragments``), for
the checks of ``bench.judge.nccl_log`` to be INCONCLUSIVE. Formats: NVIDIA/nccl tags v2.4.8-1 to v2.30.7-1 and 2.31.2,
Mellanox/nccl-rdma-sharp-plugins, ROCm/rccl.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from bench.model.late_dataclass import dataclass
from bench.nccl.log_facts import (
    AsyncEvent,
    ChannelCounts,
    Completion,
    Connected,
    Diagnosed,
    DirectRdma,
    HcaSeen,
    LogChannel,
    LogSetting,
    Member,
    Network,
    NoDevice,
    Sockets,
    Tuned,
    Using,
    VersionSeen,
    VirtualDevice,
    Warned,
)
from bench.nccl.log_lines import Fragment, LogLine, lines
from bench.nccl.log_messages import diagnosed_in, facts_in, using_in, version_in


@dataclass(frozen=True)
class LogProcess:
    """The log of one process. ``given`` is its rank where the file's name told it.

    A process may hold several ranks (one thread or device each) and be a member of several communicators.
    """

    host: str
    pid: int
    given: int | None = None
    versions: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()
    connected: tuple[Connected, ...] = ()
    using: tuple[Using, ...] = ()
    virtual: tuple[VirtualDevice, ...] = ()
    hcas_seen: tuple[HcaSeen, ...] = ()
    no_device: int = 0
    networks: tuple[str, ...] = ()
    sockets: tuple[Sockets, ...] = ()
    channels: tuple[LogChannel, ...] = ()
    counts: tuple[ChannelCounts, ...] = ()
    direct_rdma: tuple[DirectRdma, ...] = ()
    tuned: tuple[Tuned, ...] = ()
    settings: tuple[LogSetting, ...] = ()
    warnings: tuple[Warned, ...] = ()
    completions: tuple[Completion, ...] = ()
    async_events: tuple[AsyncEvent, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.host}:{self.pid}"

    @property
    def devices(self) -> dict[int, tuple[str, ...]]:
        """The HCAs behind each number that channels name a network device with."""
        listed = {at: names for using in self.using for at, names in enumerate(using.devices)}
        return listed | {made.index: made.names for made in self.virtual}

    def completed(self, *stages: str) -> int:
        """The last line that says one of ``Init``, ``Destroy`` or ``Abort`` COMPLETE; 0 where none does."""
        said = [f"{stage} COMPLETE" for stage in stages]
        return max((member.line for member in self.members if member.stage in said), default=0)

    @property
    def ends_among_channels(self) -> bool:
        """Whether the log is cut among the channels to other nodes: no line after them says that these are all."""
        last = max((channel.line for channel in self.channels if channel.transport == "NET"), default=0)
        after = max((said.line for said in self.connected), default=0)
        return last > 0 and last >= max(after, self.completed("Init", "Destroy", "Abort"))


@dataclass(frozen=True)
class Log:
    """All processes in order of appearance, and the lines that belong to none.

    ``versions`` and ``diagnosed`` are the lines printed without a header; ``fragments`` the rests of broken messages,
    and ``lost`` the lists of HCAs among them: it is not known whose they are.
    """

    processes: tuple[LogProcess, ...] = ()
    versions: tuple[str, ...] = ()
    fragments: tuple[Fragment, ...] = ()
    lost: tuple[Using, ...] = ()
    diagnosed: tuple[Diagnosed, ...] = ()

    @property
    def nranks(self) -> tuple[int, ...]:
        """The sizes of the communicators seen, ascending."""
        return tuple(sorted({member.nranks for process in self.processes for member in process.members}))

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(sorted({process.host for process in self.processes}))

    @property
    def nodes(self) -> int:
        """The most nodes that any communicator says it spans; 0 where none says so (before 2.20)."""
        return max((m.nodes for process in self.processes for m in process.members), default=0)

    def ranks_of(self, process: LogProcess) -> tuple[int, ...]:
        """The ranks a process holds in the largest communicator, or the rank it was given."""
        if process.given is not None:
            return (process.given,)
        world = self.nranks[-1] if self.nranks else 0
        return tuple(sorted({member.rank for member in process.members if member.nranks == world}))

    def shared(self, process: LogProcess) -> bool:
        """Whether two ranks share a device: two processes of one name, or one GPU used twice."""
        world = {
            (m.device, m.rank)
            for m in process.members
            if m.nranks == self.nranks[-1] and m.device is not None
        }
        return len({device for device, _ in world}) < len(world)

    def by_rank(self) -> dict[int, tuple[LogProcess, ...]]:
        """Rank to the processes that claim it: more than one means that two runs are in one log."""
        found: dict[int, tuple[LogProcess, ...]] = {}
        for process in self.processes:
            for rank in self.ranks_of(process):
                found[rank] = (*found.get(rank, ()), process)
        return found


def read(text: str, rank: int | None = None) -> Log:
    """The facts of one log. ``rank``: whose it is, where the file name told (NCCL_DEBUG_FILE)."""
    found: dict[tuple[str, int], list[object]] = {}
    versions: list[str] = []
    fragments: list[Fragment] = []
    diagnosed: list[Diagnosed] = []
    for row in lines(text):
        if isinstance(row, LogLine):
            found.setdefault((row.host, row.pid), []).extend(facts_in(row))
            continue
        version = version_in(row.text)
        if version:
            versions.append(version)
        elif line := diagnosed_in(row.text, row.number):
            diagnosed.append(line)
        elif _is_broken(row):
            fragments.append(row)
    processes = tuple(_process(host, pid, rank, said) for (host, pid), said in found.items())
    lost = tuple(using for fragment in fragments for using in _lists(fragment))
    return Log(processes, tuple(versions), tuple(fragments), lost, tuple(diagnosed))


def read_ranks(texts: Mapping[int, str]) -> Log:
    """The facts of one log per rank; a process seen in two ranks' logs stands once for each."""
    return joined(read(text, rank) for rank, text in sorted(texts.items()))


def joined(logs: Iterable[Log]) -> Log:
    """Several logs as one; a process that is in two of them stands once for each."""
    logs = list(logs)
    return Log(
        processes=tuple(process for log in logs for process in log.processes),
        versions=tuple(version for log in logs for version in log.versions),
        fragments=tuple(fragment for log in logs for fragment in log.fragments),
        lost=tuple(using for log in logs for using in log.lost),
        diagnosed=tuple(line for log in logs for line in log.diagnosed),
    )


_BROKEN = (
    "via NET/",
    "via P2P/",
    "via SHM/",
    "via COLLNET/",
    "NCCL INFO",
    "NCCL WARN",
    "NCCL ATTN",
    "NET/IB : Using",
)


def _is_broken(fragment: Fragment) -> bool:
    return any(sign in fragment.text for sign in _BROKEN)


def _lists(fragment: Fragment) -> Iterator[Using]:
    start = fragment.text.find("NET/")
    using = using_in(fragment.text[start:], fragment.number) if start >= 0 else None
    if using:
        yield using


Kind = TypeVar("Kind")


def _of(kind: type[Kind], said: Iterable[object]) -> tuple[Kind, ...]:
    return tuple(fact for fact in said if isinstance(fact, kind))


def _process(host: str, pid: int, rank: int | None, said: list[object]) -> LogProcess:
    return LogProcess(
        host,
        pid,
        rank,
        versions=tuple(dict.fromkeys(fact.text for fact in _of(VersionSeen, said))),
        members=_of(Member, said),
        connected=_of(Connected, said),
        using=_of(Using, said),
        virtual=_of(VirtualDevice, said),
        hcas_seen=_of(HcaSeen, said),
        no_device=len(_of(NoDevice, said)),
        networks=_networks(_of(Network, said)),
        sockets=_of(Sockets, said),
        channels=_of(LogChannel, said),
        counts=_of(ChannelCounts, said),
        direct_rdma=_of(DirectRdma, said),
        tuned=_of(Tuned, said),
        settings=_of(LogSetting, said),
        warnings=_of(Warned, said),
        completions=_of(Completion, said),
        async_events=_of(AsyncEvent, said),
    )


def _networks(said: Iterable[Network]) -> tuple[str, ...]:
    """The networks that NCCL says it uses; in a log that is cut before that, those it assigned."""
    used = tuple(fact.name for fact in said if not fact.assigned)
    return used or tuple(fact.name for fact in said)


def channels(log: Log) -> Iterator[tuple[LogProcess, LogChannel]]:
    """Every channel with the process that printed it."""
    for process in log.processes:
        for channel in process.channels:
            yield process, channel
