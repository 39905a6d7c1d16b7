"""The step summary of a GitHub job: failures first, and never more than GitHub takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.judge.evidence import Evidence
from bench.judge.peaks import peak_rows
from bench.judge.problems import Problems, problems_of
from bench.judge.verdicts import status
from bench.model.printable import as_markdown
from bench.model.units import show_count, show_rate, show_seconds, show_size
from bench.model.verdict import Status, Verdict, counted
from bench.store import Run

# GitHub drops the whole summary of a step beyond 1024 KiB; a little is left for what other tools append
CAP = 1000 << 10
MARKS = {Status.PASS: "✅", Status.FAIL: "❌", Status.INCONCLUSIVE: "❓", Status.NOT_APPLICABLE: "⏭️"}
MOST = 20  # problems by their sentences
LONGEST = 2000  # characters of one cell: a message may carry a log's line


def github(judged: Evidence, cap: int = CAP) -> str:
    """The verdict of a run as GitHub's Markdown, at most ``cap`` bytes; what does not fit is counted."""
    run, found = judged.run, problems_of(judged.run)
    parts = [_head(run)]
    room = cap - len(parts[0].encode()) - 200
    summary = _problems(found)
    if len(summary.encode()) <= room // 2:
        parts.append(summary)
        room -= len(summary.encode())
    for name, verdicts, folded in _groups(run, found):
        part, room = _table(name, verdicts, folded, room, found)
        parts.append(part)
    best = _best(judged)
    if len(best.encode()) <= room:
        parts.append(best)
    return "\n".join(part for part in parts if part)


def _head(run: Run) -> str:
    manifest = run.manifest
    ranks, nodes = show_count(len(manifest.ranks), "rank"), show_count(len(manifest.nodes), "node")
    where = f"{ranks} on {nodes}, {manifest.backend}"
    last = "" if run.lasted is None else f", {show_seconds(run.lasted)}"
    who = f"{as_markdown(run.profile_name)}, {as_markdown(where)}{last}"
    counts = counted(verdict.status for verdict in run.verdicts)
    return (
        f"## {MARKS[status(run)]} RailGauge: {status(run).shown}\n\n{counts}. {who}, "
        f"run {as_markdown(manifest.id)}.\n"
    )


def _problems(found: Problems) -> str:
    """Each problem by its sentence, causes first, with what to do."""
    lines = []
    for each in found.listed[:MOST]:
        step = f" **Next:** {as_markdown(each.verdict.next_step, LONGEST)}" if each.verdict.next_step else ""
        more = f" ({each.follows})" if each.follows else ""
        lines.append(f"1. {MARKS[each.status]} {as_markdown(each.sentence, LONGEST)}{more}.{step}\n")
    return "".join(lines)


def _groups(run: Run, problems: Problems) -> Iterable[tuple[str, Sequence[Verdict], bool]]:
    for each, name in (
        (Status.FAIL, "Failed"),
        (Status.INCONCLUSIVE, "Inconclusive"),
        (None, "Follow from these"),
        (Status.NOT_APPLICABLE, "Not applicable"),
        (Status.PASS, "Passed"),
    ):
        found = [
            verdict
            for verdict in run.verdicts
            if (None if verdict in problems.symptoms else verdict.status) is each
        ]
        if found:
            yield f"{name}: {len(found)}", found, each not in (Status.FAIL, Status.INCONCLUSIVE)


def _table(
    name: str, verdicts: Sequence[Verdict], folded: bool, room: int, problems: Problems
) -> tuple[str, int]:
    """As many verdicts as there is room for, with the count of the others; and the room that is left."""
    before = f"<details><summary>{name}</summary>\n\n" if folded else f"### {name}\n\n"
    before += "| check | subject | measured | wanted | next step |\n|---|---|---|---|---|\n"
    after = "\n</details>\n" if folded else ""
    room -= len((before + after).encode()) + 80
    if room <= 0:
        return f"{name}, not shown: GitHub limits the length of a summary\n", room
    lines: list[str] = []
    for verdict in verdicts:
        line = _line(verdict, problems.next_step(verdict))
        if len(line.encode()) > room:
            break
        room -= len(line.encode())
        lines.append(line)
    more = len(verdicts) - len(lines)
    note = f"\nand {more} more, in the report: GitHub limits the length of a summary\n" if more else ""
    return before + "".join(lines) + note + after, room


def _line(verdict: Verdict, next_step: str) -> str:
    wanted = f"{verdict.wanted} ({verdict.source})" if verdict.source else verdict.wanted
    cells = (verdict.check, verdict.subject, verdict.measured, wanted, next_step)
    return f"| {' | '.join(as_markdown(cell, LONGEST) for cell in cells)} |\n"


def _best(judged: Evidence) -> str:
    lines = [
        f"| {as_markdown(top.series)} | {show_rate(top.row.busbw)} | {show_rate(top.row.busbw, 'Gb/s')} "
        f"| {show_size(top.row.case.size)} |\n"
        for top in peak_rows(judged)
    ]
    if not lines:
        return ""
    return "### Best bus bandwidth\n\n| collective | busbw | in bits | at |\n|---|---|---|---|\n" + "".join(
        lines
    )
