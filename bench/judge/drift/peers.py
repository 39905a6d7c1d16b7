"""Single rails, nodes and pairs, judged against each other in the same night.

A series per rail and size would be 150 000 series, and 150 alarms a night at one in a thousand. The fleet
is its own baseline instead. What this cannot see is a fault that most of the fleet shares: the baseline
over nights and the profile's bounds do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from bench.judge.drift.judge_series import Label
from bench.judge.drift.robust import spread, tail
from bench.model.late_dataclass import dataclass
from bench.model.units import show_share
from bench.model.verdict import Status, Verdict, overall
from bench.store.history.nights import usable

CHECK = "drift.fleet"


@dataclass(frozen=True)
class FleetRules:
    """When a subject is too slow; ``practical`` and ``floor`` as in ``DriftRules``.

    false_share  of those called slow, the share that may be so by chance (Benjamini and Hochberg 1995)
    least        subjects without which nothing is compared
    """

    false_share: float = 0.01
    practical: float = 0.02
    floor: float = 0.003
    least: int = 8


STANDARD = FleetRules()


@dataclass(frozen=True)
class PeerFinding:
    """One subject among its peers. ``change`` is relative to their median: positive is better.

    ``chance`` is the probability to stand so low by chance; both are None where nothing was measured.
    """

    subject: str
    value: float
    label: Label
    status: Status
    reason: str = ""
    change: float | None = None
    chance: float | None = None
    wants_rerun: bool = False


def compare_with_peers(
    values: Mapping[str, float | None],
    better: int,
    reruns: Mapping[str, float] | None = None,
    rules: FleetRules = STANDARD,
) -> tuple[PeerFinding, ...]:
    """Every subject among its peers. ``values`` holds every subject that should have been measured.

    None or NaN is INCONCLUSIVE. A subject that is too slow is suspicious (INCONCLUSIVE) until ``reruns`` has a second
    value for it: slow again is a regression (FAIL), else it stays suspicious and passes.
    """
    measured = {subject: value for subject, value in values.items() if usable(value)}
    missing = tuple(
        PeerFinding(subject, float("nan"), Label.INSUFFICIENT, Status.INCONCLUSIVE, "not measured tonight")
        for subject in values
        if subject not in measured
    )
    if len(measured) < rules.least:
        few = f"{len(measured)} of {rules.least} subjects that a comparison needs"
        return missing + tuple(
            PeerFinding(subject, value, Label.INSUFFICIENT, Status.NOT_APPLICABLE, few)
            for subject, value in measured.items()
        )
    compare = _comparison(list(measured.values()), better, rules)
    placed = {subject: compare(value) for subject, value in measured.items()}
    cut = benjamini_hochberg([chance for _, chance in placed.values()], rules.false_share)
    return missing + tuple(
        _standing(subject, measured[subject], place, cut, compare, reruns or {}, rules)
        for subject, place in placed.items()
    )


def suspects(standings: Sequence[PeerFinding]) -> tuple[str, ...]:
    """The subjects to measure once more, alone, before an alarm."""
    return tuple(standing.subject for standing in standings if standing.wants_rerun)


def benjamini_hochberg(chances: Sequence[float], false_share: float) -> float:
    """The largest probability that is still a discovery at this false discovery rate; -1 if none is."""
    ordered = sorted(chances)
    count = len(ordered)
    discovered = (chance for rank, chance in enumerate(ordered, 1) if chance <= false_share * rank / count)
    return max(discovered, default=-1.0)


def verdicts(
    fleet: str, standings: Sequence[PeerFinding], show: Callable[[float], str], rules: FleetRules = STANDARD
) -> tuple[Verdict, ...]:
    """A row for every subject that is not ok, and one for the fleet, whose status is the overall one.

    ``fleet`` names it: ``c1 rails, all_reduce, 1 GiB``. Nothing to judge is one INCONCLUSIVE row; too few to
    compare are one NOT APPLICABLE row.
    """
    if standings and all(item.status is Status.NOT_APPLICABLE for item in standings):
        return (
            Verdict(
                CHECK, fleet, Status.NOT_APPLICABLE, standings[0].reason, source="the same night's median"
            ),
        )
    rows = tuple(_row(fleet, item, show, rules) for item in standings if item.label is not Label.OK)
    healthy = [item for item in standings if item.label is Label.OK]
    figures = [item.value for item in standings if item.change is not None]
    text = f"{len(healthy)} of {len(standings)} as fast as their peers"
    if figures:
        text += f", median {show(median(figures))}, from {show(min(figures))} to {show(max(figures))}"
    status = overall([item.status for item in standings])
    return (*rows, Verdict(CHECK, fleet, status, text, "all of them", "the same night's median"))


def _comparison(
    values: Sequence[float], better: int, rules: FleetRules
) -> Callable[[float], tuple[float, float]]:
    level = median(values)
    relative = max(spread(values, level) / level, rules.floor)

    def compare(value: float) -> tuple[float, float]:
        change = better * (value / level - 1)
        return change, tail(-change / relative, len(values))

    return compare


def _standing(
    subject: str,
    value: float,
    place: tuple[float, float],
    cut: float,
    compare: Callable[[float], tuple[float, float]],
    reruns: Mapping[str, float],
    rules: FleetRules,
) -> PeerFinding:
    change, chance = place
    if not (chance <= cut and change <= -rules.practical):
        return PeerFinding(subject, value, Label.OK, Status.PASS, "", change, chance)
    label, status, reason = Label.SUSPICIOUS, Status.INCONCLUSIVE, "not measured again yet"
    if subject in reruns:
        label, status, reason = _second(reruns[subject], compare, rules)
    return PeerFinding(subject, value, label, status, reason, change, chance, subject not in reruns)


def _second(
    rerun: float, compare: Callable[[float], tuple[float, float]], rules: FleetRules
) -> tuple[Label, Status, str]:
    if not usable(rerun):
        return Label.SUSPICIOUS, Status.INCONCLUSIVE, "the re-run gave no figure"
    change, chance = compare(rerun)
    if chance <= rules.false_share and change <= -rules.practical:
        return Label.REGRESSION, Status.FAIL, f"re-run {show_share(-change)} worse"
    return Label.SUSPICIOUS, Status.PASS, "the re-run did not confirm it"


def _row(fleet: str, item: PeerFinding, show: Callable[[float], str], rules: FleetRules) -> Verdict:
    parts = [item.label.value]
    if item.change is not None:
        parts += [show(item.value), f"{show_share(-item.change)} worse than the median of its peers"]
    if item.reason:
        parts.append(item.reason)
    return Verdict(
        check=CHECK,
        subject=f"{fleet} {item.subject}",
        status=item.status,
        measured=", ".join(parts),
        wanted=f"less than {show_share(rules.practical)} worse" if item.change is not None else "a figure",
        source="the same night's median",
        next_step=_NEXT.get(item.status, ""),
        value=item.value if item.change is not None else None,
    )


_NEXT = {
    Status.FAIL: "to find the port or path at fault: railgauge accept",
    Status.INCONCLUSIVE: "measure it again, alone",
}
