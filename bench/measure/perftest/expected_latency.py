"""The longest that ib_write_lat takes one way on a healthy rail."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median

from bench.model.late_dataclass import dataclass
from bench.model.run_folder_lines import PerftestEnd, PerftestTransfer
from bench.model.units import MICRO, show_seconds
from bench.model.verdict import Bound

from .causes import Cause
from .outcome import outcome

# The rails between two nodes are equally long. Where they are not, a switch more costs 0.24 us: 1.2 us on one leaf,
# 1.64 to 1.81 over a spine (HDR, t_typical of 20000 round trips on nine leaves of Zaratan)
TIMES, SLACK = 2.0, 2.0 * MICRO  # the larger of twice the others, and of 2 us above them
EQUALS = 2  # other rails between the same nodes, so that one slow rail does not judge a healthy one
SOURCE = "the other rails between the same two nodes"


def _most(others: Iterable[float], wanted: Bound | None) -> Bound | None:
    """Seconds at most of a rail: the profile's bound, or what the ``others`` between the same two nodes take, whichever
    is less; None where there is neither.
    """
    known = [seconds for seconds in others if math.isfinite(seconds)]
    if len(known) < EQUALS:
        return wanted
    limit = max(TIMES * median(known), median(known) + SLACK)
    equals = Bound(limit, show_seconds(limit), f"{SOURCE}: {show_seconds(median(known))}")
    return min(filter(None, (wanted, equals)), key=lambda bound: bound.value)


@dataclass(frozen=True)
class RailLatency:
    """ib_write_lat over one rail between two nodes: the better of two looks.

    seconds   one way; NaN where nothing was measured, and ``cause`` says why
    most      None where neither the profile nor enough other rails say what it may be
    """

    sender: PerftestEnd
    receiver: PerftestEnd
    seconds: float
    most: Bound | None
    cause: Cause | None

    @property
    def ok(self) -> bool | None:
        """None where it is not known."""
        if not math.isfinite(self.seconds):
            return None
        return self.most is None or self.seconds <= self.most.value


def latencies(made: Iterable[PerftestTransfer], wanted: Bound | None) -> tuple[RailLatency, ...]:
    """What each rail of each pair of nodes took, held against ``wanted`` and against the pair's other rails."""
    pairs: dict[tuple[str, str], dict[tuple[PerftestEnd, PerftestEnd], list[PerftestTransfer]]] = {}
    for each in made:
        rails = pairs.setdefault((each.sender.node, each.receiver.node), {})
        rails.setdefault((each.sender, each.receiver), []).append(each)
    return tuple(found for rails in pairs.values() for found in _between(rails, wanted))


def _between(
    rails: Mapping[tuple[PerftestEnd, PerftestEnd], list[PerftestTransfer]], wanted: Bound | None
) -> list[RailLatency]:
    seen = {ends: [outcome(each) for each in made] for ends, made in rails.items()}
    best = {
        ends: min((each.latency for each in looks if math.isfinite(each.latency)), default=math.nan)
        for ends, looks in seen.items()
    }
    return [
        RailLatency(
            *ends,
            seconds,
            _most((other for at, other in best.items() if at != ends), wanted),
            None if math.isfinite(seconds) else next((each.cause for each in seen[ends] if each.cause), None),
        )
        for ends, seconds in best.items()
    ]


def too_long(made: Iterable[PerftestTransfer], wanted: Bound | None) -> bool:
    """Whether a rail took too long, or was not measured."""
    return any(each.ok is not True for each in latencies(made, wanted))
