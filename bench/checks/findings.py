"""From single findings to verdicts: each fault by itself, all that is well in one line.

A finding says ``ok`` True, False or None: None is "could not be told", and nothing found at all is too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..model import Status, Verdict

T = TypeVar("T", bound=Hashable)
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
        status = {True: Status.PASS, False: Status.FAIL, None: Status.ERROR}[found.ok]
        step = {Status.FAIL: self.repair, Status.ERROR: self.ask}.get(status, "")
        return Verdict(
            self.check, found.subject, status, found.measured, self.wanted, self.source, step,
            value=found.value, bound=self.bound, evidence=(found.note,) if found.note else (),
        )  # fmt: skip

    def verdicts(self, findings: Iterable[Finding], well: str) -> Iterator[Verdict]:
        """Each fault and each unknown; where there is neither, one PASS: "16 of 16 ``well``"."""
        found = list(findings)
        if not found:
            yield self.verdict(Finding("all nodes", None, "nothing was found to judge"))
            return
        odd = sorted((each for each in found if not each.ok), key=lambda each: each.ok is None)
        for each in odd[:MOST]:
            yield self.verdict(each)
        if odd[MOST:]:
            rest = Finding(f"{len(odd) - MOST} more", None if odd[MOST].ok is None else False, odd[MOST].measured)
            yield self.verdict(rest)
        if not odd:
            notes = tuple(dict.fromkeys(f"{each.subject}: {each.note}" for each in found if each.note))
            yield Verdict(
                self.check, "all nodes", Status.PASS, f"{len(found)} of {len(found)} {well}", self.wanted,
                self.source, bound=self.bound, evidence=notes[:MOST],
            )  # fmt: skip


@dataclass(frozen=True)
class Odd:
    """A member whose value is not the majority's. ``usual`` None: there is no majority."""

    name: str
    value: str
    usual: str | None
    peers: int


def odd_ones(values: Mapping[str, str]) -> tuple[Odd, ...]:
    """The members that differ from what more than half of all have; every one where no value has that."""
    if not values:
        return ()
    usual, peers = Counter(values.values()).most_common(1)[0]
    if 2 * peers > len(values):
        return tuple(Odd(name, value, usual, peers) for name, value in values.items() if value != usual)
    return tuple(Odd(name, value, None, 0) for name, value in values.items())


def shared_by(names: Iterable[str], of: str, most: int = 4) -> str:
    """``n0, n1, n2, n3 and 60 more nodes``."""
    listed = list(names)
    more = f" and {len(listed) - most} more {of}" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
