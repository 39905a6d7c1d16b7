"""Was everything measured that was to be measured? What was not tested is never shown as healthy."""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.registry import check
from bench.model.verdict import Status, Verdict
from bench.store import IMPORTED, UNWRITTEN, Run
from bench.store.standing import ANEW, goes_on

COPY = "copy the folder again from where it was written"


def _again(run: Run) -> str:
    """How what is missing comes to be measured."""
    how = "railgauge resume RUN measures what is missing" if goes_on(run.manifest.command) else ANEW
    return how + ("; coverage.losses says why it is" if run.losses else "")


@check("coverage.cases")
def cases(evidence: Evidence) -> Iterator[Verdict]:
    """Every planned case was measured on all of its groups."""
    planned = evidence.run.plan.cases
    if not planned and evidence.run.measurements:
        told = f"plan.json is missing or names no case, and {len(evidence.run.measurements)} measurements are there"
        yield Verdict(
            "coverage.cases", "plan", Status.INCONCLUSIVE, told, "a whole folder", "RailGauge", COPY
        )
        return
    if not planned:
        yield Verdict(
            "coverage.cases",
            "plan",
            Status.INCONCLUSIVE,
            "nothing was planned",
            "cases",
            "RailGauge",
            "what was refused or left out is said beside this",
        )
        return
    measured: dict[str, set[tuple[int, ...]]] = {}
    for row in evidence.rows:
        measured.setdefault(row.case.id, set()).add(row.measurement.ranks)
    for phase in evidence.run.plan.phases:
        missing = [case.id for case in phase.cases if set(case.groups) - measured.get(case.id, set())]
        done = len(phase.cases) - len(missing)
        yield Verdict(
            "coverage.cases",
            phase.name,
            Status.INCONCLUSIVE if missing else Status.PASS,
            f"{done} of {len(phase.cases)} cases measured",
            f"all {len(phase.cases)}",
            "the plan",
            _again(evidence.run) if missing else "",
            value=float(done),
            bound=float(len(phase.cases)),
            evidence=tuple(missing[:20]),
        )


@check("coverage.losses")
def losses(evidence: Evidence) -> Iterator[Verdict]:
    """No case was lost to a crash or a hang."""
    for loss in evidence.run.losses:
        yield Verdict(
            "coverage.losses",
            loss.case,
            Status.INCONCLUSIVE,
            loss.reason,
            "a measurement",
            "RailGauge",
            f"look at {loss.culprit or 'the logs'} first: logs/ in the run folder holds what the workers said",
        )


@check("coverage.memory")
def memory(evidence: Evidence) -> Iterator[Verdict]:
    """Every case of the sweep fits in memory."""
    for short in evidence.run.plan.shortages:
        yield Verdict(
            "coverage.memory",
            short.where,
            Status.INCONCLUSIVE,
            short.text,
            "cases that fit",
            "RailGauge",
            "free memory, or lower end in the profile's [sweep]",
            value=float(short.refused[0].needed),
            bound=float(short.refused[0].available),
            evidence=tuple(row.case for row in short.refused[:20]),
        )


@check("coverage.ranks")
def ranks(evidence: Evidence) -> Iterator[Verdict]:
    """Every rank of the job took part in a measurement."""
    present = [rank.rank for rank in evidence.ranks]
    used = {rank for row in evidence.rows for rank in row.measurement.ranks}
    missing = [rank for rank in evidence.ranks if rank.rank not in used]
    names = ", ".join(f"rank {rank.rank} ({rank.node})" for rank in missing[:8])
    yield Verdict(
        "coverage.ranks",
        "job",
        Status.INCONCLUSIVE if missing or not present else Status.PASS,
        f"{len(present) - len(missing)} of {len(present)} ranks measured"
        + (f"; not {names}" if missing else ""),
        f"all {len(present)}",
        "the launcher",
        _again(evidence.run) if missing else "",
        value=float(len(present) - len(missing)),
        bound=float(len(present)),
    )


@check("coverage.cluster")
def cluster(evidence: Evidence) -> Iterator[Verdict]:
    """The job spans as many nodes, and ranks a node, as the profile speaks of."""
    count, (least, most) = evidence.node_count, evidence.profile.nodes
    inside = least <= count <= most
    wanted = f"{least} to {most} nodes" if most < 1 << 30 else f"{least} or more nodes"
    yield Verdict(
        "coverage.cluster",
        "nodes",
        Status.PASS if inside else Status.INCONCLUSIVE,
        f"{count} nodes",
        wanted,
        evidence.profile.name,
        "" if inside else "start on as many nodes as the profile speaks of, or choose another profile",
        value=float(count),
        bound=float(least),
    )
    if not evidence.profile.gpus:
        return
    for node in evidence.manifest.nodes:
        here = sum(rank.node == node for rank in evidence.ranks)
        yield Verdict(
            "coverage.cluster",
            node,
            Status.PASS if here == evidence.profile.gpus else Status.INCONCLUSIVE,
            f"{here} ranks",
            f"{evidence.profile.gpus} (one a GPU)",
            evidence.profile.name,
            "" if here == evidence.profile.gpus else f"start {evidence.profile.gpus} ranks on every node",
            value=float(here),
            bound=float(evidence.profile.gpus),
        )


@check("coverage.asked")
def asked(evidence: Evidence) -> Iterator[Verdict]:
    """What a person asked for by name was planned; of a phase that every run may leave out the profile speaks."""
    options = evidence.manifest.settings.asked
    planned = {phase.name.split("-")[0] for phase in evidence.run.plan.phases}
    left = dict(evidence.run.plan.skipped)
    for phase, option in options.items():
        there = phase in planned
        yield Verdict(
            "coverage.asked",
            option,
            Status.PASS if there else Status.INCONCLUSIVE,
            f"phase {phase} was planned"
            if there
            else f"not measured: {left.get(phase, 'nothing of it fits')}",
            "" if there else "measured, as it was asked for by name",
            "" if there else "the command line",
            "" if there else f"leave {option} away, or start where it applies",
        )


def _unended(evidence: Evidence) -> tuple[str, str, str, str]:
    """What is known of why a run did not come to its end: measured, wanted, by whom, next step."""
    if evidence.manifest.launcher == IMPORTED:
        told = "no summary at the end: the file is cut short, or its tool was stopped"
        return told, "a whole file", "the tool that wrote it", "import the whole file, or measure again"
    why = next(
        (note for note in evidence.run.notes if note.startswith(UNWRITTEN)), "it was interrupted or killed"
    )
    kept = (
        "the measured cases are kept: railgauge resume RUN measures the others"
        if goes_on(evidence.manifest.command)
        else ANEW
    )
    room = "make room, then: " if why.startswith(UNWRITTEN) else ""
    return f"no completion record: {why}", "a completed run", "RailGauge", f"{room}{kept}"


@check("coverage.end")
def end(evidence: Evidence) -> Iterator[Verdict]:
    """The run came to its end and said so itself."""
    if evidence.run.ended is None:
        yield Verdict(
            "coverage.end",
            "run",
            Status.INCONCLUSIVE,
            *_unended(evidence),
        )
    else:
        yield Verdict("coverage.end", "run", Status.PASS, "the run completed")
    for note in evidence.run.notes:
        if "damaged" in note:
            yield Verdict(
                "coverage.end",
                "run folder",
                Status.INCONCLUSIVE,
                note,
                "whole files",
                "RailGauge",
                COPY,
            )
