"""Filling and checking on real tensors, against the plain-Python law in bench.model.elements."""

import pytest

torch = pytest.importorskip("torch")

from bench.measure.backend.correctness import CHUNK, MOST_PERIODS, Data  # noqa: E402
from bench.model.collectives import COLLECTIVES, BlockSource  # noqa: E402
from bench.model.elements import (  # noqa: E402
    ELEMENTS,
    MODULUS,
    PERIOD,
    REDUCTIONS,
    pattern,
    residue,
    tolerance,
)
from bench.model.measurement import Mismatch  # noqa: E402


def data(kind, op, n):
    return Data(kind, REDUCTIONS.get(op), pattern(kind, op, n), n)


@pytest.mark.parametrize("kind", ELEMENTS.values(), ids=lambda kind: kind.name)
def test_the_buffer_holds_what_the_law_says(kind):
    count = CHUNK + 1000  # over a chunk's edge
    buffer = torch.zeros(count, dtype=getattr(torch, kind.name))
    law = data(kind, "none", 4)
    law.fill(buffer, 3, 1)
    for index in (0, 1, 250, 251, CHUNK - 1, CHUNK, CHUNK + 999):
        assert float(buffer[index]) == law.pattern.value(residue(index, 1), 3, 1)


def test_every_element_of_more_than_a_chunk_is_the_laws():
    count = CHUNK + 3 * PERIOD + 17
    buffer = torch.zeros(count)
    law = data(ELEMENTS["float32"], "none", 4)
    law.fill(buffer, 2, 1)
    values = [law.pattern.value(j, 2, 1) for j in range(MODULUS)]
    assert buffer.tolist() == [values[residue(index, 1)] for index in range(count)]


@pytest.mark.parametrize("block", [0, 1, 3])
def test_a_block_is_compared_with_its_own_place_in_the_senders_buffer(block):
    law, size = data(ELEMENTS["int32"], "none", 4), CHUNK + 1001
    sent = torch.zeros(4 * size, dtype=torch.int32)
    law.fill(sent, 1, 0)
    received = sent[block * size : (block + 1) * size].clone()
    assert law.wrong(received, (BlockSource((1,), block),), 0, 0) == (0, None)
    received[CHUNK + 5] += 1
    count, first = law.wrong(received, (BlockSource((1,), block),), 0, 0)
    assert (count, first.index, first.got - first.wanted) == (1, CHUNK + 5, 1)


@pytest.mark.parametrize("kind", ELEMENTS.values(), ids=lambda kind: kind.name)
@pytest.mark.parametrize("op", ["sum", "avg", "min", "max", "prod"])
@pytest.mark.parametrize("n", [2, 3, 300])
def test_a_reduction_done_by_hand_is_right_and_a_changed_element_is_found(kind, op, n):
    if op == "avg" and not kind.floating:
        return
    count, dtype = 1000, getattr(torch, kind.name)
    law = data(kind, op, n)
    inputs = torch.zeros(n, count, dtype=dtype)
    for rank in range(n):
        law.fill(inputs[rank], rank, 0)
    wide = inputs.to(torch.float64)
    result = {
        "sum": wide.sum(0),
        "avg": wide.mean(0),
        "min": wide.amin(0),
        "max": wide.amax(0),
        "prod": wide.prod(0),
    }[op].to(dtype)
    truth = (BlockSource(tuple(range(n)), 0),)
    assert law.wrong(result, truth, 0, 0) == (0, None)
    result[617] += 1 if not kind.floating else max(1, float(result[617]))
    count, first = law.wrong(result, truth, 0, 0)
    assert count == 1
    assert (first.index, first.rank) == (617, 0)


@pytest.mark.parametrize("kind", ELEMENTS.values(), ids=lambda kind: kind.name)
def test_an_element_has_the_size_that_torch_gives_it(kind):
    assert kind.bytes == torch.empty(0, dtype=getattr(torch, kind.name)).element_size()


@pytest.mark.parametrize(("op", "dtype"), [("sum", torch.bfloat16), ("avg", torch.float64)])
def test_what_the_type_does_not_hold_exactly_is_compared_in_the_widest(op, dtype):
    """A third is no bfloat16."""
    law = data(ELEMENTS["bfloat16"], op, 3)
    tile = law._tile(torch.zeros(1, dtype=torch.bfloat16), (0, 1, 2), 0, PERIOD + 1)
    assert (tile.dtype, tile.numel()) == (dtype, 3 * PERIOD)


def test_only_so_many_periods_are_kept():
    law, received = data(ELEMENTS["int32"], "none", 2), torch.zeros(3, dtype=torch.int32)
    for repetition in range(2 * MOST_PERIODS):
        law.wrong(received, (BlockSource((0,), 0),), 0, repetition)
        assert len(law._periods) <= MOST_PERIODS


def test_nan_is_wrong():
    kind = ELEMENTS["float32"]
    for op in ("sum", "avg"):
        law = data(kind, op, 2)
        result = torch.full((10,), float("nan"))
        assert law.wrong(result, (BlockSource((0, 1), 0),), 0, 0)[0] == 10


@pytest.mark.parametrize("name", ["all_gather", "all_to_all", "gather"])
def test_two_swapped_chunks_are_found(name):
    n, count = 4, 512
    row, kind = COLLECTIVES[name], ELEMENTS["float32"]
    law = data(kind, "none", n)
    truth = row.truth(0, n, 0)
    buffers = [torch.zeros(row.sent(rank, n, 0) * count) for rank in range(n)]
    for rank, buffer in enumerate(buffers):
        law.fill(buffer, rank, 0)
    blocks = [buffers[o.ranks[0]][o.block * count : (o.block + 1) * count] for o in truth]
    assert law.wrong(torch.cat(blocks), truth, 0, 0)[0] == 0
    blocks[1], blocks[2] = blocks[2], blocks[1]
    wrong, first = law.wrong(torch.cat(blocks), truth, 0, 0)
    assert wrong > count
    assert first.index // count == 1


def test_a_stale_result_of_the_repetition_before_is_found():
    kind = ELEMENTS["float32"]
    law = data(kind, "none", 2)
    stale = torch.zeros(1000)
    law.fill(stale, 1, 0)
    assert law.wrong(stale, (BlockSource((1,), 0),), 0, 0)[0] == 0
    assert law.wrong(stale, (BlockSource((1,), 0),), 0, 1)[0] > 900


@pytest.mark.parametrize("at", [0, 5, CHUNK - 1, CHUNK, CHUNK + 16])
def test_a_rank_that_receives_nothing_keeps_zeros_to_the_last_element(at):
    law, buffer = data(ELEMENTS["float32"], "none", 2), torch.zeros(CHUNK + 17)
    assert law.nonzero(buffer, 1) == (0, None)
    buffer[at] = 3
    count, first = law.nonzero(buffer, 1)
    assert (count, first) == (1, Mismatch(1, at, 0, 3.0, 0.0))


def test_of_a_buffer_without_elements_nothing_is_wrong():
    law = data(ELEMENTS["float32"], "none", 2)
    assert law.nonzero(torch.zeros(0), 0) == (0, None)
    assert law.wrong(torch.zeros(0), (), 0, 0) == (0, None)


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int64"])
def test_what_is_at_the_edge_of_the_tolerance_is_right_and_what_is_past_it_is_wrong(kind):
    """A mean of float32 may be off by its rounding; a copy by nothing."""
    law = data(ELEMENTS[kind], "avg" if kind != "int64" else "sum", 3)
    allowed = tolerance(law.kind, law.op.name, law.ranks)
    truth = torch.tensor([4.0], dtype=torch.float64)
    edge, past = truth * (1 + allowed), truth * (1 + 2 * allowed + 1e-12)
    assert not bool(law.differ(edge, truth))
    assert bool(law.differ(past if allowed else truth + 1, truth))


def test_the_parts_of_two_senders_are_looked_for_where_each_part_lies():
    """Over a chunk's edge in the second part: the place in the buffer is not the place in the part."""
    law, size = data(ELEMENTS["int32"], "none", 2), CHUNK + 100
    sent = [torch.zeros(2 * size, dtype=torch.int32) for _ in range(2)]
    for rank, buffer in enumerate(sent):
        law.fill(buffer, rank, 0)
    received = torch.cat([buffer[size : 2 * size] for buffer in sent])
    truth = (BlockSource((0,), 1), BlockSource((1,), 1))
    assert law.wrong(received, truth, 0, 0) == (0, None)
    received[size + CHUNK + 7] += 1
    count, first = law.wrong(received, truth, 0, 0)
    assert (count, first.index) == (1, size + CHUNK + 7)
