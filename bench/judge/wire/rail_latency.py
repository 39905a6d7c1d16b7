"""What ib_write_lat took on each rail, and which end of a slow rail is at fault."""

from __future__ import annotations

from collections.abc import Mapping

from bench.judge.evidence import Evidence, derived
from bench.measure.perftest.expected_latency import RailLatency, latencies
from bench.measure.perftest.outcome import explained
from bench.measure.perftest.results import of_lines
from bench.measure.perftest.schedule import expected_ports
from bench.model.late_dataclass import dataclass
from bench.plan.phase_names import FIRST

Place = tuple[str, str]
"""A node and its rail."""


@dataclass(frozen=True)
class RailLatencies:
    """``at``: what was measured, by each end of it. ``left``: why nothing was, "" where it should be there."""

    at: Mapping[Place, tuple[RailLatency, ...]]
    left: str = ""

    def best(self, place: Place) -> RailLatency | None:
        """The quickest of a rail's partners: a slow partner is not a slow rail."""
        known = [each for each in self.at.get(place, ()) if each.ok is not None]
        return min(known, key=lambda each: each.seconds, default=None)


@derived
def of_latencies(evidence: Evidence) -> RailLatencies:
    """All rails that should have a latency, those without one included."""
    record = of_lines(evidence.run.perftest)
    if not evidence.run.perftest or record.left:
        return RailLatencies({}, record.left or evidence.skipped.get(FIRST) or "perftest did not run")
    able = {tool.node for tool in record.tools if tool.latency and not tool.missing}
    if len(able) < 2:
        return RailLatencies({}, "ib_write_lat is not installed on two nodes")
    found: dict[Place, list[RailLatency]] = {
        (node.name, port.name): []
        for node in evidence.nodes
        if node.name in able
        for port in expected_ports(node, evidence.rails)
    }
    for each in latencies(record.latencies, evidence.profile.verbs.latency):
        for end in (each.sender, each.receiver):
            found.setdefault((end.node, end.name), []).append(each)
    return RailLatencies({place: tuple(each) for place, each in found.items()})


def why_unknown(evidence: Evidence, place: Place) -> str:
    """Why a rail has no latency, in one line."""
    record = of_lines(evidence.run.perftest)
    tools = {tool.node: tool for tool in record.tools}
    for each in of_latencies(evidence).at[place]:
        if each.cause:
            pair = {end.node: tools[end.node] for end in (each.sender, each.receiver) if end.node in tools}
            return explained(each.cause, evidence.facts, pair)
    return "ib_write_lat was not run on it"


def culprits(found: RailLatencies) -> dict[tuple[Place, ...], RailLatency]:
    """The slow ones by who is to blame: one end where the other is quick with another partner, else both.

    Of a rail that is slow with several partners the worst is kept.
    """
    slow = {each: None for at in found.at.values() for each in at if each.ok is False}
    blamed: dict[tuple[Place, ...], RailLatency] = {}
    for each in slow:
        ends = tuple((end.node, end.name) for end in (each.sender, each.receiver))
        guilty = tuple(place for place in ends if not any(other.ok for other in found.at[place]))
        key = guilty if len(guilty) == 1 else ends
        if key not in blamed or blamed[key].seconds < each.seconds:
            blamed[key] = each
    return blamed
