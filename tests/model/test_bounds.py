"""Ceilings and readings: the derivations' laws, and every published figure they were made for."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judge.wire import readings
from bench.model import bounds, packets
from bench.model.bounds import BoundError, ClusterShape, ceiling, hard_ceiling, wire_rate
from bench.model.collectives import COLLECTIVES, collective
from bench.model.elements import UnknownName
from bench.model.units import GIGA, parse_rate

NDR = 50 * GIGA


def lambda_like(nodes: int, **more: float) -> ClusterShape:
    return ClusterShape(nodes, 8, 8, NDR, **more)


# nodes, ring, hierarchical, tree, in-network all_reduce, all_to_all; GB/s of busbw
TABLE = [
    (2, 400, 750.0, 750.0, 750.0, 93.75),
    (3, 400, 575.0, 383.3, 766.7, 71.88),
    (4, 400, 516.7, 387.5, 775.0, 64.58),
    (8, 400, 450.0, 393.8, 787.5, 56.25),
    (16, 400, 423.3, 396.9, 793.8, 52.92),
    (32, 400, 411.3, 398.4, 796.9, 51.41),
    (64, 400, 405.6, 399.2, 798.4, 50.69),
]


@pytest.mark.parametrize(("nodes", "ring", "hierarchical", "tree", "sharp", "alltoall"), TABLE)
def test_ceilings_of_eight_ndr_rails(nodes, ring, hierarchical, tree, sharp, alltoall):
    fabric = lambda_like(nodes)
    for algorithm, wanted in (
        ("ring", ring),
        ("hierarchical", hierarchical),
        ("tree", tree),
        ("in_network", sharp),
    ):
        assert ceiling("all_reduce", algorithm, fabric) / GIGA == pytest.approx(wanted, abs=0.051)
    for name in ("all_gather", "reduce_scatter"):
        assert ceiling(name, "ring", fabric) / GIGA == pytest.approx(ring, abs=0.051)
        assert ceiling(name, "hierarchical", fabric) / GIGA == pytest.approx(hierarchical, abs=0.051)
    assert ceiling("all_to_all", "direct", fabric) / GIGA == pytest.approx(alltoall, abs=0.0051)


def test_one_pair_and_the_ring_of_sendrecv_are_one_nic():
    for name in ("p2p", "p2p_bidirectional", "p2p_ring"):
        assert ceiling(name, "direct", lambda_like(4, nvlink=450 * GIGA)) == pytest.approx(NDR)


def test_gather_ends_at_one_nic_and_pxn_spreads_scatter_over_all():
    fabric = lambda_like(2, nvlink=450 * GIGA)
    one = NDR * 15 / 8
    assert ceiling("gather", "direct", fabric) == pytest.approx(one)
    assert ceiling("scatter", "direct", fabric) == pytest.approx(one)
    assert ceiling("scatter", "pxn", fabric) == pytest.approx(8 * one)


def test_nvlink_limits_a_ring_through_the_node():
    slow = lambda_like(2, nvlink=300 * GIGA)
    assert ceiling("all_reduce", "ring", slow) == pytest.approx(300 * GIGA * 8 / 7)
    assert ceiling("broadcast", "ring", slow) == pytest.approx(300 * GIGA)


def test_one_node_is_bound_by_nvlink_alone():
    node = lambda_like(1, nvlink=450 * GIGA)
    assert ceiling("all_reduce", "ring", node) == pytest.approx(450 * GIGA)
    assert ceiling("all_reduce", "in_network", node) == pytest.approx(700 * GIGA)
    assert ceiling("all_reduce", "hierarchical", node) == pytest.approx(787.5 * GIGA)
    assert wire_rate("all_reduce", "ring", 100 * GIGA, node) == 0
    assert math.isinf(ceiling("all_gather", "ring", lambda_like(1)))


def test_one_rank_has_no_ceiling():
    assert math.isnan(ceiling("all_reduce", "ring", ClusterShape(1, 1, 1, NDR)))


def test_gloo_sends_what_was_measured_on_four_ranks():
    """Bytes sent per rank as a multiple of the size that nccl-tests would print."""
    fabric = ClusterShape(4, 1, 1, NDR)
    measured = {
        "all_reduce": 1.503,
        "all_gather": 3.006 / 4,
        "reduce_scatter": 6.01 / 4,
        "all_to_all": 0.765,
        "broadcast": 2.0,
    }
    for name, factor in measured.items():
        assert bounds.wire_factor(name, "gloo", fabric) == pytest.approx(factor, rel=0.025)
    twice = 2 * bounds.wire_factor("reduce_scatter", "ring", fabric)
    assert bounds.wire_factor("reduce_scatter", "gloo", fabric) == pytest.approx(twice)


@pytest.mark.parametrize(
    ("nodes", "gpus", "copies"), [(2, 1, 1), (3, 1, 2), (4, 1, 2), (8, 1, 3), (2, 2, 2), (2, 8, 8), (4, 2, 4)]
)
def test_gloo_broadcast_sends_once_a_level_and_rank(nodes, gpus, copies):
    assert bounds.gloo_broadcast_wire(ClusterShape(nodes, gpus, 1, NDR)) == copies


def test_unknown_names_list_the_known_ones():
    with pytest.raises(BoundError, match="ring, hierarchical, in_network, gloo"):
        ceiling("all_gather", "tree", lambda_like(2))
    with pytest.raises(UnknownName, match="all_reduce"):
        ceiling("allreduce", "ring", lambda_like(2))


@pytest.mark.parametrize(
    "wrong", [(0, 8, 8, NDR), (2, 0, 8, NDR), (2, 8, 0, NDR), (2, 8, 8, 0), (2, 8, 8, math.nan)]
)
def test_an_impossible_fabric_is_refused(wrong):
    with pytest.raises(BoundError, match="no such fabric"):
        ClusterShape(*wrong)


def test_every_collective_has_a_bound():
    assert all(bounds.candidates(name) for name in COLLECTIVES)


counts = st.integers(1, 64)
rates = st.floats(1e6, 1e13)
fabrics = st.builds(ClusterShape, counts, st.integers(1, 16), st.integers(1, 16), rates, rates)
ways = st.sampled_from(sorted(bounds.WAYS))


@given(ways, fabrics, st.floats(1, 4))
def test_more_rate_never_lowers_a_ceiling(way, fabric, times):
    before = ceiling(*way, fabric)
    for faster in (
        ClusterShape(fabric.nodes, fabric.gpus, fabric.rails, fabric.rail_rate * times, fabric.nvlink),
        ClusterShape(fabric.nodes, fabric.gpus, fabric.rails, fabric.rail_rate, fabric.nvlink * times),
        ClusterShape(fabric.nodes, fabric.gpus, fabric.rails + 1, fabric.rail_rate, fabric.nvlink),
    ):
        assert fabric.ranks < 2 or ceiling(*way, faster) >= before * (1 - 1e-9)


@given(ways, fabrics)
def test_at_its_ceiling_the_rails_are_full_or_nvlink_is(way, fabric):
    if fabric.ranks < 2 or fabric.nodes < 2:
        return
    wide = replace(fabric, nvlink=math.inf)
    algbw = ceiling(*way, wide) / collective(way[0]).factor(fabric.ranks)
    carried = wire_rate(*way, algbw, fabric)
    assert carried == pytest.approx(bounds.usable_rate(*way, fabric))
    assert ceiling(*way, fabric) <= ceiling(*way, wide) * (1 + 1e-9)


@given(ways, fabrics, st.floats(0, 1e13), st.floats(0, 1e13))
def test_more_algbw_is_more_wire(way, fabric, one, other):
    low, high = sorted((one, other))
    assert 0 <= wire_rate(*way, low, fabric) <= wire_rate(*way, high, fabric)


@given(
    st.sampled_from(["all_reduce", "all_gather", "reduce_scatter"]), st.integers(2, 16), st.integers(2, 500)
)
def test_hierarchical_falls_to_the_ring_as_nodes_grow(name, gpus, nodes):
    here = ceiling(name, "hierarchical", ClusterShape(nodes, gpus, gpus, NDR))
    further = ceiling(name, "hierarchical", ClusterShape(nodes + 1, gpus, gpus, NDR))
    ring = ceiling(name, "ring", ClusterShape(nodes, gpus, gpus, NDR))
    assert ring <= further < here
    assert ceiling(name, "hierarchical", ClusterShape(10**6, gpus, gpus, NDR)) == pytest.approx(
        ring, rel=1e-5
    )
    assert hard_ceiling(name, ClusterShape(nodes, gpus, gpus, NDR)) == pytest.approx(here)


@given(st.integers(2, 10**6), st.integers(1, 16))
def test_in_network_reduction_at_most_doubles_the_ring(nodes, gpus):
    fabric = ClusterShape(nodes, gpus, gpus, NDR)
    assert ceiling("all_reduce", "in_network", fabric) < 2 * ceiling("all_reduce", "ring", fabric)
    assert ceiling("all_reduce", "tree", ClusterShape(10**6, gpus, gpus, NDR)) == pytest.approx(
        gpus * NDR, rel=1e-5
    )


# --- what packets leave of the line rate


@pytest.mark.parametrize(
    ("packet", "mtu", "gigabits"),
    [
        ("ib", 4096, 397.5),
        ("ib", 2048, 395.0),
        ("ib-grh", 4096, 393.7),
        ("roce", 4096, 392.1),
        ("roce-vlan", 4096, 391.8),
        ("roce", 1024, 370.3),
        ("tcp", 1500, 376.6),
        ("tcp", 9000, 396.0),
    ],
)
def test_wire_efficiency_of_a_400_gigabit_line(packet, mtu, gigabits):
    assert 400 * packets.efficiency(packet, mtu) == pytest.approx(gigabits, abs=0.06)


@given(st.sampled_from(sorted(packets.PACKETS)), st.integers(64, 10_000), st.integers(1, 1000))
def test_larger_packets_waste_less(packet, mtu, more):
    assert 0 < packets.efficiency(packet, mtu) < packets.efficiency(packet, mtu + more) < 1


def test_a_packet_that_holds_nothing_is_an_error():
    with pytest.raises(ValueError, match="holds no payload"):
        packets.efficiency("tcp", 40)
    with pytest.raises(ValueError, match="known: ib, "):
        packets.efficiency("token-ring", 4096)


# --- the published runs

# run, nodes, algbw, busbw (GB/s); as ring and as hierarchical: Gb/s a node, % of 3200; conclusion
PUBLISHED = [
    ("Lambda B200, 2 GiB", 2, 371.2, 696.1, (5569, 174), (2970, 92.8), "healthy"),
    ("GCP B200", 2, 364.6, 683.5, (5468, 171), (2916, 91.1), "healthy"),
    ("Nebius H100", 2, 249.3, 467.5, (3740, 117), (1995, 62.3), "inside"),
    ("OCI H100", 2, 251.3, 471.2, (3770, 118), (2011, 62.8), "inside"),
    ("nccl-tests#309 H100", 4, 188.8, 365.8, (2927, 91.5), (2266, 70.8), "depends"),
    ("AWS B200", 4, 197.1, 381.8, (3054, 95.5), (2365, 73.9), "depends"),
    ("Voltage Park H100", 4, 170.8, 330.9, (2647, 82.7), (2050, 64.1), "below"),
    ("CoreWeave H100", 12, 195.3, 386.6, (3092, 96.6), (2865, 89.5), "healthy"),
    ("AWS p5en", 16, 186.4, 369.9, (2959, 92.5), (2796, 87.4), "healthy"),
]


@pytest.mark.parametrize(("run", "nodes", "algbw", "busbw", "ring", "hierarchical", "kind"), PUBLISHED)
def test_published_runs_read_as_derived(run, nodes, algbw, busbw, ring, hierarchical, kind):
    fabric = lambda_like(nodes)
    factor = collective("all_reduce").factor(fabric.ranks)
    assert busbw == pytest.approx(algbw * factor, rel=1e-3)
    seen = readings.readings("all_reduce", busbw * GIGA / factor, fabric, target=parse_rate("3200 Gb/s"))
    assert [reading.algorithm for reading in seen] == ["ring", "hierarchical"]
    assert not any(reading.known for reading in seen)
    for reading, (gigabits, percent) in zip(seen, (ring, hierarchical), strict=True):
        assert reading.wire * 8 / GIGA == pytest.approx(gigabits, abs=1.6)
        assert reading.share * 100 == pytest.approx(percent, abs=0.51 if percent > 100 else 0.06)
    assert seen[0].possible == (ring[1] < 100)
    assert ("impossible" in seen[0].text) == (ring[1] > 100)
    conclusion = readings.conclude("all_reduce", algbw * GIGA, fabric, seen)
    assert conclusion.kind == kind
    assert ("not a test of the rails" in conclusion.text) == (kind == "inside")
    assert ("either way" in conclusion.text) == (nodes > 2 and kind != "depends")


def test_the_lambda_run_says_2970_gigabits_and_92_8_percent():
    seen = readings.readings("all_reduce", 371.25 * GIGA, lambda_like(2))
    assert "2970.0 Gb/s" in seen[1].text
    assert "92.8 %" in seen[1].text


def test_sharp_reads_57_percent_when_the_switches_reduce():
    algbw, fabric = 450 * GIGA / (2 * 63 / 64), lambda_like(8)
    (known,) = readings.readings("all_reduce", algbw, fabric, algorithm="in_network")
    assert known.known
    assert known.wire * 8 / GIGA == pytest.approx(1829, abs=1)
    assert f"{known.share:.0%}" == "57%"
    ring, hierarchical, sharp = readings.readings("all_reduce", algbw, fabric, in_network=True)
    assert not ring.possible
    assert ring.wire * 8 / GIGA == pytest.approx(3600)
    assert hierarchical.share == pytest.approx(1.0)
    assert sharp.share == known.share
    guess = readings.conclude("all_reduce", algbw, fabric, readings.readings("all_reduce", algbw, fabric))
    assert guess.kind == "depends"
    assert "SHARP" in guess.text


def test_h100_on_two_nodes_is_bound_inside_the_node():
    algbw = 470 * GIGA / 1.875
    seen = readings.readings("all_reduce", algbw, lambda_like(2))
    conclusion = readings.conclude("all_reduce", algbw, lambda_like(2), seen, inside=480 * GIGA / 1.75)
    assert conclusion.kind == "inside"
    assert "NCCL_ALGO=Ring" in conclusion.next_step


def test_57_percent_of_the_wire_is_below_although_busbw_is_above_400():
    algbw = 0.57 * 400 * GIGA
    busbw = algbw * 1.875
    assert busbw > 400 * GIGA
    seen = readings.readings("all_reduce", algbw, lambda_like(2))
    # one B200 node alone reaches 845.7 GB/s busbw
    conclusion = readings.conclude("all_reduce", algbw, lambda_like(2), seen, inside=845.7 * GIGA / 1.75)
    assert conclusion.kind == "below"


def test_above_the_hierarchical_ceiling_is_an_error():
    algbw = 800 * GIGA / 1.875
    seen = readings.readings("all_reduce", algbw, lambda_like(2))
    conclusion = readings.conclude("all_reduce", algbw, lambda_like(2), seen)
    assert conclusion.kind == "error"
    assert "750.0 GB/s" in conclusion.text


def test_above_a_forced_rings_ceiling_is_an_error():
    algbw = 450 * GIGA / 1.875
    seen = readings.readings("all_reduce", algbw, lambda_like(2), algorithm="ring")
    assert readings.conclude("all_reduce", algbw, lambda_like(2), seen).kind == "error"


def test_a_slow_forced_ring_is_below():
    algbw = 300 * GIGA / 1.875
    seen = readings.readings("all_reduce", algbw, lambda_like(2), algorithm="ring")
    conclusion = readings.conclude("all_reduce", algbw, lambda_like(2), seen)
    assert conclusion.kind == "below"
    assert "either way" not in conclusion.text


@pytest.mark.parametrize("algbw", [math.nan, math.inf, 0.0, -1.0])
def test_no_number_is_an_error(algbw):
    fabric = lambda_like(2)
    seen = readings.readings("all_reduce", algbw, fabric)
    assert readings.conclude("all_reduce", algbw, fabric, seen).kind == "error"
    assert readings.conclude("all_reduce", 1.0, fabric, ()).kind == "error"


def test_one_node_says_nothing_of_the_rails():
    fabric = lambda_like(1, nvlink=900 * GIGA)
    seen = readings.readings("all_reduce", 483 * GIGA, fabric)
    assert all(math.isnan(reading.share) for reading in seen)
    assert readings.conclude("all_reduce", 483 * GIGA, fabric, seen).kind == "no_wire"


def test_a_pair_is_compared_with_its_own_rail():
    (reading,) = readings.readings("p2p", 48.5 * GIGA, lambda_like(2))
    assert reading.known
    assert reading.share == pytest.approx(0.97)


@given(st.sampled_from(sorted(COLLECTIVES)), fabrics, st.floats())
def test_no_figure_crashes_or_passes_without_a_share(name, fabric, algbw):
    seen = readings.readings(name, algbw, fabric)
    conclusion = readings.conclude(name, algbw, fabric, seen)
    if conclusion.kind == "healthy":
        assert all(reading.share >= packets.HEALTHY for reading in seen if reading.possible)
        assert any(reading.possible for reading in seen)
