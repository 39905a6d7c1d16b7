"""The ranks of a job, its profile and its options: what every phase is planned from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from bench.model.groups import GroupRule, Groups, Kind, grid, spans_of
from bench.model.late_dataclass import dataclass, field, replace
from bench.model.measurement import Rank
from bench.model.profile import Profile
from bench.plan.screening import MOST_IN_PAIRS, Ring

from .phase_names import CROSS, FIRST, PINNED


@dataclass(frozen=True)
class AcceptOptions:
    """The options of an acceptance run besides its profile.

    ways      of the rails phase: "all" (both directions at once, then each alone), "one-way" (each alone)
              or "both" (both at once, nothing else)
    cross     whether GPU i is measured against GPU j of another node too
    pinned    whether every rail is measured alone too, in workers that are pinned to it; None: with NCCL, but not
              with gloo, whose transfers are bound to their interfaces anyway
    screened  "screening": rings of nodes instead of all pairs, and slow rings are traced while time is left;
              "groups": rings alone
    steady    share of its usual time that the steady load of the rails lasts
    sizes     how many sizes of each collective are measured, for a night; 0: all of the sweep
    budget    seconds from the command's start to its end; None: no limit
    without   names of phases that are left out
    all_pairs whether all pairs of nodes are measured, however many there are
    """

    ways: str = "all"
    cross: bool = False
    pinned: bool | None = None
    screened: str = ""
    budget: float | None = None
    without: tuple[str, ...] = ()
    sizes: int = 0
    steady: float = 1.0
    all_pairs: bool = False

    @property
    def by_name(self) -> dict[str, str]:
        """Phase → the command-line option that asks for it, where it is not measured by default."""
        options = {
            FIRST: "--one-way" if self.ways == "one-way" else "--all-pairs" if self.all_pairs else "",
            CROSS: "--cross-rail" if self.cross else "",
            PINNED: "--pinned" if self.pinned else "",
        }
        return {phase: option for phase, option in options.items() if option}


@dataclass(frozen=True)
class Job:
    """The ranks that take part, with their profile and options.

    devices  the rails that can be measured alone, by their names in the facts; empty where the facts hold none
    near     for each of them the local rank whose GPU is next to it; empty: the local ranks in turn
    verbs    seconds reserved for perftest beside the phases; 0 where it has nothing to measure
    by_leaf  the nodes of each leaf switch, where the fabric's tools said so; see ``nodes_by_leaf``
    """

    profile: Profile
    ranks: tuple[Rank, ...]
    backend: str
    accept: AcceptOptions = field(default_factory=AcceptOptions)
    devices: tuple[str, ...] = ()
    near: tuple[int, ...] = ()
    verbs: float = 0.0
    by_leaf: tuple[Ring, ...] = ()

    @cached_property
    def nodes(self) -> tuple[tuple[int, ...], ...]:
        """The ranks of each node."""
        return by_node(self.ranks)

    @property
    def screened(self) -> str:
        """How rings of nodes are measured instead of all pairs, by default of many nodes; see ``AcceptOptions``."""
        many = len(self.nodes) > MOST_IN_PAIRS and not self.accept.all_pairs
        return self.accept.screened or ("screening" if many else "")

    @cached_property
    def _grid(self) -> GroupRule | None:
        return grid(self.nodes)

    def groups(self, kind: Kind, **parameters: Any) -> Groups:
        """The groups of a kind of GroupRule; as lists where the nodes are not alike."""
        if self._grid:
            return replace(self._grid, kind=kind, **parameters)
        width = min(len(members) for members in self.nodes)
        flat = [rank for members in self.nodes for rank in members[:width]]
        even = GroupRule(kind, ((0, len(self.nodes)),), width, (width, 1), **parameters)
        return tuple(tuple(flat[at] for at in group) for group in even)

    def with_options(self, **changes: object) -> Job:
        """The job with other values of its options."""
        return replace(self, accept=replace(self.accept, **changes))  # type: ignore[arg-type]


def everyone(ranks: Sequence[Rank]) -> GroupRule:
    """One group of all ranks."""
    return GroupRule("all", spans_of([rank.rank for rank in ranks]))


def alone(ranks: Sequence[Rank]) -> GroupRule:
    """Every rank a group of its own."""
    return GroupRule("each", spans_of([rank.rank for rank in ranks]))


def by_node(ranks: Sequence[Rank]) -> tuple[tuple[int, ...], ...]:
    """Ranks of each node, nodes in the order of their first rank."""
    nodes: dict[str, list[int]] = {}
    for rank in ranks:
        nodes.setdefault(rank.node, []).append(rank.rank)
    return tuple(tuple(members) for members in nodes.values())
