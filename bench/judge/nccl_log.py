"""Verdicts from NCCL's own log: which network, GPUDirect RDMA or not, its warnings; ``nccl_selection``: which devices.

PASS needs every expected rank's own complete words; a FAIL needs one line that shows the fault; all else is
INCONCLUSIVE.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from bench.model.late_dataclass import dataclass
from bench.model.printable import ranges
from bench.model.units import show_some
from bench.model.verdict import Status, Verdict, overall
from bench.nccl.log import Log, LogProcess, channels
from bench.nccl.log_facts import LogChannel
from bench.nccl.networks import is_infiniband
from bench.nccl.teardown import torn_down

SOURCE = "NCCL log"
PEER_MEMORY = "check nvidia_peermem or dma-buf, and ACS"
NEXT = "take the log again: NCCL_DEBUG=INFO, NCCL_DEBUG_FILE=nccl.%h.%p.log on every rank"


@dataclass(frozen=True)
class LogFinding:
    """What one rank shows, or (rank None) a process, node or line whose rank is not known or not asked."""

    rank: int | None
    where: str
    status: Status
    text: str


def claimed(log: Log, wanted: Sequence[int]) -> Iterator[tuple[int, LogProcess]]:
    claims = log.by_rank()
    for rank in wanted:
        for process in claims.get(rank, ()):
            yield rank, process


def missing(log: Log, wanted: Sequence[int]) -> Iterator[LogFinding]:
    """What keeps a log from speaking for every rank."""
    if not wanted:
        yield LogFinding(None, "run", Status.INCONCLUSIVE, "no ranks are expected, so nothing can be shown")
    claims = log.by_rank()
    for rank in wanted:
        if rank not in claims:
            yield LogFinding(rank, "", Status.INCONCLUSIVE, "no line of the log names it")
        elif len(claims[rank]) > 1:
            names = ", ".join(process.name for process in claims[rank])
            yield LogFinding(
                rank, "", Status.INCONCLUSIVE, f"claimed by {names}: more than one run in one log"
            )
    if wanted and log.nranks and log.nranks[-1] > len(wanted):
        text = f"the log is of {log.nranks[-1]} ranks, {len(wanted)} were to be judged"
        yield LogFinding(None, "run", Status.INCONCLUSIVE, text)
    for process in log.processes:
        if log.shared(process):
            text = "two ranks on one device: two processes of one name, or two ranks on one GPU"
            yield LogFinding(None, process.name, Status.INCONCLUSIVE, text)


def network(log: Log, ranks: Iterable[int], wanted: str = "IB") -> Verdict:
    """Whether every rank chose the network ``wanted``; "IB" is NCCL's own and its plugins' InfiniBand.

    Before 2.6 NCCL does not print it: INCONCLUSIVE, unless channels show it.
    """
    ranks = sorted(set(ranks))
    found = list(missing(log, ranks))
    for rank, process in claimed(log, ranks):
        found.append(LogFinding(rank, process.host, *_chosen(process, wanted)))
    repair = "set NCCL_NET, which makes a fall-back an error"
    return verdict("nccl.network", found, f"network {wanted}", repair)


def _chosen(process: LogProcess, wanted: str) -> tuple[Status, str]:
    names = process.networks or tuple(c.network for c in process.channels if c.transport == "NET")
    other = sorted({name for name in names if not _is_network(name, wanted)})
    if other:
        return Status.FAIL, f"the network is {', '.join(other)}"
    if not names:
        return Status.INCONCLUSIVE, "'Using network' was not read"
    return Status.PASS, f"the network is {names[0]}"


def _is_network(name: str, wanted: str) -> bool:
    return is_infiniband(name) if wanted == "IB" else name == wanted


def gpudirect(log: Log, ranks: Iterable[int], nodes: int = 0, each: bool = True) -> Verdict:
    """Whether every channel between nodes goes by GPUDirect RDMA; one node is NOT APPLICABLE.

    ``nodes``: how many the run has, where the caller knows; else what the log says (from 2.20). ``each``: every rank
    must have shown such a channel, as it has a rail of its own; else every node. A rank's log must go on after its
    channels: what is cut among them may lack the one that is slow.
    """
    wanted = sorted(set(ranks))
    found = list(missing(log, wanted))
    for process in log.processes:
        off = sorted({fact.hca for fact in process.direct_rdma if not fact.enabled})
        if off:
            text = f"GPUDirect RDMA is disabled for {', '.join(off)}"
            found.append(LogFinding(None, process.host, Status.FAIL, text))
    by_net = [(process, channel) for process, channel in channels(log) if channel.transport == "NET"]
    found += [_direct(process, channel) for process, channel in by_net]
    if not found and (nodes or log.nodes) == 1:
        return Verdict(
            "nccl.gpudirect", "run", Status.NOT_APPLICABLE, "one node, no channel leaves it", source=SOURCE
        )
    found += _unheard(log, {process.host for process, _ in by_net}, nodes or log.nodes)
    theirs = list(claimed(log, wanted))
    per_host = Counter(process.host for _, process in theirs)
    for rank, process in theirs:
        if text := _lacking(process, per_host[process.host] if each else 0):
            found.append(LogFinding(rank, process.host, Status.INCONCLUSIVE, text))
    for fragment in log.fragments:
        if "via NET/" in fragment.text:
            text = f"a broken line: {fragment.text.strip()[:60]}"
            found.append(LogFinding(None, f"line {fragment.number}", Status.INCONCLUSIVE, text))
    return verdict("nccl.gpudirect", found, "every channel by GDRDMA", PEER_MEMORY)


def without_gpudirect(log: Log, ranks: Collection[int]) -> Verdict | None:
    """The verdict on channels from these ranks to other nodes that do not use GPUDirect RDMA; None where all use it."""
    by_net = [(process, each) for process, each in channels(log) if each.transport == "NET"]
    found = [_direct(process, each) for process, each in by_net if process.given in ranks and not each.gdr]
    return verdict("nccl.gpudirect", found, "every channel by GDRDMA", PEER_MEMORY) if found else None


def _unheard(log: Log, heard: Collection[str], nodes: int) -> Iterator[LogFinding]:
    """Nodes without a channel. From 2.22 NCCL prints channels at the first use of an algorithm, not at its start."""
    for host in log.hosts:
        if host not in heard:
            yield LogFinding(None, host, Status.INCONCLUSIVE, "NCCL's log shows no channel to other nodes")
    if len(heard) < nodes:
        yield LogFinding(
            None, "run", Status.INCONCLUSIVE, f"channels of {len(heard)} nodes were read, of {nodes}"
        )


def _lacking(process: LogProcess, neighbours: int) -> str:
    """What keeps a rank's channels from being all of them; "" where they seem to be.

    ``neighbours``: ranks of its node, each of which leaves the node where there are as many channels.
    """
    several = all(count.collective >= neighbours for count in process.counts)
    if all(channel.transport != "NET" for channel in process.channels):
        return "NCCL's log shows no channel to other nodes" if neighbours and several else ""
    cut = process.ends_among_channels
    return "the log ends among its channels: no 'Connected all' or COMPLETE follows" if cut else ""


def _direct(process: LogProcess, channel: LogChannel) -> LogFinding:
    status = {True: Status.PASS, False: Status.FAIL, None: Status.INCONCLUSIVE}[channel.gdr]
    text = {True: "by GDRDMA", False: "without GDRDMA", None: "cut before it says"}[channel.gdr]
    return LogFinding(None, process.host, status, f"NET/{channel.network} device {channel.device} {text}")


def warnings(log: Log, ranks: Iterable[int], known: Collection[str] = ()) -> Verdict:
    """What NCCL warned of. Failed work requests and events of an HCA are FAIL; any other WARN is INCONCLUSIVE.

    ``known``: texts, parts of a message, that the profile has accepted. The proxy's own words while it is torn down are
    known. A rank that never said that it started (Init COMPLETE) is INCONCLUSIVE: what it would have warned of is not
    there.
    """
    wanted = sorted(set(ranks))
    found = list(missing(log, wanted))
    for rank, process in claimed(log, wanted):
        if not process.completed("Init"):
            found.append(LogFinding(rank, process.host, Status.INCONCLUSIVE, "'Init COMPLETE' was not read"))
    found += warned(log, known)
    for fragment in log.fragments:
        if "NCCL WARN" in fragment.text:
            text = f"a broken WARN: {fragment.text.strip()[:80]}"
            found.append(LogFinding(None, f"line {fragment.number}", Status.INCONCLUSIVE, text))
    if not found:
        ended = sum(torn_down(process, each) for process in log.processes for each in process.warnings)
        text = f"no WARN but {ended} of the proxy while it was torn down" if ended else "no WARN"
        found.append(LogFinding(None, "all ranks", Status.PASS, text))
    return verdict("nccl.warnings", found, "no WARN", "read the lines around it in the log")


def warned(log: Log, known: Collection[str] = ()) -> list[LogFinding]:
    """What the processes of a log warned of, but what is known."""
    return [
        LogFinding(None, process.host, *shown)
        for process in log.processes
        for shown in _warned(process, known)
    ]


def _warned(process: LogProcess, known: Collection[str]) -> Iterator[tuple[Status, str]]:
    for event in process.async_events:
        yield Status.FAIL, f"event of {event.hca or 'an HCA'}: {event.event}"
    for failed in process.completions:
        where = f" on {failed.hca}" if failed.hca else ""
        yield Status.FAIL, f"a work request failed with status {failed.status}{where}"
    shown = {event.line for event in process.async_events} | {failed.line for failed in process.completions}
    for warning in process.warnings:
        accepted = any(text in warning.text for text in known) or torn_down(process, warning)
        if warning.line not in shown and not accepted:
            yield Status.INCONCLUSIVE, f"WARN {warning.text[:120]}"


def verdict(check: str, found: Sequence[LogFinding], wanted: str, repair: str) -> Verdict:
    """One verdict of many findings: the worst decides, equal ones are told together."""
    status = overall(finding.status for finding in found)
    groups: dict[tuple[Status, str], list[LogFinding]] = {}
    for finding in found:
        groups.setdefault((finding.status, finding.text), []).append(finding)
    told = [(state, f"{_names(group)}: {text}") for (state, text), group in groups.items()]
    worst = [text for state, text in told if state is status]
    return Verdict(
        check=check,
        subject="run",
        status=status,
        measured=show_some(worst, 1) or "nothing was read",
        wanted=wanted,
        source=SOURCE,
        next_step={Status.PASS: "", Status.FAIL: repair}.get(status, NEXT),
        evidence=tuple(f"{state.value}: {text}" for state, text in told),
    )


def _names(group: Sequence[LogFinding]) -> str:
    """``ranks 0-7, 12 (node1, node2)``, or where no rank is known the places."""
    places = list(dict.fromkeys(finding.where for finding in group if finding.where))
    some = show_some(places)
    ranks = sorted({finding.rank for finding in group if finding.rank is not None})
    if not ranks:
        return some
    return f"rank{'s' if len(ranks) > 1 else ''} {ranges(ranks)}" + (f" ({some})" if some else "")
