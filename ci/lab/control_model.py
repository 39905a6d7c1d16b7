"""The supervisors' talk as a discrete-event model: what ranks with cores of their own would take, at sizes beyond this
machine. ci/lab/control calibrates it on the real processes that it has measured, and prints it beside them.

A process takes what has arrived in a pass: so much CPU time a pass and a message, then it sleeps as a supervisor does,
whom a message wakes unless it is rank 0's.
Every pass needs a core: of a few that all share, as on the machine that is measured, or of its own node, whose 8 ranks
have a core each. What a message costs is timed in this process by calling the product's own functions.
"""

from __future__ import annotations

import heapq
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from types import SimpleNamespace

GPUS = 8
LATENCY = 50e-6  # s from a process to another one on a management network
SHORTEST, LONGEST = 0.002, 0.05  # s between two passes, as bench.supervise.limits.Pace sleeps
CALLS = 400  # of each function that is timed
ROWS = {
    "row": 3,
    "wide": 1,
}  # of a group in a round: pairs are measured three ways, each round of rings is a case
RING = 32  # nodes of a ring: those of one leaf switch
WAIT_SECONDS = 0.5  # as bench.supervise.control.tcp
SHARE = 0.05  # as bench.supervise.coordinator
STAR, NODES, TREE = "star", "nodes", "tree"
"""Shapes: all ranks at rank 0; the first of each node; some of these behind others where rank 0 has no place for all,
as the product does."""


@dataclass(frozen=True)
class Costs:
    """CPU seconds.

    send        of an order that leaves rank 0; ``order``: of a rank that takes one and answers that it is ready
    frame       of rank 0 to open one, which holds one message or the heartbeats of a moment
    through     more, to take or to send one where the rank is behind another node
    ready, beat, row   of rank 0 for one of these messages, from its frame to the journal; ``wide``: a row of a ring
    report      of a rank that sends a row; ``relay``: of a process that passes a message on
    each        of a look of rank 0 at all ranks, for each of them; ``link``: of a pass, for each of its connections
    idle        of any pass
    """

    send: float
    order: float
    frame: float
    ready: float
    beat: float
    row: float
    wide: float
    report: float
    relay: float
    each: float
    link: float
    through: float = 0.0
    idle: float = 60e-6

    def times(self, factor: float) -> Costs:
        """As much of everything."""
        return Costs(**{name: getattr(self, name) * factor for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Answer:
    """Seconds of a start and of a round; ``cpu``: of rank 0 in that round, ``links``: its connections."""

    start: float
    round: float
    start_cpu: float
    round_cpu: float
    links: int


def parents(ranks: int, shape: str) -> list[int]:
    """For each rank the one that it is connected to."""
    from bench.supervise.control.tree_places import FAN_OUT

    if shape == STAR:
        return [0] * ranks
    others = ranks // GPUS - 1
    room = others
    if shape == TREE and others + GPUS - 1 > 2 * FAN_OUT:
        room = 2 * FAN_OUT - (GPUS - 1) - FAN_OUT // 4
    above = [0, *(0 if at < room else (1 + at % room) * GPUS for at in range(others))]
    return [above[rank // GPUS] if rank % GPUS == 0 else rank - rank % GPUS for rank in range(ranks)]


class Simulation:
    """Processes that exchange messages; one of rank 0 to every rank, or of all ranks to rank 0."""

    def __init__(self, ranks: int, shape: str, cores: int, costs: Costs) -> None:
        self.above = parents(ranks, shape)
        behind = sum(bool(self.above[rank]) for rank in range(0, ranks, GPUS)) * GPUS if shape == TREE else 0
        more = costs.through * behind / ranks  # of all ranks, of which some are behind other nodes
        self.ranks, self.costs = ranks, replace(costs, send=costs.send + more, frame=costs.frame + more)
        self.links = sum(1 for rank in range(1, ranks) if self.above[rank] == 0)
        self.free = [0.0] * cores if cores else []
        self.own = [0.0] * ranks  # when each rank's own core is free, where they have one each
        self.inbox: dict[int, list[tuple[str, int]]] = defaultdict(list)
        self.sleep = [SHORTEST] * ranks
        self.events: list[tuple[float, int, int, tuple[str, int] | None]] = []
        self.number, self.cpu, self.arrived, self.last = 0, [0.0] * ranks, 0, 0.0
        self.wakes = [(0.0, 0)] * ranks  # when the next pass of each begins, and the number of that event
        self.held: dict[int, tuple[int, float]] = {}  # by a first rank: heartbeats of others, since when
        self.look = 0.0  # when rank 0 looks at all ranks again

    def at(self, when: float, rank: int, message: tuple[str, int] | None) -> None:
        """A message reaches a process, or, without one, its next pass begins."""
        self.number += 1
        heapq.heappush(self.events, (when, self.number, rank, message))

    def wake(self, when: float, rank: int) -> None:
        """The next pass of a process begins then."""
        self.at(when, rank, None)
        self.wakes[rank] = when, self.number

    def next_hop(self, at: int, to: int) -> int:
        """Down the tree from ``at``."""
        while self.above[to] != at:
            to = self.above[to]
        return to

    def run(self, wanted: int) -> float:
        """Until rank 0 has taken ``wanted`` messages that count; when."""
        for rank in range(self.ranks):
            self.wake(LONGEST * (rank * 0.618 % 1), rank)  # they do not poll in step
        while self.arrived < wanted:
            when, number, rank, message = heapq.heappop(self.events)
            if message is not None:
                self.inbox[rank].append(message)
                if rank and self.wakes[rank][0] > when:
                    self.wake(max(when, self.own[rank]), rank)
            elif number == self.wakes[rank][1]:
                self._pass(when, rank)
        return self.last

    def _pass(self, when: float, rank: int) -> None:
        messages = self.inbox.pop(rank, [])
        begun = max(when, self.free[0] if self.free else self.own[rank])
        now = begun + self.costs.idle
        if rank == 0:
            now += self.costs.link * self.links
            if now >= self.look:
                took = self.costs.each * self.ranks
                now, self.look = now + took, now + min(LONGEST, took / SHARE)
        for message in messages:
            now = self._take(now, rank, message)
        if now - self.held.get(rank, (0, now))[1] > WAIT_SECONDS:
            self._pass_on(now, rank)
        if self.free:
            heapq.heapreplace(self.free, now)
        self.own[rank] = now
        self.cpu[rank] += now - begun
        self.sleep[rank] = SHORTEST if messages else min(LONGEST, self.sleep[rank] * 1.5)
        self.wake(now + self.sleep[rank], rank)

    def _take(self, now: float, rank: int, message: tuple[str, int]) -> float:
        kind, to = message
        if kind == "begin":  # rank 0 sends an order to everybody
            for other in range(1, self.ranks):
                now += self.costs.send
                self.at(now + LATENCY, self.next_hop(0, other), ("order", other))
            return now
        if rank != to:
            now += self.costs.relay
            if kind == "beat":
                count, since = self.held.get(rank, (0, now))
                self.held[rank] = count + 1, since
                return now
            self._pass_on(now, rank)
            hop = self.next_hop(rank, to) if kind == "order" else self.above[rank]
            self.at(now + LATENCY, hop, message)
            return now
        if kind == "order":
            now += self.costs.order
            self.at(now + LATENCY, self.above[rank], ("ready", 0))
        elif kind.startswith("measured"):  # a rank sends its rows, if it has any, between two heartbeats
            name = kind.partition(" ")[2]
            for each in ("beat", *[name] * ROWS.get(name, 0), "beat"):
                now += self.costs.relay if each == "beat" else self.costs.report
                self.at(now + LATENCY, self.above[rank], (each, 0))
        elif kind.startswith("beat"):
            now += self.costs.frame + self.costs.beat * int(kind.partition(" ")[2] or 1)
        else:
            now += self.costs.frame + getattr(self.costs, kind)
            self.arrived, self.last = self.arrived + 1, now
        return now

    def _pass_on(self, now: float, rank: int) -> None:
        """The heartbeats that a first rank holds, in one frame."""
        count, _ = self.held.pop(rank, (0, 0.0))
        if count:
            self.at(now + LATENCY, self.above[rank], (f"beat {count}", 0))


def answer(ranks: int, shape: str, cores: int, costs: Costs, ring: int = 0) -> Answer:
    """A start, and a round with the ROWS of each pair of nodes, or of each ``ring`` of so many, on each rail.

    ``cores``: that all share, 0: each rank has its own.
    """
    first = Simulation(ranks, shape, cores, costs)
    first.at(0.0, 0, ("begin", 0))
    start = first.run(ranks - 1)
    second, leads = Simulation(ranks, shape, cores, costs), 0
    for rank in range(1, ranks):
        lead = ranks == GPUS or rank // GPUS % (ring or 2) == 1
        leads += lead
        kind = ("wide" if ring else "row") if lead else ""
        second.at(0.0, rank, (f"measured {kind}".strip(), rank))
    took = second.run(ROWS["wide" if ring else "row"] * leads)
    return Answer(start, took, first.cpu[0], second.cpu[0], first.links)


# ── what a message costs ────────────────────────────────────────────────────────────────────────────────


def _timed(work: Callable[[], object]) -> float:
    """CPU seconds of one call, the median of five rounds."""
    work()
    found = []
    for _ in range(5):
        begun = time.process_time()
        for _ in range(CALLS):
            work()
        found.append((time.process_time() - begun) / CALLS)
    return median(found)


def timed_stream(text: bytes) -> float:
    """CPU seconds of one end of a stream for a frame: half of what both ends take."""
    from bench.supervise.control.message_frames import HEAD
    from bench.supervise.control.resumable_stream import ResumableStream
    from bench.supervise.control.sealed_frames import Handshake

    key, sent = bytes(32), list[bytes]()
    dialer, rank_0 = (ResumableStream(1, key, leads) for leads in (False, True))
    for end in (rank_0, dialer):  # this one speaks at once
        end.renew(Handshake("", 1, 2, key, key), key, SimpleNamespace(put=sent.append, lost=""), 1)

    def carry() -> None:
        dialer.put(text)
        for end in (rank_0, dialer):
            frames, sent[:] = list(sent), []
            for frame in frames:
                list(end.take(frame[HEAD.size :]))
            end.push()

    return _timed(carry) / 2


class Unwatched:
    """Passes over all that the coordinator tells."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: None


def timed_costs(phase, row: Callable[[tuple[int, ...], str], bytes], ranks: int) -> Costs:
    """Each message's way through the product's own functions, of a job of so many ranks."""
    from bench.measure.loop import TimingRules
    from bench.measure.work_order import WorkOrder
    from bench.model.case_templates import digest, unpacked
    from bench.model.groups import GroupRule
    from bench.model.measurement import Rank
    from bench.model.typed_json import load
    from bench.store import Recorder
    from bench.supervise.control.message_frames import ROW, framed, messages_in, parsed
    from bench.supervise.control.sealed_frames import Opener, Sealer
    from bench.supervise.control.tcp import Control
    from bench.supervise.coordinator import Coordinator
    from bench.supervise.hangs.rank_state import RankState
    from bench.supervise.limits import Limits
    from bench.supervise.messages import check
    from bench.supervise.phase_orders import start_messages
    from bench.supervise.supervisor import Supervisor

    everyone = tuple(Rank(at, f"n{at // GPUS}", at % GPUS) for at in range(ranks))
    plain = WorkOrder("", (), 0, ranks, 0, "nccl", "10.0.0.1", 90.0, TimingRules(), 2)
    case = phase.cases[0]
    group = next(iter(case.groups))
    nodes = ranks // GPUS
    runs = tuple(((first, min(RING, nodes - first), 1),) for first in range(0, nodes, RING))
    ring = replace(case, id="a ring", groups=GroupRule("rings", ((0, nodes),), GPUS, (GPUS, 1), rings=runs))
    order = next(
        message for _, message in start_messages(plain, phase, phase.cases, everyone, defaultdict(dict))
    )
    plan = digest(phase.cases)
    ready = {
        "kind": "ready",
        "seconds": {"first": 0.1},
        "versions": {"torch": "0"},
        "gpu": None,
        "plan": plan,
    }
    middle = ring.groups.of(ranks // 2)  # a ring is looked for among all
    measured, wide = row(group, case.id), row(middle, ring.id)
    beat = {
        "said": "beat",
        "case": case.id,
        "stage": "timing",
        "calls": 1,
        "age": 0.1,
        "state": "S",
        "links": {},
    }
    key = bytes(32)

    def frame(message: dict) -> bytes:
        return Sealer(key).seal(framed(1, message))

    def opened(sealed: bytes) -> dict:
        ((_, kind, text),) = messages_in(next(iter(Opener(key).open(sealed))))
        return {"said": "row", "row": text} if kind == ROW else parsed(text)

    with tempfile.TemporaryDirectory() as folder, Recorder(Path(folder) / "run") as recorder:
        supervisor = Supervisor(Control(), lambda what: {}, {})
        chief = Coordinator(Control(), supervisor, recorder, Limits(), Unwatched())
        chief.ranks, chief._digest = everyone, plan
        chief._cases = {each.id: (at, each) for at, each in enumerate((*phase.cases, ring))}
        chief._left = {case.id: 1 << 30, ring.id: 1 << 30}
        now = time.monotonic()
        chief._states = {each.rank: RankState(last_heard=now, last_moved=now) for each in everyone}

        def take(sealed: bytes, source: int) -> None:
            message = opened(sealed)
            check(message)
            chief._reported.clear()
            chief._take(source, message, chief._states[source])

        def begin() -> None:
            taken = load(WorkOrder, opened(sealed_order)["order"])
            digest(unpacked(taken.cases))
            frame({"said": "worker", "heard": ready})

        short = frame(beat)
        opening = _timed(lambda: next(iter(Opener(key).open(short))))
        sealed_order = frame(order)
        sealed = {"ready": frame({"said": "worker", "heard": ready}), "beat": frame(beat)}
        sealed["row"] = frame({"said": "row", "row": measured})
        sealed["wide"] = frame({"said": "row", "row": wide})
        with recorder.together():
            sources = dict.fromkeys(sealed, group[0]) | {"wide": middle[0]}
            found = {
                name: _timed(partial(take, each, sources[name])) - opening for name, each in sealed.items()
            }
        supervisor.stop_now()

        def look() -> None:
            chief._look_at = 0.0
            chief._trouble()

        passes = _timed(look) / ranks
    return Costs(
        send=_timed(lambda: frame(order)), order=_timed(begin), frame=opening, **found,
        report=_timed(lambda: frame({"said": "row", "row": measured})),
        relay=_timed(lambda: Sealer(key).seal(next(iter(Opener(key).open(sealed["beat"]))))), each=passes, link=2e-7,
        through=timed_stream(framed(1, {"said": "row", "row": measured})),
    )  # fmt: skip


def calibrated(costs: Costs, rows, cores: int) -> tuple[Costs, float]:
    """The costs by what real processes took, and by how much these took more, each the median over the rows.

    Rank 0's by its CPU time in a round; a rank's own at a start, most of which no function above does, by
    how long all starts took that shared the cores.
    """
    factor = median(row.round_cpu / answer(row.ranks, TREE, cores, costs).round_cpu for row in rows)
    order = median(row.start * cores / row.ranks for row in rows)
    return replace(costs.times(factor), order=order), factor
