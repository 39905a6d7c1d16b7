"""Verdicts from NCCL's own log: which HCAs or interfaces it uses, which network, GPUDirect RDMA or not, its warnings.

This is the third of the four layers that prove a device left out: NCCL says so itself, on every rank. PASS
needs every expected rank's own complete words; a FAIL needs one line that shows the fault; all else is INCONCLUSIVE.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.model.printable import ranges
from bench.model.units import show_some
from bench.model.verdict import Status, Verdict, overall
from bench.nccl.log import Log, LogProcess, channels
from bench.nccl.log_facts import Hca, LogChannel, Using
from bench.nccl.networks import SOCKETS, is_infiniband
from bench.nccl.teardown import torn_down

SOURCE = "NCCL log"
NEXT = "take the log again: NCCL_DEBUG=INFO, NCCL_DEBUG_FILE=nccl.%h.%p.log on every rank"


@dataclass(frozen=True)
class LogFinding:
    """What one rank shows, or (rank None) a process, node or line whose rank is not known or not asked."""

    rank: int | None
    where: str
    status: Status
    text: str


def exclusion(
    log: Log, excluded: Collection[str], rails: Collection[str], ranks: Iterable[int], link: str = ""
) -> Verdict:
    """Whether NCCL uses exactly ``rails`` and none of ``excluded`` on every one of ``ranks``.

    Names are HCAs (``mlx5_0``), or one port (``mlx5_0:1``). ``link``: what every item must say, "IB" or
    "RoCE"; "" does not ask. Missing ranks, cut lists and an empty ``rails`` or ``ranks`` are INCONCLUSIVE; an
    excluded HCA, or sockets, is FAIL on whatever process it is seen, known rank or not.
    """
    found = _selections(
        log, ranks, rails, lambda it: _selection(it, excluded, rails, link), lambda it: _faults(it, excluded)
    )
    repair = "set NCCL_IB_HCA by the profile and clear conf files that change it"
    return _verdict("nccl.exclusion", [*found, *_lost(log, excluded)], _exactly(rails, excluded), repair)


def interfaces(log: Log, excluded: Collection[str], rails: Collection[str], ranks: Iterable[int]) -> Verdict:
    """Whether NCCL's sockets use exactly the interfaces ``rails``, and none of ``excluded``, on every one of ``ranks``.

    As ``exclusion``, of the line ``NET/Socket : Using [0]eth1:10.0.0.1<0> ...``: a rank without it is INCONCLUSIVE.
    """
    found = _selections(
        log, ranks, rails, lambda it: _bound(it, excluded, rails), lambda it: _entered(it, excluded)
    )
    repair = "set NCCL_SOCKET_IFNAME by the profile and clear conf files that change it"
    return _verdict("nccl.exclusion", found, _exactly(rails, excluded), repair)


def _selections(
    log: Log,
    ranks: Iterable[int],
    rails: Collection[str],
    judge: Callable[[LogProcess], tuple[Status, str]],
    faults: Callable[[LogProcess], Iterator[str]],
) -> list[LogFinding]:
    """What each rank selects, and what processes of no known rank do wrong."""
    wanted = sorted(set(ranks))
    found = list(_missing(log, wanted))
    found += [LogFinding(rank, process.host, *judge(process)) for rank, process in _claimed(log, wanted)]
    return [*found, *_strays(log, wanted, faults)]


def _exactly(rails: Collection[str], excluded: Collection[str]) -> str:
    without = f", without {', '.join(sorted(excluded))}" if excluded else ""
    return f"exactly {', '.join(sorted(rails)) or 'the rails, which are not known'}{without}"


def _claimed(log: Log, wanted: Sequence[int]) -> Iterator[tuple[int, LogProcess]]:
    claims = log.by_rank()
    for rank in wanted:
        for process in claims.get(rank, ()):
            yield rank, process


def _missing(log: Log, wanted: Sequence[int]) -> Iterator[LogFinding]:
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


def _selection(
    process: LogProcess, excluded: Collection[str], rails: Collection[str], link: str
) -> tuple[Status, str]:
    """One rank's own words on its HCAs. The order matters: what is shown beats what is missing."""
    fault = next(_faults(process, excluded), "")
    if fault:
        return Status.FAIL, fault
    filled = [using for using in process.using if using.hcas]
    if not filled and (process.no_device or any(using.complete for using in process.using)):
        return Status.FAIL, f"NCCL found no device and falls back to sockets{_on(process, excluded)}"
    if not filled:
        return (
            Status.INCONCLUSIVE,
            f"no list of HCAs (NET/IB : Using) was read{_on(process, excluded, ', but sockets')}",
        )
    if process.no_device:
        return Status.INCONCLUSIVE, "both a list of HCAs and 'No device found' were read"
    cut = [using for using in process.using if not using.complete]
    if cut:
        return Status.INCONCLUSIVE, f"the list of HCAs is cut: {cut[0].text[:80]}"
    other = [name for name in process.networks if not is_infiniband(name)]
    if other:
        return Status.INCONCLUSIVE, f"the network is {other[0]}, of which the list of HCAs says nothing"
    return _compare(filled, rails, link)


def _compare(lists: Sequence[Using], rails: Collection[str], link: str) -> tuple[Status, str]:
    """Complete lists against the rails, both ways."""
    if not rails:
        return Status.INCONCLUSIVE, "there are no rails to compare with"
    for using in lists:
        extra = [_port(hca) for hca in using.hcas if not _among(hca, rails)]
        gone = [rail for rail in sorted(rails) if not any(_among(hca, (rail,)) for hca in using.hcas)]
        wrong = [f"{_port(hca)}/{hca.link}" for hca in using.hcas if link and hca.link != link]
        if extra:
            return Status.FAIL, f"NCCL uses {', '.join(extra)}, which is no rail"
        if gone:
            return Status.FAIL, f"NCCL does not use {', '.join(gone)}: not ACTIVE, or not selected"
        if wrong:
            return Status.FAIL, f"{', '.join(wrong)}: wanted {link}"
    return Status.PASS, "uses exactly the rails"


def _faults(process: LogProcess, excluded: Collection[str]) -> Iterator[str]:
    """What one line is enough to show."""
    for using in process.using:
        for hca in using.hcas:
            if _among(hca, excluded):
                yield f"NCCL uses the excluded {_port(hca)}"
    for seen in process.hcas_seen:
        if _named(seen.name, seen.port, excluded):
            yield f"NCCL opened the excluded {seen.name}:{seen.port}"
    for name in process.networks:
        if name in SOCKETS:
            yield f"the network is {name}{_on(process, excluded)}"
    for channel in process.channels:
        if channel.network in SOCKETS:
            yield f"a channel goes by NET/{channel.network}{_on(process, excluded)}"


def _on(process: LogProcess, excluded: Collection[str], how: str = "") -> str:
    """`` on eth0 (excluded), eth2``: the interfaces of a rank's sockets; empty where it names none."""
    names = dict.fromkeys(each.name for listed in process.sockets for each in listed.interfaces)
    told = ", ".join(f"{name} (excluded)" if name in excluded else name for name in names)
    return f"{how} on {told}" if told else ""


def _bound(process: LogProcess, excluded: Collection[str], rails: Collection[str]) -> tuple[Status, str]:
    """One rank's own words on the interfaces of its sockets; what is shown beats what is missing."""
    fault = next(_entered(process, excluded), "")
    if fault:
        return Status.FAIL, fault
    if not process.sockets:
        return Status.INCONCLUSIVE, "no list of interfaces (NET/Socket : Using) was read"
    if not rails:
        return Status.INCONCLUSIVE, "there are no rails to compare with"
    for listed in process.sockets:
        names = [each.name for each in listed.interfaces]
        extra = [name for name in names if name not in rails]
        gone = [rail for rail in rails if rail not in names]
        if extra:
            return Status.FAIL, f"NCCL uses {', '.join(extra)}, which is no rail"
        if not listed.complete:
            return Status.INCONCLUSIVE, f"the list of interfaces is cut: {listed.text[:80]}"
        if gone:
            return (
                Status.FAIL,
                f"NCCL does not use {', '.join(gone)}: not up, without an address, or not selected",
            )
    return Status.PASS, "uses exactly the rails"


def _entered(process: LogProcess, excluded: Collection[str]) -> Iterator[str]:
    """What one line is enough to show of sockets: an excluded interface, or another network than theirs."""
    for listed in process.sockets:
        out = dict.fromkeys(each.name for each in listed.interfaces if each.name in excluded)
        if out:
            yield f"NCCL uses the excluded {', '.join(out)}"
    for name in process.networks:
        if name not in SOCKETS:
            yield f"the network is {name}, not the sockets of the rails"
    for channel in process.channels:
        if channel.transport == "NET" and channel.network not in SOCKETS:
            yield f"a channel goes by NET/{channel.network}, not by the sockets of the rails"


def _strays(
    log: Log, wanted: Sequence[int], faults: Callable[[LogProcess], Iterator[str]]
) -> Iterator[LogFinding]:
    """A process that is none of the expected ranks may still show a fault; it can show nothing good."""
    for process in log.processes:
        fault = "" if set(log.ranks_of(process)) & set(wanted) else next(faults(process), "")
        if fault:
            yield LogFinding(None, f"{process.name} (rank unknown)", Status.FAIL, fault)


def _lost(log: Log, excluded: Collection[str]) -> Iterator[LogFinding]:
    """A list of HCAs whose header is lost may still name an excluded one."""
    for using in log.lost:
        if any(_among(hca, excluded) for hca in using.hcas):
            text = f"a list of an unknown rank names an excluded HCA: {using.text[:80]}"
            yield LogFinding(None, f"line {using.line}", Status.FAIL, text)


def _among(hca: Hca, names: Collection[str]) -> bool:
    return _named(hca.name, hca.port, names)


def _named(name: str, port: int, names: Collection[str]) -> bool:
    """``mlx5_0_dma`` is mlx5_0 too: its Data Direct path."""
    bare = name.removesuffix("_dma")
    return any(text in names for text in (name, bare, f"{name}:{port}", f"{bare}:{port}"))


def _port(hca: Hca) -> str:
    return f"{hca.name}:{hca.port}"


def network(log: Log, ranks: Iterable[int], wanted: str = "IB") -> Verdict:
    """Whether every rank chose the network ``wanted``; "IB" is NCCL's own and its plugins' InfiniBand.

    Before 2.6 NCCL does not print it: INCONCLUSIVE, unless channels show it.
    """
    ranks = sorted(set(ranks))
    found = list(_missing(log, ranks))
    for rank, process in _claimed(log, ranks):
        found.append(LogFinding(rank, process.host, *_chosen(process, wanted)))
    repair = "set NCCL_NET, which makes a fall-back an error"
    return _verdict("nccl.network", found, f"network {wanted}", repair)


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
    """Whether every channel between nodes goes by GPUDirect RDMA; one node is SKIP.

    ``nodes``: how many the run has, where the caller knows; else what the log says (from 2.20). ``each``: every rank
    must have shown such a channel, as it has a rail of its own; else every node. A rank's log must go on after its
    channels: what is cut among them may lack the one that is slow.
    """
    wanted = sorted(set(ranks))
    found = list(_missing(log, wanted))
    for process in log.processes:
        off = sorted({fact.hca for fact in process.direct_rdma if not fact.enabled})
        if off:
            text = f"GPUDirect RDMA is disabled for {', '.join(off)}"
            found.append(LogFinding(None, process.host, Status.FAIL, text))
    by_net = [(process, channel) for process, channel in channels(log) if channel.transport == "NET"]
    found += [_direct(process, channel) for process, channel in by_net]
    if not found and (nodes or log.nodes) == 1:
        return Verdict("nccl.gpudirect", "run", Status.SKIP, "one node, no channel leaves it", source=SOURCE)
    found += _unheard(log, {process.host for process, _ in by_net}, nodes or log.nodes)
    claimed = list(_claimed(log, wanted))
    per_host = Counter(process.host for _, process in claimed)
    for rank, process in claimed:
        if text := _lacking(process, per_host[process.host] if each else 0):
            found.append(LogFinding(rank, process.host, Status.INCONCLUSIVE, text))
    for fragment in log.fragments:
        if "via NET/" in fragment.text:
            text = f"a broken line: {fragment.text.strip()[:60]}"
            found.append(LogFinding(None, f"line {fragment.number}", Status.INCONCLUSIVE, text))
    repair = "check nvidia_peermem or dma-buf, and ACS"
    return _verdict("nccl.gpudirect", found, "every channel by GDRDMA", repair)


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
    lines = [channel.line for channel in process.channels if channel.transport == "NET"]
    if not lines:
        return "NCCL's log shows no channel to other nodes" if neighbours and several else ""
    after = max((said.line for said in process.connected), default=0)
    closed = max(after, process.completed("Init", "Destroy", "Abort"))
    return (
        ""
        if closed > max(lines)
        else "the log ends among its channels: no 'Connected all' or COMPLETE follows"
    )


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
    found = list(_missing(log, wanted))
    for rank, process in _claimed(log, wanted):
        if not process.completed("Init"):
            found.append(LogFinding(rank, process.host, Status.INCONCLUSIVE, "'Init COMPLETE' was not read"))
    for process in log.processes:
        found += [LogFinding(None, process.host, *shown) for shown in _warned(process, known)]
    for fragment in log.fragments:
        if "NCCL WARN" in fragment.text:
            text = f"a broken WARN: {fragment.text.strip()[:80]}"
            found.append(LogFinding(None, f"line {fragment.number}", Status.INCONCLUSIVE, text))
    if not found:
        ended = sum(torn_down(process, each) for process in log.processes for each in process.warnings)
        text = f"no WARN but {ended} of the proxy while it was torn down" if ended else "no WARN"
        found.append(LogFinding(None, "all ranks", Status.PASS, text))
    return _verdict("nccl.warnings", found, "no WARN", "read the lines around it in the log")


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


def _verdict(check: str, found: Sequence[LogFinding], wanted: str, repair: str) -> Verdict:
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
