import pytest

from bench.model.collectives import (
    COLLECTIVES,
    OF_ALL_RANKS,
    BlockSource,
    busbw,
    collective,
    count_of,
    size_of,
)
from bench.model.elements import UnknownName, element
from bench.model.profile import load, names

FLOAT = element("float32")


@pytest.mark.parametrize("row", COLLECTIVES.values(), ids=lambda row: row.name)
@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_the_truth_has_one_origin_for_each_received_block(row, n):
    for root in range(n if row.rooted else 1):
        for rank in range(n):
            truth = row.truth(rank, n, root)
            blocks = row.received(rank, n, root)
            # all but the root of a reduce hold a buffer whose contents mean nothing
            assert len(truth) == blocks or (row.name == "reduce" and rank != root and not truth)


@pytest.mark.parametrize("row", COLLECTIVES.values(), ids=lambda row: row.name)
@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_every_origin_is_a_block_that_its_rank_sends(row, n):
    for rank in range(n):
        for origin in row.truth(rank, n, 0):
            for source in origin.ranks:
                assert 0 <= origin.block < row.sent(source, n, 0)


def test_nobody_leaves_before_all_have_come_where_every_result_is_of_all():
    found = {name for name, row in COLLECTIVES.items() if row.synchronises}
    assert found == {"all_reduce", "all_gather", "reduce_scatter", "all_to_all"}


def test_all_to_all_is_the_transpose():
    assert collective("alltoall").truth(2, 4, 0) == tuple(BlockSource((source,), 2) for source in range(4))


def test_an_odd_rank_without_partner_sends_and_receives_nothing():
    for name in ("p2p", "p2p_bidirectional"):
        row = collective(name)
        assert row.sent(2, 3, 0) == row.received(2, 3, 0) == 0
        assert row.truth(2, 3, 0) == ()


@pytest.mark.parametrize(
    ("name", "size", "n", "count", "printed"),
    [
        ("all_reduce", 1024, 3, 256, 1024),
        ("all_gather", 1024, 3, 84, 1008),  # 1024 / 4 / 3 = 85, down to a multiple of 16 bytes
        ("all_gather", 8, 2, 0, 0),
        ("alltoall", 1 << 20, 8, 32768, 1 << 20),
        ("sendrecv", 10, 2, 2, 8),
    ],
)
def test_sizes_are_rounded_as_nccl_tests_rounds_them(name, size, n, count, printed):
    row = collective(name)
    assert count_of(row, size, FLOAT, n) == count
    assert size_of(row, count, FLOAT, n) == printed


def test_bus_bandwidth_factors():
    assert busbw(collective("all_reduce"), 1 << 30, 1.0, 16) == pytest.approx((1 << 30) * 1.875)
    assert busbw(collective("all_gather"), 1 << 30, 1.0, 16) == pytest.approx((1 << 30) * 0.9375)
    assert busbw(collective("broadcast"), 1 << 30, 1.0, 16) == 1 << 30
    assert busbw(collective("all_reduce"), 1 << 30, 1.0, 1) == 0


def test_an_unknown_collective_lists_the_known_ones():
    with pytest.raises(UnknownName, match="all_reduce, all_gather"):
        collective("allreduce2")


def test_shape_follows_from_the_row():
    symmetric = {name for name, row in COLLECTIVES.items() if row.symmetric}
    assert symmetric == {"all_reduce", "all_gather", "reduce_scatter", "all_to_all"}
    pairs = {name for name, row in COLLECTIVES.items() if row.point_to_point}
    assert pairs == {"p2p", "p2p_bidirectional", "p2p_ring"}


def test_a_profile_that_lists_no_collectives_measures_every_one_that_all_ranks_take_part_in():
    listed = [name for name in names() if "\ncollectives" in load(name).text]
    assert listed == []
    assert load("local").sweep.collectives == OF_ALL_RANKS
    assert set(OF_ALL_RANKS) | {"p2p", "p2p_bidirectional", "p2p_ring"} == set(COLLECTIVES)
