"""The evidence of one run: its folder as it was read, the profile that it is judged by, and what follows from both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from bench.model.facts import Node
from bench.model.measurement import Rank
from bench.model.profile import Limit, Profile, Rails
from bench.nccl.log import Log
from bench.store import Manifest, Run
from bench.store.rows import Row, rows

from .blame import Background
from .blame.background import known, rail_names
from .counter_windows import CounterWindow, Gap, begun, windows
from .drift.tonight import Tonight, tonight
from .equals import Comparison, comparisons
from .gpu_of_rank import placed
from .log_files import log_of


@dataclass(frozen=True)
class Evidence:
    """The one argument of whatever judges, compares, exports or draws a run.

    Nothing here changes once the folder is read, so each property is derived when it is first asked for, and kept.
    """

    run: Run
    profile: Profile

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

    @cached_property
    def node_count(self) -> int:
        return len(self.run.manifest.nodes)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every measured row, in the order of measurement."""
        return rows(self.run)

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
            if row.case.collective == limit.collective
            and limit.size[0] <= row.case.size <= limit.size[1]
            and row.ranks == len(self.ranks)
            and row.case.algorithm == (limit.algorithm or "auto")
            and row.case.phase != "evidence"
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

    @cached_property
    def begun(self) -> tuple[str, ...]:
        """The phases that were begun, in order."""
        return begun(self.run)

    @property
    def windows(self) -> tuple[CounterWindow, ...]:
        """The counters of every node before and after every begun phase."""
        return self._paired[0]

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The phases and nodes whose counters cannot be compared, and why."""
        return self._paired[1]

    @cached_property
    def _paired(self) -> tuple[tuple[CounterWindow, ...], tuple[Gap, ...]]:
        return windows(self.run)

    @cached_property
    def gpu_of_rank(self) -> Mapping[int, int | None]:
        """Rank → place of its GPU in the facts of its node; None where it is not known."""
        return placed(self.run)

    @cached_property
    def rail_names(self) -> tuple[str, ...]:
        """What the rails of each local rank are called."""
        return rail_names(self.profile, self.ranks, self.nodes, self.gpu_of_rank)

    @cached_property
    def background(self) -> Background:
        """What the run tells about its rails besides their transfers."""
        return known(self.run, self.rows, self.profile)

    @cached_property
    def tonight(self) -> Tonight | None:
        """A nightly run among the nights before it; None of any other run. RunError where its history is damaged."""
        return tonight(self.run, self.profile)

    @cached_property
    def log(self) -> Log:
        """NCCL's logs of the evidence phase. A rank without a log is missing from it."""
        return log_of(self.run, "evidence")
