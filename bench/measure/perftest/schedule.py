"""Which nodes meet in which round, on which rails, and whose memory is written.

A rail is measured with two partners where there are so many, so that a slow partner is not taken for a
slow rail; each direction by itself, because both at once hide which of them is slow; all rails of a
pair at once, as everything else of the run loads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.model.facts import Node, Port
from bench.model.late_dataclass import dataclass
from bench.model.profile import Profile, Rails
from bench.model.rails import DeviceUse, by_port, own_rails, rails_of, roles, shared_out
from bench.model.rounds import Round, rounds
from bench.model.run_folder_lines import PerftestEnd, PerftestTool

from .command import SECONDS

PARTNERS = 2  # that a node meets, where there are so many
THERE, BACK = "there", "back"
START = 3.0  # seconds in which a pair's processes start, meet and end (estimate)
# seconds of a round where everything answers: each direction and once the latency, with a second look at each
ROUND = 4 * (SECONDS + START) + 2 * START


@dataclass(frozen=True)
class PlannedTransfer:
    """One transfer that is to be made: ``sender`` writes to ``receiver``."""

    round: int
    way: str
    sender: PerftestEnd
    receiver: PerftestEnd

    @property
    def key(self) -> str:
        """A key that no other transfer of the same round and direction has."""
        return f"{self.sender.node} {self.sender.name} > {self.receiver.node} {self.receiver.name}"


def why_left(profile: Profile, nodes: Sequence[Node]) -> str:
    """Why there is nothing to measure; "" where there is."""
    if profile.verbs.mode == "off":
        return "the profile turns it off"
    if not by_port(profile.rails):
        return (
            "the rails are no RDMA ports"
            if profile.rails.kind != "none"
            else "the profile speaks of no rails"
        )
    if len(nodes) < 2:
        return "one node has no rails to another"
    return ""


def expected_ports(node: Node, rails: Rails) -> tuple[Port, ...]:
    """The ports that should be rails, in order. While the node has too few rails, ports that are down or slow count
    too: they must not drop out unseen.
    """
    short = len(rails_of(node, rails)) < rails.count
    uses = (DeviceUse.RAIL, DeviceUse.UNKNOWN, *((DeviceUse.WEAK,) if short else ()))
    order = {role.name: place for place, role in enumerate(rails_of(node, rails))} if rails.devices else {}
    ports = [role.port for role in roles(node, rails) if role.use in uses and role.port is not None]
    return tuple(sorted(ports, key=lambda port: order.get(port.name, len(order))))


def matched(one: Sequence[Port], other: Sequence[Port]) -> tuple[tuple[Port, Port], ...]:
    """Ports of the same rail on two nodes: those of one name, then what is left in order."""
    names = {port.name: port for port in other}
    same = [(port, names[port.name]) for port in one if port.name in names]
    taken = {port.name for port, _ in same}
    left = [port for port in one if port.name not in taken]
    rest = [port for port in other if port.name not in taken]
    return (*same, *zip(left, rest, strict=False))


def meetings(names: Sequence[str]) -> tuple[Round[str], ...]:
    """Rounds of disjoint pairs, as many as it takes until every node has met PARTNERS others, or all."""
    enough = min(PARTNERS, len(names) - 1)
    met = dict.fromkeys(names, 0)
    kept = []
    for turn in rounds(names):
        if all(count >= enough for count in met.values()):
            break
        kept.append(turn)
        for name in (name for pair in turn for name in pair):
            met[name] += 1
    return tuple(kept)


def seconds(nodes: int) -> float:
    """What all rounds take where everything answers, second looks included."""
    return len(meetings([str(node) for node in range(nodes)])) * ROUND


def legs(
    number: int,
    way: str,
    turn: Round[str],
    nodes: Mapping[str, Node],
    tools: Mapping[str, PerftestTool],
    profile: Profile,
    gpus: bool,
) -> tuple[PlannedTransfer, ...]:
    """All transfers of a round in one direction. ``gpus``: the run is on GPUs, and a whole node is this job's."""
    return tuple(
        PlannedTransfer(number, way, *(sides if way == THERE else sides[::-1]))
        for one, other in turn
        for sides in _sides(nodes[one], nodes[other], tools, profile.rails, gpus)
    )


def _sides(
    one: Node, other: Node, tools: Mapping[str, PerftestTool], rails: Rails, gpus: bool
) -> Iterator[tuple[PerftestEnd, PerftestEnd]]:
    """GPU memory is written from GPU memory, or not at all: a mixed pair would be neither figure."""
    pairs = matched(expected_ports(one, rails), expected_ports(other, rails))
    near = [_nearest(node, rails) for node in (one, other)]
    ways = [gpu_access(node, tools[node.name]) for node in (one, other)]
    for ports in pairs:
        found = [near[at].get(port.name) for at, port in enumerate(ports)]
        both = gpus and all(ways) and all(found)
        first, second = (
            PerftestEnd(
                node=node.name,
                hca=port.hca,
                number=port.number,
                numa=port.pci.numa if port.pci else None,
                gpu=gpu[0] if both and gpu else "",
                gpu_address=gpu[1] if both and gpu else "",
                dmabuf=bool(both and way == "dmabuf"),
            )
            for node, port, gpu, way in zip((one, other), ports, found, ways, strict=True)
        )
        yield first, second


def gpu_access(node: Node, tool: PerftestTool) -> str:
    """How perftest reaches GPU memory: ``peermem``, ``dmabuf``, or "" where it does not."""
    if not {"use_cuda", "use_cuda_bus_id"} & set(tool.knows):
        return ""
    if node.host.peermem or node.host.memory_peers:
        return "peermem"
    return "dmabuf" if "use_cuda_dmabuf" in tool.knows and node.host.nvidia_open else ""


def _nearest(node: Node, rails: Rails) -> dict[str, tuple[str, str]]:
    """Rail → index and PCI address of the first GPU that uses it. A GPU may have several."""
    found: dict[str, tuple[str, str]] = {}
    # the second for those that would be rails if they were up
    for own in (
        own_rails(node, rails),
        shared_out(node, [port.name for port in expected_ports(node, rails)]),
    ):
        for gpu, names in zip(node.gpus, own, strict=False):
            for name in names:
                found.setdefault(name, (str(gpu.index), gpu.pci.address if gpu.pci else ""))
    return found
