"""Is it certain which GPU each rank had, and which rails each GPU? Blame, charts and tables name them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.gpu_of_rank import VISIBLE, foreseen, match, on_bus, reported_gpus
from bench.judge.registry import check
from bench.model.facts import Node
from bench.model.measurement import Rank
from bench.model.profile import Rails
from bench.model.rails import by_port, in_order, joined, nearest_rails, own_rails, rails_of
from bench.model.run_folder_lines import WorkerGpu


def _no_gpu(evidence: Evidence) -> str:
    return "" if evidence.backend == "nccl" else f"{evidence.backend} uses no GPU"


def _none_reported(evidence: Evidence) -> str:
    reported = any(line.gpus is not None for line in evidence.run.joined)
    return (
        ""
        if reported or evidence.records_all
        else "no worker reported its GPU: none joined, or the run is an older one"
    )


@check(
    "gpus.placed",
    subject="all ranks",
    wanted="a GPU of the node's facts, the same for a local rank on every node",
    source="the workers, and NVML",
    on_inconclusive=f"start every node with the same {VISIBLE} and CUDA_DEVICE_ORDER, or with none; compare: "
    "nvidia-smi -L",
    unit="ranks",
    unless=(_no_gpu, _none_reported),
)
def gpus_placed(evidence: Evidence) -> Iterator[Finding]:
    """The GPU that each worker reports is one of its node's, and the same in place on every node."""
    reported = reported_gpus(evidence.run)
    expected = foreseen(evidence.ranks, evidence.nodes, evidence.manifest.environment)
    places = evidence.gpu_of_rank
    usual: dict[int, Counter[int]] = {}
    for rank in evidence.ranks:
        at = places.get(rank.rank)
        if at is not None:
            usual.setdefault(rank.local_rank, Counter())[at] += 1
    for rank in evidence.ranks:
        gpu, node = reported.get(rank.rank), evidence.facts.get(rank.node)
        found = _placed(rank, gpu, node, expected.get(rank.rank))
        at, others = places.get(rank.rank), usual.get(rank.local_rank, Counter())
        most = others.most_common(1)[0] if others else (at, 0)
        if found.ok and at != most[0]:
            text = f"has GPU {at}, and local rank {rank.local_rank} of {most[1]} nodes has GPU {most[0]}"
            found = Finding(found.subject, None, f"{text}: the figures under its rail are another GPU's")
        yield found


def _placed(rank: Rank, gpu: WorkerGpu | None, node: Node | None, expected: int | None) -> Finding:
    subject = f"rank {rank.rank} ({rank.node}, local rank {rank.local_rank})"
    if node is None:
        return Finding(subject, None, "its node has no facts")
    if gpu is None:
        return Finding(subject, None, "its worker did not report its GPU")
    at, name = match(gpu, node.gpus), gpu.uuid or gpu.pci or "neither UUID nor PCI address"
    if at is None:
        text = f"its worker has {name}, which is none of the {len(node.gpus)} GPUs of the facts"
        return Finding(subject, None, text)
    pci = node.gpus[at].pci
    if gpu.pci and pci and not on_bus(gpu.pci, pci):
        text = f"its worker has {name} on PCI bus {gpu.pci}, and the facts say {pci.address}"
        return Finding(subject, None, text)
    known = node.gpus[at].name
    if gpu.name and known and not (gpu.name in known or known in gpu.name):
        return Finding(subject, None, f"its worker has {name}, an {gpu.name}, and the facts say {known}")
    text = f"GPU {node.gpus[at].index} ({name})"
    if expected is not None and expected != at:
        text += f"; by {VISIBLE} GPU {node.gpus[expected].index} was expected"
    return Finding(subject, True, f"has {text}", note=text)


def _no_gpu_ports(evidence: Evidence) -> str:
    uses = by_port(evidence.rails) and evidence.backend in ("nccl", "none")
    return "" if uses else "no GPU uses a port of an HCA here"


def _no_gpus(evidence: Evidence) -> str:
    known = evidence.profile.gpus or any(node.gpus for node in evidence.nodes)
    return "" if known else "no GPU is in the facts, and the profile has none"


@check(
    "rails.names",
    wanted="the rails of the profile's order, and of the other nodes",
    source=lambda evidence: f"the PCI tree, and {evidence.profile.name}",
    on_inconclusive="compare nvidia-smi topo -m with the profile's devices, in the order of the GPUs; which adapter "
    "moved?",
    unit="GPUs",
    unless=(_no_gpu_ports, _no_gpus),
    facts_only=True,
)
def rails_names(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """The rails next to each GPU by PCI are those that the profile's order gives it, and the same on every node."""
    with_gpus = {node.name for node in evidence.nodes if node.gpus}
    without = [name for name in evidence.manifest.nodes if name not in with_gpus]
    # a rail that is gone or down is for the census: what is next to its GPU then is another's
    whole = [node for node in evidence.nodes if node.gpus and _is_whole(node, evidence.rails)]
    own = zip_longest(*(own_rails(node, evidence.rails) for node in whole), fillvalue=())
    votes = [Counter(place) for place in own]
    found = [Finding(name, None, "no GPU of it is in the facts") for name in without]
    found += [finding for node in whole for finding in _of_node(node, votes, evidence.rails)]
    yield from found
    if not found and not whole:
        yield NotApplicable("no node has all of its rails: see exclusion.census")
    elif not found:
        yield NotApplicable(
            "the PCI trees do not show which rails are next to which GPU: they are shared out in order, and NCCL may "
            "do so otherwise (ncclTopoGetLocalNet); rails.intended holds that against the counters"
        )


def _is_whole(node: Node, rails: Rails) -> bool:
    return not rails.count or len(rails_of(node, rails)) == rails.count


def _of_node(node: Node, votes: Sequence[Counter[tuple[str, ...]]], rails: Rails) -> Iterator[Finding]:
    """Judge each GPU of a node whose nearest rails are known. ``votes``: how often GPU 0, 1 … has which rails."""
    names = tuple(role.name for role in rails_of(node, rails))
    order = in_order(names, len(node.gpus)) if rails.devices else ((),) * len(node.gpus)
    near, own = nearest_rails(node, rails), own_rails(node, rails)
    for at, (gpu, tied, mine, due) in enumerate(zip(node.gpus, near, own, order, strict=True)):
        if not tied or len(tied) == len(names) > 1:
            continue
        text, (usual, most) = f"is next to {', '.join(tied)}", votes[at].most_common(1)[0]
        ok = None
        if not set(due) <= set(tied):
            text += f"; by the order of the profile's devices it has {joined(due)}"
        elif not mine:
            text += ": which of these are its own is not known"
        elif mine != usual:
            text += f", and GPU {gpu.index} of {most} other nodes has {joined(usual) or 'none'}"
        else:
            ok = True
        yield Finding(f"{node.name} GPU {gpu.index}", ok, text, note=joined(mine) if ok else "")
