"""Rows to arrays: [rail, sender, receiver], the shape in which faults are seen."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from bench.judge.blame.suspects import PairRate, Subject
from bench.model.late_dataclass import dataclass, replace

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
LEAST_RATE, MOST_RATE = 1.0, 1e15
"""Bytes/s outside of which a rate is a mistake of the measurement."""

Cross = tuple[str, str, str, str]
"""A cross-rail transfer: sender, its rail, receiver, its rail."""


@dataclass(frozen=True)
class Matrix:
    """All transfers of a cluster of N nodes and R rails.

    rate         [R, N, N] bytes/s from node i to node j in the first pass; NaN not measured, 0 not passed
    again        [R, N, N] median bytes/s of the re-measurements; NaN none
    times        [R, N, N] how many re-measurements ``again`` is the median of
    retransmits  [R, N, N] median count, of the re-measurements where there are any; NaN nobody counted
    cross        (median bytes/s, how often measured) of cross-rail transfers, by both ends of each
    broken       rows whose rate is no rate (NaN, negative, infinite, beyond 1 .. 1e15 bytes/s)
    """

    nodes: tuple[str, ...]
    rails: tuple[str, ...]
    rate: Floats
    again: Floats
    times: NDArray[np.int64]
    retransmits: Floats
    cross: Mapping[Cross, tuple[float, int]]
    broken: int

    @property
    def best(self) -> Floats:
        """[R, N, N] the re-measurement where there is one, else the first pass."""
        return np.where(np.isfinite(self.again), self.again, self.rate)

    @property
    def expected(self) -> int:
        """Transfers of the whole cluster: rails x nodes x (nodes - 1)."""
        return transfers_among(self.nodes, self.rails)


def transfers_among(nodes: Sequence[str], rails: Sequence[str]) -> int:
    """How many transfers there are between all of these nodes on all of these rails, each way."""
    return len(rails) * len(nodes) * (len(nodes) - 1)


def empty(nodes: Sequence[str], rails: Sequence[str]) -> Floats:
    """[R, N, N] of NaN."""
    return np.full((len(rails), len(nodes), len(nodes)), np.nan)


def matrix(rows: Iterable[PairRate], nodes: Sequence[str] = (), rails: Sequence[str] = ()) -> Matrix:
    """The arrays of ``rows``. ``nodes`` and ``rails`` are those of the cluster, so that what no row
    mentions is missing and not unseen. Several values of a transfer become their median."""
    rows = tuple(rows)
    names = tuple(sorted({*nodes, *(name for row in rows for name in (row.a, row.b))}))
    tracks = tuple(sorted({*rails, *(row.rail for row in rows if not row.rail_b)}))
    usable = [row for row in rows if row.rate == 0 or LEAST_RATE <= row.rate <= MOST_RATE]
    straight = [row for row in usable if not row.rail_b]
    again, times = _fill([row for row in straight if row.again], names, tracks)
    return Matrix(
        nodes=names,
        rails=tracks,
        rate=_fill([row for row in straight if not row.again], names, tracks)[0],
        again=again,
        times=times,
        retransmits=_retransmits(straight, names, tracks),
        cross=_cross([row for row in usable if row.rail_b]),
        broken=len(rows) - len(usable),
    )


def _senders(row: PairRate) -> tuple[tuple[str, str], ...]:
    """(sender, receiver) of the row, two when both directions share its one time."""
    ways = {"ab": ((row.a, row.b),), "ba": ((row.b, row.a),), "both": ((row.a, row.b), (row.b, row.a))}
    return ways[row.direction]


def _fill(
    rows: Sequence[PairRate], nodes: Sequence[str], rails: Sequence[str]
) -> tuple[Floats, NDArray[np.int64]]:
    values: dict[tuple[int, int, int], list[float]] = defaultdict(list)
    node, rail = {name: i for i, name in enumerate(nodes)}, {name: i for i, name in enumerate(rails)}
    for row in rows:
        for sender, receiver in _senders(row):
            values[rail[row.rail], node[sender], node[receiver]].append(row.rate)
    out, times = empty(nodes, rails), np.zeros((len(rails), len(nodes), len(nodes)), dtype=np.int64)
    for at, found in values.items():
        out[at], times[at] = median(found), len(found)
    return out, times


def _retransmits(rows: Sequence[PairRate], nodes: Sequence[str], rails: Sequence[str]) -> Floats:
    counted = [
        replace(row, rate=row.retransmits)
        for row in rows
        if row.retransmits is not None and math.isfinite(row.retransmits)
    ]
    again = _fill([row for row in counted if row.again], nodes, rails)[0]
    return np.where(
        np.isfinite(again), again, _fill([row for row in counted if not row.again], nodes, rails)[0]
    )


def _cross(rows: Sequence[PairRate]) -> dict[Cross, tuple[float, int]]:
    values: dict[Cross, list[float]] = defaultdict(list)
    for row in rows:
        ends = {row.a: row.rail, row.b: row.rail_b}
        for sender, receiver in _senders(row):
            values[sender, ends[sender], receiver, ends[receiver]].append(row.rate)
    return {key: (median(found), len(found)) for key, found in values.items()}


def cells(subject: Subject, m: Matrix, ports: Iterable[tuple[str, str]] = ()) -> Mask:
    """[R, N, N] the transfers that go through ``subject``; ``ports`` are those of a leaf."""
    out = np.zeros(m.rate.shape, dtype=bool)
    rail = m.rails.index(subject.rail) if subject.rail else slice(None)
    if subject.kind in ("node", "port", "gpu"):
        _mark(out, rail, m.nodes.index(subject.node), subject.direction)
    elif subject.kind == "path":
        a, b = m.nodes.index(subject.node), m.nodes.index(subject.peer)
        out[rail, a, b] = subject.direction in ("both", "ab")
        out[rail, b, a] = subject.direction in ("both", "ba")
    elif subject.kind == "leaf":
        for node, track in ports:
            _mark(out, m.rails.index(track), m.nodes.index(node), subject.direction)
    else:
        out[rail] = True
    out[:, range(len(m.nodes)), range(len(m.nodes))] = False
    return out


def _mark(out: Mask, rail: int | slice, node: int, direction: str) -> None:
    if direction in ("both", "tx"):
        out[rail, node, :] = True
    if direction in ("both", "rx"):
        out[rail, :, node] = True
