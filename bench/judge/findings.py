"""From single findings to verdicts: each fault by itself, all that is well in one line.

A finding says ``ok`` True, False or None: None is "could not be determined", and nothing found at all is too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from bench.model.majority import shared_by
from bench.model.verdict import Status, Verdict

MOST = 64  # verdicts of one check that stand by themselves; a broken cluster is not told 4096 times


@dataclass(frozen=True)
class Finding:
    """What was seen of one subject. ``note`` is evidence that goes with it, whatever the outcome."""

    subject: str
    ok: bool | None
    measured: str
    value: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Question:
    """What a check asks: what is wanted, by whom, and what to do where it is not so (FAIL) or not known."""

    check: str
    wanted: str
    source: str
    repair: str
    ask: str = "see the notes of this node in: railgauge probe"
    bound: float | None = None

    def skip(self, subject: str, reason: str, *evidence: str) -> Verdict:
        """Does not apply, and why."""
        return Verdict(self.check, subject, Status.SKIP, reason, source=self.source, evidence=evidence)

    def verdict(self, found: Finding) -> Verdict:
        """One finding as a verdict."""
        status = {True: Status.PASS, False: Status.FAIL, None: Status.INCONCLUSIVE}[found.ok]
        step = {Status.FAIL: self.repair, Status.INCONCLUSIVE: self.ask}.get(status, "")
        return Verdict(
            self.check,
            found.subject,
            status,
            found.measured,
            self.wanted,
            self.source,
            step,
            value=found.value,
            bound=self.bound,
            evidence=(found.note,) if found.note else (),
        )

    def verdicts(self, findings: Iterable[Finding], well: str) -> Iterator[Verdict]:
        """Each fault and each unknown; where there is neither, one PASS: "16 of 16 ``well``"."""
        found = list(findings)
        if not found:
            yield self.verdict(Finding("all nodes", None, "nothing was found to judge"))
            return
        odd = [each for each in found if each.ok is False] + together(found)
        for each in odd[:MOST]:
            yield self.verdict(each)
        if odd[MOST:]:
            yield self.verdict(replace(odd[MOST], subject=f"{len(odd) - MOST} more"))
        if not odd:
            notes = tuple(dict.fromkeys(f"{each.subject}: {each.note}" for each in found if each.note))
            yield Verdict(
                self.check,
                "all nodes",
                Status.PASS,
                f"{len(found)} of {len(found)} {well}",
                self.wanted,
                self.source,
                bound=self.bound,
                evidence=notes[:MOST],
            )


def together(findings: Iterable[Finding]) -> list[Finding]:
    """What cannot be determined of many subjects for the same reason, told once."""
    groups: dict[str, list[Finding]] = {}
    for each in findings:
        if each.ok is None:
            groups.setdefault(each.measured, []).append(each)
    return [
        replace(group[0], subject=shared_by([each.subject for each in group], "of them"))
        for group in groups.values()
    ]
