"""The supervisor of one rank: it starts the worker of each phase, passes on what it reports, and ends it when told."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bench.launch import scratch
from bench.measure.perftest.processes import PerftestJobs, PerftestRunner
from bench.measure.work_order import HEARTBEAT_SECONDS, WorkOrder
from bench.model.activity import NodeActivity
from bench.model.errors import EXIT_INCONCLUSIVE
from bench.model.late_dataclass import dataclass, field
from bench.model.profile import tunes
from bench.model.run_folder_lines import WorkerGpu
from bench.model.typed_json import Misfit, load, to_json
from bench.probe.gpu_load import GpuSampler
from bench.probe.rail_activity import RailActivity
from bench.probe.rail_wiring import hear_broadcasts
from bench.probe.reachability import listen, reach

from .control.message_frames import Message
from .control.tcp import Control
from .departures import FAREWELL_SECONDS, ORPHANED, SIGNALLED, ParentLauncher, send_farewell
from .limits import SILENT_SECONDS, Pace
from .monitor import Monitor
from .questions import (
    ACTIVITY,
    LISTEN,
    MACHINE,
    REACH,
    WIRING,
    HearBroadcasts,
    ListenAt,
    LookOn,
    Opened,
    Reach,
    ReachTries,
)
from .shared_import import LATE
from .worker_process import ForkServer, Worker, last_words

if TYPE_CHECKING:
    from .node_watch import NodeWatch

LINGER_SECONDS = 4.0  # for the others of this node to end their workers and leave
LOG_BYTES = 4 << 20  # of a worker's log that travel to the run folder


@dataclass
class Supervisor:
    """Runs on every rank; no call of it blocks but ``serve``.

    answer     what is known of this machine, by the name of the question
    signalled  that a signal told it to end
    dismissed  that rank 0 told it to end, with the job's ``status`` and the ``reason`` why nothing was measured;
               of a job whose rank 0 is gone nothing but an error is known
    """

    control: Control
    answer: Callable[[str], Message]
    base_environment: Mapping[str, str]
    worker: Worker | None = None
    fork_server: ForkServer | None = None
    parent: ParentLauncher = field(default_factory=ParentLauncher)
    signalled: str = ""
    dismissed: bool = False
    status: int = EXIT_INCONCLUSIVE
    reason: str = ""
    perftest_runner: PerftestRunner = field(default_factory=PerftestRunner)
    _scratch: ExitStack = field(default_factory=ExitStack)
    _folder: Path = Path()
    _lost: str = ""
    _beat: Message = field(default_factory=dict)
    _beat_sent: float = 0.0
    _log: Path = Path()
    _passing: RailActivity = field(default_factory=lambda: RailActivity(()))
    _monitor: Monitor | None = None
    _leads: bool = False
    _node_watch: NodeWatch | None = None

    def __post_init__(self) -> None:
        self._folder = self._scratch.enter_context(scratch.folder())

    def serve(self) -> str:
        """Obey and report until dismissed; why it left before, "" when it did not."""
        pace, last = Pace(), time.monotonic()
        while not self.dismissed:
            messages = list(self.control.receive())
            for _, message in messages:
                self.handle(message)
            last = time.monotonic() if messages else last
            if early := self._early(time.monotonic() - last):
                send_farewell(self.control, *early)
                self.control.linger(FAREWELL_SECONDS)
                self.stop_now()
                return f"{early[1]} is gone" if early[0] == ORPHANED else early[1]
            pace.rest(self.poll() or bool(messages), self.control.rest)
        self.control.linger(LINGER_SECONDS)
        if not self._lost:
            self.control.flush(1.0)
        return self._lost

    def _early(self, silent: float) -> tuple[str, str] | None:
        """How and why this supervisor must leave before it is dismissed."""
        if self.parent.ended():
            return ORPHANED, self.parent.text
        if self.signalled:
            return SIGNALLED, self.signalled
        return (SIGNALLED, f"rank 0 sent nothing for {silent:.0f} s") if silent > SILENT_SECONDS else None

    def handle(self, message: Message) -> None:
        """Do what the coordinator says."""
        what = message["do"]
        if what == "start":
            self._start(message)
        elif what == "rendezvous" and self.worker:
            self.worker.send({"port": message["port"]})
        elif what == "stop" and self.worker:
            self.worker.stop()
        elif what == "quit":
            self.stop_now()
            self.dismissed, self._lost = True, message.get("lost", "")
            self.status, self.reason = message.get("status", self.status), message.get("reason", "")
            self.control.send(0, {"said": "bye"})
        elif what in self.perftest_runner.known:
            self.perftest_runner.begin(what, load(PerftestJobs, message))
        elif (answer := self._answer(what, message)) is not None:
            self.control.send(0, {"said": what, "answer": answer})

    def _answer(self, what: str, message: Message) -> Message | None:
        """What is known of this machine or can be tried from it; None of what is no question."""
        if what in MACHINE:
            return self.answer(what)
        if what == ACTIVITY.word:
            return dict(to_json(self._activity(load(LookOn, message))))
        if what == WIRING.word:
            hear = load(HearBroadcasts, message)
            return dict(to_json(hear_broadcasts(hear.rails, hear.job)))
        if what == LISTEN.word:
            at = load(ListenAt, message)
            return dict(to_json(Opened(listen(at.addresses, at.greeting, at.ports))))
        if what == REACH.word:
            return dict(to_json(ReachTries(tuple(reach(load(Reach, message).targets)))))
        return None

    def _activity(self, told: LookOn) -> NodeActivity:
        """What this node did since the last time; the first time its watch begins."""
        if self._node_watch is None:
            from .node_watch import NodeWatch

            folder = Path(told.inspector) if told.inspector else None
            ras = self.base_environment if told.ras else None
            self._node_watch = NodeWatch(inspector=folder, ras=ras)
        return self._node_watch.take()

    def _start(self, message: Message) -> None:
        # rank 0 is believed no more than a profile: whoever has the token could stand in its place
        order = to_json(load(WorkOrder, message["order"]))
        told = load(dict[str, str], message["environment"])
        if odd := [name for name, value in told.items() if name not in LATE and not tunes(name, value)]:
            raise Misfit(f"rank 0 may not set {odd[0]} for a worker")
        self._log = self._folder / f"{order['phase']}.log"
        environment = {**self.base_environment, **told}
        if "NCCL_DEBUG" in environment:
            environment.setdefault("NCCL_DEBUG_FILE", str(self._folder / "nccl.%p.log"))
        self._beat, self._beat_sent = {}, 0.0
        self._passing = RailActivity(tuple(order["rails"]))
        self.worker = Worker(order, environment, self._log, self._fork_server(environment))
        self._leads = order["local_rank"] == 0
        counters = (lambda: self.answer("counters")) if self._leads else None
        self._monitor = Monitor(order["rules"]["window"] > 0, counters)

    def _fork_server(self, environment: Mapping[str, str]) -> ForkServer:
        """The process that has imported torch, started before the first phase; another where this one does not fit."""
        if self.fork_server and not self.fork_server.fits(environment):
            self.fork_server.close()
            self.fork_server = None
        if self.fork_server is None:
            self.fork_server = ForkServer(environment)
        return self.fork_server

    def poll(self) -> bool:
        """Pass on what the worker reports and whether it has ended; whether there was anything new."""
        for said, answer in self.perftest_runner.look():
            self.control.send(0, {"said": said, "answer": to_json(answer)})
        if not self.worker:
            return False
        messages = list(self.worker.receive())
        for message in messages:
            self._pass_on(message)
        if self._monitor:
            self._monitor.poll(self._beat.get("case", ""), self.worker.pid)
            if health := self._monitor.interim():
                self.control.send(0, {"said": "health", "health": to_json(health)})
        if time.monotonic() - self._beat_sent > HEARTBEAT_SECONDS:
            self.control.send(0, self._heartbeat(self.worker))
            self._beat_sent = time.monotonic()
        status = self.worker.ended()
        if status is None:
            return any(message["kind"] != "beat" for message in messages)
        self._report_end(self.worker, status)
        return True

    def _report_end(self, worker: Worker, status: int) -> None:
        for message in worker.receive():
            self._pass_on(message)
        words, log = last_words(worker.tail()) if status else "", self._logs()
        health = to_json(self._monitor.result() if self._monitor else None)
        worker.close()
        self.worker = None
        self.control.send(
            0, {"said": "ended", "status": status, "words": words, "log": log, "health": health}
        )

    def _heartbeat(self, worker: Worker) -> Message:
        """What the worker last reported of itself, and what its supervisor sees of it and of the rails."""
        beat = self._beat or {"case": "", "stage": worker.stage, "calls": 0}
        age, links = time.monotonic() - beat["at"] if "at" in beat else None, self._passing.look()
        found = {"said": "beat", **beat, "age": age, "state": worker.state(), "links": links}
        return found | ({"rails": to_json(self._passing.links)} if self._leads else {})

    def _pass_on(self, message: Message) -> None:
        if message["kind"] == "beat":
            self._beat = {**message, "at": time.monotonic()}
            return
        if message["kind"] == "measurement":
            self.control.send(0, {"said": "row", "row": message["row"]})
            return
        if message["kind"] == "ready" and self._monitor:
            self._monitor.use_gpu(load(WorkerGpu, message["gpu"]) if message["gpu"] else None, GpuSampler)
        self.control.send(0, {"said": "worker", "heard": message})

    def _logs(self) -> str:
        """The worker's own output and NCCL's files, the newest bytes of each."""
        text = self.fork_server.output() if self.fork_server else ""
        for path in [self._log, *sorted(self._folder.glob("nccl.*.log"))]:
            if path.exists():
                text += path.read_bytes()[-LOG_BYTES:].decode(errors="replace")
                path.unlink()
        return text

    def stop_now(self) -> None:
        """End the worker and all processes of perftest at once and remove the temporary folder."""
        self.perftest_runner.stop()
        if self.worker:
            self.worker.kill()
            self.worker.close()
            self.worker = None
        if self.fork_server:
            self.fork_server.close()
            self.fork_server = None
        self._scratch.close()
