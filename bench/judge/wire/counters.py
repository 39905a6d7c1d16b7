"""What the port counters of a phase say against what its calls must have sent."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache

from bench.judge.counter_windows import CounterWindow
from bench.judge.evidence import Evidence, derived
from bench.model.bounds import ClusterShape, candidates, wire_factor
from bench.model.collectives import collective
from bench.model.counters import bytes_moved
from bench.model.facts import Node
from bench.model.groups import Group
from bench.model.late_dataclass import dataclass
from bench.model.measurement import Measurement
from bench.model.packets import PACKETS
from bench.model.profile import Rails
from bench.model.rails import LINK_LAYER
from bench.model.units import show_count, show_seconds
from bench.plan.phase_names import phase_words
from bench.store import Run
from bench.store.rows import Row

from .algorithm import algorithm_used
from .group_shape import PAIRED, Unplaced, node_names, shape_of

LEAST_BUSY = 0.5  # seconds of calls in a phase, below which what else is on the ports may matter
LEAST_SHARE = 0.25  # of the phase's measuring that must be calls, or the clock of the calls is not believed
# bytes up to which NCCL's LL may send a flag with each word, and what that makes of a byte
LL_SIZE, LL_BYTES = 1 << 20, 2.2
MTU = {"infiniband": 4096, "roce": 4096, "socket": 1500}
# packet by kind of rail, and the bytes around it that no counter of the adapter sees
HEADERS = {"infiniband": ("ib", 2), "roce": ("roce", 24), "socket": ("tcp", 24)}


class Undetermined(ValueError):
    """The counters of a phase say nothing of the target; the message says why."""


@dataclass(frozen=True)
class Carried:
    """One node's rails over one phase.

    counted    bytes that left each rail, headers included; payload: their sum without the headers
    expected   bytes that the calls must have sent by the algorithm in force
    busy       seconds in calls, by the clock that timed them; wall: seconds of measuring, by the host's clock
    """

    node: str
    counted: Mapping[str, int]
    payload: float
    expected: float
    busy: float
    wall: float

    @property
    def ratio(self) -> float:
        return self.payload / self.expected

    @property
    def rate(self) -> float:
        """Mean bytes/s while calls ran."""
        return self.payload / self.busy


def calls(measurement: Measurement, repetitions: int) -> int:
    """Every call that was made: to check the results, to warm up, back to back, and alone."""
    timed = measurement.calls * len(measurement.pipelined) + len(measurement.isolated)
    return repetitions + measurement.warmup + timed


def busy_seconds(row: Row, repetitions: int) -> float:
    """Seconds in calls. Those that were not timed one by one count as long as the median isolated call."""
    measurement = row.measurement
    timed = row.blocks * measurement.calls if measurement.pipelined else 0.0
    return timed + row.together + (repetitions + measurement.warmup) * row.alone


def carried(phase: str, evidence: Evidence) -> tuple[Carried, ...]:
    """Every node's rails over ``phase``. Raises Undetermined where any of it cannot be determined."""
    known = _carried(evidence)
    if phase not in known:
        try:
            known[phase] = _of_phase(phase, evidence)
        except Undetermined as reason:
            known[phase] = reason
    found = known[phase]
    if isinstance(found, Undetermined):
        raise found
    return found


@derived
def _carried(evidence: Evidence) -> dict[str, tuple[Carried, ...] | Undetermined]:
    """What the rails carried in each phase, as it is asked for."""
    return {}


def _of_phase(phase: str, evidence: Evidence) -> tuple[Carried, ...]:
    here = evidence.rows_in.get(phase, ())
    _whole(phase, evidence.run, here)
    # of a phase that was resumed the second part alone: in between, a case in flight moved bytes that no row tells of
    expected = _expected([row for row in here if row.case.id not in evidence.run.earlier], evidence)
    windows, gaps = evidence.last_windows(phase)
    if gaps:
        raise Undetermined(gaps[0].reason)
    counted = [(window.node, _bytes_sent(window, evidence.rails)) for window in windows]
    kept = tuple(
        Carried(node.name, sent, _payload(sent, node, evidence.rails), *expected[node.name])
        for node, sent in counted
        if node.name in expected
    )
    if not kept:
        raise Undetermined(f"nothing of phase “{phase_words(phase)}” crosses the rails")
    _long_enough(phase, kept)
    return kept


def _expected(rows: Sequence[Row], evidence: Evidence) -> dict[str, tuple[float, float, float]]:
    """Node -> bytes that its calls must have sent, seconds in calls, seconds of measuring."""
    found: dict[str, tuple[float, float, float]] = {}
    repetitions = evidence.manifest.settings.repetitions
    by_case: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_case[row.case.id].append(row)
    for of_case in by_case.values():
        parts: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
        for row in of_case:
            leaving = _sent(row, evidence)
            if not leaving:
                continue
            made, span = calls(row.measurement, repetitions), row.measurement.ended - row.measurement.started
            seconds = busy_seconds(row, repetitions)
            for node, sent in leaving.items():
                parts[node].append((sent * made, seconds, span))
        for node, each in parts.items():
            amounts, busy, wall = zip(*each, strict=True)
            before = found.get(node, (0.0, 0.0, 0.0))
            found[node] = before[0] + sum(amounts), before[1] + max(busy), before[2] + max(wall)
    return {node: each for node, each in found.items() if each[0]}  # who receives alone shows nothing


def least_sent(phase: str, evidence: Evidence) -> dict[str, float]:
    """Node → bytes that its calls of a phase sent by its rails at the least, whichever algorithms NCCL chose."""
    found: dict[str, float] = {}
    repetitions = evidence.manifest.settings.repetitions
    for row in evidence.rows_in.get(phase, ()):
        if row.case.id not in evidence.run.earlier:
            made = calls(row.measurement, repetitions) if row.measurement.pipelined else 0
            for node, sent in _least(row, evidence).items():
                found[node] = found.get(node, 0.0) + made * sent
    return found


def total_sent(phase: str, evidence: Evidence) -> float:
    """Bytes that all nodes together sent in a phase by their rails at the least, where no switch reduces.

    0 where that is not known. Inner nodes of a tree send twice what its leaves do: only their sum is one figure.
    """
    networks = {name for process in evidence.log.processes for name in process.networks}
    if networks != {"IB"}:  # SHARP comes with a plugin, which bears another name
        return 0.0
    repetitions = evidence.manifest.settings.repetitions
    return sum(
        calls(row.measurement, repetitions) * row.case.size * _copies(row, evidence)
        for row in evidence.rows_in.get(phase, ())
        if row.case.id not in evidence.run.earlier and row.measurement.pipelined
    )


def _copies(row: Row, evidence: Evidence) -> float:
    """How many times its size a call sends over rails, on all nodes together, at the least."""
    plain = [factor for each, factor in _factors(row, evidence).items() if each not in ("in_network", "tree")]
    if not plain:
        return 0.0
    nodes = len({*node_names(row.measurement.ranks, evidence)})
    if _spread(row):
        return min(plain) * nodes
    kind = collective(row.case.collective)
    if not kind.rooted:
        return 0.0
    # a copy for each other node, or the parts of the other nodes
    return nodes - 1.0 if kind.nccl else min(plain)


def most_moved(phase: str, evidence: Evidence) -> dict[tuple[str, str], float]:
    """(node, ``sent`` or ``received``) → bytes that its calls of a phase moved by its rails at the most.

    Nothing where that is not known.
    """
    found: dict[tuple[str, str], float] = defaultdict(float)
    groups: dict[tuple[Group, bool], float] = defaultdict(float)
    planned = {case.id for each in evidence.run.plan.phases if each.name == phase for case in each.cases}
    if planned & {*evidence.run.earlier, *(loss.case for loss in evidence.run.losses)}:
        return {}
    for row in evidence.rows_in.get(phase, ()):
        factors, size = _factors(row, evidence), row.case.size * (LL_BYTES if row.case.size <= LL_SIZE else 1)
        if row.measurement.extra.failed or not factors:
            return {}
        made = row.measurement.made or calls(row.measurement, evidence.manifest.settings.repetitions)
        groups[row.measurement.ranks, row.case.collective == "p2p"] += made * size * max(factors.values())
    for (ranks, one_way), moved in groups.items():
        names = node_names(ranks, evidence)
        for node in {*names[:: 2 if one_way else 1]}:
            found[node, "sent"] += moved
        for node in {*(names[1::2] if one_way else names)}:
            found[node, "received"] += moved
    return found


def _spread(row: Row) -> bool:
    """Whether every node sends as much; of a rooted collective a node may send nothing."""
    return collective(row.case.collective).symmetric or row.case.collective == "p2p_ring"


def _factors(row: Row, evidence: Evidence) -> dict[str, float]:
    """Algorithm that NCCL may have chosen → bytes of one call on a node's rails, as a multiple of the size."""
    try:
        fabric = shape_of(row.case, row.measurement.ranks, evidence)
        possible = candidates(row.case.collective, in_network=True)
    except Unplaced:
        return {}
    return _factors_of(row.case.collective, possible, fabric)


@lru_cache(maxsize=256)
def _factors_of(name: str, possible: tuple[str, ...], fabric: ClusterShape) -> dict[str, float]:
    """Of a large cluster tens of thousands of rows ask for the same few."""
    return {each: wire_factor(name, each, fabric) for each in possible}


def _least(row: Row, evidence: Evidence) -> dict[str, float]:
    """Bytes of one call that leave each node of the group; of a rooted collective a node may send nothing."""
    factors = _factors(row, evidence)
    if not factors or not _spread(row):
        return {}
    # also where the log names one: of a tree, whose inner nodes send twice, a leaf sends as much as with SHARP
    return dict.fromkeys(node_names(row.measurement.ranks, evidence), row.case.size * min(factors.values()))


def _whole(phase: str, run: Run, here: Sequence[Row]) -> None:
    """Raise Undetermined where a case was lost or measured in part: it moved bytes that no row shows."""
    measured = defaultdict(set)
    for row in here:
        if row.measurement.pipelined:
            measured[row.case.id].add(row.measurement.ranks)
    planned = [case.id for each in run.plan.phases if each.name == phase for case in each.cases]
    missing = sum(len(run.groups_of[case] - measured[case]) for case in planned)
    if missing or not here:
        what = f"it lacks {show_count(missing, 'figure')}" if missing else "it was not measured"
        raise Undetermined(f"what phase “{phase_words(phase)}” sent is not known: {what}")


def _sent(row: Row, evidence: Evidence) -> dict[str, float]:
    """Bytes of one call that leave each node of the group by its rails."""
    ranks, case = row.measurement.ranks, row.case
    try:
        names, fabric = node_names(ranks, evidence), shape_of(case, ranks, evidence)
    except Unplaced as reason:
        raise Undetermined(f"{case.id}: {reason}") from None
    if fabric.nodes == 1:
        return {}
    if case.collective in PAIRED:
        senders = names if case.collective == "p2p_bidirectional" else names[::2]
        return {name: float(case.size) * senders.count(name) for name in names}
    used = algorithm_used(case, evidence)
    symmetric = collective(case.collective).symmetric
    if not (symmetric and used.known):
        why = used.how if symmetric else f"{case.collective} loads the nodes unevenly"
        raise Undetermined(f"{case.id}: what each node sends is not known: {why}")
    return dict.fromkeys(names, case.size * wire_factor(case.collective, used.algorithm, fabric))


def _bytes_sent(window: CounterWindow, rails: Rails) -> dict[str, int]:
    """Rail -> bytes that left the node by it."""
    sent = {}
    for subject in rail_subjects(window, rails):
        traffic = bytes_moved(window.moved, subject)
        if traffic.sent is None:
            where = f"{window.node.name} {subject}"
            raise Undetermined(f"{where}: the bytes that left cannot be determined: {traffic.how}")
        sent[subject] = traffic.sent
    return sent


def rail_subjects(window: CounterWindow, rails: Rails) -> tuple[str, ...]:
    """The names under which the counters of a node's rails stand: the profile's devices, else the ports that
    can be rails. Raises Undetermined where they are not as many as the profile says.
    """
    node = window.node
    if rails.devices:
        names = tuple(name if rails.kind == "socket" else _port(name) for name in rails.devices)
        missing = [name for name in names if name not in window.before.readings]
        if missing:
            raise Undetermined(f"{node.name}: no counters of {', '.join(missing)}")
        return names
    if rails.kind not in LINK_LAYER:
        raise Undetermined("the profile does not name the rails")
    least = rails.rate.value * 0.99 if rails.rate else 0.0
    names = tuple(
        port.name
        for port in node.ports
        if port.link_layer == LINK_LAYER[rails.kind]
        and port.active
        and (port.rate or 0.0) >= least
        and not {port.hca, port.name} & set(rails.excluded)
    )
    if len(names) != rails.count:
        raise Undetermined(f"{node.name}: {len(names)} ports can be rails, the profile says {rails.count}")
    return names


def _port(name: str) -> str:
    """``mlx5_3/1`` of ``mlx5_3``, ``mlx5_3:1`` or ``mlx5_3/1``."""
    name = name.replace(":", "/")
    return name if "/" in name else f"{name}/1"


def _payload(counted: Mapping[str, int], node: Node, rails: Rails) -> float:
    """Bytes without the packets' headers. On virtual interfaces the kernel counts a large segment as one
    packet, so that this may be too little there by up to the headers' share.
    """
    packet, unseen = HEADERS[rails.kind]
    sizes = {face.name: face.mtu for face in node.interfaces}
    total = 0.0
    for subject, sent in counted.items():
        row, mtu = PACKETS[packet], sizes.get(subject) or MTU[rails.kind]
        payload = mtu - row.headers_in_mtu
        total += sent * payload / (payload + row.overhead - unseen)
    return total


def _long_enough(phase: str, nodes: Sequence[Carried]) -> None:
    for each in nodes:
        if not each.busy >= LEAST_BUSY:
            wanted = f"{show_seconds(LEAST_BUSY)} are wanted"
            raise Undetermined(
                f"phase “{phase_words(phase)}” held {show_seconds(each.busy)} of calls; {wanted}"
            )
        if not (math.isfinite(each.wall) and each.wall * LEAST_SHARE <= each.busy <= each.wall * 1.05):
            raise Undetermined(
                f"phase “{phase_words(phase)}”: {show_seconds(each.busy)} of calls in "
                f"{show_seconds(each.wall)} of measuring "
                f"on {each.node}: the two clocks do not fit together"
            )
