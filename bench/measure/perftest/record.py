"""The output of perftest's processes in ``verbs.jsonl``: raw text, parsed again whenever it is judged.

One line each: ``tool`` (a node's perftest), ``transfer`` (one rail, one direction), ``left`` (why nothing
was measured).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from .command import Side
from .tool import Tool

HOST = "host memory"


class RecordError(ValueError):
    """A line of ``verbs.jsonl`` that is not what ``to_json`` wrote."""


@dataclass(frozen=True)
class PerftestExit:
    """How one process ended. ``code``: exit status, None where it was stopped at its deadline; ``text``: its output."""

    words: tuple[str, ...]
    code: int | None
    text: str


@dataclass(frozen=True)
class Transfer:
    """One rail, one direction: ``sender`` is the client, which writes into the memory of ``receiver``.

    again    a second look at what was slow or failed
    client   None where the server did not come up, so that none was started
    """

    round: int
    sender: Side
    receiver: Side
    server: PerftestExit
    client: PerftestExit | None = None
    again: bool = False

    @property
    def memory(self) -> str:
        return "GPU memory" if self.sender.gpu and self.receiver.gpu else HOST

    def to_json(self) -> dict[str, Any]:
        return {"kind": "transfer", **asdict(self)}

    @staticmethod
    def from_json(row: dict[str, Any]) -> Transfer:
        return Transfer(
            round=int(row["round"]),
            sender=Side.from_json(row["sender"]),
            receiver=Side.from_json(row["receiver"]),
            server=_ended(row["server"]),
            client=None if row["client"] is None else _ended(row["client"]),
            again=bool(row["again"]),
        )


def _ended(row: dict[str, Any]) -> PerftestExit:
    code = row["code"]
    return PerftestExit(tuple(map(str, row["words"])), None if code is None else int(code), str(row["text"]))


@dataclass(frozen=True)
class PerftestRecord:
    """All perftest records of a run. ``left``: why nothing was measured, "" where something was tried."""

    tools: tuple[Tool, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    left: str = ""

    @property
    def able(self) -> tuple[str, ...]:
        """Nodes whose perftest can be used."""
        return tuple(tool.node for tool in self.tools if not tool.missing)


def of_lines(lines: Iterable[dict[str, Any]]) -> PerftestRecord:
    """The record of a run's lines. Raises RecordError for a line that is damaged; unknown kinds are left out."""
    tools, transfers, left = [], [], ""
    for row in lines:
        try:
            if row["kind"] == "tool":
                tools.append(Tool.from_json(row))
            elif row["kind"] == "transfer":
                transfers.append(Transfer.from_json(row))
            elif row["kind"] == "left":
                left = str(row["why"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RecordError(f"not a line of verbs.jsonl: {error!r}") from error
    return PerftestRecord(tuple(tools), tuple(transfers), left)


def left_out(why: str) -> dict[str, Any]:
    """The line that says why nothing was measured."""
    return {"kind": "left", "why": why}
