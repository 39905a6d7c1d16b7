"""Who is to blame: node, GPU, port, path, rail."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from msgspec.structs import replace

from bench.judge.blame import Blame, transfers
from bench.judge.blame.wording import slower
from bench.judge.checks.throttling_and_mtu import explained
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.model.profile import Limit
from bench.model.rails import members, nearest_rails, own_rails
from bench.model.units import show_both, show_count, show_rate, show_share
from bench.model.verdict import Status
from bench.plan.phase_names import FIRST, PINNED
from bench.plan.screening.rings import ring_text
from bench.store import IMPORTED

Ends = tuple[str, str, str]  # who sends to whom, on which rail
MOST = 16  # transfers below the bound that are named one by one, slowest first


def _no_rails_phase(evidence: Evidence) -> str:
    if any(phase.name == FIRST for phase in evidence.run.plan.phases):
        return ""
    reason = evidence.skipped.get(FIRST, "the rails were not part of this run")
    return f"not measured: {reason}"


@check(
    "blame.rails",
    subject="rails",
    wanted="its peers' rate",
    source="RailGauge",
    bound=0.0,
    unless=(_no_rails_phase,),
)
def rails(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """No node, port or path is slower than its peers; suspects are measured again before they are named."""
    answer = transfers.answer(evidence)
    for row in answer.named:
        found = _guessed(_of_several(_named(row, answer.reference), row, evidence), row, evidence)
        yield explained(found, row, evidence)
    for row in answer.explained:
        text = f"{slower(row.lost, answer.reference)}; blame.intermittent names the port"
        yield NotApplicable(text, row.text)
    for row in answer.suspects:
        text = f"suspected: {slower(row.lost, answer.reference)}"
        step, wanted = row.next_step, "a second measurement"
        yield Finding(row.text, None, text, wanted=wanted, step=step, evidence=row.evidence)
    # two nodes alone have nothing to be compared with; where no bound on speed is claimed that is no gap
    ungated = not evidence.profile.limits and not answer.blames and answer.measured == answer.expected
    for text in answer.unknown:
        missing = Finding("rails", None, text, wanted="all pairs on all rails", step="run again")
        yield NotApplicable(text) if ungated else missing
    if answer.status is Status.PASS:
        text = f"{answer.measured} of {answer.expected} transfers agree with {show_both(answer.reference)}"
        yield Finding(
            "rails",
            True,
            f"{text} within {show_share(answer.floor)}",
            float(answer.measured),
            wanted="no part slower than the others",
            bound=float(answer.expected),
        )


def _named(row: Blame, reference: float) -> Finding:
    text = {
        "retransmits": "loses packets",
        "wiring": "is cabled to another rail's leaf switch (ibnetdiscover)",
        "inside": f"{slower(row.lost)} inside the node",
    }.get(row.metric, slower(row.lost, reference))
    return Finding(
        row.text,
        False,
        text,
        row.lost,
        source="RailGauge, confirmed by a second measurement",
        step=row.next_step,
        evidence=(*row.evidence, f"confidence {row.confidence:.2f}"),
    )


def _of_several(found: Finding, row: Blame, evidence: Evidence) -> Finding:
    """Say in the next step that transfers of a GPU with several rails do not show which of them is slow."""
    if len(members(row.subject.rail)) < 2:
        return found
    of = sorted({rail for each in (row.subject, *row.alternatives) for rail in members(each.rail)})
    alone: dict[str, list[float]] = {}
    for each in transfers.transfers(evidence, PINNED):
        if row.subject.node in ("", each.a, each.b):
            alone.setdefault(each.rail, []).append(each.rate)
    rates = [f"{rail} alone, pinned: {show_both(median(alone[rail]))}" for rail in of if alone.get(rail)]
    which = (
        f"{', '.join(of)} are rails of one GPU, and these transfers do not show which of them it is: see each in its "
        f"pinned pass {'(below)' if rates else '(accept --pinned)'} and its error counters (rails.alone, growth.errors)"
    )
    return replace(found, step=f"{which}; then {found.step}", evidence=(*found.evidence, *rates))


def _guessed(found: Finding, row: Blame, evidence: Evidence) -> Finding:
    """Say where PCI does not tell a GPU's rails apart: their name follows the order, and NCCL may use another rail.

    ncclTopoGetLocalNet shares adapters that are equally near out by the mirrored bits of the GPU's number.
    """
    rails, ends = members(row.subject.rail), {row.subject.node, row.subject.peer} - {""}
    if evidence.backend != "nccl" or row.subject.kind == "gpu":
        return found
    for node in evidence.nodes:
        own, near = own_rails(node, evidence.rails), nearest_rails(node, evidence.rails)
        for mine, tied in zip(own, near, strict=False):
            if (not ends or node.name in ends) and mine == rails and set(tied) != set(mine):
                why = f"{row.subject.rail} is assigned by the GPUs' order, not by PCI, so NCCL may use another rail"
                step = f"{why}; see rails.intended, and the pinned passes (--pinned); then {found.step}"
                return replace(found, step=step)
    return found


@check("limits.rail_rate")
def rail_rate(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """Point-to-point on every rail of every pair of nodes, each direction by itself, reaches the profile's bound."""
    for limit in evidence.limits("rail_rate"):
        yield from _held_against(limit, _rated(evidence), evidence)


def _held_against(
    limit: Limit, rows: list[tuple[str, float]], evidence: Evidence
) -> Iterator[Finding | NotApplicable]:
    bound = limit.bound
    words = Finding(
        "rails", None, "", wanted=f"at least {bound.text}", source=bound.source, bound=bound.value
    )
    slow = sorted(
        (row for row in rows if not bound.reached(row[1])), key=lambda row: (math.isnan(row[1]), row[1])
    )
    if not rows:
        text = "no rail was measured point-to-point"
        needless = evidence.manifest.launcher == IMPORTED or evidence.node_count < 2
        yield NotApplicable(text, "rails") if needless else replace(words, measured=text)
        return
    for name, rate in slow[:MOST]:
        if math.isnan(rate):
            yield replace(words, subject=name, measured="a measurement has no time", step="measure again")
            continue
        text = f"{show_both(rate)}; below the floor: {len(slow)} of {show_count(len(rows), 'transfer')}"
        step = "blame.rails, or blame.screening, names the cause"
        yield replace(words, subject=name, ok=False, measured=text, value=rate, step=step)
    if not slow:
        name, rate = min(rows, key=lambda row: row[1])
        text = f"{show_count(len(rows), 'transfer')}, the slowest {show_both(rate)}: {name}"
        disturbed = _disturbed(evidence, limit)
        again = _again_and_again(disturbed)
        for port, times in again.items():
            often = (
                f"{times} of its transfers were slow at first, and were not when the same load was repeated"
            )
            step = "see blame.intermittent; load it for longer: railgauge soak --minutes N"
            yield replace(words, subject=port, measured=often, step=step, evidence=tuple(disturbed.values()))
        if not again:
            yield replace(words, ok=True, measured=text, value=rate, evidence=tuple(disturbed.values()))


def _rated(evidence: Evidence) -> list[tuple[str, float]]:
    """(between whom, bytes/s) of every transfer, pinned ones too, and of every ring of nodes by its slowest link."""
    rings = transfers.ring_rates(evidence.rows, evidence.ranks, evidence.rail_names)
    return [
        *((_named_ends(*ends), rate_of_repeats(rates)) for ends, rates in _first(evidence).items()),
        *((_named_ends(row.a, row.b, row.rail), row.rate) for row in transfers.transfers(evidence, PINNED)),
        *(
            (f"{ring_text(ring)} on {rail}", rate)
            for ring, rates in rings.items()
            for rail, rate in rates.items()
        ),
    ]


def _first(evidence: Evidence) -> dict[Ends, list[float]]:
    """The two ends → bytes/s of the first phase, and of its repetition where that was measured, in this order."""
    found: dict[Ends, list[float]] = {}
    for row in transfers.transfers(evidence, FIRST):
        found.setdefault((row.a, row.b, row.rail), []).append(row.rate)
    return found


def _named_ends(sender: str, receiver: str, rail: str) -> str:
    return f"{sender} to {receiver} on {rail}"


def rate_of_repeats(rates: Sequence[float]) -> float:
    """The rate of one transfer that was measured several times under the same load: the median where all repeats were
    measured, the slowest where they were cut short. NaN where one is NaN.
    """
    if any(math.isnan(rate) for rate in rates):
        return math.nan
    return median(rates) if len(rates) > transfers.REPEATS else min(rates)


def _disturbed(evidence: Evidence, limit: Limit) -> dict[Ends, str]:
    """Transfers that were below the bound once and not again, with their rates."""
    found = {}
    for ends, rates in _first(evidence).items():
        if not all(limit.bound.reached(rate) for rate in rates):
            told = ", ".join(show_rate(rate, "Gb/s") for rate in rates)
            found[ends] = (
                f"{_named_ends(*ends)} was slow at first, and was not when the same load was repeated: {told}"
            )
    return found


def _again_and_again(disturbed: Iterable[Ends]) -> dict[str, int]:
    """Port → how many of its transfers were disturbed, where that is several: a disturbance that comes again stays."""
    times = Counter(f"{node} rail {rail}" for a, b, rail in disturbed for node in (a, b))
    return {port: count for port, count in times.items() if count > 1}
