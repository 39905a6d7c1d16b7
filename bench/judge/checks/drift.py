"""Does tonight stand where the nights before it stood? Only a nightly run says so; any other has no such verdicts."""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.drift import peers as fleet
from bench.judge.drift import verdict
from bench.judge.drift.series import NODES, RAILS
from bench.judge.drift.tonight import COMPARED, Tonight, compared, explained, tonight
from bench.judge.evidence import Evidence
from bench.judge.registry import check
from bench.model.units import show_count, show_rate, show_size
from bench.model.verdict import Status, Verdict
from bench.plan.nightly import EVERY_RAIL, NIGHT

MOST = 20  # files left out that are named one by one


@check("drift.history")
def history(evidence: Evidence) -> Iterator[Verdict]:
    """Tonight stands in the history, and every file that was left out of it is named."""
    found = tonight(evidence.run, evidence.profile)
    if found is None:
        if "nightly" in evidence.manifest.command[1:2]:
            yield _lost()
        return
    past = found.past
    if past.left_out:
        yield Verdict(
            "drift.history",
            f"{show_count(len(past.left_out), 'file')} of the history",
            Status.SKIP,
            "broken or foreign, and left out of the baseline",
            "runs that RailGauge wrote",
            "RailGauge",
            "railgauge history check",
            evidence=tuple(map(str, past.left_out[:MOST])),
        )
    yield from _cut(found)
    before = max(map(len, past.nights.values()), default=0)
    if past.recorded:
        yield Verdict(
            "drift.history", past.cluster, Status.PASS, f"recorded, {before} nights before this one"
        )
        return
    yield Verdict(
        "drift.history",
        past.cluster,
        Status.INCONCLUSIVE,
        f"not recorded: {past.trouble or 'the run did not come to that'}",
        "every night in the history",
        "RailGauge",
        "mend that, then: railgauge history add DIR RUN",
    )


@check(COMPARED)
def held(evidence: Evidence) -> Iterator[Verdict]:
    """How many series there was anything to compare with: a night with none of them says nothing about drift."""
    found = tonight(evidence.run, evidence.profile)
    if found is None:
        return
    done, told = compared(found)
    yield Verdict(COMPARED, found.past.cluster, Status.PASS if done else Status.SKIP, told)


def _lost() -> Verdict:
    return Verdict(
        "drift.history",
        "the history",
        Status.INCONCLUSIVE,
        "this was a nightly run, and its folder holds no nights before it: drift cannot be judged",
        "history.json in the run folder",
        "RailGauge",
        "copy the folder again from where it was written",
    )


def _cut(found: Tonight) -> Iterator[Verdict]:
    if found.cut:
        yield Verdict(
            "drift.history",
            f"{len(found.cut)} series of the last night",
            Status.SKIP,
            "not in tonight's plan",
            source="the budget, the profile and who took part",
            evidence=tuple(series.name for series in found.cut[:MOST]),
        )


@check("drift.level")
def level(evidence: Evidence) -> Iterator[Verdict]:
    """Every series stands at its accepted baseline; who does not was measured again before it is said."""
    found = tonight(evidence.run, evidence.profile)
    if found is None:
        return
    if not found.findings:
        yield Verdict(
            "drift.level",
            found.past.cluster,
            Status.INCONCLUSIVE,
            "no series was planned",
            "a series",
            "RailGauge",
        )
    for finding in found.findings:
        yield verdict(explained(finding, found.past))


@check("drift.fleet")
def peers(evidence: Evidence) -> Iterator[Verdict]:
    """No rail and no node is slower than its peers of the same night."""
    found = tonight(evidence.run, evidence.profile)
    if found is None:
        return
    left_out = dict(evidence.run.plan.skipped)
    # a job of one node has none to give up, and the plan does not say so
    given_up = (NIGHT, EVERY_RAIL) in evidence.run.plan.skipped
    if given_up:
        yield Verdict(
            "drift.fleet",
            f"{found.past.cluster} {RAILS}",
            Status.INCONCLUSIVE,
            f"no rail was looked at: {NIGHT}",
            "every rail beside its peers",
            "RailGauge",
            "give the night a longer --budget",
        )
    for kind in (NODES,) if given_up else (RAILS, NODES):
        if not any(each.name == kind for each, _ in found.fleets):
            reason = f"not compared: {left_out.get(kind, 'they were not part of this run')}"
            yield Verdict("drift.fleet", f"{found.past.cluster} {kind}", Status.SKIP, reason)
    for each, standings in found.fleets:
        name = f"{found.past.cluster} {each.name}, {each.collective}, {show_size(each.size)}"
        yield from fleet.verdicts(name, standings, show_rate)
