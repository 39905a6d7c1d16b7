"""The output of perftest's processes in a run: raw text, parsed again whenever it is judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.model.lines import LeftOut, Tool, Transfer


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


def of_lines(lines: Iterable[Tool | Transfer | LeftOut]) -> PerftestRecord:
    """The record of a run's lines."""
    lines = tuple(lines)
    left = [line.why for line in lines if isinstance(line, LeftOut)]
    return PerftestRecord(
        tuple(line for line in lines if isinstance(line, Tool)),
        tuple(line for line in lines if isinstance(line, Transfer)),
        left[-1] if left else "",
    )
