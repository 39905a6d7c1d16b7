"""Filling and checking on real tensors, against the plain-Python law in bench.model.elements."""

import pytest

torch = pytest.importorskip("torch")

from bench.measure.backend.correctness import CHUNK, Data  # noqa: E402
from bench.model.collectives import COLLECTIVES, Origin  # noqa: E402
from bench.model.elements import ELEMENTS, MODULUS, PERIOD, REDUCTIONS, pattern, residue  # noqa: E402

pytestmark = pytest.mark.torch


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
    assert law.wrong(received, (Origin((1,), block),), 0, 0) == (0, None)
    received[CHUNK + 5] += 1
    count, first = law.wrong(received, (Origin((1,), block),), 0, 0)
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
    truth = (Origin(tuple(range(n)), 0),)
    assert law.wrong(result, truth, 0, 0) == (0, None)
    result[617] += 1 if not kind.floating else max(1, float(result[617]))
    count, first = law.wrong(result, truth, 0, 0)
    assert count == 1
    assert (first.index, first.rank) == (617, 0)


def test_nan_is_wrong():
    kind = ELEMENTS["float32"]
    for op in ("sum", "avg"):
        law = data(kind, op, 2)
        result = torch.full((10,), float("nan"))
        assert law.wrong(result, (Origin((0, 1), 0),), 0, 0)[0] == 10


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
    assert law.wrong(stale, (Origin((1,), 0),), 0, 0)[0] == 0
    assert law.wrong(stale, (Origin((1,), 0),), 0, 1)[0] > 900
