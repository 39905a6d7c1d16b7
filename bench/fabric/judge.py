"""The fabric check as a whole: ask the three tools, read what they said, judge it. What a run calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from bench.fabric import ask as asking
from bench.fabric import linkinfo, netdiscover, queryerrors, troubles, verdicts
from bench.fabric.fabric import Fabric, join
from bench.fabric.lines import Refused
from bench.model import Status, Verdict

T = TypeVar("T", netdiscover.Discovery, linkinfo.Linkinfo, queryerrors.QueryErrors)


@dataclass(frozen=True)
class Look:
    """What the three tools said at one time: evidence, to be kept with the run."""

    discovery: asking.Answer
    links: asking.Answer
    errors: asking.Answer

    @property
    def answers(self) -> tuple[asking.Answer, ...]:
        return self.discovery, self.links, self.errors


def look(limit: float = 120.0, run: asking.Run = asking.run) -> Look:
    """Asks the subnet, each tool for at most ``limit`` seconds; never raises for what they do."""
    commands = (asking.DISCOVER, asking.LINKS, asking.ERRORS)
    return Look(*(asking.ask(command, limit, run) for command in commands))


def from_json(rows: list[dict[str, object]]) -> Look:
    """A look from its three answers as ``to_json`` wrote them."""
    answers = []
    for row in rows:
        command = row["command"]
        if not isinstance(command, list):
            raise ValueError(f"the command of an answer is {command!r}, no list")
        answers.append(
            asking.Answer(
                tuple(str(word) for word in command),
                Status(row["status"]),
                str(row["reason"]),
                str(row["text"]),
                str(row["err"]),
            )
        )
    return Look(*answers)


def seen(looked: Look) -> Fabric:
    """The fabric in the answers; an answer that is none of its tool's adds nothing."""
    return join(
        _read(netdiscover.parse, looked.discovery),
        _read(linkinfo.parse, looked.links),
        _read(queryerrors.parse, looked.errors),
    )


def _read(parse: Callable[[str], T], answer: asking.Answer) -> T | None:
    """The text read; of standard error only what says that something did not answer."""
    try:
        said: T = parse(answer.text)
    except Refused:
        return None
    return replace(said, unanswered=(*said.unanswered, *netdiscover.unanswered(answer.err)))


def judged(
    looked: Look,
    wanted: Sequence[verdicts.Wanted],
    width: int,
    rate: float,
    source: str,
    before: Look | None = None,
) -> list[Verdict]:
    """All there is to say of the ``wanted`` ports, links (``width`` lanes, ``rate`` bytes/s) and errors.

    With an earlier look also what is gone since. Where no tool may ask: the reasons alone, all SKIP.
    """
    rows = [answer.verdict for answer in looked.answers]
    if all(row.status is Status.SKIP for row in rows):
        return rows
    fabric = seen(looked)
    rows += [
        *verdicts.complete(fabric),
        *verdicts.hca_ports(fabric, wanted, width, rate, source),
        *verdicts.trunk_links(fabric, width, rate, source),
        *verdicts.uplinks(fabric),
        *troubles.errors(fabric),
    ]
    return rows + (list(troubles.changes(seen(before), fabric)) if before else [])
