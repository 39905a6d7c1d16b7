import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model.units import (
    UnitError,
    parse_rate,
    parse_seconds,
    parse_share,
    parse_size,
    show_both,
    show_count,
    show_rate,
    show_seconds,
    show_share,
    show_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [("8", 8), ("64K", 65536), ("128M", 128 << 20), ("1g", 1 << 30), ("1.5G", 3 << 29), ("4 KiB", 4096)],
)
def test_sizes_are_powers_of_1024_as_in_nccl_tests(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "K", "-8", "8X", "1.3", "8 8", "nan", "1e400", "0x10", "8\n8"])
def test_a_text_that_is_no_size_is_refused_by_name(text):
    with pytest.raises((UnitError, OverflowError)):
        parse_size(text)


def test_gigabits_are_an_eighth_of_gigabytes():
    assert parse_rate("400 Gb/s") == parse_rate("50 GB/s") == 50e9
    assert parse_rate("3.2 Tb/s") == parse_rate("3200 Gbit/s")


@pytest.mark.parametrize("text", ["400", "400 gb/s", "400 Gb", "fast", "-1 GB/s", ""])
def test_a_rate_without_an_exact_unit_is_refused(text):
    with pytest.raises(UnitError, match="Gb/s"):
        parse_rate(text)


def test_times_and_shares():
    assert parse_seconds("10m") == 600
    assert parse_seconds("5 us") == pytest.approx(5e-6)
    assert parse_share("95 %") == 0.95
    with pytest.raises(UnitError):
        parse_share("0.95")


@given(st.integers(1, 1 << 50))
def test_a_size_shown_is_close_to_the_size(size):
    assert (
        parse_size(show_size(size).replace(" B", "")) == pytest.approx(size, rel=1e-3)
        if size < 1024
        else True
    )
    assert show_size(size)


@given(st.floats(1e-9, 1e6))
def test_seconds_are_shown_with_a_unit(seconds):
    assert show_seconds(seconds).split()[-1] in {"ns", "µs", "ms", "s", "min"}


def test_what_is_no_number_is_shown_as_such():
    assert "nan" in show_rate(math.nan)
    assert show_both(50e9) == "50.00 GB/s (400.0 Gb/s)"
    assert show_share(0.928) == "92.8 %"


def test_one_of_a_thing_is_not_many():
    assert [show_count(n, "figure") for n in (0, 1, 2)] == ["0 figures", "1 figure", "2 figures"]
    assert [show_count(n, "pair of nodes") for n in (1, 2016)] == ["1 pair of nodes", "2,016 pairs of nodes"]
    assert show_count(2, "case within the budget") == "2 cases within the budget"


@pytest.mark.parametrize(
    ("rate", "shown"),
    [
        (12.3456e6, "0.0123 GB/s"),
        (0.5e9, "0.500 GB/s"),
        (0.99999e9, "1.00 GB/s"),
        (1.5e9, "1.50 GB/s"),
        (0.0, "0 GB/s"),
    ],
)
def test_a_rate_below_one_keeps_three_digits(rate, shown):
    assert show_rate(rate) == shown
