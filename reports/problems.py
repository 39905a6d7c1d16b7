"""The verdicts that did not pass as a short list of problems: causes first, each with the verdicts that follow from it.

A cause is a finding of blame, or a failure of one port of one node. What goes through that port and is too slow (a
transfer, and of the whole cluster a collective or its share of the target) follows from it, and is expected to pass
once the cause is mended.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.model.units import show_count
from bench.model.verdict import Status, Verdict, overall
from bench.store import Run

from .summary import MOST, case_names, some

Place = tuple[str, str]  # node and port; "" for all ports
PORT = re.compile(r".+/\d+")
WHOLE_CLUSTER = ("limits.", "wire.share", "wire.target")  # checks whose subjects every port takes part in


@dataclass(frozen=True)
class Problem:
    """``verdict`` names it, ``related`` are on the same place, ``symptoms`` follow from it."""

    verdict: Verdict
    related: tuple[Verdict, ...] = ()
    symptoms: tuple[Verdict, ...] = ()

    @property
    def status(self) -> Status:
        return overall(each.status for each in (self.verdict, *self.related))


@dataclass(frozen=True)
class Problems:
    """``failures``: FAIL without a known cause; ``inconclusive``: neither judged nor explained."""

    causes: tuple[Problem, ...] = ()
    failures: tuple[Verdict, ...] = ()
    inconclusive: tuple[Verdict, ...] = ()

    @property
    def first(self) -> tuple[Problem, ...]:
        """The causes and the failures that no cause explains; suspicions come last."""
        found = (*self.causes, *map(Problem, self.failures))
        return tuple(sorted(found, key=lambda each: each.status is not Status.FAIL))


def in_short(found: Problems) -> list[Verdict]:
    """A verdict for each problem, causes first, with the number of verdicts that follow from it."""
    lines = []
    for problem in found.first:
        count = len(problem.symptoms)
        more = (
            f"; {show_count(count, 'verdict')} {'follows' if count == 1 else 'follow'} from it"
            if count
            else ""
        )
        lines.append(replace(problem.verdict, measured=problem.verdict.measured + more))
    return [*lines, *found.inconclusive]


def problems_of(run: Run) -> Problems:
    """The problems of a judged run."""
    return problems(run.verdicts, run.manifest.nodes, case_names(run))


def problems(verdicts: Iterable[Verdict], nodes: Collection[str], names: Mapping[str, str]) -> Problems:
    """Each verdict that failed or is inconclusive exactly once; equal ones are one.

    ``names``: subjects that are no words, and their words.
    """
    known = frozenset(nodes)
    bad = [
        each for status in (Status.FAIL, Status.INCONCLUSIVE) for each in verdicts if each.status is status
    ]
    causes = _causes(bad, known)
    named = {verdict for cause in causes for verdict in cause.named}
    rest: list[Verdict] = []
    for verdict in bad:
        if verdict not in named:
            cause = _cause_of(verdict, causes, known)
            (rest if cause is None else cause.symptoms).append(verdict)
    found = [_problem(cause, names) for cause in causes]
    merged = _merged(rest, names)
    return Problems(
        tuple(sorted(found, key=lambda each: (each.status is not Status.FAIL, -len(each.symptoms)))),
        tuple(each for each in merged if each.status is Status.FAIL),
        tuple(each for each in merged if each.status is not Status.FAIL),
    )


@dataclass
class _Cause:
    """The places that its verdicts name, and what follows from it."""

    places: frozenset[Place]
    named: list[Verdict]
    symptoms: list[Verdict]


def _causes(bad: Sequence[Verdict], nodes: Collection[str]) -> list[_Cause]:
    """The verdicts that name a cause, together where they have a place in common."""
    found: list[_Cause] = []
    blamed = [each for each in bad if each.check.startswith("blame.") and places(each.subject, nodes)]
    failed = [each for each in bad if each.status is Status.FAIL and not each.check.startswith("blame.")]
    for verdict in (*blamed, *(each for each in failed if _is_port(each, nodes))):
        here = places(verdict.subject, nodes)
        cause = next((cause for cause in found if _meet(here, cause.places)), None)
        if cause is None:
            found.append(_Cause(here, [verdict], []))
        else:
            cause.named.append(verdict)
    return found


def _cause_of(verdict: Verdict, causes: Sequence[_Cause], nodes: Collection[str]) -> _Cause | None:
    """The first cause that explains a verdict: on its port, or of the whole cluster, which a port holds back."""
    here = places(verdict.subject, nodes)
    if verdict.status is not Status.FAIL and not verdict.check.startswith("blame."):
        return None
    if any(port for _, port in here):
        return next((cause for cause in causes if _explains(cause.places, here)), None)
    if here or verdict.status is not Status.FAIL or not verdict.check.startswith(WHOLE_CLUSTER):
        return None
    return next((cause for cause in causes if any(each.status is Status.FAIL for each in cause.named)), None)


def _problem(cause: _Cause, names: Mapping[str, str]) -> Problem:
    """What failed stands before a suspicion, and of that the finding of blame."""
    head, *related = sorted(
        cause.named, key=lambda each: (each.status is not Status.FAIL, not each.check.startswith("blame."))
    )
    symptoms = [replace(each, next_step="") for each in cause.symptoms]
    return Problem(head, tuple(related), tuple(_merged(symptoms, names)))


def places(subject: str, nodes: Collection[str]) -> frozenset[Place]:
    """The nodes in a subject, each with the ports in it."""
    words = [word.strip(",") for word in subject.split()]
    ports = [word for word in words if PORT.fullmatch(word)] or [""]
    return frozenset((word, port) for word in words if word in nodes for port in ports)


def _is_port(verdict: Verdict, nodes: Collection[str]) -> bool:
    here = places(verdict.subject, nodes)
    return len(here) == 1 and all(port for _, port in here)


def _explains(cause: frozenset[Place], here: frozenset[Place]) -> bool:
    """Whether a verdict on one port or on a transfer goes through a cause; a list of other ports says more."""
    nodes, ports = {node for node, _ in here}, {port for _, port in here}
    return _meet(here, cause) and len(nodes) <= 2 and len(ports) == 1


def _meet(here: Iterable[Place], there: Iterable[Place]) -> bool:
    return any(a == b and port in (other, "") for a, other in here for b, port in there)


def _merged(verdicts: Iterable[Verdict], names: Mapping[str, str]) -> list[Verdict]:
    """Verdicts that differ in their subjects alone become one."""
    alike: dict[Verdict, list[Verdict]] = {}
    for verdict in verdicts:
        alike.setdefault(replace(verdict, subject="", value=None, bound=None, evidence=()), []).append(
            verdict
        )
    found = []
    for group in alike.values():
        subjects = [names.get(each.subject, each.subject) for each in group]
        lines = dict.fromkeys(line for each in group for line in each.evidence)
        found.append(replace(group[0], subject=some(subjects), evidence=(*subjects[MOST:], *lines)))
    return found
