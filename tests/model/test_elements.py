import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model.elements import (
    ELEMENTS,
    MODULUS,
    PERIOD,
    REDUCTIONS,
    UnknownName,
    cancelling,
    element,
    pattern,
    reduction,
    residue,
)

RANKS = [1, 2, 3, 7, 8, 16, 64, 251, 252, 256, 512]
PAIRS = [
    (kind, op)
    for kind in ELEMENTS.values()
    for op in REDUCTIONS.values()
    if kind.floating or not op.floating_only
]


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        *(("float32", 1 << 24), ("float16", 1 << 11), ("bfloat16", 1 << 8), ("float64", 1 << 53)),
        *(("int8", 127), ("uint8", 255), ("int32", (1 << 31) - 1), ("int64", 1 << 53)),
    ],
)
def test_a_type_holds_whole_numbers_as_far_as_its_significand_or_its_range_goes(name, largest):
    """IEEE 754: 24, 11 and 53 bits of significand; bfloat16 has 8. Truths are floats, so int64 ends with float64."""
    assert ELEMENTS[name].exact == largest
    assert ELEMENTS[name].floating is ("float" in name)
    if name != "bfloat16" and ELEMENTS[name].floating:
        assert (
            np.dtype(name).type(largest) == largest and int(np.dtype(name).type(largest + 1)) != largest + 1
        )


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize(("kind", "op"), PAIRS, ids=lambda row: row.name)
def test_every_truth_is_exact_in_its_type(kind, op, ranks):
    data = pattern(kind, op.name, ranks)
    for repetition in range(2):
        truth = data.reduced(op, range(ranks), repetition)
        most = max(truth) * (ranks if op.name == "avg" else 1)
        assert (most <= 64) if op.name == "prod" else (most <= kind.exact)
        assert min(truth) >= 0


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize(("kind", "op"), PAIRS, ids=lambda row: row.name)
def test_a_truth_differs_by_place(kind, op, ranks):
    """A constant truth would not see a swapped chunk; only the sum of enough ranks may come out nearly flat."""
    truths = [tuple(pattern(kind, op.name, ranks).reduced(op, range(ranks), rep)) for rep in range(2)]
    assert any(len(set(truth)) > 1 for truth in truths) or ranks % MODULUS == 0


@pytest.mark.parametrize("kind", ELEMENTS.values(), ids=lambda kind: kind.name)
def test_copies_differ_by_rank_index_and_repetition(kind):
    data = pattern(kind, "none", 512)
    buffers = {
        (rank, rep): tuple(data.value(residue(i, rep), rank, rep) for i in range(64))
        for rank in range(512)
        for rep in range(2)
    }
    for rank in range(512):
        others = [other for other in range(512) if other != rank]
        same = [o for o in others if all(buffers[rank, rep] == buffers[o, rep] for rep in range(2))]
        assert not same, f"rank {rank} sends the same data as {same[:3]} in every repetition"


@given(st.integers(0, 1 << 40), st.integers(0, 5))
def test_a_shift_by_a_power_of_two_changes_the_data(start, repetition):
    for shift in (1, 64, 1024, 1 << 16, 1 << 20):
        here = [residue(start + i, repetition) for i in range(32)]
        there = [residue(start + shift + i, repetition) for i in range(32)]
        assert here != there


@given(st.integers(0, 1 << 40), st.integers(0, 5))
def test_the_data_repeats_after_a_period(index, repetition):
    assert residue(index, repetition) == residue(index + PERIOD, repetition)


def test_nccl_tests_names_are_known():
    assert element("float").name == "float32"
    assert element("half").name == "float16"
    assert element("double").name == "float64"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UnknownName, match="bfloat16"):
        element("fp8")
    with pytest.raises(UnknownName, match="prod"):
        reduction("xor")


@pytest.mark.parametrize(("ranks", "high"), [(6, MODULUS // 2), (7, MODULUS * 6 // 7 // 4)])
def test_half_of_a_products_places_are_high_until_all_ranks_together_would_be_too_high(ranks, high):
    """2 to the 6th is the most that an int8 holds."""
    assert pattern(ELEMENTS["int8"], "prod", ranks).values.count(2) == high


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize(("kind", "op"), PAIRS, ids=lambda row: row.name)
def test_what_cancels_out_is_zero_after_one_call_and_was_not_before(kind, op, ranks):
    sent = [cancelling(kind, op.name, rank, ranks) for rank in range(ranks)]
    assert op.of(sent) == 0
    assert kind.name != "uint8" or min(sent) == 0
    held = kind.name != "uint8" and ranks // 2 <= kind.exact
    lays = ranks > 1 and (op.name in ("min", "prod") or held or (op.name, kind.name) == ("max", "int8"))
    assert sum(map(bool, sent)) >= (ranks - 1 if lays else 0)
    assert max(map(abs, sent)) <= 2
