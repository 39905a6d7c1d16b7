"""The coordinator on rank 0: deadlines, the journal, who is to blame when a phase breaks, and which cases are left."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from bench.measure.work_order import HEARTBEAT_SECONDS, WorkOrder
from bench.model.case_templates import digest
from bench.model.late_dataclass import dataclass, field, replace
from bench.model.measurement import Case, Measurement, Rank
from bench.model.run_folder_lines import Hang, HealthLine, PhaseMark
from bench.model.typed_json import Misfit, load, to_json
from bench.probe.link_bytes import LinkBytes
from bench.store import NOT_TRIED, Loss, Phase, Recorder

from .control.message_frames import Message
from .control.tcp import Control
from .departures import Departures, with_last_heartbeat
from .hangs.culprits import Culprits, Position, name_ranks, nodes_in, silent, unreachable
from .hangs.rank_state import RankState, flight_of, heartbeats, joined, positions, record
from .hangs.recordings import flights, ras_findings
from .hangs.trouble import trouble
from .limits import (
    BARREN,
    LONGEST,
    RANK_0_HEARTBEAT_SECONDS,
    SHORTEST,
    TRIES,
    Limits,
    Lost,
    Pace,
    RunEndsEarly,
    Stopped,
)
from .messages import check, measurement_of, window_of
from .phase_observer import PhaseObserver
from .phase_orders import check_derived, start_messages
from .questions import Answer, Question
from .supervisor import Supervisor

SHARE = 0.05  # of rank 0's time, at most, in which it looks at all ranks for one that holds the others up
DOUBT = 3 * HEARTBEAT_SECONDS  # a failure between two ranks is held back: one of them may soon be found dead


@dataclass
class Coordinator:
    """Runs phases over all supervisors from rank 0.

    order    a template: everything but phase, cases and rank
    examine     given who broke a phase, whether all had joined, and how often in a row: the nodes to go on without
    before_measuring  called in each phase before its workers can meet: none measures before that
    interfaces  node -> what is set in its workers' environment alone
    _states  rank -> what it reported in the running attempt, or in the last one
    _left    case -> groups on which it is still to be measured
    slowest_join  seconds until all workers of a phase had met, the most of those that were timed; 0 before
    """

    control: Control
    supervisor: Supervisor
    recorder: Recorder
    limits: Limits
    observer: PhaseObserver
    departures: Departures = field(default_factory=Departures)
    examine: Callable[[Culprits, bool, int], Lost | None] = lambda why, joined, times: None
    before_measuring: Callable[[], None] = lambda: None
    ranks: tuple[Rank, ...] = ()
    order: WorkOrder | None = None
    environment: dict[str, str] = field(default_factory=dict)
    interfaces: dict[str, dict[str, str]] = field(default_factory=dict)
    phase: str = ""
    _digest: str = ""
    _cases: dict[str, tuple[int, Case]] = field(default_factory=dict)
    _left: dict[str, int] = field(default_factory=dict)
    _reported: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)
    _states: dict[int, RankState] = field(default_factory=dict)
    _logs: dict[int, str] = field(default_factory=dict)
    _doubtful: list[tuple[float, Measurement]] = field(default_factory=list)
    _barren: int = 0
    _started: float = 0.0
    _last_keepalive: float = 0.0
    _look_at: float = 0.0  # when to look at all ranks again
    _wasted: float = 0.0
    slowest_join: float = 0.0
    _gpus: dict[int, Any] = field(default_factory=dict)
    _known: tuple[tuple[Rank, ...], dict[int, Rank], list[str]] = ((), {}, [])

    def run(self, phase: Phase) -> None:
        """Measure a phase: what breaks is recorded, and the cases after it are tried in fresh workers."""
        self.recorder.add(PhaseMark(phase.name, "begin", cases=len(phase.cases)))
        left, broken, done = list(phase.cases), 0, 0
        while left:
            before, started = len(left), time.monotonic()
            try:
                left, broke = self._attempt(phase, left)
            except (Lost, Stopped) as end:
                self._keep_interim()
                if isinstance(end, Lost) or end.culprits:
                    left = [case for case in left if self._left[case.id] > 0]
                    self._record_loss(phase, left, Culprits(str(end), end.culprits, died=True))
                raise
            measured = before - len(left)
            done += measured
            if not broke:
                self._wasted = 0.0
                continue
            broken = 1 if measured else broken + 1
            self._wasted = 0.0 if measured else self._wasted + time.monotonic() - started
            joined = all(state.ready for state in self._states.values())
            if sick := self.examine(broke, joined, broken):
                self._record_loss(phase, left[:1], Culprits(str(sick), sick.culprits, died=True))
                raise sick
            self._record_loss(phase, left[:1], broke)
            left = left[1:]
            if self._wasted > self.limits.stall:
                raise Lost(
                    f"given up: {self._wasted:.0f} s of tries measured nothing; the losses name who is to blame"
                )
            if broken >= TRIES:
                for case in left:
                    text = f"{NOT_TRIED}: the phase broke {TRIES} times in a row"
                    self.recorder.loss(Loss(case.id, text, ""))
                break
        self.recorder.add(PhaseMark(phase.name, "end", measured=done))
        self._barren = 0 if done else self._barren + 1
        if self._barren >= BARREN:
            raise Lost(
                f"given up: {BARREN} phases in a row measured nothing; the losses name who is to blame"
            )

    def _record_loss(self, phase: Phase, left: list[Case], why: Culprits) -> None:
        """Record what broke a phase, with the case that it cost."""
        # first of all: a launcher that ends the job may leave rank 0 a few hundredths of a second
        if left or (why.died and why.names):
            case = left[0].id if left else f"after {phase.name}"
            self.recorder.loss(Loss(case, why.reason, why.names, why.died, nodes_in(why.names)))
        if left:
            self.observer.lost(left[0], why.reason)
        else:
            self.recorder.note(f"after the last case of {phase.name}: {why.reason}")
        self.recorder.add(Hang(phase.name, why.reason, why.names, record(self.positions())))

    def _recordings(self, environment: Mapping[str, str]) -> str:
        """What torch and NCCL recorded themselves; ``environment`` is that of the phase's workers."""
        found = [flights(self.recorder, self.phase, self._states)]
        if self.order and self.order.backend == "nccl":
            everything = {**self.supervisor.base_environment, **environment}
            found.append(ras_findings(self.recorder, self.phase, everything))
        return "".join(f"; {text}" for text in found if text)

    def go_on_without(self, nodes: Collection[str]) -> None:
        """Leave these nodes out of all that follows: they may leave when they want. All workers are ended.

        Raises Lost where another node does not end its workers, or leaves meanwhile.
        """
        gone = [rank.rank for rank in self.ranks if rank.node in nodes]
        self.departures.ignore(gone)
        self.control.leave(gone)
        for rank in gone:
            self.control.send(rank, {"do": "stop"})
        self._states = {rank: state for rank, state in self._states.items() if rank not in gone}
        try:
            # one that ends later, as its peers are gone, would be taken for the worker that follows it
            self._end_workers()
        except RunEndsEarly as end:
            raise self._between(end) from None
        finally:
            self.ranks = tuple(rank for rank in self.ranks if rank.rank not in gone)
        self._states, self._wasted, self._barren = {}, 0.0, 0

    def positions(self) -> list[Position]:
        """Where all ranks are in the running phase, or were at its end."""
        own, excuse = self.control.rank, self.control.excuse
        return positions(self._states, self._by_number, self._cases, time.monotonic(), own, excuse)

    @property
    def _by_number(self) -> dict[int, Rank]:
        return self._derived()[1]

    @property
    def _nodes(self) -> list[str]:
        return self._derived()[2]

    def _derived(self) -> tuple[tuple[Rank, ...], dict[int, Rank], list[str]]:
        """``ranks``, by their numbers, and their nodes: made for every message this would cost ranks × ranks."""
        if self._known[0] is not self.ranks:
            numbered = {rank.rank: rank for rank in self.ranks}
            self._known = self.ranks, numbered, [rank.node for rank in self.ranks]
        return self._known

    def _attempt(self, phase: Phase, cases: list[Case]) -> tuple[list[Case], Culprits | None]:
        """Start one worker per rank for ``cases``; the cases that are left, and the culprits if the phase broke."""
        self._started, self.phase, self._logs = time.monotonic(), phase.name, {}
        self._states = {
            rank.rank: RankState(last_heard=self._started, last_moved=self._started) for rank in self.ranks
        }
        self._cases = {case.id: (number, case) for number, case in enumerate(cases)}
        self._left, self._reported = {case.id: len(case.groups) for case in cases}, set()
        environment = {**self.environment, **phase.environment}
        self._start_workers(phase, cases, environment)
        found: Culprits | None = None
        pace = Pace()
        while not self._all_ended():
            busy = self._listen()
            self._settle(over=False)
            if over := self._over():
                if not over.names:
                    heard = f"supervisors were last heard: {heartbeats(self.positions())}"
                    self.recorder.note(f"ends in phase {phase.name}: {over.reason}; {heard}")
                if not self.departures.missed:
                    self._end_workers()
                raise self._early(over)
            ending = self.departures.missed or self.departures.stop()
            if found is None and not ending and (found := self._trouble()):
                found = replace(found, reason=found.reason + self._recordings(environment))
                self._end_workers()
            pace.rest(busy)
        self._settle(over=True)
        self._write_logs(phase)
        self._record_joined(phase)
        left = [case for case in cases if self._left[case.id] > 0]
        if left and found is None:
            found = Culprits("the workers ended before this case was measured", "")
        return left, found

    def _start_workers(self, phase: Phase, cases: list[Case], environment: dict[str, str]) -> None:
        assert self.order is not None
        self._digest = digest(cases)
        # what a phase sets, as one that pins its workers to a rail, stands
        environments = {
            rank.node: {**self.interfaces.get(rank.node, {}), **environment} for rank in self.ranks
        }
        for rank, message in start_messages(self.order, phase, cases, self.ranks, environments):
            self.control.send(rank, message)

    def _all_ended(self) -> bool:
        return all(state.ended for state in self._states.values())

    def _listen(self) -> bool:
        """Take all messages that have arrived; whether there was more than heartbeats."""
        self._send_keepalive()
        messages = list(self.control.receive())
        with self.recorder.together():
            for source, message in messages:
                if "do" in message:
                    self.supervisor.handle(message)
                elif not self.departures.take(source, self._node(source), message) and source in self._states:
                    with self._believing(source):
                        check(message)
                        self._take(source, message, self._states[source])
        return self.supervisor.poll() or any(message.get("said") != "beat" for _, message in messages)

    @contextmanager
    def _believing(self, source: int) -> Iterator[None]:
        """Count a rank as lost if it sends what no supervisor sends; raise Misfit if it is rank 0 itself."""
        try:
            yield
        except Misfit as misfit:
            if source == self.control.rank:
                raise
            text = f"it sent what a supervisor never sends: {misfit}"
            self.departures.take(source, self._node(source), {"said": "lost", "text": text})

    def _send_keepalive(self) -> None:
        """Supervisors give up a rank 0 that sends nothing for too long, as a frozen one does."""
        if time.monotonic() - self._last_keepalive > RANK_0_HEARTBEAT_SECONDS:
            self._last_keepalive = time.monotonic()
            for rank in self.control.peers:
                self.control.send(rank, {"do": "wait"})

    def _take(self, source: int, message: Message, state: RankState) -> None:
        state.last_heard = time.monotonic()
        if message["said"] == "beat":
            if any(message[key] != state.beat.get(key) for key in ("case", "stage", "calls")):
                state.last_moved = state.last_heard
            state.beat = message
            if "rails" in message:  # the first rank of a node speaks for it
                self.observer.links(self._node(source), load(dict[str, LinkBytes], message["rails"]))
            if source == self.ranks[0].rank:
                self.observer.beat(message["case"], message["stage"])
        elif message["said"] == "ended":
            state.ended, state.status, state.words = True, message["status"], message["words"]
            self._look_at = 0.0 if message["status"] else self._look_at
            self._logs[source] = message["log"]
            self._keep_health(source, message["health"])
        elif message["said"] == "health":
            state.health = message["health"]
        elif message["said"] == "worker":
            self._take_from_worker(source, message["heard"], state)
        elif message["said"] == "row":
            self._take_row(source, message.get("row"), state)

    def _keep_interim(self) -> None:
        """Keep the samples taken beside workers that will not report them any more."""
        for rank, state in self._states.items():
            self._keep_health(rank, {} if state.ended else state.health)

    def _keep_health(self, rank: int, health: Message | None) -> None:
        if health:
            self.recorder.health(load(HealthLine, health | {"phase": self.phase, "rank": rank}))

    def _take_from_worker(self, source: int, message: Message, state: RankState) -> None:
        if message["kind"] == "flight":  # sent because the worker makes no progress
            state.flight = flight_of(message)
            return
        state.last_moved = state.last_heard
        if message["kind"] == "store" and source == self.ranks[0].rank:
            self.before_measuring()
            for rank in self.ranks[1:]:
                self.control.send(rank.rank, {"do": "rendezvous", "port": message["port"]})
        elif message["kind"] == "ready":
            check_derived(self._digest, message["plan"])
            state.ready = message
            self.slowest_join = max(self.slowest_join, time.monotonic() - self._started)
        elif message["kind"] == "window":
            self.recorder.add(window_of(message, source, self.ranks, self._cases))
        elif message["kind"] == "failed":
            state.failed, self._look_at = message, 0.0

    def _take_row(self, source: int, text: object, state: RankState) -> None:
        state.last_moved = state.last_heard
        row, plain = measurement_of(text, source, self.ranks, self._cases)
        if (row.case, row.ranks) in self._reported:
            raise Misfit(f"it reports {row.case} twice")
        self._reported.add((row.case, row.ranks))
        if row.stop == "failed":
            self._doubtful.append((time.monotonic(), row))
        else:
            self._keep(row, plain)

    def _keep(self, row: Measurement, plain: bytes = b"") -> None:
        """``plain``: the JSON that the row was read from, see ``measurement_of``."""
        self._left[row.case] -= 1
        if text := self.recorder.measurement(row, plain):
            self.observer.say(text)
        else:
            self.observer.measured(row)

    def _settle(self, over: bool) -> None:
        """Keep failed measurements whose ranks stay well: those failures are the rails' own.

        A pair also fails when the worker of one of its ranks dies or stops, which shows a moment later: until then
        the failure is held back, and it is dropped where that shows.
        """
        now, held = time.monotonic(), self._doubtful
        well = {each.rank for each in self.positions() if each.well(DOUBT)} if held else set()
        self._doubtful = []
        for at, row in held:
            if set(row.ranks) <= well and (over or now - at > DOUBT):
                self._keep(row)
            elif not over:
                self._doubtful.append((at, row))

    def _trouble(self) -> Culprits | None:
        """Who broke the phase, once a worker has ended or failed, else as often as takes SHARE of the time."""
        begun, limits, own = time.monotonic(), self.limits, self.control.rank
        if begun < self._look_at:
            return None
        excuse = self.control.excuse
        found = trouble(self._states, self.positions, limits, self._started, self.slowest_join, own, excuse)
        took = time.monotonic() - begun
        self._look_at = begun + min(LONGEST, took / SHARE)
        return found

    def _over(self) -> Culprits | None:
        """Why the phase cannot go on, with what was last heard of those who left."""
        over = self.departures.over(self._nodes)
        if not over:
            return None
        found = self.positions()
        left = [each for each in found if each.rank in over.ranks]
        return with_last_heartbeat(over, left, silent(found)) if left else over

    def _between(self, end: RunEndsEarly) -> RunEndsEarly:
        """What ended the run while nothing was measured, recorded in place of the case that it cost."""
        if end.culprits:
            when = f"after {self.phase}" if self.phase else "the start"
            self.recorder.loss(Loss(when, str(end), end.culprits, True, nodes_in(end.culprits)))
        return end

    def _early(self, over: Culprits) -> RunEndsEarly:
        """The exception that ends the run: Stopped where rank 0 was told to end, else Lost."""
        return (Stopped if self.departures.stop() else Lost)(over.reason, over.names, nodes_in(over.names))

    def _node(self, rank: int) -> str:
        known = self._by_number.get(rank)
        return known.node if known else "a node"

    def _end_workers(self) -> None:
        for rank, state in self._states.items():
            if not state.ended:
                self.control.send(rank, {"do": "stop"})
        deadline = time.monotonic() + self.limits.quit
        while not self._all_ended():
            if over := self._over():
                raise self._early(over)
            if time.monotonic() > deadline:
                running = [each for each in self.positions() if not each.ended]
                # who is behind one that does not answer could not hear it either
                running = [each for each in running if self.control.excuse(each.rank) < DOUBT] or running
                raise Lost(unreachable(running), name_ranks(running), nodes_in(name_ranks(running)))
            self._listen()
            time.sleep(SHORTEST)

    def _record_joined(self, phase: Phase) -> None:
        if line := joined(phase.name, self._states, self._gpus):
            self._gpus |= {rank: state.ready["gpu"] for rank, state in self._states.items() if state.ready}
            self.recorder.add(line)

    def _write_logs(self, phase: Phase) -> None:
        for rank, text in self._logs.items():
            if text.strip():
                self.recorder.log(f"{phase.name}.{rank}.log", text)

    def ask(
        self,
        question: Question[Answer],
        of: Sequence[int],
        limit: float,
        details: Mapping[int, object] = MappingProxyType({}),
    ) -> dict[int, Answer]:
        """Ask supervisors and wait for the answers, at most ``limit`` seconds; ``details`` of the question by rank."""
        answers: dict[int, Answer] = {}
        what = question.word
        for rank in of:
            self.control.send(rank, {"do": what, **to_json(details.get(rank, {}))})
        deadline = time.monotonic() + limit
        pace = Pace()
        while len(answers) < len(of):
            if time.monotonic() > deadline:
                who = name_ranks([Position(rank, self._node(rank)) for rank in of if rank not in answers])
                text = f"{who}: no answer to {what} within {limit:.0f} s"
                raise self._between(Lost(text, who, nodes_in(who)))
            if over := self.departures.over(self._nodes):
                raise self._between(self._early(over))
            self._send_keepalive()
            messages = list(self.control.receive())
            for source, message in messages:
                if "do" in message:
                    self.supervisor.handle(message)
                elif message.get("said") == what:
                    with self._believing(source):
                        answers[source] = load(question.answer, message.get("answer"))
                else:
                    self.departures.take(source, self._node(source), message)
            self.supervisor.poll()
            pace.rest(bool(messages))
        return answers
