"""Who was lost or held the others up while it was measured: one verdict each, beside the cases that it cost."""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.registry import check
from bench.model.verdict import Status, Verdict


@check("coverage.lost")
def lost(evidence: Evidence) -> Iterator[Verdict]:
    """No rank or node died, stopped or held the others up."""
    reasons: dict[str, list[str]] = {}
    for loss in evidence.run.losses:
        if loss.culprit:
            reasons.setdefault(loss.culprit, []).append(loss.reason)
    for culprit, told in reasons.items():
        yield Verdict(
            "coverage.lost",
            culprit,
            Status.INCONCLUSIVE,
            f"{told[0].removeprefix(f'{culprit}: ')}{f'; it cost {len(told)} cases' if len(told) > 1 else ''}",
            "every rank in every call",
            "heartbeats of the supervisors, apart from what is measured",
            "look at that node (dmesg, nvidia-smi, ip link) and at its log in logs/, then run again",
            evidence=tuple(dict.fromkeys(told[1:]))[:8],
        )
