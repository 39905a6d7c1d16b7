"""A run in one short message for people in a chat."""

from __future__ import annotations

import json

from bench.judge.drift.tonight import COMPARED
from bench.model.verdict import Status, Verdict
from bench.store import Run

from .headline import bad, counts, title

MOST = 10
LONGEST = 300  # characters of one verdict


def digest(run: Run) -> str:
    """The verdict, then the first failures and what could not be told; a few lines."""
    told = bad(run)
    nodes = len(run.manifest.nodes)
    head = f"RailGauge {run.manifest.id}, {nodes} {'node' if nodes == 1 else 'nodes'}: "
    lines = [
        head + f"{title(run)}: {counts(run)} (profile {run.profile_name})",
        *(_escaped(each.measured) for each in run.verdicts if each.check == COMPARED),
        *map(_line, told[:MOST]),
    ]
    if len(told) > MOST:
        lines.append(f"and {len(told) - MOST} more, in the report")
    return "\n".join(lines)


def payload(run: Run) -> bytes:
    """The digest as the JSON that incoming webhooks of Slack, Mattermost, Google Chat and Teams' flows take."""
    return json.dumps({"text": digest(run)}).encode()


def _line(verdict: Verdict) -> str:
    mark = "FAIL" if verdict.status is Status.FAIL else "could not tell"
    return f"• {mark}: {verdict.check}: {_escaped(' '.join(verdict.message.split()))[:LONGEST]}"


def _escaped(text: str) -> str:
    # chats read < > & and @ as markup and mentions; a host name must not ping anybody
    for character, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("@", "@\u200b")):
        text = text.replace(character, instead)
    return text
