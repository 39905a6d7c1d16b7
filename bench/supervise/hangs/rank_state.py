"""The last messages of every rank in the running phase, and the positions that ``culprits`` derives blame from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.measure.flight_recorder import Flight
from bench.model.groups import group_of
from bench.model.late_dataclass import dataclass, field
from bench.model.measurement import Case, Rank
from bench.model.run_folder_lines import Joined, LastSeen
from bench.model.typed_json import load

from .culprits import Position, RailState

Message = dict[str, Any]
Cases = Mapping[str, tuple[int, Case]]  # by id: its number in the phase, the case


@dataclass
class RankState:
    """What the coordinator knows of one rank. ``last_heard`` and ``last_moved`` are on rank 0's monotonic clock."""

    beat: Message = field(default_factory=dict)
    last_heard: float = 0.0
    last_moved: float = 0.0
    ready: Message = field(default_factory=dict)
    failed: Message = field(default_factory=dict)
    status: int | None = None
    ended: bool = False
    health: Message = field(default_factory=dict)
    words: str = ""
    flight: Flight = field(default_factory=Flight)


def positions(
    states: Mapping[int, RankState],
    ranks: Mapping[int, Rank],
    cases: Cases,
    now: float,
    own: int = 0,
    excuse: Callable[[int], float] = lambda rank: 0.0,
) -> list[Position]:
    """``ranks``: by their numbers; ``own``: that of rank 0 itself, in a run that goes on without the first node;
    ``excuse``: for how many seconds the route to a rank is broken or silent.
    """
    return [_position(ranks[rank], state, cases, now, own, excuse(rank)) for rank, state in states.items()]


def _position(rank: Rank, state: RankState, cases: Cases, now: float, own: int, excused: float) -> Position:
    """Ages of what a supervisor reported grow while it is silent, but not while the route to it is.

    Rank 0 itself counts as heard at this moment: what it has not heard of itself, it was too busy to hear.
    """
    silent = 0.0 if rank.rank == own else max(0.0, now - state.last_heard - excused)
    beat, failed = state.beat, state.failed
    at, age = failed.get("at") or beat, beat.get("age")
    number, case = cases.get(str(at.get("case", "")), (-1, None))
    return Position(
        rank=rank.rank,
        node=rank.node,
        joined=bool(state.ready),
        stage=str(at.get("stage", "starting")),
        collective=case.collective if case else "",
        order=number,
        calls=int(at.get("calls", 0)),
        group=group_of(case.groups, rank.rank) if case else (),
        silent=silent,
        age=None if age is None else age + silent,
        ended=state.ended,
        status=state.status,
        error=f"{failed['error']}: {failed['text']}" if failed else "",
        words=state.words,
        state=str(beat.get("state", "")),
        rails={name: RailState(flat + silent, up) for name, (flat, up) in beat.get("links", {}).items()},
    )


def joined(phase: str, states: Mapping[int, RankState], known: Mapping[int, object]) -> Joined | None:
    """What the workers reported when they were ready: versions, and the slowest of each step of starting.

    Which GPU each rank has is told once, and again where it is another than the one that is ``known``.
    """
    ready = {rank: state.ready for rank, state in states.items() if state.ready}
    if not ready:
        return None
    said = list(ready.values())
    seconds = {name: max(each["seconds"].get(name, 0.0) for each in said) for name in _names(said, "seconds")}
    versions = {
        name: sorted({each["versions"].get(name, "") for each in said}) for name in _names(said, "versions")
    }
    new = {
        str(rank): each["gpu"]
        for rank, each in ready.items()
        if each["gpu"] and known.get(rank) != each["gpu"]
    }
    steps = {"seconds": seconds, "versions": versions, "gpus": new}
    return load(Joined, {"phase": phase, "ranks": len(ready), **steps})


def _names(said: Sequence[Message], key: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in said for name in each[key]))


def flight_of(message: Message) -> Flight:
    """A rank's flight recorder, as its worker sent it."""
    return load(Flight, message)


def record(found: Sequence[Position]) -> tuple[LastSeen, ...]:
    """Where every rank was last seen, for the journal; seconds."""
    return tuple(
        LastSeen(
            each.rank,
            each.stage,
            each.order,
            each.calls,
            None if each.age is None else round(each.age, 2),
            each.state,
            {name: (round(rail.flat, 1), rail.up) for name, rail in each.rails.items()},
        )
        for each in found
    )


def heartbeats(found: Sequence[Position]) -> str:
    """``n0 0.0 s, n2 8.1 s ago``: when the supervisors of each node were last heard; "" of no ranks."""
    ages: dict[str, float] = {}
    for each in found:
        ages[each.node] = max(ages.get(each.node, 0.0), each.silent)
    text = ", ".join(f"{node} {age:.1f} s" for node, age in ages.items())
    return f"{text} ago" if text else ""
