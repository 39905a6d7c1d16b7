"""A run in memory: what was asked for, what was planned, what was seen and judged."""

from __future__ import annotations

import itertools
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bench.model.activity import ActivityLine
from bench.model.facts import Node
from bench.model.groups import Group
from bench.model.late_dataclass import dataclass, field
from bench.model.measurement import Case, Measurement, Rank, Window
from bench.model.run_folder_lines import (
    CounterLine,
    HealthLine,
    Joined,
    Loss,
    PerftestSkipped,
    PerftestTool,
    PerftestTransfer,
    PhaseMark,
)
from bench.model.typed_json import Count, Duration, Name, Time
from bench.model.units import show_size
from bench.model.verdict import Verdict

from .files import FORMAT

if TYPE_CHECKING:
    from .history.nights import SavedPast

RESUMED = "resumed: "  # the note in the journal of a run that goes on begins so


@dataclass(frozen=True)
class Settings:
    """How a run was measured, or of an import (``files``, ``layout``, ``problems``, ``faults``) what it was made of.

    pid          of the process that leads the run; ``started_by``: the job of the command that started mpirun
    precision    relative width of the confidence interval at which a case ends; ``budget``: seconds at which it does
    iterations   timed calls of a case where their number was given; ``repetitions``: calls whose results are verified
    hang         seconds without progress after which a case is ended
    gpus         of each node, as ordered; null where nobody said
    asked        what was asked for by name: option → its word on the command line
    worker_environment  what the workers got on top of their own environment
    night        seconds that a nightly run may take
    resumed      how often the run was resumed
    """

    pid: Count | None = None
    precision: Duration | None = None
    budget: Duration | None = None
    iterations: Count | None = None
    repetitions: Count = 0
    hang: Duration | None = None
    gpus: Count | None = None
    asked: dict[str, str] = field(default_factory=dict)
    worker_environment: dict[str, str] = field(default_factory=dict)
    night: Duration | None = None
    resumed: Count = 0
    started_by: str = ""
    files: tuple[str, ...] = ()
    layout: str = ""
    problems: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def items(self) -> list[tuple[str, object]]:
        """What was set, by name."""
        unset = Settings(started_by=self.started_by)  # of use to that command alone
        found = ((name, getattr(self, name)) for name in self.__dataclass_fields__)
        return [(name, value) for name, value in found if value != getattr(unset, name)]


@dataclass(frozen=True)
class SetAside:
    """A node that the run went on without.

    subject   the node, or the part of it that is sick: ``n2 eth1``
    failed    whether ``reason`` shows that it is faulty; else only that it could not be measured
    phase     in which it was set aside, "" before the first
    evidence  who could not reach which address
    """

    node: Name
    subject: str
    reason: str
    failed: bool = False
    phase: str = ""
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """What was asked for and where it ran.

    id            the name of the folder
    command       the words of the command line, without secrets
    profile_name, profile_text  the profile as it was used
    launcher      what started the ranks, "import" of other tools' results
    backend       nccl, gloo, none or verbs
    ranks         all that were started, those of nodes that were ``set_aside`` too
    versions      library → version
    environment   rank → the variables that are on the allow-list
    simulated     no cluster was measured: the times are made up, as every report of it says
    """

    id: str
    started: Time
    command: tuple[str, ...]
    profile_name: str
    profile_text: str
    launcher: str
    backend: str
    ranks: tuple[Rank, ...]
    settings: Settings = field(default_factory=Settings)
    versions: dict[str, str] = field(default_factory=dict)
    environment: dict[str, dict[str, str]] = field(default_factory=dict)
    set_aside: tuple[SetAside, ...] = ()
    simulated: bool = False
    format: int = FORMAT

    @property
    def nodes(self) -> tuple[str, ...]:
        """Node names in the order of their first rank."""
        return tuple(dict.fromkeys(rank.node for rank in self.ranks))


@dataclass(frozen=True)
class TooLarge:
    """A case that was not started because it does not fit into the named memory; in bytes a rank."""

    case: str
    needed: Count
    available: Count
    where: str


@dataclass(frozen=True)
class Shortage:
    """The cases that do not fit in one memory, least first."""

    where: str
    refused: tuple[TooLarge, ...]

    @property
    def text(self) -> str:
        """``12 cases need 3.031 GiB to 12.03 GiB a rank, 2 GiB available on GPU 3 of n1``."""
        first, last = self.refused[0], self.refused[-1]
        much = show_size(first.needed)
        if last.needed != first.needed:
            much += f" to {show_size(last.needed)}"
        head = first.case if len(self.refused) == 1 else f"{len(self.refused)} cases"
        need = "needs" if len(self.refused) == 1 else "need"
        return f"{head} {need} {much} a rank, {show_size(first.available)} available on {self.where}"


@dataclass(frozen=True)
class Phase:
    """Cases that share one worker process a rank.

    ``environment`` is set for that process alone; ``rules`` replace the run's rules of measuring.
    """

    name: Name
    title: str
    cases: tuple[Case, ...]
    environment: dict[str, str] = field(default_factory=dict)
    rules: dict[str, float] = field(default_factory=dict)
    seconds: Duration = 0.0


@dataclass(frozen=True)
class Plan:
    """What will be measured, and what was refused or left out, with the reason."""

    phases: tuple[Phase, ...]
    refused: tuple[TooLarge, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def cases(self) -> tuple[Case, ...]:
        return tuple(case for phase in self.phases for case in phase.cases)

    @property
    def shortages(self) -> tuple[Shortage, ...]:
        """What was refused, by the memory that is too small."""
        rows = sorted(self.refused, key=lambda row: (row.where, row.needed))
        groups = itertools.groupby(rows, key=lambda row: row.where)
        return tuple(Shortage(where, tuple(group)) for where, group in groups)


@dataclass(frozen=True)
class Verdicts:
    """What was judged, by the profile of that name; ``profile_text``: of one that is not the run's own.

    In the file each verdict has its ``message`` as well.
    """

    format: int = FORMAT
    profile: str = ""
    profile_text: str = ""
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class Run:
    """A run folder, read. ``notes``: what was odd about reading it, such as a line cut short.

    ``history``: of a nightly run, the nights before it (see ``bench.judge.drift.past``); else None.
    ``activity``: of a job that was watched, by node in the order of time.
    ``windows``: of a soak; ``health``: see ``bench.supervise.monitor``; ``joined``: how each phase's workers started.
    ``verdicts`` are by the profile called ``by``.
    ``everyone``: the same run with the nodes that were set aside, which all else leaves out; None where none was.
    ``given_up``: what was planned, or follows from what was measured, and was left out for want of time, in words.
    ``earlier``: cases that were measured before their phase was begun again: the last counters do not hold them.
    ``resumed_at``: when the run went on, by the clock of its first rank.
    """

    path: Path
    manifest: Manifest
    plan: Plan
    facts: tuple[Node, ...]
    measurements: tuple[Measurement, ...]
    losses: tuple[Loss, ...]
    phases: tuple[PhaseMark, ...]
    counters: tuple[CounterLine, ...]
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]
    ended: float | None
    perftest: tuple[PerftestTool | PerftestTransfer | PerftestSkipped, ...] = ()
    history: SavedPast | None = None
    windows: tuple[Window, ...] = ()
    health: tuple[HealthLine, ...] = ()
    joined: tuple[Joined, ...] = ()
    earlier: frozenset[str] = frozenset()
    resumed_at: tuple[float, ...] = ()
    activity: tuple[ActivityLine, ...] = ()
    by: str = ""
    given_up: tuple[str, ...] = ()
    everyone: Run | None = None

    @property
    def whole(self) -> Run:
        """The run with the nodes that were set aside."""
        return self.everyone or self

    @property
    def profile_name(self) -> str:
        """The name of the profile that judged it last, or else of its own."""
        return self.by or self.manifest.profile_name

    @property
    def lasted(self) -> float | None:
        """Seconds from start to end; None where it did not end, or the clock was set back meanwhile."""
        seconds = None if self.ended is None else self.ended - self.manifest.started
        return seconds if seconds is not None and seconds >= 0 else None

    def case(self, case_id: str) -> Case:
        return self._cases[case_id]

    @cached_property
    def groups_of(self) -> dict[str, frozenset[Group]]:
        """The groups that each planned case is measured on."""
        return {case.id: frozenset(case.groups) for case in self.plan.cases}

    @cached_property
    def node_of(self) -> dict[int, str]:
        """The node of each rank."""
        return {rank.rank: rank.node for rank in self.manifest.ranks}

    @cached_property
    def ranks_on(self) -> Counter[str]:
        """How many ranks each node has."""
        return Counter(rank.node for rank in self.manifest.ranks)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The facts of every node."""
        return self.facts

    @cached_property
    def _cases(self) -> dict[str, Case]:
        return {case.id: case for case in self.plan.cases}


def of_facts(path: Path, manifest: Manifest, *nodes: Node) -> Run:
    """A run that holds facts and nothing measured; nothing is read or written."""
    return Run(path, manifest, Plan(()), nodes, (), (), (), (), (), (), None)
