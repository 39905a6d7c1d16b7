"""What the history said when a run began, kept in the run folder: drift can be judged again without the history."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.judge.drift import Acceptance, Fingerprint, NightValue, Series, fingerprint
from bench.model.late_dataclass import dataclass, field, replace
from bench.model.verdict import Status
from bench.store import HISTORY, Run, RunError, read_file
from bench.store.history import (
    HistoryError,
    LeftOutFile,
    RecordedRun,
    WrongPlace,
    acceptances,
    append,
    create,
    nights,
    runs,
    strangers,
)
from bench.store.history.location import open_folder
from bench.store.history.nights import FORMAT, Figure, SavedPast, SavedSeries

# nights older than this stay in the history and out of the judgement; the first nights count for slow decay
OLDEST = 400 * 86400.0
BESIDE = 20  # run folders that are asked whether the history was another once
MOST = 5  # files left out that a person is told by name; the run folder has them all


@dataclass(frozen=True)
class Past:
    """The nights of one cluster before a run.

    parts     fingerprint of the run itself
    nights    whole-cluster series → nights, oldest first
    accepted  levels that a person accepted
    left_out  files of the history that are no runs, and why
    plan      what the plan of the night says of itself
    reserve   seconds for measuring again what is out of line
    recorded  the file that the run became; empty: not yet
    trouble   why it could not be recorded
    where     the history, as it may be shown
    ahead     nights of the cluster that are dated after this one
    """

    cluster: str
    parts: Fingerprint = ()
    nights: Mapping[Series, tuple[NightValue, ...]] = field(default_factory=dict)
    accepted: tuple[Acceptance, ...] = ()
    left_out: tuple[LeftOutFile, ...] = ()
    plan: str = ""
    reserve: float = 0.0
    recorded: str = ""
    trouble: str = ""
    where: str = ""
    ahead: int = 0

    @property
    def said(self) -> tuple[str, ...]:
        """What a person is told before anything is measured: the plan, and what of the history is left out."""
        more = len(self.left_out) - MOST
        named = tuple(f"history: left out: {problem}" for problem in self.left_out[:MOST])
        rest = (f"history: left out: {more} more; railgauge history check DIR",) if more > 0 else ()
        return (self.plan, *named, *rest)

    def saved(self) -> SavedPast:
        """The content of ``history.json``: runs and fingerprints stand once each."""
        runs = _numbered((night.run, night.time, night.fingerprint) for night in _all(self.nights))
        prints = _numbered(parts for _, _, parts in runs)
        return SavedPast(
            format=FORMAT,
            cluster=self.cluster,
            parts=dict(self.parts),
            fingerprints=tuple(dict(parts) for parts in prints),
            runs=tuple((run, time, prints[parts]) for run, time, parts in runs),
            series=tuple(_saved(series, found, runs) for series, found in sorted(self.nights.items())),
            accepted=self.accepted,
            left_out=tuple((each.path, each.reason) for each in self.left_out),
            plan=self.plan,
            reserve=self.reserve,
            recorded=self.recorded,
            trouble=self.trouble,
            where=self.where,
            ahead=self.ahead,
        )


def from_saved(saved: SavedPast) -> Past:
    """The past that ``saved`` wrote. Raises RunError where it names a run or a fingerprint that it does not hold."""
    try:
        prints = [fingerprint(parts) for parts in saved.fingerprints]
        runs = [(run, time, prints[place]) for run, time, place in saved.runs]
        nights = {
            Series(saved.cluster, *each.series): tuple(_night(runs[at[0]], *at[1:]) for at in each.nights)
            for each in saved.series
        }
    except IndexError as error:
        raise RunError(f"history.json of the run folder is damaged: {error}") from None
    return Past(
        cluster=saved.cluster,
        parts=fingerprint(saved.parts),
        nights=nights,
        accepted=saved.accepted,
        left_out=tuple(LeftOutFile(*each) for each in saved.left_out),
        plan=saved.plan,
        reserve=saved.reserve,
        recorded=saved.recorded,
        trouble=saved.trouble,
        where=saved.where,
        ahead=saved.ahead,
    )


def past_of(run: Run) -> Past | None:
    """The nights before a nightly run, as its folder keeps them; None of any other run."""
    return from_saved(run.history) if run.history else None


def read_past(history: str, cluster: str, parts: Mapping[str, str], now: float) -> Past:
    """Ask the history for everything that tonight is compared with. Raises HistoryError."""
    create(history)
    found, problems = nights(history, cluster, max(0.0, now - OLDEST))
    accepted, bad = acceptances(history, cluster)
    named = {problem.path for problem in problems}
    others = tuple(problem for problem in strangers(history) if problem.path not in named)
    before = {series: tuple(night for night in past if night.time < now) for series, past in found.items()}
    later = {(night.run, night.time) for night in _all(found) if night.time >= now}
    return Past(
        cluster,
        fingerprint(parts),
        before,
        accepted,
        (*problems, *others, *bad),
        where=open_folder(history).name,
        ahead=len(later),
    )


def refuse_lost_history(history: str, past: Past, folder: Path, new: bool) -> None:
    """Raise WrongPlace for nights that are gone: the history has none, and runs beside ``folder`` were recorded in it.

    An empty mount point looks like a first night. ``new``: a person says that it is one.
    """
    known = any(past.nights.values()) or bool(runs(history, past.cluster)[0])
    if new and known:
        raise WrongPlace(f"{past.where} holds nights of {past.cluster} already: omit --new")
    if not new and not known:
        _refuse_gone(past.where, past.cluster, recorded_beside(folder, past.where, past.cluster))


def still_there(history: str, folder: Path) -> None:
    """Check like ``refuse_lost_history``, but before measuring: for the cluster of the newest run beside ``folder``."""
    where = open_folder(history)
    last = recorded_beside(folder, where.name)
    if not last or (where.local and Path(last[2]).exists()):
        return
    gone = where.local and not Path(where.root).is_dir()
    if gone or not runs(history, last[1])[0]:
        _refuse_gone(where.name, last[1], last)


def _refuse_gone(where: str, cluster: str, last: tuple[str, str, str] | None) -> None:
    if last:
        raise WrongPlace(
            f"{where} holds no night of {cluster}, and {last[0]} was recorded in it: is it mounted? "
            "If it is to begin anew: --new"
        )


def recorded_beside(folder: Path, where: str, cluster: str = "") -> tuple[str, str, str] | None:
    """The newest run folder beside ``folder`` that was recorded in ``where``, its cluster and its file there."""
    beside = [
        path for path in folder.absolute().parent.glob(f"*/{HISTORY}") if path.parent.name != folder.name
    ]
    for path in sorted(beside, key=lambda path: path.stat().st_mtime, reverse=True)[:BESIDE]:
        with contextlib.suppress(RunError, ValueError, KeyError, TypeError, AttributeError):
            row = json.loads(read_file(path.parent, HISTORY))
            if row["cluster"] == (cluster or row["cluster"]) and row["recorded"].startswith(f"{where}/"):
                return str(path.parent), row["cluster"], row["recorded"]
    return None


def record(history: str, past: Past, made: RecordedRun) -> Past:
    """Append a run; the past with its file, or with what went wrong: a night is never lost in silence."""
    try:
        return replace(past, recorded=append(history, made), trouble="")
    except HistoryError as error:
        return replace(past, recorded="", trouble=str(error))


def _all(series: Mapping[Series, Sequence[NightValue]]) -> Iterable[NightValue]:
    return (night for found in series.values() for night in found)


def _numbered(items: Iterable[Any]) -> dict[Any, int]:
    return {item: place for place, item in enumerate(dict.fromkeys(items))}


def _saved(series: Series, found: Sequence[NightValue], runs: Mapping[Any, int]) -> SavedSeries:
    return SavedSeries(
        (series.collective, series.size_class, series.quantity, series.subject),
        tuple(
            (
                runs[night.run, night.time, night.fingerprint],
                _json(night.value),
                _json(night.rerun),
                night.status,
            )
            for night in found
        ),
    )


def _night(run: tuple[str, float, Fingerprint], value: Figure, rerun: Figure, status: Status) -> NightValue:
    again = None if rerun is None else _number(rerun)
    return NightValue(run[0], run[1], _number(value), run[2], again, status)


def _json(value: float | None) -> Figure:
    """The value for JSON, which has no NaN: a missing figure is written "nan"."""
    return value if value is None or math.isfinite(value) else "nan"


def _number(value: Figure) -> float:
    return float(value) if value is not None else math.nan
