"""The work order of a worker and its progress; supervisor, worker and backend share them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from bench.model.late_dataclass import dataclass
from bench.model.measurement import Case
from bench.model.typed_json import Count, Name

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
    cases      with templates in place of rounds; their groups are of the run's ranks
    present    stretches of the run's ranks that take part: the first, and how many; (): all, from 0
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
    present: tuple[tuple[Count, Count], ...] = ()

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """[rank] its number in the run: without those of nodes that were set aside, workers count without gaps."""
        spans = self.present or ((0, self.size),)
        return tuple(first + at for first, count in spans for at in range(count))

    @cached_property
    def _places(self) -> dict[int, int]:
        return {number: at for at, number in enumerate(self.numbers)}

    def placed(self, group: Iterable[int]) -> tuple[int, ...]:
        """A group of the run's ranks as its workers count."""
        return tuple(self._places[number] for number in group)


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
