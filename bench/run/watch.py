"""Watches the nodes beside the job of somebody else: every second each node's bytes and errors, until somebody says
stop.

Nothing is measured and nothing goes over the rails. The folder holds a line a node and second at first; later a line
covers more seconds, so that a watch of a week stays small.
"""

from __future__ import annotations

import contextlib
import time

from bench.model import typed_json
from bench.model.activity import ActivityLine, NodeActivity, joined
from bench.model.counters import Snapshot
from bench.model.late_dataclass import dataclass, field
from bench.model.run_folder_lines import PhaseMark
from bench.plan.phase_names import WATCH
from bench.supervise.limits import COUNTERS as COUNTERS_SECONDS
from bench.supervise.limits import Stopped
from bench.supervise.questions import ACTIVITY, COUNTERS, LookOn

from .live_run import LiveRun

STEP = 1.0  # seconds
ANSWER_SECONDS = 30.0  # for a node that is busy
POINTS = 720  # a line covers at least this part of the time since the start
SNAPSHOT_SECONDS = 30.0  # between two readings of all counters


@dataclass
class Watch:
    """The watch of a run that rank 0 leads.

    seconds    None: until it is interrupted; ``inspector``: the folder of NCCL's Inspector, on every node
    """

    live: LiveRun
    seconds: float | None
    inspector: str
    _begun: float = 0.0
    _pending: dict[str, list[NodeActivity]] = field(default_factory=dict)
    _last: list[Snapshot] = field(default_factory=list)
    _read: float = 0.0

    def watch(self) -> None:
        """Watch until the time is over or somebody interrupts it, which is the usual end."""
        recorder = self.live.coordinator.recorder
        self.live.display.watching(self.live.nodes, self.live.profile.rails)
        recorder.add(PhaseMark(WATCH, "begin"))
        self._snapshots()
        recorder.counters(WATCH, "before", self._last, self.live.leads)
        self._begun = time.monotonic()
        try:
            with contextlib.suppress(Stopped):
                self._take()
                while self.seconds is None or self._elapsed < self.seconds:
                    self._wait(time.monotonic() + STEP)
                    self._take()
                self._snapshots()
        finally:
            self._flush()
            if (
                self.live.coordinator.control.size == 1
            ):  # nobody else has to be asked, though it was interrupted
                self._last = [
                    typed_json.load(Snapshot, self.live.coordinator.supervisor.answer(COUNTERS.word))
                ]
            recorder.counters(WATCH, "after", self._last, self.live.leads)
            recorder.add(PhaseMark(WATCH, "end"))

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _wait(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0 and not self.live.coordinator.departures.stop():
            time.sleep(min(left, 0.1))

    def _snapshots(self) -> None:
        leads = list(self.live.leads.values())
        answers = self.live.coordinator.ask(COUNTERS, leads, COUNTERS_SECONDS)
        self._last = [answers[lead] for lead in leads]
        self._read = time.monotonic()

    def _take(self) -> None:
        """Ask every node for its last second, show that, and keep it until it fills a line of the run folder."""
        leads = self.live.leads
        first = min(leads.values())  # one of them asks NCCL's RAS, which knows all of the job
        answers = self.live.coordinator.ask(
            ACTIVITY,
            list(leads.values()),
            ANSWER_SECONDS,
            {lead: LookOn(self.inspector, ras=lead == first) for lead in leads.values()},
        )
        for node, lead in leads.items():
            found = answers[lead]
            if (
                self._pending.setdefault(node, []) or found.looks
            ):  # the first answer only begins the watch there
                self._pending[node].append(found)
                self.live.display.activity(self._elapsed, node, found)
            if sum(each.span for each in self._pending[node]) >= max(STEP / 2, self._elapsed / POINTS):
                self._keep(node)
        if time.monotonic() - self._read >= SNAPSHOT_SECONDS:
            self._snapshots()

    def _keep(self, node: str) -> None:
        line = ActivityLine(self._elapsed, node, joined(self._pending.pop(node)))
        self.live.coordinator.recorder.activity(line)

    def _flush(self) -> None:
        for node in [node for node, spans in self._pending.items() if spans]:
            self._keep(node)
