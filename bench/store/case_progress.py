"""Which cases of a run were measured, lost or never tried, and whether its command can be resumed."""

from __future__ import annotations

from collections.abc import Sequence

from bench.model.late_dataclass import dataclass

from .files import NOT_TRIED
from .run import Run


@dataclass(frozen=True)
class CaseProgress:
    """Cases of a run: measured on all of their groups, lost to a hang or a failure, or still to be measured."""

    measured: frozenset[str]
    lost: frozenset[str]
    missing: frozenset[str]

    @property
    def text(self) -> str:
        """``31 of 40 cases are reused, 1 stays lost, 8 are missing``."""
        whole = len(self.measured) + len(self.lost) + len(self.missing)
        lost = f", {len(self.lost)} stay{'s' if len(self.lost) == 1 else ''} lost" if self.lost else ""
        return (
            f"{len(self.measured)} of {whole} cases are reused{lost}, {len(self.missing)} "
            f"{'is' if len(self.missing) == 1 else 'are'} missing"
        )


def case_progress(run: Run) -> CaseProgress:
    done: dict[str, set[tuple[int, ...]]] = {}
    for row in run.measurements:
        done.setdefault(row.case, set()).add(row.ranks)
    planned = run.groups_of
    measured = frozenset(name for name, groups in planned.items() if groups <= done.get(name, set()))
    tried = {loss.case for loss in run.losses if not (loss.died or loss.reason.startswith(NOT_TRIED))}
    lost = (frozenset(tried) & planned.keys()) - measured
    return CaseProgress(measured, lost, frozenset(planned) - measured - lost)


ANEW = "start it again from the beginning: only runs of railgauge accept and railgauge run can be resumed"
COPY_AGAIN = "copy the folder again from where it was written"


def can_resume(run: Run) -> bool:
    """Whether ``resume`` takes this run and has something to do: a case that hung or failed is not measured again."""
    unfinished = run.ended is None or bool(case_progress(run).missing)
    return goes_on(run.manifest.command) and bool(run.plan.cases) and unfinished


def goes_on(command: Sequence[str]) -> bool:
    """Whether a run of this command line can go on where it stopped."""
    return tuple(command[1:2]) in (("accept",), ("run",))
