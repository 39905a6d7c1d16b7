"""The step summary of a GitHub job: failures first, and never more than GitHub takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.judge.peaks import tops
from bench.judge.verdicts import status
from bench.model.printable import as_markdown
from bench.model.units import show_count, show_rate, show_seconds, show_size
from bench.model.verdict import Status, Verdict, counted
from bench.store import Run

# GitHub drops the whole summary of a step beyond 1024 KiB; a little is left for what other tools append
CAP = 1000 << 10
MARKS = {Status.PASS: "✅", Status.FAIL: "❌", Status.INCONCLUSIVE: "❓", Status.SKIP: "⏭️"}
LONGEST = 2000  # characters of one cell: a message may carry a log's line


def github(run: Run, cap: int = CAP) -> str:
    """The verdict of a run as GitHub's Markdown, at most ``cap`` bytes; what does not fit is counted."""
    parts = [_head(run)]
    room = cap - len(parts[0].encode()) - 200
    for name, verdicts, folded in _groups(run):
        part, room = _table(name, verdicts, folded, room)
        parts.append(part)
    best = _best(run)
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


def _groups(run: Run) -> Iterable[tuple[str, Sequence[Verdict], bool]]:
    for each, name in (
        (Status.FAIL, "Failed"),
        (Status.INCONCLUSIVE, "Inconclusive"),
        (Status.SKIP, "Not applicable"),
        (Status.PASS, "Passed"),
    ):
        found = [verdict for verdict in run.verdicts if verdict.status is each]
        if found:
            yield f"{name}: {len(found)}", found, each in (Status.SKIP, Status.PASS)


def _table(name: str, verdicts: Sequence[Verdict], folded: bool, room: int) -> tuple[str, int]:
    """As many verdicts as there is room for, the rest counted; and the room that is left."""
    before = f"<details><summary>{name}</summary>\n\n" if folded else f"### {name}\n\n"
    before += "| check | subject | measured | wanted | next step |\n|---|---|---|---|---|\n"
    after = "\n</details>\n" if folded else ""
    room -= len((before + after).encode()) + 80
    if room <= 0:
        return f"{name}, not shown: GitHub limits the length of a summary\n", room
    lines: list[str] = []
    for verdict in verdicts:
        line = _line(verdict)
        if len(line.encode()) > room:
            break
        room -= len(line.encode())
        lines.append(line)
    more = len(verdicts) - len(lines)
    note = f"\nand {more} more, in the report: GitHub limits the length of a summary\n" if more else ""
    return before + "".join(lines) + note + after, room


def _line(verdict: Verdict) -> str:
    wanted = f"{verdict.wanted} ({verdict.source})" if verdict.source else verdict.wanted
    cells = (verdict.check, verdict.subject, verdict.measured, wanted, verdict.next_step)
    return f"| {' | '.join(as_markdown(cell, LONGEST) for cell in cells)} |\n"


def _best(run: Run) -> str:
    lines = [
        f"| {as_markdown(top.series)} | {show_rate(top.row.busbw)} | {show_rate(top.row.busbw, 'Gb/s')} "
        f"| {show_size(top.row.case.size)} |\n"
        for top in tops(run)
    ]
    if not lines:
        return ""
    return "### Best bus bandwidth\n\n| collective | busbw | in bits | at |\n|---|---|---|---|\n" + "".join(
        lines
    )
