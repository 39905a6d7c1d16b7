"""What a run folder tells besides its transfers: leaves, signs on ports, GPUs inside their nodes.

All of it is optional. What cannot be read adds nothing: it explains a slow transfer, it does not excuse one.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from .blame import Inside, Known, Sign
from .counters import NET, PMA, Growth, How, grown_between, read
from .fabric.fabric import Fabric, attachments
from .fabric.judge import from_json, seen
from .fabric.verdicts import wanted_of
from .facts import Node
from .model import Rank
from .plan.names import INSIDE
from .profile import Profile, Rails
from .rails import Part, Role, common_rails, missing, roles
from .rows import Row
from .store import FABRIC, LOGS, Run
from .units import show_rate

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


def rail_names(profile: Profile, ranks: Sequence[Rank], nodes: Sequence[Node] = ()) -> tuple[str, ...]:
    """Rail of each local rank: the profile's devices, else what all ``nodes`` call it, else ``rail 0`` …"""
    devices = profile.rails.devices or common_rails(nodes, profile.rails)
    count = 1 + max((rank.local_rank for rank in ranks), default=0)
    return tuple(devices[i] if i < len(devices) else f"rail {i}" for i in range(count))


def known(run: Run, rows: Sequence[Row], profile: Profile) -> Known:
    """The whole cluster, so that what was not measured is seen to be missing, and all that speaks of it."""
    nodes = run.nodes
    names = rail_names(profile, run.manifest.ranks, nodes)
    return Known(
        nodes=run.manifest.nodes,
        rails=names,
        leaves=leaves(nodes, names, fabric_of(run)),
        signs=tuple(signs(nodes, profile.rails, names, run.counters)),
        inside=tuple(inside(rows, run.manifest.ranks, names)),
    )


def fabric_of(run: Run) -> Fabric | None:
    """The subnet as it was last seen; None where nobody was asked, or what was written is damaged."""
    try:
        lines = (run.path / LOGS / FABRIC).read_text(encoding="utf-8").splitlines()
        return seen(from_json(json.loads(lines[-1])))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def leaves(nodes: Iterable[Node], names: Sequence[str], fabric: Fabric | None) -> dict[tuple[str, str], str]:
    """(node, rail) -> the switch that its port hangs on; only what both facts and fabric know."""
    if fabric is None:
        return {}
    on = {each.hca.guid: each.switch for each in attachments(fabric) if each.switch}
    found = {}
    for node in nodes:
        for rail, wanted in zip(names, wanted_of(node, names), strict=True):
            switch = on.get(wanted.guid) if wanted.guid else None
            if switch:
                found[node.name, rail] = switch.name or switch.guid or ""
    return {port: leaf for port, leaf in found.items() if leaf}


def signs(
    nodes: Sequence[Node], rails: Rails, names: Sequence[str], counters: Sequence[dict[str, object]]
) -> Iterator[Sign]:
    """Links that are down, gone, slower or set otherwise than the same rail elsewhere; errors that grew."""
    wanted = {(node.name, role.name): role for node in nodes for role in _rails(node, rails, names)}
    for node in nodes:
        for rail in missing(node, rails):
            yield Sign(node.name, rail, "the node has no such device")
    for (name, rail), role in wanted.items():
        others = [other for (_, own), other in wanted.items() if own == rail]
        yield from (Sign(name, rail, text) for text in _odd(role, others))
    yield from _grown(nodes, set(wanted), counters)


def _rails(node: Node, rails: Rails, names: Sequence[str]) -> Iterator[Role]:
    """Those that are rails, and those that would be if their link were up and fast."""
    return (role for role in roles(node, rails) if role.part in (Part.RAIL, Part.WEAK) and role.name in names)


def _odd(role: Role, others: Sequence[Role]) -> Iterator[str]:
    port, interface = role.port, role.interface
    if port is not None:
        if port.active is False:
            yield f"its state is {port.state}"
        usual = _most(other.port.rate for other in others if other.port)
        if port.rate is not None and usual is not None and port.rate < usual:
            yield f"its link runs at {show_rate(port.rate, 'Gb/s')}, the others at {show_rate(usual, 'Gb/s')}"
    if interface is not None:
        if interface.operstate not in (None, "up", "unknown"):
            yield f"its state is {interface.operstate}"
        mtu = _most(other.interface.mtu for other in others if other.interface)
        if interface.mtu is not None and mtu is not None and interface.mtu != mtu:
            yield f"its MTU is {interface.mtu}, the others' {mtu:g}"


def _most(values: Iterable[float | None]) -> float | None:
    """What more than half of them have; None where there is no such value."""
    counts = Counter(value for value in values if value is not None)
    value, count = counts.most_common(1)[0] if counts else (None, 0)
    return value if count * 2 > sum(counts.values()) else None


def _grown(
    nodes: Sequence[Node], wanted: set[tuple[str, str]], counters: Sequence[dict[str, object]]
) -> Iterator[Sign]:
    """Errors of a rail's own link from the first snapshot of the run to the last."""
    shots = [line["snapshots"] for line in counters if line.get("snapshots")]
    if len(shots) < 2:
        return
    first, last = shots[0], shots[-1]
    assert isinstance(first, list) and isinstance(last, list)
    for node, before, after in zip(nodes, first, last, strict=False):
        try:
            moved = grown_between(read(before), read(after))
        except ValueError:
            continue  # the check on the counters says that they are damaged
        for row in moved.rows:
            if (node.name, row.subject) in wanted and _is_local(row) and row.growth:
                least = "at least " if row.how is How.SATURATED else ""
                yield Sign(node.name, row.subject, f"{row.counter} grew by {least}{row.growth}")


def _is_local(row: Growth) -> bool:
    return row.counter in LOCAL.get(row.group, ())


def inside(rows: Sequence[Row], ranks: Sequence[Rank], names: Sequence[str]) -> Iterator[Inside]:
    """What each GPU reached with the best of its neighbours: a bad neighbour speaks against nobody else."""
    where = {rank.rank: rank for rank in ranks}
    seen_: dict[int, list[float]] = {}
    for row in rows:
        if row.case.phase != INSIDE:
            continue
        for number in row.measurement.ranks:
            rate = 0.0 if "failed" in row.measurement.extra else row.algbw
            seen_.setdefault(number, []).append(rate)
    for number, rates in seen_.items():
        rank, told = where[number], [rate for rate in rates if math.isfinite(rate)]
        best = median(sorted(told)[-2:]) if told else math.nan
        yield Inside(rank.node, names[rank.local_rank], str(rank.local_rank), best)
