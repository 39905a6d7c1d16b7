"""What a lab is: names, addresses, and the steps that make it and make it healthy again. Pure.

Node X is a network namespace. ``eth0`` is management (198.18.0.10+X), ``ethR`` is rail R
(198.18.R.10+X); 198.18.0.0/15 is the range kept for benchmarks (RFC 2544). Rail R of every node ends
on bridge ``swR`` in a namespace of its own, ``sw``, at the port ``nXrR``. There is no route out of it
and no interface that leads out, so no packet can leave.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

SWITCH = "sw"
MANAGEMENT_MTU = 1500
# A rail's packets have at most so many segments (the kernel would hand on 45 as one): a lost packet is
# then a small loss, and a shaper's burst can be small.
SEGMENTS = 4
SLACK = 0.003  # s that a shaper may be late without losing rate
FLAP_GOOD, FLAP_BAD = 2.0, 1.0  # s that a flapping rail is as it should be, and is not
QUEUE = 4 << 20  # bytes that wait before a shaped port
# Bytes per second of one tc unit; tc counts in powers of 1000.
_UNITS = {"kbit": 1_000 / 8, "mbit": 1_000_000 / 8, "gbit": 1_000_000_000 / 8}
MAX_NODES, MAX_RAILS = 200, 64
# Interfaces that many nodes have with one address on all: Docker's, a container runtime's, a BMC's, and one whose name
# tells nothing.
BRIDGES = {
    "docker0": "172.17.0.1/16",
    "cbr0": "10.88.0.1/16",
    "bmc0": "169.254.0.18/16",
    "local0": "10.0.0.1/24",
}


class LabError(Exception):
    """Something a person can act on; the message says what, and the next step."""


class Step(NamedTuple):
    """One thing to do in one namespace: ``tool`` is ip, tc, nft, sysctl, cpu, memory or freeze, ``text`` its input.

    sh: a script that goes on until ``heal``, in the switch's namespace, where nothing else runs.
    mend: as ip, each line by itself: what is as it should be already refuses it.
    """

    tool: str
    where: str
    text: str


@dataclass(frozen=True)
class Lab:
    """``rate`` is bytes per second of a rail in each direction, None for as fast as the kernel goes."""

    name: str = "lab"
    nodes: int = 3
    rails: int = 2
    rate: float | None = _UNITS["mbit"] * 100
    mtu: int = 1500

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]{1,12}", self.name):
            raise LabError(f"lab name {self.name!r} is not 1 to 12 of a-z and 0-9")
        for what, value, low, high in (
            ("nodes", self.nodes, 1, MAX_NODES),
            ("rails", self.rails, 1, MAX_RAILS),
            ("mtu", self.mtu, 576, 65_000),
        ):
            if not low <= value <= high:
                raise LabError(f"{what} is {value}, wanted {low} to {high}")

    @property
    def node_names(self) -> tuple[str, ...]:
        return tuple(f"n{index}" for index in range(self.nodes))

    def node(self, name: str) -> str:
        """``name`` if it is a node of this lab; LabError lists those that are."""
        if name not in self.node_names:
            raise LabError(
                f"node {name!r} is not in lab {self.name!r}, which has: {', '.join(self.node_names)}"
            )
        return name

    def rail(self, text: str) -> int:
        """The rail's number; LabError lists those there are."""
        if text not in map(str, range(1, self.rails + 1)):
            raise LabError(f"rail {text!r} is not in lab {self.name!r}, which has: 1 to {self.rails}")
        return int(text)

    def links(self) -> Iterator[tuple[str, int]]:
        """Every node with every one of its interfaces, 0 (management) first."""
        return ((node, rail) for node in self.node_names for rail in range(self.rails + 1))


def prefix(name: str) -> str:
    """How the names of this lab's namespaces and cgroups start; unambiguous, as a lab's name has no dash."""
    return f"railgauge-{name}-"


def namespace(lab: Lab, where: str) -> str:
    """The name that ``ip netns list`` shows for a node or for the switch."""
    return prefix(lab.name) + where


def address(node: str, rail: int) -> str:
    """``198.18.2.11`` of n1 on rail 2."""
    return f"198.18.{rail}.{10 + int(node[1:])}"


def port(node: str, rail: int) -> str:
    """The switch's side of a node's cable."""
    return f"{node}r{rail}"


def hosts(lab: Lab) -> str:
    """/etc/hosts of every node: names stand for management addresses."""
    return "127.0.0.1 localhost\n" + "".join(f"{address(node, 0)} {node}\n" for node in lab.node_names)


def slots(lab: Lab) -> str:
    """A host file of all nodes: one rank a rail."""
    return "".join(f"{node} slots={lab.rails}\n" for node in lab.node_names)


def parse_rate(text: str) -> float | None:
    """Bytes per second of ``200mbit``, ``2.5gbit``; None for ``none``."""
    if text == "none":
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(kbit|mbit|gbit)", text)
    rate = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if rate < _UNITS["kbit"]:
        raise LabError(f"{text!r} is not a rate; write it as tc does, such as 200mbit or 2gbit, or none")
    return rate


def show_rate(rate: float | None) -> str:
    """``200mbit`` of 25e6 bytes per second."""
    return "none" if rate is None else f"{rate / _UNITS['mbit']:g}mbit"


def qdisc(rate: float | None) -> str:
    """tc's words for a port of ``rate``.

    The burst lets a short message pass faster than the rate, and makes up for a shaper that woke late on
    a busy machine: SLACK seconds, and at least a few packets. The queue holds a whole message of the
    acceptance: a port that is only slow drops nothing, so what is sent again tells of loss alone.
    """
    if rate is None:
        return "noqueue"
    burst = int(max(SEGMENTS * 3 * MANAGEMENT_MTU, rate * SLACK))
    return f"tbf rate {rate:.0f}bps burst {burst} limit {burst + QUEUE}"


def shape(node: str, rail: int, rate: float | None, directions: str = "tx rx") -> tuple[Step, ...]:
    """A rail's rate: tx is shaped where the node sends, rx where the switch sends to the node."""
    ends = {"tx": (node, f"eth{rail}"), "rx": (SWITCH, port(node, rail))}
    return tuple(
        Step("tc", where, f"qdisc replace dev {device} root {qdisc(rate)}")
        for where, device in (ends[direction] for direction in directions.split())
    )


# The kernel may offer a namespace nothing but reno and its own default, and where that default is bbr a
# lossy rail stays as fast as a healthy one. reno is always allowed, so every kernel shows the same.
_SYSCTLS = """\
net/ipv6/conf/all/disable_ipv6=1
net/ipv6/conf/default/disable_ipv6=1
net/ipv4/conf/all/arp_ignore=1
net/ipv4/conf/all/arp_announce=2
net/ipv4/tcp_congestion_control=reno"""


def build(lab: Lab) -> tuple[Step, ...]:
    """From fresh namespaces to cables plugged in; ``settle`` brings the links up."""
    steps = [Step("sysctl", where, _SYSCTLS) for where in (SWITCH, *lab.node_names)]
    bridges = [
        f"link add sw{rail} type bridge stp_state 0 forward_delay 0 mcast_snooping 0" for rail in rails(lab)
    ]
    steps.append(Step("ip", SWITCH, "\n".join(bridges)))
    for node, rail in lab.links():
        steps.append(
            Step("ip", node, f"{cable(lab, node, rail)}\naddr add {address(node, rail)}/24 dev eth{rail}")
        )
    return merged(steps)


def settle(lab: Lab) -> tuple[Step, ...]:
    """Every port healthy: the end of ``up``, and all of ``heal``. Doing it twice changes nothing."""
    steps = [Step("mend", node, "\n".join(_as_built(lab, node))) for node in lab.node_names]
    steps += [Step("nft", where, nothing_dropped()) for where in (SWITCH, *lab.node_names)]
    steps += [Step("ip", SWITCH, f"link set sw{rail} mtu {mtu(lab, rail)} up") for rail in rails(lab)]
    steps += [Step("ip", node, "link set lo up") for node in lab.node_names]
    for node, rail in lab.links():
        if rail:  # management keeps its address: a launcher may be connected over it
            own = f"addr flush dev eth{rail}\naddr add {address(node, rail)}/24 dev eth{rail}"
            steps.append(Step("ip", node, own))
        few = f" gso_max_segs {SEGMENTS}" if rail else ""
        steps.append(Step("ip", node, f"link set eth{rail} mtu {mtu(lab, rail)}{few} up"))
        steps.append(
            Step("ip", SWITCH, f"link set {port(node, rail)} mtu {mtu(lab, rail)} master sw{rail} up")
        )
        steps += shape(node, rail, lab.rate if rail else None)
    alone = (f"link set {port(node, 0)} type bridge_slave isolated off" for node in lab.node_names)
    return merged([*steps, *(Step("ip", SWITCH, text) for text in alone)])


def _as_built(lab: Lab, node: str) -> Iterator[str]:
    """Every interface under its name again, and none beside them."""
    for name in BRIDGES:
        yield f"link del {name}"
    for rail in rails(lab)[1:]:
        for name in (renamed(rail), pods(rail)):
            yield f"link set {name} down"
            yield f"link set {name} name eth{rail}"
        yield cable(lab, node, rail)


def cable(lab: Lab, node: str, rail: int) -> str:
    """ip's words for an interface of a node that ends at the switch."""
    return f"link add eth{rail} type veth peer name {port(node, rail)} netns {namespace(lab, SWITCH)}"


def renamed(rail: int) -> str:
    """A name as another driver or another slot would give it."""
    return f"enp{64 + rail}s0"


def pods(rail: int) -> str:
    """As newer pods of RunPod call it."""
    return f"ens{rail}"


def rails(lab: Lab) -> range:
    """Management, then every rail."""
    return range(lab.rails + 1)


def mtu(lab: Lab, rail: int) -> int:
    return lab.mtu if rail else MANAGEMENT_MTU


def dropped(node: str, rail: int, which: str) -> tuple[Step, ...]:
    """Drops ``which`` packets (nft's words) of those that arrive at either end of a cable.

    Ingress at both ends: the egress hook needs a newer kernel. Nothing in the interface's own
    counters tells of it, as when a switch in a real fabric drops.
    """
    return tuple(
        Step(
            "nft",
            where,
            f"table netdev drops {{\nchain {device} {{\n"
            f"type filter hook ingress device {device} priority 0;\n{which} counter drop\n}}\n}}",
        )
        for where, device in ((SWITCH, port(node, rail)), (node, f"eth{rail}"))
    )


def at_random(share: float) -> str:
    """nft's words for this share of all packets."""
    return f"numgen random mod 100000 <= {max(round(share * 100_000), 1) - 1}"


def nothing_dropped() -> str:
    """nft's words to be rid of all drops in a namespace, whether there were any or not."""
    return "table netdev drops {}\ndelete table netdev drops"


def flapping(lab: Lab, node: str, rail: int, rate: float | None) -> Step:
    """A port that runs at ``rate`` for one second of every three; its queues stay as they are."""

    def change(speed: float | None) -> str:
        ends = ((node, f"eth{rail}"), (SWITCH, port(node, rail)))
        return "; ".join(
            f"tc -n {namespace(lab, where)} qdisc change dev {device} root {qdisc(speed)}"
            for where, device in ends
        )

    text = f"while sleep {FLAP_GOOD:g}; do {change(rate)}; sleep {FLAP_BAD:g}; {change(lab.rate)}; done"
    return Step("sh", SWITCH, text)


def merged(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The same work with one call of a tool per place; tools and places in order of first appearance."""
    texts: dict[tuple[str, str], list[str]] = {}
    for step in steps:
        texts.setdefault((step.tool, step.where), []).append(step.text)
    return tuple(Step(tool, where, "\n".join(lines)) for (tool, where), lines in texts.items())
