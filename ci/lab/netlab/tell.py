"""What a lab looks like from outside: interfaces with their counters, retransmissions, processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netlab import kernel
from netlab.plan import Lab, LabError, namespace

SNMP = Path("/proc/net/snmp")


@dataclass(frozen=True)
class Interface:
    """``carrier`` is None where the kernel does not say (admin down). Counters are bytes and packets."""

    node: str
    name: str
    operstate: str
    carrier: bool | None
    mtu: int
    tx_bytes: int
    rx_bytes: int
    tx_dropped: int
    rx_dropped: int


def parse_links(node: str, text: str) -> list[Interface]:
    """``ip -s -j link`` of a node, without lo."""
    try:
        rows = json.loads(text)
        if not isinstance(rows, list):
            raise TypeError(f"{type(rows).__name__} in place of a list")
        return [_interface(node, row) for row in rows if row["ifname"] != "lo"]
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(f"node {node}: the output of ip -s -j link is not understood: {error!r}") from error


def _interface(node: str, row: dict) -> Interface:  # type: ignore[type-arg]
    sent, received, flags = row["stats64"]["tx"], row["stats64"]["rx"], row["flags"]
    return Interface(
        node=node,
        name=row["ifname"],
        operstate=row["operstate"].lower(),
        carrier="NO-CARRIER" not in flags if "UP" in flags else None,
        mtu=row["mtu"],
        tx_bytes=sent["bytes"],
        rx_bytes=received["bytes"],
        tx_dropped=sent["dropped"],
        rx_dropped=received["dropped"],
    )


def parse_retransmissions(text: str) -> int:
    """RetransSegs of /proc/net/snmp; LabError where it is not."""
    lines = [line.split() for line in text.splitlines() if line.startswith("Tcp:")]
    if len(lines) != 2 or "RetransSegs" not in lines[0] or len(lines[0]) != len(lines[1]):
        raise LabError("/proc/net/snmp has no Tcp RetransSegs")
    return int(lines[1][lines[0].index("RetransSegs")])


def interfaces(lab: Lab) -> list[Interface]:
    """Every interface of every node, in order."""
    out = []
    for node in lab.node_names:
        out += parse_links(node, kernel.run(["ip", "-n", namespace(lab, node), "-s", "-j", "link"]))
    return sorted(out, key=lambda link: (int(link.node[1:]), int(link.name.removeprefix("eth"))))


def retransmissions(lab: Lab, node: str) -> int:
    """TCP segments the node has sent again since ``up``."""
    with kernel.inside(namespace(lab, node)):
        return parse_retransmissions(SNMP.read_text())


def stat_lines(lab: Lab) -> Iterator[str]:
    """The table that ``stat`` prints; bytes are whole, so that a difference can be taken."""
    counters = f"{'tx bytes':>15}{'rx bytes':>15}{'tx drop':>9}{'rx drop':>9}"
    yield f"{'node':6}{'if':6}{'state':16}{'carrier':>7}{'mtu':>7}{counters}"
    for link in interfaces(lab):
        carrier = "-" if link.carrier is None else str(int(link.carrier))
        yield (
            f"{link.node:6}{link.name:6}{link.operstate:16}{carrier:>7}{link.mtu:>7}"
            f"{link.tx_bytes:>15}{link.rx_bytes:>15}{link.tx_dropped:>9}{link.rx_dropped:>9}"
        )
    yield "retransmitted segments: " + ", ".join(
        f"{node} {retransmissions(lab, node)}" for node in lab.node_names
    )


def ps_lines(lab: Lab) -> Iterator[str]:
    """``n1 4711 S python3 …`` of every process on a node."""
    names = {namespace(lab, node): node for node in lab.node_names}
    for pid, name in sorted(kernel.processes(names).items(), key=lambda item: (names[item[1]], item[0])):
        if line := kernel.command(pid):
            yield f"{names[name]} {pid} {line}"
