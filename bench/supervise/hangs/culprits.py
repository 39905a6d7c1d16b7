"""Who holds the others up, by what every supervisor told of its worker and its rails. Pure.

A rank is named by its node, with all ranks of that node that are meant: ``n2 (ranks 8-15)``. What is said
of it stands beside it: the call that it never entered, its rails' bytes, its last heartbeat.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.measure.work_order import HEARTBEAT_SECONDS

QUIET = 5 * HEARTBEAT_SECONDS  # without one, after which a process counts as silent
FLAT = 5.0  # s without bytes after which a rail is called flat
# in the order in which a worker goes through them within a case
STAGES = ("starting", "importing", "joining", "meeting", "connecting", "allocating", "checking", "capturing")
LATER = ("timing", "sharing", "leaving")
ECHOES = ("connection reset", "connection closed", "broken pipe", "timed out", "remote", "recvvalue failed")
WAYS = (
    *ECHOES,
    "no route",
    "unreachable",
    "connect",
    "ibv_",
    "unhandled system error",
)  # said of a link, too
SHOWN = 8  # culprits that are told by name


@dataclass(frozen=True)
class Link:
    """A rail of a rank: seconds since its bytes last moved, and whether its link is up (None: not known)."""

    flat: float
    up: bool | None = None


@dataclass(frozen=True)
class Place:
    """Where a rank stands, as rank 0 knows it.

    silent  seconds since its supervisor last spoke
    age     seconds since its worker's own last heartbeat; None: it never had one
    order   number of its case in the phase; -1 before the first
    what    the case's collective, "" before the first
    state   of the worker's process in the kernel's letters: T stopped, Z dead; "" not known
    links   rail -> what its counters say
    """

    rank: int
    node: str
    joined: bool = False
    stage: str = "starting"
    what: str = ""
    order: int = -1
    calls: int = 0
    group: tuple[int, ...] = ()
    silent: float = 0.0
    age: float | None = None
    ended: bool = False
    status: int | None = None
    error: str = ""
    tail: str = ""
    state: str = ""
    links: Mapping[str, Link] = field(default_factory=dict)

    def well(self, limit: float) -> bool:
        """Whether its worker is there and its heart beats, or it ended as it should."""
        if self.error or (self.ended and self.status != 0):
            return False
        return self.ended or (self.silent < limit and self.age is not None and self.age < limit)


@dataclass(frozen=True)
class Culprits:
    """A sentence, and who it is about: ``n2 (ranks 4-5)``; "" where it cannot be told. ``ranks`` of those who left.

    ``died``: a process was ended from outside, which says nothing of what was being measured.
    """

    reason: str
    names: str
    ranks: tuple[int, ...] = ()
    died: bool = False


def names(ranks: Sequence[Place]) -> str:
    """``n1 (rank 3), n2 (ranks 4-5)``."""
    nodes: dict[str, list[int]] = {}
    for each in sorted(ranks, key=lambda place: place.rank):
        nodes.setdefault(each.node, []).append(each.rank)
    told = [f"{node} (rank{'s' * (len(own) > 1)} {_ranges(own)})" for node, own in nodes.items()]
    more = [f"{len(told) - SHOWN} more nodes"] * (len(told) > SHOWN)
    return ", ".join([*told[:SHOWN], *more])


def _ranges(numbers: Sequence[int]) -> str:
    """``4-5, 7`` of 4, 5, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)


def silent(places: Sequence[Place]) -> list[Place]:
    """Ranks whose supervisor says nothing: the node is frozen, dead or cut off, or the process is gone."""
    return [place for place in places if place.silent > QUIET]


def unreachable(out: Sequence[Place]) -> str:
    """The sentence on ranks that could not be told to end their workers."""
    return (
        f"{names(out)} does not answer: {last_seen(out)}; it could not be told to end its processes, which may still be"
        " there"
    )


def last_seen(out: Sequence[Place]) -> str:
    """``last heartbeat 17.2 s ago, in p2p, timing, call 3; eth1 bytes flat for 17.0 s`` of ranks that left."""
    age, at = max(place.silent for place in out), max(out, key=_progress)
    return f"last heartbeat {age:.1f} s ago, {_in(at)}{_bytes(out)}"


def broke(places: Sequence[Place]) -> Culprits | None:
    """Who failed first where workers ended badly or raised; None where none did."""
    bad = [place for place in places if place.error or (place.ended and place.status != 0)]
    if not bad:
        return None
    killed = [place for place in bad if (place.status or 0) < 0 and not place.error]
    own = [place for place in bad if place.error and not _echo(place.error)]
    unsaid = [place for place in bad if not place.error]
    first = (killed or own or unsaid or bad)[0]
    unplugged = _without_link(places)
    if unplugged and not killed and _of(first.error, WAYS):
        return Culprits(f"{_down(unplugged)}; {_broken(first)}", names(unplugged))
    return Culprits(_broken(first), names([first]), died=first in killed)


def _echo(text: str) -> bool:
    """Whether an error is the echo of a peer's death rather than its cause."""
    return _of(text, ECHOES)


def _of(text: str, words: Sequence[str]) -> bool:
    return any(word in text.lower() for word in words)


def _without_link(places: Sequence[Place]) -> list[Place]:
    """Ranks of nodes with a rail that has no link, where other nodes have all of theirs."""
    bad = [place for place in places if any(link.up is False for link in place.links.values())]
    return [] if {place.node for place in bad} == {place.node for place in places} else bad


def _broken(place: Place) -> str:
    who = names([place])
    if place.error:
        return f"{who}: its worker failed {_in(place)}: {place.error}"
    if (place.status or 0) < 0:
        number = -(place.status or 0)
        known = number in {each.value for each in signal.Signals}
        text = signal.Signals(number).name if known else f"signal {number}"
        why = ", as by the kernel when memory runs out" if text == "SIGKILL" else ""
        return f"{who}: its worker was killed by {text}{why}, {_in(place)}"
    last = place.tail.strip().splitlines()[-1:] or ["it printed nothing"]
    return f"{who}: its worker ended with status {place.status}, {_in(place)}: {last[0][:300]}"


def _in(place: Place) -> str:
    if not place.joined:
        return f"before it joined ({place.stage})"
    if not place.what:
        return f"in {place.stage}"
    return f"in {place.what}, {place.stage}" + (f", call {place.calls}" if place.calls else "")


def hung(places: Sequence[Place], limit: float) -> Culprits:
    """Who holds the others up when nothing has moved for ``limit`` seconds."""
    running = [place for place in places if not place.ended]
    for find in (_silent, _still, _unplugged, _late, _behind):
        found = find(running)
        if found:
            return Culprits(f"no progress for {limit:.0f} s: {found.reason}", found.names)
    where = ", ".join(sorted({_in(place) for place in running})) or "nowhere"
    return Culprits(f"no progress for {limit:.0f} s: all are {where}, and none came out{_bytes(running)}", "")


def _silent(running: Sequence[Place]) -> Culprits | None:
    """Supervisors that say nothing. If all do it is rank 0 that hears nothing."""
    gone = silent(running)
    if not gone or len(gone) == len(running):
        return None
    age = max(place.silent for place in gone)
    return Culprits(
        f"{names(gone)} {_never(gone, running)}; not a word from its supervisor either: last heartbeat {age:.1f} s ago",
        names(gone),
    )


def _still(running: Sequence[Place]) -> Culprits | None:
    """Workers that do not beat while their supervisors do: stopped, or starved."""
    dumb = [place for place in running if place.age is not None and place.age > QUIET]
    if not dumb:
        return None
    age = max(place.age or 0.0 for place in dumb)
    how = {"T": "is stopped (SIGSTOP)", "Z": "is dead", "D": "waits in the kernel"}
    states = {place.state for place in dumb}
    state = how.get(states.pop()) if len(states) == 1 else None
    told = f"; its process {state}" if state else ""
    return Culprits(
        f"{names(dumb)} {_never(dumb, running)}{_bytes(dumb)}; last heartbeat {age:.1f} s ago{told}",
        names(dumb),
    )


def _unplugged(running: Sequence[Place]) -> Culprits | None:
    """Nodes with a rail that has no link, while all others stand in the same call and wait."""
    bad = _without_link(running)
    if not bad:
        return None
    return Culprits(
        f"{_down(running)}{_bytes(bad)}; all wait in {_in(bad[0]).removeprefix('in ')}", names(bad)
    )


def _down(places: Sequence[Place]) -> str:
    down = {(place.node, rail) for place in places for rail, link in place.links.items() if link.up is False}
    found = [f"{node} {rail} has no link" for node, rail in sorted(down)]
    return ", ".join(found)


def _late(running: Sequence[Place]) -> Culprits | None:
    """Ranks that have not joined, while others have."""
    out = [place for place in running if not place.joined]
    if not out:
        return None
    stages = ", ".join(sorted({place.stage for place in out}))
    return Culprits(f"{names(out)} did not join (in {stages}){_bytes(out)}", names(out))


def _behind(running: Sequence[Place]) -> Culprits | None:
    """Ranks that others wait for: further back in the phase than the rest."""
    if not running:
        return None
    least = min(map(_progress, running))
    back = [place for place in running if _progress(place) == least]
    if len(back) == len(running):
        return None
    members = set(back[0].group)
    if len(members) > 1 and {place.rank for place in back} >= members:
        ends = " and ".join(sorted({place.node for place in back}))
        return Culprits(
            f"{names(back)} are {_in(back[0])} together, and it does not end{_bytes(back)}; others wait for them",
            names(back) if len({place.node for place in back}) == 1 else ends,
        )
    return Culprits(f"{names(back)} {_never(back, running)}{_bytes(back)}{_beat(back)}", names(back))


def _beat(places: Sequence[Place]) -> str:
    ages = [place.age for place in places if place.age is not None]
    return f"; last heartbeat {max(ages):.1f} s ago" if ages else "; it never had a heartbeat"


def _progress(place: Place) -> tuple[int, int, int]:
    first = place.stage.split()[0] if place.stage else ""
    known = (*STAGES, *LATER)
    stage = known.index(first) if first in known else 0
    if first in ("starting", "importing", "joining"):
        return -1, stage, 0
    return place.order if first != "leaving" else 1 << 30, stage, place.calls


def _never(back: Sequence[Place], running: Sequence[Place]) -> str:
    """``never entered all_gather call 6``; or where it was last seen, when the others are elsewhere."""
    others = [place for place in running if place not in back]
    ahead = max(others, key=_progress, default=None)
    here = max(back, key=_progress)
    if ahead is None or _progress(ahead) <= _progress(here):
        return f"was last seen {_in(here)}"
    if ahead.order == here.order and ahead.stage == here.stage:
        return (
            f"never entered {ahead.what} call {here.calls + 1} ({ahead.stage}); the others are {_in(ahead)}"
        )
    return f"was last seen {_in(here)}; the others wait {_in(ahead)}"


def _bytes(places: Sequence[Place]) -> str:
    """``; eth3 bytes flat``: of the rails of these ranks, those over which nothing moves."""
    rails = {rail for place in places for rail in place.links}
    flat = sorted(
        rail
        for rail in rails
        if all(place.links[rail].flat >= FLAT for place in places if rail in place.links)
    )
    if not flat:
        return f"; bytes still move on {', '.join(sorted(rails))}" if rails else ""
    age = min(place.links[rail].flat for place in places for rail in flat if rail in place.links)
    return f"; {', '.join(flat)} bytes flat for {age:.1f} s"
