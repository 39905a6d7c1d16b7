"""What a run folder tells besides its transfers: leaves, signs on ports, GPUs inside their nodes.

All of it is optional. What cannot be read adds nothing: it explains a slow transfer, it does not excuse one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

from bench.judge.fabric.links import wanted_of
from bench.judge.gpu_of_rank import placed
from bench.model.counters import NET, PMA, Growth, How, grown_between
from bench.model.facts import Node
from bench.model.lines import CounterLine
from bench.model.measurement import Rank
from bench.model.profile import Profile, Rails
from bench.model.rails import (
    DeviceUse,
    Role,
    by_port,
    in_order,
    joined,
    members,
    missing,
    own_rails,
    rails_of,
    roles,
    unique_rail_names,
)
from bench.model.units import show_rate
from bench.plan.names import INSIDE
from bench.probe.fabric.ask_all import from_json, seen
from bench.probe.fabric.subnet import Subnet, attachments
from bench.store import FABRIC, LOGS, Run
from bench.store.rows import Row

from . import Background, Inside, Symptom

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


def rail_names(
    profile: Profile,
    ranks: Sequence[Rank],
    nodes: Sequence[Node] = (),
    gpus: Mapping[int, int | None] | None = None,
) -> tuple[str, ...]:
    """What the rails of each local rank are called: ``mlx5_3/1``, ``mlx5_0/1+mlx5_1/1`` where its GPU has two,
    ``rail 0`` … where that cannot be determined. See ``own_by_rank``.
    """
    return unique_rail_names(own_by_rank(profile, ranks, nodes, gpus))


def own_by_rank(
    profile: Profile,
    ranks: Sequence[Rank],
    nodes: Sequence[Node] = (),
    gpus: Mapping[int, int | None] | None = None,
) -> tuple[tuple[str, ...], ...]:
    """The rails of each local rank: as more than half of the nodes that can tell have them, by the way over PCI.

    ``gpus``: place of each rank's GPU in the facts of its node; its local rank where that is not given. Without facts
    the profile's devices are shared out in order; () where nothing tells.
    """
    count = 1 + max((rank.local_rank for rank in ranks), default=0)
    rails = profile.rails
    if not any(rails_of(node, rails) for node in nodes):
        shared = in_order(rails.devices, profile.gpus) if profile.gpus and by_port(rails) else ()
        own = shared or tuple((device,) for device in rails.devices)
        return (*own[:count], *((),) * (count - len(own)))
    places = gpus or {}
    facts = {node.name: node for node in nodes}
    votes: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(count)]
    for rank in ranks:
        node = facts.get(rank.node)
        if node is None:
            continue
        # gloo takes interfaces in turn, whatever GPUs there are
        in_turn = not node.gpus or (rank.device == "cpu" and not by_port(rails))
        own = tuple((role.name,) for role in rails_of(node, rails)) if in_turn else own_rails(node, rails)
        at = rank.local_rank if in_turn else places.get(rank.rank, rank.local_rank)
        if at is not None and at < len(own) and own[at]:
            votes[rank.local_rank][own[at]] += 1
    chosen = [vote.most_common(1)[0] if vote else ((), 0) for vote in votes]
    return tuple(
        own if 2 * most > sum(vote.values()) else () for vote, (own, most) in zip(votes, chosen, strict=True)
    )


def pins(
    profile: Profile,
    ranks: Sequence[Rank],
    nodes: Sequence[Node],
    gpus: Mapping[int, int | None] | None = None,
) -> dict[str, int]:
    """Every rail that can be measured alone → the local rank whose GPU is next to it, in the order of the local ranks.

    Rails that no rank is next to are dealt out in turn. Empty where the nodes do not call them alike.
    """
    own = own_by_rank(profile, ranks, nodes, gpus)
    found = {rail: at for at, rails in reversed(list(enumerate(own))) for rail in reversed(rails)}
    found = dict(reversed(found.items()))
    alike = Counter(tuple(role.name for role in rails_of(node, profile.rails)) for node in nodes)
    names, most = alike.most_common(1)[0] if alike else ((), 0)
    if 2 * most <= len(nodes):
        return {}
    return found | {name: at % len(own) for at, name in enumerate(names) if name not in found}


def names_in(run: Run, profile: Profile) -> tuple[str, ...]:
    """What the rails of each local rank of a run are called."""
    return rail_names(profile, run.manifest.ranks, run.nodes, placed(run))


def known(run: Run, rows: Sequence[Row], profile: Profile) -> Background:
    """The whole cluster, so that what was not measured is seen to be missing, and all that speaks of it."""
    nodes, gpus = run.nodes, placed(run)
    names = rail_names(profile, run.manifest.ranks, nodes, gpus)
    return Background(
        nodes=run.manifest.nodes,
        rails=names,
        leaves=leaves(nodes, names, fabric_of(run)),
        signs=tuple(signs(nodes, profile.rails, names, run.counters)),
        inside=tuple(inside(rows, run.manifest.ranks, names, gpus)),
    )


def fabric_of(run: Run) -> Subnet | None:
    """The subnet as it was last seen; None where nobody was asked, or what was written is damaged."""
    try:
        lines = (run.path / LOGS / FABRIC).read_text(encoding="utf-8").splitlines()
        return seen(from_json(lines[-1]))
    except (OSError, ValueError, LookupError):
        return None


def leaves(nodes: Iterable[Node], names: Sequence[str], fabric: Subnet | None) -> dict[tuple[str, str], str]:
    """(node, rail) -> the switch that its port hangs on; only what both facts and fabric know. Of a GPU with several
    rails those of all.
    """
    if fabric is None:
        return {}
    on = {each.hca.guid: each.switch for each in attachments(fabric) if each.switch}
    found = {}
    for node in nodes:
        for name in names:
            switches = [
                on.get(wanted.guid) if wanted.guid else None for wanted in wanted_of(node, members(name))
            ]
            of_all = [(switch.name or switch.guid or "") if switch else "" for switch in switches]
            if all(of_all):
                found[node.name, name] = joined(tuple(dict.fromkeys(of_all)))
    return found


def signs(
    nodes: Sequence[Node], rails: Rails, names: Sequence[str], counters: Sequence[CounterLine]
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
    for (where, rail), role in wanted.items():
        others = [other for (_, own), other in wanted.items() if own == rail]
        for text in _odd(role, others):
            yield from (Symptom(where, name, _of(rail, name, text)) for name in of[rail])
    for where, rail, text in _grown(nodes, set(wanted), counters):
        yield from (Symptom(where, name, _of(rail, name, text)) for name in of[rail])


def _of(rail: str, name: str, text: str) -> str:
    """Which of a GPU's several rails it is."""
    return f"{rail}: {text}" if len(members(name)) > 1 else text


def _rails(node: Node, rails: Rails, names: Iterable[str]) -> Iterator[Role]:
    """Those that are rails, and those that would be if their link were up and fast."""
    return (
        role
        for role in roles(node, rails)
        if role.use in (DeviceUse.RAIL, DeviceUse.WEAK) and role.name in names
    )


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
    nodes: Sequence[Node], wanted: set[tuple[str, str]], counters: Sequence[CounterLine]
) -> Iterator[tuple[str, str, str]]:
    """Errors of a rail's own link from the first snapshot of the run to the last: node, rail, words."""
    shots = [line.snapshots for line in counters if line.snapshots]
    if len(shots) < 2:
        return
    for node, before, after in zip(nodes, shots[0], shots[-1], strict=False):
        for row in grown_between(before, after).rows:
            if (node.name, row.subject) in wanted and _is_local(row) and row.growth:
                least = "at least " if row.how is How.SATURATED else ""
                yield node.name, row.subject, f"{row.counter} grew by {least}{row.growth}"


def _is_local(row: Growth) -> bool:
    return row.counter in LOCAL.get(row.group, ())


def inside(
    rows: Sequence[Row],
    ranks: Sequence[Rank],
    names: Sequence[str],
    gpus: Mapping[int, int | None] | None = None,
) -> Iterator[Inside]:
    """What each GPU reached with the best of its neighbours: a bad neighbour speaks against nobody else.

    ``gpus``: the place of each rank's GPU in its node, where that is not its local rank.
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
        gpu = (gpus or {}).get(number)
        yield Inside(rank.node, names[rank.local_rank], str(rank.local_rank if gpu is None else gpu), best)
