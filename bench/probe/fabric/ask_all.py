"""Asks the three fabric tools about the subnet, and joins what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bench.model.late_dataclass import dataclass, replace
from bench.model.typed_json import load, parse
from bench.probe.fabric import linkinfo, netdiscover, queryerrors
from bench.probe.fabric import run_tools as asking
from bench.probe.fabric.pasted_text import UnknownToolOutput
from bench.probe.fabric.run_tools import ToolAnswer
from bench.probe.fabric.subnet import Subnet, join

T = TypeVar("T", netdiscover.Discovery, linkinfo.Linkinfo, queryerrors.QueryErrors)


@dataclass(frozen=True)
class SubnetAnswers:
    """The answers of the three tools at one time: evidence that is kept with the run."""

    discovery: ToolAnswer
    links: ToolAnswer
    errors: ToolAnswer

    @property
    def answers(self) -> tuple[ToolAnswer, ...]:
        return self.discovery, self.links, self.errors


def look(limit: float = 120.0, run: asking.Run = asking.run) -> SubnetAnswers:
    """Asks the subnet, each tool for at most ``limit`` seconds; never raises for what they do."""
    commands = (asking.DISCOVER, asking.LINKS, asking.ERRORS)
    return SubnetAnswers(*(asking.ask(command, limit, run) for command in commands))


def from_json(text: str) -> SubnetAnswers:
    """The three answers in a line of ``fabric.jsonl``. Raises Misfit and NotJson."""
    return SubnetAnswers(*load(tuple[ToolAnswer, ToolAnswer, ToolAnswer], parse(text.encode())))


def seen(looked: SubnetAnswers) -> Subnet:
    """The subnet that the answers describe; an answer that its tool did not write adds nothing."""
    return join(
        _read(netdiscover.parse, looked.discovery),
        _read(linkinfo.parse, looked.links),
        _read(queryerrors.parse, looked.errors),
    )


def _read(parse: Callable[[str], T], answer: ToolAnswer) -> T | None:
    """Parse one answer; from standard error, only the lines that say that something did not answer."""
    try:
        said: T = parse(answer.text)
    except UnknownToolOutput:
        return None
    return replace(said, unanswered=(*said.unanswered, *netdiscover.unanswered(answer.err)))
