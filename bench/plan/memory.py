"""What fits in memory: a case that does not is refused here, by name and with both figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.model.collectives import collective
from bench.model.elements import element
from bench.model.measurement import Case
from bench.store import Phase, Plan, Refusal

ROTATED = 64 << 20  # bytes of buffers that a small message rotates through: more than a last-level cache
MOST_BUFFERS = 16
SCRATCH = 32 << 20  # bytes for the truth, chunk by chunk
TORCH_HOST = 400 << 20  # resident bytes of a worker that has imported torch and done nothing
NCCL_RESERVE = 3 << 30  # bytes of GPU memory that the context and NCCL's own channels take


@dataclass(frozen=True)
class Memory:
    """Bytes that one rank may use, and on what: the smallest over all ranks."""

    available: int
    where: str


def _largest(case: Case) -> int:
    """Bytes of one send and one receive buffer on the rank that has the most."""
    row, kind = collective(case.collective), element(case.dtype)
    n, root = max(len(group) for group in case.groups), max(case.root, 0)
    shared = case.placement == "in"
    most = 0
    for rank in {0, 1 % n, root}:
        sides = (row.sent(rank, n, root), row.received(rank, n, root))
        most = max(most, max(sides) if shared else sum(sides))
    return most * case.count * kind.bytes


def rotation(case: Case) -> int:
    """How many buffers a case rotates through, so that small messages are not served from a cache."""
    largest = _largest(case)
    return max(1, min(MOST_BUFFERS, ROTATED // largest)) if largest else 1


def needed(case: Case, backend: str) -> int:
    """Bytes that this case takes on its largest rank: rotated buffers, scratch, what the backend copies."""
    copies = _largest(case) if backend == "gloo" else 0
    return rotation(case) * _largest(case) + copies + SCRATCH


def fit(phases: Sequence[Phase], backend: str, memory: Memory) -> Plan:
    """The plan with the cases that do not fit taken out and named."""
    kept, refused = [], []
    for phase in phases:
        cases = []
        for case in phase.cases:
            bytes_needed = needed(case, backend)
            if bytes_needed > memory.available:
                refused.append(Refusal(case.id, bytes_needed, memory.available, memory.where))
            else:
                cases.append(case)
        kept.append(replace(phase, cases=tuple(cases)))
    return Plan(tuple(phase for phase in kept if phase.cases), tuple(refused))
