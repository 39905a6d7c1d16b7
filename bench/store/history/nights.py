"""What drift is judged on: a series, its nights, and the levels that a person accepted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, TypeGuard

from bench.model.late_dataclass import dataclass
from bench.model.verdict import Status

Fingerprint = tuple[tuple[str, str], ...]


def fingerprint(parts: Mapping[str, str]) -> Fingerprint:
    """What may change a result (GPUs, nodes, NCCL, driver, algorithm, profile ...), in a fixed order."""
    return tuple(sorted(parts.items()))


@lru_cache(1024)
def changed(before: Fingerprint, after: Fingerprint) -> tuple[str, ...]:
    """``("driver 550.90 → 560.28",)``: each part that differs, in alphabetical order; () if none does."""
    old, new = dict(before), dict(after)
    return tuple(
        f"{part} {old.get(part, 'unknown')} → {new.get(part, 'unknown')}"
        for part in sorted(old.keys() | new.keys())
        if old.get(part) != new.get(part)
    )


@dataclass(frozen=True, order=True)
class Series:
    """One line of a trend. ``subject`` is empty for the whole cluster, or a node, rail or port in it."""

    cluster: str
    collective: str
    size_class: str
    quantity: str
    subject: str = ""

    @property
    def name(self) -> str:
        parts = (self.cluster, self.subject, self.collective, self.size_class, self.quantity)
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class NightValue:
    """The value of one series in one night, as the history gives it back: with its run, time and fingerprint.

    time         seconds since 1970, UTC
    value        bytes per second or seconds; NaN where there is none
    fingerprint  see ``fingerprint``
    rerun        the second measurement of the same night; None where none was asked for
    status       what was said of the measurement itself (wrong elements, floors), not of its drift
    """

    run: str
    time: float
    value: float
    fingerprint: Fingerprint = ()
    rerun: float | None = None
    status: Status = Status.PASS

    @property
    def level(self) -> float:
        """The re-run where there is one: the first value was singled out for being extreme, it was not."""
        return self.rerun if usable(self.rerun) else self.value

    @property
    def measured(self) -> bool:
        """Whether there is a figure to judge; one that is INCONCLUSIVE or NOT APPLICABLE has none, whatever it says."""
        return usable(self.value) and self.status in (Status.PASS, Status.FAIL)


FORMAT = 1
"""Of ``history.json``."""

Figure = float | Literal["nan"] | None
"""Of a night in a file: ``nan`` where there was a measurement without a figure."""


@dataclass(frozen=True)
class SavedSeries:
    """The nights of one series in ``history.json``: [number in ``runs``, value, re-run, status] each.

    series   collective, size class, quantity, subject
    """

    series: tuple[str, str, str, str]
    nights: tuple[tuple[int, Figure, Figure, Status], ...]


@dataclass(frozen=True)
class SavedPast:
    """``history.json`` of a run folder: the nights before the run, as the history held them, and where the run went.

    parts         fingerprint of the run itself
    fingerprints  each once; ``runs``: [id, seconds since 1970, number in ``fingerprints``] of each earlier run
    accepted      levels that a person accepted
    left_out      [path, reason] of files of the history that are no runs
    plan          what the plan of the night says of itself; ``reserve``: seconds for measuring again
    recorded      the file that the run became, "" where it did not; ``trouble``: why it could not be recorded
    where         the history, as it may be shown
    ahead         nights of the cluster that are dated after this one
    """

    format: int
    cluster: str
    parts: dict[str, str]
    fingerprints: tuple[dict[str, str], ...]
    runs: tuple[tuple[str, float, int], ...]
    series: tuple[SavedSeries, ...]
    accepted: tuple[Acceptance, ...]
    left_out: tuple[tuple[str, str], ...]
    plan: str
    reserve: float
    recorded: str
    trouble: str
    where: str = ""
    ahead: int = 0


@dataclass(frozen=True)
class Acceptance:
    """A person's word that a level is the new normal: from ``since`` on, and nothing before it counts.

    An empty ``collective``, ``size_class`` or ``quantity`` stands for all of them. ``when`` is the time of
    the acceptance itself, ``since`` that of the first night of the new level; both seconds since 1970.
    """

    cluster: str
    since: float
    who: str
    when: float
    why: str
    collective: str = ""
    size_class: str = ""
    quantity: str = ""

    @property
    def what(self) -> str:
        """``all_reduce 4 MiB busbw``, less what stands for all."""
        return " ".join(filter(None, (self.collective, self.size_class, self.quantity))) or "all series"

    def covers(self, series: Series) -> bool:
        return self.cluster == series.cluster and all(
            mine in ("", theirs)
            for mine, theirs in (
                (self.collective, series.collective),
                (self.size_class, series.size_class),
                (self.quantity, series.quantity),
            )
        )


def usable(value: float | None) -> TypeGuard[float]:
    """Whether a figure can be compared: finite and above 0. Rates and times of 0 are failed measurements."""
    return value is not None and math.isfinite(value) and value > 0
