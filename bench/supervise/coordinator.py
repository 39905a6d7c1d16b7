"""The coordinator on rank 0: deadlines, the journal, who is to blame when a phase breaks, and what is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bench.measure.loop import Rules
from bench.measure.work_order import HEARTBEAT_SECONDS, WorkOrder, own_part
from bench.model.measurement import Case, Measurement, Rank
from bench.store import NOT_TRIED, Loss, Phase, Recorder
from bench.supervise.control.tcp import Control, Message
from bench.supervise.hangs.culprits import Culprits, Place, broke, hung, names, silent, unreachable
from bench.supervise.hangs.departed import with_last
from bench.supervise.hangs.rank_state import Seen, flown, heartbeats, places, record

from .departures import Departures
from .hangs.recordings import asked_ras, flights
from .limits import BARREN, SHORTEST, TRIES, WORD_SECONDS, Early, Limits, Lost, Pace, Stopped
from .supervisor import Supervisor

DOUBT = 3 * HEARTBEAT_SECONDS  # a failure between two ranks is held back: one of them may soon be found dead
SLOWER = 5.0  # times the slowest join so far that a later one may take: what is stuck is seen sooner


@dataclass
class Coordinator:
    """Runs phases over all supervisors from rank 0."""

    control: Control
    supervisor: Supervisor
    recorder: Recorder
    limits: Limits
    notice: Callable[[str, dict[str, Any]], None]
    departures: Departures = field(default_factory=Departures)
    ranks: tuple[Rank, ...] = ()
    order: WorkOrder | None = None  # a template: everything but phase, cases and rank
    environment: dict[str, str] = field(default_factory=dict)
    phase: str = ""
    _cases: dict[str, tuple[int, Case]] = field(default_factory=dict)
    _wanted: dict[str, int] = field(default_factory=dict)  # case -> groups that it is still to be measured on
    _seen: dict[int, Seen] = field(default_factory=dict)
    _doubtful: list[tuple[float, Measurement]] = field(default_factory=list)
    _barren: int = 0
    _begun: float = 0.0
    _spoke: float = 0.0
    _wasted: float = 0.0
    _slowest_join: float = 0.0
    _gpus: dict[int, Any] = field(default_factory=dict)

    def run(self, phase: Phase) -> None:
        """Measure a phase: what breaks is recorded and the cases after it are tried in fresh workers."""
        self.recorder.line("phase", name=phase.name, state="begin", cases=len(phase.cases))
        left, broken, done = list(phase.cases), 0, 0
        while left:
            before, begun = len(left), time.monotonic()
            try:
                left, trouble = self._attempt(phase, left)
            except (Lost, Stopped) as end:
                if isinstance(end, Lost) or end.culprits:
                    left = [case for case in left if self._wanted[case.id] > 0]
                    self._lost(phase, left, Culprits(str(end), end.culprits, died=True))
                raise
            done += before - len(left)
            if not trouble:
                self._wasted = 0.0
                continue
            gave = before > len(left)
            broken = 1 if gave else broken + 1
            self._wasted = 0.0 if gave else self._wasted + time.monotonic() - begun
            self._lost(phase, left[:1], trouble)
            left = left[1:]
            if self._wasted > self.limits.stall:
                raise Lost(
                    f"given up: {self._wasted:.0f} s of tries gave nothing; see the losses for who is to blame"
                )
            if broken >= TRIES:
                for rest in left:
                    self.recorder.loss(
                        Loss(rest.id, f"{NOT_TRIED}: the phase broke {TRIES} times in a row", "")
                    )
                break
        self.recorder.line("phase", name=phase.name, state="end", measured=done)
        self._barren = 0 if done else self._barren + 1
        if self._barren >= BARREN:
            raise Lost(
                f"given up: {BARREN} phases one after the other gave nothing; see the losses for who is to blame"
            )

    def _lost(self, phase: Phase, left: list[Case], why: Culprits) -> None:
        """Record what broke a phase, with the case that it cost."""
        if left:
            # first of all: a launcher that ends the job may leave rank 0 a few hundredths of a second
            self.recorder.loss(Loss(left[0].id, why.reason, why.names, why.died))
            self.notice("loss", {"case": left[0], "reason": why.reason})
        else:
            self.recorder.line("note", text=f"after the last case of {phase.name}: {why.reason}")
        last = record(self.places())
        self.recorder.line("hang", phase=phase.name, reason=why.reason, culprits=why.names, seen=last)

    def _recorded(self, environment: Mapping[str, str]) -> str:
        """What torch and NCCL recorded themselves; ``environment`` is what the phase's workers got."""
        told = [flights(self.recorder, self.phase, self._seen)]
        if self.order and self.order.backend == "nccl":
            told += [
                asked_ras(self.recorder, self.phase, {**self.supervisor.base_environment, **environment})
            ]
        return "".join(f"; {text}" for text in told if text)

    def places(self) -> list[Place]:
        """Where all ranks stand in the running phase, or stood at its end."""
        return places(self._seen, self.ranks, self._cases, time.monotonic())

    def _attempt(self, phase: Phase, cases: list[Case]) -> tuple[list[Case], Culprits | None]:
        """One worker a rank over ``cases``: what is left, and why and by whom when it broke."""
        begun = self._begun = time.monotonic()
        self.phase = phase.name
        seen = self._seen = {rank.rank: Seen(heard=begun, moved=begun) for rank in self.ranks}
        self._cases = {case.id: (number, case) for number, case in enumerate(cases)}
        self._wanted = {case.id: len(case.groups) for case in cases}
        environment = {**self.environment, **phase.environment}
        for rank in self.ranks:
            assert self.order is not None
            order = replace(
                self.order,
                phase=phase.name,
                cases=tuple(own_part(case, rank.rank) for case in cases),
                rank=rank.rank,
                local_rank=rank.local_rank,
                name=f"{phase.name}-{cases[0].id}",
                rules=Rules(**{**asdict(self.order.rules), **phase.rules}),
            )
            self.control.send(
                rank.rank, {"do": "start", "order": order.to_json(), "environment": environment}
            )
        wanted = self._wanted
        logs: dict[int, str] = {}
        trouble: Culprits | None = None
        pace = Pace()
        while not all(state.ended for state in seen.values()):
            busy = self._listen(seen, wanted, logs)
            self._settle(wanted, over=False)
            if over := self._over():
                if not over.names:
                    heard = f"supervisors were last heard: {heartbeats(self.places())}"
                    self.recorder.line("note", text=f"ends in phase {phase.name}: {over.reason}; {heard}")
                if not self.departures.gone:
                    self._end_workers(seen, wanted, logs)
                raise self._early(over)
            if trouble is None and not self.departures.gone and (trouble := self._trouble(seen, begun)):
                trouble = replace(trouble, reason=trouble.reason + self._recorded(environment))
                self._end_workers(seen, wanted, logs)
            pace.rest(busy)
        self._settle(wanted, over=True)
        self._keep_logs(phase, logs)
        self._joined(phase, seen)
        left = [case for case in cases if wanted[case.id] > 0]
        if left and trouble is None:
            trouble = Culprits("the workers ended before this case was measured", "")
        return left, trouble

    def _listen(self, seen: dict[int, Seen], wanted: dict[str, int], logs: dict[int, str]) -> bool:
        self._live()
        messages = list(self.control.receive())
        for source, message in messages:
            if "do" in message:
                self.supervisor.handle(message)
            elif not self.departures.hear(source, self._node(source), message) and source in seen:
                self._take(source, message, seen[source], wanted, logs)
        return self.supervisor.look() or any(message.get("said") != "beat" for _, message in messages)

    def _live(self) -> None:
        """A word to all now and then: a rank 0 that is silent for too long is frozen, and nobody waits for it."""
        if time.monotonic() - self._spoke > WORD_SECONDS:
            self._spoke = time.monotonic()
            for rank in range(1, self.control.size):
                self.control.send(rank, {"do": "wait"})

    def _take(
        self, source: int, message: Message, state: Seen, wanted: dict[str, int], logs: dict[int, str]
    ) -> None:
        state.heard = time.monotonic()
        if message["said"] == "beat":
            place = (message["case"], message["stage"], message["calls"])
            if place != (state.beat.get("case"), state.beat.get("stage"), state.beat.get("calls")):
                state.moved = state.heard
            state.beat = message
            if source == 0:
                self.notice("beat", message)
        elif message["said"] == "ended":
            state.ended, state.status, state.tail = True, message["status"], message["tail"]
            logs[source] = message["log"]
            if message["health"]:
                self.recorder.health({"phase": self.phase, "rank": source, **message["health"]})
        elif message["said"] == "worker":
            self._worker_said(message["heard"], state, wanted)

    def _worker_said(self, heard: Message, state: Seen, wanted: dict[str, int]) -> None:
        if heard["kind"] == "flight":  # a sign of standing still
            state.flight = flown(heard)
            return
        state.moved = state.heard
        if heard["kind"] == "store":
            for rank in self.ranks[1:]:
                self.control.send(rank.rank, {"do": "rendezvous", "port": heard["port"]})
        elif heard["kind"] == "ready":
            state.ready = heard
            self._slowest_join = max(self._slowest_join, time.monotonic() - self._begun)
        elif heard["kind"] == "window":
            self.recorder.line(**heard)
            self.notice("window", heard)
        elif heard["kind"] == "measurement":
            row = Measurement.from_json({key: value for key, value in heard.items() if key != "kind"})
            if row.stop == "failed":
                self._doubtful.append((time.monotonic(), row))
            else:
                self._keep(row, wanted)
        elif heard["kind"] == "failed":
            state.failed = heard

    def _keep(self, row: Measurement, wanted: dict[str, int]) -> None:
        wanted[row.case] -= 1
        if text := self.recorder.measurement(row):
            self.notice("refused", {"text": text})
        else:
            self.notice("measurement", {"row": row})

    def _settle(self, wanted: dict[str, int], over: bool) -> None:
        """Keep the failures that are the rails' own: a pair fails, too, when the worker of one of them died or stopped.

        That shows a moment later; until then a failure is held back, and dropped where it shows.
        """
        now, held = time.monotonic(), self._doubtful
        well = {place.rank for place in self.places() if place.well(DOUBT)} if held else set()
        self._doubtful = []
        for at, row in held:
            if set(row.ranks) <= well and (over or now - at > DOUBT):
                self._keep(row, wanted)
            elif not over:
                self._doubtful.append((at, row))

    def _trouble(self, seen: dict[int, Seen], begun: float) -> Culprits | None:
        """Why the phase cannot go on, when a worker died or failed, or nothing moves."""
        now = time.monotonic()
        broken = [rank for rank, state in seen.items() if state.failed or (state.ended and state.status != 0)]
        if broken:
            # the peers of a dead worker fail too, at about the same time: hear them all before blaming one
            if now - min(seen[rank].heard for rank in broken) < 1.5 and len(broken) < len(seen):
                return None
            return broke(self.places())
        joining = any(not state.ready for state in seen.values())
        patience = (
            max(self.limits.hang, SLOWER * self._slowest_join) if self._slowest_join else self.limits.join
        )
        join = min(self.limits.join, patience)
        limit = join if joining else self.limits.hang
        still = [rank for rank, state in seen.items() if not state.ended and now - state.moved > limit]
        mute = any(
            rank and not state.ended and now - state.heard > self.limits.hang for rank, state in seen.items()
        )
        if not mute and (not still or (joining and now - begun < join)):
            return None
        return hung(self.places(), self.limits.hang if mute else limit)

    def _over(self) -> Culprits | None:
        """Why the phase cannot go on, with what was last heard of those who left."""
        over = self.departures.over(self._nodes())
        left = [place for place in self.places() if over and place.rank in over.ranks]
        return with_last(over, left, silent(self.places())) if over and left else over

    def _between(self, end: Early) -> Early:
        """What ended the run while nothing was measured, recorded in place of the case that it cost."""
        if end.culprits:
            self.recorder.loss(
                Loss(f"after {self.phase}" if self.phase else "the start", str(end), end.culprits, died=True)
            )
        return end

    def _early(self, over: Culprits) -> Early:
        """Lost where others are gone; Stopped where rank 0 is told to end: nobody waits for a drawing then."""
        return (Stopped if self.departures.stop() else Lost)(over.reason, over.names)

    def _nodes(self) -> list[str]:
        return [rank.node for rank in self.ranks]

    def _node(self, rank: int) -> str:
        return self.ranks[rank].node if rank < len(self.ranks) else "a node"

    def _end_workers(self, seen: dict[int, Seen], wanted: dict[str, int], logs: dict[int, str]) -> None:
        for rank, state in seen.items():
            if not state.ended:
                self.control.send(rank, {"do": "stop"})
        deadline = time.monotonic() + self.limits.quit
        while not all(state.ended for state in seen.values()):
            if over := self._over():
                raise self._early(over)
            if time.monotonic() > deadline:
                out = [place for place in self.places() if not place.ended]
                raise Lost(unreachable(out), names(out))
            self._listen(seen, wanted, logs)
            time.sleep(SHORTEST)

    def _joined(self, phase: Phase, seen: dict[int, Seen]) -> None:
        """What the workers said when they stood ready: versions, and the slowest of each step of starting."""
        ready = [state.ready for state in seen.values() if state.ready]
        if not ready:
            return
        steps = {name: max(said["seconds"][name] for said in ready) for name in ready[0]["seconds"]}
        versions = {
            name: sorted({said["versions"].get(name, "") for said in ready}) for name in ready[0]["versions"]
        }
        # which GPU each has: told once, and again where it is another
        gpus = {rank: state.ready["gpu"] for rank, state in seen.items() if state.ready.get("gpu")}
        news = {str(rank): gpu for rank, gpu in gpus.items() if self._gpus.get(rank) != gpu}
        self._gpus |= gpus
        self.recorder.line(
            "joined", phase=phase.name, ranks=len(ready), seconds=steps, versions=versions, gpus=news
        )

    def _keep_logs(self, phase: Phase, logs: dict[int, str]) -> None:
        for rank, text in logs.items():
            if text.strip():
                with (self.recorder.path / "logs" / f"{phase.name}.{rank}.log").open(
                    "a", encoding="utf-8"
                ) as file:
                    file.write(text)

    def ask(
        self, what: str, of: list[int], limit: float, each: Mapping[int, Message] | None = None, **fields: Any
    ) -> dict[int, Message]:
        """Ask supervisors and wait for the answers, at most ``limit`` seconds. ``each``: fields for one rank alone."""
        answers: dict[int, Message] = {}
        for rank in of:
            self.control.send(rank, {"do": what, **fields, **(each or {}).get(rank, {})})
        deadline = time.monotonic() + limit
        pace = Pace()
        while len(answers) < len(of):
            if time.monotonic() > deadline:
                who = names([Place(rank, self._node(rank)) for rank in of if rank not in answers])
                raise self._between(Lost(f"{who}: no answer to {what} within {limit:.0f} s", who))
            if over := self.departures.over(self._nodes()):
                raise self._between(self._early(over))
            self._live()
            messages = list(self.control.receive())
            for source, message in messages:
                if "do" in message:
                    self.supervisor.handle(message)
                elif message.get("said") == what:
                    answers[source] = message["answer"]
                else:
                    self.departures.hear(source, self._node(source), message)
            self.supervisor.look()
            pace.rest(bool(messages))
        return answers


def dismiss(
    control: Control, limit: float, status: int, reason: str = "", gone: Collection[int] = ()
) -> bool:
    """Tell every supervisor to end and wait for the answers, at most ``limit`` s; whether all did.

    ``status`` is the job's, ``reason`` why nothing was measured: who hears it may stand on a node whose launcher
    tells nothing of the others. Those who are ``gone`` already are not waited for, and did not.
    """
    waiting = set(range(control.size)) - {control.rank} - set(gone)
    for rank in waiting:
        control.send(rank, {"do": "quit", "status": status, "reason": reason})
    deadline = time.monotonic() + limit
    while waiting and time.monotonic() < deadline:
        waiting -= {
            source
            for source, message in control.receive()
            if message.get("said") in ("bye", "lost", "farewell")
        }
        time.sleep(SHORTEST)
    return not waiting and not gone
