"""What NCCL's log says about a job, told for groups of ranks: ``railgauge explain LOG``.

Every answer names the ranks that give it. A log that is cut or lacks ranks is INCONCLUSIVE at best; what is odd
makes it FAIL.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from bench.model.late_dataclass import dataclass
from bench.model.printable import ranges
from bench.model.units import show_count, show_size
from bench.model.verdict import Status
from bench.nccl.log import Log, LogProcess, channels
from bench.nccl.log_facts import Tuned
from bench.nccl.log_oddities import (
    Oddity,
    differ,
    excluded_in_use,
    names_in,
    odd_gpudirect,
    odd_networks,
    odd_settings,
    two_jobs,
)
from bench.nccl.networks import SOCKETS, is_infiniband
from bench.nccl.rank_answers import RankAnswer, answer_of, answers
from bench.nccl.teardown import torn_down
from bench.nccl.warning_meanings import meaning_of

TAKE_AGAIN = "take it with NCCL_DEBUG=INFO and NCCL_DEBUG_FILE=nccl.%h.%p.log on every rank"
_MOST_WARNINGS = 20


@dataclass(frozen=True)
class ChosenAlgorithm:
    """The algorithm and protocol that NCCL chose for calls of ``smallest`` to ``largest`` bytes.

    Before NCCL 2.22 its log does not name the collective, which is "" then.
    """

    collective: str
    algorithm: str
    protocol: str
    smallest: int
    largest: int

    @property
    def text(self) -> str:
        sizes = dict.fromkeys((show_size(self.smallest), show_size(self.largest)))
        what = " ".join(part for part in (self.algorithm, self.protocol) if part)
        return f"{self.collective or 'calls'} of {' to '.join(sizes)}: {what}"


@dataclass(frozen=True)
class SeenWarning:
    """Warnings that differ in numbers alone: the first text, how many, from whom, what it means and what to do."""

    text: str
    count: int
    who: str
    meaning: str
    remedy: str


@dataclass(frozen=True)
class LogSummary:
    """The whole answer.

    status      pass: complete and nothing odd; fail: something is odd; inconclusive: the log does not tell enough
    ranks       whose words were read; ``of_ranks``: how many the largest communicator has, 0 where none says
    channels    how many channels go by each transport (NET, P2P, SHM ...)
    hcas_used   those that channels to other nodes go by
    gpudirect   of the channels between nodes, by rank
    settings    NAME=value as NCCL saw it, by rank
    missing     what the log does not tell, a sentence each
    """

    status: Status
    ranks: tuple[int, ...]
    of_ranks: int
    hosts: tuple[str, ...]
    versions: tuple[RankAnswer, ...]
    networks: tuple[RankAnswer, ...]
    hcas: tuple[RankAnswer, ...]
    hcas_used: tuple[RankAnswer, ...]
    interfaces: tuple[RankAnswer, ...]
    gpudirect: tuple[RankAnswer, ...]
    channels: dict[str, int]
    algorithms: tuple[ChosenAlgorithm, ...]
    settings: tuple[RankAnswer, ...]
    warnings: tuple[SeenWarning, ...]
    odd: tuple[Oddity, ...]
    missing: tuple[str, ...]


def summarise(log: Log, sockets_meant: bool = False) -> LogSummary:
    """Sum up a log. ``sockets_meant``: the platform has no RDMA, so that sockets are not odd."""
    speakers = [process for process in log.processes if _speaks(process)]
    networks = answers(log, speakers, lambda each: _listed(each.networks))
    hcas = answers(log, speakers, _hcas)
    versions = _versions(log, speakers)
    gpudirect = _gpudirect(log)
    settings = _settings(log, speakers)
    warnings = _warnings(log)
    ranks = tuple(sorted(log.by_rank()))
    odd = (
        *odd_networks(log, networks, sockets_meant),
        *differ(log, "HCAs", hcas, "name the rails by NCCL_IB_HCA, and see which ports are down"),
        *excluded_in_use(log, speakers),
        *differ(log, "versions of NCCL", versions, "install one NCCL on all nodes"),
        *odd_gpudirect(gpudirect),
        *odd_settings(settings),
        *(Oddity(f"NCCL warned ({each.who}): {each.meaning or each.text}", each.remedy) for each in warnings),
    )
    missing = tuple(_missing(log, ranks, networks, hcas))
    status = Status.FAIL if odd else Status.INCONCLUSIVE if missing else Status.PASS
    return LogSummary(
        status=status,
        ranks=ranks,
        of_ranks=log.nranks[-1] if log.nranks else 0,
        hosts=log.hosts,
        versions=versions,
        networks=networks,
        hcas=hcas,
        hcas_used=answers(log, speakers, _used),
        interfaces=answers(log, speakers, _interfaces),
        gpudirect=gpudirect,
        channels=dict(Counter(channel.transport for _, channel in channels(log)).most_common()),
        algorithms=_algorithms(log),
        settings=settings,
        warnings=warnings,
        odd=tuple(dict.fromkeys(odd)),
        missing=missing,
    )


def _speaks(process: LogProcess) -> bool:
    """Whether a process is one of NCCL's ranks, and not one that printed a version or a setting alone."""
    return bool(process.members or process.networks or process.using or process.channels or process.sockets)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _hcas(process: LogProcess) -> str:
    """``mlx5_1:1/IB, mlx5_2:1/IB`` in NCCL's order; marked where the list is cut."""
    texts = []
    for using in process.using:
        names = ", ".join(f"{hca.name}:{hca.port}/{hca.link}" for hca in using.hcas)
        texts.append((names or "none") + ("" if using.complete else " ... (the list is cut)"))
    if not texts and process.no_device:
        texts = ["none"]
    return "; ".join(dict.fromkeys(texts))


def _used(process: LogProcess) -> str:
    """The HCAs behind the devices that a process's channels name, where its list was read whole."""
    numbers = {channel.device for channel in process.channels if channel.transport == "NET"}
    devices = process.devices
    known = [
        names for number in sorted(n for n in numbers if n is not None) if (names := devices.get(number))
    ]
    return _listed("+".join(names) for names in known)


def _interfaces(process: LogProcess) -> str:
    """The interfaces of NCCL's sockets, which start the job and, without RDMA, carry its data."""
    sockets = [one.name for said in process.sockets for one in said.interfaces]
    return _listed(sockets or (using.oob.partition(":")[0] for using in process.using if using.oob))


def _versions(log: Log, speakers: Iterable[LogProcess]) -> tuple[RankAnswer, ...]:
    """The versions, also from lines of unknown processes; usually one line of rank 0."""
    said = answers(log, speakers, lambda each: _listed(each.versions))
    known = {answer.value for answer in said}
    return (*said, *(RankAnswer(text, ()) for text in dict.fromkeys(log.versions) if text not in known))


_BY_RDMA = {
    frozenset({True}): "on every channel to another node",
    frozenset({False}): "on no channel to another node",
    frozenset({True, False}): "on some channels to other nodes, not on all",
}


def _gpudirect(log: Log) -> tuple[RankAnswer, ...]:
    """Which ranks' channels between nodes go by GPUDirect RDMA; a channel that is cut tells nothing."""
    seen: dict[tuple[LogProcess, int | None], set[bool]] = {}
    for process, channel in channels(log):
        if channel.transport == "NET" and channel.gdr is not None and channel.network not in SOCKETS:
            rank = channel.target if channel.direction == "receive" else channel.source
            own = log.ranks_of(process)
            owner = rank if rank in own else own[0] if len(own) == 1 else None
            seen.setdefault((process, owner), set()).add(channel.gdr)
    said: dict[str, tuple[set[int], list[str]]] = {}
    for (process, owner), found in seen.items():
        ranks, names = said.setdefault(_BY_RDMA[frozenset(found)], (set(), []))
        if owner is None:
            names.append(process.name)
        else:
            ranks.add(owner)
    return tuple(
        RankAnswer(value, tuple(sorted(ranks)), tuple(dict.fromkeys(names)))
        for value, (ranks, names) in said.items()
    )


def _algorithms(log: Log) -> tuple[ChosenAlgorithm, ...]:
    sizes: dict[tuple[str, str, str], list[int]] = {}
    for process in log.processes:
        for tuned in process.tuned:
            sizes.setdefault(_choice(tuned), []).append(tuned.size)
    return tuple(ChosenAlgorithm(*choice, min(found), max(found)) for choice, found in sorted(sizes.items()))


def _choice(tuned: Tuned) -> tuple[str, str, str]:
    return tuned.collective, tuned.algorithm, tuned.protocol


def _settings(log: Log, speakers: Iterable[LogProcess]) -> tuple[RankAnswer, ...]:
    said: dict[str, list[LogProcess]] = {}
    for process in speakers:
        for text in dict.fromkeys(f"{setting.name}={setting.value}" for setting in process.settings):
            said.setdefault(text, []).append(process)
    return tuple(answer_of(log, text, who) for text, who in said.items())


def _warnings(log: Log) -> tuple[SeenWarning, ...]:
    """The warnings, the commonest first; those of the proxy while it is torn down are left out."""
    alike: dict[str, list[tuple[LogProcess, str]]] = {}
    for process in log.processes:
        for warning in process.warnings:
            if not torn_down(process, warning):
                alike.setdefault(re.sub(r"\d+", "0", warning.text), []).append((process, warning.text))
    found = []
    for group in sorted(alike.values(), key=len, reverse=True)[:_MOST_WARNINGS]:
        text, known = group[0][1][:200], meaning_of(group[0][1])
        who = answer_of(log, text, (process for process, _ in group)).who
        meaning, remedy = (
            (known.meaning, known.remedy) if known else ("", "read the lines around it in the log")
        )
        found.append(SeenWarning(text, len(group), who, meaning, remedy))
    return tuple(found)


def _missing(
    log: Log, ranks: tuple[int, ...], networks: tuple[RankAnswer, ...], hcas: tuple[RankAnswer, ...]
) -> Iterator[str]:
    world = log.nranks[-1] if log.nranks else 0
    if not world:
        yield "no line tells how many ranks there are"
    elif gone := sorted(set(range(world)) - set(ranks)):
        yield f"{show_count(len(gone), 'rank')} of {world} said nothing: {ranges(gone)}"
    if twice := two_jobs(log):
        yield (
            f"two processes each say that they are rank {ranges(twice)}: these are logs of two jobs, whose differences "
            "are not judged; give those of one"
        )
    silent = [each for each in log.processes if each.members and not each.networks]
    if not networks or silent:
        yield f"no line tells which network {answer_of(log, '', silent).who + ' uses' if networks else 'is used'}"
    if not hcas and (not networks or any(map(is_infiniband, names_in(networks)))):
        yield "no line lists the HCAs"
    if any("(the list is cut)" in each.value for each in hcas):
        yield "a list of HCAs is cut"
    by_rdma = any(map(is_infiniband, names_in(networks)))
    if by_rdma and len(log.hosts) > 1 and all(channel.transport != "NET" for _, channel in channels(log)):
        yield "no line shows a channel to another node: which HCAs are in use, and whether by GPUDirect RDMA"
    if ending := [process for process in log.processes if process.ends_among_channels]:
        yield f"the log ends among the channels of {answer_of(log, '', ending).who}: others may follow"
    if cut := sum(channel.transport == "NET" and channel.gdr is None for _, channel in channels(log)):
        yield f"no line tells whether GPUDirect RDMA is used on {show_count(cut, 'channel')}: the log is cut off there"
