"""Does each GPU use the adapter next to it? By NCCL's own channels, against the way over PCI."""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, Question
from bench.judge.registry import check
from bench.model.facts import LEVELS, Node, affinity
from bench.model.measurement import Rank
from bench.model.profile import Profile
from bench.model.rails import by_port, nearest_rails
from bench.model.verdict import Verdict
from bench.nccl.log import LogProcess

STEP = (
    "see which GPU is next to which adapter (nvidia-smi topo -m, railgauge probe) and whether NCCL was given a wrong "
    "topology: NCCL_TOPO_FILE, or a virtual machine that hides the PCI tree"
)


@check("rails.own")
def own(evidence: Evidence) -> Iterator[Verdict]:
    """Every GPU's channels between nodes leave by an adapter that none is nearer to it than."""
    ask = Question(
        "rails.own",
        "the adapter nearest by PCI",
        "NCCL log, and the PCI tree of the node",
        STEP,
        "take the log again: railgauge accept has a phase for it",
    )
    if not by_port(evidence.rails) or evidence.backend != "nccl" or evidence.node_count < 2:
        yield ask.skip("all ranks", "NCCL moves nothing between nodes by ports of adapters here")
        return
    if all(phase.name != "evidence" for phase in evidence.run.plan.phases):
        reason = dict(evidence.run.plan.skipped).get("evidence", "no phase with NCCL's log was asked for")
        yield ask.skip("all ranks", reason)
        return
    log, facts = evidence.log, evidence.facts
    claims, places = log.by_rank(), evidence.gpu_of_rank
    findings = [
        _of_rank(
            rank, claims.get(rank.rank, ()), facts.get(rank.node), places.get(rank.rank), evidence.profile
        )
        for rank in evidence.ranks
    ]
    yield from ask.verdicts(findings, "ranks leave their node by the adapter nearest to their GPU")


def _of_rank(
    rank: Rank, said: tuple[LogProcess, ...], node: Node | None, at: int | None, want: Profile
) -> Finding:
    used = sorted({names for process in said for names in _used(process)})
    if node is None or at is None or at >= len(node.gpus):
        where = f"rank {rank.rank} ({rank.node}, local rank {rank.local_rank})"
        return Finding(where, None, "its GPU is not in the facts")
    subject = f"rank {rank.rank} ({rank.node} GPU {node.gpus[at].index})"
    nearest = nearest_rails(node, want.rails)[at]
    if not nearest:
        return Finding(subject, None, "its GPU's way to the adapters over PCI is not known")
    if not used:
        return Finding(subject, None, "no channel of its own between nodes was read")
    if () in used:
        return Finding(subject, None, "its channels name a network device whose adapters NCCL does not list")
    near = {name.split("/")[0] for name in nearest}
    # a merged device is one to NCCL: it is near where one of its adapters is
    strangers = [name for names in used if not near & set(names) for name in names]
    told = f"uses {', '.join('+'.join(names) for names in used)}"
    if strangers:
        level = {each.device: each.level for each in affinity(node) if each.gpu == node.gpus[at].index}
        ways = ", ".join(f"{name} is {level.get(name) or 'unknown'}" for name in (*strangers, *sorted(near)))
        known = all(level.get(name) in LEVELS for name in strangers)
        return Finding(
            subject, False if known else None, f"{told}, and {', '.join(sorted(near))} is nearer: {ways}"
        )
    return Finding(subject, True, told, note=told)


def _used(process: LogProcess) -> Iterator[tuple[str, ...]]:
    """The HCAs of the process's own channels, several of a merged device, none of one that no line names.

    Channels that go by another GPU (PXN) are that GPU's.
    """
    devices = process.devices
    for channel in process.channels:
        if channel.transport == "NET" and channel.proxy is None and channel.device is not None:
            yield tuple(name.removesuffix("_dma") for name in devices.get(channel.device, ()))
