"""What is measured and what was: a case, its measurement with wrong elements and skew, a window of counters, a rank.

All are frozen. Times are seconds, sizes bytes, rates bytes per second. The run folder is written from these
classes and read into them.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from .groups import Groups
from .late_dataclass import dataclass, field
from .timings import Blocks, Seconds
from .typed_json import MOST, Count, Duration, Name, Positive, Time
from .units import show_size


@dataclass(frozen=True)
class Case:
    """One thing to measure: a collective, a size and how, on every group of ranks at the same time.

    size        bytes as nccl-tests counts them, already rounded
    count       elements of one block (per rank for gather-like collectives)
    groups      lists of ranks, disjoint, or their rule; the ranks in none of them stand by
    dtype, op   element type; reduction, "none" where nothing is reduced
    root        rank of the group that sends or receives alone; -1 where there is none
    placement   "out" or "in" place
    algorithm   that NCCL is forced to use, or how it is called; "auto": as NCCL chooses
    rail        "" (as the backend chooses), "own" (every rank on the rail of its local rank) or a name
    """

    id: str
    phase: Name
    collective: str
    size: Count
    count: Count
    groups: Groups
    dtype: str = "float32"
    op: str = "none"
    root: Annotated[int, Meta(ge=-1)] = -1
    placement: str = "out"
    algorithm: str = "auto"
    rail: str = ""

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def words(self) -> str:
        """``all_reduce, 8 GiB, bfloat16, in place``."""
        place = "out of place" if self.placement == "out" else "in place"
        how = f", {self.algorithm}" if self.algorithm not in ("", "auto") else ""
        return f"{self.collective}, {show_size(self.size)}, {self.dtype}, {place}{how}"


@dataclass(frozen=True)
class Mismatch:
    """The first wrong element of a rank: what it got, what the truth is.

    ``repetition`` is the number of the call since the case began, from 0. None stands for a value that is not finite.
    """

    rank: Count
    index: Count
    repetition: Count
    got: float | None
    wanted: float | None


class Extra(Struct, frozen=True, omit_defaults=True):
    """Values that only some cases have; fields that are not set are not written.

    failed             why the case could not be measured; ``rail``, ``stage``: where a pair was then
    retransmits        [rank] TCP segments that were sent again during the case; None where the kernel does not say
    launch             [rank] seconds of host time that starting one call takes
    source             of an import: the tool; ``nccl``: its NCCL; ``printed_algbw``, ``printed_busbw``: bytes/s as it
                       printed them; ``complete``: whether its table came to its end; ``unverified``: why the tool
                       cannot verify its results
    gpu_memory         of perftest: whether the transfer went from GPU to GPU; ``facts``: its header; ``latency``: its
                       figures in seconds by name
    """

    failed: str = ""
    rail: str = ""
    stage: str = ""
    retransmits: tuple[Count | None, ...] = ()
    launch: tuple[float, ...] = ()
    source: str = ""
    nccl: str = ""
    printed_algbw: float | None = None
    printed_busbw: float | None = None
    complete: bool | None = None
    unverified: str = ""
    gpu_memory: bool | None = None
    facts: dict[str, str] = {}
    latency: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class RankSkew:
    """In how many isolated iterations the time of a rank, by its own clock, stood apart from the typical one.

    What that means, and from which difference on it counts: ``apart``.

    short      [rank] iterations in which it was shorter; ``short_by``: median seconds of these, 0 of none
    shortest   [rank] of these, in how many it was the shortest of all; ties by turns
    long       [rank] iterations in which it was longer; ``long_by``, ``longest``: the same
    """

    short: tuple[Count, ...]
    short_by: tuple[Duration, ...]
    shortest: tuple[Count, ...]
    long: tuple[Count, ...]
    long_by: tuple[Duration, ...]
    longest: tuple[Count, ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the clocks said of one case on one group of ranks.

    pipelined   [block][rank] seconds per call: calls back to back, one interval, divided by its calls
    calls       calls in each pipelined block
    isolated    [iteration] seconds of the rank whose own time was the longest; each iteration begins with a meeting
    wrong       [rank] wrong elements; None where the rank checked nothing (it receives nothing)
    checked     elements compared with the truth, over all ranks and repetitions
    stop        why measuring ended: "precision", "budget" or "count"
    width       relative width of the confidence interval of the isolated median when it stopped; None where there is
                none, as of a single call (earlier versions wrote -1: see ``precision``)
    verified    calls whose results were compared on every rank that receives, of ``made``; 0 in older journals
    apart       whose time stood apart; None on fewer than three ranks and in older journals. Those have ``last``,
                how often a rank's own time was the longest, which does not say who was waited for: it is not read
    """

    case: str
    ranks: tuple[Count, ...]
    pipelined: Blocks
    calls: Count
    isolated: Seconds
    wrong: tuple[Count | None, ...]
    checked: Count
    mismatches: tuple[Mismatch, ...]
    stop: str
    width: float | None
    warmup: Count
    started: Time = 0.0
    ended: Time = 0.0
    extra: Extra = field(default_factory=Extra)
    apart: RankSkew | None = None
    verified: int = 0
    made: int = 0

    @property
    def precision(self) -> float | None:
        """``width``, or None where there is none."""
        return self.width if self.width is not None and 0 <= self.width < 1e9 else None


@dataclass(frozen=True)
class Window:
    """A part of a steady load on one group.

    ended      seconds from the begin of the load to the end of this window
    seconds    [rank] median over the blocks of seconds per call
    slowest    seconds per call of the slowest block, on its slowest rank
    isolated   seconds of one call by itself, of the rank whose own time was the longest
    calls      calls in this window
    wrong      [rank] wrong elements of the call that was checked; None where a rank checked nothing
    checked    elements compared, over all ranks
    case       whose load it is, on which ``ranks``
    """

    ended: Positive
    seconds: tuple[Positive, ...]
    slowest: Positive
    isolated: Positive
    calls: Annotated[int, Meta(ge=1, le=MOST)]
    wrong: tuple[Count | None, ...]
    checked: Count
    case: str = ""
    ranks: tuple[Count, ...] = ()


@dataclass(frozen=True)
class Rank:
    """One process of the job and where it runs."""

    rank: Count
    node: str
    local_rank: Count
    device: str = "cpu"
