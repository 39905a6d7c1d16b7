"""Verdicts: the four outcomes, the limits that they are held against, and one judgement in five parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import Enum

from .errors import EXIT_INCONCLUSIVE
from .late_dataclass import dataclass
from .printable import on_one_line


class Status(str, Enum):
    """The four outcomes, never mixed. INCONCLUSIVE: not measured, or not well enough to decide."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not_applicable"

    @classmethod
    def _missing_(cls, value: object) -> Status | None:
        """Older run folders and histories say ``error`` and ``skip``."""
        return {"error": cls.INCONCLUSIVE, "skip": cls.NOT_APPLICABLE}.get(str(value))

    @property
    def shown(self) -> str:
        """The word that people read: PASS, FAIL, INCONCLUSIVE or NOT APPLICABLE."""
        return self.name.replace("_", " ")


class Action(str, Enum):
    """What somebody, or a program, has to do about a verdict."""

    RESEAT_CABLE = "reseat-cable"
    REPLACE_HCA = "replace-hca"
    RESET_GPU = "reset-gpu"
    FIX_CONFIGURATION = "fix-configuration"
    RE_MEASURE = "re-measure"
    NONE = "none"


# the words of a count, worst first
COUNTED = {
    Status.FAIL: "failed",
    Status.INCONCLUSIVE: "inconclusive",
    Status.PASS: "passed",
    Status.NOT_APPLICABLE: "not applicable",
}


def overall(statuses: Iterable[Status]) -> Status:
    """FAIL beats INCONCLUSIVE beats PASS; nothing judged, or nothing but NOT APPLICABLE, is INCONCLUSIVE."""
    seen = set(statuses)
    for status in (Status.FAIL, Status.INCONCLUSIVE, Status.PASS):
        if status in seen:
            return status
    return Status.INCONCLUSIVE


def counted(statuses: Iterable[Status]) -> str:
    """``1 failed, 20 passed, 2 not applicable``; of none: ``nothing was judged``."""
    count = Counter(statuses)
    return ", ".join(f"{count[each]} {word}" for each, word in COUNTED.items() if count[each]) or (
        "nothing was judged"
    )


EXIT = {
    Status.PASS: 0,
    Status.FAIL: 1,
    Status.INCONCLUSIVE: EXIT_INCONCLUSIVE,
    Status.NOT_APPLICABLE: EXIT_INCONCLUSIVE,
}


@dataclass(frozen=True)
class Bound:
    """A limit with its source. ``value`` is in base units; ``text`` is how the profile wrote it."""

    value: float
    text: str
    source: str
    date: str = ""
    confidence: str = ""

    def reached(self, measured: float) -> bool:
        """Whether ``measured`` is at least the bound; NaN is not."""
        return measured >= self.value


@dataclass(frozen=True)
class Verdict:
    """One judgement, in five parts: subject, measured, wanted, by whom, next step.

    check      the name of the check, such as rails.link_rate
    subject    what is judged: a cluster, node, port or case
    measured   what was found, in words; ``value``: the same as a number in base units
    wanted     what should be, in words; ``bound``: the same as a number in base units
    source     who says so
    next_step  what to do next, or the command to run
    evidence   lines that show it
    action     what it calls for, for programs; null in folders of versions that did not say it
    case       id in plan.json of the one case that it is about; empty where it is about none or several
    """

    check: str
    subject: str
    status: Status
    measured: str
    wanted: str = ""
    source: str = ""
    next_step: str = ""
    value: float | None = None
    bound: float | None = None
    evidence: tuple[str, ...] = ()
    action: Action | None = None
    case: str = ""

    @property
    def message(self) -> str:
        """``node7 mlx5_3/1: link runs at 200 Gb/s, wanted 400 Gb/s (datasheet); reseat the cable``."""
        text = f"{self.subject}: {self.measured}"
        if self.wanted:
            text += f", wanted {self.wanted}"
        if self.source:
            text += f" ({self.source})"
        return on_one_line(f"{text}; {self.next_step}" if self.next_step else text)
