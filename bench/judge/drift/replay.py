"""The label that each night of a series got, judged by the nights before it: what a chart of the trend shows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from bench.judge.drift.baseline import STANDARD, DriftRules
from bench.judge.drift.judge_series import QUANTITIES, Label, held_against
from bench.judge.drift.levels import Levels
from bench.model.late_dataclass import dataclass
from bench.store.history.nights import Acceptance, Fingerprint, NightValue, Series


@dataclass(frozen=True)
class Mark:
    """One night and its label; ``low`` and ``high`` are what its baseline allowed, None while that was too young.

    ``level`` is the baseline's, ``epoch`` counts the baselines: one more with each new fingerprint or accepted level.
    """

    night: NightValue
    label: Label
    epoch: int
    level: float | None = None
    low: float | None = None
    high: float | None = None


def replay(
    series: Series,
    nights: Iterable[NightValue],
    accepted: Iterable[Acceptance] = (),
    rules: DriftRules = STANDARD,
) -> tuple[Mark, ...]:
    """The nights of a series, oldest first, each judged as it was judged that night; in linear time.

    Each mark's label is that of ``judge`` for its night.
    Raises ValueError for a quantity that is not in QUANTITIES.
    """
    return tuple(_mark(series, *step) for step in _walk(series, nights, accepted, rules))


def last_mark(
    series: Series,
    nights: Sequence[NightValue],
    accepted: Iterable[Acceptance] = (),
    rules: DriftRules = STANDARD,
) -> Mark:
    """The last mark that ``replay`` gives, in a third of the time. Raises ValueError, also for no nights."""
    for number, step in enumerate(_walk(series, nights, accepted, rules), start=1):
        if number == len(nights):
            return _mark(series, *step)
    raise ValueError(f"{series.name}: no nights")


def _walk(
    series: Series, nights: Iterable[NightValue], accepted: Iterable[Acceptance], rules: DriftRules
) -> Iterator[tuple[NightValue, int, Levels]]:
    """Each night, oldest first, with its epoch and the levels learned from the nights before it."""
    if series.quantity not in QUANTITIES:
        raise ValueError(f"unknown quantity {series.quantity!r}; known: {', '.join(QUANTITIES)}")
    better = QUANTITIES[series.quantity].better
    starts = sorted(word.since for word in accepted if word.covers(series))
    known: dict[int, Levels] = {}
    epochs: dict[tuple[int, Fingerprint], int] = {}
    for night in sorted(nights, key=lambda each: (each.time, each.run)):
        start = bisect_right(starts, night.time)
        now = known.setdefault(start, Levels(better, rules))
        # nights of one fingerprint share a baseline although others lie between, as the judge has it
        yield night, epochs.setdefault((start, night.fingerprint), len(epochs)), now
        now.learn(night)


def _mark(series: Series, night: NightValue, epoch: int, known: Levels) -> Mark:
    said = held_against(series, night, known) if night.measured else None
    if said is None or said.first is None:
        return Mark(night, Label.INSUFFICIENT, epoch)
    level, limit = said.first.reference, said.first.limit
    return Mark(night, said.label, epoch, level, level * (1 - limit), level * (1 + limit))
