"""The work order of a worker and its progress; supervisor, worker and backend share them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.model.measurement import Case
from bench.model.typed_json import Name

from .loop import TimingRules

HEARTBEAT_SECONDS = (
    1.0  # between two heartbeats of a worker, and between two that its supervisor passes on to rank 0
)
CAPTURING = "capturing"  # the stage in which nothing else may ask the GPU anything: it would spoil the graph


@dataclass(frozen=True)
class WorkOrder:
    """All that a worker needs to measure one phase.

    address    where rank 0's TCPStore (torch's rendezvous) listens; ``ports``: the first and the last at which it may
    rails      interfaces in rail order, where gloo has to be told which one to use
    name       of this set of workers, unlike that of any other in the run
    """

    phase: Name
    cases: tuple[Case, ...]
    rank: int
    size: int
    local_rank: int
    backend: str
    address: str
    timeout: float
    rules: TimingRules
    repetitions: int
    rails: tuple[str, ...] = ()
    name: str = ""
    ports: tuple[int, ...] = ()


def own_part(case: Case, rank: int) -> Case:
    """The case as this rank needs it: of a case of pairs, its own pair alone.

    A pair needs no communicator of its own, so that nobody has to know of the others'; with 512 ranks they
    would be nearly all that the orders of a rails phase hold. Other groups everybody opens together.
    """
    if not case.collective.startswith("p2p") or any(len(group) != 2 for group in case.groups):
        return case
    return replace(case, groups=tuple(group for group in case.groups if rank in group))


def numbered(case: Case, place: Mapping[int, int]) -> Case:
    """The case with its ranks counted as the workers are: without gaps, although nodes may have been set aside."""
    return replace(case, groups=tuple(tuple(place[rank] for rank in group) for group in case.groups))


@dataclass
class Progress:
    """The progress of this worker; the main thread writes it, the heartbeat thread reads it."""

    case: str = ""
    stage: str = "starting"
    calls: int = 0


MOST_SAID = 300  # characters of an exception


def first_line(error: Exception) -> str:
    """The first line that an exception says, of a long one the sentences within 300 characters; its type without any.

    Behind ``Last error:`` torch writes what NCCL itself says, which comes first.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "Last error:" in lines[:-1]:
        lines[0] = f"{lines[lines.index('Last error:') + 1]}; {lines[0]}"
    if not lines:
        return type(error).__name__
    cut = lines[0][:MOST_SAID]
    return cut if cut == lines[0] else cut[: cut.rfind(". ") + 1] or cut
