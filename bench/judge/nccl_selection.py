"""Verdicts from NCCL's own log on which HCAs or interfaces it uses.

This is the third of the four layers that prove a device left out: NCCL says so itself, on every rank.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from bench.model.verdict import Status, Verdict
from bench.nccl.log import Log, LogProcess
from bench.nccl.log_facts import Hca, Using
from bench.nccl.networks import SOCKETS, is_infiniband

from .nccl_log import LogFinding, claimed, missing, verdict


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
    return verdict("nccl.exclusion", [*found, *_lost(log, excluded)], _exactly(rails, excluded), repair)


def interfaces(log: Log, excluded: Collection[str], rails: Collection[str], ranks: Iterable[int]) -> Verdict:
    """Whether NCCL's sockets use exactly the interfaces ``rails``, and none of ``excluded``, on every one of ``ranks``.

    As ``exclusion``, of the line ``NET/Socket : Using [0]eth1:10.0.0.1<0> ...``: a rank without it is INCONCLUSIVE.
    """
    found = _selections(
        log, ranks, rails, lambda it: _bound(it, excluded, rails), lambda it: _entered(it, excluded)
    )
    repair = "set NCCL_SOCKET_IFNAME by the profile and clear conf files that change it"
    return verdict("nccl.exclusion", found, _exactly(rails, excluded), repair)


def _selections(
    log: Log,
    ranks: Iterable[int],
    rails: Collection[str],
    judge: Callable[[LogProcess], tuple[Status, str]],
    faults: Callable[[LogProcess], Iterator[str]],
) -> list[LogFinding]:
    """What each rank selects, and what processes of no known rank do wrong."""
    wanted = sorted(set(ranks))
    found = list(missing(log, wanted))
    found += [LogFinding(rank, process.host, *judge(process)) for rank, process in claimed(log, wanted)]
    return [*found, *_strays(log, wanted, faults)]


def _exactly(rails: Collection[str], excluded: Collection[str]) -> str:
    without = f", without {', '.join(sorted(excluded))}" if excluded else ""
    return f"exactly {', '.join(sorted(rails)) or 'the rails, which are not known'}{without}"


def _selection(
    process: LogProcess, excluded: Collection[str], rails: Collection[str], link: str
) -> tuple[Status, str]:
    """Judges the HCAs that one rank's log names.

    The order matters: a fault that the log shows outranks a line that it lacks.
    """
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
    """Whether complete lists hold every rail and nothing else."""
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
    """The faults that a single line proves, whatever else of the log is missing."""
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
    """Judges the interfaces that one rank's log names for sockets, in the same order."""
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
