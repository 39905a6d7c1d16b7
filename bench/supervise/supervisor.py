"""The part that runs on every rank: it starts the worker of each phase, passes on what it says, ends it when told."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure.perftest.processes import Errands
from bench.measure.work_order import HEARTBEAT_SECONDS
from bench.model.errors import EXIT_INCONCLUSIVE
from bench.probe.gpu_load import Gauge
from bench.probe.rail_activity import Passing
from bench.probe.rail_wiring import hear
from bench.supervise.control.tcp import Control, Message
from bench.supervise.hangs.departed import ORPHAN, TOLD
from bench.supervise.monitor import Health
from bench.supervise.worker_process import Nursery, Worker

from .farewell import Above, say
from .limits import SILENT_SECONDS, Pace

LOG_BYTES = 4 << 20  # of a worker's log that travels to the run folder


@dataclass
class Supervisor:
    """The part that runs on every rank; no single call of it blocks but ``serve``."""

    control: Control
    answer: Callable[[str], Message]
    base_environment: Mapping[str, str]
    worker: Worker | None = None
    nursery: Nursery | None = None
    above: Above = field(default_factory=lambda: Above(0, ""))
    told: str = ""  # that a signal told it to end
    quit: bool = False
    status: int = EXIT_INCONCLUSIVE  # of the job, once it is over, or whose rank 0 is gone
    reason: str = ""  # why nothing was measured
    errands: Errands = field(default_factory=Errands)
    _folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="railgauge-")))
    _lost: str = ""
    _beat: Message = field(default_factory=dict)
    _beat_sent: float = 0.0
    _log: Path = Path()
    _passing: Passing = field(default_factory=lambda: Passing(()))
    _health: Health | None = None

    def _warm(self, environment: Mapping[str, str]) -> Nursery:
        """The process that has imported torch, begun ahead of the first phase; another where this one does not fit."""
        if self.nursery and not self.nursery.fits(environment):
            self.nursery.close()
            self.nursery = None
        if self.nursery is None:
            self.nursery = Nursery(environment)
        return self.nursery

    def serve(self) -> str:
        """Obey and report until dismissed; why it left before, "" when it did not."""
        pace, heard = Pace(), time.monotonic()
        while not self.quit:
            messages = list(self.control.receive())
            for _, message in messages:
                self.handle(message)
            heard = time.monotonic() if messages else heard
            if early := self._early(time.monotonic() - heard):
                say(self.control, *early)
                self.stop_now()
                return f"{early[1]} is gone" if early[0] == ORPHAN else early[1]
            pace.rest(self.look() or bool(messages))
        if not self._lost:
            self.control.flush(1.0)
        return self._lost

    def _early(self, silent: float) -> tuple[str, str] | None:
        """How and why this supervisor must leave before it is dismissed."""
        if self.above.gone():
            return ORPHAN, self.above.text
        if self.told:
            return TOLD, self.told
        return (TOLD, f"rank 0 said nothing for {silent:.0f} s") if silent > SILENT_SECONDS else None

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
            self.quit, self._lost = True, message.get("lost", "")
            self.status, self.reason = message.get("status", self.status), message.get("reason", "")
            self.control.send(0, {"said": "bye"})
        elif what in ("hello", "probe", "counters", "fabric"):
            self.control.send(0, {"said": what, "answer": self.answer(what)})
        elif what == "wiring":
            self.control.send(0, {"said": what, "answer": hear(message["rails"], message["job"])})
        elif what in self.errands.known:
            self.errands.begin(message)

    def _start(self, message: Message) -> None:
        self._log = self._folder / "worker.log"
        order = message["order"]
        environment = {**self.base_environment, **message["environment"]}
        if "NCCL_DEBUG" in environment:
            environment.setdefault("NCCL_DEBUG_FILE", str(self._folder / "nccl.%p.log"))
        self._beat, self._beat_sent = {}, 0.0
        self._passing = Passing(tuple(order["rails"]))
        self.worker = Worker(order, environment, self._log, self._warm(environment))
        leads = order["local_rank"] == 0
        counters = (lambda: self.answer("counters")) if leads else None
        self._health = Health(order["rules"]["window"] > 0, counters)

    def look(self) -> bool:
        """Pass on what the worker says and whether it has ended; whether there was anything new."""
        for message in self.errands.look():
            self.control.send(0, message)
        if not self.worker:
            return False
        news = list(self.worker.heard())
        for heard in news:
            self._pass_on(heard)
        if self._health:
            self._health.look(self._beat.get("case", ""), self.worker.pid)
        if time.monotonic() - self._beat_sent > HEARTBEAT_SECONDS:
            self.control.send(0, self._heartbeat(self.worker))
            self._beat_sent = time.monotonic()
        status = self.worker.ended()
        if status is not None:
            for heard in self.worker.heard():
                self._pass_on(heard)
            tail, log = self.worker.tail(), self._logs()
            health = self._health.end() if self._health else {}
            self.worker.close()
            self.worker = None
            self.control.send(
                0, {"said": "ended", "status": status, "tail": tail, "log": log, "health": health}
            )
            return True
        return any(heard["kind"] != "beat" for heard in news)

    def _heartbeat(self, worker: Worker) -> Message:
        """What the worker last said of itself, and what its supervisor sees of it and of the rails."""
        beat = self._beat or {"case": "", "stage": worker.stage, "calls": 0}
        age = time.monotonic() - beat["at"] if "at" in beat else None
        return {"said": "beat", **beat, "age": age, "state": worker.state(), "links": self._passing.look()}

    def _pass_on(self, heard: Message) -> None:
        if heard["kind"] == "beat":
            self._beat = {**heard, "at": time.monotonic()}
            return
        if heard["kind"] == "ready" and self._health:
            self._health.meet(heard["gpu"], Gauge)
        self.control.send(0, {"said": "worker", "heard": heard})

    def _logs(self) -> str:
        """The worker's own output and NCCL's files, the newest bytes of each."""
        text = self.nursery.said() if self.nursery else ""
        for path in [self._log, *sorted(self._folder.glob("nccl.*.log"))]:
            if path.exists():
                text += path.read_bytes()[-LOG_BYTES:].decode(errors="replace")
                path.unlink()
        return text

    def stop_now(self) -> None:
        """End the worker and all errands at once and take the temporary folder away."""
        self.errands.stop()
        if self.worker:
            self.worker.kill()
            self.worker.close()
            self.worker = None
        if self.nursery:
            self.nursery.close()
            self.nursery = None
        for path in self._folder.glob("*"):
            path.unlink(missing_ok=True)
        if self._folder.exists():
            self._folder.rmdir()
