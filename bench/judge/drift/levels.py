"""The baselines of one series: one for each fingerprint, and which of them a new fingerprint is held against."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from bench.judge.drift.baseline import Baseline, DriftRules, excess, follow
from bench.model.late_dataclass import dataclass, field, replace
from bench.store.history.nights import Fingerprint, NightValue


@dataclass
class Levels:
    """What the nights so far were learned as. ``seen``: fingerprint → times of its first and last night."""

    better: int
    rules: DriftRules
    bases: dict[Fingerprint, Baseline] = field(default_factory=dict)
    seen: dict[Fingerprint, tuple[float, float]] = field(default_factory=dict)

    def learn(self, night: NightValue) -> None:
        own = night.fingerprint
        self.bases[own] = follow(self.own(own), night, self.better, self.rules)
        self.seen[own] = self.seen.get(own, (night.time, night.time))[0], night.time

    def own(self, parts: Fingerprint) -> Baseline:
        """The baseline of the nights with this fingerprint."""
        return self.bases.get(parts) or Baseline()

    def latest_other(self, parts: Fingerprint) -> Fingerprint | None:
        """The other fingerprint that was seen last; None where there was none."""
        others = [other for other in self.seen if other != parts]
        return max(others, key=lambda other: self.seen[other][1], default=None)

    def before(self, parts: Fingerprint, now: float) -> tuple[Fingerprint, Baseline] | None:
        """The last level that a fingerprint which ended before this one began had, and that was not worse than another.

        What is worse since a change is never learned by itself. Fingerprints that come and go beside this one are
        other configurations, which it is not held against.
        """
        begun = self.seen.get(parts, (now, now))[0]
        found: tuple[Fingerprint, Baseline] | None = None
        for other, base in self.bases.items():
            if other == parts or self.seen[other][1] >= begun or len(base.accepted) < self.rules.least:
                continue
            if found is None or not self._worse(base.level, found[1]):
                found = other, base
        return found

    def _worse(self, level: float, than: Baseline) -> bool:
        return excess(replace(than, recent=()), level, self.better, self.rules).beyond < 0


def levels(nights: Iterable[NightValue], better: int, rules: DriftRules) -> Levels:
    """What ``nights``, oldest first, were learned as. It is shared: nobody may teach it more."""
    return _after(tuple(nights), better, rules)


# a nightly run asks after each of its phases, and the nights before it stay the same
@lru_cache(maxsize=1024)
def _after(nights: tuple[NightValue, ...], better: int, rules: DriftRules) -> Levels:
    found = Levels(better, rules)
    for night in nights:
        found.learn(night)
    return found
