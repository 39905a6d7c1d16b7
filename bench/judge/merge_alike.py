"""Verdicts that are alike become one: by all but their subjects, or by the step that they call for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bench.model.units import show_count, show_some
from bench.model.verdict import Status, Verdict

MOST, MOST_LONG = 8, 3  # names in one line
LACKING = "coverage.cases"


def merged(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Verdicts that differ in their subjects alone become one."""
    alike: dict[Verdict, list[Verdict]] = {}
    for verdict in verdicts:
        alike.setdefault(
            replace(verdict, subject="", case="", value=None, bound=None, evidence=()), []
        ).append(verdict)
    found = []
    for group in alike.values():
        subjects = list(dict.fromkeys(each.subject for each in group))
        lines = dict.fromkeys(line for each in group for line in each.evidence)
        most = _most(subjects)
        shown = show_some(subjects, most)
        case = group[0].case if len(subjects) == 1 else ""
        found.append(replace(group[0], subject=shown, case=case, evidence=(*subjects[most:], *lines)))
    return found


def _most(subjects: Iterable[str]) -> int:
    """How many of them one line holds: names of cases are long."""
    return MOST_LONG if any("," in subject for subject in subjects) else MOST


def together(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Verdicts that call for the same step become the first of them, with the others as its evidence.

    Those that failed must be of one check, too. ``LACKING`` comes last: the ranks that are missing say more.
    """
    alike: dict[object, list[Verdict]] = {}
    for each in sorted(verdicts, key=lambda each: each.check == LACKING):
        wanted = "" if each.check.startswith("drift.") else each.wanted  # of each series its own
        same = (each.check, wanted) if each.status is Status.FAIL else ()
        key = (same, each.status, each.next_step) if each.next_step else id(each)
        alike.setdefault(key, []).append(each)
    return [_as_one(group) for group in alike.values()]


def _as_one(group: Sequence[Verdict]) -> Verdict:
    """Merge findings that call for the same step into the first, which names the others after it."""
    if len(group) == 1:
        return group[0]
    series = group[0].check.startswith("drift.")
    first, *others = sorted(group, key=_furthest) if series else group
    alone = series or first.check == "coverage.ranks"
    subjects = dict.fromkeys(each.subject for each in (first, *(() if alone else others)))
    lines = [*first.evidence]
    for each in others:
        lines += [f"{each.subject}: {each.measured}", *each.evidence]
    return replace(
        first,
        subject=show_some(subjects, _most(subjects)),
        measured=f"{first.measured}{_others(first, others, series, alone)}",
        evidence=tuple(lines),
        case="",
    )


def _furthest(verdict: Verdict) -> float:
    """Sorts what is furthest from its bound first."""
    return -abs(verdict.value / verdict.bound - 1) if verdict.value and verdict.bound else 0.0


def _others(first: Verdict, others: Sequence[Verdict], series: bool, alone: bool) -> str:
    """What is said of the others after the figure of the first: of few series each its own figure."""
    if series and len(others) < MOST_LONG:
        cluster, label = first.subject.partition(" ")[0], first.measured.partition(", ")[0]
        shown = [(each.subject.removeprefix(f"{cluster} "), each.measured) for each in others]
        return "".join(f"; {subject}: {text.removeprefix(f'{label}, ')}" for subject, text in shown)
    # whose the figure is, where others stand beside it
    whose = "" if alone or all(each.subject == first.subject for each in others) else f" ({first.subject})"
    like = "like it" if all(each.check == first.check for each in others) else "with the same next step"
    return f"{whose}; {show_count(len(others), 'more finding')} {like}"
