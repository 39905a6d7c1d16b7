"""Which cases fit in memory; a case that does not is refused by name, with what it needs and what is available."""

from __future__ import annotations

from collections.abc import Sequence

from bench.model.buffers import largest, rotation
from bench.model.late_dataclass import dataclass, replace
from bench.model.measurement import Case
from bench.store import Phase, Plan, TooLarge

SCRATCH = 32 << 20  # bytes for the expected results, chunk by chunk
TORCH_HOST = 400 << 20  # resident bytes of a worker that has imported torch and done nothing
NCCL_RESERVE = 3 << 30  # bytes of GPU memory that the context and NCCL's own channels take


@dataclass(frozen=True)
class Memory:
    """Bytes that one rank may use, and of which memory: the smallest over all ranks."""

    available: int
    where: str


def needed(case: Case, backend: str) -> int:
    """Bytes that a case takes on its largest rank: rotated buffers, scratch, the backend's copies."""
    copies = largest(case) if backend == "gloo" else 0
    return rotation(case) * largest(case) + copies + SCRATCH


def fit(phases: Sequence[Phase], backend: str, memory: Memory) -> Plan:
    """The plan of the cases that fit; those that do not are listed in it."""
    sizes = {case.id: needed(case, backend) for phase in phases for case in phase.cases}
    room = memory.available
    kept = [
        replace(phase, cases=tuple(case for case in phase.cases if sizes[case.id] <= room))
        for phase in phases
    ]
    refused = (TooLarge(name, size, room, memory.where) for name, size in sizes.items() if size > room)
    return Plan(tuple(phase for phase in kept if phase.cases), tuple(refused))
