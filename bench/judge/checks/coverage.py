"""Was everything measured that was to be measured? What was not tested is never shown as healthy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bench import __version__
from bench.judge.evidence import Evidence, derived
from bench.judge.expected_plan import PLANNED, expected_phases, not_planned
from bench.judge.findings import Finding
from bench.judge.registry import by_profile, check
from bench.judge.run_times import DAY
from bench.model.errors import RailGaugeError
from bench.model.units import show_count, show_seconds, show_some
from bench.plan.phase_names import AGAIN, CROSS, FIRST, WATCH, phase_words
from bench.store import UNWRITTEN, Phase
from bench.store.case_progress import ANEW, COPY_AGAIN, can_resume, case_progress, goes_on

from .imported_results import is_import

COMMAND = "coverage.command"  # the verdict that says of a run that it is no acceptance test
ALONE = ("run", "soak", "watch")  # commands of one phase, which measures what was asked for
# of which blame names who did not answer: pairs of ranks, in phases that begin so
PAIRS, BLAMED = ("p2p", "p2p_bidirectional"), (FIRST, AGAIN, CROSS)
_of_run = partial(check, source="RailGauge", beside=True)


def _anew(evidence: Evidence) -> str:
    if not goes_on(evidence.manifest.command):
        return ANEW
    if not evidence.run.plan.cases:
        return "start it again from the beginning: no case was planned, so there is nothing to resume"
    return "start it again from the beginning: a case that hung or failed is not measured again when a run is resumed"


@derived
def _again(evidence: Evidence) -> str:
    """How the missing cases can be measured."""
    missing = can_resume(evidence.run) and case_progress(evidence.run).missing
    how = "railgauge resume RUN measures what is missing" if missing else _anew(evidence)
    return how + ("; coverage.losses says why it is" if evidence.run.losses else "")


@check("coverage.cases", source="the plan", on_inconclusive=_again)
def cases(evidence: Evidence) -> Iterator[Finding]:
    """Every planned case was measured on all of its groups."""
    plan, count = evidence.run.plan, len(evidence.run.measurements)
    if not plan.cases and count:
        text = f"plan.json is missing or names no case, and there are {count} measurements"
        yield Finding("plan", None, text, wanted="a whole folder", source="RailGauge", step=COPY_AGAIN)
    elif not plan.cases:
        step = "see which cases were refused or left out, and why"
        yield Finding("plan", None, "nothing was planned", wanted="cases", source="RailGauge", step=step)
    planned = {case.id for case in plan.cases}
    foreign = list(dict.fromkeys(each.case for each in evidence.run.measurements if each.case not in planned))
    if plan.cases and foreign:
        text = f"{show_count(len(foreign), 'case')} measured that plan.json does not have"
        yield Finding(
            "plan",
            None,
            text,
            wanted="a whole folder",
            source="RailGauge",
            step=COPY_AGAIN,
            evidence=tuple(foreign[:20]),
        )
    measured: dict[str, set[tuple[int, ...]]] = {}
    for row in evidence.rows:
        blamed = row.case.collective in PAIRS and row.case.phase.startswith(BLAMED)
        if not row.measurement.extra.failed or blamed:
            measured.setdefault(row.case.id, set()).add(row.measurement.ranks)
    groups = evidence.run.groups_of
    for phase in plan.phases if plan.cases else ():
        missing = [case.id for case in phase.cases if groups[case.id] - measured.get(case.id, set())]
        done, wanted = len(phase.cases) - len(missing), len(phase.cases)
        yield Finding(
            phase.name,
            None if missing else True,
            f"{done} of {wanted} cases measured",
            float(done),
            wanted=f"all {wanted}",
            bound=float(wanted),
            evidence=tuple(missing[:20]),
        )


def _of_the_profile(evidence: Evidence) -> bool:
    """Whether the plan of the run follows from its profile."""
    return _word(evidence) in PLANNED


def _word(evidence: Evidence) -> str:
    return "".join(evidence.manifest.command[1:2])


def _plan_again(evidence: Evidence) -> str:
    """How a plan that lacks cases can be known to be whole; another version may have planned otherwise."""
    version = evidence.manifest.versions.get("railgauge", "")
    if version == __version__:
        return "measure again: plan.json was changed, or the run planned less than its profile asks for"
    by = f"by RailGauge {version}, which planned it" if version else "by the version that planned it"
    return f"judge the run {by}, or measure again by RailGauge {__version__}"


@check(
    "coverage.plan",
    subject="plan",
    wanted="every case that the run's own profile asks for",
    source="the plan, made again from manifest, facts and profile",
    on_inconclusive=_plan_again,
    only=_of_the_profile,
)
def plan(evidence: Evidence) -> Iterator[Finding]:
    """The plan holds every case that its profile asks for, but what did not fit in memory or in the budget."""
    try:
        phases = expected_phases(evidence.run)
    except RailGaugeError as error:
        yield Finding("plan", None, f"the plan cannot be made again: {error}")
        return
    missing = not_planned(evidence.run, phases)
    planned = {phase.name: phase for phase in evidence.run.plan.phases}
    otherwise = [each for each in phases if not _planned_so(each, planned.get(each.name, each))]
    for phase in otherwise:
        yield Finding(
            phase.name, None, "its environment or its measuring rules differ from the profile's plan"
        )
    for phase in phases:
        if lacking := missing.get(phase.name):
            text = f"{len(lacking)} of {len(phase.cases)} cases were not planned"
            yield Finding(phase.name, None, text, float(len(lacking)), evidence=tuple(lacking[:20]))
    if not missing and not otherwise:
        yield Finding("plan", True, f"all {len(evidence.run.plan.cases)} cases follow from the profile")


def _planned_so(wanted: Phase, found: Phase) -> bool:
    return (wanted.environment, wanted.rules) == (found.environment, found.rules)


@_of_run(
    COMMAND,
    subject="command",
    wanted="results of the command that manifest.json names",
    on_inconclusive=COPY_AGAIN,
    only=lambda evidence: is_import(evidence) or not _of_the_profile(evidence),
)
def command(evidence: Evidence) -> Iterator[Finding]:
    """What is no acceptance run says so, and holds what its command leaves and nothing else."""
    word, phases = _word(evidence), [phase.name for phase in evidence.run.plan.phases]
    if is_import(evidence):
        text, foreign = "imported results are no acceptance test", _of_machines(evidence)
    elif word in ALONE:
        does = "looks on beside a job" if word == WATCH else "measures what it was asked for"
        text = f"railgauge {word} {does} and is no acceptance test"
        foreign = f"{word} has one phase, and plan.json has {', '.join(phases)}" if len(phases) > 1 else ""
    else:
        text = "the command that made this run is not known, so it is no acceptance test"
        foreign = f"manifest.json says {' '.join(evidence.manifest.command) or 'nothing'}"
    yield Finding("command", None if foreign else True, f"{text}; {foreign}" if foreign else text)


def _of_machines(evidence: Evidence) -> str:
    """Says what the folder of an import holds that no import has; "" where it holds nothing of that."""
    if _word(evidence) != "import":
        return f"manifest.json says {' '.join(evidence.manifest.command) or 'nothing'}"
    run = evidence.run
    kinds = {
        "facts": run.nodes,
        "counters": run.counters,
        "health": run.health,
        "started workers": run.joined,
    }
    found = [name for name, lines in kinds.items() if lines]
    return f"an import has no {', '.join(found)}, and this folder has" if found else ""


@_of_run("coverage.losses", wanted="a measurement")
def losses(evidence: Evidence) -> Iterator[Finding]:
    """No case was lost to a crash or a hang."""
    for loss in evidence.run.losses:
        step = f"look at {loss.culprit or 'the logs'} first: logs/ in the run folder holds what the workers printed"
        yield Finding(loss.case, None, loss.reason, step=step, case=loss.case)


@_of_run(
    "coverage.memory",
    wanted="cases that fit",
    on_inconclusive="free memory, or lower end in the profile's [sweep]",
)
def memory(evidence: Evidence) -> Iterator[Finding]:
    """Every case of the sweep fits in memory."""
    for short in evidence.run.plan.shortages:
        first, cases = short.refused[0], tuple(row.case for row in short.refused[:20])
        yield Finding(
            short.where, None, short.text, float(first.needed), bound=float(first.available), evidence=cases
        )


@check("coverage.ranks", source="the launcher", on_inconclusive=_again)
def ranks(evidence: Evidence) -> Iterator[Finding]:
    """Every rank of the job took part in a measurement."""
    used = {rank for row in evidence.rows for rank in row.measurement.ranks}
    missing = [f"rank {rank.rank} ({rank.node})" for rank in evidence.ranks if rank.rank not in used]
    count, done = len(evidence.ranks), len(evidence.ranks) - len(missing)
    yield Finding(
        "job",
        None if missing or not count else True,
        f"{done} of {count} ranks measured" + (f"; not {show_some(missing, 8, 'ranks')}" if missing else ""),
        float(done),
        wanted=f"all {count}",
        bound=float(count),
    )
    yield from _joined(evidence)


def _joined(evidence: Evidence) -> Iterator[Finding]:
    """Phases in which fewer workers came up than are said to have been measured."""
    used: dict[str, set[int]] = {}
    for row in evidence.rows:
        used.setdefault(row.case.phase, set()).update(row.measurement.ranks)
    came: dict[str, int] = {}  # a node that was set aside may be back
    for line in evidence.run.joined:
        came[line.phase] = max(line.ranks, came.get(line.phase, 0))
    for phase, count in came.items():
        wanted = len(used.get(phase, ()))
        if count < wanted:
            text = f"{count} workers came up, and {wanted} ranks are in its measurements"
            yield Finding(
                f"phase {phase_words(phase)}",
                None,
                text,
                float(count),
                wanted=f"all {wanted}",
                bound=float(wanted),
            )


def _with_all(evidence: Evidence) -> str:
    """How a node that was set aside is measured after all."""
    resumes = goes_on(evidence.manifest.command)
    return "railgauge resume RUN, started on all nodes, takes it in again" if resumes else ANEW


@_of_run(
    "coverage.nodes",
    wanted="every node of the job, to the end",
    on_fail=lambda evidence: f"mend it, then: {_with_all(evidence)}",
    on_inconclusive=lambda evidence: f"see why, then: {_with_all(evidence)}",
    only=lambda evidence: bool(evidence.manifest.set_aside),
)
def nodes(evidence: Evidence) -> Iterator[Finding]:
    """No node was set aside."""
    done, count = evidence.node_count, len(evidence.run.whole.manifest.nodes)
    for each in evidence.manifest.set_aside:
        when = f"in phase “{phase_words(each.phase)}”" if each.phase else "before measuring"
        text = f"set aside {when}, {done} of {count} nodes were measured: {each.reason}"
        yield Finding(each.subject, False if each.failed else None, text, evidence=each.evidence)


@check("coverage.cluster", source=by_profile)
def cluster(evidence: Evidence) -> Iterator[Finding]:
    """The job spans as many nodes, and ranks a node, as the profile is for."""
    count = len(evidence.run.whole.manifest.nodes)
    least, most = evidence.profile.nodes
    yield Finding(
        "job",
        True if least <= count <= most else None,
        f"spans {show_count(count, 'node')}",
        float(count),
        wanted=f"{least} to {most} nodes" if most < 1 << 30 else f"{least} or more nodes",
        step=None
        if least <= count <= most
        else "start on as many nodes as the profile is for, or choose another",
        bound=float(least),
    )
    for node, gpus in _ranks_wanted(evidence):
        here = evidence.run.ranks_on[node]
        yield Finding(
            node,
            True if here == gpus else None,
            f"{here} ranks",
            float(here),
            wanted=f"{gpus} (one a GPU)",
            step=None if here == gpus else f"start {gpus} ranks on every node",
            bound=float(gpus),
        )


def _ranks_wanted(evidence: Evidence) -> Iterator[tuple[str, int]]:
    """List each node with the ranks that it should have: one per GPU of the profile, or per GPU that is there where the
    profile allows several counts.
    """
    there = {node.name: len(node.gpus) for node in evidence.nodes}
    counts = evidence.gpu_counts
    for node, ranks in evidence.run.ranks_on.items() if counts else ():
        several = there.get(node) or (ranks if ranks in counts else counts[-1])
        yield node, counts[0] if len(counts) == 1 else several


@check("coverage.asked")
def asked(evidence: Evidence) -> Iterator[Finding]:
    """Each phase that an option of the command line asks for was planned; others are the profile's to want."""
    planned = {phase.name.split("-")[0] for phase in evidence.run.plan.phases}
    left = evidence.skipped
    for phase, option in evidence.manifest.settings.asked.items():
        if phase in planned:
            yield Finding(option, True, f"phase “{phase_words(phase)}” was planned")
            continue
        yield Finding(
            option,
            None,
            f"not measured: {left.get(phase, 'nothing of it fits')}",
            wanted="measured, as the option asks for it",
            source="the command line",
            step=f"drop {option}, or start where it applies",
        )


def _unended(evidence: Evidence) -> Finding:
    """What is known of why a run did not come to its end."""
    if is_import(evidence):
        text = "no summary at the end: the file is cut short, or its tool was stopped"
        step = "import the whole file, or measure again"
        return Finding("run", None, text, wanted="a whole file", source="the tool that wrote it", step=step)
    full = next((note for note in evidence.run.notes if note.startswith(UNWRITTEN)), "")
    kept = "the measured cases are kept: railgauge resume RUN measures the others"
    step = ("make room, then: " if full else "") + (kept if can_resume(evidence.run) else _anew(evidence))
    text = f"no completion record: {full or 'it was interrupted or killed'}"
    return Finding("run", None, text, wanted="a completed run", step=step)


@_of_run("coverage.end", on_inconclusive=COPY_AGAIN)
def end(evidence: Evidence) -> Iterator[Finding]:
    """The run came to its end and recorded it."""
    completed = Finding("run", True, "the run completed", source="")
    yield _unended(evidence) if evidence.run.ended is None else completed
    times, noted = evidence.manifest.settings.resumed, len(evidence.run.resumed_at)
    if evidence.records_all and noted < times:
        text = f"manifest.json says that it was resumed {show_count(times, 'time')}, and the journal {noted}"
        yield Finding("run folder", None, text, wanted="files of one run")
    if evidence.records_all and (when := _ended_at_another_time(evidence)):
        yield Finding("run folder", None, f"it is said to have ended {when}", wanted="files of one run")
    # what this version always records is asked of its own runs alone
    if not evidence.manifest.versions.get("railgauge") and not is_import(evidence):
        text = "manifest.json does not say which version of RailGauge made the run"
        yield Finding("run folder", None, text, wanted="files of one run")
    if not evidence.manifest.started and evidence.records_all:  # by which all other times are judged
        yield Finding(
            "run folder", None, "manifest.json does not say when the run began", wanted="files of one run"
        )
    yield from _misfitting_marks(evidence)
    for note in evidence.run.notes:
        if "damaged" in note:
            yield Finding("run folder", None, note, wanted="whole files")


def _ended_at_another_time(evidence: Evidence) -> str:
    """How far the end of the run is from what was measured in it; "" where it is of the same day.

    A clock that was set back while the run went on is set back for some of its rows too.
    """
    began, ended = evidence.manifest.started, evidence.run.ended
    spans = [(found.started, found.ended) for row in evidence.rows if (found := row.measurement).started]
    if ended is None or not spans:
        return ""
    first, last = min(spans)[0], max(end for _, end in spans)
    if ended > last + DAY:
        return f"{show_seconds(ended - last)} after its last measurement"
    return "before it began, and all of its measurements are later" if ended < began <= first else ""


def _misfitting_marks(evidence: Evidence) -> Iterator[Finding]:
    """Phases whose begin and end in the journal do not fit what was planned and measured.

    Of a run without losses that nobody resumed: else a phase may begin twice, with what is left of it.
    """
    run, manifest = evidence.run, evidence.manifest
    if not evidence.records_all or run.losses or run.ended is None or manifest.set_aside:
        return
    for phase in run.plan.phases if not (manifest.settings.resumed or run.resumed_at) else ():
        marks = [mark for mark in run.phases if mark.name == phase.name]
        if not phase.cases or not marks:
            continue  # growth.errors names a phase that was measured and has none
        count, first, last = len(phase.cases), marks[0], marks[-1]
        began, done = first.state == "begin" and first.cases, last.state == "end" and last.measured
        if (began, done) != (count, count):
            text = f"the journal says that it began with {_cases(began)} and ended with {_cases(done)}"
            yield Finding(
                f"phase {phase_words(phase.name)}", None, text, wanted=f"all {count}, begun and measured"
            )


def _cases(count: int) -> str:
    return show_count(count, "case") if count else "none"


@check(
    "coverage.lost",
    wanted="every rank in every call",
    source="heartbeats of the supervisors, apart from what is measured",
    on_inconclusive="look at that node (dmesg, nvidia-smi, ip link) and at its log in logs/, then run again",
)
def lost(evidence: Evidence) -> Iterator[Finding]:
    """No rank or node died, stopped or held the others up."""
    reasons: dict[str, list[str]] = {}
    for loss in evidence.run.losses:
        if loss.culprit:
            reasons.setdefault(loss.culprit, []).append(loss.reason)
    for culprit, all_of_it in reasons.items():
        cost = f"; it cost {len(all_of_it)} cases" if len(all_of_it) > 1 else ""
        text = all_of_it[0].removeprefix(f"{culprit}: ")
        yield Finding(culprit, None, text + cost, evidence=tuple(dict.fromkeys(all_of_it[1:]))[:8])
