"""The supervisors: one on every rank with its worker, and on rank 0 the coordinator over them.

A supervisor imports no torch and no CUDA. It starts the worker of each phase, passes on what the
worker says, and ends it when told. The coordinator decides: it holds the deadlines, writes the
journal, finds who is to blame when a phase breaks, and goes on with the cases that are left.
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .agent import Worker
from .control import Control, Message
from .measure import Rules
from .model import Case, Measurement, Rank
from .order import Order
from .store import Loss, Phase, Recorder

SHORTEST, LONGEST = 0.002, 0.05  # seconds between two looks for messages
BEAT_SECONDS = 1.0
LOG_BYTES = 4 << 20  # of a worker's log that travels to the run folder
TRIES = 2  # workers that may break one after the other before a phase is given up


@dataclass(frozen=True)
class Limits:
    """Deadlines in seconds: to join, without any progress in a case, and to hear from everybody at the end."""

    join: float = 180.0
    hang: float = 60.0
    quit: float = 6.0


@dataclass
class Pace:
    """How long to sleep between two looks: short while there is talk, longer and longer when there is none.

    Four supervisors that look 20 times a second take less than 1 % of a core together; an MPI wait would
    take all of it.
    """

    _sleep: float = SHORTEST

    def rest(self, busy: bool) -> None:
        self._sleep = SHORTEST if busy else min(LONGEST, self._sleep * 1.5)
        time.sleep(self._sleep)


@dataclass
class Supervisor:
    """The part that runs on every rank; no single call of it blocks but ``serve``."""

    control: Control
    answer: Callable[[str], Message]
    base_environment: Mapping[str, str]
    worker: Worker | None = None
    quit: bool = False
    _folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="railgauge-")))
    _beat: Message = field(default_factory=dict)
    _beat_sent: float = 0.0
    _log: Path = Path()

    def serve(self) -> None:
        """Obey and report until dismissed."""
        pace = Pace()
        while not self.quit:
            messages = list(self.control.receive())
            for _, message in messages:
                self.handle(message)
            pace.rest(self.look() or bool(messages))
        self.control.flush(1.0)

    def handle(self, message: Message) -> None:
        """Do what the coordinator says."""
        what = message["do"]
        if what == "start":
            self._start(message)
        elif what == "rendezvous" and self.worker:
            self.worker.tell({"port": message["port"]})
        elif what == "stop" and self.worker:
            self.worker.stop()
        elif what == "quit":
            self.stop_now()
            self.quit = True
            self.control.send(0, {"said": "bye"})
        elif what in ("hello", "probe", "counters", "fabric"):
            self.control.send(0, {"said": what, "answer": self.answer(what)})

    def _start(self, message: Message) -> None:
        self._log = self._folder / f"{message['order']['phase']}.log"
        environment = {**self.base_environment, **message["environment"]}
        if "NCCL_DEBUG" in environment:
            environment.setdefault("NCCL_DEBUG_FILE", str(self._folder / "nccl.%p.log"))
        self._beat, self._beat_sent = {}, 0.0
        self.worker = Worker(message["order"], environment, self._log)

    def look(self) -> bool:
        """Pass on what the worker says and whether it has ended; whether there was anything new."""
        if not self.worker:
            return False
        news = list(self.worker.heard())
        for heard in news:
            self._pass_on(heard)
        if self._beat and time.monotonic() - self._beat_sent > BEAT_SECONDS:
            self.control.send(0, {"said": "beat", **self._beat, "age": time.monotonic() - self._beat["at"]})
            self._beat_sent = time.monotonic()
        status = self.worker.ended()
        if status is not None:
            for heard in self.worker.heard():
                self._pass_on(heard)
            tail, log = self.worker.tail(), self._logs()
            self.worker.close()
            self.worker = None
            self.control.send(0, {"said": "ended", "status": status, "tail": tail, "log": log})
            return True
        return any(heard["kind"] != "beat" for heard in news)

    def _pass_on(self, heard: Message) -> None:
        if heard["kind"] == "beat":
            self._beat = {**heard, "at": time.monotonic()}
        else:
            self.control.send(0, {"said": "worker", "heard": heard})

    def _logs(self) -> str:
        """The worker's own output and NCCL's files, the newest bytes of each."""
        text = ""
        for path in [self._log, *sorted(self._folder.glob("nccl.*.log"))]:
            if path.exists():
                text += path.read_bytes()[-LOG_BYTES:].decode(errors="replace")
                path.unlink()
        return text

    def stop_now(self) -> None:
        """End the worker at once and take the temporary folder away."""
        if self.worker:
            self.worker.kill()
            self.worker.close()
            self.worker = None
        for path in self._folder.glob("*"):
            path.unlink(missing_ok=True)
        if self._folder.exists():
            self._folder.rmdir()


@dataclass
class Seen:
    """What the coordinator knows of one rank in the running phase."""

    beat: Message = field(default_factory=dict)
    heard: float = 0.0
    moved: float = 0.0
    ready: bool = False
    failed: Message = field(default_factory=dict)
    status: int | None = None
    ended: bool = False
    tail: str = ""


class Stopped(Exception):
    """A person asked to stop; what was measured is kept."""


class Lost(Exception):
    """A supervisor does not answer; the message names it."""


@dataclass
class Coordinator:
    """Runs phases over all supervisors from rank 0."""

    control: Control
    supervisor: Supervisor
    recorder: Recorder
    limits: Limits
    notice: Callable[[str, dict[str, Any]], None]
    stop: Callable[[], bool] = lambda: False
    ranks: tuple[Rank, ...] = ()
    order: Order | None = None  # a template: everything but phase, cases and rank
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, phase: Phase, rotation: dict[str, int]) -> None:
        """Measure a phase: what breaks is recorded and the cases after it are tried in fresh workers."""
        self.recorder.line("phase", name=phase.name, state="begin", cases=len(phase.cases))
        left, broken, done = list(phase.cases), 0, 0
        while left:
            before = len(left)
            left, trouble = self._attempt(phase, left, rotation)
            done += before - len(left)
            if not trouble:
                continue
            broken = 1 if before > len(left) else broken + 1
            case = left.pop(0) if left else None
            if case is not None:
                self.recorder.loss(Loss(case.id, trouble[0], trouble[1]))
                self.notice("loss", {"case": case, "reason": trouble[0]})
            else:
                self.recorder.line("note", text=f"after the last case of {phase.name}: {trouble[0]}")
            if broken >= TRIES:
                for rest in left:
                    self.recorder.loss(
                        Loss(rest.id, f"not tried: the phase broke {TRIES} times in a row", "")
                    )
                break
        self.recorder.line("phase", name=phase.name, state="end", measured=done)

    def _attempt(
        self, phase: Phase, cases: list[Case], rotation: dict[str, int]
    ) -> tuple[list[Case], tuple[str, str] | None]:
        """One worker a rank over ``cases``: what is left, and (reason, culprit) when it broke."""
        begun = time.monotonic()
        seen = {rank.rank: Seen(heard=begun, moved=begun) for rank in self.ranks}
        for rank in self.ranks:
            assert self.order is not None
            order = replace(
                self.order,
                phase=phase.name,
                cases=tuple(cases),
                rank=rank.rank,
                local_rank=rank.local_rank,
                name=f"{phase.name}-{cases[0].id}",
                rotation={case.id: rotation[case.id] for case in cases},
                rules=Rules(**{**asdict(self.order.rules), **phase.rules}),
            )
            self.control.send(
                rank.rank,
                {
                    "do": "start",
                    "order": order.to_json(),
                    "environment": {**self.environment, **phase.environment},
                },
            )
        wanted = {case.id: len(case.groups) for case in cases}
        logs: dict[int, str] = {}
        trouble: tuple[str, str] | None = None
        pace = Pace()
        while not all(state.ended for state in seen.values()):
            busy = self._listen(seen, wanted, logs)
            if self.stop():
                self._end_workers(seen, wanted, logs)
                raise Stopped
            if trouble is None and (trouble := self._trouble(seen, begun)):
                self._end_workers(seen, wanted, logs)
            pace.rest(busy)
        self._keep_logs(phase, logs)
        left = [case for case in cases if wanted[case.id] > 0]
        if left and trouble is None:
            trouble = ("the workers ended before this case was measured", "")
        return left, trouble

    def _listen(self, seen: dict[int, Seen], wanted: dict[str, int], logs: dict[int, str]) -> bool:
        messages = list(self.control.receive())
        for source, message in messages:
            if "do" in message:
                self.supervisor.handle(message)
            elif source in seen:
                self._take(source, message, seen[source], wanted, logs)
        return self.supervisor.look() or any(message.get("said") != "beat" for _, message in messages)

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
        elif message["said"] == "worker":
            self._worker_said(message["heard"], state, wanted)

    def _worker_said(self, heard: Message, state: Seen, wanted: dict[str, int]) -> None:
        state.moved = state.heard
        if heard["kind"] == "store":
            for rank in self.ranks[1:]:
                self.control.send(rank.rank, {"do": "rendezvous", "port": heard["port"]})
        elif heard["kind"] == "ready":
            state.ready = True
        elif heard["kind"] == "measurement":
            row = Measurement.from_json({key: value for key, value in heard.items() if key != "kind"})
            self.recorder.measurement(row)
            wanted[row.case] -= 1
            self.notice("measurement", {"row": row})
        elif heard["kind"] == "failed":
            state.failed = heard

    def _trouble(self, seen: dict[int, Seen], begun: float) -> tuple[str, str] | None:
        """(reason, culprit) when the phase cannot go on: a worker died or failed, or nothing moves."""
        now = time.monotonic()
        broken = [rank for rank, state in seen.items() if state.failed or (state.ended and state.status != 0)]
        if broken:
            # the peers of a dead worker fail too, at about the same time: hear them all before blaming one
            if now - min(seen[rank].heard for rank in broken) < 1.5 and len(broken) < len(seen):
                return None
            return self._blame(broken, seen)
        joining = [rank for rank, state in seen.items() if not state.ready]
        limit = self.limits.join if joining else self.limits.hang
        still = [rank for rank, state in seen.items() if not state.ended and now - state.moved > limit]
        if not still or (joining and now - begun < self.limits.join):
            return None
        return self._hang(seen, joining, limit, now)

    def _blame(self, broken: list[int], seen: dict[int, Seen]) -> tuple[str, str]:
        killed = [rank for rank in broken if (seen[rank].status or 0) < 0 and not seen[rank].failed]
        own = [rank for rank in broken if seen[rank].failed and not _second_hand(seen[rank].failed["text"])]
        first = (killed or own or broken)[0]
        state, name = seen[first], self._name(first)
        at = state.failed.get("at") or state.beat
        where = f" in {at['stage']}, call {at['calls']}" if at else ""
        if killed:
            signals = signal.Signals(-(state.status or 0)).name
            return f"the worker of {name} was killed by {signals}{where}", name
        if state.failed:
            return (
                f"the worker of {name} failed{where}: {state.failed['error']}: {state.failed['text']}",
                name,
            )
        last = state.tail.strip().splitlines()[-1:] or ["it printed nothing"]
        return f"the worker of {name} ended with status {state.status}: {last[0][:300]}", name

    def _hang(self, seen: dict[int, Seen], joining: list[int], limit: float, now: float) -> tuple[str, str]:
        """Who holds the others up: the silent ones, else those that entered the fewest calls."""
        if joining:
            names = ", ".join(self._name(rank) for rank in joining[:8])
            return f"{names} did not join within {limit:.0f} s", names
        silent = [rank for rank, state in seen.items() if now - state.heard + state.beat.get("age", 0) > 5]
        if silent:
            names = ", ".join(self._name(rank) for rank in silent[:8])
            age = max(now - seen[rank].heard + seen[rank].beat.get("age", 0) for rank in silent)
            return f"no progress for {limit:.0f} s; {names}: last heartbeat {age:.1f} s ago", names
        least = min(state.beat.get("calls", 0) for state in seen.values())
        most = max(state.beat.get("calls", 0) for state in seen.values())
        behind = [rank for rank, state in seen.items() if state.beat.get("calls", 0) == least]
        names = ", ".join(self._name(rank) for rank in behind[:8])
        if least == most:
            stages = ", ".join(sorted({str(state.beat.get("stage", "starting")) for state in seen.values()}))
            return (
                f"no progress for {limit:.0f} s; all ranks are in call {most} ({stages}) and none left it",
                "",
            )
        return (
            f"no progress for {limit:.0f} s; {names} never entered call {least + 1}, others are in {most}",
            names,
        )

    def _name(self, rank: int) -> str:
        return f"rank {rank} ({self.ranks[rank].node})"

    def _end_workers(self, seen: dict[int, Seen], wanted: dict[str, int], logs: dict[int, str]) -> None:
        for rank, state in seen.items():
            if not state.ended:
                self.control.send(rank, {"do": "stop"})
        deadline = time.monotonic() + self.limits.quit
        while not all(state.ended for state in seen.values()):
            if time.monotonic() > deadline:
                names = ", ".join(self._name(rank) for rank, state in seen.items() if not state.ended)
                raise Lost(f"the supervisor of {names} does not answer; its processes may still run")
            self._listen(seen, wanted, logs)
            time.sleep(SHORTEST)

    def _keep_logs(self, phase: Phase, logs: dict[int, str]) -> None:
        for rank, text in logs.items():
            if text.strip():
                with (self.recorder.path / "logs" / f"{phase.name}.{rank}.log").open(
                    "a", encoding="utf-8"
                ) as file:
                    file.write(text)

    def ask(self, what: str, of: list[int], limit: float, **fields: Any) -> dict[int, Message]:
        """Ask supervisors and wait for the answers, at most ``limit`` seconds."""
        answers: dict[int, Message] = {}
        for rank in of:
            self.control.send(rank, {"do": what, **fields})
        deadline = time.monotonic() + limit
        while len(answers) < len(of):
            if time.monotonic() > deadline:
                missing = ", ".join(str(rank) for rank in of if rank not in answers)
                raise Lost(f"no answer to {what} within {limit:.0f} s from the supervisor of rank {missing}")
            if self.stop():
                raise Stopped
            for source, message in self.control.receive():
                if "do" in message:
                    self.supervisor.handle(message)
                elif message.get("said") == what:
                    answers[source] = message["answer"]
            time.sleep(SHORTEST)
        return answers


def dismiss(control: Control, limit: float) -> bool:
    """Tell every supervisor to end, again and again until it answers, at most ``limit`` s; whether all did.

    A message can get lost (seen once with Open MPI 5.0.11's shared memory): an answer is worth waiting for.
    """
    waiting = set(range(control.size)) - {control.rank}
    deadline = time.monotonic() + limit
    again = 0.0
    while waiting and time.monotonic() < deadline:
        if time.monotonic() > again:
            again = time.monotonic() + 0.5
            for rank in waiting:
                control.send(rank, {"do": "quit"})
        waiting -= {source for source, message in control.receive() if message.get("said") == "bye"}
        time.sleep(SHORTEST)
    return not waiting


def _second_hand(text: str) -> bool:
    """Whether an error is the echo of a peer's death rather than its cause."""
    lowered = text.lower()
    return any(
        word in lowered
        for word in ("connection reset", "connection closed", "broken pipe", "timed out", "remote")
    )
