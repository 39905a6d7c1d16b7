"""The outcome of a transfer: bytes per second or a latency, or the cause of its failure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.measure.perftest import output
from bench.model.facts import Node
from bench.model.late_dataclass import dataclass
from bench.model.run_folder_lines import PerftestExit, PerftestTool, PerftestTransfer
from bench.model.units import show_size

from .causes import MEMORY, Cause, cause
from .tool import NAME

GAVE_UP = "Failed status 12"  # IBV_WC_RETRY_EXC_ERR: sent again and again, never acknowledged

FAILED = "Completion with error"


@dataclass(frozen=True)
class Outcome:
    """``rate``: payload bytes/s, NaN where there is none and ``cause`` says why. ``mtu`` as perftest used it.

    A rate of 0 is a figure too: the ports met, and nothing came through.
    latency   of ib_write_lat: seconds one way, the median of its round trips halved
    """

    rate: float
    mtu: int | None = None
    cause: Cause | None = None
    latency: float = math.nan


def outcome(transfer: PerftestTransfer) -> Outcome:
    """A figure only where the client ended well, with one table of a result that is finite and above 0; or a rate of 0
    where it counted no message at all, which is unlike a broken clock's 0.
    """
    client = transfer.client
    runs = output.parse(client.text) if client is not None else ()
    problems = [text for run in runs for text in run.problems]
    whole = [run for run in runs if run.valid and run.tool == transfer.tool and not run.problems]
    if client is None or not runs:
        return Outcome(math.nan, None, cause(transfer, ["it printed no table of results"]))
    if transfer.tool == NAME and _stalled(client, runs):
        return Outcome(0.0, None, cause(transfer, ["nothing came through"]))
    if client.code != 0 or len(runs) != 1 or not whole:
        return Outcome(math.nan, None, cause(transfer, problems))
    if foreign := _foreign(transfer, whole[0].facts):
        return Outcome(math.nan, None, cause(transfer, [foreign]))
    mtu, row = whole[0].facts.get("mtu", ""), whole[0].rows[-1]
    known = int(mtu) if mtu.isdecimal() else None
    return Outcome(row.average, known, latency=row.latency.get("t_typical", math.nan))


def _foreign(transfer: PerftestTransfer, facts: Mapping[str, str]) -> str:
    """Why a table that is whole says nothing of this transfer, "" where it does."""
    sender, receiver, device = transfer.sender, transfer.receiver, facts.get("device", "")
    if sender.node == receiver.node:
        return f"it went from {sender.node} to itself"
    if device and device != sender.hca:
        return f"its table is of {device}, and {sender.hca} was asked for"
    if FAILED in transfer.server.text:
        return "the receiving side ended with an error"
    return ""


def _stalled(client: PerftestExit, runs: Sequence[output.LinkRun]) -> bool:
    """Whether the ports were connected and no message arrived while it was measured."""
    rows = [row for run in runs for row in run.rows]
    counted = len(rows) == 1 and rows[0].iterations == 0 and rows[0].average == 0
    return len(runs) == 1 and ((client.code == 0 and counted) or GAVE_UP in client.text)


def explained(found: Cause, nodes: Mapping[str, Node], tools: Mapping[str, PerftestTool]) -> str:
    """The cause in one line, with what the facts add: the limit on locked memory, perftest's versions."""
    side = found.where
    node = nodes.get(side.node) if side else None
    text = found.line
    if found.kind == MEMORY and side and side.gpu:
        way = "dma-buf" if side.dmabuf else "nvidia_peermem"
        text += f" (of GPU {side.gpu}, by {way})"
    elif found.kind == MEMORY and node and node.host.memlock is not None and not node.host.memlock_unlimited:
        text += f": locked memory is limited to {show_size(node.host.memlock)} there (ulimit -l)"
    return text + _versions(tools)


def _versions(tools: Mapping[str, PerftestTool]) -> str:
    seen = {tool.version: name for name, tool in tools.items() if tool.version}
    if len(seen) < 2:
        return ""
    return "; perftest is " + ", ".join(f"{version} on {name}" for version, name in sorted(seen.items()))
