"""The figures of one rail, layer by layer: link, verbs, NCCL point-to-point, collective."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from statistics import median

from bench.judge.blame import transfers
from bench.judge.evidence import Evidence
from bench.measure.perftest.outcome import Outcome, explained, outcome
from bench.measure.perftest.results import PerftestResults
from bench.measure.perftest.schedule import expected_ports
from bench.model.facts import Node, Port
from bench.model.late_dataclass import dataclass
from bench.model.rails import members
from bench.model.run_folder_lines import PerftestTransfer
from bench.model.units import show_both
from bench.plan.phase_names import FIRST

from .counters import Undetermined, carried
from .target import largest_rate

COUNTED = ("ring", "collectives")  # phases whose bytes on each rail are read, in order of preference


@dataclass(frozen=True)
class Figure:
    """One layer of one rail: bytes/s, NaN where there is none; ``text``: how it came about, or why there is
    none. ``should``: it should be there, so that its absence is no NOT APPLICABLE.
    """

    rate: float
    text: str = ""
    should: bool = True

    @property
    def told(self) -> bool:
        return math.isfinite(self.rate)


@dataclass(frozen=True)
class RailEvidence:
    """What the figures of the rails are read from; ``record``: of perftest."""

    evidence: Evidence
    record: PerftestResults

    @cached_property
    def outcomes(self) -> tuple[tuple[PerftestTransfer, Outcome], ...]:
        return tuple((transfer, outcome(transfer)) for transfer in self.record.transfers)

    @cached_property
    def by_rail(self) -> Mapping[tuple[str, str], list[tuple[PerftestTransfer, Outcome]]]:
        """(node, rail) → transfers that it sent or received."""
        found: dict[tuple[str, str], list[tuple[PerftestTransfer, Outcome]]] = {}
        for pair in self.outcomes:
            for side in (pair[0].sender, pair[0].receiver):
                found.setdefault((side.node, side.name), []).append(pair)
        return found

    @cached_property
    def links(self) -> Mapping[tuple[str, str], float]:
        nodes = self.evidence.nodes
        return {(node.name, port.name): link(port).rate for node in nodes for port in node.ports}

    @cached_property
    def p2p(self) -> Mapping[tuple[str, str, str], float]:
        """(sender, receiver, rail by its joint name) → bytes/s, the median where a round was repeated as it was.

        Suspects are measured again in other phases.
        """
        found = defaultdict[tuple[str, str, str], list[float]](list)
        for each in transfers.transfers(self.evidence, FIRST):
            if not each.rail_b:
                found[each.a, each.b, each.rail].append(each.rate)
        return {key: median(rates) for key, rates in found.items()}

    @cached_property
    def collective(self) -> tuple[Mapping[tuple[str, str], float], str]:
        """(node, rail) → bytes/s that left it, or why that cannot be determined."""
        reasons = []
        planned = [phase.name for phase in self.evidence.run.plan.phases]
        for phase in (name for name in COUNTED if name in planned):
            try:
                nodes, largest = carried(phase, self.evidence), largest_rate(phase, self.evidence)
            except Undetermined as reason:
                reasons.append(str(reason))
                continue
            rates = {
                (each.node, rail): each.ratio * largest * sent / sum(each.counted.values())
                for each in nodes
                for rail, sent in each.counted.items()
            }
            return rates, ""
        return {}, reasons[0] if reasons else "no collective over the nodes was planned"


def link(port: Port) -> Figure:
    if port.active is False:
        return Figure(0.0, f"the port is {port.state}")
    if port.rate is None:
        return Figure(math.nan, "its rate is not known")
    return Figure(port.rate, port.rate_text or "")


# ── verbs ───────────────────────────────────────────────────────────────────────────────────────────────


def verbs(view: RailEvidence, node: Node, port: Port) -> Figure:
    here = view.by_rail.get((node.name, port.name), [])
    if not here:
        return _unmeasured(view, node)
    sent = _best(outcome for transfer, outcome in here if transfer.sender.node == node.name)
    received = _best(outcome for transfer, outcome in here if transfer.receiver.node == node.name)
    if math.isfinite(sent) and math.isfinite(received):
        text = f"sends {show_both(sent)}, receives {show_both(received)}, {here[0][0].memory}"
        return Figure(min(sent, received), text)
    tools = {tool.node: tool for tool in view.record.tools}
    for transfer, seen in here:
        mine = transfer.sender.node == node.name
        if seen.cause and not math.isfinite(sent if mine else received):
            pair = {side.node: tools[side.node] for side in (transfer.sender, transfer.receiver)}
            other = transfer.receiver.node if mine else transfer.sender.node
            way = f"to {other}" if mine else f"from {other}"
            return Figure(
                math.nan, f"nothing measured {way}: {explained(seen.cause, view.evidence.facts, pair)}"
            )
    return Figure(math.nan, "one direction was not measured")


def _unmeasured(view: RailEvidence, node: Node) -> Figure:
    """The figure of a rail without transfers, and why: no perftest on this node, or on no other."""
    must = view.evidence.profile.verbs.mode == "on"
    tool = next((tool for tool in view.record.tools if tool.node == node.name), None)
    if tool and tool.missing:
        return Figure(math.nan, tool.missing, must)
    others = [name for name in view.record.able if name != node.name]
    if not others:
        return Figure(math.nan, "no other node has perftest", must)
    return Figure(math.nan, "not measured")


def _best(outcomes: Iterable[Outcome]) -> float:
    return max((each.rate for each in outcomes if math.isfinite(each.rate)), default=math.nan)


# ── NCCL ────────────────────────────────────────────────────────────────────────────────────────────────


def p2p(view: RailEvidence, node: Node, port: Port) -> Figure:
    if view.evidence.backend != "nccl":
        return Figure(math.nan, f"{view.evidence.backend} does not go by verbs", False)
    users = users_of(node, view)
    if port.name not in users:
        return Figure(math.nan, "which GPUs use this rail cannot be determined")
    sums = [
        (_sum(view, node.name, other, users[port.name]), other)
        for other in sorted(_partners(view, node, port))
    ]
    sent = max((there for (there, _), _ in sums if math.isfinite(there)), default=math.nan)
    received = max((back for (_, back), _ in sums if math.isfinite(back)), default=math.nan)
    if not (math.isfinite(sent) and math.isfinite(received)):
        return Figure(math.nan, "not measured with the partners of this rail")
    return Figure(min(sent, received), f"sends {show_both(sent)}, receives {show_both(received)}")


def _partners(view: RailEvidence, node: Node, port: Port) -> set[str]:
    """The nodes that verbs was measured with, so that NCCL is compared on the same ones; else all other nodes."""
    ends = [(t.sender.node, t.receiver.node) for t, _ in view.by_rail.get((node.name, port.name), ())]
    return {name for pair in ends for name in pair} - {node.name} or set(view.evidence.facts) - {node.name}


def _sum(
    view: RailEvidence, node: str, other: str, users: Sequence[tuple[int, float]]
) -> tuple[float, float]:
    """Bytes/s from a node to another, and back, over the GPUs that use a rail; NaN where one is not known."""
    names = view.evidence.rail_names
    ends = ((node, other), (other, node))
    there, back = (
        sum(share * view.p2p.get((a, b, names[rank]), math.nan) for rank, share in users) for a, b in ends
    )
    return there, back


def users_of(node: Node, view: RailEvidence) -> dict[str, tuple[tuple[int, float], ...]]:
    """Rail → local ranks whose GPU uses it, and the share of that GPU's traffic; {} where it cannot be determined."""
    rails = [port.name for port in expected_ports(node, view.evidence.profile.rails)]
    count = view.evidence.run.ranks_on[node.name]
    own = [members(name) for name in view.evidence.rail_names[:count]]
    found = {
        rail: tuple((at, 1.0 / len(all_)) for at, all_ in enumerate(own) if rail in all_) for rail in rails
    }
    return {rail: users for rail, users in found.items() if users}


def collective(view: RailEvidence, node: Node, port: Port) -> Figure:
    if view.evidence.backend != "nccl":
        return Figure(math.nan, f"{view.evidence.backend} does not go by verbs", False)
    rates, why = view.collective
    if (node.name, port.name) in rates:
        return Figure(rates[node.name, port.name], "its share of the bytes that left the node")
    planned = any(phase.name in COUNTED for phase in view.evidence.run.plan.phases)
    return Figure(math.nan, why or "its counters were not read", planned)


def common_link(view: RailEvidence, node: Node, port: Port) -> float:
    """The slower link of the two ends, with the partner that gives the highest; NaN where no link is known."""
    mine = view.links.get((node.name, port.name), math.nan)
    pairs = [
        [view.links.get((side.node, side.name), math.nan) for side in (transfer.sender, transfer.receiver)]
        for transfer, _ in view.by_rail.get((node.name, port.name), ())
    ]
    return max((min(pair) for pair in pairs if all(map(math.isfinite, pair))), default=mine)


def mtu(view: RailEvidence, node: Node, port: Port) -> int | None:
    seen = [outcome.mtu for _, outcome in view.by_rail.get((node.name, port.name), ()) if outcome.mtu]
    return max(seen, default=None)
