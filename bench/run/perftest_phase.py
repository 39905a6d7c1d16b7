"""The verbs phase: ib_write_bw and ib_write_lat between pairs of nodes, started by each node's first supervisor.

One side of a pair serves and the other connects; nobody is in two pairs at once. What perftest said
goes into the run folder as it is; what was slow or failed is measured a second time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from bench.measure.perftest import processes
from bench.measure.perftest.command import latency_words, words
from bench.measure.perftest.expected_latency import too_long
from bench.measure.perftest.expected_rate import least
from bench.measure.perftest.outcome import outcome
from bench.measure.perftest.processes import PerftestJob, PerftestJobs, ProcessSaid, ToolSaid
from bench.measure.perftest.schedule import (
    BACK,
    ROUND,
    THERE,
    PlannedTransfer,
    expected_ports,
    legs,
    meetings,
    seconds,
    why_left,
)
from bench.measure.perftest.tool import LATENCY, read
from bench.measure.perftest.tool import NAME as BANDWIDTH
from bench.model.facts import Node
from bench.model.late_dataclass import dataclass
from bench.model.run_folder_lines import (
    PerftestEnd,
    PerftestExit,
    PerftestSkipped,
    PerftestTool,
    PerftestTransfer,
    PhaseMark,
)
from bench.model.units import show_seconds
from bench.plan import by_node
from bench.store import Phase
from bench.supervise.questions import CONNECT, END, SERVE, TOOL, Question

from .live_run import LiveRun

NAME = "verbs"  # of the phase, in the journal and the counters
TITLE = "ib_write_bw on every rail, each direction, and ib_write_lat"
SILENT = ProcessSaid(text="its node says nothing of it")
MARGIN = 20.0  # seconds for a supervisor's answer on top of its own deadline


@dataclass(frozen=True)
class PhaseContext:
    """What the phase works on: nodes by name, what the perftest of each can do, and their addresses."""

    live: LiveRun
    nodes: Mapping[str, Node]
    tools: Mapping[str, PerftestTool]
    addresses: Mapping[str, str]

    @property
    def able(self) -> list[str]:
        """Nodes whose perftest can be used."""
        return [name for name in self.nodes if not self.tools[name].missing]


def measure(live: LiveRun, until: float | None = None) -> None:
    """Measure every rail by ib_write_bw too, so that a loss is placed in a layer; or record why not."""
    recorder, nodes = live.coordinator.recorder, live.evidence().nodes
    if why := why_left(live.profile, nodes):
        recorder.perftest(PerftestSkipped(why))
        return
    context = _context(live, nodes)
    for tool in context.tools.values():
        recorder.perftest(tool)
    if len(context.able) < 2:
        return
    phase = Phase(NAME, TITLE, (), seconds=seconds(len(context.able)))
    if live.in_time(phase, until):
        live.display.phase(phase)
        rounds(context, until)
    else:
        recorder.perftest(PerftestSkipped("no time was left in the budget"))


def rounds(context: PhaseContext, until: float | None = None) -> None:
    """All rounds between two readings of every node's counters; none is begun that may last beyond ``until``."""
    recorder = context.live.coordinator.recorder
    recorder.add(PhaseMark(NAME, "begin"))
    context.live.read_counters(NAME, "before")
    count = 0
    turns = meetings(context.able)
    for number, turn in enumerate(turns):
        left = ROUND if until is None else until - time.monotonic()
        if left < ROUND:
            limits = f"a round takes up to {show_seconds(ROUND)}, {show_seconds(max(left, 0))} of the budget are left"
            recorder.note(f"{NAME} ended after {number} of {len(turns)} rounds: {limits}", given_up=True)
            break
        count += _round(context, number, turn)
    context.live.read_counters(NAME, "after")
    recorder.add(PhaseMark(NAME, "end", measured=count))


def _context(live: LiveRun, nodes: Sequence[Node]) -> PhaseContext:
    limit = 2 * processes.HELP_SECONDS + MARGIN
    answers = live.coordinator.ask(TOOL, list(live.leads.values()), limit)
    tools = {name: _tool(name, answers[lead]) for name, lead in live.leads.items()}
    return PhaseContext(live, {node.name: node for node in nodes}, tools, live.meeting.addresses)


def _tool(node: str, said: ToolSaid) -> PerftestTool:
    if said.missing:
        return PerftestTool(node, missing=said.missing)
    return read(node, said.help, said.version, said.latency)


def _round(context: PhaseContext, number: int, turn: tuple[tuple[str, str], ...]) -> int:
    """Measure a round in each direction, again where a rail was slow or failed; the number of transfers.

    A latency goes both ways at once, so it is measured from one side alone.
    """
    made = 0
    for way in (THERE, BACK):
        these = legs(number, way, turn, context.nodes, context.tools, context.live.profile, _on_gpus(context))
        made += _measured(
            context, these, BANDWIDTH, lambda seen: any(_suspect(context, each) for each in seen)
        )
    there = legs(number, THERE, turn, context.nodes, context.tools, context.live.profile, gpus=False)
    able = [
        leg for leg in there if all(context.tools[end.node].latency for end in (leg.sender, leg.receiver))
    ]
    most = context.live.profile.verbs.latency
    return made + (_measured(context, able, LATENCY, lambda seen: too_long(seen, most)) if able else 0)


def _measured(
    context: PhaseContext,
    these: Sequence[PlannedTransfer],
    tool: str,
    doubtful: Callable[[Sequence[PerftestTransfer]], bool],
) -> int:
    """Measure these, and again where that is ``doubtful``; the number of transfers."""
    seen = _transfers(context, these, again=False, tool=tool)
    return len(seen) + (len(_transfers(context, these, again=True, tool=tool)) if doubtful(seen) else 0)


def _on_gpus(context: PhaseContext) -> bool:
    """Whether the run is on GPUs, with a rank for every GPU of a node: then the whole node is this job's."""
    order = context.live.coordinator.order
    each = {len(members) for members in by_node(context.live.coordinator.ranks)}
    gpus = {len(node.gpus) for node in context.nodes.values()}
    return order is not None and order.backend == "nccl" and each == gpus


def _suspect(context: PhaseContext, transfer: PerftestTransfer) -> bool:
    seen = outcome(transfer)
    links = [_rate(context, side) for side in (transfer.sender, transfer.receiver)]
    known = [rate for rate in links if rate is not None]
    return not (known and least(context.live.profile, min(known), seen.mtu).reached(seen.rate))


def _rate(context: PhaseContext, side: PerftestEnd) -> float | None:
    ports = expected_ports(context.nodes[side.node], context.live.profile.rails)
    return next((port.rate for port in ports if port.name == side.name), None)


def _transfers(
    context: PhaseContext, these: Sequence[PlannedTransfer], again: bool, tool: str
) -> list[PerftestTransfer]:
    """Servers, then clients, then the servers' last words: all pairs and rails of one direction at once."""
    commands = {
        leg.key: (_words(context, tool, leg.receiver), _words(context, tool, leg.sender, leg.receiver))
        for leg in these
    }
    jobs = {leg.key: PerftestJob([*commands[leg.key][0]], leg.receiver.numa) for leg in these}
    up = _ask(context, SERVE, these, "receiver", jobs, processes.LISTEN_SECONDS)
    ready = [leg for leg in these if up[leg.key].port]
    jobs = {leg.key: PerftestJob([*commands[leg.key][1]], leg.sender.numa, up[leg.key].port) for leg in ready}
    wrote = _ask(context, CONNECT, ready, "sender", jobs, processes.RUN_SECONDS)
    served = _ask(context, END, ready, "receiver", {}, processes.GRACE_SECONDS)
    seen = [
        PerftestTransfer(
            round=leg.round,
            sender=leg.sender,
            receiver=leg.receiver,
            server=_ended(commands[leg.key][0], served.get(leg.key, up[leg.key])),
            client=_ended(commands[leg.key][1], wrote[leg.key]) if leg.key in wrote else None,
            again=again,
            tool=tool,
        )
        for leg in these
    ]
    for transfer in seen:
        context.live.coordinator.recorder.perftest(transfer)
    return seen


def _words(
    context: PhaseContext, tool: str, side: PerftestEnd, peer: PerftestEnd | None = None
) -> tuple[str, ...]:
    coordinator = context.live.coordinator
    address = context.addresses[peer.node] if peer else ""
    nccl = {**coordinator.supervisor.base_environment, **coordinator.environment}
    known, own = context.tools[side.node], context.addresses[side.node]
    if tool == LATENCY:
        return latency_words(side, known, own, address, nccl)
    return words(side, known, own, address, nccl, context.live.profile.verbs.size)


def _ended(command: tuple[str, ...], result: ProcessSaid) -> PerftestExit:
    return PerftestExit(command, result.code, result.text)


def _ask(
    context: PhaseContext,
    question: Question[dict[str, ProcessSaid]],
    these: Sequence[PlannedTransfer],
    end: str,
    jobs: Mapping[str, PerftestJob],
    limit: float,
) -> dict[str, ProcessSaid]:
    """Ask the nodes at one end of these legs, all at once; their answers by leg."""
    each: dict[int, PerftestJobs] = {}
    for leg in these:
        node = getattr(leg, end).node
        told = each.setdefault(context.live.leads[node], PerftestJobs(address=context.addresses[node]))
        if leg.key in jobs:
            told.jobs[leg.key] = jobs[leg.key]
    answers = context.live.coordinator.ask(question, list(each), limit + MARGIN, each) if each else {}
    asked = [(leg.key, context.live.leads[getattr(leg, end).node]) for leg in these]
    return {key: answers[rank].get(key, SILENT) for key, rank in asked}
