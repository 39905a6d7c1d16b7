"""The groups of ranks of a case, as lists or as a rule from which they are made.

A rule takes the same few bytes at any number of nodes; the lists of all rounds of all pairs grow with its square.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from .late_dataclass import dataclass, replace
from .rounds import partner, round_count, round_of
from .typed_json import Count

Group: TypeAlias = tuple[int, ...]
Kind: TypeAlias = Literal["all", "each", "nodes", "round", "inside", "rings"]
FromOne = Annotated[int, Meta(ge=1)]
Run: TypeAlias = tuple[
    Count, FromOne, int
]  # nodes by their places: the first, how many, the step between two


@dataclass(frozen=True, eq=False)
class GroupRule:
    """Groups of ranks by a rule. The place of a node is its number among those of ``spans``, from 0.

    kind     all: one group of all ranks; each: every rank alone; nodes: the ranks of each node;
             round: pairs of nodes, rank i of the one with rank i + ``shift`` of the other; inside: pairs in each node;
             rings: rank i of each node of a ring, for every i
    spans    stretches of nodes without a gap: the first rank of the first one, and how many nodes
    width    ranks of a node; ``steps``: from a node's first rank to the next one's, and from rank to rank of a node
    turn     of the circle of rounds (see ``rounds``); ``turns``: of a template, how many follow each other from there
    local    of a round: this rank of each node alone; -1: all
    back     of a round: the later one of a pair stands first
    rings    of each, its nodes
    without  ranks whose groups are left out
    """

    kind: Kind
    spans: tuple[tuple[Count, FromOne], ...]
    width: FromOne = 1
    steps: tuple[FromOne, FromOne] = (1, 1)
    turn: Count = 0
    turns: FromOne = 1
    shift: Count = 0
    local: Annotated[int, Meta(ge=-1)] = -1
    back: bool = False
    rings: tuple[tuple[Run, ...], ...] = ()
    without: tuple[Count, ...] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (GroupRule, tuple)):
            return NotImplemented
        same = isinstance(other, GroupRule) and all(
            getattr(self, name) == getattr(other, name) for name in self.__dataclass_fields__
        )
        return same or (len(self) == len(other) and tuple(self) == tuple(other))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __len__(self) -> int:
        return sum(1 for _ in self) if self.without else self._count

    def __getitem__(self, place: int) -> Group:
        return next(group for at, group in enumerate(self) if at == place)

    def __contains__(self, group: object) -> bool:
        return isinstance(group, tuple) and bool(group) and self.of(group[0]) == group

    def __iter__(self) -> Iterator[Group]:
        if not self.without:
            return self._made()
        gone = {*self.without}
        return (group for group in self._made() if gone.isdisjoint(group))

    @property
    def ranks(self) -> tuple[int, ...]:
        """All of its nodes."""
        return _ranks(self.spans, self.width, self.steps)

    @property
    def sound(self) -> bool:
        """Whether each rank has one place, and the rounds and rings are made of the rule's own nodes."""
        turns = {"round": round_count(self.nodes), "inside": round_count(self.width)}.get(self.kind, 1)
        if self.turn + self.turns > max(turns, 1) or max(self.shift, self.local) >= self.width:
            return False
        if sum(count for ring in self.rings for _, count, _ in ring) > self.nodes:
            return False
        ringed = [first + at * by for ring in self.rings for first, count, by in ring for at in range(count)]
        whole = all(self.rings) and bool(self.rings) == (self.kind == "rings")
        return (
            whole
            and len({*ringed}) == len(ringed)
            and all(0 <= at < self.nodes for at in ringed)
            and _one_place_each(self.spans, self.width, self.steps)
        )

    @property
    def nodes(self) -> int:
        return sum(count for _, count in self.spans)

    @property
    def sizes(self) -> set[int]:
        """How many ranks its groups have."""
        if self.kind == "rings":
            return {sum(count for _, count, _ in ring) for ring in self.rings}
        return {{"all": self.nodes * self.width, "each": 1, "nodes": self.width}.get(self.kind, 2)}

    @property
    def _count(self) -> int:
        pairs = self.nodes // 2 * (self.width if self.local < 0 else 1)
        return {
            "all": 1, "each": self.nodes * self.width, "nodes": self.nodes, "round": pairs,
            "inside": self.nodes * (self.width // 2), "rings": len(self.rings) * self.width,
        }[self.kind]  # fmt: skip

    def of(self, rank: int) -> Group:
        """The group that a rank is in; () where it is in none."""
        node, local = self._place(rank)
        if node < 0:
            return ()
        found = self._of(rank, node, local)
        return () if self.without and not {*self.without}.isdisjoint(found) else found

    def _of(self, rank: int, node: int, local: int) -> Group:
        if self.kind == "each":
            return (rank,)
        if self.kind == "all":
            return next(self._made())
        if self.kind == "rings":  # asked for each row: to make all rings for it would cost ranks × ranks
            for ring in self.rings:
                for first, count, by in ring:
                    if node in _steps(first, count, by or 1):
                        return self._on(ring, local)
            return ()
        if self.kind == "nodes":
            return tuple(self._rank(node, at) for at in range(self.width))
        if self.kind == "inside":
            other = partner(local, self.width, self.turn)
            return () if other < 0 else tuple(self._rank(node, at) for at in sorted((local, other)))
        other = partner(node, self.nodes, self.turn)
        far = (local + (self.shift if node < other else -self.shift)) % self.width
        if other < 0 or self.local not in (-1, local if node < other else far):
            return ()
        pair = (rank, self._rank(other, far))
        return pair if (node < other) != self.back else pair[::-1]

    def _on(self, ring: tuple[Run, ...], local: int) -> Group:
        """The ranks with this number of the nodes of a ring."""
        places = [at for first, count, by in ring for at in _steps(first, count, by or 1)]
        if len(self.spans) > 1:
            return tuple(self._rank(at, local) for at in places)
        start, across = self.spans[0][0] + local * self.steps[1], self.steps[0]
        return tuple([start + at * across for at in places])

    def _made(self) -> Iterator[Group]:
        firsts, (_, step) = _firsts(self.spans, self.steps[0]), self.steps
        locals_ = range(0, self.width * step, step)
        if self.kind == "all":
            yield self.ranks
        elif self.kind == "each":
            yield from ((first + at,) for first in firsts for at in locals_)
        elif self.kind == "nodes":
            yield from (tuple([first + at for at in locals_]) for first in firsts)
        elif self.kind == "inside":
            meets = [(a * step, b * step) for a, b in round_of(self.width, self.turn)]
            yield from ((first + a, first + b) for first in firsts for a, b in meets)
        elif self.kind == "rings":
            for ring in self.rings:
                own = [firsts[first + at * by] for first, count, by in ring for at in range(count)]
                yield from (tuple([first + at for first in own]) for at in locals_)
        else:
            ends = [(at * step, (at + self.shift) % self.width * step) for at in range(self.width)]
            ends = ends if self.local < 0 else ends[self.local : self.local + 1]
            for one, two in round_of(self.nodes, self.turn):
                a, b = firsts[one], firsts[two]
                yield from ((b + j, a + i) if self.back else (a + i, b + j) for i, j in ends)

    def _rank(self, node: int, local: int) -> int:
        for first, count in self.spans:
            if node < count:
                return first + node * self.steps[0] + local * self.steps[1]
            node -= count
        raise IndexError(node)

    def _place(self, rank: int) -> tuple[int, int]:
        """The place of a rank's node, and the rank's number on it; (-1, -1) where the rule has no such rank."""
        across, along = self.steps
        before = 0
        for first, count in self.spans:
            off = rank - first
            (node, local), rest = (
                ((off // across, off % across // along), off % across % along)
                if across >= along
                else ((off % along // across, off // along), off % along % across)
            )
            if not rest and 0 <= node < count and 0 <= local < self.width:
                return before + node, local
            before += count
        return -1, -1


@lru_cache(maxsize=8)
def _ranks(spans: tuple[tuple[int, int], ...], width: int, steps: tuple[int, int]) -> tuple[int, ...]:
    return tuple([first + at * steps[1] for first in _firsts(spans, steps[0]) for at in range(width)])


@lru_cache(maxsize=8)
def _firsts(spans: tuple[tuple[int, int], ...], across: int) -> tuple[int, ...]:
    """The first rank of each node."""
    return tuple([first + at * across for first, count in spans for at in range(count)])


@lru_cache(maxsize=8)
def _one_place_each(spans: tuple[tuple[int, int], ...], width: int, steps: tuple[int, int]) -> bool:
    rule = GroupRule("nodes", spans, width, steps)
    places = ((node, at) for node in range(rule.nodes) for at in range(rule.width))
    return all(rule._place(rank) == place for rank, place in zip(rule.ranks, places, strict=True))


Groups: TypeAlias = tuple[tuple[Count, ...], ...] | GroupRule


def group_sizes(groups: Groups) -> set[int]:
    """How many ranks the groups have."""
    return groups.sizes if isinstance(groups, GroupRule) else {len(group) for group in groups}


def group_of(groups: Groups, rank: int) -> Group:
    """The group that a rank is in; () where it is in none."""
    if isinstance(groups, GroupRule):
        return groups.of(rank)
    return next((group for group in groups if rank in group), ())


def turned(pairs: Groups) -> Groups:
    """The pairs with their ends exchanged."""
    if isinstance(pairs, GroupRule):
        return replace(pairs, back=not pairs.back)
    return tuple((b, a) for a, b in pairs)


def without(groups: Groups, gone: Collection[int]) -> Groups:
    """The groups that none of these ranks is in."""
    if isinstance(groups, GroupRule):
        return replace(groups, without=(*groups.without, *sorted(gone)))
    return tuple(group for group in groups if not {*group} & {*gone})


def spans_of(numbers: Sequence[int], step: int = 1) -> tuple[tuple[int, int], ...]:
    """Stretches of ``numbers`` in which each is ``step`` more than the one before: the first, and how many."""
    cuts = [0, *(at for at, (a, b) in enumerate(pairwise(numbers), 1) if b - a != step), len(numbers)]
    return tuple((numbers[a], b - a) for a, b in pairwise(cuts) if b > a)


def runs_of(places: Sequence[int]) -> tuple[Run, ...]:
    """``places`` in stretches of equal steps, each as long as can be."""
    found: list[Run] = []
    for place in places:
        if found:
            first, count, step = found[-1]
            if count == 1 or place == first + count * step:
                found[-1] = (first, count + 1, place - first if count == 1 else step)
                continue
        found.append((place, 1, 1))
    return tuple(found)


def grid(nodes: Sequence[Group]) -> GroupRule | None:
    """The rule of the ``nodes``, each with its ranks; None where they are not alike."""
    width = len(nodes[0]) if nodes else 0
    along = nodes[0][1] - nodes[0][0] if width > 1 else 1
    if not width or along < 1 or any(node != tuple(_steps(node[0], width, along)) for node in nodes):
        return None
    firsts = [node[0] for node in nodes]
    across = min((b - a for a, b in pairwise(firsts) if b > a), default=width * along)
    rule = GroupRule("nodes", spans_of(firsts, across), width, (across, along))
    return rule if rule.sound else None


def _steps(first: int, count: int, step: int) -> range:
    return range(first, first + count * step, step)
