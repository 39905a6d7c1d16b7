"""Which GPU of its node each rank has: as its worker said, else as CUDA_VISIBLE_DEVICES says, else in order.

NVML counts all GPUs of a machine; a process counts those that it is shown, in the order in which they are named to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.model.facts import Gpu, Node, PciPath
from bench.model.measurement import Rank
from bench.model.run_folder_lines import WorkerGpu
from bench.store import Run

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible(text: str | None, gpus: Sequence[Gpu]) -> tuple[int, ...] | None:
    """Places in ``gpus`` of those that a process is shown, in its order: ``2,0`` or ``GPU-5a1f,GPU-77``.

    None where it is not known: parts of a GPU, or a UUID where NVML gave none. What names no GPU ends the list (CUDA
    Programming Guide, Environment Variables).
    """
    if text is None:
        return tuple(range(len(gpus)))
    found: list[int] = []
    for word in (each.strip() for each in text.split(",")):
        if word.upper().startswith("MIG") or (
            word.upper().startswith("GPU-") and not all(gpu.uuid for gpu in gpus)
        ):
            return None
        if word.isdecimal():
            match = [at for at, gpu in enumerate(gpus) if gpu.index == int(word)]
        else:
            head = word.lower()
            match = [at for at, gpu in enumerate(gpus) if head and (gpu.uuid or "").lower().startswith(head)]
        if len(match) != 1:
            break
        found += match
    return tuple(found)


def foreseen(
    ranks: Iterable[Rank], nodes: Sequence[Node], environment: Mapping[str, Mapping[str, str]]
) -> dict[int, int | None]:
    """Rank → place in its node's ``gpus`` by ``environment`` of each rank; None: there is no such GPU. Without an entry
    where it cannot be determined.
    """
    facts = {node.name: node for node in nodes}
    found: dict[int, int | None] = {}
    for rank in ranks:
        node = facts.get(rank.node)
        if node is None:
            continue
        shown = visible(environment.get(str(rank.rank), {}).get(VISIBLE), node.gpus)
        if shown is not None:
            # a launcher may show each rank its own GPU alone
            at = 0 if len(shown) == 1 else rank.local_rank
            found[rank.rank] = shown[at] if at < len(shown) else None
    return found


def reported_gpus(run: Run) -> dict[int, WorkerGpu]:
    """Rank → the GPU that its worker reported last; without those who reported none."""
    found: dict[int, WorkerGpu] = {}
    for line in run.joined:
        found |= {int(rank): gpu for rank, gpu in (line.gpus or {}).items()}
    return found


def match(gpu: WorkerGpu, gpus: Sequence[Gpu]) -> int | None:
    """The index in ``gpus`` of the GPU that a worker described, by UUID, else by PCI bus; None where no GPU fits."""
    uuid, bus = gpu.uuid.lower(), gpu.pci
    for at, each in enumerate(gpus):
        if each.uuid and each.uuid.lower() == uuid:
            return at
    for at, each in enumerate(gpus):
        known = uuid and each.uuid  # and is another
        if not known and bus and each.pci and on_bus(bus, each.pci):
            return at
    return None


def on_bus(bus: str, pci: PciPath) -> bool:
    """Whether a device is on that bus, ``0000:3b``: NVML writes eight digits of domain, sysfs four."""
    return pci.address.lower()[-12:].startswith(f"{bus.lower()[-7:]}:")


def placed(run: Run) -> dict[int, int | None]:
    """Rank → place in its node's ``gpus``; None where it cannot be determined."""
    reported, facts = reported_gpus(run), {node.name: node for node in run.nodes}
    found = foreseen(run.manifest.ranks, run.nodes, run.manifest.environment)
    for rank in run.manifest.ranks:
        gpu = reported.get(rank.rank)
        if gpu and (gpu.uuid or gpu.pci) and rank.node in facts:
            found[rank.rank] = match(gpu, facts[rank.node].gpus)
    return found
