"""May the names be believed? Which GPU each rank has, and which rails each GPU: what blame, charts and tables say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, Question
from bench.judge.gpu_of_rank import VISIBLE, foreseen, match, said
from bench.judge.registry import check
from bench.model.facts import Node
from bench.model.lines import WorkerGpu
from bench.model.measurement import Rank
from bench.model.profile import Profile
from bench.model.rails import by_port, in_order, joined, nearest_rails, own_rails, rails_of
from bench.model.verdict import Verdict


@check("gpus.placed")
def gpus_placed(evidence: Evidence) -> Iterator[Verdict]:
    """The GPU that each worker says it has is one of its node's, and the same in place on every node."""
    ask = Question(
        "gpus.placed",
        "a GPU of the node's facts, the same for a local rank on every node",
        "the workers, and NVML",
        "",
        f"start every node with the same {VISIBLE} and CUDA_DEVICE_ORDER, or with none; compare: nvidia-smi -L",
    )
    if evidence.backend != "nccl":
        yield ask.skip("all ranks", f"{evidence.backend} uses no GPU")
        return
    if all(line.gpus is None for line in evidence.run.joined):
        yield ask.skip(
            "all ranks", "no worker said which GPU it has: none joined, or the run is an older one"
        )
        return
    heard, facts = said(evidence.run), evidence.facts
    asked = foreseen(evidence.ranks, evidence.nodes, evidence.manifest.environment)
    found = [
        _placed(rank, heard.get(rank.rank), facts.get(rank.node), asked.get(rank.rank))
        for rank in evidence.ranks
    ]
    places = evidence.gpu_of_rank
    usual: dict[int, Counter[int]] = {}
    for rank in evidence.ranks:
        at = places.get(rank.rank)
        if at is not None:
            usual.setdefault(rank.local_rank, Counter())[at] += 1
    for index, rank in enumerate(evidence.ranks):
        at, others = places.get(rank.rank), usual.get(rank.local_rank, Counter())
        most = others.most_common(1)[0] if others else (at, 0)
        if found[index].ok and at != most[0]:
            told = f"has GPU {at}, and local rank {rank.local_rank} of {most[1]} nodes has GPU {most[0]}"
            found[index] = Finding(
                found[index].subject, None, f"{told}: what stands under its rail is another's"
            )
    yield from ask.verdicts(found, "ranks have a GPU of their node, the same on every node")


def _placed(rank: Rank, gpu: WorkerGpu | None, node: Node | None, asked: int | None) -> Finding:
    subject = f"rank {rank.rank} ({rank.node}, local rank {rank.local_rank})"
    if node is None:
        return Finding(subject, None, "its node has no facts")
    if gpu is None:
        return Finding(subject, None, "its worker did not say which GPU it has")
    at, name = match(gpu, node.gpus), gpu.uuid or gpu.pci or "neither UUID nor PCI address"
    if at is None:
        return Finding(
            subject, None, f"its worker has {name}, which is none of the {len(node.gpus)} GPUs of the facts"
        )
    told = f"GPU {node.gpus[at].index} ({name})"
    if asked is not None and asked != at:
        told += f"; by {VISIBLE} GPU {node.gpus[asked].index} was expected"
    return Finding(subject, True, f"has {told}", note=told)


@check("rails.names", early=True)
def rails_names(evidence: Evidence) -> Iterator[Verdict]:
    """The rails next to each GPU by PCI are those that the profile's order gives it, and the same on every node."""
    ask = Question(
        "rails.names",
        "the rails of the profile's order, and of the other nodes",
        f"the PCI tree, and {evidence.profile.name}",
        "",
        "compare nvidia-smi topo -m with the profile's devices, in the order of the GPUs; which adapter moved?",
    )
    if not by_port(evidence.rails) or evidence.backend not in ("nccl", "none"):
        yield ask.skip("all nodes", "no GPU uses a port of an HCA here")
        return
    known = {node.name for node in evidence.nodes if node.gpus}
    blank = [name for name in evidence.manifest.nodes if name not in known]
    if not (known or evidence.profile.gpus):
        yield ask.skip("all nodes", "no GPU is in the facts, and the profile asks for none")
        return
    # a rail that is gone or down is for the census: what is next to its GPU then is another's
    whole = [node for node in evidence.nodes if node.gpus and _whole(node, evidence.profile)]
    found = [Finding(name, None, "no GPU of it is in the facts") for name in blank]
    votes = [
        Counter(place)
        for place in zip_longest(*(own_rails(node, evidence.rails) for node in whole), fillvalue=())
    ]
    found += [finding for node in whole for finding in _of_node(node, votes, evidence.profile)]
    if not found:
        reason = "the PCI trees do not tell which rails are next to which GPU: they are dealt out in order, and NCCL "
        reason += "may do so otherwise (ncclTopoGetLocalNet); rails.intended holds that against the counters"
        yield ask.skip("all nodes", reason if whole else "no node has all of its rails: see exclusion.census")
        return
    yield from ask.verdicts(found, "GPUs have the rails that their place calls for")


def _whole(node: Node, want: Profile) -> bool:
    return not want.rails.count or len(rails_of(node, want.rails)) == want.rails.count


def _of_node(node: Node, votes: Sequence[Counter[tuple[str, ...]]], want: Profile) -> Iterator[Finding]:
    """Nothing of a GPU that its node's tree does not set apart. ``votes``: the rails of GPU 0, 1 … on all nodes."""
    names = tuple(role.name for role in rails_of(node, want.rails))
    order = in_order(names, len(node.gpus)) if want.rails.devices else ((),) * len(node.gpus)
    near, own = nearest_rails(node, want.rails), own_rails(node, want.rails)
    for at, (gpu, tied, mine, due) in enumerate(zip(node.gpus, near, own, order, strict=True)):
        subject = f"{node.name} GPU {gpu.index}"
        if not tied or len(tied) == len(names) > 1:
            continue
        next_to = f"is next to {', '.join(tied)}"
        if due and not set(due) <= set(tied):
            yield Finding(
                subject, None, f"{next_to}; by the order of the profile's devices it has {joined(due)}"
            )
            continue
        if not mine:
            yield Finding(subject, None, f"{next_to}: which of these are its own cannot be determined")
            continue
        usual, most = votes[at].most_common(1)[0]
        if mine != usual:
            yield Finding(
                subject,
                None,
                f"{next_to}, and GPU {gpu.index} of {most} other nodes has {joined(usual) or 'none'}",
            )
        else:
            yield Finding(subject, True, next_to, note=joined(mine))
