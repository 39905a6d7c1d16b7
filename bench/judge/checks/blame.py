"""Who is to blame: node, GPU, port, path, rail."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median

from bench.judge.blame import Blame, PairRate, transfers
from bench.judge.checks.throttling_and_mtu import explained
from bench.judge.evidence import Evidence
from bench.judge.registry import check
from bench.model.profile import Limit
from bench.model.rails import members, nearest_rails, own_rails
from bench.model.units import show_both, show_rate, show_share
from bench.model.verdict import Status, Verdict
from bench.store import IMPORTED

MOST = 16  # transfers below the bound that are named one by one, slowest first


@check("blame.rails")
def rails(evidence: Evidence) -> Iterator[Verdict]:
    """No node, port or path is slower than its equals; suspects were measured again before they are named."""
    if not any(phase.name == transfers.FIRST for phase in evidence.run.plan.phases):
        reason = dict(evidence.run.plan.skipped).get(transfers.FIRST, "the rails were not part of this run")
        yield Verdict("blame.rails", "rails", Status.SKIP, f"not measured: {reason}")
        return
    ranks, besides = evidence.ranks, evidence.background
    answer = transfers.answer(evidence.rows, ranks, evidence.profile, besides)
    for row in answer.named:
        yield explained(_guessed(_of_several(_named(row), row, evidence), row, evidence), row, evidence)
    for row in answer.suspects:
        yield Verdict(
            "blame.rails",
            row.text,
            Status.INCONCLUSIVE,
            f"suspected: {show_share(row.lost)} of the rate is missing",
            "a re-measurement",
            "RailGauge",
            row.next_step,
            evidence=row.evidence,
        )
    # two nodes alone have nothing to be compared with; where no bound on speed is claimed that is no gap
    ungated = not evidence.profile.limits and not answer.blames and answer.measured == answer.expected
    for text in answer.unknown:
        yield Verdict(
            "blame.rails",
            "rails",
            Status.SKIP if ungated else Status.INCONCLUSIVE,
            text,
            "all pairs on all rails",
            "RailGauge",
            "run again",
        )
    if answer.status is Status.PASS:
        yield Verdict(
            "blame.rails",
            "rails",
            Status.PASS,
            f"{answer.measured} of {answer.expected} transfers agree with {show_both(answer.reference)} "
            f"within {show_share(answer.floor)}",
            "nobody slower than the others",
            "RailGauge",
            value=float(answer.measured),
            bound=float(answer.expected),
        )


def _named(row: Blame) -> Verdict:
    lost = {
        "retransmits": "loses packets",
        "wiring": "hangs where another rail is, by the fabric's own word",
        "inside": f"{show_share(row.lost)} slower than its equals inside the node",
    }.get(row.metric, f"{show_share(row.lost)} of the rate is missing")
    if row.lost >= 0.999 and row.metric == "rate":
        lost = "nothing gets through"
    return Verdict(
        "blame.rails",
        row.text,
        Status.FAIL,
        lost,
        "as its equals",
        "RailGauge, confirmed by a second measurement",
        row.next_step,
        value=row.lost,
        bound=0.0,
        evidence=(*row.evidence, f"confidence {row.confidence:.2f}"),
    )


def _of_several(verdict: Verdict, row: Blame, evidence: Evidence) -> Verdict:
    """Where a GPU has several rails a transfer does not tell which of them is slow; each one alone does."""
    of = sorted({rail for each in (row.subject, *row.alternatives) for rail in members(each.rail)})
    if len(of) < 2 or len(members(row.subject.rail)) < 2:
        return verdict
    alone: dict[str, list[float]] = {}
    for each in transfers.transfers(
        evidence.rows,
        evidence.ranks,
        evidence.profile,
        (transfers.PINNED,),
        evidence.rail_names,
    ):
        if row.subject.node in ("", each.a, each.b):
            alone.setdefault(each.rail, []).append(each.rate)
    told = [f"{rail} alone, pinned: {show_both(median(alone[rail]))}" for rail in of if alone.get(rail)]
    which = (
        f"{', '.join(of)} are rails of one GPU, and which of them it is these transfers do not tell: see each in its "
        f"pinned pass {'(below)' if told else '(accept --pinned)'} and its error counters (rails.alone, counters)"
    )
    return replace(
        verdict, next_step=f"{which}; then {verdict.next_step}", evidence=(*verdict.evidence, *told)
    )


def _guessed(verdict: Verdict, row: Blame, evidence: Evidence) -> Verdict:
    """Where PCI does not set a GPU's rails apart their name is only the next in order, and NCCL may use another.

    ncclTopoGetLocalNet deals adapters that are equally near out by the mirrored bits of the GPU's number.
    """
    rails, ends = members(row.subject.rail), {row.subject.node, row.subject.peer} - {""}
    if evidence.backend != "nccl" or row.subject.kind == "gpu":
        return verdict
    for node in evidence.nodes:
        own, near = own_rails(node, evidence.rails), nearest_rails(node, evidence.rails)
        for mine, tied in zip(own, near, strict=False):
            if (not ends or node.name in ends) and mine == rails and set(tied) != set(mine):
                told = (
                    f"not PCI but the order says that {row.subject.rail} is its GPU's: NCCL may use another"
                )
                step = (
                    f"{told}; see rails.intended, and the pinned passes (--pinned); then {verdict.next_step}"
                )
                return replace(verdict, next_step=step)
    return verdict


@check("limits.rail_rate")
def rail_rate(evidence: Evidence) -> Iterator[Verdict]:
    """Point-to-point on every rail of every pair of nodes, each direction by itself, reaches the profile's bound."""
    for limit in evidence.profile.limits:
        if limit.quantity != "rail_rate" or not limit.nodes[0] <= evidence.node_count <= limit.nodes[1]:
            continue
        rows = _rated(evidence)
        if not rows:
            status = (
                Status.SKIP
                if evidence.manifest.launcher == IMPORTED or evidence.node_count < 2
                else Status.INCONCLUSIVE
            )
            yield Verdict(
                "limits.rail_rate",
                "rails",
                status,
                "no rail was measured point-to-point",
                f"at least {limit.bound.text}",
                limit.bound.source,
            )
            continue
        slow = sorted((row for row in rows if not limit.bound.reached(row[1])), key=lambda row: row[1])
        for name, rate in slow[:MOST]:
            yield Verdict(
                "limits.rail_rate",
                name,
                Status.FAIL,
                f"{show_both(rate)}, {len(slow)} of {len(rows)} transfers are below",
                f"at least {limit.bound.text}",
                limit.bound.source,
                "blame.rails, or blame.screening, says whose fault it is",
                value=rate,
                bound=limit.bound.value,
            )
        if not slow:
            name, rate = min(rows, key=lambda row: row[1])
            yield Verdict(
                "limits.rail_rate",
                "rails",
                Status.PASS,
                f"{len(rows)} transfers, the slowest {show_both(rate)}: {name}",
                f"at least {limit.bound.text}",
                limit.bound.source,
                value=rate,
                bound=limit.bound.value,
                evidence=tuple(_disturbed(evidence, limit)),
            )


def _rated(evidence: Evidence) -> list[tuple[str, float]]:
    """(between whom, bytes/s) of every transfer, pinned ones too, and of every ring of nodes by its slowest link."""
    ranks = evidence.ranks
    names = evidence.rail_names
    first = [(name, settled(rates)) for name, rates in _first(evidence).items()]
    pinned = [
        (_between(row), row.rate)
        for row in transfers.transfers(evidence.rows, ranks, evidence.profile, (transfers.PINNED,), names)
    ]
    rings = transfers.ring_rates(evidence.rows, ranks, names)
    return [
        *first,
        *pinned,
        *(
            (f"ring {' '.join(ring)} on {rail}", rate)
            for ring, rates in rings.items()
            for rail, rate in rates.items()
        ),
    ]


def _first(evidence: Evidence) -> dict[str, list[float]]:
    """Between whom -> bytes/s of the first phase, and of the same again where that was measured, in this order."""
    ranks = evidence.ranks
    names = evidence.rail_names
    found: dict[str, list[float]] = {}
    for row in transfers.transfers(evidence.rows, ranks, evidence.profile, (transfers.FIRST,), names):
        found.setdefault(_between(row), []).append(row.rate)
    return found


def _between(row: PairRate) -> str:
    return f"{row.a} to {row.b} on {row.rail}"


def settled(rates: Sequence[float]) -> float:
    """What several measurements of one transfer under the same load come to: the middle of all that were planned,
    the worst where they were cut short. NaN where one is.
    """
    if any(math.isnan(rate) for rate in rates):
        return math.nan
    return median(rates) if len(rates) > transfers.REPEATS else min(rates)


def _disturbed(evidence: Evidence, limit: Limit) -> Iterator[str]:
    """Transfers that were below the bound once and not again."""
    for name, rates in _first(evidence).items():
        if not all(limit.bound.reached(rate) for rate in rates):
            told = ", ".join(show_rate(rate, "Gb/s") for rate in rates)
            yield f"{name} was slow and, measured again as it was, is not: {told}"
