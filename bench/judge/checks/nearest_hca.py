"""Does each GPU use the adapter next to it? By NCCL's own channels, against the way over PCI."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding
from bench.judge.log_files import log_of
from bench.judge.registry import check, unplanned
from bench.model.facts import LEVELS
from bench.model.measurement import Rank
from bench.model.rails import by_port, nearest_rails
from bench.model.units import show_some
from bench.nccl.log import LogProcess
from bench.plan.phase_names import CROSS


def _no_nccl_ports(evidence: Evidence) -> str:
    crosses = by_port(evidence.rails) and evidence.backend == "nccl" and evidence.node_count > 1
    return "" if crosses else "NCCL moves nothing between nodes by ports of adapters here"


_no_log = unplanned(
    "evidence",
    lambda evidence: any(phase.name == "evidence" for phase in evidence.run.plan.phases),
    "no phase with NCCL's log was asked for",
)


@check(
    "rails.own",
    subject="all ranks",
    wanted="the adapter nearest by PCI",
    source="NCCL log, and the PCI tree of the node",
    on_fail="see which GPU is next to which adapter (nvidia-smi topo -m, railgauge probe) and whether NCCL was given a "
    "wrong topology: NCCL_TOPO_FILE, or a virtual machine that hides the PCI tree",
    on_inconclusive="take the log again: railgauge accept has a phase for it",
    unit="ranks",
    unless=(_no_nccl_ports, _no_log),
)
def own(evidence: Evidence) -> Iterator[Finding]:
    """Each GPU's inter-node channels use its nearest HCA, and transfers across the rails go by no other GPU."""
    claims = evidence.log.by_rank()
    yield from (_of_rank(rank, claims.get(rank.rank, ()), evidence) for rank in evidence.ranks)
    if any(phase.name == CROSS for phase in evidence.run.plan.phases):
        across = log_of(evidence.run, CROSS).by_rank()
        yield from (_across(rank, across.get(rank.rank, ()), evidence) for rank in evidence.ranks)


def _across(rank: Rank, processes: tuple[LogProcess, ...], evidence: Evidence) -> Finding:
    """Across the rails: by another GPU a transfer would use the receiver's rail at both ends."""
    found = _of_rank(rank, processes, evidence)
    subject = f"{found.subject}, across the rails"
    proxies = {channel.proxy for process in processes for channel in process.channels} - {None}
    if proxies:
        others = show_some(sorted(f"rank {proxy}" for proxy in proxies))
        return Finding(subject, None, f"sends by way of {others} (PXN), so that it crossed no rail")
    return replace(found, subject=subject)


def _of_rank(rank: Rank, processes: tuple[LogProcess, ...], evidence: Evidence) -> Finding:
    used = sorted({names for process in processes for names in _used(process)})
    node, at = evidence.facts.get(rank.node), evidence.gpu_of_rank.get(rank.rank)
    if node is None or at is None:
        where = f"rank {rank.rank} ({rank.node}, local rank {rank.local_rank})"
        return Finding(where, None, "its GPU is not in the facts")
    gpu = node.gpus[at].index
    subject = f"rank {rank.rank} ({rank.node} GPU {gpu})"
    near = {name.split("/")[0] for name in nearest_rails(node, evidence.rails)[at]}
    if not near:
        return Finding(subject, None, "its GPU's way to the adapters over PCI is not known")
    if not used:
        return Finding(subject, None, "no channel of its own between nodes was read")
    if () in used:
        return Finding(subject, None, "its channels name a network device whose adapters NCCL does not list")
    # a merged device is one to NCCL: it is near where one of its adapters is
    farther = [name for names in used if not near & set(names) for name in names]
    text = f"uses {', '.join('+'.join(names) for names in used)}"
    if not farther:
        return Finding(subject, True, text, note=text)
    level = {each.device: each.level for each in node.affinity if each.gpu == gpu}
    ways = ", ".join(f"{name} is {level.get(name) or 'unknown'}" for name in (*farther, *sorted(near)))
    known = all(level.get(name) in LEVELS for name in farther)
    text += f", and {', '.join(sorted(near))} is nearer: {ways}"
    return Finding(subject, False if known else None, text)


def _used(process: LogProcess) -> Iterator[tuple[str, ...]]:
    """The HCAs of the process's own channels, several of a merged device, none of one that no line names.

    Channels that go by another GPU (PXN) are that GPU's.
    """
    devices = process.devices
    for channel in process.channels:
        if channel.transport == "NET" and channel.proxy is None and channel.device is not None:
            yield tuple(name.removesuffix("_dma") for name in devices.get(channel.device, ()))
