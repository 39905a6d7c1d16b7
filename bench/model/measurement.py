"""The nouns: what is measured, what was measured, and what was judged.

All are frozen. Times are seconds, sizes bytes, rates bytes per second. ``to_json`` and ``from_json``
are each other's inverse; the run folder holds nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .timings import Blocks, Seconds


@dataclass(frozen=True)
class Case:
    """One thing to measure: a collective, a size and how, on every group of ranks at the same time.

    ``size`` is bytes as nccl-tests counts them, already rounded; ``count`` is the elements of one block
    (per rank for gather-like collectives). ``groups`` are disjoint; the ranks in none of them stand by.
    ``rail`` is "" (as the backend chooses), "own" (every rank on the rail of its local rank) or a name.
    """

    id: str
    phase: str
    collective: str
    size: int
    count: int
    groups: tuple[tuple[int, ...], ...]
    dtype: str = "float32"
    op: str = "none"
    root: int = -1
    placement: str = "out"
    algorithm: str = "auto"
    rail: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(row: dict[str, Any]) -> Case:
        return Case(**{**row, "groups": tuple(tuple(group) for group in row["groups"])})


@dataclass(frozen=True)
class Mismatch:
    """The first wrong element of a rank: what it got, what the truth is.

    ``repetition`` is the number of the call since the case began, from 0.
    """

    rank: int
    index: int
    repetition: int
    got: float
    wanted: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Apart:
    """In how many isolated iterations the time of a rank, by its own clock, stood apart from the typical one.

    What that means, and from which difference on it counts: ``apart``.

    short      [rank] iterations in which it was shorter; ``short_by``: median seconds of these, 0 of none
    shortest   [rank] of these, in how many it was the shortest of all; ties by turns
    long       [rank] iterations in which it was longer; ``long_by``, ``longest``: the same
    """

    short: tuple[int, ...]
    short_by: tuple[float, ...]
    shortest: tuple[int, ...]
    long: tuple[int, ...]
    long_by: tuple[float, ...]
    longest: tuple[int, ...]

    @staticmethod
    def from_json(row: dict[str, Any]) -> Apart:
        return Apart(**{name: tuple(values) for name, values in row.items()})


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the clocks said of one case on one group of ranks.

    pipelined   [block][rank] seconds per call: calls back to back, one interval, divided by its calls
    calls       calls in each pipelined block
    isolated    [iteration] seconds of the rank whose own time was the longest; each iteration begins with a meeting
    wrong       [rank] wrong elements; None where the rank checked nothing (it receives nothing)
    checked     elements compared with the truth, over all ranks and repetitions
    stop        why measuring ended: "precision", "budget" or "count"
    width       relative width of the confidence interval of the isolated median when it stopped; -1 or infinite
                where it cannot be determined: ``sureness``
    verified    calls whose results were compared on every rank that receives, of ``made``; 0 in older journals
    apart       whose time stood apart; None on fewer than three ranks and in older journals. Those have ``last``,
                how often a rank's own time was the longest, which does not say who was waited for: it is not read
    """

    case: str
    ranks: tuple[int, ...]
    pipelined: Sequence[Sequence[float]]
    calls: int
    isolated: Sequence[float]
    wrong: tuple[int | None, ...]
    checked: int
    mismatches: tuple[Mismatch, ...]
    stop: str
    width: float
    warmup: int
    started: float = 0.0
    ended: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)
    apart: Apart | None = None
    verified: int = 0
    made: int = 0

    @property
    def sureness(self) -> float | None:
        """``width``; None where it cannot be determined, as of a single call."""
        return self.width if 0 <= self.width < 1e9 else None

    def to_json(self) -> dict[str, Any]:
        lists = {"pipelined": list(map(list, self.pipelined)), "isolated": list(self.isolated)}
        return {**asdict(replace(self, pipelined=(), isolated=())), **lists}

    @staticmethod
    def from_json(row: dict[str, Any]) -> Measurement:
        apart = row.get("apart")
        return Measurement(
            **{
                **_without_last(row),
                "ranks": tuple(row["ranks"]),
                "pipelined": Blocks(row["pipelined"]),
                "isolated": Seconds(row["isolated"]),
                "wrong": tuple(row["wrong"]),
                "mismatches": tuple([Mismatch(**item) for item in row["mismatches"]]),
                "apart": Apart.from_json(apart) if apart else None,
            }
        )


def _without_last(row: dict[str, Any]) -> dict[str, Any]:
    """Journals before this version say whose own time was the longest: of the rank that came first."""
    return {name: value for name, value in row.items() if name != "last"} if "last" in row else row


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

    ended: float
    seconds: tuple[float, ...]
    slowest: float
    isolated: float
    calls: int
    wrong: tuple[int | None, ...]
    checked: int
    case: str = ""
    ranks: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(row: dict[str, Any]) -> Window:
        lists = {name: tuple(row[name]) for name in ("seconds", "wrong", "ranks")}
        return Window(**{**_without_last(row), **lists})


@dataclass(frozen=True)
class Rank:
    """One process of the job and where it runs."""

    rank: int
    node: str
    local_rank: int
    device: str = "cpu"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
