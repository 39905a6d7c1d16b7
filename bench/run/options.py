"""Command-line options of a run, and the display that shows its progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.measure.loop import TimingRules
from bench.model.errors import RailGaugeError
from bench.model.late_dataclass import dataclass, field
from bench.model.profile import Profile
from bench.plan import AcceptOptions, Request
from bench.probe.tcp_ports import PORTS
from bench.store import Manifest, Phase, Plan, Run
from bench.supervise.limits import Limits
from bench.supervise.phase_observer import PhaseObserver

if TYPE_CHECKING:
    from bench.judge.evidence import Evidence
    from bench.model.activity import NodeActivity
    from bench.model.facts import Node
    from bench.model.profile import Rails
    from bench.plan.estimate import Estimate


class CannotRun(RailGaugeError):
    """Nothing can be measured here; the message says what is missing. Exit status 3."""


@dataclass(frozen=True)
class Nightly:
    """Options of a nightly run: the history's folder or URL, the cluster's name in it ("" finds one), the seconds.

    ``new``: start a new history, although earlier runs were recorded.
    """

    history: str
    cluster: str = ""
    budget: float = 600.0
    new: bool = False


@dataclass(frozen=True)
class WatchOptions:
    """How long a job is watched, None: until it is interrupted. ``inspector``: the folder of NCCL's Inspector."""

    seconds: float | None = None
    inspector: str = ""


@dataclass(frozen=True)
class Options:
    """Options of a run, from the command line or from the run that is resumed.

    sweeps      what ``railgauge run`` measures instead of the profile's sweep
    gpus        of each node, as ordered; None: as the profile says
    go_on       measure even when a check that needs no measurement fails
    meet_interface  of the first node, at which the workers and supervisors meet; "": the first that all nodes reach
    ports       the first and the last at which the first node listens for the others, each node on its rails
    strict      one sick node ends the run, instead of being set aside
    share       other users may read the run folder
    title, site  what a person calls the cluster and its site, on the report; None: what the folder or profile says
    probe_only  end after the facts: ``railgauge probe``
    dry_run     show what the ranks that are there would measure, and measure nothing
    accept      which optional phases are measured, and the time limit
    watch       measure nothing and watch the job of somebody else: ``railgauge watch``
    resumed     an interrupted run that goes on in its own folder
    without     nodes that a resumed run goes on without
    nightly     a short plan instead, compared with the nights before: ``railgauge nightly``
    before_measuring  called before anything is measured: what runs beside the run must rest from then on
    start_time  time.monotonic() when the command began: a budget is counted from there
    """

    profile: Profile
    out: Path
    command: tuple[str, ...]
    limits: Limits = field(default_factory=Limits)
    rules: TimingRules = field(default_factory=TimingRules)
    repetitions: int = 2
    sweeps: tuple[Request, ...] = ()
    report: Callable[[Evidence, str], None] | None = None
    before_measuring: Callable[[], None] = lambda: None
    gpus: int | None = None
    go_on: bool = False
    meet_interface: str = ""
    ports: tuple[int, int] = PORTS
    strict: bool = False
    share: bool = False
    title: str | None = None
    site: str | None = None
    probe_only: bool = False
    dry_run: bool = False
    accept: AcceptOptions = field(default_factory=AcceptOptions)
    nightly: Nightly | None = None
    watch: WatchOptions | None = None
    resumed: Run | None = None
    without: tuple[str, ...] = ()
    start_time: float = field(default_factory=time.monotonic)

    @property
    def measures(self) -> bool:
        """Whether workers are started."""
        return not (self.probe_only or self.watch)


class ProgressDisplay(PhaseObserver, Protocol):
    """Shows the progress of a run to a person; the command line implements it with a terminal."""

    def planned(self, plan: Plan, manifest: Manifest) -> None: ...

    def planned_more(self, phase: Phase) -> None: ...

    def phase(self, phase: Phase) -> None: ...

    def ranks_are_there(self, nodes: Sequence[Node], rails: Rails) -> None: ...

    def watching(self, nodes: Sequence[Node], rails: Rails) -> None: ...

    def activity(self, seconds: float, node: str, activity: NodeActivity) -> None:
        """What a node that is watched did, ``seconds`` after the watch began."""

    def interrupted(self, folder: Path, command: tuple[str, ...]) -> None: ...

    def probed(self, judged: Evidence) -> None: ...

    def estimated(self, found: Estimate, manifest: Manifest) -> None: ...

    def finished(self, judged: Evidence) -> None: ...
