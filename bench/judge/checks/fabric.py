"""What the subnet manager's fabric says: switch and port of each HCA, links at both ends, switch-side errors."""

from __future__ import annotations

import json
from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.fabric.judged import judged
from bench.judge.fabric.links import Wanted, wanted_of
from bench.judge.registry import check
from bench.model.rails import rails_of
from bench.model.verdict import Status, Verdict
from bench.probe.fabric.ask_all import SubnetAnswers, from_json
from bench.store import FABRIC, LOGS

LANES = 4  # an NDR, HDR or EDR port of an HCA is 4 lanes wide


@check("fabric", early=True)
def fabric(evidence: Evidence) -> Iterator[Verdict]:
    """Every rail hangs on a switch port that runs at full width and rate, and no switch counts errors."""
    if evidence.rails.kind != "infiniband" or evidence.rails.rate is None:
        yield Verdict("fabric", "fabric", Status.SKIP, "the profile speaks of no InfiniBand")
        return
    looks = _looks(evidence)
    if not looks:
        yield Verdict(
            "fabric",
            "fabric",
            Status.SKIP,
            "the fabric was not asked in this run",
            next_step="railgauge accept",
        )
        return
    rate = evidence.rails.rate
    yield from judged(
        looks[-1], _wanted(evidence), LANES, rate.value, rate.source, looks[0] if len(looks) > 1 else None
    )


def _wanted(evidence: Evidence) -> list[Wanted]:
    return [
        port
        for node in evidence.nodes
        for port in wanted_of(node, [role.name for role in rails_of(node, evidence.rails)])
    ]


def _looks(evidence: Evidence) -> list[SubnetAnswers]:
    """What was asked, oldest first; a damaged file raises, which is an INCONCLUSIVE of this check."""
    path = evidence.run.path / LOGS / FABRIC
    if not path.exists():
        return []
    return [
        from_json(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
    ]
