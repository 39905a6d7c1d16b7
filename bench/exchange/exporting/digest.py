"""A run in one short message for people in a chat."""

from __future__ import annotations

import json
from urllib.parse import quote

from bench.judge.problems import Problem, problems_of
from bench.judge.verdicts import spoken, status
from bench.model.printable import on_one_line, plain
from bench.model.units import show_count
from bench.model.verdict import counted
from bench.store import Run
from bench.store.sums import PAGE

MOST = 10
LONGEST = 300  # characters of one line


def digest(run: Run, base: str = "") -> str:
    """The run's verdict, where its report is, then its problems, causes first, in a few lines.

    ``base``: the address at which the folder of run folders is served; without it the report is named by its path.
    """
    found = problems_of(run).listed
    nodes = show_count(len(run.manifest.nodes), "node")
    counts = counted(each.status for each in run.verdicts)
    lines = [
        f"RailGauge {run.manifest.id}, {nodes}: {status(run).shown}: {counts} (profile {run.profile_name})",
        f"report: {_report(run, base)}",
        *spoken(run),
        *map(_line, found[:MOST]),
    ]
    if len(found) > MOST:
        lines.append(f"and {len(found) - MOST} more, in the report")
    return "\n".join(map(_escaped, lines))


def payload(run: Run, base: str = "") -> bytes:
    """The digest as the JSON that incoming webhooks of Slack, Mattermost, Google Chat and Teams' flows take."""
    return json.dumps({"text": digest(run, base)}).encode()


def _report(run: Run, base: str) -> str:
    folder = run.path.resolve()
    return f"{base.rstrip('/')}/{quote(folder.name)}/{PAGE}" if base else str(folder / PAGE)


def _line(problem: Problem) -> str:
    """What and where; what to do about it, and what follows from it, must not be cut off."""
    step = problem.verdict.next_step
    end = f"{f'; next: {step}' if step else ''}{f' ({problem.follows})' if problem.follows else ''}"[:LONGEST]
    room = max(0, LONGEST - len(end))
    return f"• {problem.status.shown}: {on_one_line(problem.sentence)}"[:room] + end


def _escaped(line: str) -> str:
    """One line as plain text: chats read < > & and @ as markup and mentions, and no name may notify anybody.

    Those that read Markdown take ``](`` and ``][`` for a link or a picture from elsewhere.
    """
    text = plain(" ".join(line.split())[:LONGEST])
    for character, instead in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("@", "@\u200b"),
        ("]", "]\u200b"),
    ):
        text = text.replace(character, instead)
    return text
