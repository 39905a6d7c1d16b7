"""How long a message is under way on each rail: ib_write_lat beside the bandwidth."""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check, no_rails
from bench.judge.wire.rail_latency import Place, RailLatencies, culprits, of_latencies, why_unknown
from bench.measure.perftest.expected_latency import SOURCE, RailLatency
from bench.model.units import show_seconds

INSTALL = "install perftest on every node, then: railgauge accept"


@check(
    "rails.latency",
    wanted=f"at most the profile's, and the larger of twice and 2 µs above {SOURCE}",
    source="RailGauge",
    on_fail="see pcie.link and growth.errors; then its cable, the CPU's sleep states, and what else uses this rail",
    on_inconclusive="mend what it names, then run again; perftest's output lies in verbs.jsonl of the run folder",
    unit="rails",
    unless=(no_rails,),
)
def latency(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """A message takes no longer on a rail than the profile wants, nor than on the other rails of the same two nodes."""
    found = of_latencies(evidence)
    if found.left and evidence.profile.verbs.mode == "on":
        yield Finding("all nodes", None, found.left)
        return
    if found.left:
        yield NotApplicable(found.left, step=INSTALL if evidence.profile.verbs.mode == "auto" else "")
        return
    blamed = culprits(found)
    yield from (_slow(places, each) for places, each in blamed.items())
    named = {place for places in blamed for place in places}
    for place in found.at:
        if place not in named:
            yield from _of(place, found, evidence)


def _of(place: Place, found: RailLatencies, evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    subject, best = " ".join(place), found.best(place)
    if best is None:
        yield Finding(subject, None, why_unknown(evidence, place))
        return
    text = f"{show_seconds(best.seconds)} one way"
    if best.most is None:
        why = f"{text}: the profile has no bound, and two nodes share too few rails to compare them"
        yield NotApplicable(why, subject)
        return
    yield Finding(subject, True, text, best.seconds, note=text)


def _slow(places: tuple[Place, ...], each: RailLatency) -> Finding:
    subject = " and ".join(" ".join(place) for place in places)
    assert each.most is not None
    other = next((end.node for end in (each.sender, each.receiver) if end.node != places[0][0]), "")
    way = f"to {other} " if len(places) == 1 else ""
    return Finding(
        subject,
        False,
        f"a message takes {show_seconds(each.seconds)} one way {way}".rstrip(),
        each.seconds,
        wanted=f"at most {show_seconds(each.most.value)}",
        source=each.most.source,
        bound=each.most.value,
    )
