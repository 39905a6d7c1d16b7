"""Tonight against the accepted baseline: five labels, and which series to measure again before an alarm.

The protocol is ``judge`` → measure again what ``wants_rerun`` → ``judge`` with ``NightValue.rerun`` set.
Nothing here measures, reads or writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from bench.judge.drift.baseline import STANDARD, Baseline, DriftRules, Excess, confirmed, implausible
from bench.judge.drift.levels import Levels, levels
from bench.judge.drift.steps import LevelStep, steps
from bench.model.late_dataclass import dataclass, replace
from bench.model.verdict import Status
from bench.store.history.nights import Acceptance, NightValue, Series, changed, usable


class Label(str, Enum):
    """What drift says of a series; a label is not a status, see ``SeriesFinding.status``."""

    OK = "ok"
    SUSPICIOUS = "suspicious"
    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    INSUFFICIENT = "insufficient data"


@dataclass(frozen=True)
class SeriesQuantity:
    """``better`` is +1 where more is better and -1 where less is; ``kind`` is ``rate`` or ``time``."""

    better: int
    kind: str


QUANTITIES = {
    "algbw": SeriesQuantity(+1, "rate"),
    "busbw": SeriesQuantity(+1, "rate"),
    "wire": SeriesQuantity(+1, "rate"),
    "latency": SeriesQuantity(-1, "time"),
    "seconds": SeriesQuantity(-1, "time"),
}


@dataclass(frozen=True)
class SeriesFinding:
    """What is said of one series tonight.

    status    FAIL for a confirmed regression. INCONCLUSIVE where it could not be determined: not measured, or worse
              without a re-run, or worse since the fingerprint changed. NOT APPLICABLE while a baseline is too young
    reason    why, in words; empty where the label says it all
    first, second   the two measurements against the baseline; None where the label is "insufficient data"
    nights    nights in the baseline, the oldest of them at ``since`` (seconds since 1970)
    cause     what changed in the fingerprint, if that is why there is a new baseline
    wants_rerun     whether a second measurement of the same night would decide it
    steps     change points of the history, once attributed; ``unattributed`` says why there are none
    """

    series: Series
    label: Label
    status: Status
    night: NightValue | None
    reason: str = ""
    first: Excess | None = None
    second: Excess | None = None
    nights: int = 0
    since: float = 0.0
    cause: tuple[str, ...] = ()
    wants_rerun: bool = False
    steps: tuple[LevelStep, ...] = ()
    unattributed: str = ""


def judge(
    series: Series,
    past: Iterable[NightValue],
    tonight: NightValue | None,
    accepted: Iterable[Acceptance] = (),
    rules: DriftRules = STANDARD,
) -> SeriesFinding:
    """One series tonight. ``past`` may be in any order; nights at or after tonight are not looked at."""
    if series.quantity not in QUANTITIES:
        known = ", ".join(QUANTITIES)
        return _untold(series, tonight, f"unknown quantity {series.quantity!r}; known: {known}")
    if tonight is None or not tonight.measured:
        return _untold(series, tonight, _why_unmeasured(tonight))
    better = QUANTITIES[series.quantity].better
    return held_against(series, tonight, levels(_counting(series, past, tonight, accepted), better, rules))


def held_against(series: Series, tonight: NightValue, known: Levels) -> SeriesFinding:
    """A night that was measured, held against what the nights before it were learned as."""
    base, rules = known.own(tonight.fingerprint), known.rules
    if len(base.accepted) < rules.least:
        return _young(series, tonight, known)
    found = _compare(SeriesFinding(series, Label.OK, Status.PASS, tonight), base, known.better, rules)
    return found if found.status is not Status.PASS else _since_change(found, known) or found


def _since_change(found: SeriesFinding, known: Levels) -> SeriesFinding | None:
    """What stands otherwise than before its fingerprint changed: worse stays so until a person accepts it.

    None where nothing old enough stood before, or it is as it was. A new baseline is not the judge yet and the old one
    no longer is, so that worse is neither FAIL nor PASS.
    """
    night = found.night
    assert night is not None
    before = known.before(night.fingerprint, night.time)
    if before is None:
        return None
    parts, old = before
    old = replace(old, recent=known.own(night.fingerprint).recent)
    beyond = confirmed(old, night, known.better, known.rules)[0].beyond
    strange = implausible(old, night.value, known.better, known.rules)
    if not beyond or (beyond > 0 and not strange and found.label is not Label.INSUFFICIENT):
        return None
    cause = changed(parts, night.fingerprint)
    blank = SeriesFinding(found.series, Label.OK, Status.PASS, night, found.reason, cause=cause)
    new = _compare(blank, old, known.better, known.rules)
    if strange and new.status is Status.INCONCLUSIVE:
        return new  # however many nights are: what is not believed is not learned either
    if beyond > 0:
        return replace(new, status=Status.NOT_APPLICABLE) if found.label is Label.INSUFFICIENT else None
    status = Status.INCONCLUSIVE if new.status is not Status.PASS else Status.NOT_APPLICABLE
    return replace(new, label=Label.SUSPICIOUS, status=status)


def attribute(finding: SeriesFinding, past: Iterable[NightValue]) -> SeriesFinding:
    """The finding with the level steps (change points) of its history, tonight included. Imports ``ruptures``.

    Raises NoRuptures if it is not installed; ``replace(finding, unattributed=str(error))`` then says so.
    """
    if finding.night is None:
        return finding
    before = (night for night in past if night.time < finding.night.time)
    return replace(finding, steps=steps((*sorted(before, key=_time), finding.night)))


def _counting(
    series: Series, past: Iterable[NightValue], tonight: NightValue, accepted: Iterable[Acceptance]
) -> list[NightValue]:
    """The past nights since the last accepted level, oldest first."""
    since = [word.since for word in accepted if word.covers(series) and word.since <= tonight.time]
    start = max(since, default=0.0)
    return sorted((night for night in past if start <= night.time < tonight.time), key=_time)


def _young(series: Series, tonight: NightValue, known: Levels) -> SeriesFinding:
    """Too few nights with this fingerprint: say so, and how tonight stands to them, or to the fingerprint before.

    A few nights can show that one is much slower, twice. That none was slower they do not show: it is no PASS.
    """
    base, rules = known.own(tonight.fingerprint), known.rules
    count, other = len(base.accepted), known.latest_other(tonight.fingerprint)
    cause = changed(other, tonight.fingerprint) if other else ()
    reason = f"{count} of {rules.least} nights that a baseline needs"
    reason += f" since {', '.join(cause)}" if cause else ""
    blank = SeriesFinding(
        series,
        Label.INSUFFICIENT,
        Status.NOT_APPLICABLE,
        tonight,
        reason,
        nights=count,
        since=base.since,
        cause=cause,
    )
    found = _since_change(blank, known)
    if found is not None or count < rules.early[0]:
        return found or blank
    early = _compare(replace(blank, label=Label.OK, status=Status.PASS), base, known.better, rules)
    if early.label is Label.OK:
        return blank
    return replace(early, status=Status.NOT_APPLICABLE) if early.status is Status.PASS else early


def _compare(blank: SeriesFinding, base: Baseline, better: int, rules: DriftRules) -> SeriesFinding:
    """``blank`` with the label that its night deserves against ``base``."""
    night = blank.night
    assert night is not None
    first, second = confirmed(base, night, better, rules)
    found = replace(blank, first=first, second=second, nights=len(base.accepted), since=base.since)
    if first.beyond == 0:
        return found
    worse = first.beyond < 0
    if implausible(base, night.value, better, rules):
        text = (
            f"more than {rules.implausible:g} times as fast as the baseline: the measurement is not believed"
        )
        if second is None or second.beyond == first.beyond:
            again = night.rerun is None
            return _labelled(found, Label.SUSPICIOUS, Status.INCONCLUSIVE, text, wants_rerun=again)
    unsure = Status.INCONCLUSIVE if worse else Status.PASS
    if second is None:
        failed = night.rerun is not None
        reason = "the re-run gave no figure" if failed else "not measured again yet"
        return _labelled(found, Label.SUSPICIOUS, unsure, reason, wants_rerun=not failed)
    if second.beyond == first.beyond:
        label = Label.REGRESSION if worse else Label.IMPROVEMENT
        return _labelled(found, label, Status.FAIL if worse else Status.PASS)
    if second.beyond:
        return _labelled(found, Label.SUSPICIOUS, Status.INCONCLUSIVE, "the re-run moved the other way")
    return _labelled(found, Label.SUSPICIOUS, Status.PASS, "the re-run did not confirm it")


def _labelled(
    found: SeriesFinding, label: Label, status: Status, reason: str = "", wants_rerun: bool = False
) -> SeriesFinding:
    both = "; ".join(part for part in (found.reason, reason) if part)
    return replace(found, label=label, status=status, reason=both, wants_rerun=wants_rerun)


def _untold(series: Series, tonight: NightValue | None, reason: str) -> SeriesFinding:
    return SeriesFinding(series, Label.INSUFFICIENT, Status.INCONCLUSIVE, tonight, reason)


def _why_unmeasured(tonight: NightValue | None) -> str:
    if tonight is None:
        return "not measured tonight"
    if not usable(tonight.value):
        return f"measured {tonight.value}, which is not a figure above 0"
    return f"tonight's measurement is {tonight.status.value}"


def _time(night: NightValue) -> tuple[float, str]:
    return night.time, night.run
