"""In which layer a rail loses: link, verbs, NCCL point-to-point, collective."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bench.judge.evidence import Evidence
from bench.judge.findings import MOST
from bench.judge.registry import check
from bench.judge.wire.rail_layers import LINK, STEPS, Loss, RailRow, of_layers
from bench.model.majority import shared_by
from bench.model.profile import Profile
from bench.model.units import show_rate, show_share
from bench.model.verdict import Status, Verdict

NAME = "rails.layers"
MISSING = "mend what it names, then run again; what perftest said lies in verbs.jsonl of the run folder"


@check(NAME)
def layers(evidence: Evidence) -> Iterator[Verdict]:
    """No layer of a rail gives less than is normal above the one below: link, verbs, point-to-point, collective."""
    found = of_layers(evidence.run, evidence.rows, evidence.profile, evidence.nodes)
    lost = [row for row in found.rows if row.status is Status.FAIL]
    unknown: dict[str, list[RailRow]] = {}
    for row in found.rows:
        if row.status is Status.INCONCLUSIVE:
            unknown.setdefault(row.text, []).append(row)
    told = [_lost(row) for row in lost] + [_unknown(rows) for rows in unknown.values()]
    yield from told[:MOST]
    if told[MOST:]:
        yield replace(told[MOST], subject=f"{len(told) - MOST} more", evidence=())
    if not told:
        yield Verdict(
            NAME,
            "all nodes",
            found.status,
            found.text,
            "every layer as the one below",
            "RailGauge",
            _step(found.status, evidence.profile),
            evidence=tuple(f"{row.node} {row.rail}: {row.text}" for row in found.rows[:MOST]),
        )


def _step(status: Status, want: Profile) -> str:
    if status is Status.SKIP and want.verbs.mode == "auto":
        return "install perftest on every node, then: railgauge accept"
    return MISSING if status is Status.INCONCLUSIVE else ""


def _lost(row: RailRow) -> Verdict:
    """The layer that loses most, by its bound; the others stand in the evidence."""
    loss = row.loser
    assert loss is not None
    return Verdict(
        NAME,
        f"{row.node} {row.rail}",
        row.status,
        row.text,
        _wanted(loss),
        loss.bound.source,
        STEPS[loss.layer],
        value=loss.rate,
        bound=loss.bound.value,
        evidence=_figures(row),
    )


def _unknown(rows: list[RailRow]) -> Verdict:
    """What cannot be determined of many rails for one reason, told once."""
    subject = shared_by([f"{row.node} {row.rail}" for row in rows], "rails")
    wanted = "all layers measured"
    return Verdict(
        NAME,
        subject,
        Status.INCONCLUSIVE,
        rows[0].text,
        wanted,
        "RailGauge",
        MISSING,
        evidence=_figures(rows[0]),
    )


def _figures(row: RailRow) -> tuple[str, ...]:
    return tuple(
        f"{name}: {show_rate(figure.rate, 'Gb/s') if figure.told else 'not known'} {figure.text}".strip()
        for name, figure in row.figures.items()
    )


def _wanted(loss: Loss) -> str:
    least = f"at least {show_rate(loss.bound.value, 'Gb/s')}"
    return (
        least
        if loss.layer == LINK
        else f"{least}, {show_share(loss.bound.value / loss.below)} of the layer below"
    )
