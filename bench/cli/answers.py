"""The JSON objects that commands print with ``--json``: one each, with its name in ``schema`` and its ``version``.

A version grows when a field goes or changes its meaning; fields may be added at any time. Units are bytes, seconds and
bytes per second; what is not known is null.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.exchange.compare import Difference, RunComparison
from bench.exchange.importing.published import AmongPublished
from bench.exchange.importing.run_folder import ImportedFolder
from bench.judge.evidence import Evidence
from bench.judge.peaks import peak_rows
from bench.judge.problems import problems_of
from bench.judge.verdicts import status
from bench.model.facts import Node
from bench.model.late_dataclass import dataclass
from bench.model.typed_json import JsonAnswer
from bench.model.verdict import Action, Status, Verdict
from bench.nccl.explain import ExplainAnswer
from bench.nccl.log_summary import LogSummary
from bench.plan.estimate import PhaseEstimate
from bench.run.gate import GateAnswer
from bench.store import Run
from bench.store.history import Entry, LeftOutFile
from bench.store.history.nights import Acceptance


class ErrorAnswer(JsonAnswer, frozen=True, kw_only=True, tag="railgauge error"):
    """Printed in place of any other object where the command could not do its work.

    message      what is wrong, as on standard error
    exit_status  of the command: 2 wrong usage, 3 inconclusive or a fault of RailGauge
    """

    message: str
    exit_status: int


@dataclass(frozen=True)
class LeftOutItem:
    """What is not in the answer, and why."""

    what: str
    reason: str


class PlanAnswer(JsonAnswer, frozen=True, kw_only=True, tag="railgauge plan"):
    """What accept would measure.

    gpus_per_node  ranks of a node, at most; ``ranks``: of all nodes
    backend   nccl or gloo; ``cases``: of all phases
    seconds   of the whole run at most, start, retests of suspects, judging and drawing included
    left_out  phase, or what the time limit takes away, and the reason
    """

    profile: str
    nodes: int
    gpus_per_node: int
    ranks: int
    backend: str
    cases: int
    seconds: float
    phases: tuple[PhaseEstimate, ...]
    left_out: tuple[LeftOutItem, ...]


class ExplainLogAnswer(JsonAnswer, frozen=True, kw_only=True, tag="railgauge explain log"):
    """What NCCL's log says about a job.

    status    the worst of ``summary`` and ``verdicts``; ``verdicts``: by a profile, where one is given
    """

    status: Status
    summary: LogSummary
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class ShownProblem:
    """A cause or an unexplained finding, causes first.

    sentence   what is wrong and where; ``next_step``: what to do about it
    slight     whether it misses its bounds by little
    follows    how many verdicts follow from it
    action     what it calls for, for programs
    """

    status: Status
    check: str
    sentence: str
    next_step: str
    slight: bool
    follows: int
    action: Action | None


@dataclass(frozen=True)
class Peak:
    """The best figure of a series, of its slowest group.

    busbw  bytes per second; ``size``: message size in bytes; ``groups``: how many groups were measured
    wrong  elements that differ from the truth; null: results were not verified
    """

    series: str
    busbw: float
    size: int
    ranks: int
    groups: int
    wrong: int | None


class Judged(JsonAnswer, frozen=True, kw_only=True):
    """A judgement: FAIL beats INCONCLUSIVE beats PASS."""

    run: str
    profile: str
    status: Status
    problems: tuple[ShownProblem, ...]
    peaks: tuple[Peak, ...]
    verdicts: tuple[Verdict, ...]


class JudgeAnswer(Judged, frozen=True, kw_only=True, tag="railgauge judge"):
    """A run folder judged by a profile.

    run      the run folder; ``profile``: by which it was judged
    status   of the whole run: fail beats inconclusive beats pass; nothing judged is inconclusive
    unsaved  why the verdicts could not be written to the run folder, else ""
    """

    unsaved: str


class ImportAnswer(Judged, frozen=True, kw_only=True, tag="railgauge import"):
    """Results of other tools, judged.

    run      the run folder that was made; ``profile``: by which it was judged
    status   of the whole run: fail beats inconclusive beats pass; nothing judged is inconclusive
    figures  that were imported; ``nodes``: null where the files do not tell
    refused  what could not be used of the files, and why
    """

    figures: int
    ranks: int
    nodes: int | None
    refused: tuple[str, ...]


class AmongAnswer(JsonAnswer, frozen=True, kw_only=True, tag="railgauge import auto"):
    """How tables of nccl-tests stand among published runs (``import --profile auto``); no run folder is made.

    status  of all tables: fail beats inconclusive beats pass
    tables  one for each table of the files, in their order
    """

    status: Status
    tables: tuple[AmongPublished, ...]


class ProbeAnswer(JsonAnswer, frozen=True, kw_only=True, tag="railgauge probe"):
    """The facts of every node, and the checks that need no measurement.

    run          the run folder, or the copy of a machine that was read
    differences  between the nodes, by majority, a sentence each
    """

    run: str
    profile: str
    status: Status
    nodes: tuple[Node, ...]
    differences: tuple[str, ...]
    problems: tuple[ShownProblem, ...]
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class ComparedRun:
    """A run folder of one side; ``id``: what the run was called when it was made."""

    run: str
    id: str
    started: float
    profile: str


@dataclass(frozen=True)
class ComparedCase:
    """A case on both sides; null where a side has no figure.

    a, b         median of the slowest rank, in seconds
    ratio        a / b with its interval (low, high): above 1, B is faster
    outcome      faster or slower (B against A), same, inconclusive, only a, only b
    a_busbw, b_busbw  bytes per second
    """

    case: str
    a: float | None
    b: float | None
    ratio: float | None
    low: float | None
    high: float | None
    outcome: str
    a_busbw: float | None
    b_busbw: float | None


class CompareAnswer(JsonAnswer, frozen=True, kw_only=True, tag="railgauge compare"):
    """Two runs, or several launches of each.

    status       pass: B is not slower; fail: B is slower somewhere; else inconclusive
    differences  in which the runs differ, compared all the same by --anyway
    unknown      keys that neither run recorded
    """

    status: Status
    a: tuple[ComparedRun, ...]
    b: tuple[ComparedRun, ...]
    differences: tuple[Difference, ...]
    unknown: tuple[str, ...]
    cases: tuple[ComparedCase, ...]


@dataclass(frozen=True)
class Recorded:
    """A run of the history.

    time         of its start, seconds since 1970
    series       how many series it has figures of
    fingerprint  what may change a result; ``changed``: what of it differs from the cluster's run before
    """

    run: str
    time: float
    cluster: str
    series: int
    fingerprint: dict[str, str]
    changed: tuple[str, ...]


class HistoryListAnswer(JsonAnswer, frozen=True, kw_only=True, tag="railgauge history list"):
    """The runs of a history, oldest first.

    accepted  levels that a person accepted
    left_out  files that are damaged or are no runs
    """

    runs: tuple[Recorded, ...]
    accepted: tuple[Acceptance, ...]
    left_out: tuple[LeftOutItem, ...]


ANSWERS: dict[str, type[JsonAnswer]] = {
    "probe": ProbeAnswer,
    "explain": ExplainAnswer,
    "explain log": ExplainLogAnswer,
    "plan": PlanAnswer,
    "judge": JudgeAnswer,
    "import": ImportAnswer,
    "import auto": AmongAnswer,
    "compare": CompareAnswer,
    "history list": HistoryListAnswer,
    "gate": GateAnswer,
    "error": ErrorAnswer,
}
"""The object of each command; "import auto": of ``import --profile auto``; ``error``: of a command that fails."""


def judge_answer(judged: Evidence, unsaved: str) -> JudgeAnswer:
    return JudgeAnswer(**_judged(judged), unsaved=unsaved)


def import_answer(judged: Evidence, made: ImportedFolder) -> ImportAnswer:
    return ImportAnswer(
        **_judged(judged), figures=made.figures, ranks=made.ranks, nodes=made.nodes, refused=made.problems
    )


def _judged(judged: Evidence) -> dict[str, Any]:
    return {
        "run": str(judged.run.path),
        "profile": judged.profile.name,
        "status": status(judged),
        "problems": shown_problems(judged),
        "peaks": tuple(
            Peak(top.series, top.row.busbw, top.row.case.size, top.row.ranks, top.groups, top.row.wrong)
            for top in peak_rows(judged)
        ),
        "verdicts": judged.verdicts,
    }


def shown_problems(judged: Evidence) -> tuple[ShownProblem, ...]:
    return tuple(
        ShownProblem(
            each.status,
            each.verdict.check,
            each.sentence,
            each.verdict.next_step,
            each.slight,
            each.following,
            each.verdict.action,
        )
        for each in problems_of(judged.run).listed
    )


def probe_answer(judged: Evidence, nodes: tuple[Node, ...], where: Path) -> ProbeAnswer:
    from .facts_table import differences

    return ProbeAnswer(
        run=str(where),
        profile=judged.profile.name,
        status=status(judged),
        nodes=nodes,
        differences=tuple(differences(nodes)) if len(nodes) > 1 else (),
        problems=shown_problems(judged),
        verdicts=judged.verdicts,
    )


def compare_answer(a: Iterable[Run], b: Iterable[Run], found: RunComparison) -> CompareAnswer:
    one, other = (
        tuple(
            ComparedRun(str(run.path), run.manifest.id, run.manifest.started, run.manifest.profile_name)
            for run in side
        )
        for side in (a, b)
    )
    return CompareAnswer(
        status=found.status,
        a=one,
        b=other,
        differences=found.differences,
        unknown=found.unknown,
        cases=tuple(ComparedCase(**vars(each)) for each in found.ratios),
    )


def history_list_answer(
    entries: Sequence[Entry],
    changes: Sequence[tuple[str, ...]],
    accepted: Sequence[Acceptance],
    left_out: Iterable[LeftOutFile],
) -> HistoryListAnswer:
    return HistoryListAnswer(
        runs=tuple(
            Recorded(each.run, each.time, each.cluster, each.rows, dict(each.fingerprint), moved)
            for each, moved in zip(entries, changes, strict=True)
        ),
        accepted=tuple(accepted),
        left_out=tuple(LeftOutItem(each.path, each.reason) for each in left_out),
    )
