"""The accepted level of a series, and whether a night is beyond it: a walk from night to night.

A night enters the baseline unless it is worse than the baseline allows; a regression is never learned,
however long it lasts, until a person accepts it. An improvement that lasts is learned by itself.
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache

from bench.judge.drift.robust import allowance, level_and_spread, median
from bench.model.late_dataclass import dataclass, replace
from bench.model.verdict import Status
from bench.store.history.nights import NightValue, usable


@dataclass(frozen=True)
class DriftRules:
    """When a change counts. It must be significant (``spans``) and matter (``practical``).

    window     nights that a baseline remembers
    least      nights without which there is no judgement
    practical  smallest relative change that anybody should be woken for
    floor      smallest relative spread believed: clocks that agree to 0.1 % do so by luck
    spans      (nights, k): the median of so many last nights is compared, and counts beyond k standard
               deviations of a normal distribution (more where the baseline has few nights, see
               ``allowance``). One night shows large steps at once, five show small ones. A re-run has to
               agree, which is why k may be as low as this; ``ci/lab/nights`` shows what the numbers give
    creep      (nights, k), compared with the first ``window`` nights and not with the last: decay so slow
               that a moving baseline would follow it
    early      (nights, share): from so many nights on, until there are ``least``, so much worse than their median
               counts, or three times what they differ by themselves
    implausible  times better than the baseline: no repair does that, so it is not believed
    """

    window: int = 45
    least: int = 10
    practical: float = 0.02
    floor: float = 0.003
    spans: tuple[tuple[int, float], ...] = ((1, 3.0), (3, 2.5), (5, 2.1))
    creep: tuple[int, float] = (14, 3.0)
    early: tuple[int, float] = (2, 0.15)
    implausible: float = 3.0

    @cached_property
    def longest(self) -> int:
        """The most nights whose median is compared."""
        return max(span for span, _ in (*self.spans, self.creep))


STANDARD = DriftRules()


@dataclass(frozen=True)
class Baseline:
    """The level that nights are compared with.

    accepted  the last ``DriftRules.window`` accepted values, oldest first
    anchor    the first ``DriftRules.window`` accepted values
    recent    the last values, accepted or not
    raised    values of the nights without interruption that were better than the baseline allows
    since     time of the first night (seconds since 1970)
    """

    accepted: tuple[float, ...] = ()
    anchor: tuple[float, ...] = ()
    recent: tuple[float, ...] = ()
    raised: tuple[float, ...] = ()
    since: float = 0.0

    @property
    def level(self) -> float:
        """The median of the accepted nights, in the unit of the series."""
        return _level_and_spread(self.accepted)[0]


@dataclass(frozen=True)
class Excess:
    """How a night stands to its baseline.

    change  relative change of the median of the last ``span`` nights: positive is better, whatever the unit
    limit   the relative change that would have counted
    beyond  -1 worse than allowed, +1 better, 0 neither
    """

    change: float
    limit: float
    beyond: int
    span: int = 1
    reference: float = 0.0
    creeping: bool = False


def excess(base: Baseline, value: float, better: int, rules: DriftRules) -> Excess:
    """Compare one value with a baseline of at least ``rules.early`` nights; ``better`` is +1 or -1.

    A longer span counts only if tonight leans the same way: a link that has recovered is not reported.
    """
    level, relative = _level_and_spread(base.accepted)
    tonight = better * (value / level - 1)
    if len(base.accepted) < rules.least:
        return _early(base, tonight, value, better, rules)
    relative = max(relative, rules.floor)
    first = None
    for span, k in rules.spans:
        if len(base.recent) + 1 < span:
            break
        change = tonight if span == 1 else better * (_last(base, value, span) / level - 1)
        limit = max(rules.practical, relative * allowance(k, span, len(base.accepted)))
        sign = _beyond(change, limit)
        if sign and sign * tonight >= limit / 2:
            return Excess(change, limit, sign, span, level)
        first = first or Excess(change, limit, 0, span, level)
        if abs(tonight) < rules.practical / 2:  # less than half of any limit: no longer span can count
            break
    return _creep(base, value, better, rules) or first or Excess(tonight, rules.practical, 0, 1, level)


def _early(base: Baseline, tonight: float, value: float, better: int, rules: DriftRules) -> Excess:
    """The excess by a baseline that is still learning: only a much worse or impossible value counts."""
    level = base.level
    own = max(abs(each / level - 1) for each in base.accepted)
    limit = max(rules.early[1], 3 * own)
    worse = len(base.accepted) >= rules.early[0] and tonight <= -limit
    return Excess(tonight, limit, -1 if worse else int(implausible(base, value, better, rules)), 1, level)


def implausible(base: Baseline, value: float, better: int, rules: DriftRules) -> bool:
    """Whether a value is so much better than the baseline that the measurement must be wrong."""
    if len(base.accepted) < rules.early[0]:
        return False
    return (value / base.level if better > 0 else base.level / value) >= rules.implausible


def _creep(base: Baseline, value: float, better: int, rules: DriftRules) -> Excess | None:
    """The last nights against the first: only worse counts, as a slow rise is learned."""
    if len(base.anchor) < rules.window or len(base.recent) + 1 < rules.creep[0]:
        return None
    span, k = rules.creep
    level, relative = _level_and_spread(base.anchor)
    tonight = better * (value / level - 1)
    if tonight > -rules.practical / 2:
        return None
    relative = max(relative, rules.floor)
    limit = max(rules.practical, relative * allowance(k, span, len(base.anchor)))
    change = better * (_last(base, value, span) / level - 1)
    if _beyond(change, limit) < 0 and tonight <= -limit / 2:
        return Excess(change, limit, -1, span, level, creeping=True)
    return None


# a night is held against the same nights several times, and against the first ones every night
@lru_cache(maxsize=1024)
def _level_and_spread(values: tuple[float, ...]) -> tuple[float, float]:
    """The median, and the spread around it as a share of it."""
    level, width = level_and_spread(values)
    return level, width / level if level else math.inf


def _last(base: Baseline, value: float, span: int) -> float:
    return median((*base.recent[len(base.recent) - span + 1 :], value))


def _beyond(change: float, limit: float) -> int:
    return -1 if change <= -limit else 1 if change >= limit else 0


def confirmed(
    base: Baseline, night: NightValue, better: int, rules: DriftRules
) -> tuple[Excess, Excess | None]:
    """The first measurement of a night and its re-run, each compared as if it were alone."""
    first = excess(base, night.value, better, rules)
    if not usable(night.rerun):
        return first, None
    return first, excess(base, night.rerun, better, rules)


def follow(base: Baseline, night: NightValue, better: int, rules: DriftRules) -> Baseline:
    """The baseline after a night. A night that was not measured well changes nothing."""
    if not night.measured or night.status is not Status.PASS:
        return base
    if not base.accepted:
        return _learn(base, night, rules)
    first, second = confirmed(base, night, better, rules)
    beyond = first.beyond if second is None else (first.beyond if second.beyond == first.beyond else 0)
    if beyond == 0:
        return _learn(base, night, rules)
    recent = _recent_levels(base, night, rules)
    if beyond < 0:
        return replace(base, recent=recent, raised=())
    if implausible(base, night.value, better, rules):
        return replace(base, recent=recent)
    raised = (*base.raised, night.level)
    if len(raised) < rules.least:
        return replace(base, recent=recent, raised=raised)
    return Baseline(raised, raised, recent, (), night.time)


def _learn(base: Baseline, night: NightValue, rules: DriftRules) -> Baseline:
    return Baseline(
        accepted=(*base.accepted, night.level)[-rules.window :],
        anchor=base.anchor if len(base.anchor) >= rules.window else (*base.anchor, night.level),
        recent=_recent_levels(base, night, rules),
        since=base.since or night.time,
    )


def _recent_levels(base: Baseline, night: NightValue, rules: DriftRules) -> tuple[float, ...]:
    return (*base.recent, night.level)[1 - rules.longest :]
