"""Supervisors that leave before they are dismissed: why they do, how rank 0 hears of it, and who is to blame.

When one process of a job dies its launcher ends the others within a second, so many leave at about the same time.
A supervisor that leaves without a last message was killed; one that was told to end only follows.

A launcher's process that is killed takes nobody with it by itself: torchrun's and MPICH's leave their ranks running,
Open MPI's ranks live on for about a second. So each supervisor watches the process that started it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from bench.launch.table import PARENTS
from bench.model.late_dataclass import dataclass, field, replace

from .control.message_frames import Message
from .control.tcp import FOLLOWED, Control
from .hangs.culprits import Culprits, Position, last_seen, name_ranks
from .limits import SHORTEST

GATHER = 0.4  # s from the first sign on, in which the others' last messages arrive
HURRY = 0.05  # the same where time is short, and once it is known who was killed
# the same where rank 0 outlives its launcher, which ends all others too: until they have left, but at most so long
PATIENCE = 5.0
FAREWELL_SECONDS = 0.3  # for the last message to leave
FAILED, CUT, ORPHANED, SIGNALLED = "failed", "cut off", "orphaned", "told to end"


@dataclass(frozen=True)
class ParentLauncher:
    """The process that started this one, where it is a launcher's; ``name`` is "" where it is not."""

    pid: int = 0
    name: str = ""

    def ended(self) -> bool:
        return bool(self.name) and os.getppid() != self.pid

    @property
    def text(self) -> str:
        return f"{self.name} (process {self.pid})"


def parent_launcher(ours: bool, root: Path = Path("/proc")) -> ParentLauncher:
    """``ours``: a process of RailGauge's own stands for the node and started this one.

    A shell or a script in between may end at any time, so it is not watched.
    """
    pid = os.getppid()
    try:
        name = (root / str(pid) / "comm").read_text(errors="replace").strip()
        words = (root / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ParentLauncher(pid)
    known = [each for each in (name, *(Path(word).name for word in words[:4])) if each in PARENTS]
    return ParentLauncher(pid, known[0] if known else "the node's process" if ours else "")


def send_farewell(control: Control, how: str, text: str) -> None:
    """The last message of this rank to rank 0."""
    control.send(0, {"said": "farewell", "how": how, "text": text})
    control.flush(FAREWELL_SECONDS)


@dataclass(frozen=True)
class Departure:
    """How a rank's supervisor left; ``text`` says more.

    how   FAILED: by an error of its own; CUT: its connection was closed without a last message; ORPHANED: the
          launcher's process that started it has ended; SIGNALLED: it was told to end; FOLLOWED: the first rank of its
          node left, and with it the route to this one: nothing more is known of it, and nobody blames it
    late  after rank 0 was told to end: the launcher may have killed it, as it does with who is slow to end
    """

    rank: int
    node: str
    how: str
    text: str
    late: bool = False


@dataclass
class Departures:
    """The supervisors that have left, as rank 0 knows it.

    signalled  what told rank 0 to end, ``orphaned``: whose end left it alone; "" while nothing did
    departed   rank -> its first message about it, which counts: its connection closes after that one
    ignored    ranks of nodes that the run goes on without
    outlives   whether rank 0 would go on, or does, when its launcher kills it, which ends the whole job
    """

    signalled: Callable[[], str] = lambda: ""
    orphaned: Callable[[], str] = lambda: ""
    clock: Callable[[], float] = time.monotonic
    departed: dict[int, Departure] = field(default_factory=dict)
    ignored: set[int] = field(default_factory=set)
    outlives: Callable[[], bool] = lambda: False
    _since: float = 0.0  # the first sign, and the first of a supervisor that was killed
    _killed: float = 0.0

    def stop(self) -> str:
        """Why rank 0 is to end, "" while it is not."""
        return self.signalled() or self.orphaned()

    @property
    def missed(self) -> dict[int, Departure]:
        """The departed ranks that the run needs."""
        return {rank: each for rank, each in self.departed.items() if rank not in self.ignored}

    def ignore(self, ranks: Iterable[int]) -> None:
        """Go on without these ranks."""
        self.ignored.update(ranks)
        self._since = self._killed = 0.0

    def take(self, rank: int, node: str, message: Message) -> bool:
        """Record a supervisor that left; whether the message says so."""
        if message.get("said") not in ("lost", "farewell"):
            return False
        how = message.get("how")
        known = how if how in (FAILED, ORPHANED, SIGNALLED, FOLLOWED) else CUT
        late = bool(self._since and self.stop()) and self.clock() - self._since > HURRY
        departure = Departure(rank, node, known, str(message.get("text", "")), late)
        self.departed.setdefault(rank, departure)
        return True

    def over(self, nodes: Sequence[str]) -> Culprits | None:
        """Why the run cannot go on, and by whom, once all that can be known of it has arrived; else None."""
        ending, missed, now = self.stop(), self.missed, self.clock()
        if not ending and not missed:
            return None
        self._since = self._since or now
        if killers(missed.values()):
            self._killed = self._killed or now
            if now - self._killed < HURRY:
                return None
        elif now - self._since < self._patience(len(nodes) - 1):
            return None
        found = blamed(list(missed.values()), nodes, ending) or Culprits(ending, "")
        before = summary(missed) if ending else ""
        return replace(found, reason=f"{found.reason}; left before: {before}") if before else found

    def _patience(self, others: int) -> float:
        """Seconds from the first sign on, while nobody is known to have been killed; ``others``: ranks but rank 0."""
        if not self.outlives():
            return HURRY if self.signalled() else GATHER
        if 0 < others <= len(self.missed):
            return 0.0
        orphans = any(each.how == ORPHANED for each in self.missed.values())
        return GATHER if orphans and not self.stop() else PATIENCE


def killers(departed: Collection[Departure]) -> list[Departure]:
    """The departures that took the job down: supervisors that failed, else those killed before the job was ended.

    One that was killed late counts only if its whole node left without a word.
    """
    told = {each.node for each in departed if each.how == SIGNALLED}
    failed = [each for each in departed if each.how == FAILED]
    cut = [each for each in departed if each.how == CUT and not (each.late and each.node in told)]
    return failed or cut


def blamed(departed: Sequence[Departure], nodes: Iterable[str], ending: str = "") -> Culprits | None:
    """The departed ranks that took the job down; None where nobody left.

    nodes   all nodes of the job, rank 0's first
    ending  why rank 0 is to end itself, "" where it is not
    """
    if not departed:
        return None
    by = {how: [each for each in departed if each.how == how] for how in (ORPHANED, SIGNALLED)}
    if first := killers(departed):
        return _culprits(
            first, "its supervisor failed" if first[0].how == FAILED else "its supervisor is gone"
        )
    home, *others = dict.fromkeys(nodes) or [""]
    orphans = [each for each in by[ORPHANED] if each.node != home] if ending else by[ORPHANED]
    if orphans and not (ending and {each.node for each in orphans} >= set(others)):
        return _culprits(orphans, "the launcher's process above its supervisor is gone")
    if ending:
        return Culprits(ending, "")  # all follow the launcher, or the person, who ended rank 0 too
    return _culprits(by[SIGNALLED], "its supervisor left")


def _culprits(departed: Sequence[Departure], what: str) -> Culprits:
    who = name_ranks([Position(each.rank, each.node) for each in departed])
    texts = "; ".join(dict.fromkeys(each.text for each in departed))
    return Culprits(f"{who}: {what}: {texts}", who, tuple(each.rank for each in departed))


def with_last_heartbeat(found: Culprits, left: Sequence[Position], mute: Sequence[Position]) -> Culprits:
    """``found`` with the last heartbeat of the departed ranks and the silent ranks of their nodes: when a node dies,
    one connection breaks before the other.
    """
    nodes, ranks = {each.node for each in left}, {each.rank for each in left}
    out = [*left, *(each for each in mute if each.node in nodes and each.rank not in ranks)]
    who = name_ranks(out)
    return Culprits(f"{found.reason.replace(found.names, who, 1)}; {last_seen(out)}", who, found.ranks)


def summary(departed: Mapping[int, Departure]) -> str:
    """``n1 (ranks 2-3) told to end, n2 (ranks 4-5) orphaned``; "" where nobody left."""
    parts = []
    for how in (FAILED, CUT, ORPHANED, SIGNALLED, FOLLOWED):
        if found := [Position(each.rank, each.node) for each in departed.values() if each.how == how]:
            parts.append(f"{name_ranks(found)} {how}")
    return ", ".join(parts)


def dismiss(
    control: Control, limit: float, status: int, reason: str = "", departed: Collection[int] = ()
) -> bool:
    """Tell every supervisor to end and wait for the answers, at most ``limit`` s; whether all answered.

    ``status`` is the job's, ``reason`` why nothing was measured: a supervisor may be on a node whose launcher shows
    nothing of the others. Those that have ``departed`` are not waited for, and count as not answering.
    """
    waiting = set(control.peers) - set(departed)
    for rank in waiting:
        control.send(rank, {"do": "quit", "status": status, "reason": reason})
    deadline = time.monotonic() + limit
    while waiting and time.monotonic() < deadline:
        messages = control.receive()
        waiting -= {
            source for source, message in messages if message.get("said") in ("bye", "lost", "farewell")
        }
        time.sleep(SHORTEST)
    return not waiting and not departed
