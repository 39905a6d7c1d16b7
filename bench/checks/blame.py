"""Who is to blame: node, GPU, port, path, rail."""

from __future__ import annotations

from collections.abc import Iterator

from bench import paths
from bench.blame import Blame
from bench.checks.registry import Evidence, check
from bench.model import Status, Verdict
from bench.profile import Profile
from bench.units import show_both, show_share


@check("blame.rails")
def rails(seen: Evidence, want: Profile) -> Iterator[Verdict]:
    """No node, port or path is slower than its equals; suspects were measured again before they are named."""
    if not any(phase.name == paths.FIRST for phase in seen.run.plan.phases):
        reason = dict(seen.run.plan.skipped).get(paths.FIRST, "the rails were not part of this run")
        yield Verdict("blame.rails", "rails", Status.SKIP, f"not measured: {reason}")
        return
    answer = paths.answer(seen.rows, seen.run.manifest.ranks, want)
    for row in answer.named:
        yield _named(row)
    for row in answer.suspects:
        yield Verdict(
            "blame.rails",
            row.text,
            Status.ERROR,
            f"suspected: {show_share(row.lost)} of the rate is missing",
            "a re-measurement",
            "RailGauge",
            row.next_step,
            evidence=row.evidence,
        )
    for text in answer.unknown:
        yield Verdict(
            "blame.rails", "rails", Status.ERROR, text, "all pairs on all rails", "RailGauge", "run again"
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
