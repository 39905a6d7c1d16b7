"""What a run folder holds besides its transfers: leaves, symptoms of ports, GPUs inside their nodes.

All of it is optional. What cannot be read adds nothing: it explains a slow transfer, it does not excuse one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

from bench.judge.counter_windows import CounterWindow
from bench.judge.evidence import Evidence, derived
from bench.judge.leaves import leaves, subnet_of
from bench.model.counters import NET, PMA, Certainty, Growth
from bench.model.facts import Node
from bench.model.measurement import Rank
from bench.model.profile import Rails
from bench.model.rails import DeviceUse, Role, members, missing, roles
from bench.model.units import show_rate
from bench.plan.phase_names import INSIDE
from bench.store.rows import Row

from . import Background, NvlinkRate, Symptom

# errors that are counted where they are: what a port received broken, or its own link's. Losses that the
# sender counts wherever they are (timeouts, retransmissions) speak against nobody.
LOCAL = {
    PMA: (
        *("symbol_error", "link_error_recovery", "link_downed", "port_rcv_errors"),
        *("local_link_integrity_errors", "excessive_buffer_overrun_errors"),
    ),
    NET: (
        *("rx_errors", "rx_crc_errors", "rx_frame_errors", "rx_length_errors", "rx_fifo_errors"),
        *("rx_over_errors", "rx_missed_errors", "tx_errors", "tx_carrier_errors", "carrier_down_count"),
    ),
}


@derived
def background(evidence: Evidence) -> Background:
    """The nodes and rails of the whole cluster, so that a missing measurement is seen, and all symptoms."""
    nodes, names = evidence.nodes, evidence.rail_names
    return Background(
        nodes=evidence.manifest.nodes,
        rails=names,
        leaves=leaves(nodes, names, subnet_of(evidence.run)),
        symptoms=tuple(symptoms(nodes, evidence.rails, names, evidence.over_the_run)),
        inside=tuple(inside(evidence.rows, evidence.ranks, names, evidence.gpu_of_rank)),
    )


def symptoms(
    nodes: Sequence[Node], rails: Rails, names: Sequence[str], windows: Iterable[CounterWindow]
) -> Iterator[Symptom]:
    """Links that are down, gone, slower or set otherwise than the same rail elsewhere; errors that grew."""
    of = {rail: [name for name in names if rail in members(name)] for name in names for rail in members(name)}
    wanted = {(node.name, role.name): role for node in nodes for role in _rails(node, rails, of)}
    for node in nodes:
        for rail in missing(node, rails):
            # the profile may leave the port's number out
            own = next((of[each] for each in of if rail in (each, each.partition("/")[0])), [rail])
            yield from (
                Symptom(node.name, name, _of(rail, name, "the node has no such device")) for name in own
            )
    roles_of: dict[str, list[Role]] = {}
    for (_, rail), role in wanted.items():
        roles_of.setdefault(rail, []).append(role)
    usual = {rail: _usual(others) for rail, others in roles_of.items()}
    for (where, rail), role in wanted.items():
        for text in _differences(role, *usual[rail]):
            yield from (Symptom(where, name, _of(rail, name, text)) for name in of[rail])
    for where, rail, text in _grown(set(wanted), windows):
        yield from (Symptom(where, name, _of(rail, name, text)) for name in of[rail])


def _of(rail: str, name: str, text: str) -> str:
    """Which of a GPU's several rails it is."""
    return f"{rail}: {text}" if len(members(name)) > 1 else text


def _rails(node: Node, rails: Rails, names: Iterable[str]) -> Iterator[Role]:
    """The rails of a node, with those that would be rails if their link were up and fast."""
    return (
        role
        for role in roles(node, rails)
        if role.use in (DeviceUse.RAIL, DeviceUse.WEAK) and role.name in names
    )


def _usual(others: Sequence[Role]) -> tuple[float | None, float | None]:
    """The rate and the MTU that most ports of a rail have."""
    rate = _most(other.port.rate for other in others if other.port)
    return rate, _most(other.interface.mtu for other in others if other.interface)


def _differences(role: Role, usual: float | None, mtu: float | None) -> Iterator[str]:
    port, interface = role.port, role.interface
    if port is not None:
        if port.active is False:
            yield f"its state is {port.state}"
        if port.rate is not None and usual is not None and port.rate < usual:
            yield f"its link runs at {show_rate(port.rate, 'Gb/s')}, the others at {show_rate(usual, 'Gb/s')}"
    if interface is not None:
        if interface.operstate not in (None, "up", "unknown"):
            yield f"its state is {interface.operstate}"
        if interface.mtu is not None and mtu is not None and interface.mtu != mtu:
            yield f"its MTU is {interface.mtu}, the others' {mtu:g}"


def _most(values: Iterable[float | None]) -> float | None:
    """The value that more than half have; None where there is no such value."""
    counts = Counter(value for value in values if value is not None)
    value, count = counts.most_common(1)[0] if counts else (None, 0)
    return value if count * 2 > sum(counts.values()) else None


def _grown(wanted: set[tuple[str, str]], windows: Iterable[CounterWindow]) -> Iterator[tuple[str, str, str]]:
    """Errors of a rail's own link over the run: node, rail, words."""
    for window in windows:
        for row in window.moved.changed:
            if (window.node.name, row.subject) in wanted and _is_local(row) and row.growth:
                least = "at least " if row.how is Certainty.SATURATED else ""
                yield window.node.name, row.subject, f"{row.counter} grew by {least}{row.growth}"


def _is_local(row: Growth) -> bool:
    return row.counter in LOCAL.get(row.group, ())


def inside(
    rows: Sequence[Row],
    ranks: Sequence[Rank],
    names: Sequence[str],
    gpus: Mapping[int, int | None],
) -> Iterator[NvlinkRate]:
    """The best rate of each GPU with any neighbour, so that one bad neighbour speaks against no other GPU.

    ``gpus``: the place of each rank's GPU in its node, where that is known; else it is called by its local rank.
    """
    where = {rank.rank: rank for rank in ranks}
    seen_: dict[int, list[float]] = {}
    for row in rows:
        if row.case.phase != INSIDE:
            continue
        for number in row.measurement.ranks:
            rate = 0.0 if row.measurement.extra.failed else row.algbw
            seen_.setdefault(number, []).append(rate)
    for number, rates in seen_.items():
        rank, told = where[number], [rate for rate in rates if math.isfinite(rate)]
        best = median(sorted(told)[-2:]) if told else math.nan
        gpu = gpus.get(number)
        yield NvlinkRate(
            rank.node, names[rank.local_rank], str(rank.local_rank if gpu is None else gpu), best
        )
