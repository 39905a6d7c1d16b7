"""Turns single findings into verdicts: one for each fault, one line for all that is well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from bench.model.late_dataclass import dataclass
from bench.model.units import show_some
from bench.model.verdict import Status, Verdict

MOST = 64  # verdicts of one check that stand by themselves; a broken cluster is not reported 4096 times
STATUS = {True: Status.PASS, False: Status.FAIL, None: Status.INCONCLUSIVE}


class Finding(Struct, frozen=True, gc=False):
    """What a check found of one subject; ``ok`` None is INCONCLUSIVE. A Struct: of a large cluster there are a million.

    note     one line of evidence, shown whatever the outcome; ``evidence`` holds more of them
    wanted, source, step, bound    where they differ from the words of the check
    case    id of the one case that it is about
    """

    subject: str
    ok: bool | None
    measured: str
    value: float | None = None
    note: str = ""
    wanted: str | None = None
    source: str | None = None
    step: str | None = None
    bound: float | None = None
    evidence: tuple[str, ...] = ()
    case: str = ""


class NotApplicable(Struct, frozen=True, gc=False):
    """Why a check has nothing to judge, of one subject or ("") of all of them."""

    reason: str
    subject: str = ""
    evidence: tuple[str, ...] = ()
    step: str = ""
    case: str = ""


Outcome = Finding | NotApplicable | Verdict


@dataclass(frozen=True)
class Criterion:
    """What a check wants, by whom, and what to do where a subject fails or stays inconclusive.

    every, unit    of the line for all that is well: "every rail is up (16 of 16 rails)"; without a unit each finding
                   is a verdict of its own
    """

    check: str
    subject: str = "all nodes"
    wanted: str = ""
    source: str = ""
    on_fail: str = ""
    on_inconclusive: str = ""
    every: str = ""
    unit: str = ""
    bound: float | None = None

    def verdicts(self, outcomes: Iterable[Outcome]) -> Iterator[Verdict]:
        """A verdict for each outcome, in order; with a ``unit`` the findings together, before all others."""
        if not self.unit:
            yield from map(self._verdict, outcomes)
            return
        listed = list(outcomes)
        findings = [each for each in listed if isinstance(each, Finding)]
        others = [each for each in listed if not isinstance(each, Finding)]
        if findings or not others:
            yield from self._together(findings)
        yield from map(self._verdict, others)

    def _verdict(self, each: Outcome) -> Verdict:
        if isinstance(each, NotApplicable):
            return self.not_applicable(each)
        return self.verdict(each) if isinstance(each, Finding) else each

    def not_applicable(self, each: NotApplicable) -> Verdict:
        return Verdict(
            self.check,
            each.subject or self.subject,
            Status.NOT_APPLICABLE,
            each.reason,
            source=self.source,
            next_step=each.step,
            evidence=each.evidence,
            case=each.case,
        )

    def verdict(self, found: Finding) -> Verdict:
        """One finding as a verdict."""
        status = STATUS[found.ok]
        step = {Status.FAIL: self.on_fail, Status.INCONCLUSIVE: self.on_inconclusive}.get(status, "")
        return Verdict(
            self.check,
            found.subject,
            status,
            found.measured,
            self.wanted if found.wanted is None else found.wanted,
            self.source if found.source is None else found.source,
            step if found.step is None else found.step,
            value=found.value,
            bound=self.bound if found.bound is None else found.bound,
            evidence=(*((found.note,) if found.note else ()), *found.evidence),
            case=found.case,
        )

    def _together(self, findings: list[Finding]) -> Iterator[Verdict]:
        """Each fault, inconclusive subjects of one reason together; where there is neither, one PASS."""
        if not findings:
            yield self.verdict(Finding(self.subject, None, "nothing was found to judge"))
            return
        bad = [each for each in findings if each.ok is False] + inconclusive(findings, self.unit)
        for each in bad[:MOST]:
            yield self.verdict(each)
        if bad[MOST:]:
            yield self.verdict(replace(bad[MOST], subject=f"{len(bad) - MOST} more"))
        if not bad:
            notes = tuple(dict.fromkeys(f"{each.subject}: {each.note}" for each in findings if each.note))
            yield Verdict(
                self.check,
                self.subject,
                Status.PASS,
                f"{self.every} ({len(findings)} of {len(findings)} {self.unit})",
                self.wanted,
                self.source,
                bound=self.bound,
                evidence=notes[:MOST],
            )


def inconclusive(findings: Iterable[Finding], unit: str) -> list[Finding]:
    """The inconclusive findings; those with the same reason become one, which names all their subjects."""
    groups: dict[tuple[str, str | None], list[Finding]] = {}
    for each in findings:
        if each.ok is None:
            groups.setdefault((each.measured, each.step), []).append(each)
    return [
        replace(group[0], subject=show_some([each.subject for each in group], of=unit))
        for group in groups.values()
    ]
