"""The table of checks: each row is one decorated function with its words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from bench.model.late_dataclass import dataclass
from bench.model.verdict import Verdict

from .evidence import Evidence
from .findings import Criterion, NotApplicable, Outcome

Find = Callable[[Evidence], Iterable[Outcome]]
Unless = Callable[[Evidence], str]
"""Why a check is not applicable to a run; "" where it is."""
Words = str | Callable[[Evidence], str]
"""A sentence, or a function that makes it from the evidence."""


@dataclass(frozen=True)
class Check:
    """One row: what a check is called, what it proves, when it is not applicable, and its words.

    about        what it proves: the first line of the function's docstring
    only         the kind of run that it is for; of any other it yields nothing at all
    beside       it is for a watch of somebody else's job too: as most that judges facts of machines, and nothing that
                 judges our own processes
    facts_only   it needs no measurement, so it runs before the first byte of traffic too
    words        by the names of Criterion's fields
    """

    name: str
    about: str
    find: Find
    unless: tuple[Unless, ...]
    only: Callable[[Evidence], bool]
    facts_only: bool
    beside: bool
    bound: Callable[[Evidence], float | None]
    words: dict[str, Words]

    def __call__(self, evidence: Evidence) -> Iterator[Verdict]:
        """The verdicts of this check on a run."""
        if not self.only(evidence):
            return iter(())
        said = {name: text if isinstance(text, str) else text(evidence) for name, text in self.words.items()}
        criterion = Criterion(self.name, bound=self.bound(evidence), **said)
        reasons = (reason for unless in self.unless if (reason := unless(evidence)))
        reason = next(reasons, "")
        return criterion.verdicts([NotApplicable(reason)] if reason else self.find(evidence))


CHECKS: dict[str, Check] = {}


def check(
    name: str,
    *,
    subject: Words = "all nodes",
    wanted: Words = "",
    source: Words = "",
    on_fail: Words = "",
    on_inconclusive: Words = "",
    every: Words = "",
    unit: Words = "",
    bound: float | Callable[[Evidence], float | None] | None = None,
    unless: Iterable[Unless] = (),
    only: Callable[[Evidence], bool] = lambda _: True,
    facts_only: bool = False,
    beside: bool | None = None,
) -> Callable[[Find], Check]:
    """Add a function to the table under ``name``; its words are those of Criterion.

    With a ``unit`` what is well is one line, whose sentence is ``every``, or else the first of the docstring.
    """
    words: dict[str, Words] = {
        "subject": subject,
        "wanted": wanted,
        "source": source,
        "on_fail": on_fail,
        "on_inconclusive": on_inconclusive,
        "every": every,
        "unit": unit,
    }

    def add(find: Find) -> Check:
        if name in CHECKS:
            raise ValueError(f"two checks are called {name}")
        about = (find.__doc__ or "").strip().split("\n")[0]
        words["every"] = every or (_as_clause(about) if unit else "")
        too = facts_only if beside is None else beside
        limit = bound if callable(bound) else lambda _: bound
        CHECKS[name] = Check(name, about, find, tuple(unless), only, facts_only, too, limit, words)
        return CHECKS[name]

    return add


def _as_clause(sentence: str) -> str:
    """``every rail is up`` of ``Every rail is up: ACTIVE for a port.``; an acronym at its head stays."""
    head = sentence[:1] if sentence[1:2].isupper() else sentence[:1].lower()
    return head + sentence[1:].partition(": ")[0].rstrip(".")


def unplanned(phase: str, planned: Callable[[Evidence], object], otherwise: str) -> Unless:
    """The reason why nothing of a phase was planned, where the plan gives one; "" where something was."""
    return lambda evidence: "" if planned(evidence) else evidence.skipped.get(phase, otherwise)


def by_profile(evidence: Evidence) -> str:
    """The profile as the source of what is wanted."""
    return evidence.profile.name


def no_rails(evidence: Evidence) -> str:
    return "the profile has no rails" if evidence.rails.kind == "none" else ""
