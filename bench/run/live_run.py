"""A run while rank 0 leads it: its coordinator, options and plan, and how one phase of it is measured."""

from __future__ import annotations

import time

from bench.judge.evidence import Evidence
from bench.model.facts import Node
from bench.model.late_dataclass import dataclass, field, replace
from bench.model.profile import Profile
from bench.model.units import show_seconds
from bench.plan import Job, start_seconds
from bench.store import Phase, Plan, load
from bench.supervise.coordinator import Coordinator
from bench.supervise.limits import COUNTERS as COUNTERS_SECONDS
from bench.supervise.questions import COUNTERS

from .meeting_address import Meeting
from .options import Options, ProgressDisplay


@dataclass
class LiveRun:
    """A run in progress. ``plan`` grows by the phases that follow from what was measured.

    nodes    what the machines are now, those too that were set aside; ``meeting``: where the workers meet
    """

    coordinator: Coordinator
    options: Options
    display: ProgressDisplay
    plan: Plan
    nodes: tuple[Node, ...] = ()
    meeting: Meeting = field(default_factory=lambda: Meeting(""))

    @property
    def profile(self) -> Profile:
        return self.options.profile

    @property
    def leads(self) -> dict[str, int]:
        """Node → its first rank, which answers for it."""
        found: dict[str, int] = {}
        for rank in self.coordinator.ranks:
            found.setdefault(rank.node, rank.rank)
        return found

    @property
    def job(self) -> Job:
        """The job of this run, from which further phases are planned."""
        assert self.coordinator.order is not None
        backend = self.coordinator.order.backend
        return Job(self.profile, self.coordinator.ranks, backend, accept=self.options.accept)

    def evidence(self) -> Evidence:
        """What was measured so far: the run folder as it is now."""
        return Evidence(load(self.coordinator.recorder.path), self.profile)

    def say(self, text: str) -> None:
        """Tell the person, and note it in the run folder."""
        self.coordinator.recorder.note(text)
        self.display.say(text)

    def refuse(self, text: str, given_up: bool = False) -> None:
        """Say, and note in the run folder, why something is not measured. ``given_up``: for want of time."""
        self.coordinator.recorder.note(text, given_up)
        self.display.say(text)

    def seconds(self, phase: Phase) -> float:
        """The longest that a phase may take, with the slowest start of this run in place of the estimated one."""
        timed = self.coordinator.slowest_join
        return (
            max(0.0, phase.seconds - start_seconds(self.job) + timed)
            if timed and phase.cases
            else phase.seconds
        )

    def in_time(self, phase: Phase, until: float | None) -> bool:
        """Whether the phase fits into what is left of the budget until ``until`` (time.monotonic)."""
        wanted = self.seconds(phase)
        left = until - time.monotonic() if until is not None else wanted
        if wanted > left:
            self.refuse(
                f"{phase.name} was not begun: it takes up to {show_seconds(wanted)}, "
                f"{show_seconds(max(left, 0))} of the budget are left",
                given_up=True,
            )
        return wanted <= left

    def add(self, phase: Phase) -> None:
        """Plan a phase that follows from what was measured; the plan is written before the phase begins."""
        self.plan = replace(self.plan, phases=(*self.plan.phases, phase))
        self.coordinator.recorder.plan(self.plan)
        self.display.planned_more(phase)

    def measure(self, phase: Phase) -> None:
        """One phase between two readings of every node's counters."""
        self.display.phase(phase)
        self.read_counters(phase.name, "before")
        self.coordinator.run(phase)
        self.read_counters(phase.name, "after")

    def read_counters(self, phase: str, when: str) -> None:
        """Every node's counters, ``before`` or ``after`` a phase, into the run folder."""
        leads = self.leads
        answers = self.coordinator.ask(COUNTERS, list(leads.values()), COUNTERS_SECONDS)
        snapshots = [answers[lead] for lead in leads.values()]
        self.coordinator.recorder.counters(phase, when, snapshots, leads)
