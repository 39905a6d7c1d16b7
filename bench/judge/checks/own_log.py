"""Checks that the log of each rank is its own, and that nothing that NCCL read or chose distorts the run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from operator import attrgetter

from bench.judge import nccl_log
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.model.facts import Gpu
from bench.model.majority import odd_ones
from bench.model.units import show_count, show_some
from bench.nccl.distortions import FAIL, distortions
from bench.nccl.log import LogProcess

from .exclusion_settings import LOGGED


@check(
    "nccl.ranks",
    subject="all ranks",
    wanted="its own rank of the whole job, and one NCCL",
    source=nccl_log.SOURCE,
    on_fail="install one NCCL on all nodes, and see LD_LIBRARY_PATH there",
    on_inconclusive=nccl_log.NEXT,
    every="every rank's log is its own",
    unit="logs",
    unless=LOGGED,
)
def own(evidence: Evidence) -> Iterator[Finding]:
    """Every rank's log is of that rank in the communicator of all, and of the NCCL that the others have."""
    world = len(evidence.ranks)
    ids = {
        f"rank {each.given}": found[-1]
        for each in evidence.log.processes
        if (found := [member.id for member in each.members if member.nranks == world and member.id])
    }
    for odd in odd_ones(ids):
        others = f"{odd.peers} others of {odd.usual}" if odd.usual else "the others of no one communicator"
        yield Finding(odd.name, None, f"its log is of communicator {odd.value}, those of {others}")
    versions = {
        f"rank {each.given}": ", ".join(each.versions) for each in evidence.log.processes if each.versions
    }
    for odd in odd_ones(versions):
        yield Finding(
            odd.name,
            False,
            f"its NCCL is {odd.value}; {odd.peers} others have {odd.usual or 'no one version'}",
        )
    yield from _elsewhere(evidence)
    for process in evidence.log.processes:
        said = {(member.rank, member.nranks) for member in process.members}
        if process.given is not None and said:
            text = ", ".join(f"rank {rank} of {nranks}" for rank, nranks in sorted(said)[:4])
            yield Finding(
                f"rank {process.given}", ((process.given, world) in said) or None, f"its log says {text}"
            )
        yield from _nodes(process, evidence)
        yield from _gpu(process, evidence)


def _elsewhere(evidence: Evidence) -> Iterator[Finding]:
    """Logs that were written on the host of another node; nothing where hosts of two nodes bear one name."""
    nodes = evidence.run.node_of
    processes = evidence.log.processes
    logs = [(each.given, each.host) for each in processes if each.given is not None and each.given in nodes]
    hosts: dict[str, Counter[str]] = {}
    for rank, host in logs:
        hosts.setdefault(nodes[rank], Counter())[host] += 1
    owner = {found.most_common(1)[0][0]: node for node, found in hosts.items()}
    for rank, host in logs if len(owner) == len(hosts) else ():
        if owner.get(host, node := nodes[rank]) != node:
            text = f"its log was written on host {host}, as those of {owner[host]}, and it was on {node}"
            yield Finding(f"rank {rank}", None, text)


def _nodes(process: LogProcess, evidence: Evidence) -> Iterator[Finding]:
    """Over how many nodes NCCL spreads the whole job, and how many ranks it counts on the rank's own node; where NVLink
    spans several nodes, they count as one.
    """
    world, given = len(evidence.ranks), process.given
    if given not in evidence.run.node_of or evidence.profile.nvlink_nodes != 1:
        return
    whole = [member for member in process.members if member.nranks == world]
    here = evidence.run.ranks_on[evidence.run.node_of[given]]
    nodes, ranks = ({*map(attrgetter(name), whole)} - {0} for name in ("nodes", "node_ranks"))
    for said, what, where, count in (
        (nodes, "node", "", evidence.node_count),
        (ranks, "rank", " on its node", here),
    ):
        if said - {count}:
            counts = " and ".join(show_count(each, what) for each in sorted(said))
            yield Finding(f"rank {given}", None, f"NCCL counts {counts}{where}, the run has {count}")


def _gpu(process: LogProcess, evidence: Evidence) -> Iterator[Finding]:
    """Whether NCCL had the GPU of the rank's worker, by its PCI address."""
    gpu = evidence.gpu_of(process.given) if process.given in evidence.run.node_of else None
    said = {member.bus for member in process.members} - {""}
    own = re.sub(r"[:.]", "", gpu.pci.address).lower().lstrip("0") if gpu and gpu.pci else ""
    if own and gpu and said - {own}:
        text = f"its log is of the GPU with bus id {' and '.join(sorted(said))}, "
        text += f"and it had GPU {gpu.index} of bus id {own}"
        yield Finding(f"rank {process.given}", None, text)


def _no_nvlink(evidence: Evidence) -> str:
    several = any(count > 1 for count in evidence.run.ranks_on.values())
    links = any(gpu.nvlinks for node in evidence.nodes for gpu in node.gpus)
    return "" if several and links else "no node has two ranks whose GPUs show NVLinks"


@check(
    "nccl.nvlink",
    subject="all ranks",
    wanted="P2P",
    source=nccl_log.SOURCE,
    on_fail="see why P2P is off: nvidia-smi topo -p2p n, NCCL_P2P_*, and whether containers share /dev/shm and IPC",
    every="no channel between GPUs that NVLink joins goes by host memory or a network",
    unit="logs",
    unless=(*LOGGED, _no_nvlink),
)
def nvlink(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """NCCL's channels between GPUs of a node that NVLink joins go by P2P, not by host memory or a network."""
    gpus = {rank: gpu for rank in evidence.run.node_of if (gpu := evidence.gpu_of(rank))}
    # a channel names ranks of its communicator: only where all are of the whole job are they the run's
    world = {len(evidence.ranks)}
    plain = [
        process
        for process in evidence.log.processes
        if process.given is not None and {each.nranks for each in process.members} == world
    ]
    if not plain:
        yield NotApplicable(
            "every log names another communicator than that of all ranks too, or none", "all ranks"
        )
    for process in plain:
        detours = [
            channel
            for channel in process.channels
            if channel.transport in ("SHM", "NET")
            and _by_nvlink(channel.source, channel.target, gpus, evidence)
        ]
        pairs = dict.fromkeys(f"{each.source} to {each.target} by {each.transport}" for each in detours)
        text = f"channels from {show_some([*pairs], 3)}" if pairs else "by P2P"
        yield Finding(f"rank {process.given}", not detours, text)


def _by_nvlink(one: int, other: int, gpus: Mapping[int, Gpu], evidence: Evidence) -> bool:
    """Whether NVLink surely joins the GPUs of two ranks of a node: directly, or by NVSwitches."""
    if one == other or not (one in gpus and other in gpus):
        return False
    if evidence.run.node_of[one] != evidence.run.node_of[other]:
        return False
    ways = [{link.peer for link in gpus[rank].nvlinks or () if link.active} for rank in (one, other)]
    addresses = {gpu.pci.address for gpu in gpus.values() if gpu.pci}
    if all(way and None not in way for way in ways):
        there = gpus[other].pci
        return not (ways[0] | ways[1]) & addresses or (there is not None and there.address in ways[0])
    return all(ways) and evidence.profile.nvlink is not None


@check(
    "nccl.settings",
    subject="all ranks",
    wanted="nothing that distorts",
    source="NCCL and torch.distributed documentation, by NCCL's own log",
    on_fail="unset it, or take it out of the conf file (see environment.files), and run again",
    on_inconclusive="see whether the log is of this run, and what sets it: a wrapper of the launcher, a conf file",
    every="NCCL read no setting that distorts",
    unit="logs",
    unless=LOGGED,
)
def settings(evidence: Evidence) -> Iterator[Finding]:
    """No setting that NCCL said it had read disables or distorts it, wherever it was set."""
    planned = {*evidence.profile.environment}
    for phase in evidence.run.plan.phases:
        planned |= {*phase.environment} if phase.name == "evidence" else set()
    for process in evidence.log.processes:
        said = {setting.name: setting.value for setting in process.settings}
        bad = [row for row in distortions(said, planned) if row.severity == FAIL]
        subject = f"rank {process.given}" if process.given is not None else process.name
        text = "; ".join(f"{row.name}={row.value!r}: {row.reason}" for row in bad)
        other = "" if bad else _other(said, evidence)
        yield Finding(subject, None if other else not bad, text or other or "no such setting")


def _other(said: Mapping[str, str], evidence: Evidence) -> str:
    """Which setting NCCL read otherwise than RailGauge gave it to the workers, by the profile of the run."""
    if evidence.profile.text != evidence.manifest.profile_text:
        return ""
    given = evidence.profile.environment
    return "; ".join(
        f"NCCL read {name}={said[name]!r}, and the profile sets {value!r}"
        for name, value in given.items()
        if name in said and said[name].strip() != value.strip()
    )


@check(
    "versions.workers",
    subject="all ranks",
    wanted="one version in all workers",
    source="what the workers loaded",
    on_fail="install what the others have, and see LD_LIBRARY_PATH on every node",
    every="all workers loaded the same libraries",
    unit="libraries",
    only=lambda evidence: any(line.versions for line in evidence.run.joined),
)
def workers(evidence: Evidence) -> Iterator[Finding]:
    """The workers of a phase loaded one version of each library."""
    for line in evidence.run.joined:
        for name, found in line.versions.items():
            yield Finding(name, len(found) < 2, f"{' and '.join(found)} in phase {line.phase}")
