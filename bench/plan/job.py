"""Who takes part in a job, and what a person asked of it: what every phase is planned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from bench.model.measurement import Rank
from bench.model.profile import Profile

from .names import CROSS, FIRST, PINNED


@dataclass(frozen=True)
class AcceptOptions:
    """What a person may ask of an acceptance run besides the profile.

    ways      of the rails phase: "all" (both directions at once, then each alone), "one-way" (each alone)
              or "both" (both at once, nothing else)
    cross     also GPU i against GPU j of another node
    pinned    also every rail alone, in workers that are pinned to it; None: with NCCL, but not with gloo,
              whose transfers are bound to their interfaces anyway
    screened  "screening": rings of nodes instead of all pairs; slow ones are traced as long as time is left
    budget    seconds from the command's start to its end; None: as long as it takes
    without   phases that are left out
    """

    ways: str = "all"
    cross: bool = False
    pinned: bool | None = None
    screened: str = ""
    budget: float | None = None
    without: tuple[str, ...] = ()

    @property
    def by_name(self) -> dict[str, str]:
        """Phase → the option that asks for it, of those that nobody measures unasked."""
        options = {
            FIRST: "--one-way" if self.ways == "one-way" else "",
            CROSS: "--cross-rail" if self.cross else "",
            PINNED: "--pinned" if self.pinned else "",
        }
        return {phase: option for phase, option in options.items() if option}


@dataclass(frozen=True)
class Job:
    """Who takes part.

    devices  the rails that can be measured alone, as the facts call them; empty where they do not tell
    near     for each of them the local rank whose GPU is next to it; empty: in turn
    verbs    seconds that perftest may take beside the phases; 0 where it has nothing to measure
    """

    profile: Profile
    ranks: tuple[Rank, ...]
    backend: str
    accept: AcceptOptions = field(default_factory=AcceptOptions)
    devices: tuple[str, ...] = ()
    near: tuple[int, ...] = ()
    verbs: float = 0.0

    @cached_property
    def nodes(self) -> tuple[tuple[int, ...], ...]:
        """Ranks of each node."""
        return by_node(self.ranks)


def everyone(ranks: Sequence[Rank]) -> tuple[tuple[int, ...], ...]:
    """One group of all ranks."""
    return (tuple(rank.rank for rank in ranks),)


def alone(ranks: Sequence[Rank]) -> tuple[tuple[int, ...], ...]:
    """Every rank a group of its own."""
    return tuple((rank.rank,) for rank in ranks)


def by_node(ranks: Sequence[Rank]) -> tuple[tuple[int, ...], ...]:
    """Ranks of each node, nodes in the order of their first rank."""
    nodes: dict[str, list[int]] = {}
    for rank in ranks:
        nodes.setdefault(rank.node, []).append(rank.rank)
    return tuple(tuple(members) for members in nodes.values())
