"""From measured rows to the transfers that blame reasons about: node pair × rail × direction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .blame import Known, PairRate, Rules, Test, blame, confirmations
from .blame.rows import Answer
from .model import Rank
from .pairs import pack
from .profile import Profile
from .rows import Row

FIRST, AGAIN = "rails", "suspects"  # the phases whose rows these are; a second look is "suspects-2"
TIMES = 3  # at most so often are suspects looked at again


def rail_names(profile: Profile, ranks: Sequence[Rank]) -> tuple[str, ...]:
    """Rail of each local rank: the profile's devices, else ``rail 0``, ``rail 1`` …"""
    devices = profile.rails.devices
    count = 1 + max((rank.local_rank for rank in ranks), default=0)
    return tuple(devices[i] if i < len(devices) else f"rail {i}" for i in range(count))


def transfers(rows: Sequence[Row], ranks: Sequence[Rank], profile: Profile) -> list[PairRate]:
    """One row for each one-way measurement of the rails phases; what did not get through has rate 0."""
    where = {rank.rank: rank for rank in ranks}
    names = rail_names(profile, ranks)
    return [
        _transfer(row, where, names)
        for row in rows
        if row.case.phase.startswith((FIRST, AGAIN)) and row.case.collective == "p2p" and row.ranks == 2
    ]


def _transfer(row: Row, where: Mapping[int, Rank], names: Sequence[str]) -> PairRate:
    """The first member of the group sends."""
    sender, receiver = (where[rank] for rank in row.measurement.ranks)
    failed = "failed" in row.measurement.extra
    counts = row.measurement.extra.get("retransmits") or [None]
    rail, other = names[sender.local_rank], names[receiver.local_rank]
    return PairRate(
        round=_round(row.case.id),
        a=sender.node,
        b=receiver.node,
        rail=rail,
        direction="ab",
        rate=0.0 if failed else row.algbw,
        retransmits=None if counts[0] is None else float(counts[0]),
        again=row.case.phase.startswith(AGAIN),
        rail_b="" if rail == other else other,
    )


def _round(case_id: str) -> int:
    number = case_id.split("/")[-2].rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def answer(rows: Sequence[Row], ranks: Sequence[Rank], profile: Profile) -> Answer:
    """Who is to blame, by all rows of the rails phases."""
    return blame(transfers(rows, ranks, profile), rules(profile), known(ranks, profile))


def rules(profile: Profile) -> Rules:
    """What a healthy pair reaches is taken from the pairs themselves, and from the profile's bound on a rail.

    The bound is what is just enough: the nominal rate stands so far above it that it is not blamed.
    """
    plain = Rules()
    bounds = [limit.bound.value for limit in profile.limits if limit.quantity == "rail_rate"]
    return replace(plain, nominal=max(bounds) / (1 - plain.smallest)) if bounds else plain


def known(ranks: Sequence[Rank], profile: Profile) -> Known:
    """The whole cluster, so that what was not measured is seen to be missing."""
    nodes = tuple(dict.fromkeys(rank.node for rank in ranks))
    return Known(nodes=nodes, rails=rail_names(profile, ranks))


def to_confirm(
    rows: Sequence[Row], ranks: Sequence[Rank], profile: Profile
) -> list[tuple[tuple[int, int], ...]]:
    """Rounds of rank pairs that settle the suspects; empty when there are none.

    The whole list is gone through ``Rules.repeats`` times, because a disturbance passes.
    """
    seen = transfers(rows, ranks, profile)
    if not any(math.isfinite(row.rate) for row in seen):
        return []
    tests = confirmations(seen, rules(profile), known(ranks, profile))
    names = rail_names(profile, ranks)
    place = {(rank.node, names[rank.local_rank]): rank.rank for rank in ranks}
    once = [
        tuple((place[test.a, test.rail], place[test.b, test.rail_b or test.rail]) for test in meets)
        for meets in _rounds(tests)
    ]
    return once * rules(profile).repeats


def _rounds(tests: Sequence[Test]) -> list[list[Test]]:
    """Tests in rounds in which no node stands twice: a suspect is measured alone."""
    left = list(tests)
    rounds = []
    for meets in pack([(test.a, test.b) for test in tests]):
        chosen = []
        for a, b in meets:
            test = next(test for test in left if (test.a, test.b) == (a, b))
            left.remove(test)
            chosen.append(test)
        rounds.append(chosen)
    return rounds
