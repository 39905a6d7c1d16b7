"""What every night of a series was, when it was judged by the nights before it: the story behind a trend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.judge.drift.baseline import STANDARD, Baseline, DriftRules, Excess, confirmed, follow
from bench.judge.drift.judge import QUANTITIES, Label
from bench.store.history.nights import Acceptance, Fingerprint, Night, Series


@dataclass(frozen=True)
class Mark:
    """One night and its label; ``low`` and ``high`` are what its baseline allowed, None while that was too young.

    ``level`` is the baseline's, ``epoch`` counts the baselines: one more with each new fingerprint or accepted level.
    """

    night: Night
    label: Label
    epoch: int
    level: float | None = None
    low: float | None = None
    high: float | None = None


def replay(
    series: Series, nights: Iterable[Night], accepted: Iterable[Acceptance] = (), rules: DriftRules = STANDARD
) -> tuple[Mark, ...]:
    """The nights of a series, oldest first, each judged as it was judged that night; in linear time.

    The last mark's label is that of ``judge`` for the last night, wherever its own baseline was old enough.
    Raises ValueError for a quantity that is not in QUANTITIES.
    """
    if series.quantity not in QUANTITIES:
        raise ValueError(f"unknown quantity {series.quantity!r}; known: {', '.join(QUANTITIES)}")
    better = QUANTITIES[series.quantity].better
    starts = sorted(word.since for word in accepted if word.covers(series))
    found: list[Mark] = []
    bases: dict[tuple[int, Fingerprint], Baseline] = {}
    for night in sorted(nights, key=lambda each: (each.time, each.run)):
        # nights of one fingerprint share a baseline although others lie between, as the judge has it
        key = sum(start <= night.time for start in starts), night.fingerprint
        base = bases.get(key, Baseline())
        epoch = list(dict.fromkeys((*bases, key))).index(key)
        found.append(_mark(night, base, epoch, better, rules))
        bases[key] = follow(base, night, better, rules)
    return tuple(found)


def _mark(night: Night, base: Baseline, epoch: int, better: int, rules: DriftRules) -> Mark:
    if not night.measured or len(base.accepted) < rules.least:
        return Mark(night, Label.INSUFFICIENT, epoch)
    first, second = confirmed(base, night, better, rules)
    level = first.reference
    return Mark(
        night, _label(first, second), epoch, level, level * (1 - first.limit), level * (1 + first.limit)
    )


def _label(first: Excess, second: Excess | None) -> Label:
    if first.beyond == 0:
        return Label.OK
    if second is None or second.beyond != first.beyond:
        return Label.SUSPICIOUS
    return Label.REGRESSION if first.beyond < 0 else Label.IMPROVEMENT
