"""Ceilings: the busbw that a fabric can give, and the bytes that a collective puts on a node's rails.

N nodes of G GPUs (n = N·G ranks), R rails a node of B bytes/s each way, V bytes/s of NVLink for each
GPU and direction, S the size in bytes as nccl-tests counts it. Nominal rates: what the packets' own
headers take is in ``packets``.

Every row of ``WAYS`` says how many bytes a node's rails must carry in the busier direction, as a
multiple w of S. From it follow both directions of the arithmetic:

    wire rate a node = algbw · w          ceiling of busbw = R·B · part / w · factor(n)

where ``part`` is the share of the node's rails that may carry it, and the ceiling is at most what
NVLink allows (``inside``). The derivations:

    ring            One ring through all ranks enters and leaves every node once, so the rails carry what
                    each link of the ring carries: 2(n-1)/n·S for all_reduce, (n-1)/n·S for all_gather and
                    reduce_scatter, S for broadcast and reduce. In these units busbw ≤ R·B. Each of the
                    rings leaves the node at another GPU, so that a GPU uses NVLink for (G-1)/G of
                    them: busbw ≤ V·G/(G-1); on one node the rings close: busbw ≤ V.
    hierarchical    The least that any method without reduction in the switches can do: reduce inside
                    the node, then exchange between N nodes: 2(N-1)/N·S for all_reduce, (N-1)/N·S for
                    all_gather and reduce_scatter. The ceiling of busbw is R·B·(n-1)/(G(N-1)): 1.875
                    times R·B on two nodes of 8, R·B as N grows. A figure above it is no figure.
                    Inside: a GPU must give away S (all_reduce) or (n-1)/n·S over NVLink and its own rails.
    tree            Double binary tree (Tree, NVLSTree). On two nodes each sends S; from three on an inner
                    node moves 2S each way.
    in_network      The switches reduce (SHARP): each node sends S and receives S. On one node it is NVLS:
                    a GPU's link carries S for the reduction and S/n for the multicast: algbw ≤ V·n/(n+1).
    direct          Every rank sends to every other by itself: of all_to_all's S per rank, (n-G)/n leaves
                    the node, so G·(N-1)/N·S in all. gather and scatter end at one GPU: its rails alone.
    pxn             scatter with PXN: the root's data leave by all rails of its node.
    gloo            What gloo really sends (measured with 4 ranks, torch 2.13, byte counters): its
                    reduce_scatter sends twice the ring's bytes, its broadcast is a binomial tree.

A point-to-point row is about one pair, which uses one GPU's share of the rails; p2p_ring has one pair
at each node's border.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from .collectives import collective
from .errors import RailGaugeError
from .late_dataclass import dataclass

UNKNOWN = "unknown"


class BoundError(RailGaugeError, ValueError):
    """A collective and algorithm that no row describes, or a fabric that cannot be."""


@dataclass(frozen=True)
class ClusterShape:
    """N nodes × G GPUs × R rails of ``rail_rate`` bytes/s; ``nvlink`` bytes/s a GPU, each way (inf: unknown).

    For a group of one GPU a node (one rail's all_reduce) write gpus=1, rails=1.
    """

    nodes: int
    gpus: int
    rails: int
    rail_rate: float
    nvlink: float = math.inf

    def __post_init__(self) -> None:
        counts_good = self.nodes >= 1 and self.gpus >= 1 and self.rails >= 1
        if not (counts_good and self.rail_rate > 0 and self.nvlink > 0):
            raise BoundError(f"no such fabric: {self}; counts are at least 1 and rates above 0")

    @property
    def ranks(self) -> int:
        return self.nodes * self.gpus

    @property
    def node_rate(self) -> float:
        """R·B, bytes/s each way."""
        return self.rails * self.rail_rate

    @property
    def gpu_rate(self) -> float:
        """A GPU's share of the rails, R·B/G, bytes/s each way."""
        return self.node_rate / self.gpus


Formula = Callable[[ClusterShape], float]


@dataclass(frozen=True)
class AlgorithmBound:
    """One row. ``wire``: multiple of S on a node's rails, N > 1; ``inside``: busbw that NVLink allows."""

    collective: str
    algorithm: str
    wire: Formula
    inside: Formula
    part: Formula = lambda f: 1.0


def _ratio(a: float, b: float) -> float:
    return a / b if b else math.inf


def _share(count: int) -> float:
    return (count - 1) / count


def _ring_inside(f: ClusterShape) -> float:
    return f.nvlink if f.nodes == 1 else f.nvlink * _ratio(f.gpus, f.gpus - 1)


def _any_inside(f: ClusterShape) -> float:
    """algbw · share when a GPU's bytes leave over NVLink and its own rails."""
    return f.nvlink + (f.gpu_rate if f.nodes > 1 else 0.0)


def _all_reduce_inside(f: ClusterShape) -> float:
    return _any_inside(f) * 2 * _share(f.ranks)


def _nvls_inside(f: ClusterShape) -> float:
    if f.nodes > 1:
        return _all_reduce_inside(f)
    return f.nvlink * f.ranks / (f.ranks + 1) * 2 * _share(f.ranks)


def _local_part(f: ClusterShape) -> float:
    """(G-1)/n of each buffer goes over NVLink, in units of busbw, which counts (n-1)/n."""
    return f.nvlink * _ratio(f.ranks - 1, f.gpus - 1)


def _neighbour(f: ClusterShape) -> float:
    return f.nvlink if f.gpus > 1 else math.inf


def _same_node(f: ClusterShape) -> float:
    return f.nvlink if f.nodes == 1 else math.inf


def _one_gpu(f: ClusterShape) -> float:
    return 1 / f.gpus


def _tree_wire(f: ClusterShape) -> float:
    return 1.0 if f.nodes == 2 else 2.0


def gloo_broadcast_wire(f: ClusterShape) -> float:
    """Copies of S that the busiest node sends in gloo's binomial tree, ranks numbered node by node.

    In step i the ranks below 2^i send to rank + 2^i (gloo/broadcast.cc); counted edge by edge.
    """
    sent = [0] * f.nodes
    for step in range(max(0, f.ranks - 1).bit_length()):
        for rank in range(min(1 << step, f.ranks - (1 << step))):
            if rank // f.gpus != (rank + (1 << step)) // f.gpus:
                sent[rank // f.gpus] += 1
    return float(max(sent))


def _ring(name: str, times: int) -> tuple[AlgorithmBound, ...]:
    hierarchical = _all_reduce_inside if times == 2 else _any_inside
    in_network: Formula = (lambda f: 1.0) if times == 2 else (lambda f: _share(f.nodes))
    return (
        AlgorithmBound(name, "ring", lambda f: times * _share(f.ranks), _ring_inside),
        AlgorithmBound(name, "hierarchical", lambda f: times * _share(f.nodes), hierarchical),
        AlgorithmBound(name, "in_network", in_network, _nvls_inside if times == 2 else _any_inside),
    )


WAYS: dict[tuple[str, str], AlgorithmBound] = {
    (way.collective, way.algorithm): way
    for way in (
        *_ring("all_reduce", 2),
        *_ring("all_gather", 1),
        *_ring("reduce_scatter", 1),
        AlgorithmBound("all_reduce", "tree", _tree_wire, _all_reduce_inside),
        AlgorithmBound("all_to_all", "direct", lambda f: f.gpus * _share(f.nodes), _local_part),
        AlgorithmBound("broadcast", "ring", lambda f: 1.0, _neighbour),
        AlgorithmBound("reduce", "ring", lambda f: 1.0, _neighbour),
        AlgorithmBound("broadcast", "hierarchical", lambda f: 1.0, _any_inside),
        AlgorithmBound("reduce", "hierarchical", lambda f: 1.0, _any_inside),
        AlgorithmBound("gather", "direct", lambda f: _share(f.nodes), _local_part, _one_gpu),
        AlgorithmBound("scatter", "direct", lambda f: _share(f.nodes), _local_part, _one_gpu),
        AlgorithmBound("scatter", "pxn", lambda f: _share(f.nodes), _local_part),
        AlgorithmBound("p2p", "direct", lambda f: 1.0, _same_node, _one_gpu),
        AlgorithmBound("p2p_bidirectional", "direct", lambda f: 1.0, _same_node, _one_gpu),
        AlgorithmBound("p2p_ring", "direct", lambda f: 1.0, _neighbour, _one_gpu),
        AlgorithmBound("all_reduce", "gloo", lambda f: 2 * _share(f.ranks), _ring_inside),
        AlgorithmBound("all_gather", "gloo", lambda f: _share(f.ranks), _ring_inside),
        AlgorithmBound("reduce_scatter", "gloo", lambda f: 2 * _share(f.ranks), _ring_inside),
        AlgorithmBound("all_to_all", "gloo", lambda f: f.gpus * _share(f.nodes), _local_part),
        AlgorithmBound("broadcast", "gloo", gloo_broadcast_wire, _neighbour),
        AlgorithmBound("p2p", "gloo", lambda f: 1.0, _same_node, _one_gpu),
        AlgorithmBound("p2p_bidirectional", "gloo", lambda f: 1.0, _same_node, _one_gpu),
        AlgorithmBound("p2p_ring", "gloo", lambda f: 1.0, _neighbour, _one_gpu),
    )
}


@cache
def algorithms(name: str) -> tuple[str, ...]:
    """The algorithms that have a row for this collective."""
    own = collective(name).name
    return tuple(algorithm for known, algorithm in WAYS if known == own)


def way(name: str, algorithm: str) -> AlgorithmBound:
    """The row; BoundError lists the known algorithms, UnknownName the known collectives."""
    row = WAYS.get((collective(name).name, algorithm))
    if row is None:
        raise BoundError(f"{name} by {algorithm!r} has no bound; known: {', '.join(algorithms(name))}")
    return row


def wire_factor(name: str, algorithm: str, shape: ClusterShape) -> float:
    """Bytes on each node's rails, busier direction, as a multiple of the size; 0 on one node."""
    row = way(name, algorithm)
    return row.wire(shape) if shape.nodes > 1 else 0.0


def wire_rate(name: str, algorithm: str, algbw: float, shape: ClusterShape) -> float:
    """Bytes/s that each node's rails carry, each way, when the collective runs at ``algbw`` bytes/s."""
    return algbw * wire_factor(name, algorithm, shape)


def usable_rate(name: str, algorithm: str, shape: ClusterShape) -> float:
    """Bytes/s of a node's rails that may carry this: all of them, or one GPU's share."""
    return shape.node_rate * way(name, algorithm).part(shape)


def ceiling(name: str, algorithm: str, shape: ClusterShape) -> float:
    """The highest busbw in bytes/s; NaN on one rank, where busbw says nothing."""
    if shape.ranks < 2:
        return math.nan
    inside = way(name, algorithm).inside(shape)
    factor = wire_factor(name, algorithm, shape)
    if not factor:
        return inside
    return min(usable_rate(name, algorithm, shape) / factor * collective(name).factor(shape.ranks), inside)


@cache
def candidates(name: str, in_network: bool = False) -> tuple[str, ...]:
    """The algorithms NCCL may have used when nothing says which; gloo and, unless asked, SHARP left out."""
    skipped = {"gloo"} if in_network else {"gloo", "in_network"}
    return tuple(algorithm for algorithm in algorithms(name) if algorithm not in skipped)


def hard_ceiling(name: str, shape: ClusterShape, in_network: bool = False) -> float:
    """The busbw that no algorithm can pass: above it the measurement is in error, not the fabric good."""
    return max(ceiling(name, algorithm, shape) for algorithm in candidates(name, in_network))
