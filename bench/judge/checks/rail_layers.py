"""In which layer a rail loses: link, verbs, NCCL point-to-point, collective."""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding, NotApplicable
from bench.judge.registry import check
from bench.judge.wire.rail_layers import LINK, STEPS, LayerLoss, RailRow, of_layers
from bench.model.units import show_rate, show_share
from bench.model.verdict import Status

MISSING = "mend what it names, then run again; perftest's output lies in verbs.jsonl of the run folder"
INSTALL = "install perftest on every node, then: railgauge accept"


@check(
    "rails.layers",
    wanted="every layer as the one below",
    source="RailGauge",
    on_inconclusive=MISSING,
    unit="rails",
)
def layers(evidence: Evidence) -> Iterator[Finding | NotApplicable]:
    """No layer of a rail gives less than is normal above the one below: link, verbs, point-to-point, collective."""
    found = of_layers(evidence)
    bad = [row for row in found.rows if row.status in (Status.FAIL, Status.INCONCLUSIVE)]
    yield from (_lost(row) if row.status is Status.FAIL else _incomplete(row) for row in bad)
    if bad:
        return
    if found.status is Status.PASS:
        yield from (Finding(f"{row.node} {row.rail}", True, row.text, note=row.text) for row in found.rows)
    elif found.status is Status.NOT_APPLICABLE:
        rows = tuple(f"{row.node} {row.rail}: {row.text}" for row in found.rows)
        yield NotApplicable(
            found.text, evidence=rows, step=INSTALL if evidence.profile.verbs.mode == "auto" else ""
        )
    else:
        yield Finding("all nodes", None, found.text)


def _lost(row: RailRow) -> Finding:
    """The layer that loses most, by its bound; the others stand in the evidence."""
    loss = row.loser
    assert loss is not None
    return Finding(
        f"{row.node} {row.rail}",
        False,
        row.text,
        loss.rate,
        wanted=_wanted(loss),
        source=loss.bound.source,
        step=STEPS[loss.layer],
        bound=loss.bound.value,
        evidence=_figures(row),
    )


def _incomplete(row: RailRow) -> Finding:
    subject, wanted = f"{row.node} {row.rail}", "all layers measured"
    return Finding(subject, None, row.text, wanted=wanted, evidence=_figures(row))


def _figures(row: RailRow) -> tuple[str, ...]:
    return tuple(
        f"{name}: {show_rate(figure.rate, 'Gb/s') if figure.told else 'not known'} {figure.text}".strip()
        for name, figure in row.figures.items()
    )


def _wanted(loss: LayerLoss) -> str:
    least = f"at least {show_rate(loss.bound.value, 'Gb/s')}"
    return (
        least
        if loss.layer == LINK
        else f"{least}, {show_share(loss.bound.value / loss.below)} of the layer below"
    )
