"""The work order of a worker and its progress; supervisor, worker and backend share them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


def own_parts(cases: Sequence[Case], size: int) -> Iterator[tuple[Case, ...]]:
    """The cases as each of ``size`` ranks needs them, one rank after the other: of pairs, its own alone.

    A pair needs no communicator of its own, so that nobody has to know of the others'; with 512 ranks they
    would be nearly all that the orders of a rails phase hold. Other groups everybody opens together.
    """
    pairs = [_pair_of_rank(case, size) for case in cases]
    for rank in range(size):
        yield tuple(
            replace(case, groups=own[rank]) if own else case for case, own in zip(cases, pairs, strict=True)
        )


def _pair_of_rank(case: Case, size: int) -> list[tuple[tuple[int, ...], ...]]:
    """[rank] its pair alone, () where it has none; empty where the case is not of pairs.

    Every pair is looked at once: a search for each rank would take the ranks times the pairs.
    """
    if not case.collective.startswith("p2p") or any(len(group) != 2 for group in case.groups):
        return []
    own: list[tuple[tuple[int, ...], ...]] = [()] * size
    for group in case.groups:
        own[group[0]] = own[group[1]] = (group,)
    return own


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
