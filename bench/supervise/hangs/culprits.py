"""Who holds the others up, by what every supervisor reported of its worker and its rails. Pure.

A rank is named by its node, with all ranks of that node that are meant: ``n2 (ranks 8-15)``. Beside it stands the
evidence: the call that it never entered, its rails' bytes, its last heartbeat.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence

from bench.measure.work_order import HEARTBEAT_SECONDS
from bench.model.late_dataclass import dataclass, field
from bench.model.printable import ranges

QUIET = 5 * HEARTBEAT_SECONDS  # without one, after which a process counts as silent
FLAT = 5.0  # s without bytes after which a rail is called flat
# in the order in which a worker goes through them within a case
STAGES = ("starting", "importing", "joining", "meeting", "connecting", "allocating", "checking", "capturing")
LATER = ("timing", "sharing", "leaving")
# words in an error that echoes the death of a peer
ECHOES = ("connection reset", "connection closed", "broken pipe", "timed out", "remote", "recvvalue failed")
# words in an error that a rail without a link can cause
LINK_ERRORS = (*ECHOES, "no route", "unreachable", "connect", "ibv_", "unhandled system error")
SHOWN = 8  # nodes that are named


@dataclass(frozen=True)
class RailState:
    """A rail of a rank: seconds since its bytes last moved, and whether its link is up (None: not known)."""

    flat: float
    up: bool | None = None


@dataclass(frozen=True)
class Position:
    """Where a rank is in its phase, as rank 0 knows it.

    silent      seconds since its supervisor last sent anything
    age         seconds since its worker's own last heartbeat; None: it never had one
    order       number of its case in the phase; -1 before the first
    collective  of the case, "" before the first
    words       why its worker ended, as it printed it
    state       of the worker's process in the kernel's letters: T stopped, Z dead; "" not known
    rails       rail -> what its counters show
    """

    rank: int
    node: str
    joined: bool = False
    stage: str = "starting"
    collective: str = ""
    order: int = -1
    calls: int = 0
    group: tuple[int, ...] = ()
    silent: float = 0.0
    age: float | None = None
    ended: bool = False
    status: int | None = None
    error: str = ""
    words: str = ""
    state: str = ""
    rails: Mapping[str, RailState] = field(default_factory=dict)

    @property
    def broken(self) -> bool:
        return bool(self.error) or (self.ended and self.status != 0)

    def well(self, limit: float) -> bool:
        """Whether its worker runs and sends heartbeats, or ended as it should."""
        heard = self.silent < limit and self.age is not None and self.age < limit
        return not self.broken and (self.ended or heard)

    @property
    def text(self) -> str:
        """``in all_gather, timing, call 6``."""
        if not self.joined:
            return f"before it joined ({self.stage})"
        if not self.collective:
            return f"in {self.stage}"
        return f"in {self.collective}, {self.stage}" + (f", call {self.calls}" if self.calls else "")

    @property
    def progress(self) -> tuple[int, int, int]:
        """What orders ranks by how far they are."""
        first = self.stage.split()[0] if self.stage else ""
        known = (*STAGES, *LATER)
        stage = known.index(first) if first in known else 0
        if first in ("starting", "importing", "joining"):
            return -1, stage, 0
        return self.order if first != "leaving" else 1 << 30, stage, self.calls


@dataclass(frozen=True)
class Culprits:
    """A sentence, and whom it is about: ``n2 (ranks 4-5)``; "" where nobody is named. ``ranks`` of those who left.

    ``died``: a process was ended from outside, which says nothing of what was being measured.
    """

    reason: str
    names: str
    ranks: tuple[int, ...] = ()
    died: bool = False


def name_ranks(ranks: Sequence[Position]) -> str:
    """``n1 (rank 3), n2 (ranks 4-5)``."""
    nodes: dict[str, list[int]] = {}
    for each in sorted(ranks, key=lambda position: position.rank):
        nodes.setdefault(each.node, []).append(each.rank)
    shown = [f"{node} (rank{'s' * (len(own) > 1)} {ranges(own)})" for node, own in nodes.items()]
    more = [f"{len(shown) - SHOWN} more nodes"] * (len(shown) > SHOWN)
    return ", ".join([*shown[:SHOWN], *more])


def nodes_in(names: str) -> tuple[str, ...]:
    """The nodes in what ``name_ranks`` and those who join its names made."""
    return tuple(dict.fromkeys(re.findall(r"(?:^|, | and )(\S+) \(ranks? ", names)))


def silent(positions: Sequence[Position]) -> list[Position]:
    """Ranks whose supervisor sends nothing: the node is frozen, dead or cut off, or the process is gone."""
    return [each for each in positions if each.silent > QUIET]


def unreachable(ranks: Sequence[Position]) -> str:
    """The sentence on ranks that could not be told to end their workers."""
    return (
        f"{name_ranks(ranks)} does not answer: {last_seen(ranks)}; it could not be told to end its processes, which may"
        " still be there"
    )


def last_seen(ranks: Sequence[Position]) -> str:
    """``last heartbeat 17.2 s ago, in p2p, timing, call 3; eth1 bytes flat for 17.0 s`` of ranks that left."""
    age, at = max(each.silent for each in ranks), max(ranks, key=lambda each: each.progress)
    return f"last heartbeat {age:.1f} s ago, {at.text}{_bytes(ranks)}"


def of_failure(positions: Sequence[Position]) -> Culprits | None:
    """Who failed first where workers ended badly or raised; None where none did."""
    broken = [each for each in positions if each.broken]
    if not broken:
        return None
    killed = [each for each in broken if (each.status or 0) < 0 and not each.error]
    own = [each for each in broken if each.error and not _has(each.error, ECHOES)]
    silently = [each for each in broken if not each.error]
    first = (killed or own or silently or broken)[0]
    died = bool(killed)
    unplugged = _without_link(positions)
    if unplugged and not died and _has(first.error, LINK_ERRORS):
        return Culprits(f"{_down(unplugged)}; {_failure(first)}", name_ranks(unplugged))
    return Culprits(_failure(first), name_ranks([first]), died=died)


def _has(text: str, words: Sequence[str]) -> bool:
    return any(word in text.lower() for word in words)


def _without_link(positions: Sequence[Position]) -> list[Position]:
    """Ranks of nodes with a rail that has no link, where other nodes have all of theirs."""
    bad = [each for each in positions if any(rail.up is False for rail in each.rails.values())]
    return [] if {each.node for each in bad} == {each.node for each in positions} else bad


def _failure(first: Position) -> str:
    who = name_ranks([first])
    if first.error:
        return f"{who}: its worker failed {first.text}: {first.error}"
    if (first.status or 0) < 0:
        number = -(first.status or 0)
        known = number in {each.value for each in signal.Signals}
        text = signal.Signals(number).name if known else f"signal {number}"
        why = ", as by the kernel when memory runs out" if text == "SIGKILL" else ""
        said = f": {first.words}" if text == "SIGABRT" and first.words else ""  # by itself, and it said why
        return f"{who}: its worker was killed by {text}{why}, {first.text}{said}"
    words = first.words or "it printed nothing"
    return f"{who}: its worker ended with status {first.status}, {first.text}: {words}"


def of_hang(positions: Sequence[Position], limit: float) -> Culprits:
    """Who holds the others up when nothing has moved for ``limit`` seconds."""
    running = [each for each in positions if not each.ended]
    for find in (_silent, _still, _unplugged, _late, _behind):
        found = find(running)
        if found:
            return Culprits(f"no progress for {limit:.0f} s: {found.reason}", found.names)
    where = ", ".join(sorted({each.text for each in running})) or "nowhere"
    return Culprits(f"no progress for {limit:.0f} s: all are {where}, and none came out{_bytes(running)}", "")


def _silent(running: Sequence[Position]) -> Culprits | None:
    """Supervisors that send nothing. If all do it is rank 0 that hears nothing."""
    mute = silent(running)
    if not mute or len(mute) == len(running):
        return None
    who, age = name_ranks(mute), max(each.silent for each in mute)
    text = f"its supervisor is silent too: last heartbeat {age:.1f} s ago"
    return Culprits(f"{who} {_never_entered(mute, running)}; {text}", who)


def _still(running: Sequence[Position]) -> Culprits | None:
    """Workers without heartbeats whose supervisors send theirs: stopped, or starved."""
    still = [each for each in running if each.age is not None and each.age > QUIET]
    if not still:
        return None
    age = max(each.age or 0.0 for each in still)
    known = {"T": "is stopped (SIGSTOP)", "Z": "is dead", "D": "waits in the kernel"}
    states = {each.state for each in still}
    state = known.get(states.pop()) if len(states) == 1 else None
    who, process = name_ranks(still), f"; its process {state}" if state else ""
    text = f"{who} {_never_entered(still, running)}{_bytes(still)}; last heartbeat {age:.1f} s ago{process}"
    return Culprits(text, who)


def _unplugged(running: Sequence[Position]) -> Culprits | None:
    """Nodes with a rail that has no link, while all others are in the same call and wait."""
    bad = _without_link(running)
    if not bad:
        return None
    where = bad[0].text.removeprefix("in ")
    return Culprits(f"{_down(running)}{_bytes(bad)}; all wait in {where}", name_ranks(bad))


def _down(positions: Sequence[Position]) -> str:
    down = {(each.node, name) for each in positions for name, rail in each.rails.items() if rail.up is False}
    return ", ".join(f"{node} {rail} has no link" for node, rail in sorted(down))


def _late(running: Sequence[Position]) -> Culprits | None:
    """Ranks that have not joined, while others have."""
    out = [each for each in running if not each.joined]
    if not out:
        return None
    stages = ", ".join(sorted({each.stage for each in out}))
    return Culprits(f"{name_ranks(out)} did not join (in {stages}){_bytes(out)}", name_ranks(out))


def _behind(running: Sequence[Position]) -> Culprits | None:
    """Ranks that others wait for: further back in the phase than the rest."""
    least = min((each.progress for each in running), default=None)
    back = [each for each in running if each.progress == least]
    if len(back) == len(running):
        return None
    who, members = name_ranks(back), set(back[0].group)
    if len(members) > 1 and {each.rank for each in back} >= members:
        nodes = sorted({each.node for each in back})
        text = f"{who} are {back[0].text} together, and it does not end{_bytes(back)}; others wait for them"
        return Culprits(text, who if len(nodes) == 1 else " and ".join(nodes))
    ages = [each.age for each in back if each.age is not None]
    beat = f"last heartbeat {max(ages):.1f} s ago" if ages else "it never had a heartbeat"
    return Culprits(f"{who} {_never_entered(back, running)}{_bytes(back)}; {beat}", who)


def _never_entered(back: Sequence[Position], running: Sequence[Position]) -> str:
    """``never entered all_gather call 6``; or where it was last seen, when the others are elsewhere."""
    others = [each for each in running if each not in back]
    ahead = max(others, key=lambda each: each.progress, default=None)
    here = max(back, key=lambda each: each.progress)
    if ahead is None or ahead.progress <= here.progress:
        return f"was last seen {here.text}"
    if ahead.order == here.order and ahead.stage == here.stage:
        return f"never entered {ahead.collective} call {here.calls + 1} ({ahead.stage}); the others are {ahead.text}"
    return f"was last seen {here.text}; the others wait {ahead.text}"


def _bytes(positions: Sequence[Position]) -> str:
    """``; eth3 bytes flat``: the rails of these ranks on which nothing moves."""
    idle: dict[str, float] = {}
    for each in positions:
        for name, rail in each.rails.items():
            idle[name] = min(rail.flat, idle.get(name, rail.flat))
    flat = {name: seconds for name, seconds in sorted(idle.items()) if seconds >= FLAT}
    if not flat:
        return f"; bytes still move on {', '.join(sorted(idle))}" if idle else ""
    return f"; {', '.join(flat)} bytes flat for {min(flat.values()):.1f} s"
