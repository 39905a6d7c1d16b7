import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model import typed_json
from bench.model.measurement import Measurement, RankSkew
from bench.model.timings import Blocks, Seconds

TIMES = st.lists(st.floats(allow_nan=False), max_size=9)


@given(TIMES)
def test_seconds_are_the_sequence_they_were_made_of(times):
    held = Seconds(times)
    assert list(held) == times
    assert held == times == [held[at] for at in range(len(held))]
    assert held == tuple(times)
    assert held[1:] == times[1:]
    assert bool(held) == bool(times)


@given(
    st.integers(0, 4).flatmap(
        lambda width: st.lists(st.lists(st.floats(allow_nan=False), min_size=width, max_size=width))
    )
)
def test_blocks_are_the_sequence_they_were_made_of(rows):
    held, wanted = Blocks(rows), [tuple(row) for row in rows]
    assert list(held) == wanted == [held[at] for at in range(len(held))]
    assert held == wanted
    assert held[1:] == wanted[1:]
    assert len(held) == len(rows)


def test_what_differs_is_not_equal():
    assert Seconds([1.0]) != [2.0]
    assert Seconds([1.0]) != "1"
    assert Blocks([(1.0, 2.0)]) != [(1.0,), (2.0,)]


def test_an_index_behind_the_last_is_refused_as_by_a_tuple():
    with pytest.raises(IndexError):
        Blocks([(1.0, 2.0)])[1]
    assert Blocks([(1.0, 2.0), (3.0, 4.0)])[-1] == (3.0, 4.0)


def test_blocks_of_different_ranks_are_refused():
    with pytest.raises(ValueError, match="different numbers of ranks"):
        Blocks([(1.0,), (1.0, 2.0)])


def test_a_measurement_is_the_same_after_the_journal():
    row = Measurement(
        "c", (0, 1), ((1e-3, 2e-3), (3e-3, 4e-3)), 5, (0.5, 0.25), (0, None), 8, (), "count", 0.1, 2
    )
    assert typed_json.load(Measurement, typed_json.to_json(row)) == row
    apart = replace(row, apart=RankSkew((1, 0), (1e-4, 0.0), (1, 0), (0, 2), (0.0, 2e-4), (0, 2)))
    assert typed_json.load(Measurement, json.loads(json.dumps(typed_json.to_json(apart)))) == apart
    assert json.loads(typed_json.encode(row))["pipelined"] == [[1e-3, 2e-3], [3e-3, 4e-3]]


def test_the_slowest_of_a_block_is_that_of_its_ranks_and_the_total_of_all():
    blocks = Blocks([[1.0, 3.0], [5.0, 4.0]])
    assert (blocks.slowest, blocks.total) == ([3.0, 5.0], 13.0)
    assert Blocks([[], []]).slowest == Blocks([]).slowest == []
    assert Blocks.of(blocks) is blocks
    assert Blocks.of(((1.0, 3.0), (5.0, 4.0))) == blocks
