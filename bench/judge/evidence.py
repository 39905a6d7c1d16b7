"""The evidence of one run: its folder as it was read, the profile that it is judged by, and what follows from both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cached_property, wraps
from typing import Any, TypeVar

from bench import __version__
from bench.model.discovered_rails import at_hand
from bench.model.facts import Gpu, Node
from bench.model.late_dataclass import dataclass, field, replace
from bench.model.measurement import Rank
from bench.model.profile import Limit, Profile, Rails
from bench.model.verdict import Verdict
from bench.nccl.log import Log
from bench.store import IMPORTED, Manifest, Run
from bench.store.rows import Row, rows

from .action_of_check import action_of
from .counter_windows import CounterWindow, Gap, begun, of_phase, over_the_run, quiet
from .gpu_of_rank import placed
from .log_files import log_of
from .rails_of_rank import rail_names
from .row_peers import Comparison, comparisons

Result = TypeVar("Result")


@dataclass(frozen=True)
class Evidence:
    """The one argument of whatever judges, compares, exports or draws a run.

    Nothing here changes once the folder is read, so each property is derived when it is first asked for, and kept.
    ``kept``: what the functions marked as ``derived`` have returned.
    """

    run: Run
    profile: Profile
    kept: dict[Callable[[Evidence], Any], Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "profile", at_hand(self.profile, self.run.whole.nodes))

    def judged(self, verdicts: tuple[Verdict, ...]) -> Evidence:
        """The same evidence with the verdicts in its run, each with the action that it calls for.

        All that was derived is kept: nothing follows from verdicts.
        """
        found = copy(self)
        acted = tuple(replace(verdict, action=action_of(verdict)) for verdict in verdicts)
        found.__dict__["run"] = replace(self.run, verdicts=acted, by=self.profile.name)
        return found

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return self.run.verdicts

    @property
    def manifest(self) -> Manifest:
        return self.run.manifest

    @property
    def ranks(self) -> tuple[Rank, ...]:
        return self.run.manifest.ranks

    @property
    def backend(self) -> str:
        return self.run.manifest.backend

    @property
    def rails(self) -> Rails:
        return self.profile.rails

    @property
    def gpu_counts(self) -> tuple[int, ...]:
        """How many GPUs a node may have: as ordered, else as the profile says; () where neither does."""
        ordered = self.manifest.settings.gpus
        return (ordered,) if ordered else self.profile.gpu_counts

    @cached_property
    def node_count(self) -> int:
        return len(self.run.manifest.nodes)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every measured row, in the order of measurement."""
        return rows(self.run)

    @cached_property
    def rows_in(self) -> Mapping[str, Sequence[Row]]:
        """Phase → its rows."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.case.phase, []).append(row)
        return found

    @cached_property
    def skipped(self) -> Mapping[str, str]:
        """Why a phase is not part of the plan, by its name."""
        return dict(self.run.plan.skipped)

    def limits(self, *quantities: str) -> tuple[Limit, ...]:
        """The profile's bounds on these quantities that speak of this many nodes."""
        return tuple(
            limit
            for limit in self.profile.limits
            if limit.quantity in quantities and limit.nodes[0] <= self.node_count <= limit.nodes[1]
        )

    def rows_of(self, limit: Limit) -> list[Row]:
        """Rows over the whole job that a bound speaks of: its collective, sizes and algorithm ("": as NCCL chose).

        The evidence phase is slowed by NCCL's log and is left out.
        """
        return [
            row
            for row in self.rows
            if limit.covers(row.case) and row.ranks == len(self.ranks) and row.case.phase != "evidence"
        ]

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Every row beside its equals."""
        return tuple(comparisons(self.rows))

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The facts of every node."""
        return self.run.nodes

    @cached_property
    def facts(self) -> Mapping[str, Node]:
        """The facts of every node by its name."""
        return {node.name: node for node in self.nodes}

    @property
    def records_all(self) -> bool:
        """Whether this version of RailGauge made the run: then what a check asks for was recorded, or it is lost."""
        ours = self.manifest.versions.get("railgauge") == __version__
        return ours and bool(self.begun) and self.manifest.launcher != IMPORTED

    @cached_property
    def begun(self) -> tuple[str, ...]:
        """The phases that were begun, in order."""
        return begun(self.run)

    @cached_property
    def windows(self) -> tuple[CounterWindow, ...]:
        """The counters of every node before and after every begun phase."""
        return tuple(window for windows, _ in self._paired.values() for window in windows)

    @cached_property
    def gaps(self) -> tuple[Gap, ...]:
        """The phases and nodes whose counters cannot be compared, and why."""
        return tuple(gap for _, gaps in self._paired.values() for gap in gaps)

    @cached_property
    def _paired(self) -> Mapping[str, tuple[list[CounterWindow], list[Gap]]]:
        return {phase: of_phase(self.run, phase) for phase in self.begun}

    @cached_property
    def over_the_run(self) -> tuple[CounterWindow, ...]:
        """Each node from the first reading to the last: what happened between two phases is in no other window."""
        return over_the_run(self.run)

    @cached_property
    def quiet(self) -> Mapping[str, CounterWindow]:
        """Node → its counters over the seconds before the first phase, in which nothing was measured."""
        return quiet(self.run)

    def last_windows(self, phase: str) -> tuple[list[CounterWindow], list[Gap]]:
        """The counters before and after one phase; of a resumed run, around what came since it was resumed."""
        if self.run.earlier or phase not in self._paired:
            return of_phase(self.run, phase, resumed=True)
        return self._paired[phase]

    @cached_property
    def gpu_of_rank(self) -> Mapping[int, int | None]:
        """Rank → place of its GPU in the facts of its node; None where it is not known."""
        return placed(self.run)

    def gpu_of(self, rank: int) -> Gpu | None:
        """The GPU of a rank; None where it is not known which it is."""
        place = self.gpu_of_rank.get(rank)
        return None if place is None else self.facts[self.run.node_of[rank]].gpus[place]

    @cached_property
    def rail_names(self) -> tuple[str, ...]:
        """What the rails of each local rank are called."""
        return rail_names(self.profile, self.ranks, self.nodes, self.gpu_of_rank)

    @cached_property
    def log(self) -> Log:
        """NCCL's logs of the evidence phase. A rank without a log is missing from it."""
        return log_of(self.run, "evidence")


def derived(function: Callable[[Evidence], Result]) -> Callable[[Evidence], Result]:
    """Keep with the evidence what a function of it alone returns, wherever that function is defined."""

    @wraps(function)
    def ask(evidence: Evidence) -> Result:
        if function not in evidence.kept:
            evidence.kept[function] = function(evidence)
        found: Result = evidence.kept[function]
        return found

    return ask
