"""The verdicts that did not pass as a short list of problems: causes first, each with the verdicts that follow from it.

A cause is a finding of blame, or a failure of one port of one node. What goes through that port and is too slow (a
transfer, and of the whole cluster a collective or its share of the target) follows from it, and is expected to pass
once the cause is mended. Whoever shows a run, on a page, in a terminal or in a chat, says a problem by ``sentence``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TypeAlias

from bench.model.late_dataclass import dataclass, field, replace
from bench.model.measurement import Case
from bench.model.units import show_count, show_rate, show_share
from bench.model.verdict import Status, Verdict, overall
from bench.plan.phase_names import phase_words
from bench.store import Run

from .merge_alike import LACKING, merged, together

Place = tuple[str, str]  # node and port or GPU; "" for all of them
PlacesOf: TypeAlias = "Callable[[str], frozenset[Place]]"
PORT, GPU = re.compile(r".+/\d+"), re.compile(r"GPU \d+")
# checks whose value is to reach their bound
FLOORS = (
    "limits.busbw", "limits.rail_rate", "wire.share", "limits.host_copies", "limits.device_copies", "limits.alone",
    "limits.ceiling_share",
)  # fmt: skip
PEERS = "of its peers' rate"  # how much is missing, where a figure says so; the floor would say it again
EQUALS = (
    "limits.equals"  # what is slower than its equals follows from a fault of its GPU, though not retested
)
# case names that stand in subjects, and what people call them
COPIES = {
    "copy_to_device": "copies from the host",
    "copy_to_host": "copies to the host",
    "copy_device": "copies in its memory",
}
# checks whose subjects every port takes part in
WHOLE_CLUSTER = ("limits.", "wire.share", "wire.target", "blame.stragglers")
OF_PHASES = (LACKING, "coverage.plan")  # checks whose subjects are phases
LACKS = ("gpus.count", "rails.count")  # checks of what a node has, without which its settings matter little
SLIGHT = 0.05  # of the bound: a failure by less is shown as a slight one
# with which a figure goes on after its subject
VERBS = ("runs at ", "loses ", "is cabled ", "carried ", "spans ")


@dataclass(frozen=True)
class Problem:
    """``verdict`` names it, ``related`` are in the same place, ``symptoms`` follow from it: those alike are one.

    following, beside  how many verdicts, as they were judged, follow from it or are in the same place
    result  what the slowest collective reaches because of it, in words; "" where none is among the symptoms
    """

    verdict: Verdict
    related: tuple[Verdict, ...] = ()
    symptoms: tuple[Verdict, ...] = ()
    following: int = 0
    beside: int = 0
    result: str = ""

    @property
    def status(self) -> Status:
        return overall(each.status for each in (self.verdict, *self.related))

    @property
    def sentence(self) -> str:
        """``all_reduce reaches 46.0 % of 3200 Gb/s, because n17 rail mlx5_4/1 runs at 49 % of its peers' rate``."""
        found = self.verdict
        between = " " if found.measured.startswith(VERBS) else ": "
        subject, measured = found.subject, found.measured
        if GPU.search(subject) and found.check in FLOORS:
            subject, measured = _replaced(subject, COPIES), measured.removeprefix("busbw ")
        text = f"{subject}{between}{measured}"
        if found.check in FLOORS and PEERS not in measured and not math.isnan(shortfall(found)):
            text += f", {show_share(1 - shortfall(found))} of the floor"
        return f"{self.result}, because {text}" if self.result else text

    @property
    def follows(self) -> str:
        """``24 verdicts follow from it``; "" where none does."""
        count = self.following
        return f"{show_count(count, 'verdict')} follow{'s' if count == 1 else ''} from it" if count else ""

    @property
    def slight(self) -> bool:
        """Whether all of it is known to miss its bounds by little."""
        found = [shortfall(each) for each in (self.verdict, *self.related, *self.symptoms)]
        return all(each < SLIGHT for each in found if not math.isnan(each)) and not math.isnan(found[0])


@dataclass(frozen=True)
class Problems:
    """``failures``: FAIL without a known cause; ``inconclusive``: neither judged nor explained.

    symptoms  each verdict, as it was judged, that follows from a cause → the verdict that names the cause
    judged    how many verdicts, as they were judged, failed or are inconclusive
    apart     each FAIL that no cause explains, by itself; ``failures`` puts those that are alike together
    """

    causes: tuple[Problem, ...] = ()
    failures: tuple[Verdict, ...] = ()
    inconclusive: tuple[Verdict, ...] = ()
    symptoms: Mapping[Verdict, Verdict] = field(default_factory=dict)
    judged: int = 0
    apart: tuple[Verdict, ...] = ()

    @property
    def first(self) -> tuple[Problem, ...]:
        """The causes and the failures that no cause explains; slight ones, then suspicions come last."""
        found = (*self.causes, *map(Problem, self.failures))
        return tuple(sorted(found, key=lambda each: (each.status is not Status.FAIL, each.slight)))

    @property
    def listed(self) -> tuple[Problem, ...]:
        """All of them, with what is inconclusive last."""
        return (*self.first, *map(Problem, self.inconclusive))

    @property
    def summary(self) -> str:
        """``1 problem, 2 inconclusive findings``; "" where everything passed."""
        counts = ((len(self.first), "problem"), (len(self.inconclusive), "inconclusive finding"))
        return ", ".join(show_count(count, what) for count, what in counts if count)

    @property
    def tally(self) -> str:
        """How the verdicts that did not pass add up to the problems; "" where each is a problem of its own.

        ``9 verdicts did not pass: 1 problem, 6 that follow from it, 2 in the same place``
        """
        following, beside = (
            sum(getattr(each, name) for each in self.causes) for name in ("following", "beside")
        )
        alike = self.judged - len(self.listed) - following - beside
        one = len(self.causes) == 1
        parts = (
            (following, f"that follow from {'it' if one else 'them'}"),
            (beside, f"in the same place{'' if one else 's'}"),
            (alike, "like them or with the same next step"),
        )
        more = [f"{count} {what}" for count, what in parts if count]
        return (
            f"{show_count(self.judged, 'verdict')} did not pass: {', '.join([self.summary, *more])}"
            if more
            else ""
        )

    def next_step(self, verdict: Verdict) -> str:
        """What to do about a verdict as it was judged; for a symptom, the cause that it follows from."""
        cause = self.symptoms.get(verdict)
        return f"follows from {cause.subject} ({cause.check})" if cause else verdict.next_step

    def message(self, verdict: Verdict) -> str:
        """The message of a verdict as it was judged; a cause adds its consequence."""
        result = self._consequences.get(verdict, "")
        text = replace(verdict, next_step=self.next_step(verdict)).message
        return f"{result}, because {text}" if result else text

    @cached_property
    def _consequences(self) -> dict[Verdict, str]:
        return {each.verdict: each.result for each in self.causes}


def steps(found: Iterable[Problem]) -> Iterator[str]:
    """The next step of each problem; of one that calls for the same as a problem above: which that is."""
    above: dict[str, str] = {}
    for each in found:
        step, subject = each.verdict.next_step, each.verdict.subject
        yield f"the same as for {above[step]}" if step in above else step
        if step:
            above.setdefault(step, subject)


def shortfall(verdict: Verdict) -> float:
    """The share of its bound, or of its peers' rate, that a subject misses; NaN where no figure says it."""
    if verdict.check == "blame.rails" and verdict.value is not None:
        return verdict.value
    if verdict.check in FLOORS and verdict.value is not None and verdict.bound:
        return 1 - verdict.value / verdict.bound
    return math.nan


def _consequence(symptoms: Iterable[Verdict], cases: Mapping[str, Case]) -> str:
    """What the slowest collective among the symptoms reaches, by preference of the target; "" where none is there.

    Its share of the target is that of ``TargetReadings``: as a Ring, at the largest message.
    """
    slow = [
        (cases[_case_id(each)], each)
        for each in symptoms
        if each.check in ("wire.share", "limits.busbw") and each.value and _case_id(each) in cases
    ]
    shares = [found for found in slow if found[1].check == "wire.share"]
    rings = [found for found in shares if found[0].algorithm == "ring"]
    largest: dict[str, Verdict] = {}
    for case, each in sorted(rings or shares or slow, key=lambda found: (-found[0].size, found[1].value)):
        largest.setdefault(case.collective, each)
    if not largest:
        return ""
    name, least = min(largest.items(), key=lambda found: found[1].value or 0.0)
    assert least.value is not None
    if least.check == "wire.share":
        target = least.wanted.rpartition(" of ")[2].replace(".0 ", " ")
        return f"{name} reaches {show_share(least.value)} of {target}"
    return f"{name} reaches {show_rate(least.value)} of {show_rate(least.bound or math.nan)}"


def _case_id(verdict: Verdict) -> str:
    """In folders of versions that did not say the case, the subject is its id."""
    return verdict.case or verdict.subject


def problems_of(run: Run) -> Problems:
    """The problems of a judged run."""
    return problems(run.verdicts, places_in(run), {case.id: case for case in run.plan.cases})


def places_in(run: Run) -> PlacesOf:
    """``places`` for subjects of this run."""
    interfaces = frozenset(each.name for node in run.facts for each in node.interfaces)
    return partial(places, nodes=frozenset(run.manifest.nodes), interfaces=interfaces)


def problems(verdicts: Iterable[Verdict], places_of: PlacesOf, cases: Mapping[str, Case]) -> Problems:
    """Each verdict that failed or is inconclusive exactly once; those of one reason are one.

    ``places_of``: the places in a subject; ``cases``: of the plan, by their ids, which people read in words.
    """
    listed = list(verdicts)
    names = {name: case.words for name, case in cases.items()} | COPIES
    bad = [each for status in (Status.FAIL, Status.INCONCLUSIVE) for each in listed if each.status is status]
    causes = _causes(bad, places_of)
    named = {verdict for cause in causes for verdict in cause.named}
    rest: list[Verdict] = []
    for verdict in bad:
        if verdict not in named:
            cause = _cause_of(verdict, causes, places_of)
            (rest if cause is None else cause.symptoms).append(verdict)
    rest.sort(key=lambda each: each.check not in LACKS)
    found = [_problem(cause, names, cases) for cause in causes]
    others = together(merged(_in_words(rest, names)))
    return Problems(
        tuple(sorted(found, key=_order)),
        tuple(each for each in others if each.status is Status.FAIL),
        tuple(each for each in others if each.status is not Status.FAIL),
        {
            each: problem.verdict
            for problem, cause in zip(found, causes, strict=True)
            for each in cause.symptoms
        },
        len(bad),
        tuple(each for each in _in_words(rest, names) if each.status is Status.FAIL),
    )


def _order(cause: Problem) -> tuple[bool, int, bool]:
    """What failed and explains most comes first; a port before a GPU, which may lack its rail."""
    return cause.status is not Status.FAIL, -len(cause.symptoms), bool(GPU.search(cause.verdict.subject))


@dataclass
class _Cause:
    """The places that its verdicts name, and what follows from it."""

    places: frozenset[Place]
    named: list[Verdict]
    symptoms: list[Verdict]


def _causes(bad: Sequence[Verdict], places_of: PlacesOf) -> list[_Cause]:
    """The verdicts that name a cause, together where they have a place in common."""
    found: list[_Cause] = []
    blamed = [each for each in bad if each.check.startswith("blame.") and places_of(each.subject)]
    failed = [each for each in bad if each.status is Status.FAIL and not each.check.startswith("blame.")]
    for verdict in (*blamed, *(each for each in failed if _is_port(places_of(each.subject)))):
        here = places_of(verdict.subject)
        cause = next((cause for cause in found if _meet(here, cause.places)), None)
        if cause is None:
            found.append(_Cause(here, [verdict], []))
        else:
            cause.named.append(verdict)
    return found


def _cause_of(verdict: Verdict, causes: Sequence[_Cause], places_of: PlacesOf) -> _Cause | None:
    """The first cause that explains a verdict: on its port, or of the whole cluster, which a port holds back."""
    here = places_of(verdict.subject)
    # readings of the target that disagree are what one slow rail looks like
    failed = verdict.status is Status.FAIL or verdict.check in ("wire.target", EQUALS)
    if not failed and not verdict.check.startswith("blame."):
        return None
    if any(port for _, port in here):
        return next((cause for cause in causes if _explains(cause.places, here)), None)
    if here or not failed or not verdict.check.startswith(WHOLE_CLUSTER):
        return None
    return next((cause for cause in causes if any(each.status is Status.FAIL for each in cause.named)), None)


def _problem(cause: _Cause, names: Mapping[str, str], cases: Mapping[str, Case]) -> Problem:
    """The problem of a cause: failures stand before suspicions, and the finding of blame first among them."""
    head, *related = sorted(
        cause.named, key=lambda each: (each.status is not Status.FAIL, not each.check.startswith("blame."))
    )
    symptoms = [replace(each, next_step="") for each in cause.symptoms]
    return Problem(
        head,
        tuple(together(_in_words(related, names))),
        tuple(merged(_in_words(symptoms, names))),
        len(symptoms),
        len(related),
        _consequence(symptoms, cases),
    )


def _in_words(verdicts: Iterable[Verdict], names: Mapping[str, str]) -> Iterator[Verdict]:
    """Verdicts whose subject and figure say words for the names that are no words."""
    for each in verdicts:
        subject = phase_words(each.subject) if each.check in OF_PHASES else _replaced(each.subject, names)
        yield replace(each, subject=subject, measured=_replaced(each.measured, names))


def _replaced(text: str, names: Mapping[str, str]) -> str:
    return re.sub(r"[^\s,;]+", lambda word: names.get(word[0], word[0]), text)


def places(subject: str, nodes: Collection[str], interfaces: Collection[str] = ()) -> frozenset[Place]:
    """The nodes in a subject, each with the ports, interfaces and GPUs in it."""
    words = [word.strip(",") for word in subject.split()]
    ports = [word for word in words if PORT.fullmatch(word) or word in interfaces]
    ports = [*ports, *GPU.findall(subject)] or [""]
    return frozenset((word, port) for word in words if word in nodes for port in ports)


def _is_port(here: Collection[Place]) -> bool:
    return len(here) == 1 and all(port for _, port in here)


def _explains(cause: frozenset[Place], here: frozenset[Place]) -> bool:
    """Whether a verdict on one port or on a transfer goes through a cause; a list of other ports says more."""
    nodes, ports = {node for node, _ in here}, {port for _, port in here}
    return _meet(here, cause) and len(nodes) <= 2 and len(ports) == 1


def _meet(here: Iterable[Place], there: Iterable[Place]) -> bool:
    return any(a == b and port in (other, "") for a, other in here for b, port in there)
