"""Findings as verdicts: the five parts of a message, figures in the units people read."""

from __future__ import annotations

from datetime import datetime, timezone

from bench.judge.drift.baseline import Excess
from bench.judge.drift.judge_series import QUANTITIES, Label, SeriesFinding
from bench.judge.drift.steps import LevelStep
from bench.model.units import show_rate, show_seconds, show_share
from bench.model.verdict import Status, Verdict

CHECK = "drift.level"

_NEXT = {
    Label.OK: "",
    Label.IMPROVEMENT: "to hold the new level from now on: railgauge history accept DIR --why TEXT",
    Label.INSUFFICIENT: "",
    Label.SUSPICIOUS: "",
    Label.REGRESSION: "find what changed; if the level is meant to stay: railgauge history accept DIR --why TEXT",
}


def series_verdict(finding: SeriesFinding) -> Verdict:
    """One row for the run folder, the page and the exports; the label is the first word of ``measured``."""
    said = _judged(finding)
    wanted, bound = _wanted(finding, said)
    return Verdict(
        check=CHECK,
        subject=finding.series.name,
        status=finding.status,
        measured=_measured(finding, said),
        wanted=wanted,
        source=_source(finding, said),
        next_step=_next_step(finding),
        value=_figure(finding, said),
        bound=bound,
        evidence=_evidence(finding),
    )


def show(quantity: str, value: float) -> str:
    """A figure of a quantity in ``QUANTITIES`` in the unit that people read."""
    kind = QUANTITIES[quantity].kind
    return show_rate(value) if kind == "rate" else show_seconds(value)


def date(time: float) -> str:
    """``2026-03-04`` (UTC) of seconds since 1970."""
    return datetime.fromtimestamp(time, timezone.utc).date().isoformat()


def _judged(finding: SeriesFinding) -> Excess | None:
    """The milder of two measurements that agree, else the first: what the label rests on at the least."""
    first, second = finding.first, finding.second
    if first and second and first.beyond and second.beyond == first.beyond:
        return min(first, second, key=lambda excess: abs(excess.change))
    return first


def _measured(finding: SeriesFinding, said: Excess | None) -> str:
    parts = [finding.label.value]
    night = finding.night
    if night is not None and night.measured and finding.series.quantity in QUANTITIES:
        alone = said is not None and said.span == 1
        figure = _figure(finding, said) if alone else night.level
        parts.append(show(finding.series.quantity, night.level if figure is None else figure))
    if said is not None:
        parts.append(_change(said))
    if finding.reason:
        parts.append(finding.reason)
    return ", ".join(parts)


def _change(said: Excess) -> str:
    direction = "better" if said.change >= 0 else "worse"
    who = f"the median of the last {said.span} nights " if said.span > 1 else ""
    return f"{who}{show_share(abs(said.change))} {direction} than the baseline"


def _wanted(finding: SeriesFinding, said: Excess | None) -> tuple[str, float | None]:
    if said is None:
        return ("a figure every night" if finding.status is Status.INCONCLUSIVE else ""), None
    better = QUANTITIES[finding.series.quantity].better
    bound = said.reference * (1 - better * said.limit)
    word = "at least" if better > 0 else "at most"
    return f"{word} {show(finding.series.quantity, bound)}", bound


def _figure(finding: SeriesFinding, said: Excess | None) -> float | None:
    """The figure that was compared with the bound: tonight's, or the median of the span."""
    if said is not None:
        return said.reference * (1 + QUANTITIES[finding.series.quantity].better * said.change)
    night = finding.night
    return night.value if night is not None and night.measured else None


def _source(finding: SeriesFinding, said: Excess | None) -> str:
    if said is None:
        return ""
    which = f"the first nights, since {date(finding.since)}" if said.creeping else f"{finding.nights} nights"
    return f"median of {which}, with {show_share(said.limit)} allowed"


def _next_step(finding: SeriesFinding) -> str:
    if finding.wants_rerun:
        return "measure it again tonight"
    if finding.status is Status.INCONCLUSIVE and finding.cause:
        return (
            f"likely cause: {', '.join(finding.cause)}; undo it, or: railgauge history accept DIR --why TEXT"
        )
    if finding.label is Label.INSUFFICIENT and finding.status is Status.INCONCLUSIVE:
        return "see why it was not measured, then: railgauge nightly --history DIR"
    return _NEXT[finding.label]


def _evidence(finding: SeriesFinding) -> tuple[str, ...]:
    lines = []
    night = finding.night
    if night is not None and night.rerun is not None and finding.first is not None:
        quantity = finding.series.quantity
        again = show(quantity, night.rerun) if finding.second is not None else f"{night.rerun}"
        lines.append(f"first {show(quantity, night.value)}, re-run {again}")
    lines += [f"fingerprint: {part}" for part in finding.cause]
    lines += [_step(finding.series.quantity, step) for step in finding.steps]
    if finding.unattributed:
        lines.append(finding.unattributed)
    return tuple(lines)


def _step(quantity: str, step: LevelStep) -> str:
    cause = (
        f"likely cause: {', '.join(step.cause)}" if step.cause else "nothing changed in the fingerprint then"
    )
    return (
        f"step of {100 * step.change:+.1f} % at {date(step.night.time)} ({step.night.run}), "
        f"{show(quantity, step.before)} to {show(quantity, step.after)}; {cause}"
    )
