"""The faults that can be planted, one row each, and the steps that plant them. Pure.

Several may be planted at once; ``heal`` (plan.settle, with every node thawed and unlimited) undoes all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from netlab.plan import (
    BRIDGES,
    SWITCH,
    Lab,
    LabError,
    Step,
    address,
    at_random,
    dropped,
    flapping,
    parse_rate,
    pods,
    port,
    rails,
    renamed,
    shape,
)


@dataclass(frozen=True)
class Fault:
    """One row. ``argument`` is what ARG means, "" if the fault takes none; ``default`` is in ARG's words.

    ``needs`` is the cgroup power it rests on ("freeze", "cpu" or ""). ``steps`` gets the lab, the node ("" where
    ``everywhere``: all nodes have it, and it is nobody's fault), the rail (0 where ``on_rail`` is false) and ARG.
    ``aside``: the node is set aside, and the others are measured. ``nodes`` of the lab that shows it.
    """

    name: str
    does: str
    seen: str
    steps: Callable[[Lab, str, int, str], tuple[Step, ...]]
    on_rail: bool = True
    argument: str = ""
    default: str = ""
    needs: str = ""
    everywhere: bool = False
    aside: bool = False
    nodes: int = 3

    @property
    def usage(self) -> str:
        """``slow-rail NODE RAIL [RATE=50%]``."""
        words = [self.name] + ["NODE"] * (not self.everywhere) + ["RAIL"] * self.on_rail
        return " ".join(words + [f"[{self.argument.upper()}={self.default}]"] * bool(self.argument))


def plant(lab: Lab, kind: str, words: list[str]) -> tuple[Step, ...]:
    """The steps of fault ``kind``, given NODE [RAIL] [ARG]; LabError says what is wrong with them."""
    if kind not in FAULTS:
        raise LabError(f"fault {kind!r} is unknown; known: {', '.join(FAULTS)}")
    fault = FAULTS[kind]
    least = (not fault.everywhere) + fault.on_rail
    if not least <= len(words) <= least + bool(fault.argument):
        raise LabError(f"{' '.join([kind, *words])!r} is not understood; usage: {fault.usage}")
    node = "" if fault.everywhere else lab.node(words[0])
    rail = lab.rail(words[1]) if fault.on_rail else 0
    argument = words[least] if len(words) > least else fault.default
    return fault.steps(lab, node, rail, argument)


def _share(text: str, what: str) -> float:
    """0.5 of ``50%``; more than none and at most all."""
    try:
        share = float(text.removesuffix("%")) / 100 if text.endswith("%") else -1.0
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise LabError(f"{what} {text!r} is not a share; write it in percent, above 0% and up to 100%")
    return share


def _slower(lab: Lab, text: str) -> float | None:
    """A rate, or a share of the lab's rate."""
    if not text.endswith("%"):
        return parse_rate(text)
    if lab.rate is None:
        raise LabError(
            f"the rails of lab {lab.name!r} are not shaped, so {text} of their rate is not known; give a rate"
        )
    return lab.rate * _share(text, "rate")


def _number(text: str, what: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise LabError(f"{what} {text!r} is not a number from {low:g} to {high:g}")
    return value


def _slow(directions: str) -> Callable[[Lab, str, int, str], tuple[Step, ...]]:
    return lambda lab, node, rail, rate: shape(node, rail, _slower(lab, rate), directions)


def _slow_node(lab: Lab, node: str, _rail: int, rate: str) -> tuple[Step, ...]:
    return tuple(step for rail in rails(lab)[1:] for step in shape(node, rail, _slower(lab, rate)))


def _flapping(lab: Lab, node: str, rail: int, rate: str) -> tuple[Step, ...]:
    if lab.rate is None:
        raise LabError(f"the rails of lab {lab.name!r} are not shaped, so none can flap; give --rate")
    return (flapping(lab, node, rail, _slower(lab, rate)),)


def _half_open(_lab: Lab, node: str, rail: int, _argument: str) -> tuple[Step, ...]:
    return dropped(node, rail, "meta length > 0")[:1]


def _on_one_path(lab: Lab, node: str, rail: int, share: str) -> tuple[Step, ...]:
    """Random losses on the way between a node and the next one, in both directions; its other ways are good."""
    here, there = address(node, rail), address(next_node(lab, node), rail)
    lost = at_random(_share(share, "loss"))
    return (
        dropped(node, rail, f"ip daddr {there} {lost}")[0],
        dropped(node, rail, f"ip saddr {there} ip daddr {here} {lost}")[1],
    )


def _duplicate(lab: Lab, node: str, rail: int, _argument: str) -> tuple[Step, ...]:
    own, other = address(node, rail), address(next_node(lab, node), rail)
    return (Step("ip", node, f"addr del {own}/24 dev eth{rail}\naddr add {other}/24 dev eth{rail}"),)


def _renamed(node: str, rail: int, name: str) -> Step:
    device = f"eth{rail}"
    lines = (f"set {device} down", f"set {device} name {name}", f"set {name} up")
    return Step("ip", node, "\n".join(f"link {line}" for line in lines))


def _isolated(lab: Lab, _node: str, _rail: int, _argument: str) -> tuple[Step, ...]:
    alone = "type bridge_slave isolated on"
    return (
        *(Step("ip", SWITCH, f"link set {port(node, 0)} {alone}") for node in lab.node_names),
        *(_renamed(node, rail, pods(rail)) for node, rail in lab.links() if rail),
    )


def _bridges(lab: Lab, _node: str, _rail: int, _argument: str) -> tuple[Step, ...]:
    made = "\n".join(
        f"link add {name} type bridge\naddr add {own} dev {name}\nlink set {name} up"
        for name, own in BRIDGES.items()
    )
    return tuple(Step("ip", node, made) for node in lab.node_names)


def next_node(lab: Lab, node: str) -> str:
    """The node after this one; after the last the first."""
    names = lab.node_names
    return names[(names.index(node) + 1) % len(names)]


def _mtu(text: str) -> int:
    return int(_number(text, "mtu", 576, 65_000))


def _swapped(lab: Lab, node: str, rail: int, other: str) -> tuple[Step, ...]:
    second = rail % lab.rails + 1 if other == "next" else lab.rail(other)
    if second == rail:
        raise LabError(f"rail {rail} cannot be swapped with itself; name another rail")
    ports = ((port(node, rail), second), (port(node, second), rail))
    # Down and up: the node's kernel sees the carrier go, and forgets its neighbours.
    return (
        *(Step("ip", SWITCH, f"link set {name} down") for name, _ in ports),
        *(Step("ip", SWITCH, f"link set {name} master sw{target} up") for name, target in ports),
    )


def _dead(lab: Lab, node: str, _rail: int, _argument: str) -> tuple[Step, ...]:
    unplug = tuple(Step("ip", SWITCH, f"link set {port(node, rail)} down") for rail in rails(lab))
    return (*unplug, Step("freeze", node, "1"))


FAULTS = {
    fault.name: fault
    for fault in (
        Fault(
            "slow-rail",
            "the rail's port runs at a share of its rate, or at a rate",
            "this rail is slow to and from this node alone; no counter tells",
            _slow("tx rx"),
            argument="rate",
            default="50%",
        ),
        Fault(
            "slow-tx",
            "the same, but only what the node sends",
            "slow from this node only: one direction at a time shows which",
            _slow("tx"),
            argument="rate",
            default="50%",
        ),
        Fault(
            "slow-rx",
            "the same, but only what the node receives",
            "slow to this node only: one direction at a time shows which",
            _slow("rx"),
            argument="rate",
            default="50%",
        ),
        Fault(
            "lossy-rail",
            "packets are dropped at random, in both directions",
            "RetransSegs in /proc/net/snmp grows; tx_dropped and rx_dropped stay 0",
            lambda _lab, node, rail, share: dropped(node, rail, at_random(_share(share, "loss"))),
            argument="loss",
            default="1%",
        ),
        Fault(
            "flapping",
            "the rail's port runs at a share of its rate for one second of every three",
            "measured once, or again, it may be as fast as it should be",
            _flapping,
            argument="rate",
            default="25%",
        ),
        Fault(
            "one-path-loss",
            "packets are dropped at random between the node and the next one",
            "both nodes are good with all others: the path between them is not",
            _on_one_path,
            argument="loss",
            default="3%",
        ),
        Fault(
            "half-open",
            "what the node sends on the rail is lost, what it receives arrives",
            "carrier 1 and operstate up at both ends, yet nothing answers on this rail of the node",
            _half_open,
            aside=True,
        ),
        Fault(
            "duplicate-address",
            "the rail has the address of the next node's",
            "two nodes with one address: who answers is chance",
            _duplicate,
            aside=True,
            nodes=4,  # the kernel of the node that is set aside may still answer: then the other one is set aside too
        ),
        Fault(
            "rail-down",
            "the cable is pulled",
            "carrier 0, operstate down; peers: no route to host",
            lambda _lab, node, rail, _: (Step("ip", SWITCH, f"link set {port(node, rail)} down"),),
            aside=True,
        ),
        Fault(
            "admin-down",
            "the interface is switched off on the node",
            "operstate down, carrier cannot be read; on the node: network is unreachable",
            lambda _lab, node, rail, _: (Step("ip", node, f"link set eth{rail} down"),),
            aside=True,
        ),
        Fault(
            "renamed",
            "the interface has another name on this node",
            "no interface of the rail's name, and one that nobody asked for",
            lambda _lab, node, rail, _: (_renamed(node, rail, renamed(rail)),),
            aside=True,
        ),
        Fault(
            "missing",
            "the interface is not there",
            "no interface of the rail's name",
            lambda _lab, node, rail, _: (Step("ip", node, f"link del eth{rail}"),),
            aside=True,
        ),
        Fault(
            "isolated-management",
            "eth0 of all nodes is up and reaches no other node, and rails are called ens1…, as on RunPod",
            "nothing fails: rails are found, and everybody meets over the first, which the launcher names",
            _isolated,
            on_rail=False,
            everywhere=True,
        ),
        Fault(
            "bridges",
            "every node has a docker0, a cbr0 and more, with one address on all nodes",
            "nothing fails: these addresses lead to the node itself",
            _bridges,
            on_rail=False,
            everywhere=True,
        ),
        Fault(
            "wrong-mtu",
            "the node's interface has another MTU than its peers",
            "mtu differs; TCP agrees on the smaller one, so traffic goes on",
            lambda _lab, node, rail, size: (Step("ip", node, f"link set eth{rail} mtu {_mtu(size)}"),),
            argument="mtu",
            default="1000",
        ),
        Fault(
            "black-hole",
            "the cable's way carries smaller packets than its ends are set to",
            "big packets vanish: connections come up, then hang; the mtu of the node is right",
            lambda _lab, node, rail, size: dropped(node, rail, f"meta length > {_mtu(size)}"),
            argument="mtu",
            default="1000",
        ),
        Fault(
            "swapped-rails",
            "the cables of two rails are swapped",
            "carrier 1 on both, yet no peer can be reached: no route to host",
            _swapped,
            argument="rail2",
            default="next",
        ),
        Fault(
            "slow-node",
            "every rail of the node runs at a share of its rate, or at a rate",
            "every rail is slow to and from this node alone",
            _slow_node,
            on_rail=False,
            argument="rate",
            default="30%",
        ),
        Fault(
            "slow-cpu",
            "the node's processes share this many cores",
            "computing takes longer there; nr_throttled grows in the cgroup's cpu.stat",
            lambda _lab, node, _rail, cores: (Step("cpu", node, f"{_number(cores, 'cores', 0.01, 1024):g}"),),
            on_rail=False,
            argument="cores",
            default="0.2",
            needs="cpu",
        ),
        Fault(
            "little-memory",
            "the node's processes may use so many megabytes together",
            "the kernel kills one that wants more; oom_kill grows in the cgroup's memory.events",
            lambda _lab, node, _rail, size: (
                Step("memory", node, f"{int(_number(size, 'megabytes', 8, 1e7)) << 20}"),
            ),
            on_rail=False,
            argument="megabytes",
            default="900",
            needs="memory",
        ),
        Fault(
            "frozen",
            "every process of the node stops; its kernel goes on answering",
            "its links are up, its ranks say nothing; peers time out",
            lambda _lab, node, _rail, _: (Step("freeze", node, "1"),),
            on_rail=False,
            needs="freeze",
        ),
        Fault(
            "dead",
            "every process of the node stops and every cable is pulled, management too",
            "peers time out; no answer at all",
            _dead,
            on_rail=False,
            needs="freeze",
        ),
    )
}
