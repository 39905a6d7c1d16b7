"""What rank 0 knows of every rank in the running phase, and from it the places that ``who`` reasons about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.measure.flight_recorder import Entry, Flight
from bench.model.measurement import Case, Rank
from bench.supervise.hangs.culprits import Link, Place

Said = dict[str, Any]
Cases = Mapping[str, tuple[int, Case]]  # by id: its number in the phase, the case


@dataclass
class Seen:
    """What the coordinator knows of one rank. ``heard`` and ``moved`` are of its own monotonic clock."""

    beat: Said = field(default_factory=dict)
    heard: float = 0.0
    moved: float = 0.0
    ready: Said = field(default_factory=dict)
    failed: Said = field(default_factory=dict)
    status: int | None = None
    ended: bool = False
    tail: str = ""
    flight: Flight = field(default_factory=Flight)


def places(seen: Mapping[int, Seen], ranks: Sequence[Rank], cases: Cases, now: float) -> list[Place]:
    return [_place(ranks[rank], state, cases, now) for rank, state in seen.items()]


def _place(rank: Rank, state: Seen, cases: Cases, now: float) -> Place:
    """What is known of a rank; ages of what its supervisor told grow while it is silent.

    Rank 0 is the listener: what it has not heard of itself, it was too busy to hear.
    """
    beat, mute = state.beat, 0.0 if rank.rank == 0 else max(0.0, now - state.heard)
    at, age = state.failed.get("at") or beat, beat.get("age")
    number, case = cases.get(str(at.get("case", "")), (-1, None))
    return Place(
        rank=rank.rank,
        node=rank.node,
        joined=bool(state.ready),
        stage=str(at.get("stage", "starting")),
        what=case.collective if case else "",
        order=number,
        calls=int(at.get("calls", 0)),
        group=next((group for group in case.groups if rank.rank in group), ()) if case else (),
        silent=mute,
        age=None if age is None else age + mute,
        ended=state.ended,
        status=state.status,
        error=f"{state.failed['error']}: {state.failed['text']}" if state.failed else "",
        tail=state.tail,
        state=str(beat.get("state", "")),
        links={name: Link(flat + mute, up) for name, (flat, up) in beat.get("links", {}).items()},
    )


def flown(heard: Said) -> Flight:
    """A rank's flight recorder as its worker told it."""
    last, waiting = (tuple(Entry(**row) for row in heard[key]) for key in ("last", "open"))
    return Flight(last, open=waiting)


def record(found: Sequence[Place]) -> list[Said]:
    """Where every rank was last seen, for the journal; seconds."""
    return [
        {
            "rank": each.rank,
            "stage": each.stage,
            "order": each.order,
            "calls": each.calls,
            "heartbeat": None if each.age is None else round(each.age, 2),
            "state": each.state,
            "links": {name: [round(link.flat, 1), link.up] for name, link in each.links.items()},
        }
        for each in found
    ]


def heartbeats(found: Sequence[Place]) -> str:
    """``n0 0.0 s, n2 8.1 s ago``: when the supervisors of each node were last heard; "" of no ranks."""
    ages: dict[str, float] = {}
    for each in found:
        ages[each.node] = max(ages.get(each.node, 0.0), each.silent)
    told = ", ".join(f"{node} {age:.1f} s" for node, age in ages.items())
    return f"{told} ago" if told else ""
