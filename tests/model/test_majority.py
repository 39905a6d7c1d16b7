"""Who differs from the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model.majority import Odd, odd_ones
from bench.model.units import show_some


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ()),
        ({"a": "x"}, ()),
        ({"a": "x", "b": "x"}, ()),
        ({"a": "x", "b": "y", "c": "x"}, (Odd("b", "y", "x", 2),)),
        ({"a": "x", "b": "y"}, (Odd("a", "x", None, 0), Odd("b", "y", None, 0))),
        (
            {"a": "x", "b": "y", "c": "z", "d": "x"},
            tuple(Odd(k, v, None, 0) for k, v in zip("abcd", "xyzx", strict=True)),
        ),
    ],
)
def test_more_than_half_are_right(values, expected):
    assert odd_ones(values) == expected


@given(st.dictionaries(st.text(max_size=3), st.sampled_from("xyz")))
def test_none_odd_means_all_alike(values):
    odd = odd_ones(values)
    assert (not odd) == (len(set(values.values())) <= 1)
    assert len({each.usual for each in odd}) <= 1


def test_many_names_are_cut():
    assert show_some(["a", "b"], of="nodes") == "a, b"
    assert show_some([f"n{number}" for number in range(64)], of="nodes") == "n0, n1, n2, n3 and 60 more nodes"
