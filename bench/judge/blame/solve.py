"""Loss of every transfer -> the fewest bottlenecks that explain it.

A transfer is as slow as the worst thing it goes through, so effects do not add up: they hide each
other. Hence from the general to the particular, and the deepest first: slow rails, then ports (the
worst is taken out and its partners are judged again without it), ports of one node folded into the
node, ports of one leaf into the leaf, and what is left over are paths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bench.judge.blame.matrix import Floats, Matrix, cells
from bench.judge.blame.scale import MAD, Scale, centre, low
from bench.judge.blame.suspects import Subject
from bench.model.late_dataclass import dataclass, replace

Leaves = Mapping[tuple[str, str], str]
OPPOSITE = {"tx": "rx", "rx": "tx", "both": "both"}


@dataclass(frozen=True)
class Fault:
    """A bottleneck. ``lost``: its share of the reference; ``rivals`` fit the same transfers as well; ``ways``: a
    port's loss sending and receiving.
    """

    subject: Subject
    lost: float
    rivals: tuple[Subject, ...] = ()
    ways: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class _Slow:
    """A slow port on one rail, by index; ``peer`` >= 0 when only transfers with that node speak for it."""

    node: int
    way: str
    lost: float
    ways: tuple[float, float]
    peer: int = -1
    peer_clear: bool = False


def solve(
    loss: Floats, times: Floats, m: Matrix, scale: Scale, leaves: Leaves, *, fold: bool = True
) -> list[Fault]:
    """The faults behind ``loss`` [R, N, N] (NaN not measured), deepest first.

    times   [R, N, N] how many measurements each loss is the middle of
    leaves  leaf of (node, rail); empty when nobody knows
    fold    many slow paths of one port become that port; not for suspects, where most are noise
    """
    rails = _slow_rails(loss, m, scale)
    base = np.array([next((f.lost for f in rails if f.subject.rail == rail), 0.0) for rail in m.rails])
    ports = _ports(loss - base[:, None, None], times, base, m, scale)
    nodes, ports = _fold_nodes(ports, base, m, scale, loss)
    folded, ports = _fold_leaves(ports, {fault.subject.node for fault in nodes}, leaves)
    known = [*rails, *nodes, *folded, *ports]
    left = _unexplained(loss, known, base, m, leaves)
    paths = _paths(left, loss, times, m, scale)
    often, paths = _fold_paths(paths, m) if fold else ([], paths)
    return sorted([*known, *often, *paths], key=lambda fault: -fault.lost)


def _slow_rails(loss: Floats, m: Matrix, scale: Scale) -> list[Fault]:
    """Rails whose fast pairs are slow; two nodes cannot show a rail, they have one pair on it."""
    found = []
    for index, rail in enumerate(m.rails if len(m.nodes) > 2 and len(m.rails) > 1 else ()):
        seen = loss[index][np.isfinite(loss[index])]
        if not seen.size:
            continue
        middle = centre(1 - seen, scale.noise)
        lost = 1.0 if np.isnan(middle) else 1 - middle
        if lost > scale.floor(np.array(max(seen.size * 0.25, 1.0))):
            found.append(Fault(Subject("rail", rail=rail), float(lost)))
    return found


def _ports(loss: Floats, times: Floats, base: Floats, m: Matrix, scale: Scale) -> list[Fault]:
    """The slow ports of all rails; only rails where one stands out are searched."""
    depth, floor = _depths(loss, times, scale)
    with np.errstate(invalid="ignore"):
        touched = (depth > floor).any(axis=1)
    return [
        _port_fault(slow, m, m.rails[rail], float(base[rail]))
        for rail in np.flatnonzero(touched)
        for slow in _slow_ports(loss[rail], times[rail], scale)
    ]


def _depths(loss: Floats, times: Floats, scale: Scale) -> tuple[Floats, Floats]:
    """(loss, floor) [..., 2N] of every port of [..., N, N]: first all as senders, then all as receivers."""
    tx, sent = low(loss, scale.noise)
    rx, received = low(loss.swapaxes(-1, -2), scale.noise)
    # measured again, few partners prove as much as many
    weight = np.where(np.isfinite(loss), times, 0.0)
    sent = np.where(sent > 2, sent, weight.sum(axis=-1))
    received = np.where(received > 2, received, weight.sum(axis=-2))
    return np.concatenate([tx, rx], axis=-1), scale.floor(np.concatenate([sent, received], axis=-1))


def _slow_ports(loss: Floats, times: Floats, scale: Scale) -> list[_Slow]:
    """Slow ports of one rail's ``loss`` [N, N], deepest first, each judged without the deeper ones."""
    left, found, n = loss.copy(), list[_Slow](), len(loss)
    while True:
        seen, floor = _depths(left, times, scale)
        with np.errstate(invalid="ignore"):
            depth = np.where(seen > floor, seen, -np.inf)
        worst = int(np.argmax(depth))
        if not np.isfinite(depth[worst]):
            return _merge_ways(found)
        way, node = ("tx", worst) if worst < n else ("rx", worst - n)
        other = seen[node + n if way == "tx" else node]
        both = bool(other >= max(depth[worst] / 2, scale.smallest * 0.6))
        lost = float(np.fmax(depth[worst], other) if both else depth[worst])
        ways = (lost if both or way == "tx" else 0.0, lost if both or way == "rx" else 0.0)
        found.append(_with_peer(_Slow(node, "both" if both else way, lost, ways), way, left, depth))
        if way == "tx" or both:
            left[node, :] = np.nan
        if way == "rx" or both:
            left[:, node] = np.nan


def _with_peer(slow: _Slow, way: str, left: Floats, depth: Floats) -> _Slow:
    """``slow`` with its peer, where only one peer was measured with it, and whether that peer is clear."""
    n = len(left)
    partners = np.flatnonzero(np.isfinite(left[slow.node] if way == "tx" else left[:, slow.node]))
    if len(partners) != 1:
        return slow
    peer = int(partners[0])
    clear = not np.isfinite(depth[peer + n if way == "tx" else peer])
    return replace(slow, peer=peer, peer_clear=clear)


def _merge_ways(found: Sequence[_Slow]) -> list[_Slow]:
    """A port that sends and receives slowly is one port."""
    merged: dict[int, _Slow] = {}
    for slow in found:
        first = merged.get(slow.node)
        ways = (max(slow.ways[0], first.ways[0]), max(slow.ways[1], first.ways[1])) if first else slow.ways
        merged[slow.node] = replace(first, way="both", ways=ways) if first else slow
    return list(merged.values())


def _port_fault(slow: _Slow, m: Matrix, rail: str, base: float) -> Fault:
    subject = Subject("port", m.nodes[slow.node], rail=rail, direction=slow.way)
    rivals: tuple[Subject, ...] = ()
    if slow.peer >= 0:
        if not slow.peer_clear:
            rivals = (Subject("port", m.nodes[slow.peer], rail=rail, direction=OPPOSITE[slow.way]),)
        if len(m.nodes) == 2:
            rivals += (Subject("rail", rail=rail),)
        rivals += (_path(slow.node, slow.peer, rail, m, {"tx": "ab", "rx": "ba", "both": "both"}[slow.way]),)
    tx, rx = (min(lost + base, 1.0) if lost else 0.0 for lost in slow.ways)
    return Fault(subject, min(slow.lost + base, 1.0), rivals, (tx, rx))


def _path(a: int, b: int, rail: str, m: Matrix, direction: str) -> Subject:
    """The path with its ends in order; ``direction`` is given as from a to b."""
    if a > b:
        a, b, direction = b, a, {"ab": "ba", "ba": "ab", "both": "both"}[direction]
    return Subject("path", m.nodes[a], m.nodes[b], rail, direction)


def _fold_nodes(
    ports: Sequence[Fault], base: Floats, m: Matrix, scale: Scale, loss: Floats
) -> tuple[list[Fault], list[Fault]]:
    """A node slow on every rail is one fault; its ports that are slower still stay beside it."""
    nodes, rest = [], list(ports)
    for name in sorted({fault.subject.node for fault in ports}):
        own = [fault for fault in ports if fault.subject.node == name]
        if len(m.rails) < 2 or len(own) < 0.75 * len(m.rails):
            continue
        lost = np.array([fault.lost for fault in own])
        middle = float(np.median(lost))
        if not _slow_elsewhere(name, own, middle, base, m, scale, loss):
            continue
        beyond = middle + max(scale.smallest, 4 * MAD * float(np.median(np.abs(lost - middle))))
        rest = [fault for fault in rest if fault not in own]
        rest += [_beyond(fault, beyond) for fault in own if fault.lost > beyond and not fault.rivals]
        nodes.append(_node_fault(name, own, middle))
    return nodes, rest


def _beyond(port: Fault, lost: float) -> Fault:
    """``port`` in the directions in which it is slower than ``lost``, which its node explains."""
    tx, rx = (way > lost for way in port.ways)
    return replace(
        port, subject=replace(port.subject, direction="both" if tx and rx else "tx" if tx else "rx")
    )


def _slow_elsewhere(
    name: str, own: Sequence[Fault], middle: float, base: Floats, m: Matrix, scale: Scale, loss: Floats
) -> bool:
    """Whether the node's other rails are slow too, if less clearly, or hidden behind a slow rail."""
    seen = {fault.subject.rail for fault in own}
    node = m.nodes.index(name)
    for rail in (i for i, rail in enumerate(m.rails) if rail not in seen):
        tx, rx = (float(low(part, scale.noise)[0]) for part in (loss[rail, node], loss[rail, :, node]))
        if not (max(tx, rx) >= middle / 2 or base[rail] >= 0.7 * middle):
            return False
    return True


def _node_fault(name: str, own: Sequence[Fault], lost: float) -> Fault:
    ways = [fault.subject.direction for fault in own]
    way = max(("both", "tx", "rx"), key=ways.count)
    peers = {(rival.kind, rival.node, rival.peer, rival.direction) for f in own for rival in f.rivals}
    alone = all(fault.rivals for fault in own)
    rivals = (
        tuple(Subject("node", node, direction=to) for kind, node, _, to in peers if kind == "port")
        if alone
        else ()
    )
    return Fault(Subject("node", name, direction=way), lost, rivals)


def _fold_leaves(ports: Sequence[Fault], nodes: set[str], leaves: Leaves) -> tuple[list[Fault], list[Fault]]:
    """A leaf all of whose ports are slow (three at least) is one fault; ports of slow ``nodes`` prove nothing."""
    members: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for (node, rail), leaf in leaves.items():
        members.setdefault((leaf, rail), []).append((node, rail))
    slow = {(fault.subject.node, fault.subject.rail): fault for fault in ports if not fault.rivals}
    folded, rest = [], list(ports)
    for (leaf, rail), inside in members.items():
        own = [slow[port] for port in inside if port in slow]
        if len(own) < 3 or not all(port in slow or port[0] in nodes for port in inside):
            continue
        rest = [fault for fault in rest if fault not in own]
        folded.append(Fault(Subject("leaf", rail=rail, name=leaf), float(np.median([f.lost for f in own]))))
    return folded, rest


def _unexplained(loss: Floats, known: Sequence[Fault], base: Floats, m: Matrix, leaves: Leaves) -> Floats:
    """[R, N, N] what the known faults leave unexplained, beyond how much they themselves vary."""
    explained = np.broadcast_to(base[:, None, None], loss.shape).copy()
    spread = np.zeros(loss.shape)
    for fault in known:
        inside = cells(fault.subject, m, ports_of(fault.subject, leaves))
        apart = np.abs(loss[inside & np.isfinite(loss)] - fault.lost)
        varies = 4 * MAD * float(np.median(apart)) if apart.size else 0.0
        if fault.subject.kind == "rail":
            varies = 0.0
        spread[inside] = np.maximum(spread[inside], varies)
        explained[inside] = np.maximum(explained[inside], fault.lost)
    left = loss - explained
    with np.errstate(invalid="ignore"):
        return np.where(left > spread, left, np.where(np.isnan(loss), np.nan, 0.0))


def ports_of(subject: Subject, leaves: Leaves) -> list[tuple[str, str]]:
    """(node, rail) of a leaf's ports; none for any other subject."""
    if subject.kind != "leaf":
        return []
    return [port for port, leaf in leaves.items() if leaf == subject.name and port[1] == subject.rail]


def _paths(left: Floats, loss: Floats, times: Floats, m: Matrix, scale: Scale) -> list[Fault]:
    """Single transfers that are slow between two ends that are not."""
    floor = scale.floor(times)
    with np.errstate(invalid="ignore"):
        slow = left > floor
    found = []
    for rail, i, j in sorted(
        {(int(r), min(int(i), int(j)), max(int(i), int(j))) for r, i, j in np.argwhere(slow)}
    ):
        there, back = (float(np.nan_to_num(side, nan=-1.0)) for side in (left[rail, i, j], left[rail, j, i]))
        least = max(max(there, back) / 2, scale.smallest * 0.6)
        way = "both" if min(there, back) >= least else "ab" if there >= back else "ba"
        lost = float(
            {"ab": loss[rail, i, j], "ba": loss[rail, j, i]}.get(way, loss[rail, [i, j], [j, i]].max())
        )
        found.append(Fault(_path(i, j, m.rails[rail], m, way), lost))
    return found


def _fold_paths(paths: Sequence[Fault], m: Matrix) -> tuple[list[Fault], list[Fault]]:
    """Three or more slow paths from one port, and a quarter of its partners: the port, now and then."""
    rest, ports = list(paths), list[Fault]()
    while True:
        ends: dict[tuple[str, str], list[Fault]] = {}
        for fault in rest:
            for node in (fault.subject.node, fault.subject.peer):
                ends.setdefault((node, fault.subject.rail), []).append(fault)
        port = max(ends, key=lambda end: len(ends[end]), default=None)
        if port is None or len(ends[port]) < max(3, 0.25 * (len(m.nodes) - 1)):
            return ports, rest
        own = ends[port]
        rest = [fault for fault in rest if fault not in own]
        ports.append(Fault(_shared(port, own), float(np.median([fault.lost for fault in own]))))


def _shared(port: tuple[str, str], paths: Sequence[Fault]) -> Subject:
    """The port of ``paths``, with the one direction that they share, if they do."""
    node, rail = port
    ways = {
        "both"
        if path.subject.direction == "both"
        else "tx"
        if (path.subject.direction == "ab") == (path.subject.node == node)
        else "rx"
        for path in paths
    }
    return Subject("port", node, rail=rail, direction=ways.pop() if len(ways) == 1 else "both")
