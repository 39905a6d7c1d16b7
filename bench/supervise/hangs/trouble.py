"""When a phase cannot go on: a worker died or failed, or nothing moves for too long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from bench.supervise.limits import Limits

from .culprits import Culprits, Position, of_failure, of_hang
from .rank_state import RankState

SLOWER = 5.0  # a join may take so many times the slowest one before it, so that a stuck rank is found sooner
ECHO_SECONDS = 1.5  # in which the peers of a dead worker fail too: all are heard before one is blamed


def trouble(
    ranks: Mapping[int, RankState],
    positions: Callable[[], Sequence[Position]],
    limits: Limits,
    started: float,
    slowest_join: float,
    own: int,
    excuse: Callable[[int], float] = lambda rank: 0.0,
) -> Culprits | None:
    """The culprits that broke the attempt that ``started`` then; None while it goes on.

    ``positions`` of the ranks now; ``slowest_join``: seconds of those before it, 0 where none is known; ``own``: the
    number of rank 0 itself, whose silence is our own; ``excuse``: seconds for which the route to a rank is silent.
    """
    now, states = time.monotonic(), ranks.values()
    broken = [each for each in states if each.failed or (each.ended and each.status != 0)]
    if broken:
        first = min(each.last_heard for each in broken)
        wait = now - first < ECHO_SECONDS and len(broken) < len(states)
        return None if wait else of_failure(positions())
    joining = any(not each.ready for each in states)
    join = min(limits.join, max(limits.hang, SLOWER * slowest_join)) if slowest_join else limits.join
    limit = join if joining else limits.hang

    def over(rank: int, since: float, limit: float) -> bool:
        return now - since > limit and now - since - excuse(rank) > limit

    running = {rank: each for rank, each in ranks.items() if not each.ended}
    stuck = any(over(rank, each.last_moved, limit) for rank, each in running.items())
    mute = any(over(rank, each.last_heard, limits.hang) for rank, each in running.items() if rank != own)
    if not mute and (not stuck or (joining and now - started < join)):
        return None
    return of_hang(positions(), limits.hang if mute else limit)
