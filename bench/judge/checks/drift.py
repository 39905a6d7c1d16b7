"""Is tonight as fast as the nights before it? Only a nightly run has such verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bench.judge.drift import peers as fleet
from bench.judge.drift import series_verdict
from bench.judge.drift.series import NODES, RAILS
from bench.judge.drift.tonight import COMPARED, compared, explained, tonight
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable, Outcome
from bench.judge.registry import check
from bench.model.units import show_count, show_rate, show_size
from bench.plan.nightly import EVERY_RAIL, NIGHT
from bench.store.case_progress import COPY_AGAIN
from bench.store.history.nights import usable

MOST = 20  # files left out that are named one by one


def _is_nightly(evidence: Evidence) -> bool:
    nightly = evidence.manifest.settings.night is not None or "nightly" in evidence.manifest.command[1:2]
    return nightly or tonight(evidence) is not None


_of_night = partial(check, source="RailGauge", only=_is_nightly)


@_of_night("drift.history", wanted="every night in the history")
def history(evidence: Evidence) -> Iterator[Outcome]:
    """Tonight stands in the history, and every file that was left out of it is named."""
    found = tonight(evidence)
    if found is None:
        text = "this was a nightly run, and its folder holds no nights before it: drift cannot be judged"
        step = COPY_AGAIN
        yield Finding("the history", None, text, wanted="history.json in the run folder", step=step)
        return
    past = found.past
    if past.left_out:
        files = f"{show_count(len(past.left_out), 'file')} of the history"
        names = tuple(map(str, past.left_out[:MOST]))
        text = "broken or foreign, and left out of the baseline"
        yield NotApplicable(text, files, names, "railgauge history check DIR")
    if found.cut:
        names = tuple(series.name for series in found.cut[:MOST])
        yield NotApplicable("not in tonight's plan", f"{len(found.cut)} series of the last night", names)
    before = max(map(len, past.nights.values()), default=0)
    empty = [
        series.name
        for series, nights in past.nights.items()
        if 2 * sum(usable(night.value) for night in nights) < len(nights)
    ]
    if empty:
        text = f"{len(empty)} series of the history have no figure that can be compared in most nights"
        step = "see which nights they are: railgauge history list DIR"
        yield Finding(
            past.cluster, None, text, wanted="figures above 0", step=step, evidence=tuple(empty[:MOST])
        )
    if past.recorded:
        yield Finding(past.cluster, True, f"recorded, {show_count(before, 'night')} before this one")
        return
    text = f"not recorded: {past.trouble or 'the run did not come to that'}"
    yield Finding(past.cluster, None, text, step="mend that, then: railgauge history add DIR RUN")


@check(COMPARED)
def compared_series(evidence: Evidence) -> Iterator[Outcome]:
    """How many series were compared: a night with none of them says nothing about drift."""
    if (found := tonight(evidence)) is not None:
        cluster, ahead = found.past.cluster, found.past.ahead
        if ahead:
            text = (
                f"{show_count(ahead, 'night')} of the history are dated after this one, and were not compared"
            )
            step = "set the clocks of the nodes (date -u), or move away what is dated wrongly, then measure again"
            yield Finding(cluster, None, text, wanted="nights before this one", step=step)
            return
        done, text = compared(found)
        yield Finding(cluster, True, text) if done else NotApplicable(text, cluster)


@_of_night("drift.level", wanted="a series")
def level(evidence: Evidence) -> Iterator[Outcome]:
    """Every series stands at its accepted baseline; one that does not was measured again before it is reported."""
    found = tonight(evidence)
    if found is not None:
        if not found.findings:
            yield Finding(found.past.cluster, None, "no series was planned")
        yield from (series_verdict(explained(each, found.past)) for each in found.findings)


@_of_night(
    "drift.fleet", wanted="every rail beside its peers", on_inconclusive="give the night a longer --budget"
)
def peers(evidence: Evidence) -> Iterator[Outcome]:
    """No rail and no node is slower than its peers of the same night."""
    found, left_out = tonight(evidence), evidence.run.plan.skipped
    if found is None:
        return
    cluster = found.past.cluster
    # a job of one node has none to give up, and then the plan names none
    given_up = (NIGHT, EVERY_RAIL) in left_out
    if given_up:
        yield Finding(f"{cluster} {RAILS}", None, f"no rail was compared: {NIGHT}")
    for kind in (NODES,) if given_up else (RAILS, NODES):
        if not any(each.name == kind for each, _ in found.fleets):
            reason = evidence.skipped.get(kind, "they were not part of this run")
            yield NotApplicable(f"not compared: {reason}", f"{cluster} {kind}")
    for each, standings in found.fleets:
        name = f"{cluster} {each.name}, {each.collective}, {show_size(each.size)}"
        yield from fleet.verdicts(name, standings, show_rate)
