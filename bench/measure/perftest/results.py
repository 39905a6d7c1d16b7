"""The output of perftest's processes in a run: raw text, parsed again whenever it is judged."""

from __future__ import annotations

from collections.abc import Iterable

from bench.model.late_dataclass import dataclass
from bench.model.run_folder_lines import PerftestSkipped, PerftestTool, PerftestTransfer

from .tool import LATENCY, NAME


@dataclass(frozen=True)
class PerftestResults:
    """What perftest measured in a run. ``left``: why nothing was measured, "" where something was tried.

    transfers, latencies   of ib_write_bw, and of ib_write_lat
    """

    tools: tuple[PerftestTool, ...] = ()
    transfers: tuple[PerftestTransfer, ...] = ()
    latencies: tuple[PerftestTransfer, ...] = ()
    left: str = ""

    @property
    def able(self) -> tuple[str, ...]:
        """Nodes whose perftest can be used."""
        return tuple(tool.node for tool in self.tools if not tool.missing)


def of_lines(lines: Iterable[PerftestTool | PerftestTransfer | PerftestSkipped]) -> PerftestResults:
    """What a run's lines say."""
    lines = tuple(lines)
    left = [line.why for line in lines if isinstance(line, PerftestSkipped)]
    made = [line for line in lines if isinstance(line, PerftestTransfer)]
    return PerftestResults(
        tuple(line for line in lines if isinstance(line, PerftestTool)),
        tuple(transfer for transfer in made if transfer.tool == NAME),
        tuple(transfer for transfer in made if transfer.tool == LATENCY),
        left[-1] if left else "",
    )
