"""What the subnet manager's fabric shows: switch and port of each HCA, links at both ends, switch-side errors."""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.fabric.judge_fabric import judged
from bench.judge.fabric.links import wanted_of
from bench.judge.findings import Finding, Outcome
from bench.judge.registry import check
from bench.model.rails import rails_of
from bench.probe.fabric.ask_all import SubnetAnswers, from_json
from bench.store import FABRIC, LOGS
from bench.store.case_progress import COPY_AGAIN

LANES = 4  # an NDR, HDR or EDR port of an HCA is 4 lanes wide


def _no_infiniband(evidence: Evidence) -> str:
    applies = evidence.rails.kind == "infiniband" and evidence.rails.rate
    return "" if applies else "the profile has no InfiniBand rails with a rate"


def _not_asked(evidence: Evidence) -> str:
    return (
        ""
        if _recorded(evidence) or evidence.records_all
        else "no fabric tool ran; railgauge accept runs them"
    )


def _recorded(evidence: Evidence) -> bool:
    return (evidence.run.path / LOGS / FABRIC).exists()


@check("fabric", subject="fabric", unless=(_no_infiniband, _not_asked), facts_only=True)
def fabric(evidence: Evidence) -> Iterator[Outcome]:
    """Every rail hangs on a switch port that runs at full width and rate, and no switch counts errors."""
    if not _recorded(evidence):
        text = f"the answers of the fabric's tools, {LOGS}/{FABRIC}, are not in the run folder"
        yield Finding("fabric", None, text, step=COPY_AGAIN)
        return
    rate, looks = evidence.rails.rate, _looks(evidence)
    assert rate is not None
    wanted = [
        port
        for node in evidence.nodes
        for port in wanted_of(node, [role.name for role in rails_of(node, evidence.rails)])
    ]
    before = looks[0] if len(looks) > 1 else None
    yield from judged(looks[-1], wanted, LANES, rate.value, rate.source, before)


def _looks(evidence: Evidence) -> list[SubnetAnswers]:
    """The tools' answers, oldest first; a damaged file raises, which makes this check inconclusive."""
    text = (evidence.run.path / LOGS / FABRIC).read_text(encoding="utf-8")
    return [from_json(line) for line in text.splitlines() if line.strip()]
